"""The inspector's page in a real browser: what it draws, for everybody. The server is a fake."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from fake_inspector import (
    COUNT_ANIMATIONS,
    EVICTION,
    EVIL,
    WWW,
    Inspector,
    Look,
    client,
    gauge_of,
    held,
    log_of,
    row_of,
    write_pump_of,
)
from helpers import luminance, ratio, until
from playwright.sync_api import Page, expect

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()


def texts(page: Page, within: str) -> dict[str, float]:
    """Each text that is visible, with its contrast to what is behind it; the lowest, for a text that occurs twice."""
    found = page.locator(within).evaluate("""root => {
        const clear = "rgba(0, 0, 0, 0)", found = [];
        const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            let item = walker.currentNode.parentElement;
            const text = walker.currentNode.data.trim();
            if (!text || !item.checkVisibility({visibilityProperty: true})) continue;
            const ink = getComputedStyle(item).color;
            while (getComputedStyle(item).backgroundColor === clear) item = item.parentElement;
            found.push([text, ink, getComputedStyle(item).backgroundColor]);
        }
        return found;
    }""")
    seen: dict[str, float] = {}
    for text, ink, behind in found:
        seen[text] = min(ratio(ink, behind), seen.get(text, 21))
    return seen


def focused(page: Page) -> str:
    """What a screen reader calls the element that has the focus."""
    return str(page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"))


def test_a_stuck_client_is_seen_filling_and_evicted_with_the_reason(inspector: Inspector, look: Look) -> None:
    page = look()
    for pending in 40, 120, 255:
        inspector.show(client(1), client(2, pending, "stuck"))
        expect(gauge_of(page, 2)).to_contain_text(f"{pending}/256")
    expect(write_pump_of(page, 2)).to_contain_text("stuck")
    expect(page.locator("#hint")).to_contain_text("A frame has waited 1.5 s for the peer of client 2")
    inspector.show(client(1), events=[{**EVICTION, "client": 2}])
    expect(row_of(page, 2)).to_contain_text("evicted: its peer took no more bytes")
    expect(gauge_of(page, 2)).to_contain_text("256/256")
    expect(page.locator("#why h2")).to_have_text("Client 2 (bot) was evicted")
    expect(page.locator("#why p")).to_have_text(
        ": its peer had taken nothing for 6.2 s, and 256 of 256 messages waited. Nobody else waited."
    )
    expect(page.locator("#why li").first).to_have_text("its peer took no more bytes")
    expect(page.locator("[aria-live]#aloud")).to_contain_text("Client 2 (bot) was evicted")
    expect(log_of(page).first).to_contain_text("client 2, bot, evicted: its peer took no more bytes")
    expect(write_pump_of(page, 1)).to_contain_text("receiving")


@pytest.mark.parametrize(
    ("facts", "brief", "told", "others"),
    [
        (
            {"cause": "slow", "waited": 0.26, "quiet": 0.1},
            "more came than its peer took",
            "; a frame had waited 0.3 s for it, and 256 of 256 messages waited.",
            "The others waited for a quarter of a second at most.",
        ),
        (
            {"cause": "slow", "waited": 3.0, "quiet": 0.3, "capacity": 7},
            "more came than its peer took",
            "; a frame had waited 3.0 s for it, and 256 messages waited, with room for 7.",
            "Nobody else waited.",
        ),
        (
            {"cause": "silent"},
            "its peer answered no more",
            "; a frame had waited 6.3 s for it, and 256 of 256 messages waited.",
            "Nobody else waited.",
        ),
        (
            {"cause": "ended", "waited": None, "quiet": None},
            "it had no write pump",
            ", and 256 of 256 messages waited.",
            "Nobody else waited.",
        ),
    ],
)
def test_the_cause_that_is_shown_is_the_cause(
    inspector: Inspector, look: Look, facts: dict[str, Any], brief: str, told: str, others: str
) -> None:
    page = look()
    inspector.show(client(1), client(2, 40))
    inspector.show(client(1), events=[{**EVICTION, "client": 2, **facts}])
    expect(row_of(page, 2)).to_contain_text(f"evicted: {brief}")
    expect(page.locator("#why p")).to_have_text(f": {brief}{told} {others}")
    expect(page.locator("#why")).not_to_contain_text("took no more bytes")
    expect(page.locator("#why li").last).to_have_text("evicted")


def test_doing_something_else_makes_room_for_what_comes_of_it(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(client(1), events=[{**EVICTION, "client": 2}])
    expect(page.locator("#why")).to_be_visible()
    page.get_by_role("button", name="Burst").click()
    expect(page.locator("#why")).to_be_hidden()


def test_clients_that_were_evicted_for_different_causes_are_explained_apart(inspector: Inspector, look: Look) -> None:
    page = look()
    slow = {**EVICTION, "cause": "slow"}
    inspector.show(client(1), events=[{**EVICTION, "client": 2}, {**slow, "client": 3}, {**slow, "client": 4}])
    causes = page.locator("#causes > div")
    expect(causes).to_have_count(2)
    expect(causes.first).to_contain_text("Client 2 (bot) was evicted: its peer had taken nothing for 6.2 s")
    expect(causes.last).to_contain_text(
        "Client 3 (bot), client 4 (bot) were evicted: more came than their peers took. Nobody else waited."
    )


def test_the_kernels_buffers_are_seen_filling_before_anything_waits_in_the_server(
    inspector: Inspector, look: Look
) -> None:
    page = look()
    kernel = row_of(page, 2).get_by_role("img")
    expect(kernel).to_have_accessible_name(
        "The kernel holds 0 bytes that the peer has not taken; its buffer is 0 % full. "
        "Not read yet at the other end: 0 bytes."
    )
    inspector.show(client(1), {**client(2), "unread": held(4_000, 4_096)})
    expect(kernel).to_have_accessible_name(re.compile("Not read yet at the other end: 4,000 bytes"))
    expect(page.locator("#hint")).to_contain_text("4,000 bytes wait for client 2 to read them")
    inspector.show(client(1), {**client(2), "unread": held(4_096, 4_096), "kernel": held(3_456, 4_608)})
    expect(kernel).to_have_accessible_name(re.compile("holds 3,456 bytes .* its buffer is 75 % full"))
    expect(page.locator("#hint")).to_contain_text(
        "The kernel holds 3,456 bytes that the peer of client 2 has not taken"
    )
    inspector.show(client(1), {**client(2), "unread": None, "kernel": None})
    expect(kernel).to_be_hidden()


def test_a_button_that_was_pressed_makes_room_for_what_comes_of_it(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(client(1), client(2, 40, "stuck"))
    button = page.get_by_role("button", name="Add a client that stops reading")
    button.hover()
    expect(page.locator("#hint")).to_contain_text("A client that stops reading")
    button.click()
    expect(page.locator("#hint")).to_contain_text("A frame has waited")
    button.hover(position={"x": 2, "y": 2})
    expect(page.locator("#hint")).to_contain_text("A frame has waited")
    page.locator("header").hover()
    button.hover()
    expect(page.locator("#hint")).to_contain_text("A client that stops reading")


@pytest.mark.parametrize("width", [390, 800, 985, 1000, 1150, 1264, 1265, 1280, 1440, 1920])
def test_nothing_of_a_row_is_cut_off(inspector: Inspector, look: Look, width: int) -> None:
    page = look(viewport={"width": width, "height": 800})
    inspector.show(client(1, name="chatty bot"), client(2), events=[{**EVICTION, "client": 3}])
    expect(row_of(page, 1)).to_contain_text("chatty bot")
    board = page.locator("#board").bounding_box()
    tool = row_of(page, 1).get_by_role("button").last.bounding_box()
    assert board is not None
    assert tool is not None
    assert tool["x"] + tool["width"] < board["x"] + board["width"] - 4
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".row .who b").first.evaluate("name => name.scrollWidth <= name.clientWidth")


BELOW_THE_DRAWING = """text => {
    const drawn = Array.from(document.querySelectorAll("#middle > div > *"), box => box.getBoundingClientRect().bottom);
    return text.getBoundingClientRect().top >= Math.max(...drawn);
}"""


def test_while_nobody_is_there_the_page_says_so_beside_the_drawing(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show()
    nobody = page.get_by_text("Nobody is here yet")
    for width, height in (1280, 800), (1280, 500), (390, 844):
        page.set_viewport_size({"width": width, "height": height})
        expect(nobody).to_be_visible()
        until(lambda: nobody.evaluate(BELOW_THE_DRAWING), "the words below the drawing")


def test_on_a_phone_what_goes_on_and_why_a_client_was_evicted_stay_in_view(inspector: Inspector, look: Look) -> None:
    page = look(viewport={"width": 390, "height": 844})
    page.get_by_role("heading", name="What happened").scroll_into_view_if_needed()
    for where in "#events", "header":
        page.locator(where).scroll_into_view_if_needed()
        inspector.show(client(1), client(2, 40, "stuck"))
        expect(page.locator("#hint")).to_be_in_viewport(ratio=1)
        inspector.show(client(1), events=[{**EVICTION, "client": 2}])
        expect(page.locator("#why")).to_be_in_viewport(ratio=1)
        page.get_by_role("button", name="Close this explanation").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_no_words_of_the_page_speak_of_a_side_or_a_pointer(inspector: Inspector, look: Look) -> None:
    """A phone has no pointer, and draws below each other what is side by side elsewhere."""
    scripts = [path.read_text() for path in (WWW / "inspect").glob("*.js")]
    said = re.findall(
        r'"[^"\n]*"|`[^`]*`', "\n".join(re.sub(r"^\s*(//|\*|/\*\*).*|// .*", "", text, flags=re.M) for text in scripts)
    )
    sentences = [text for text in said if text.count(" ") > 2]
    assert len(sentences) > 50
    page = look()
    sentences.append(page.locator("body").evaluate("body => body.textContent"))
    side = re.compile(r"\b(left|right|pointer|point at|click|hover)\b(?! (a|the) )", re.IGNORECASE)
    assert [text for text in sentences if side.search(text)] == []


def imported(module: Path) -> set[Path]:
    """The modules that a script imports, and those that they import; not what comments import for its types."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        names = re.findall(r'^(?:import|export) (?:[^;]*? from )?"(\.[^"]+)";', path.read_text(), re.MULTILINE)
        for name in names:
            needed = (path.parent / name).resolve()
            if needed not in found:
                found.add(needed)
                waiting.append(needed)
    return found


def test_the_page_preloads_every_module_that_its_script_imports_and_no_other() -> None:
    """Otherwise the browser learns of a module only when it has read the one that imports it."""
    page = (WWW / "inspect" / "index.html").read_text()
    preloaded = re.findall(r'<link rel="modulepreload" href="static/([^"]+)">', page)
    assert sorted(preloaded) == sorted(str(path.relative_to(WWW)) for path in imported(WWW / "inspect" / "inspect.js"))


def test_a_thousand_clients_stay_a_crowd_in_any_window(inspector: Inspector, look: Look) -> None:
    page = look()
    crowd = {
        "count": 976,
        "fill": [900, *(14 * [5]), 30],
        "reading": {"reading": 994, "sending": 6},
        "writing": {"receiving": 900, "ready": 70, "writing": 30},
    }
    inspector.show(*(client(number) for number in range(1, 25)), crowd=crowd)
    everybody = page.get_by_role("group", name="All clients")
    for width, height in (1280, 800), (1920, 1080), (390, 844):
        page.set_viewport_size({"width": width, "height": height})
        expect(page.locator(".row")).to_have_count(24)
        for words in "all 1,000", "976 not drawn", "994reading", "6sending", "70ready", "30 send channels nearly full":
            expect(everybody).to_contain_text(words)
        expect(everybody).to_be_in_viewport()
        expect(page.locator("#wires > .wire").first).to_be_visible(visible=width > 760)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    inspector.show(client(1))
    expect(everybody).to_be_hidden()
    expect(page.locator(".row")).to_have_count(1)


def test_names_and_messages_are_text_and_never_html(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(
        client(1, name=EVIL),
        events=[
            {"kind": "message", "id": 41, "client": 1, "text": EVIL},
            {**EVICTION, "client": 2, "name": EVIL, "reason": EVIL},
        ],
    )
    expect(row_of(page, 1)).to_contain_text(EVIL)
    expect(page.locator("#why")).to_contain_text(EVIL)
    expect(log_of(page)).to_have_count(2)
    expect(page.get_by_role("button", name=f"Pin client 1, {EVIL}")).to_be_attached()
    page.locator("#log").get_by_role("button", name=EVIL).click()
    expect(page.locator("#detail")).to_contain_text("hello")
    assert page.locator("main :is(img, b b)").count() == 0
    expect(page).to_have_title("threadchat: the inspector")


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_messages_move_unless_the_viewer_wants_less_motion(inspector: Inspector, look: Look, motion: str) -> None:
    page = look(COUNT_ANIMATIONS, reduced_motion=motion)
    inspector.show(client(1), client(2), events=[{"kind": "message", "id": 41, "client": 1, "text": "hello"}])
    expect(page.get_by_role("button", name="hello")).to_be_visible()
    # The events of a picture are drawn before the next picture is.
    inspector.show(client(1, pending=9), client(2))
    expect(gauge_of(page, 1)).to_contain_text("9/256")
    assert bool(page.evaluate("document.animations")) == (motion == "no-preference")


def test_the_page_says_that_the_connection_is_lost_until_there_is_a_new_one(
    inspector: Inspector, look: Look, errors: list[str]
) -> None:
    page = look()
    inspector.lose()
    expect(page.get_by_role("status").first).to_contain_text("The connection to the server is lost")
    expect(page.locator("#when")).to_have_text("last picture")
    expect(row_of(page, 1)).to_be_visible()
    inspector.up = True
    expect(page.locator("#status")).to_have_text("Connected")
    inspector.show(client(1, pending=9), client(2))
    expect(gauge_of(page, 1)).to_contain_text("9/256")
    errors.clear()  # the browser reports the lost connection


def test_the_pictures_of_a_new_server_replace_those_of_the_old_one(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(client(7), events=[{"kind": "joined", "client": 7, "name": "bot"}])
    expect(log_of(page)).to_have_count(1)
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    inspector.restart()
    inspector.show(client(1), client(2))
    expect(page.locator("#when")).to_have_text("live")
    expect(row_of(page, 2)).to_be_visible()
    expect(log_of(page)).to_have_count(0)
    expect(page.get_by_role("slider", name="The last minute")).to_have_attribute("max", "0")


def test_every_script_and_stylesheet_of_the_page_is_used(inspector: Inspector, look: Look) -> None:
    look()
    types_alone = "types.js"
    files = {path.name for path in (WWW / "inspect").iterdir() if path.suffix in (".css", ".js")}
    asked = {path.rpartition("/")[2] for path in inspector.asked if path.startswith("/static/inspect/")}
    assert asked == files - {types_alone}


def test_a_wire_shows_a_stuck_client_in_any_window(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(client(1), client(2, 40, "stuck"))
    wires = page.locator("#wires [data-trouble=stuck]")
    expect(wires).to_have_count(2)
    page.keyboard.press("Space")
    drawn = wires.first.get_attribute("d")
    page.set_viewport_size({"width": 1500, "height": 800})
    expect(wires.first).not_to_have_attribute("d", drawn or "")
    expect(wires).to_have_count(2)


def test_while_paused_older_pictures_can_be_seen(inspector: Inspector, look: Look) -> None:
    page = look()
    for pending in 10, 20, 30:
        inspector.show(client(1, pending), events=[{"kind": "joined", "client": pending, "name": "bot"}])
    expect(gauge_of(page, 1)).to_contain_text("30/256")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    inspector.show(client(1, 40), events=[{"kind": "joined", "client": 40, "name": "bot"}])
    expect(page.locator("#when")).to_have_text("0.1 s ago")
    expect(gauge_of(page, 1)).to_contain_text("30/256")
    page.keyboard.press("ArrowLeft")
    expect(gauge_of(page, 1)).to_contain_text("20/256")
    expect(log_of(page)).to_have_count(2)
    page.get_by_role("button", name="One picture back").click()
    expect(gauge_of(page, 1)).to_contain_text("10/256")
    page.get_by_role("slider", name="The last minute").press("End")
    expect(gauge_of(page, 1)).to_contain_text("40/256")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#when")).to_have_text("live")
    expect(log_of(page)).to_have_count(4)
    inspector.show(client(1, 50))
    expect(gauge_of(page, 1)).to_contain_text("50/256")
    expect(page.get_by_role("link", name="Export trace")).to_have_attribute("href", "inspect/trace")


def test_it_can_be_used_by_keyboard_alone(inspector: Inspector, look: Look) -> None:
    page = look()
    for _ in range(40):
        page.keyboard.press("Tab")
        if focused(page).startswith("read pump of client 1"):
            break
    page.keyboard.press("ArrowDown")
    assert focused(page).startswith("read pump of client 2")
    page.keyboard.press("Tab")
    assert focused(page).startswith("send channel of client 2")
    expect(page.locator("#hint")).to_contain_text("Channel send-2: 0 of 256 messages are waiting in it")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(gauge_of(page, 2)).to_be_focused()
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    page.keyboard.press("l")
    expect(page.locator("#when")).to_have_text("live")
    inspector.show(*(client(number) for number in range(1, 5)))
    expect(page.locator(".row")).to_have_count(4)
    expect(page.locator('.row button[tabindex="0"]')).to_have_count(6)  # those of one row
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="How to read it")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(inspector: Inspector, look: Look, errors: list[str], scheme: str, width: int) -> None:
    page = look(color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 800})
    page.evaluate(AXE)

    def check(what: str) -> None:
        found = page.evaluate("axe.run().then(({ violations }) => violations)")
        assert [(what, each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found] == []

    inspector.show(client(1), client(2, 40, "stuck"))
    expect(page.locator("#hint")).to_contain_text("A frame has waited")
    check("a client is stuck")
    said = {"kind": "message", "id": 41, "client": 1, "text": "hello"}
    inspector.show(client(1), events=[said, {**EVICTION, "client": 2}])
    expect(page.locator("#why")).to_be_visible()
    check("a client was evicted")
    page.get_by_role("button", name="Close this explanation").click()
    for opener in gauge_of(page, 1), page.get_by_role("button", name="hello"):
        opener.click()
        expect(page.locator("#detail")).to_be_visible()
        expect(page.locator("#detail h3:empty")).to_have_count(0)  # its source has come
        check("something is looked into")
        page.get_by_role("button", name="Close", exact=True).last.click()
    inspector.show(client(1), crowd={"count": 7, "fill": [8] + 15 * [0], "reading": {"reading": 8}, "writing": {}})
    expect(page.get_by_role("group", name="All clients")).to_be_visible()
    check("a crowd")
    inspector.restart()  # the client that was evicted is forgotten
    inspector.show()
    expect(page.get_by_text("Nobody is here yet")).to_be_visible()
    check("nobody")
    page.get_by_role("button", name="Lessons").click()
    page.get_by_label("It is evicted").check()
    check("a lesson")
    page.get_by_role("button", name="Run it").click()
    expect(page.locator("#lessons .verdict")).to_be_visible()
    check("a lesson's result")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Help").click()
    check("the help")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    inspector.lose()
    expect(page.locator("#when")).to_have_text("last picture")
    check("a lost connection")
    inspector.up = True
    page.evaluate("dispatchEvent(new Event('online'))")  # so that it does not wait
    expect(page.locator("#status")).to_have_text("Connected")
    errors.clear()  # the browser reports the lost connection, and each attempt in vain


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast_in_light_and_in_dark(inspector: Inspector, look: Look, scheme: str) -> None:
    page = look(color_scheme=scheme, reduced_motion="reduce")
    states = "ready", "running", "writing", "stuck", "sending", "paused", "leaving", "gone"
    busy = [client(number, 30 * number, state) for number, state in enumerate(states, 3)]
    inspector.show(client(1), client(2), *busy)
    evicted = {**EVICTION, "client": 6}
    said = {"kind": "message", "id": 41, "client": 1, "text": "hello"}
    inspector.show(client(1), client(2), *busy, events=[said, evicted])
    expect(page.locator("#why")).to_contain_text("was evicted")
    gauge_of(page, 5).click()
    expect(page.locator("#detail")).to_be_visible()
    seen = texts(page, "body")
    for text in *states, "receiving", "reading", "90/256", "Pause", "Say", "Guide", "hello":
        assert any(text in each for each in seen), text
    page.get_by_role("button", name="Lessons").click()
    page.get_by_label("It is evicted").check()
    page.get_by_role("button", name="Run it").click()
    expect(page.locator("#lessons .verdict")).to_be_visible()
    seen |= texts(page, "#lessons")
    assert {text: ratio for text, ratio in seen.items() if ratio < 4.5} == {}
    behind = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert luminance(behind) > 0.5 if scheme == "light" else luminance(behind) < 0.1
