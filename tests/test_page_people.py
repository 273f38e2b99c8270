"""Names, people and rooms in the chat page, commands, mentions, and what happens while nobody looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_page import (
    Enter,
    Visit,
    field_of,
    log_of,
    messages_of,
    name_of,
    note_of,
    notices_of,
    outgoing_of,
    status_of,
    texts_of,
    write,
)
from mentions import ADDRESSED
from playwright.sync_api import Locator, Page, expect
from scripted_v1 import ME, Scripted


def people(*names: str) -> dict[str, object]:
    """The fields of a hello: this page's Ann, and these people."""
    here = [{"name": "Ann", "by": ME}, *({"name": name, "by": f"by-{name}"} for name in names)]
    return {"here": here, "count": len(here)}


def here_of(page: Page) -> Locator:
    return page.locator("#here")


def listed(page: Page) -> Locator:
    return page.locator("#people-list > li")


def test_a_first_visit_asks_for_a_name_and_everything_can_be_read_meanwhile(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(name="", hello={"name": "Guest 7"})
    assert line.name == ""
    expect(page.get_by_role("textbox")).to_have_count(1)
    expect(name_of(page)).to_be_focused()
    expect(name_of(page)).to_have_attribute("placeholder", "Guest 7")
    line.say("readable")
    expect(texts_of(page)).to_have_text(["readable"])
    page.keyboard.type("  Ann ")
    page.keyboard.press("Enter")
    assert line.receive() == {"type": "name", "name": "Ann"}
    line.send(line.entry("name", name="Ann", by=ME))
    expect(name_of(page)).to_be_hidden()
    expect(field_of(page)).to_be_focused()
    expect(field_of(page)).to_have_attribute("placeholder", "Write as Ann")
    page.reload()
    again = scripted.join()
    assert again.name == "Ann"
    again.hello()
    expect(field_of(page)).to_be_focused()


def test_a_person_may_stay_without_a_name(enter: Enter) -> None:
    page, line = enter(name="", hello={"name": "Guest 7"})
    page.get_by_role("button", name="Join").click()
    write(page, "hello")
    assert line.receive()["text"] == "hello"  # and no name was asked for
    expect(field_of(page)).to_have_attribute("placeholder", "Write as Guest 7")


def test_a_name_is_chosen_without_a_connection_too(scripted: Scripted, visit: Visit) -> None:
    page = visit(scripted.url, "Math.random = () => 0", wait=False)
    first = scripted.join()
    name_of(page).fill("Ann")
    name_of(page).press("Enter")
    first.cut()
    assert scripted.join().name == "Ann"


def test_a_name_that_is_refused_is_not_kept(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(name="", hello={"name": "Guest 7"})
    name_of(page).fill("admin")
    name_of(page).press("Enter")
    assert line.receive() == {"type": "name", "name": "admin"}
    line.send({"type": "error", "text": "the name is reserved"})
    expect(note_of(page)).to_have_text("the name is reserved")
    page.reload()
    assert scripted.join().name == ""


def test_a_name_can_be_changed(scripted: Scripted, enter: Enter) -> None:
    page, line = enter("Math.random = () => 0", hello=people("Bea"))
    write(page, "/name Anna Lena")
    assert line.receive() == {"type": "name", "name": "Anna Lena"}
    line.send(line.entry("name", name="Anna Lena", by=ME))
    expect(notices_of(page)).to_have_text(["Ann is now called Anna Lena"])
    expect(field_of(page)).to_have_attribute("placeholder", "Write as Anna Lena")
    expect(outgoing_of(page)).to_have_count(0)
    line.cut()
    assert scripted.join().name == "Anna Lena"
    page.reload()
    assert scripted.join().name == "Anna Lena"


def test_who_is_here_follows_the_log(enter: Enter) -> None:
    page, line = enter(hello={"top": 3, **people("Bea", "Carl")})
    expect(here_of(page)).to_have_text("3 here")
    # What is past changes nothing, and is not told: hello says how it ended.
    line.send(line.entry("leave", id=2, name="Bea", by="by-Bea"), line.entry("join", id=3, name="Bea", by="by-Bea"))
    line.send(line.entry("join", name="Dora", by="by-Dora"), line.entry("join", name="Dora", by="by-Dora"))
    line.send(line.entry("leave", name="Carl", by="by-Carl"), line.entry("name", name="Beata", by="by-Bea"))
    expect(notices_of(page)).to_have_text(
        [
            "Dora joined",
            "Dora joined",
            "Carl left",
            "Bea is now called Beata",
        ]
    )
    expect(here_of(page)).to_have_text("3 here")
    here_of(page).click()
    expect(listed(page)).to_have_text(["Ann (you)", "Beata", "Dora"])
    write(page, "/who")
    expect(notices_of(page).last).to_have_text("Here: Ann (you), Beata, Dora")


def test_ones_own_coming_is_not_told(enter: Enter) -> None:
    page, line = enter()
    line.send(line.entry("join", name="Ann", by=ME))
    line.say("hello")
    expect(messages_of(page)).to_have_count(1)
    expect(notices_of(page)).to_have_count(0)
    expect(here_of(page)).to_have_text("1 here")


def test_a_crowd_is_a_number_and_its_coming_and_going_is_not_told(enter: Enter) -> None:
    page, line = enter(hello={**people(*(f"P{number}" for number in range(24)))})
    expect(here_of(page)).to_have_text("25 here")
    line.send(line.entry("join", name="Zoe", by="by-Zoe"))
    expect(here_of(page)).to_have_text("26 here")
    line.send(line.entry("name", name="Zoë", by="by-Zoe"))
    expect(notices_of(page)).to_have_text(["Zoe is now called Zoë"])
    here_of(page).click()
    expect(listed(page)).to_have_text(["26 people are here."])
    line.send(line.entry("leave", name="Zoë", by="by-Zoe"))
    expect(here_of(page)).to_have_text("25 here")
    expect(notices_of(page)).to_have_text(["Zoe is now called Zoë", "Zoë left"])
    expect(listed(page)).to_have_count(25)


def test_a_room_larger_than_the_list_of_its_people_is_counted(enter: Enter) -> None:
    page, line = enter(hello={**people("Bea"), "count": 500})
    line.send(line.entry("leave", name="Unknown", by="by-unknown"), line.entry("join", name="New", by="by-new"))
    line.send(line.entry("leave", name="Bea", by="by-Bea"))
    expect(here_of(page)).to_have_text("499 here")


def test_a_name_has_the_same_colour_everywhere(enter: Enter) -> None:
    page, line = enter(hello=people("Bea", "Carl"))
    line.say("one")
    line.say("two", name="Carl", by="by-carl")
    line.say("three", by="another-session-of-Bea")
    expect(messages_of(page)).to_have_count(3)
    colours = [
        name.evaluate("name => getComputedStyle(name).color") for name in messages_of(page).locator(".name").all()
    ]
    assert colours[0] == colours[2] != colours[1]
    here_of(page).click()
    in_list = [name.evaluate("name => getComputedStyle(name).color") for name in listed(page).locator(".name").all()]
    assert in_list[1:] == colours[:2]


def test_the_page_shows_its_room_and_leads_to_others(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(path="r/Tea%20Room", hello={"room": "tea room"})
    assert line.path == "/r/Tea%20Room/ws"
    expect(page.get_by_role("heading", level=1)).to_have_text("tea room")
    expect(page).to_have_title("tea room · threadchat")
    page.get_by_role("button", name="Rooms").click()
    page.get_by_role("textbox", name="Go to a room, or open a new one").fill("a/b ?")
    page.keyboard.press("Enter")
    assert scripted.join().path == "/r/a%2Fb%20%3F/ws"
    page.get_by_role("button", name="Rooms").click()
    page.get_by_role("link", name="The lobby").click()
    assert scripted.join().path == "/ws"
    expect(page).to_have_title("threadchat")


def test_rooms_have_drafts_and_texts_of_their_own(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(path="r/tea")
    write(page, "in tea")
    line.receive()
    field_of(page).fill("about tea")
    page.get_by_role("button", name="Rooms").click()
    page.get_by_role("textbox", name="Go to a room, or open a new one").fill("coffee")
    page.keyboard.press("Enter")
    coffee = scripted.join().hello(room="coffee")
    assert (coffee.path, coffee.session, coffee.name) == ("/r/coffee/ws", line.session, "Ann")
    expect(field_of(page)).to_have_value("")
    expect(outgoing_of(page)).to_have_count(0)
    write(page, "/room tea")
    assert scripted.join().path == "/r/tea/ws"


@pytest.mark.parametrize(
    ("typed", "names", "completed"),
    [
        ("b", ["@Bea "], "@Bea "),
        ("hello @an", ["@Ann 2 "], "hello @Ann 2 "),
        ("c", ["@Carl ", "@Cora ", "@Carl "], "@Carl "),
    ],
)
def test_tab_completes_a_name(enter: Enter, typed: str, names: list[str], completed: str) -> None:
    page, _ = enter(hello=people("Bea", "Carl", "Cora", "Ann 2"))
    field_of(page).press_sequentially(typed)
    for name in names:
        field_of(page).press("Tab")
        expect(field_of(page)).to_have_value(typed.rpartition(" ")[0] + (" " if " " in typed else "") + name)
    expect(field_of(page)).to_have_value(completed)
    expect(field_of(page)).to_be_focused()


@pytest.mark.parametrize("typed", ["", "hello ", "x"])
def test_tab_goes_on_to_the_button_where_there_is_no_name_to_complete(enter: Enter, typed: str) -> None:
    page, _ = enter(hello=people("Bea"))
    field_of(page).press_sequentially(typed)
    field_of(page).press("Tab")
    expect(page.get_by_role("button", name="Send")).to_be_focused()
    expect(field_of(page)).to_have_value(typed)


@pytest.mark.parametrize(("text", "marks"), ADDRESSED)
def test_a_mention_is_marked(enter: Enter, text: str, marks: list[str]) -> None:
    page, line = enter()
    line.say(text)
    expect(texts_of(page)).to_have_text([text])
    assert texts_of(page).locator("mark").all_inner_texts() == marks
    expect(log_of(page).locator(".mentioned")).to_have_count(1 if marks else 0)


HIDDEN = """
    window.look = hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    };
    window.notified = [];
    window.Notification = class {
        static permission = "default";
        static async requestPermission() { this.permission = "granted"; }
        constructor(title, { body }) { notified.push([title, body]); }
    };
"""


def test_the_title_counts_what_nobody_has_read(enter: Enter) -> None:
    page, line = enter(HIDDEN, hello={"top": 1})
    line.send(line.entry(id=1, text="history"))
    line.say("seen")
    expect(messages_of(page)).to_have_count(2)
    page.evaluate("look(true)")
    line.say("one", "two")
    line.send(line.entry(by=ME, name="Ann", text="mine, from before"))
    expect(page).to_have_title("(2) threadchat")
    page.evaluate("look(false)")
    expect(page).to_have_title("threadchat")


def test_a_mention_is_notified_if_the_person_allows_it(enter: Enter) -> None:
    page, line = enter(HIDDEN)
    page.evaluate("look(true)")
    line.say("@Ann without leave")
    expect(page).to_have_title("(1) threadchat")
    page.evaluate("look(false)")
    here_of(page).click()
    allow = page.get_by_role("button", name="Notify me when I am mentioned")
    allow.click()
    expect(allow).to_be_hidden()
    line.say("@Ann while the page is in sight")
    expect(messages_of(page)).to_have_count(2)
    page.evaluate("look(true)")
    line.say("@Ann with leave", "not about anybody")
    expect(page).to_have_title("(2) threadchat")
    assert page.evaluate("notified") == [["Bea", "@Ann with leave"]]


def test_help_lists_the_commands(enter: Enter) -> None:
    page, _ = enter()
    write(page, "/help")
    for command in ("/help", "threadchat demo", "/name NEW", "/who", "/room NAME", "/save"):
        expect(notices_of(page)).to_contain_text(command)
    expect(field_of(page)).to_have_value("")
    expect(outgoing_of(page)).to_have_count(0)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("/nonsense", "There is no /nonsense. /help lists the commands; //nonsense says it."),
        ("/constructor", "There is no /constructor. /help lists the commands; //constructor says it."),
        ("/name", "/name NEW: change your name"),
    ],
)
def test_a_wrong_command_stays_in_the_field_and_says_what_is_wrong(enter: Enter, text: str, note: str) -> None:
    page, line = enter()
    write(page, text)
    expect(note_of(page)).to_have_text(note)
    expect(field_of(page)).to_have_value(text)
    write(page, f"/{text}")
    assert line.receive()["text"] == text


def test_a_path_is_no_command(enter: Enter) -> None:
    page, line = enter()
    write(page, "/usr/bin/env python3")
    assert line.receive()["text"] == "/usr/bin/env python3"


@pytest.mark.parametrize("way", ["button", "command"])
def test_what_is_shown_can_be_saved_as_a_text_file(enter: Enter, way: str, tmp_path: Path) -> None:
    page, line = enter(hello={"room": "tea room"}, timezone_id="Europe/Berlin")
    line.say("one\ntwo `three`", at=1_790_000_000)
    line.send({"type": "gap"})
    line.send(line.entry(name="Ann", by=ME, text="mine", at=1_790_000_001))
    expect(messages_of(page)).to_have_count(2)
    day = log_of(page).locator(".day").inner_text()
    with page.expect_download() as download:
        if way == "button":
            here_of(page).click()
            page.get_by_role("button", name="Save what is shown as a text file").click()
        else:
            write(page, "/save")
    assert download.value.suggested_filename == "tea room.txt"
    download.value.save_as(tmp_path / "talk.txt")
    assert (tmp_path / "talk.txt").read_text() == (
        f"-- {day}\n"
        "[2026-09-21 16:13:20] Bea: one\ntwo `three`\n"
        "-- Messages may be missing here.\n"
        "[2026-09-21 16:13:21] Ann: mine\n"
    )


def test_an_error_that_is_about_no_text_is_told(enter: Enter) -> None:
    page, line = enter()
    line.send({"type": "error", "text": "you are muted"})
    expect(note_of(page)).to_have_text("you are muted")
    expect(status_of(page)).to_have_text("Connected ")


@pytest.mark.parametrize(
    ("command", "order"),
    [
        ("/kick Bea", {"type": "kick", "by": "by-Bea"}),
        ("/mute @ann 2", {"type": "mute", "by": "by-Ann 2"}),
        ("/pardon Gone", {"type": "pardon", "by": "by-Gone"}),
        ("/slow 2.5", {"type": "slow", "seconds": 2.5}),
        ("/lock", {"type": "lock", "locked": True}),
        ("/unlock", {"type": "lock", "locked": False}),
        ("/clear", {"type": "clear"}),
    ],
)
def test_an_organiser_orders(enter: Enter, command: str, order: dict[str, object]) -> None:
    page, line = enter(hello={"moderator": True, **people("Bea", "Ann 2", "Gone")})
    line.send(line.entry("leave", name="Gone", by="by-Gone"))
    expect(notices_of(page)).to_have_text(["Gone left"])
    write(page, command)
    assert line.receive() == order
    expect(field_of(page)).to_have_value("")


@pytest.mark.parametrize(
    ("moderator", "command", "note"),
    [
        (False, "/kick Bea", "/kick is for organisers."),
        (True, "/kick Nobody", "Nobody here is called Nobody."),
        (True, "/slow soon", "soon is not a number of seconds."),
        (True, "/mute", "/mute NAME: let somebody say nothing"),
    ],
)
def test_an_order_that_cannot_be_given_stays_in_the_field(
    enter: Enter, moderator: bool, command: str, note: str
) -> None:
    page, _ = enter(hello={"moderator": moderator, **people("Bea")})
    write(page, command)
    expect(note_of(page)).to_have_text(note)
    expect(field_of(page)).to_have_value(command)


def test_help_lists_the_orders_for_organisers_alone(enter: Enter) -> None:
    for moderator in (False, True):
        page, _ = enter(hello={"moderator": moderator})
        write(page, "/help")
        expect(notices_of(page)).to_contain_text("/save")
        assert ("/kick NAME" in notices_of(page).inner_text()) is moderator


def test_what_an_organiser_did_is_said_and_a_cleared_room_is_empty(scripted: Scripted, enter: Enter) -> None:
    page, line = enter("Math.random = () => 0")
    line.say("to be forgotten")
    line.send(line.entry("order", order="slow", seconds=5, text="Bea turned slow mode on."))
    expect(notices_of(page)).to_have_text(["Bea turned slow mode on."])
    line.send(line.entry("order", order="clear", text="Bea cleared the room."))
    line.say("new")
    expect(texts_of(page)).to_have_text(["new"])
    expect(notices_of(page)).to_have_text(["Bea cleared the room."])
    line.cut()
    assert scripted.join().since == "t4"
