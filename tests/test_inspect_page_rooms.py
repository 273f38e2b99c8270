"""The inspector's page in a real browser: the choice of a room, a room that ends, and the room's log."""

from __future__ import annotations

from importlib.resources import files
from typing import Any
from urllib.parse import quote

import pytest
from fake_inspector import EVIL, LOG, Inspector, Look, client, log_of, row_of, thread
from helpers import until
from playwright.sync_api import Page, expect

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
BELOW_THE_HUB = """() => {
    const [log, hub, inbox] = [".room-log", "#hub", ".inbox:not(.of-writer)"].map(
        each => document.querySelector(each).getBoundingClientRect());
    return log.top > hub.bottom && Math.abs(log.right - hub.right) < 2 && Math.abs(log.left - inbox.left) < 2;
}"""
ROOMS = {"count": 2, "fullest": [{"name": "lobby", "clients": 2}, {"name": "a & b", "clients": 1}]}
IN_ROOM: dict[str, Any] = {"room": "a & b", "log": {**LOG, "epoch": "another"}, "rooms": ROOMS}


def choose(inspector: Inspector, page: Page) -> None:
    """Choose the room "a & b", whose only client is number 7."""
    inspector.show(client(1), client(2), rooms=ROOMS)
    expect(page.get_by_label("room").locator("option")).to_have_text(["lobby (2 clients)", "a & b (1 client)"])
    page.get_by_label("room").select_option("a & b")
    until(lambda: "/inspect/live?room=a+%26+b" in map(plus, inspector.asked), "the pictures of the other room")
    inspector.show(client(7, name="Ann"), **IN_ROOM)
    expect(row_of(page, 7)).to_be_visible()


def until_lobby(inspector: Inspector) -> None:
    """Wait until the page, which was opened in the lobby, asks for the lobby's pictures once more."""
    until(lambda: inspector.asked.count("/inspect/live") == 2, "the pictures of the lobby")


def plus(address: str) -> str:
    return address.replace("%20", "+")


def test_with_one_room_there_is_no_choice(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(client(1), rooms={"count": 1, "fullest": [{"name": "lobby", "clients": 1}]})
    expect(row_of(page, 2)).to_have_count(0)
    expect(page.get_by_label("room")).to_be_hidden()


def test_another_room_can_be_chosen_and_everything_is_about_it_also_after_a_reload(
    inspector: Inspector, look: Look
) -> None:
    page = look()
    row_of(page, 2).get_by_role("button", name="Pin client 2").click()
    inspector.show(client(1), events=[{"kind": "joined", "client": 1, "name": "bot"}])
    expect(log_of(page)).to_have_count(1)
    choose(inspector, page)
    expect(page.locator(".row")).to_have_count(1)
    expect(log_of(page)).to_have_count(0)
    assert plus(page.url) == f"{inspector.url}?room=a+%26+b"
    expect(page.get_by_role("link", name="Chat")).to_have_attribute("href", "r/a%20%26%20b")
    expect(page.get_by_role("link", name="Export trace")).to_have_attribute("href", "inspect/trace?room=a%20%26%20b")
    page.get_by_label("Say something").fill("hello")
    page.get_by_label("Say something").press("Enter")
    until(lambda: inspector.done, "the action")
    assert (inspector.done[0]["action"], inspector.done[0]["room"]) == ("say", "a & b")
    page.goto(f"{page.url}#lesson=no-limit")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page).to_have_url(f"{inspector.url}?room=a%20%26%20b")  # the lessons leave the room as it is
    asked = len(inspector.asked)
    page.reload()
    expect(row_of(page, 7)).to_be_visible()
    assert [plus(each) for each in inspector.asked[asked:] if "live" in each] == ["/inspect/live?room=a+%26+b"]
    expect(page.get_by_label("room")).to_have_value("a & b")


def test_the_browsers_way_back_leads_to_the_room_before(inspector: Inspector, look: Look) -> None:
    page = look()
    choose(inspector, page)
    page.go_back()
    until_lobby(inspector)
    expect(row_of(page, 2)).to_be_visible()
    expect(page.get_by_label("room")).to_have_value("lobby")


def test_a_room_that_ends_says_so_and_offers_the_lobby_and_is_drawn_again_when_there_is_a_new_one(
    inspector: Inspector, look: Look
) -> None:
    page = look()
    choose(inspector, page)
    inspector.gone("a & b", rooms={"count": 1, "fullest": [{"name": "lobby", "clients": 2}]})
    gone = page.get_by_role("status").filter(has_text="The room a & b has ended.")
    expect(gone).to_contain_text("What you see is the last picture of it.")
    page.set_viewport_size({"width": 390, "height": 800})
    page.get_by_role("heading", name="What happened").scroll_into_view_if_needed()
    expect(gone).to_be_in_viewport(ratio=1)
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(row_of(page, 7)).to_be_visible()
    expect(page.locator("#when")).to_have_text("last picture")
    inspector.show(client(9), **{**IN_ROOM, "log": {**LOG, "epoch": "a new one"}})
    expect(row_of(page, 9)).to_be_visible()
    expect(gone).to_be_hidden()
    expect(page.get_by_role("slider", name="The last minute")).to_have_attribute("max", "0")
    inspector.gone("a & b")
    gone.get_by_role("button", name="To the lobby").click()
    until_lobby(inspector)
    assert page.url == inspector.url
    expect(gone).to_be_hidden()
    page.goto(f"{inspector.url}?room=Nowhere")
    inspector.gone("nowhere")
    expect(page.get_by_role("status").filter(has_text="There is no room nowhere at present.")).to_be_visible()
    assert page.url == f"{inspector.url}?room=nowhere", "the one spelling of the name"
    expect(page.locator("#stage")).to_be_hidden()


def test_the_hub_of_a_room_with_a_number_for_a_name_is_no_client(inspector: Inspector, look: Look) -> None:
    page = look()
    page.goto(f"{inspector.url}?room=7")
    hub = {"thread": thread("hub-7", "selecting"), "paused": False, "clients": 2, "messages": 0, "batches": 0}
    crowd = {"count": 9, "fill": [10] + 15 * [0], "reading": {}, "writing": {}}
    inspector.show(client(1), room="7", hub={**hub, "evicted": 0}, crowd=crowd)
    expect(page.get_by_role("group", name="All clients")).to_be_visible()
    page.locator("#hub").click()
    expect(page.get_by_role("region", name="hub-7")).to_contain_text("waits for a message")
    assert [asked for asked in inspector.asked if "watch=" in asked] == []


def test_the_log_is_beside_the_hub_with_what_one_who_joins_reads_behind_it(inspector: Inspector, look: Look) -> None:
    page = look()
    box = page.get_by_role("button", name="log ids 3 to 1,042 · 31K bytes")
    expect(page.locator(".room-log li")).to_have_text(
        ["1042msgBob: hello\nyou", "1041msgAnn: good morning", "1040joinBob"]
    )
    for width in 1280, 1600, 1000, 390:
        page.set_viewport_size({"width": width, "height": 800})
        until(lambda: page.evaluate(BELOW_THE_HUB), "the log below the hub, as wide as the middle of the drawing")
    page.set_viewport_size({"width": 1280, "height": 800})
    box.hover()
    expect(page.locator("#hint")).to_contain_text("keeps ids 3 to 1,042: 1,040 entries, 31,000 bytes of text")
    box.click()
    detail = page.get_by_role("region", name="The log of the room")
    rows = detail.locator("tbody tr")
    told = ["1,042msgBob 7f3a9c1hello\nyou", "1,041msgAnn 0b5e227good morning", "1,040joinBob 7f3a9c"]
    expect(rows).to_have_text(told)
    expect(detail.locator("dd")).to_have_text(
        [
            "kX3-aB",
            "3 to 1,042, of at most 10,000",
            "ids 843 to 1,042 (the last 200 messages)",
            "what came after its token, from id 2 of this epoch on; with any other token it is told of a gap",
        ]
    )
    until(lambda: "/inspect/source?file=room.py&function=Room.record" in map(decoded, inspector.asked))
    detail.get_by_role("button", name="what reads it").click()
    until(lambda: "/inspect/source?file=protocols/v1.py&function=V1._catch_up" in map(decoded, inspector.asked))
    empty: dict[str, Any] = {"first": 1, "top": 0, "bytes": 0, "recoverable": False, "newcomer": 0, "newest": []}
    page.keyboard.press("p")
    inspector.show(client(1), log={**LOG, **empty})
    expect(page.locator("#when")).to_have_text("0.1 s ago")
    expect(rows).to_have_count(3)
    page.keyboard.press("l")
    expect(rows).to_have_count(0)
    expect(page.get_by_role("button", name="log empty")).to_be_visible()
    expect(detail.locator("dd").nth(1)).to_have_text("none")
    expect(detail.locator("dd").last).to_have_text("as a newcomer, after a gap: nothing is kept for it")


def decoded(address: str) -> str:
    return address.replace("%2F", "/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_a_room_and_its_names_are_text(inspector: Inspector, look: Look, scheme: str) -> None:
    page = look(color_scheme=scheme, reduced_motion="reduce")
    page.goto(f"{inspector.url}?room={quote(EVIL)}")
    page.evaluate(AXE)
    entry = {"id": 1, "kind": "msg", "by": EVIL, "name": EVIL, "n": 1, "text": EVIL}
    rooms = {"count": 1_002, "fullest": [{"name": EVIL.lower(), "clients": 1}, {"name": "x" * 64, "clients": 0}]}
    inspector.show(client(1), room=EVIL.lower(), log={**LOG, "newest": [entry]}, rooms=rooms)
    expect(page.get_by_label("room").locator("option").last).to_have_text("and 1,000 more: /inspect?room=NAME")
    page.locator(".room-log button").click()
    expect(page.locator("#detail td").last).to_have_text(EVIL)
    inspector.gone(EVIL.lower())
    expect(page.locator("#gone")).to_contain_text(EVIL.lower())
    for width in 1280, 390:
        page.set_viewport_size({"width": width, "height": 800})
        found = page.evaluate("axe.run().then(({ violations }) => violations)")
        assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("main :is(img, b b)").count() == 0
    expect(page).to_have_title("threadchat: the inspector")
