"""The chat page's connection: lost, found again, and what the page says meanwhile."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest
from chat_page import (
    LONG_WAITS,
    SHORT_WAITS,
    Visit,
    field_of,
    notices_of,
    rows_of,
    say,
    status_of,
    visit_without_server,
    write,
)
from helpers import Running, Serve
from playwright.sync_api import Route, expect


def test_the_page_comes_back_when_the_server_does(serve: Serve, visit: Visit) -> None:
    old = serve()
    page = visit(old.url, SHORT_WAITS)
    old.stop()
    expect(notices_of(page)).to_have_text(["Connection closed."])
    expect(status_of(page)).to_have_text(re.compile(r"Reconnecting in \d+ seconds?$"))
    expect(status_of(page)).to_contain_text("Could not connect.")  # an attempt has failed
    write(page, "patience")
    expect(field_of(page)).to_have_value("patience")

    new = serve(port=old.port)
    expect(status_of(page)).to_have_text("Connected ", timeout=30_000)
    expect(field_of(page)).to_have_value("patience")
    field_of(page).press("Enter")
    again = ["Connection closed.", "Connected again. What was said in between is not shown."]
    expect(rows_of(page)).to_have_text([*again, "patience"])
    say(new, ["welcome back"])
    expect(rows_of(page)).to_have_text([*again, "patience", "welcome back"])


@pytest.mark.parametrize("way", ["click", "keyboard", "online", "visible"])
def test_a_waiting_page_reconnects_at_once_when_there_is_a_reason(serve: Serve, visit: Visit, way: str) -> None:
    old = serve()
    page = visit(old.url, LONG_WAITS)
    button = page.get_by_role("button", name="Reconnect now")
    expect(button).to_be_hidden()
    old.stop()
    expect(status_of(page)).to_have_text("The server is stopping. Reconnecting in 600 seconds")
    expect(status_of(page)).to_have_text("The server is stopping. Reconnecting in 599 seconds")
    serve(port=old.port)
    if way == "click":
        button.click()
    elif way == "keyboard":
        button.press("Enter")
    elif way == "online":
        page.evaluate("window.dispatchEvent(new Event('online'))")
    else:
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(status_of(page)).to_have_text("Connected ")
    expect(button).to_be_hidden()
    if way in ("click", "keyboard"):
        expect(field_of(page)).to_be_focused()


@pytest.mark.parametrize(
    ("code", "reason", "words", "rows"),
    [
        (1001, "", "The server is stopping.", ["Connection closed."]),
        (
            1008,
            "it was 256 messages behind",
            "The server removed this page: it was 256 messages behind.",
            ["Connection closed.", "The server removed this page: it was 256 messages behind."],
        ),
        (
            1008,
            "",
            "The server removed this page: it was not keeping up.",
            ["Connection closed.", "The server removed this page: it was not keeping up."],
        ),
        (
            1009,
            "",
            "The server found a message too long.",
            ["Connection closed.", "The server found a message too long."],
        ),
        (1013, "", "The server is busy.", ["last words"]),
        (4000, "", "The connection ended.", ["Connection closed."]),
    ],
)
def test_the_page_says_why_the_connection_ended(
    server: Running, visit: Visit, code: int, reason: str, words: str, rows: list[str]
) -> None:
    page, socket = visit_without_server(server, visit, LONG_WAITS)
    socket.send("last words")
    socket.close(code=code, reason=reason)
    expect(status_of(page)).to_contain_text(f"{words} Reconnecting in 600 seconds")
    expect(rows_of(page)).to_have_text(["last words", *(row for row in rows if row != "last words")])


def test_the_page_says_that_the_connection_was_lost(server: Running, visit: Visit) -> None:
    # A connection that ends without a close frame.
    page = visit(
        server.url,
        LONG_WAITS,
        """window.WebSocket = class extends WebSocket {
            constructor(url) { super(url); window.lose = () => this.onclose({ code: 1006, reason: "" }); }
        }""",
    )
    page.evaluate("lose()")
    expect(status_of(page)).to_contain_text("The connection was lost. Reconnecting in")
    expect(rows_of(page)).to_have_text(["Connection closed."])


def test_the_websocket_and_the_limits_are_below_the_pages_address(serve: Serve, visit: Visit) -> None:
    server = serve(message_size=16)
    addresses: list[str] = []

    def proxy(route: Route) -> None:
        path = route.request.url.removeprefix("https://chat.test/some/room/")
        route.fulfill(response=route.fetch(url=urljoin(server.url, path.partition("?")[0])))

    page = visit("about:blank", wait=False)
    page.route("https://chat.test/some/room/**", proxy)
    page.route_web_socket(re.compile(".*"), lambda socket: addresses.append(socket.url))
    page.goto("https://chat.test/some/room/?a=b#c")
    expect(status_of(page)).to_have_text("Connected ")
    assert addresses == ["wss://chat.test/some/room/ws"]
    field_of(page).fill("x" * 17)
    expect(page.locator("#counter")).to_have_text("1 character too long to send")


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_meanwhile_does_not_change_the_wait(serve: Serve, visit: Visit, hours: int) -> None:
    server = serve()
    page = visit(server.url, LONG_WAITS)
    server.stop()
    expect(status_of(page)).to_contain_text("Reconnecting in 600 seconds")
    page.evaluate("hours => { const now = Date.now; Date.now = () => now() + hours * 3600e3; }", hours)
    expect(status_of(page)).to_contain_text(re.compile(r"Reconnecting in 59[0-9] seconds"))


@pytest.mark.parametrize("width", [390, 1280])
def test_a_lost_connection_moves_nothing(serve: Serve, visit: Visit, width: int) -> None:
    server = serve()
    page = visit(server.url, LONG_WAITS, viewport={"width": width, "height": 700})
    before = page.locator("main").bounding_box()
    server.stop()
    expect(page.get_by_role("button", name="Reconnect now")).to_be_in_viewport(ratio=1)
    assert page.locator("main").bounding_box() == before
