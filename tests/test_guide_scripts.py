"""The guide's scripts in a browser: how its figures are worked, and the marks of what has been read.

What the figures show is in test_guide_figures.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import Running, until
from playwright.sync_api import Browser, Locator, Page, expect

FIGURES = ("channel-figure", "select-figure", "room-figure", "turns-figure")
PHONE = {"viewport": {"width": 390, "height": 740}, "is_mobile": True, "has_touch": True}
CHAPTERS = 13  # those that can be marked as read

Visit = Callable[..., Page]


@pytest.fixture
def visit(server: Running, browser: Browser) -> Iterator[Visit]:
    """`visit(*scripts, **options)` opens the guide; the scripts run first. The browser's console must stay empty."""
    contexts, complaints = [], []

    def open_page(*scripts: str, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.clock.install()
        for script in scripts:
            page.add_init_script(script)
        page.goto(f"{server.url}guide")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


# The figures


def controls_of(figure: Locator) -> Locator:
    return figure.locator("button, input, select")


def drawing(page: Page, figure: str) -> tuple[str, str]:
    """What is on the stage, and the sentence below it."""
    stage, said = page.locator(f"#{figure} .stage"), page.locator(f"#{figure} .said")
    html = re.sub(r">\s+|\s+<", lambda gap: gap[0].strip(), stage.inner_html())
    return html.replace("item new", "item"), said.inner_text()


def test_without_scripts_each_figure_shows_what_it_begins_with(visit: Visit) -> None:
    still, moving = visit(java_script_enabled=False), visit()
    for figure in FIGURES:
        expect(controls_of(moving.locator(f"#{figure}"))).not_to_have_count(0)
        expect(controls_of(still.locator(f"#{figure}"))).to_have_count(0)
        assert drawing(still, figure) == drawing(moving, figure)
        assert len(drawing(still, figure)[1]) > 30


@pytest.mark.parametrize("figure", FIGURES)
def test_the_tab_key_reaches_every_control_of_a_figure_in_order(visit: Visit, figure: str) -> None:
    page = visit()
    controls = controls_of(page.locator(f"#{figure}")).all()
    controls[0].focus()
    for control in controls:
        expect(control).to_be_focused()
        page.keyboard.press("Tab")


def said(page: Page, figure: str) -> Locator:
    return page.locator(f"#{figure}").get_by_role("status")


def press(page: Page, label: str, key: str) -> None:
    """Press a key on a control, which keeps the focus."""
    controls = page.locator(".controls")
    labelled = controls.locator("label", has_text=label).locator("input, select")
    control = labelled.or_(controls.get_by_role("button", name=label, exact=True))
    control.focus()
    page.keyboard.press(key)
    expect(control).to_be_focused()


def test_a_channel_is_worked_by_keyboard(visit: Visit) -> None:
    page = visit()
    press(page, "Receive", "Enter")
    expect(said(page, "channel-figure")).to_have_text(
        "The receiver gets 1. Now there is room for 3, and the sender wakes."
    )
    press(page, "capacity", "Home")
    expect(said(page, "channel-figure")).to_contain_text("A new channel without a buffer")
    press(page, "Receive", " ")
    expect(page.locator("#channel-figure .thread").last).to_contain_text("asleep")


def test_a_select_is_worked_by_keyboard(visit: Visit) -> None:
    page = visit()
    press(page, "Choose 300 times", "Enter")
    expect(said(page, "select-figure")).to_have_text("As it is now, 300 selects would choose among 2 cases like this.")
    press(page, "default", "ArrowDown")
    expect(said(page, "select-figure")).to_have_text("With a default, the next select will not wait.")
    for _ in range(4):
        press(page, "select", "Enter")
    expect(said(page, "select-figure")).to_contain_text("the default is chosen")


def test_the_convoy_is_worked_by_keyboard(visit: Visit) -> None:
    page = visit()
    press(page, "One pump runs", "Enter")
    expect(said(page, "turns-figure")).to_contain_text("It passes the turn to pump 24, which is urgent")
    press(page, "clients", "End")
    expect(said(page, "turns-figure")).to_contain_text("1000 clients.")
    press(page, "The last client speaks", " ")
    expect(page.locator("#turns-figure .crowd").first).to_contain_text("199,800 times a second")


def test_the_room_is_worked_by_keyboard(visit: Visit) -> None:
    page = visit()
    press(page, "the client", "End")
    expect(said(page, "room-figure")).to_have_text("From now on the client reads nothing.")
    for _ in range(2):
        press(page, "A quarter of a second", "Enter")
    expect(said(page, "room-figure")).to_contain_text("the hub evicts it. The others heard all 12.")


@pytest.mark.parametrize(("motion", "moves"), [("no-preference", True), ("reduce", False)])
def test_with_reduced_motion_nothing_moves(visit: Visit, motion: str, moves: bool) -> None:
    page = visit(reduced_motion=motion)
    page.get_by_role("button", name="Start again").first.click()
    count = page.locator("#channel-figure").evaluate("""figure => {
        figure.querySelector("button").click();
        return figure.getAnimations({ subtree: true }).length;
    }""")
    assert (count > 0) == moves


@pytest.mark.parametrize("options", [{}, PHONE], ids=["wide", "phone"])
def test_a_figure_is_as_high_after_a_step_as_before(visit: Visit, options: dict[str, Any]) -> None:
    """The buttons stay below the pointer."""
    page = visit(**options)
    for figure in FIGURES:
        button = page.locator(f"#{figure} button").first
        before = button.evaluate("button => button.offsetTop")
        for _ in range(3):
            button.click()
            assert button.evaluate("button => button.offsetTop") == before


# What has been read


def contents(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Contents")


def read(page: Page, name: str) -> None:
    """Go to a chapter and to its end."""
    contents(page).get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name)).to_be_in_viewport()
    end = page.locator("main > section", has=page.get_by_role("heading", name=name)).locator(".pause")
    end.scroll_into_view_if_needed()

    def is_marked() -> bool:
        page.clock.run_for(3000)
        return contents(page).get_by_role("link", name=f"{name} (read)").count() == 1

    until(is_marked)


def test_a_chapter_is_marked_when_its_end_stays_on_the_screen_and_keeps_its_mark(visit: Visit) -> None:
    page = visit()
    expect(contents(page).locator(".read")).to_have_count(0)
    read(page, "What runs here")
    read(page, "Why the hub needs no lock")
    page.reload()
    expect(contents(page).locator(".read")).to_have_count(2)
    expect(contents(page)).to_contain_text(f"You have read 2 of {CHAPTERS} chapters. Go on with Go beside Python")


def test_a_chapter_that_is_scrolled_past_is_not_marked(visit: Visit) -> None:
    page = visit()
    page.locator("#closing").scroll_into_view_if_needed()
    page.keyboard.press("End")
    expect(page.get_by_role("heading", name="Reading on")).to_be_in_viewport()
    read(page, "How a connection ends")
    expect(contents(page).locator(".read")).to_have_count(1)


def test_all_marks_are_forgotten_on_demand(visit: Visit) -> None:
    page = visit()
    read(page, "What runs here")
    contents(page).get_by_role("button", name="Forget what I have read").click()
    expect(contents(page).locator(".read")).to_have_count(0)
    expect(contents(page)).to_be_focused()
    page.evaluate("scrollTo(0, 0)")
    page.reload()
    expect(contents(page).locator(".progress")).to_be_hidden()
    expect(contents(page).locator(".read")).to_have_count(0)


@pytest.mark.parametrize(
    "storage",
    [
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });",
        "Storage.prototype.setItem = () => { throw new DOMException('no', 'QuotaExceededError'); };",
        "localStorage.setItem('threadchat: read in the guide', '{');",
        "localStorage.setItem('threadchat: read in the guide', 'null');",
        "localStorage.setItem('threadchat: read in the guide', '{\"begun\": 7, \"read\": {}}');",
    ],
    ids=["forbidden", "full", "cut off", "null", "of other types"],
)
def test_without_storage_the_marks_last_as_long_as_the_page(visit: Visit, storage: str) -> None:
    page = visit(storage)
    read(page, "What runs here")
    expect(page.locator("#channel-figure button")).not_to_have_count(0)
