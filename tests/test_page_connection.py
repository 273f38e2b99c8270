"""The chat page's connection: lost, found again, and what the page says meanwhile."""

from __future__ import annotations

import re
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest
from chat_page import (
    IMPATIENT_TIMERS,
    LONG_WAITS,
    QUICK_TIMERS,
    SHORT_WAITS,
    Enter,
    Visit,
    field_of,
    messages_of,
    notices_of,
    status_of,
    texts_of,
    write,
)
from playwright.sync_api import Page, Route, expect
from scripted_v1 import Scripted

from threadchat.shared_room import REPLACED
from threadchat.web.drain import GOODBYE

EVENTS = {
    "online": "window.dispatchEvent(new Event('online'))",
    "pageshow": "window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))",
    "visible": "document.dispatchEvent(new Event('visibilitychange'))",
}


def test_the_page_goes_on_after_the_last_entry_it_saw(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(SHORT_WAITS, hello={"top": 2})
    line.send(line.entry(id=1, text="one"), line.entry(id=2, text="two"))
    line.say("three", "four")
    expect(messages_of(page)).to_have_count(4)
    field_of(page).fill("typing")
    line.cut()
    again = scripted.join()
    assert again.since == "t4"
    assert (again.name, again.session) == ("Ann", line.session)
    again.hello(top=6)
    again.send(again.entry(id=5, text="five"), again.entry(id=6, text="six"))
    expect(texts_of(page)).to_have_text(["one", "two", "three", "four", "five", "six"])
    expect(notices_of(page)).to_have_text(["You joined here"])
    expect(field_of(page)).to_have_value("typing")


def test_a_page_cut_in_its_history_asks_for_the_rest(scripted: Scripted, enter: Enter) -> None:
    _, line = enter(SHORT_WAITS, hello={"top": 9, "token": "before-the-history"})
    line.cut()
    again = scripted.join()
    assert again.since == "before-the-history"
    again.hello(top=9, token="before-the-history")
    again.send(again.entry(id=1, text="one"))
    again.cut()
    assert scripted.join().since == "t1"


def test_an_entry_that_comes_twice_is_shown_once(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(SHORT_WAITS)
    one, two = line.entry(text="one"), line.entry(text="two")
    line.send(one, one)
    line.send(two, one)
    line.cut()
    again = scripted.join()
    assert again.since == "t2"
    again.hello(top=2).send(one, two, again.entry(text="three"))
    expect(texts_of(page)).to_have_text(["one", "two", "three"])


def test_a_gap_is_a_line_that_says_so(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(SHORT_WAITS)
    line.say("before")
    expect(messages_of(page)).to_have_count(1)
    line.cut()
    # Another epoch: the ids begin again.
    again = scripted.join().hello(top=1, recovered=False)
    again.send({"type": "gap"}, again.entry(id=1, text="history"))
    again.say("new")
    expect(texts_of(page)).to_have_text(["before", "history", "new"])
    expect(notices_of(page)).to_have_text(["Messages may be missing here."])
    # And once more, while the page is connected.
    again.send({"type": "gap"}, again.entry(id=1, token="other", text="of another log"))
    expect(texts_of(page)).to_have_text(["before", "history", "new", "of another log"])
    expect(notices_of(page)).to_have_count(2)
    again.cut()
    assert scripted.join().since == "other"


def test_a_short_loss_is_not_mentioned(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(SHORT_WAITS)
    page.evaluate("""() => {
        window.states = [];
        new MutationObserver(() => states.push(document.body.dataset.connection))
            .observe(document.body, { attributes: true });
    }""")
    line.cut()
    scripted.join().hello().say("back")
    expect(messages_of(page)).to_have_count(1)
    expect(status_of(page)).to_have_text("Connected ")
    assert set(page.evaluate("states")) <= {"connected"}


def lost(page: Page) -> None:
    expect(page.get_by_role("button", name="Reconnect now")).to_be_visible()


def test_the_status_counts_the_seconds(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(LONG_WAITS)
    line.close(1001)
    expect(status_of(page)).to_have_text(re.compile(r"The server is stopping\. Reconnecting in 59\d seconds"))
    fewer = re.compile(r"The server is stopping\. Reconnecting in 5(9[0-7]|[0-8]\d) seconds")
    expect(status_of(page)).to_have_text(fewer)


def test_a_server_that_restarts_is_waited_for_shortly_however_often_others_have_failed(
    scripted: Scripted, enter: Enter
) -> None:
    page, line = enter(LONG_WAITS)
    line.close(1001)
    lost(page)
    page.get_by_role("button", name="Reconnect now").click()
    scripted.join().hello().close(1012)
    expect(status_of(page)).to_contain_text("The server restarts. Reconnecting in 59")


@pytest.mark.parametrize("way", ["click", "keyboard", *EVENTS])
def test_a_waiting_page_reconnects_at_once_when_there_is_a_reason(scripted: Scripted, enter: Enter, way: str) -> None:
    page, line = enter(LONG_WAITS)
    button = page.get_by_role("button", name="Reconnect now")
    expect(button).to_be_hidden()
    line.cut()
    lost(page)
    if way == "click":
        button.click()
    elif way == "keyboard":
        button.press("Enter")
    else:
        page.evaluate(EVENTS[way])
    scripted.join().hello()
    expect(status_of(page)).to_have_text("Connected ")
    expect(button).to_be_hidden()
    if way in ("click", "keyboard"):
        expect(field_of(page)).to_be_focused()


@pytest.mark.parametrize("event", EVENTS)
def test_an_open_connection_is_checked_when_the_path_may_have_changed(
    scripted: Scripted, enter: Enter, event: str
) -> None:
    page, line = enter(QUICK_TIMERS, LONG_WAITS)
    line.say("one")
    expect(messages_of(page)).to_have_count(1)
    page.evaluate(EVENTS[event])  # and nothing comes: the path is dead
    again = scripted.join()
    assert again.since == "t1"
    again.hello(top=1).say("two")
    expect(texts_of(page)).to_have_text(["one", "two"])
    expect(status_of(page)).to_have_text("Connected ")


def test_a_connection_that_is_alive_stays(scripted: Scripted, enter: Enter) -> None:
    page, line = enter()
    for event in EVENTS.values():
        page.evaluate(event)
    line.say("alive")
    expect(messages_of(page)).to_have_count(1)
    page.evaluate("new Promise(resolve => setTimeout(resolve, 3500))")  # longer than the check takes
    assert scripted.arrivals.empty()


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (1001, "", "The server is stopping."),
        (1008, "it was 256 messages behind", "The server removed this page: it was 256 messages behind."),
        (1008, "", "The server removed this page: it was not keeping up."),
        (1009, "", "The server found a message too long."),
        (1012, "", "The server restarts."),
        (*GOODBYE, "The server restarts."),
        (*REPLACED, "The room's log was replaced."),
        (1013, "", "The server is busy."),
        (4000, "", "The connection ended."),
        (1006, "", "The connection was lost."),
    ],
)
def test_the_page_says_why_the_connection_ended(enter: Enter, code: int, reason: str, words: str) -> None:
    page, line = enter(LONG_WAITS)
    line.say("last words")
    if code == 1006:
        line.cut()
    else:
        line.close(code, reason)
    expect(status_of(page)).to_contain_text(f"{words} Reconnecting in 59")
    expect(texts_of(page)).to_have_text(["last words"])


def test_a_person_put_out_by_the_organiser_does_not_come_back_by_itself(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(QUICK_TIMERS, SHORT_WAITS)
    line.close(4001, "enough for today")
    expect(status_of(page)).to_have_text("You were put out of this room (enough for today). ")
    for event in EVENTS.values():
        page.evaluate(event)
    write(page, "let me in")
    expect(field_of(page)).to_have_value("let me in")
    expect(page.locator("#note")).to_have_text("You are not in this room.")
    page.evaluate("new Promise(resolve => setTimeout(resolve, 40_000))")  # longer than the longest wait, by its timers
    assert scripted.arrivals.empty()
    page.get_by_role("button", name="Reconnect now").click()
    scripted.join().hello()
    expect(status_of(page)).to_have_text("Connected ")


def test_the_waits_grow_up_to_half_a_minute_until_a_connection_has_held(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(
        """
        window.longest = [];
        Math.random = () => 0;
        const { min } = Math;
        Math.min = (...values) => { longest.push(min(...values)); return min(...values); };
        """
    )
    for _ in range(7):
        line.cut()
        line = scripted.join().hello()
    line.say("here")
    expect(messages_of(page)).to_have_count(1)
    assert page.evaluate("longest") == [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]


def test_a_server_that_does_not_greet_is_given_up(scripted: Scripted, visit: Visit) -> None:
    page = visit(f"{scripted.url}?name=Ann", IMPATIENT_TIMERS, SHORT_WAITS, wait=False)
    scripted.join()  # and says nothing
    scripted.join().hello()
    expect(status_of(page)).to_have_text("Connected ")


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_meanwhile_does_not_change_the_wait(enter: Enter, hours: int) -> None:
    page, line = enter(LONG_WAITS)
    line.cut()
    expect(status_of(page)).to_contain_text("Reconnecting in 59")
    page.evaluate("hours => { const now = Date.now; Date.now = () => now() + hours * 3600e3; }", hours)
    expect(status_of(page)).to_contain_text(re.compile(r"Reconnecting in 59[0-6] seconds"))


@pytest.mark.parametrize("width", [390, 1280])
def test_a_lost_connection_moves_nothing(enter: Enter, width: int) -> None:
    page, line = enter(LONG_WAITS, viewport={"width": width, "height": 700})
    parts = [page.locator(part) for part in ("main", "h1", "#rooms-button", "#here", "#guide", "#form")]
    before = [part.bounding_box() for part in parts]
    line.cut()
    expect(page.get_by_role("button", name="Reconnect now")).to_be_in_viewport(ratio=1)
    assert [part.bounding_box() for part in parts] == before


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("path", "socket_path", "mount"),
    [
        ("", "ws", ""),
        ("r/tea%20room", "r/tea%20room/ws", ""),
        ("some/chat/", "some/chat/ws", "some/chat/"),
        ("some/chat/r/tea", "some/chat/r/tea/ws", "some/chat/"),
    ],
)
def test_everything_is_below_the_pages_address(
    scripted: Scripted, visit: Visit, scheme: str, path: str, socket_path: str, mount: str
) -> None:
    page = visit("about:blank", wait=False)
    root = f"{scheme}://chat.test/"

    def proxy(route: Route) -> None:
        with urlopen(urljoin(scripted.url, route.request.url.removeprefix(root + mount))) as answer:
            route.fulfill(body=answer.read(), content_type=answer.headers["Content-Type"])

    addresses: list[str] = []
    page.route(f"{root}**", proxy)
    page.route_web_socket(re.compile(".*"), lambda socket: addresses.append(socket.url))
    page.goto(f"{root}{path}?name=Ann#c")
    expect(status_of(page)).to_contain_text("Connecting")
    assert addresses == [f"{scheme.replace('http', 'ws')}://chat.test/{socket_path}?name=Ann"]
    expect(page.get_by_role("link", name="Guide")).to_have_attribute("href", f"{root}{mount}guide")
    page.get_by_role("button", name="Rooms").click()
    expect(page.get_by_role("link", name="The lobby")).to_have_attribute("href", f"{root}{mount}?name=Ann")
