"""The chat page in a browser, for the tests: how to open it, find its parts and talk to it.

The page's content security policy forbids `eval`, which playwright's `wait_for_function` needs. So the tests wait
through `expect`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import LIMIT, Running
from playwright.sync_api import Browser, Locator, Page, WebSocketRoute, expect
from websockets.sync.client import connect

# The waits before reconnecting are random. These scripts make them short, or far longer than any test.
SHORT_WAITS = "Math.random = () => 0.2"
LONG_WAITS = "Math.random = () => 600"


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """`visit(url, *scripts)` opens a page in a new browser context. The scripts run before the page's own."""
    contexts = []

    def open_page(url: str, *scripts: str, wait: bool = True, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        for script in scripts:
            page.add_init_script(script)
        page.goto(url)
        if wait:
            expect(status_of(page)).to_have_text("Connected ")
        return page

    yield open_page
    for context in contexts:
        context.close()


def log_of(page: Page) -> Locator:
    return page.get_by_role("log", name="Chat messages")


def rows_of(page: Page) -> Locator:
    return log_of(page).locator("> *")


def messages_of(page: Page) -> Locator:
    return log_of(page).locator("> .message")


def notices_of(page: Page) -> Locator:
    return log_of(page).locator("> .notice")


def field_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Your message")


def status_of(page: Page) -> Locator:
    return page.get_by_role("status")


def more_of(page: Page) -> Locator:
    return page.locator("#more")


def write(page: Page, text: str) -> None:
    field_of(page).fill(text)
    field_of(page).press("Enter")


def say(server: Running, lines: list[str]) -> None:
    """Send the lines through a connection outside the page, at most 50 ahead of what the server has passed on."""
    with connect(server.ws_url) as client:
        for start in range(0, len(lines), 50):
            part = lines[start : start + 50]
            for line in part:
                client.send(line)
            heard = 0
            while heard < len(part):
                heard += len(str(client.recv(LIMIT)).split("\n"))


def frames_sent_by(page: Page) -> list[str | bytes]:
    """Load the page again. Returns a list that grows with each message that the page sends."""
    sent: list[str | bytes] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda payload: sent.append(payload)))
    page.reload()
    expect(status_of(page)).to_have_text("Connected ")
    return sent


def visit_without_server(server: Running, visit: Visit, *scripts: str) -> tuple[Page, WebSocketRoute]:
    """A page whose WebSocket is connected to the test instead of the server, and the test's end of it."""
    sockets: list[WebSocketRoute] = []
    page = visit("about:blank", *scripts, wait=False)
    page.route_web_socket("**/ws", lambda socket: sockets.append(socket))
    page.goto(server.url)
    expect(status_of(page)).to_have_text("Connected ")
    return page, sockets[0]


def scroll_to(page: Page, top: int) -> None:
    log_of(page).evaluate("(log, top) => { log.scrollTop = top; }", top)


def numbered(count: int, word: str = "row") -> list[str]:
    return [f"{word} {number}" for number in range(count)]
