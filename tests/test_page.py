"""The chat page in a real browser, against a real server.

The page's content security policy forbids `eval`, which `wait_for_function` needs; so everything here waits through
`expect`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from helpers import LIMIT, Running, Serve, contrast, luminance
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Route, WebSocketRoute, expect
from websockets.sync.client import connect

WWW = Path(__file__).parents[1] / "www"
MAX_ROWS = 5000  # as in www/chat/log.js

# The waits before reconnecting are random; these make them short, or far longer than any test.
SHORT_WAITS = "Math.random = () => 0.2"
LONG_WAITS = "Math.random = () => 600"


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open a page as a visitor of its own, with the scripts given run before the page's own."""
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


@pytest.fixture
def full_page(server: Running, visit: Visit) -> Page:
    """A page with 100 messages, far more than fit into its window."""
    page = visit(server.url)
    say(server, numbered(100))
    expect(messages_of(page)).to_have_count(100)
    return page


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
    """Send the lines from outside the page, never far ahead of what the server passes on."""
    with connect(server.ws_url) as client:
        for start in range(0, len(lines), 50):
            part = lines[start : start + 50]
            for line in part:
                client.send(line)
            heard = 0
            while heard < len(part):
                heard += len(str(client.recv(LIMIT)).split("\n"))


def frames_sent_by(page: Page) -> list[str | bytes]:
    """A list that grows with each message the page sends, once the page is loaded again."""
    sent: list[str | bytes] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda payload: sent.append(payload)))
    page.reload()
    expect(status_of(page)).to_have_text("Connected ")
    return sent


def visit_without_server(server: Running, visit: Visit, *scripts: str) -> tuple[Page, WebSocketRoute]:
    """A page whose WebSocket ends here instead of at the server, and that end."""
    sockets: list[WebSocketRoute] = []
    page = visit("about:blank", *scripts, wait=False)
    page.route_web_socket("**/ws", lambda socket: sockets.append(socket))
    page.goto(server.url)
    expect(status_of(page)).to_have_text("Connected ")
    return page, sockets[0]


def bottom_of(page: Page) -> int:
    return int(log_of(page).evaluate("log => log.scrollHeight - log.clientHeight"))


def scroll_to(page: Page, top: int) -> None:
    log_of(page).evaluate("(log, top) => { log.scrollTop = top; }", top)


def numbered(count: int, word: str = "row") -> list[str]:
    return [f"{word} {number}" for number in range(count)]


# Talking


def test_two_pages_talk(server: Running, visit: Visit) -> None:
    one, other = visit(server.url), visit(server.url)
    write(one, "hello from one")
    expect(messages_of(other)).to_have_text(["hello from one"])
    field_of(other).fill("hello from the other")
    other.get_by_role("button", name="Send").click()
    for page in (one, other):
        expect(messages_of(page)).to_have_text(["hello from one", "hello from the other"])
        expect(field_of(page)).to_have_value("")
    expect(field_of(other)).to_be_focused()


def test_html_in_a_message_is_only_text(server: Running, visit: Visit) -> None:
    text = '<b>bold</b> &amp; <img src="x" onerror="document.title = \'bad\'">'
    page = visit(server.url)
    write(page, text)
    expect(messages_of(page)).to_have_text([text])
    assert messages_of(page).locator("*").count() == 0
    assert page.title() == "threadchat"


def test_several_lines_in_one_message_are_several_rows(server: Running, visit: Visit) -> None:
    page = visit("about:blank", wait=False)
    page.route_web_socket("**/ws", lambda socket: socket.send("one\ntwo\n\nfour"))
    page.goto(server.url)
    expect(messages_of(page)).to_have_text(["one", "two", "", "four"])


def test_nothing_empty_is_sent(server: Running, visit: Visit) -> None:
    page = visit(server.url)
    sent = frames_sent_by(page)
    for text in ("", " ", " \t\u00a0\u3000 "):
        write(page, text)
    write(page, "  something  ")
    expect(messages_of(page)).to_have_text(["something"])
    assert sent == ["something"]


def test_an_empty_log_says_so_until_something_is_said(server: Running, visit: Visit) -> None:
    page = visit(server.url)
    nothing = page.get_by_text("Nothing has been said yet.")
    expect(nothing).to_be_visible()
    write(page, "something")
    expect(nothing).to_be_hidden()


# Scrolling


def test_new_rows_scroll_into_view_at_the_bottom(full_page: Page) -> None:
    expect(messages_of(full_page).last).to_be_in_viewport(ratio=1)
    expect(messages_of(full_page).first).not_to_be_in_viewport()
    expect(more_of(full_page)).to_be_hidden()


def test_new_rows_do_not_scroll_away_what_is_read(server: Running, full_page: Page) -> None:
    scroll_to(full_page, 500)
    say(server, ["one more"])
    expect(more_of(full_page)).to_have_text("1 new message")
    say(server, numbered(30, "more"))
    expect(more_of(full_page)).to_have_text("31 new messages")
    assert log_of(full_page).evaluate("log => log.scrollTop") == 500


@pytest.mark.parametrize("way", ["click", "keyboard", "by hand"])
def test_the_new_messages_button_leads_to_the_bottom(server: Running, full_page: Page, way: str) -> None:
    scroll_to(full_page, 0)
    say(server, ["news"])
    button = full_page.get_by_role("button", name="1 new message")
    expect(button).to_be_visible()
    if way == "click":
        button.click()
        expect(field_of(full_page)).to_be_focused()
    elif way == "keyboard":
        button.press("Enter")
        expect(log_of(full_page)).to_be_focused()
    else:
        scroll_to(full_page, bottom_of(full_page))
    expect(more_of(full_page)).to_be_hidden()
    expect(messages_of(full_page).last).to_be_in_viewport(ratio=1)
    say(server, ["later news"])
    expect(messages_of(full_page)).to_have_count(102)
    expect(messages_of(full_page).last).to_be_in_viewport(ratio=1)
    expect(more_of(full_page)).to_be_hidden()


def test_a_smaller_window_stays_at_the_bottom(full_page: Page) -> None:
    full_page.set_viewport_size({"width": 600, "height": 300})
    expect(messages_of(full_page).last).to_be_in_viewport(ratio=1)


def test_a_burst_shows_in_order_and_old_rows_go(server: Running, visit: Visit) -> None:
    page = visit(server.url)
    lines = numbered(MAX_ROWS + 200)
    say(server, lines)
    expect(rows_of(page).last).to_have_text(lines[-1], timeout=30_000)
    shown = log_of(page).evaluate("log => Array.from(log.children, row => row.textContent)")
    assert shown == lines[-MAX_ROWS:]
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)

    # Old rows go from above what is being read, and it does not move on the screen.
    row = rows_of(page).nth(2000)
    text = row.text_content()
    assert text is not None
    row.evaluate("row => row.scrollIntoView()")
    row = log_of(page).get_by_text(text, exact=True)
    place = row.bounding_box()
    say(server, numbered(150, "new"))
    expect(more_of(page)).to_have_text("150 new messages")
    assert rows_of(page).count() == MAX_ROWS
    assert row.bounding_box() == place


def test_a_batch_is_one_change_of_the_page(server: Running, visit: Visit) -> None:
    page, socket = visit_without_server(server, visit)
    log_of(page).evaluate("""log => {
        const observer = new MutationObserver(records => {
            log.dataset.changes = Number(log.dataset.changes ?? 0) + records.length;
        });
        observer.observe(log, { childList: true });
    }""")
    socket.send("\n".join(numbered(1000)))
    expect(messages_of(page)).to_have_count(1000)
    expect(log_of(page)).to_have_attribute("data-changes", "1")


def test_rows_need_no_animation_frames(server: Running, visit: Visit) -> None:
    # A hidden page is given none.
    page = visit(server.url, "window.requestAnimationFrame = () => 0")
    page.evaluate("document.getElementById('msg').value = 'unseen'")
    page.evaluate("document.getElementById('form').requestSubmit()")
    expect(messages_of(page)).to_have_text(["unseen"])


# The limit on length


def test_the_limit_is_felt_while_typing(server: Running, visit: Visit) -> None:
    page = visit(server.url)
    sent = frames_sent_by(page)
    field, counter = field_of(page), page.locator("#counter")
    send = page.get_by_role("button", name="Send")

    field.fill("é" * 200)
    expect(counter).to_have_text("")
    expect(field).to_have_attribute("aria-invalid", "false")
    field.fill("é" * 256)
    expect(counter).to_have_text("512 of 512 bytes")
    expect(field).to_have_attribute("aria-invalid", "false")
    expect(send).to_be_enabled()

    field.press("End")
    page.keyboard.type("a")
    expect(counter).to_have_text("513 of 512 bytes: 1 too many to send")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description("513 of 512 bytes: 1 too many to send")
    expect(send).to_be_disabled()
    field.press("Enter")
    send.click(force=True)
    expect(field).to_have_value("é" * 256 + "a")

    field.press("Backspace")
    expect(field).to_have_attribute("aria-invalid", "false")
    field.fill("  " + "é" * 256 + "  ")
    expect(counter).to_have_text("512 of 512 bytes")
    field.press("Enter")
    expect(messages_of(page)).to_have_text(["é" * 256])
    expect(counter).to_have_text("")
    assert sent == ["é" * 256]


def test_the_server_sets_the_limit(serve: Serve, visit: Visit) -> None:
    page = visit(serve(message_size=16).url)
    write(page, "🧵🧵🧵🧵a")
    expect(page.locator("#counter")).to_have_text("17 of 16 bytes: 1 too many to send")
    expect(field_of(page)).to_have_value("🧵🧵🧵🧵a")
    write(page, "🧵🧵🧵🧵")
    expect(messages_of(page)).to_have_text(["🧵🧵🧵🧵"])


def test_the_limit_is_asked_again_at_each_connection(serve: Serve, visit: Visit) -> None:
    old = serve()
    page = visit(old.url, SHORT_WAITS)
    old.stop()
    expect(notices_of(page)).to_have_text(["Connection closed."])
    field_of(page).fill("x" * 20)
    serve(port=old.port, message_size=16)
    expect(status_of(page)).to_have_text("Connected ", timeout=30_000)
    expect(page.locator("#counter")).to_have_text("20 of 16 bytes: 4 too many to send")
    expect(field_of(page)).to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize("answer", ["", "<p>no</p>", "null", '{"message_size": "many"}', '{"message_size": 0}'])
def test_the_limit_stays_512_when_the_server_does_not_tell(serve: Serve, visit: Visit, answer: str) -> None:
    page = visit("about:blank", wait=False)
    page.route("**/limits", lambda route: route.fulfill(body=answer) if answer else route.abort())
    page.goto(serve(message_size=16).url)
    expect(status_of(page)).to_have_text("Connected ")
    field_of(page).fill("x" * 513)
    expect(page.locator("#counter")).to_have_text("513 of 512 bytes: 1 too many to send")


# The connection


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
def test_there_is_no_need_to_wait(serve: Serve, visit: Visit, way: str) -> None:
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
def test_the_end_is_told_in_plain_words(
    server: Running, visit: Visit, code: int, reason: str, words: str, rows: list[str]
) -> None:
    page, socket = visit_without_server(server, visit, LONG_WAITS)
    socket.send("last words")
    socket.close(code=code, reason=reason)
    expect(status_of(page)).to_contain_text(f"{words} Reconnecting in 600 seconds")
    expect(rows_of(page)).to_have_text(["last words", *(row for row in rows if row != "last words")])


def test_a_lost_connection_is_told(server: Running, visit: Visit) -> None:
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


def test_the_addresses_follow_the_page(serve: Serve, visit: Visit) -> None:
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
    expect(page.locator("#counter")).to_have_text("17 of 16 bytes: 1 too many to send")


# For everyone


def test_a_browser_without_websockets_is_told(server: Running, visit: Visit) -> None:
    page = visit(server.url, "delete window.WebSocket", wait=False)
    expect(notices_of(page)).to_have_text(["This browser has no WebSockets, so this page cannot chat."])
    expect(status_of(page)).to_contain_text("Not connected")
    expect(field_of(page)).to_be_disabled()


def test_a_browser_without_scripts_is_told(server: Running, visit: Visit) -> None:
    page = visit(server.url, wait=False, java_script_enabled=False)
    notice = page.locator("noscript p")
    expect(notice).to_be_visible()
    assert notice.inner_text() == "This page needs JavaScript to chat."


def test_the_keyboard_is_enough(server: Running, visit: Visit) -> None:
    page = visit(server.url)
    expect(field_of(page)).to_be_focused()
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    expect(messages_of(page)).to_have_text(["typed"])
    expect(field_of(page)).to_be_focused()

    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Send")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(log_of(page)).to_be_focused()
    assert log_of(page).evaluate("log => getComputedStyle(log).outlineStyle") == "solid"

    say(server, numbered(100))
    expect(messages_of(page)).to_have_count(101)
    page.keyboard.press("Home")
    expect(messages_of(page).first).to_be_in_viewport(ratio=1)
    page.keyboard.press("End")
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)


def test_everything_has_its_role_and_name(server: Running, visit: Visit) -> None:
    page = visit(server.url)
    expect(log_of(page)).to_have_attribute("aria-live", "polite")
    expect(log_of(page)).to_have_attribute("tabindex", "0")
    expect(field_of(page)).to_be_editable()
    expect(page.get_by_role("button")).to_have_count(1)  # the others only when there is a use for them
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    expect(page.get_by_role("heading", level=1, name="threadchat")).to_be_visible()
    expect(status_of(page)).to_have_count(1)
    # The seconds that tick are not read out.
    expect(status_of(page).locator("[aria-hidden=true]")).to_have_id("countdown")
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_a_normal_visit_has_no_errors_and_loads_nothing_from_elsewhere(server: Running, visit: Visit) -> None:
    page = visit("about:blank", wait=False)
    complaints: list[str] = []
    addresses: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("response", lambda answer: addresses.append(f"{answer.status} {answer.url}"))
    page.add_init_script(
        "document.addEventListener('securitypolicyviolation', event => console.error(event.blockedURI))"
    )
    page.goto(server.url)
    expect(status_of(page)).to_have_text("Connected ")
    write(page, "all well")
    say(server, numbered(100))
    expect(messages_of(page)).to_have_count(101)
    scroll_to(page, 0)
    say(server, ["news"])
    more_of(page).click()
    field_of(page).fill("x" * 600)
    expect(field_of(page)).to_have_attribute("aria-invalid", "true")
    assert complaints == []
    files = {path.relative_to(WWW) for path in (WWW / "chat").iterdir() if path.suffix in (".css", ".js")}
    needed = {"", "limits", "static/base.css", "static/dom.js", "static/icon.svg"} | {
        f"static/{file}" for file in files
    }
    assert {f"200 {server.url}{path}" for path in needed} == set(addresses)


def test_a_phone_does_not_scroll_sideways(serve: Serve, visit: Visit) -> None:
    server = serve()
    phone = {"width": 390, "height": 844}
    page = visit(server.url, LONG_WAITS, viewport=phone, is_mobile=True, has_touch=True)
    say(server, ["w" * 500, "Words " * 60])
    field_of(page).fill("x" * 600)
    expect(messages_of(page)).to_have_count(2)
    server.stop()
    expect(page.get_by_role("button", name="Reconnect now")).to_be_visible()
    for selector in ("html", "header", "#log", ".message", "form"):
        wide, room = page.locator(selector).first.evaluate("item => [item.scrollWidth, item.clientWidth]")
        assert wide <= room <= 390, selector
    assert page.evaluate("innerWidth") == 390
    for item in (field_of(page), page.locator("#send"), page.locator("#reconnect")):
        expect(item).to_be_in_viewport(ratio=1)
    # A smaller size would make a phone zoom in at each tap.
    assert field_of(page).evaluate("field => parseFloat(getComputedStyle(field).fontSize)") >= 16


def test_dark_differs_from_light_and_both_are_readable(serve: Serve, visit: Visit) -> None:
    server = serve()
    behind = {}
    for scheme in ("light", "dark"):
        page = visit(server.url, LONG_WAITS, color_scheme=scheme)
        write(page, "hello")
        expect(messages_of(page)).to_have_count(1)
        field_of(page).fill("x" * 500)
        readable = {name: contrast(page, name) for name in ("h1", "#status", ".message", "#msg", "#send", "#counter")}
        field_of(page).fill("x" * 600)
        expect(field_of(page)).to_have_attribute("aria-invalid", "true")
        readable["#counter, too long"] = contrast(page, "#counter")
        server.stop()
        expect(notices_of(page)).to_have_count(1)
        for name in (".notice", "#status", "#reconnect"):
            readable[f"{name}, not connected"] = contrast(page, name)
        assert min(readable.values()) >= 4.5, readable
        behind[scheme] = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        server = serve(port=server.port)
    assert luminance(behind["light"]) > 0.5 > 0.1 > luminance(behind["dark"])
    assert behind["light"] != behind["dark"]


def test_nothing_moves_for_those_who_want_less_motion(server: Running, visit: Visit) -> None:
    names = {}
    for motion in ("no-preference", "reduce"):
        page = visit("about:blank", wait=False, reduced_motion=motion)
        page.route("**/limits", lambda route: None)  # never answered: the page stays connecting
        page.goto(server.url)
        expect(status_of(page)).to_contain_text("Connecting")
        names[motion] = status_of(page).evaluate("item => getComputedStyle(item, '::before').animationName")
    assert names == {"no-preference": "breathe", "reduce": "none"}
