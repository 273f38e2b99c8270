"""The tour of the demo in a real browser: what it asks, what it has the server do, and what it says about it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from fake_inspector import EVICTION, SOURCE, WWW, Inspector, Look, client, row_of
from helpers import Inspected, until
from playwright.sync_api import Browser, Locator, Page, expect
from test_inspect_page import AXE

from threadchat.inspector.site import CORE
from threadchat.web import source

STEPS = (WWW / "inspect" / "tour-steps.js").read_text()
EVICTING = {**SOURCE, "lines": ["def f():", "    self._evict(client)", "    receiver.park()"]}
MINUTE = 60_000  # milliseconds; bounds a failure
LOOK_SHORTLY = """
    const wait = setTimeout;
    window.setTimeout = (call, ms, ...rest) => wait(call, ms < 2000 ? ms / 10 : ms, ...rest);
"""
NO_STORAGE = (
    "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
)
MOVES = "document.querySelector('[data-toured]').getAnimations().length > 0"
PHONE = {"viewport": {"width": 390, "height": 844}}


def tour_of(page: Page) -> Locator:
    return page.locator("#tour")


def answer(page: Page, number: int) -> None:
    tour_of(page).get_by_role("list", name="What do you expect?").get_by_role("button").nth(number).click()


def stuck(pending: int) -> dict[str, Any]:
    return client(7, pending, "stuck", name="stuck bot")


def show_an_eviction(page: Page, inspector: Inspector) -> None:
    """Answer the first question, and show what it asks about."""
    before = len(inspector.done)
    answer(page, 0)
    until(lambda: {"action": "add", "kind": "stuck", "count": 1} in inspector.done[before:], "the client")
    others = client(1), {**client(2, name="quiet bot"), "messages_out": 6}
    inspector.show(*others, stuck(0), events=[{"kind": "joined", "client": 7, "name": "stuck bot"}])
    expect(row_of(page, 7).locator("[data-toured]")).to_have_count(2)
    inspector.show(*others, stuck(200))
    expect(tour_of(page).locator(".signs [data-seen]")).to_have_text(
        ["its write pump gets stuck (seen)", "its send channel fills (seen)"]
    )
    others = client(1), {**client(2, name="quiet bot"), "messages_out": 306}
    inspector.show(*others, events=[{**EVICTION, "client": 7}])
    expect(tour_of(page).get_by_role("button", name="Next: The way of a message")).to_be_visible()


def test_it_opens_by_itself_once_and_in_the_demo_alone(inspector: Inspector, look: Look) -> None:
    page = look(tour=True)
    tour, opener = tour_of(page), page.get_by_role("button", name="Tour", exact=True)
    expect(tour).to_contain_text("What happens to the others?")
    expect(page.locator("body")).to_be_focused()  # it does not take the focus
    assert inspector.done == [], "nothing is done before the reader answers"
    tour.get_by_role("button", name="Leave the tour").click()
    expect(tour).to_be_hidden()
    expect(opener).to_be_focused()
    page.reload()
    expect(page.locator("#status")).to_have_text("Connected")
    expect(row_of(page, 1)).to_be_visible()
    expect(tour).to_be_hidden()
    opener.click()
    expect(tour).to_be_focused()
    page.evaluate("localStorage.clear()")
    inspector.show(client(1), demo=False)
    page.reload()
    expect(row_of(page, 1)).to_be_visible()
    expect(tour).to_be_hidden()
    expect(opener).to_be_hidden()


def test_a_step_asks_shows_and_says_why(inspector: Inspector, look: Look) -> None:
    page = look(tour=True)
    tour = tour_of(page)
    inspector.source = EVICTING
    show_an_eviction(page, inspector)
    expect(tour).to_contain_text("No, what happens is this: Nothing: its messages wait in a buffer of its own.")
    expect(tour).to_contain_text("256 of 256 messages waiting. Meanwhile client 2 got all 300 messages.")
    expect(tour.get_by_role("list", name="Look at it").get_by_role("button")).to_have_text(
        ["thread writePump-7", "channel send-7", "thread hub", "hub.py, line 135 self._evict(client)"]
    )
    expect(page.locator("[data-toured]")).not_to_have_count(0)
    tour.get_by_role("button", name="thread writePump-7").click()
    expect(page.locator("#when")).to_have_text(re.compile(r"0\.1 s ago"))
    expect(page.get_by_role("region", name="writePump-7").locator("[aria-current]")).to_be_visible()
    tour.get_by_role("button", name="hub.py, line 135").click()
    expect(page.get_by_role("region", name="hub.py, line 135").locator("[aria-current]")).to_have_text(
        "self._evict(client)"
    )
    tour.get_by_role("button", name="Next").click()
    expect(tour).to_contain_text("How many threads handle your message")
    expect(page.locator("#detail")).to_be_hidden()
    expect(page.locator("#when")).to_have_text("live")


def test_it_is_taken_and_left_by_keyboard_and_what_it_did_is_undone(inspector: Inspector, look: Look) -> None:
    page = look(tour=True)
    tour = tour_of(page)
    inspector.show(client(1), client(2), pace=42)
    expect(page.get_by_label("Talkers say")).to_have_value("42")
    tour.get_by_role("button", name="Leave the tour").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(tour).to_be_focused()
    expect(tour).to_contain_text("Watch the client that joins now.")
    until(lambda: {"action": "add", "kind": "stuck", "count": 1} in inspector.done, "the client")
    page.keyboard.press("Escape")
    expect(tour).to_be_hidden()
    expect(page.get_by_role("button", name="Tour", exact=True)).to_be_focused()
    until(lambda: inspector.done[-1] == {"action": "pace", "messages_a_second": 42}, "the pace of before")
    page.keyboard.press("Enter")
    expect(tour).to_be_focused()
    page.locator("#say-text").focus()
    page.keyboard.press("Escape")
    expect(tour).to_be_hidden()
    expect(page.locator("#say-text")).to_be_focused()
    row_of(page, 1).get_by_role("button").first.press("Enter")
    expect(page.locator("#detail")).to_be_visible()


def test_what_is_done_is_undone_when_the_page_is_left_and_void_when_there_is_a_new_server(
    inspector: Inspector, look: Look
) -> None:
    page = look(tour=True)
    inspector.show(client(1), client(2), pace=42)
    expect(page.get_by_label("Talkers say")).to_have_value("42")
    inspector.restart()
    answer(page, 0)
    until(lambda: len(inspector.done) == 2, "the client")
    inspector.show(client(1), client(2), pace=42)
    expect(tour_of(page)).to_contain_text("What happens to the others?")
    until(lambda: len(inspector.done) == 3, "the pace of before")
    answer(page, 0)
    until(lambda: len(inspector.done) == 5, "the client")
    page.goto("about:blank")
    until(
        lambda: len(inspector.done) == 6 and inspector.done[-1] == {"action": "pace", "messages_a_second": 42},
        "the pace of before",
    )


def test_a_step_that_fails_can_be_passed_over_and_the_end_leads_to_the_exercises(
    inspector: Inspector, look: Look, errors: list[str]
) -> None:
    page = look(tour=True, permissions=["clipboard-read", "clipboard-write"])
    tour = tour_of(page)
    inspector.refusal = "there is no chatty bot"
    for number in range(1, 7):
        expect(tour).to_contain_text(f"Tour, {number} of 6")
        answer(page, 0)
        expect(tour).to_contain_text("there is no chatty bot")
        tour.locator(".next").click()
    expect(tour).to_contain_text("Now write it yourself")
    tour.get_by_role("button", name="Copy").click()
    expect(tour.get_by_role("status")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == "threadchat exercise"
    assert page.evaluate("localStorage.getItem('threadchat: the tour')") == "done"
    tour.get_by_role("button", name="Begin the tour again").click()
    expect(tour).to_contain_text("Tour, 1 of 6")
    errors.clear()  # the browser reports what was refused


def test_without_storage_it_opens_and_can_be_left(look: Look) -> None:
    page = look(NO_STORAGE, tour=True)
    expect(tour_of(page)).to_be_visible()
    page.keyboard.press("Escape")
    expect(tour_of(page)).to_be_hidden()


def test_on_a_phone_what_it_points_at_is_in_sight(inspector: Inspector, look: Look) -> None:
    page = look(tour=True, **PHONE)
    others = [client(number) for number in range(1, 7)]
    answer(page, 1)
    until(lambda: len(inspector.done) == 2, "the client")
    inspector.show(*others, stuck(90), events=[{"kind": "joined", "client": 7, "name": "stuck bot"}])
    expect(row_of(page, 7).locator("[data-toured]")).to_have_count(2)
    row, tour = row_of(page, 7).bounding_box(), tour_of(page).bounding_box()
    assert row is not None
    assert tour is not None
    assert 0 < row["y"] < row["y"] + row["height"] <= tour["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(MOVES)
    inspector.show(*others, events=[{**EVICTION, "client": 7}])
    expect(tour_of(page).get_by_role("button", name="Next")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_and_with_reduced_motion_nothing_moves(
    inspector: Inspector, look: Look, width: int, scheme: str
) -> None:
    page = look(tour=True, color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 800})
    page.evaluate(AXE)

    def check(what: str) -> None:
        found = page.evaluate("axe.run().then(({ violations }) => violations)")
        assert [(what, each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found] == []

    check("a question")
    inspector.source = EVICTING
    show_an_eviction(page, inspector)
    assert not page.evaluate(MOVES)
    check("an explanation")
    tour_of(page).get_by_role("button", name="hub.py").click()
    expect(page.locator("#detail [aria-current]")).to_be_visible()
    check("a line of the source")


def test_each_step_names_a_line_that_is_there_once() -> None:
    lines = re.findall(r'line: \["(.+?)", "(.+?)", "(.+?)"\]', STEPS)
    assert len(lines) == 6
    for file, function, text in lines:
        assert file in CORE
        _, found = source.python_source(file, function)
        assert sum(text in line for line in found) == 1, text


def test_on_the_real_server_each_step_comes_to_its_end_and_the_first_eviction_soon(
    inspect: Callable[..., Inspected], browser: Browser
) -> None:
    """It takes as long as a stuck client's buffers take to fill."""
    server = inspect(demo=True, write_wait=60, message_rate=0)
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        page.add_init_script(LOOK_SHORTLY)
        page.goto(f"{server.url}inspect")
        tour = tour_of(page)
        expect(tour).to_be_visible(timeout=MINUTE)
        for number in range(1, 7):
            expect(tour).to_contain_text(f"Tour, {number} of 6")
            answer(page, 1)
            expect(tour.locator(".told")).to_be_visible(timeout=MINUTE)
            if number == 1:
                # Counted in messages: on a slow machine the bots may fall behind their pace of 60 a second, and the
                # page may see the client late.
                told = re.search(r"was evicted after .* got all (\d+) messages", tour.locator(".told").inner_text())
                assert told
                assert 0 < int(told[1]) < 8 * 60
            why = tour.locator(".said p").last.inner_text()
            assert len(re.findall(r"[.!?](?= [A-Z]|$)", why)) == 2, why
            expect(tour.get_by_role("list", name="Look at it").locator("code")).to_have_count(1)
            tour.locator(".next").click()
        expect(tour).to_contain_text("Now write it yourself")
        assert not server.hub.gate.shut
        assert sum(server.watch.shared.paces.values()) == pytest.approx(42)
