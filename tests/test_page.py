"""The chat page in a real browser, against a real server: talking, and that everybody can use it."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_page import (
    LONG_WAITS,
    SHORT_WAITS,
    Visit,
    field_of,
    frames_sent_by,
    log_of,
    messages_of,
    more_of,
    notices_of,
    numbered,
    say,
    scroll_to,
    status_of,
    write,
)
from helpers import Running, Serve, contrast, luminance
from playwright.sync_api import ConsoleMessage, expect

WWW = Path(__file__).parents[1] / "www"


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


def test_an_empty_log_says_what_will_be_seen_and_not_that_nothing_was_said(server: Running, visit: Visit) -> None:
    say(server, ["said before anyone looked"])
    page = visit(server.url)
    nothing = page.get_by_text("You see what is said from now on.")
    expect(nothing).to_be_visible()
    write(page, "something")
    expect(nothing).to_be_hidden()


def test_the_limit_shows_while_typing(server: Running, visit: Visit) -> None:
    page = visit(server.url)
    sent = frames_sent_by(page)
    field, counter = field_of(page), page.locator("#counter")
    send = page.get_by_role("button", name="Send")

    field.fill("é" * 200)
    expect(counter).to_have_text("")
    expect(field).to_have_attribute("aria-invalid", "false")
    field.fill("é" * 250)
    expect(counter).to_have_text("Room for 6 more characters")
    field.fill("é" * 256)
    expect(counter).to_have_text("Room for 0 more characters")
    expect(field).to_have_attribute("aria-invalid", "false")
    expect(send).to_be_enabled()

    field.press("End")
    page.keyboard.type("a")
    expect(counter).to_have_text("1 character too long to send")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description("1 character too long to send")
    expect(send).to_be_disabled()
    field.press("Enter")
    send.click(force=True)
    expect(field).to_have_value("é" * 256 + "a")

    field.press("Backspace")
    expect(field).to_have_attribute("aria-invalid", "false")
    field.fill("  " + "é" * 256 + "  ")
    expect(counter).to_have_text("Room for 0 more characters")
    field.press("Enter")
    expect(messages_of(page)).to_have_text(["é" * 256])
    expect(counter).to_have_text("")
    assert sent == ["é" * 256]


def test_a_screen_reader_hears_once_that_a_text_is_too_long(server: Running, visit: Visit) -> None:
    page = visit(server.url)
    page.evaluate("""() => {
        window.heard = [];
        new MutationObserver(records => {
            for (const { target } of records) {
                const region = (target.closest ? target : target.parentElement).closest("[aria-live], [role=status]");
                if (region) window.heard.push(region.textContent);
            }
        }).observe(document.body, { subtree: true, childList: true, characterData: true });
    }""")
    field_of(page).fill("x" * 500)
    field_of(page).press("End")
    page.keyboard.type("y" * 40)
    expect(page.locator("#counter")).to_have_text("28 characters too long to send")
    field_of(page).fill("short")
    expect(page.locator("#counter")).to_have_text("")
    page.keyboard.type(" again")
    assert page.evaluate("heard") == ["The message has become too long.", "The message fits again."]


def test_an_emoji_of_several_parts_counts_as_one_character(server: Running, visit: Visit) -> None:
    page = visit(server.url)
    field_of(page).fill("x" * 512 + "👩‍👩‍👧" * 2)
    expect(page.locator("#counter")).to_have_text("2 characters too long to send")


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("see https://example.org/a?b=c#d.", ["https://example.org/a?b=c#d"]),
        (
            "(http://example.org/x_(y)) and HTTPS://EXAMPLE.org/z!",
            ["http://example.org/x_(y)", "HTTPS://EXAMPLE.org/z"],
        ),
        ("“https://example.org”, <https://example.net/>", ["https://example.org", "https://example.net/"]),
        ("javascript:alert(1) ftp://example.org https:// xhttps://example.org", []),
        ("https://example.org/<b>x</b>", ["https://example.org/"]),
    ],
)
def test_addresses_become_links_and_everything_else_stays_text(
    server: Running, visit: Visit, text: str, links: list[str]
) -> None:
    page = visit(server.url)
    write(page, text)
    expect(messages_of(page)).to_have_text([text])
    found = messages_of(page).locator("a")
    assert found.all_inner_texts() == links
    for link in found.all():
        expect(link).to_have_attribute("href", link.inner_text())
        expect(link).to_have_attribute("rel", "noopener noreferrer")
        expect(link).to_have_attribute("target", "_blank")
    assert messages_of(page).locator("*").count() == len(links)


def test_the_server_sets_the_limit(serve: Serve, visit: Visit) -> None:
    page = visit(serve(message_size=16).url)
    write(page, "🧵🧵🧵🧵a")
    expect(page.locator("#counter")).to_have_text("1 character too long to send")
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
    expect(page.locator("#counter")).to_have_text("4 characters too long to send")
    expect(field_of(page)).to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize("answer", ["", "<p>no</p>", "null", '{"message_size": "many"}', '{"message_size": 0}'])
def test_the_limit_stays_512_when_the_server_does_not_say(serve: Serve, visit: Visit, answer: str) -> None:
    page = visit("about:blank", wait=False)
    page.route("**/limits", lambda route: route.fulfill(body=answer) if answer else route.abort())
    page.goto(serve(message_size=16).url)
    expect(status_of(page)).to_have_text("Connected ")
    field_of(page).fill("x" * 513)
    expect(page.locator("#counter")).to_have_text("1 character too long to send")


def test_a_browser_without_websockets_gets_a_notice(server: Running, visit: Visit) -> None:
    page = visit(server.url, "delete window.WebSocket", wait=False)
    expect(notices_of(page)).to_have_text(["This browser has no WebSockets, so this page cannot chat."])
    expect(status_of(page)).to_contain_text("Not connected")
    expect(field_of(page)).to_be_disabled()


def test_a_browser_without_scripts_gets_a_notice(server: Running, visit: Visit) -> None:
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
