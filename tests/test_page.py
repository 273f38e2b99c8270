"""The chat page in a real browser: what is written and shown, and that everybody can use it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from chat_page import (
    LONG_WAITS,
    Enter,
    Visit,
    axe_complaints,
    field_of,
    log_of,
    messages_of,
    more_of,
    name_of,
    notices_of,
    numbered,
    outgoing_of,
    scroll_to,
    scroller_of,
    status_of,
    texts_of,
    write,
)
from helpers import contrast, luminance
from playwright.sync_api import ConsoleMessage, Page, expect
from scripted_v1 import ME, Line, Scripted

WWW = Path(__file__).parents[1] / "www"
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


def test_html_in_a_message_is_only_text(enter: Enter) -> None:
    text = '<b>bold</b> &amp; <img src="x" onerror="document.title = \'bad\'">'
    page, line = enter()
    line.say(text, name=text)
    expect(texts_of(page)).to_have_text([text])
    expect(messages_of(page).locator(".name")).to_have_text([text])
    assert page.locator("main :is(b, img)").count() == 0
    assert page.title() == "threadchat"


def test_several_messages_in_one_frame_are_several_rows(enter: Enter) -> None:
    page, line = enter()
    line.say("one", "two\n\nlines", "three")
    expect(texts_of(page)).to_have_text(["one", "two\n\nlines", "three"])


def test_enter_sends_and_shift_and_enter_break_the_line(enter: Enter) -> None:
    page, line = enter()
    low = page.locator("#msg").evaluate("field => field.clientHeight")
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    assert page.locator("#msg").evaluate("field => field.clientHeight") > low
    page.keyboard.press("Enter")
    assert line.receive()["text"] == "one\ntwo"
    expect(field_of(page)).to_have_value("")
    assert page.locator("#msg").evaluate("field => field.clientHeight") == low


def test_a_paste_keeps_its_lines_and_the_field_grows_only_so_far(enter: Enter) -> None:
    page, line = enter()
    text = "\n".join(numbered(60, "r"))
    field_of(page).evaluate(
        """(field, text) => { field.focus(); document.execCommand("insertText", false, text); }""", text
    )
    expect(field_of(page)).to_have_value(text)
    box = page.locator("#msg").bounding_box()
    assert box is not None
    assert box["height"] <= 0.34 * page.evaluate("innerHeight")
    field_of(page).press("Enter")
    assert line.receive()["text"] == text


def test_enter_that_chooses_a_word_of_an_input_method_sends_nothing(enter: Enter) -> None:
    page, _ = enter()
    field_of(page).fill("にほん")
    field_of(page).evaluate(
        """field => field.dispatchEvent(
            new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true, cancelable: true }))"""
    )
    expect(field_of(page)).to_have_value("にほん")
    expect(outgoing_of(page)).to_have_count(0)


def test_nothing_empty_is_sent(enter: Enter) -> None:
    page, line = enter()
    for text in ("", " ", " \t\u00a0\u3000 ", "\n"):
        field_of(page).fill(text)
        field_of(page).press("Enter")
    write(page, "  something  ")
    assert line.receive()["text"] == "something"


def test_the_limit_shows_while_typing(enter: Enter) -> None:
    page, line = enter()
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
    assert line.receive()["text"] == "é" * 256
    expect(counter).to_have_text("")


def test_a_screen_reader_hears_once_that_a_text_is_too_long(enter: Enter) -> None:
    page, _ = enter()
    page.evaluate("""() => {
        window.heard = [];
        new MutationObserver(records => {
            for (const { target } of records) {
                const region = (target.closest ? target : target.parentElement).closest("[aria-live], [role=status]");
                if (region?.textContent) window.heard.push(region.textContent);
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


def test_an_emoji_of_several_parts_counts_as_one_character(enter: Enter) -> None:
    page, _ = enter()
    field_of(page).fill("x" * 512 + "👩‍👩‍👧" * 2)
    expect(page.locator("#counter")).to_have_text("2 characters too long to send")


def test_the_server_sets_the_limit_at_each_connection(scripted: Scripted, enter: Enter) -> None:
    page, line = enter("Math.random = () => 0", hello={"message_size": 16})
    field_of(page).fill("🧵🧵🧵🧵a")
    expect(page.locator("#counter")).to_have_text("1 character too long to send")
    line.cut()
    scripted.join().hello(message_size=17)
    expect(page.locator("#counter")).to_have_text("Room for 0 more characters")


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
def test_addresses_become_links_and_everything_else_stays_text(enter: Enter, text: str, links: list[str]) -> None:
    page, line = enter()
    line.say(text)
    expect(texts_of(page)).to_have_text([text])
    found = texts_of(page).locator("a")
    assert found.all_inner_texts() == links
    for link in found.all():
        expect(link).to_have_attribute("href", link.inner_text())
        expect(link).to_have_attribute("rel", "noopener noreferrer")
        expect(link).to_have_attribute("target", "_blank")
    assert texts_of(page).locator("*").count() == len(links)


@pytest.mark.parametrize(
    ("text", "codes", "shown"),
    [
        ("use `a < b` and `@Ann`", ["a < b", "@Ann"], "use a < b and @Ann"),
        ("```\nfor x in y:\n    `z`\n```", ["for x in y:\n    `z`"], "for x in y:\n    `z`"),
        ("`https://example.org`", ["https://example.org"], "https://example.org"),
        ("one ` alone\nand `` none", [], "one ` alone\nand `` none"),
    ],
)
def test_code_keeps_its_shape(enter: Enter, text: str, codes: list[str], shown: str) -> None:
    page, line = enter()
    line.say(text)
    expect(texts_of(page)).to_have_text([shown])
    assert texts_of(page).locator("code").all_inner_texts() == codes
    assert texts_of(page).locator(":is(a, mark)").count() == 0


def test_messages_of_one_person_stand_below_one_name(enter: Enter) -> None:
    page, line = enter()
    line.say("one", "two", at=1_790_000_000)
    line.say("of another", name="Carl", by="by-carl", at=1_790_000_000)
    line.say("three", at=1_790_000_000)
    line.say("after a while", at=1_790_000_400)
    names = messages_of(page).locator(".name")
    expect(names).to_have_text(["Bea", "Bea", "Carl", "Bea", "Bea"])  # all of them for screen readers
    seen = [box is not None and box["width"] > 1 for box in (name.bounding_box() for name in names.all())]
    assert seen == [True, False, True, True, True]


def test_a_time_shows_its_date_to_those_who_tap_it_and_days_have_a_line(enter: Enter) -> None:
    page, line = enter(timezone_id="Europe/Berlin", locale="en-GB", **PHONE)
    line.say("one", at=1_790_000_000)
    line.say("on the next day", at=1_790_086_400)
    time = messages_of(page).first.locator("time")
    expect(time).to_have_text("16:13")
    expect(time).to_have_attribute("title", re.compile("Monday,? 21 September 2026 at 16:13:20"))
    expect(time).to_have_attribute("datetime", "2026-09-21T14:13:20.000Z")
    shown = "time => getComputedStyle(time, '::after').content"
    assert time.evaluate(shown) == "none"
    time.tap()
    assert "21 September 2026" in time.evaluate(shown)
    days = log_of(page).locator(".day")
    expect(days).to_have_text([re.compile("Monday,? 21 September 2026"), re.compile("Tuesday,? 22 September 2026")])


def test_ones_own_messages_are_set_apart(enter: Enter) -> None:
    page, line = enter()
    line.say("of somebody else")
    line.send(line.entry(name="Ann", by=ME, text="mine"))
    line.send(line.entry(name="Ann", by="by-another", text="of another Ann"))
    expect(messages_of(page)).to_have_count(3)
    grounds = [row.evaluate("row => getComputedStyle(row).backgroundColor") for row in messages_of(page).all()]
    assert grounds[0] == grounds[2] != grounds[1]


def test_a_typed_text_survives_a_reload(scripted: Scripted, enter: Enter) -> None:
    page, _ = enter()
    field_of(page).fill("one\ntwo")
    page.reload()
    expect(field_of(page)).to_have_value("one\ntwo")
    line = scripted.join().hello()
    field_of(page).press("Enter")
    assert line.receive()["text"] == "one\ntwo"
    page.reload()
    expect(field_of(page)).to_have_value("")


def test_a_browser_that_stores_nothing_can_chat(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(
        "for (const area of ['sessionStorage', 'localStorage'])"
        " Object.defineProperty(window, area, { get() { throw new DOMException('no'); } })",
        name="",
    )
    name_of(page).fill("Ann")
    name_of(page).press("Enter")
    assert line.receive() == {"type": "name", "name": "Ann"}
    write(page, "hello")
    assert line.receive()["text"] == "hello"


def test_a_browser_without_websockets_gets_a_notice(scripted: Scripted, visit: Visit) -> None:
    page = visit(scripted.url, "delete window.WebSocket", wait=False)
    expect(notices_of(page)).to_have_text(["This browser has no WebSockets, so this page cannot chat."])
    expect(status_of(page)).to_contain_text("Not connected")
    expect(page.get_by_role("textbox")).to_have_count(0)


def test_a_browser_without_scripts_gets_a_notice(scripted: Scripted, visit: Visit) -> None:
    page = visit(scripted.url, wait=False, java_script_enabled=False)
    notice = page.locator("noscript p")
    expect(notice).to_be_visible()
    assert notice.inner_text() == "This page needs JavaScript to chat."


def test_the_keyboard_is_enough(enter: Enter) -> None:
    page, line = enter()
    expect(field_of(page)).to_be_focused()
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    line.echo(line.receive())
    expect(texts_of(page)).to_have_text(["typed"])
    expect(field_of(page)).to_be_focused()

    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Send")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(scroller_of(page)).to_be_focused()
    assert scroller_of(page).evaluate("log => getComputedStyle(log).outlineStyle") == "solid"

    line.say(*numbered(100))
    expect(messages_of(page)).to_have_count(101)
    page.keyboard.press("Home")
    expect(messages_of(page).first).to_be_in_viewport(ratio=1)
    page.keyboard.press("End")
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)

    for button, panel in (("1 here", "#people"), ("Rooms", "#rooms")):
        page.get_by_role("button", name=button).press("Enter")
        expect(page.locator(panel)).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator(panel)).to_be_hidden()
        expect(page.get_by_role("button", name=button)).to_be_focused()


def busy_page(enter: Enter, **options: Any) -> tuple[Page, Line]:
    """A page that shows all that it can show at once."""
    page, line = enter(LONG_WAITS, hello={"top": 2}, **options)
    line.send(line.entry(id=1, text="old `code` https://example.org"), line.entry(id=2, text="```\nmore\n```"))
    line.say("hello @Ann", "and again")
    line.send(line.entry("join", name="Carl", by="by-carl"), {"type": "gap"}, line.entry(id=1, by=ME, text="mine"))
    write(page, "under way")
    expect(messages_of(page)).to_have_count(5)
    expect(outgoing_of(page)).to_have_count(1)
    return page, line


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(enter: Enter, scheme: str, width: int) -> None:
    def look(page: Page, what: str) -> None:
        assert axe_complaints(page) == [], what

    size = {"width": width, "height": 800}
    first, _ = enter(name="", color_scheme=scheme, viewport=size)
    look(first, "the first visit")
    page, line = busy_page(enter, color_scheme=scheme, viewport=size)
    look(page, "the talk")
    page.get_by_role("button", name="2 here").click()
    look(page, "who is here")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Rooms").click()
    look(page, "rooms")
    page.keyboard.press("Escape")
    line.send({"type": "gap"})
    expect(page.get_by_role("button", name="Send again")).to_be_visible()
    field_of(page).fill("x" * 600)
    line.cut()
    expect(page.get_by_role("button", name="Reconnect now")).to_be_visible()
    look(page, "the lost connection")


def test_everything_has_its_role_and_name(enter: Enter) -> None:
    page, _ = enter()
    expect(log_of(page)).to_have_attribute("aria-live", "polite")
    expect(scroller_of(page)).to_have_attribute("tabindex", "0")
    expect(field_of(page)).to_be_editable()
    expect(page.get_by_role("button")).to_have_text(["Rooms", "1 here", "Send"])  # the others when there is a use
    expect(page.get_by_role("heading", level=1, name="lobby")).to_be_visible()
    expect(status_of(page)).to_have_count(1)
    # The seconds that tick are not read out.
    expect(status_of(page).locator("[aria-hidden=true]")).to_have_id("countdown")
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_a_normal_visit_has_no_errors_and_loads_nothing_from_elsewhere(scripted: Scripted, visit: Visit) -> None:
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
    page.goto(f"{scripted.url}?name=Ann")
    line = scripted.join().hello()
    expect(status_of(page)).to_have_text("Connected ")
    write(page, "all well")
    line.echo(line.receive())
    line.say(*numbered(100))
    expect(messages_of(page)).to_have_count(101)
    scroll_to(page, 0)
    line.say("news")
    more_of(page).click()
    page.get_by_role("button", name="1 here").click()
    with page.expect_download():
        page.get_by_role("button", name="Save what is shown").click()
    field_of(page).fill("x" * 600)
    expect(field_of(page)).to_have_attribute("aria-invalid", "true")
    assert complaints == []
    chat = {path.relative_to(WWW) for path in (WWW / "chat").iterdir() if path.suffix in (".css", ".js")}
    loaded = {path for path in chat if path.name != "types.js"}  # which is for the type checker alone
    needed = {"?name=Ann", "static/base.css", "static/dom.js", "static/icon.svg"} | {
        f"static/{file}" for file in loaded
    }
    assert {f"200 {scripted.url}{path}" for path in needed} == {one for one in addresses if "blob:" not in one}


def test_a_phone_does_not_scroll_sideways(enter: Enter) -> None:
    page, line = enter(LONG_WAITS, hello={"room": "a-room-with-" + "a-long-name-" * 4}, **PHONE)
    line.say("w" * 500, "Words " * 60, "```\n" + "c" * 300 + "\n```", name="N" * 24)
    field_of(page).fill("x" * 600)
    expect(messages_of(page)).to_have_count(3)
    line.cut()
    expect(page.get_by_role("button", name="Reconnect now")).to_be_visible()
    for selector in ("html", "header", "#scroller", ".message", "#form"):
        wide, room = page.locator(selector).first.evaluate("item => [item.scrollWidth, item.clientWidth]")
        assert wide <= room <= 390, selector
    assert page.evaluate("innerWidth") == 390
    for item in (field_of(page), page.locator("#send"), page.locator("#reconnect"), page.locator("#guide")):
        expect(item).to_be_in_viewport(ratio=1)
    # A smaller size would make a phone zoom in at each tap.
    for field in ("#msg", "#name", "#room-name"):
        assert page.locator(field).evaluate("field => parseFloat(getComputedStyle(field).fontSize)") >= 16


def test_dark_differs_from_light_and_both_are_readable(enter: Enter) -> None:
    behind = {}
    for scheme in ("light", "dark"):
        page, line = busy_page(enter, color_scheme=scheme)
        # The names of all twelve colours, as others' and as one's own.
        line.send(*(line.entry(text="hello", name=f"Name {number}", by="x") for number in range(60)))
        line.send(*(line.entry(text="hello", name=f"Name {number}", by=ME) for number in range(60)))
        expect(messages_of(page)).to_have_count(125)
        colours = log_of(page).evaluate(
            "log => new Set(Array.from(log.querySelectorAll('.name'), name => name.dataset.colour)).size"
        )
        assert colours == 12
        field_of(page).fill("x" * 500)
        names = ("h1", "#status", ".text", ".notice", ".gap", ".joined", ".day", "time", ".text a", ".text code")
        readable = {name: contrast(page, name) for name in (*names, "mark", ".state", "#msg", "#send", "#counter")}
        for kind in ("", ".mine"):
            for number in range(12):
                name = f'.message{kind}[data-colour="{number}"] .name'
                readable[name] = contrast(page, name)
        field_of(page).fill("x" * 600)
        expect(field_of(page)).to_have_attribute("aria-invalid", "true")
        readable["#counter, too long"] = contrast(page, "#counter")
        line.cut()
        expect(page.get_by_role("button", name="Reconnect now")).to_be_visible()
        for name in ("#status", "#reconnect"):
            readable[f"{name}, not connected"] = contrast(page, name)
        assert min(readable.values()) >= 4.5, readable
        behind[scheme] = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert luminance(behind["light"]) > 0.5 > 0.1 > luminance(behind["dark"])
    assert behind["light"] != behind["dark"]


def test_nothing_moves_for_those_who_want_less_motion(scripted: Scripted, visit: Visit) -> None:
    names = {}
    for motion in ("no-preference", "reduce"):
        page = visit(scripted.url, wait=False, reduced_motion=motion)  # never greeted: the page stays connecting
        expect(status_of(page)).to_contain_text("Connecting")
        names[motion] = status_of(page).evaluate("item => getComputedStyle(item, '::before').animationName")
    assert names == {"no-preference": "breathe", "reduce": "none"}
