"""What the chat page sends: nothing is lost, and nothing is said twice, whatever happens to the connection."""

from __future__ import annotations

import pytest
from chat_page import (
    LONG_WAITS,
    QUICK_TIMERS,
    SHORT_WAITS,
    Enter,
    field_of,
    note_of,
    notices_of,
    outgoing_of,
    status_of,
    texts_of,
    write,
)
from playwright.sync_api import Page, expect
from scripted_v1 import ME, Scripted

ON_ITS_WAY = "on its way"
LATE = "not delivered yet"
UNSURE = "The connection was lost meanwhile. This may or may not have been delivered."


def msg(n: int, text: str) -> dict[str, object]:
    return {"type": "msg", "n": n, "text": text}


def test_a_text_is_on_its_way_until_its_echo_comes(enter: Enter) -> None:
    page, line = enter()
    write(page, "hello")
    expect(field_of(page)).to_have_value("")
    expect(outgoing_of(page)).to_have_text([f"hello{ON_ITS_WAY}"])
    message = line.receive()
    assert message == msg(1, "hello")
    line.say("hello", n=1)  # of somebody else, with a number of theirs: no echo
    expect(texts_of(page)).to_have_text(["hello"])
    expect(outgoing_of(page)).to_have_count(1)
    line.echo(message)
    expect(outgoing_of(page)).to_have_count(0)
    expect(texts_of(page)).to_have_text(["hello", "hello"])


def test_an_acknowledgement_is_enough(enter: Enter) -> None:
    page, line = enter()
    write(page, "hello")
    line.receive()
    expect(outgoing_of(page)).to_have_count(1)
    line.send({"type": "ack", "n": 1})
    expect(outgoing_of(page)).to_have_count(0)


def test_one_text_at_a_time_is_under_way(enter: Enter) -> None:
    page, line = enter()
    for text in ("one", "two", "three"):
        write(page, text)
    expect(outgoing_of(page)).to_have_count(3)
    for number, text in enumerate(("one", "two", "three"), 1):
        message = line.receive()
        assert message == msg(number, text)
        page.evaluate("document.title")  # the page has had its turn: what it sent is on its way
        with pytest.raises(TimeoutError):
            line.receive_now()
        line.echo(message)
    expect(texts_of(page)).to_have_text(["one", "two", "three"])


def test_a_text_that_gets_no_answer_is_sent_again_on_a_new_connection(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(QUICK_TIMERS, SHORT_WAITS, hello={"last": 4})
    write(page, "into the void")
    assert line.receive() == msg(5, "into the void")
    expect(status_of(page)).to_have_text("Connected ")
    expect(outgoing_of(page)).to_have_text([f"into the void{LATE}"])
    again = scripted.join()
    assert again.session == line.session
    assert again.since == "t0"
    again.hello(last=4)
    message = again.receive()
    assert message == msg(5, "into the void")
    again.echo(message)
    expect(texts_of(page)).to_have_text(["into the void"])
    expect(outgoing_of(page)).to_have_count(0)
    expect(notices_of(page)).to_have_count(0)


def test_the_first_text_of_a_session_is_sent_again_too(scripted: Scripted, enter: Enter) -> None:
    # The server knows no number of it, and all that came after the token is there: it was not taken.
    page, line = enter(SHORT_WAITS)
    write(page, "first")
    assert line.receive() == msg(1, "first")
    line.cut()
    again = scripted.join().hello(last=None, recovered=True)
    assert again.receive() == msg(1, "first")
    expect(outgoing_of(page)).to_have_count(1)


def test_what_was_taken_is_not_sent_again(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(SHORT_WAITS, hello={"last": 4})
    write(page, "taken")
    assert line.receive() == msg(5, "taken")
    line.cut()
    again = scripted.join().hello(last=5)
    again.send(again.entry(name="Ann", by=ME, n=5, text="taken"))
    expect(texts_of(page)).to_have_text(["taken"])
    expect(outgoing_of(page)).to_have_count(0)
    write(page, "next")
    assert again.receive() == msg(6, "next")


@pytest.mark.parametrize(
    ("last", "recovered"),
    [(None, True), (None, False), (4, False)],
    ids=["forgotten", "another epoch, forgotten", "another epoch"],
)
@pytest.mark.parametrize("answer", ["Send again", "Discard"])
def test_where_the_server_may_have_forgotten_the_page_asks(
    scripted: Scripted, enter: Enter, last: int | None, recovered: bool, answer: str
) -> None:
    page, line = enter(SHORT_WAITS, hello={"last": 4})
    write(page, "perhaps")
    assert line.receive() == msg(5, "perhaps")
    line.cut()
    again = scripted.join().hello(last=last, recovered=recovered)
    expect(outgoing_of(page)).to_contain_text([f"perhaps{UNSURE}"])
    write(page, "later")
    assert again.receive() == msg(6, "later")  # nothing was sent before it, and the number goes on
    again.send({"type": "ack", "n": 6})
    page.get_by_role("button", name=answer).click()
    if answer == "Send again":
        assert again.receive() == msg(7, "perhaps")
    else:
        expect(outgoing_of(page)).to_have_count(0)


def test_in_a_new_log_the_first_text_is_sent_again_too(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(SHORT_WAITS, hello={"last": 4})
    line.cut()
    restarted = scripted.join().hello(last=None, recovered=False)
    write(page, "first here")
    assert restarted.receive() == msg(5, "first here")
    restarted.cut()
    assert scripted.join().hello(last=None, recovered=True).receive() == msg(5, "first here")


def test_another_log_in_the_midst_makes_what_is_under_way_unsure(enter: Enter) -> None:
    page, line = enter()
    write(page, "perhaps")
    message = line.receive()
    line.send({"type": "gap"})
    expect(outgoing_of(page)).to_contain_text([UNSURE])
    line.echo(message)  # it came after all
    expect(outgoing_of(page)).to_have_count(0)
    expect(texts_of(page)).to_have_text(["perhaps"])


def test_a_refused_text_comes_back_into_the_field_with_the_reason(enter: Enter) -> None:
    page, line = enter()
    write(page, "one")
    assert line.receive() == msg(1, "one")
    write(page, "two")
    field_of(page).fill("a draft")
    line.send({"type": "error", "n": 1, "text": "too fast"})
    expect(field_of(page)).to_have_value("one\ntwo\na draft")
    expect(note_of(page)).to_have_text("Not sent: too fast")
    expect(field_of(page)).to_have_accessible_description("Not sent: too fast")
    expect(outgoing_of(page)).to_have_count(0)
    field_of(page).press("Enter")
    assert line.receive()["text"] == "one\ntwo\na draft"
    expect(note_of(page)).to_have_text("")


def test_a_text_written_without_a_connection_is_sent_when_there_is_one(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(LONG_WAITS)
    line.cut()
    reconnect = page.get_by_role("button", name="Reconnect now")
    expect(reconnect).to_be_visible()
    write(page, "patience")
    expect(outgoing_of(page)).to_have_text([f"patience{ON_ITS_WAY}"])
    reconnect.click()
    # It was never sent before, so that nobody needs to be asked.
    assert scripted.join().hello(last=None, recovered=False).receive() == msg(1, "patience")


def test_nothing_is_stuck_while_the_log_is_down(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(QUICK_TIMERS, SHORT_WAITS)
    line.send({"type": "state", "log": "down"})
    expect(status_of(page)).to_contain_text("The server cannot store messages just now.")
    write(page, "waiting")
    message = line.receive()
    expect(outgoing_of(page)).to_have_text([f"waiting{LATE}"])
    # Longer than a connection without an answer lives; the page counts its own time.
    page.evaluate("new Promise(resolve => setTimeout(resolve, 15_000))")
    assert scripted.arrivals.empty()
    line.send({"type": "state", "log": "up"})
    expect(status_of(page)).to_have_text("Connected ")
    line.echo(message)
    expect(texts_of(page)).to_have_text(["waiting"])


def test_what_is_on_its_way_survives_a_reload(scripted: Scripted, enter: Enter) -> None:
    page, line = enter(hello={"last": 4})
    write(page, "sent")
    write(page, "not sent")
    field_of(page).fill("still\ntyping")
    assert line.receive() == msg(5, "sent")
    expect(outgoing_of(page)).to_have_count(2)
    page.reload()
    again = scripted.join()
    assert again.session == line.session
    assert again.since is None  # the page is empty: it wants the history
    expect(outgoing_of(page)).to_contain_text(["sent", "not sent"])
    expect(field_of(page)).to_have_value("still\ntyping")
    again.hello(last=4)
    for number, text in ((5, "sent"), (6, "not sent")):
        message = again.receive()
        assert message == msg(number, text)
        again.echo(message)
    expect(outgoing_of(page)).to_have_count(0)


def duplicate(page: Page) -> Page:
    """A second tab with a copy of the first one's storage, as "duplicate tab" makes it."""
    with page.expect_popup() as popup:
        page.evaluate("window.open(location.href) && undefined")
    return popup.value


def test_a_duplicated_tab_takes_a_session_of_its_own(scripted: Scripted, enter: Enter) -> None:
    page, line = enter()
    write(page, "mine")
    assert line.receive() == msg(1, "mine")
    copy = duplicate(page)
    while (other := scripted.join()).session == line.session:
        pass  # on a busy machine it hears a little too late that the session is taken, and comes once more
    other.hello(by="by-other")
    expect(status_of(copy)).to_have_text("Connected ")
    expect(outgoing_of(copy)).to_have_count(0)  # the text is the first tab's
    write(copy, "of the copy")
    assert other.receive() == msg(1, "of the copy")
    expect(outgoing_of(page)).to_have_count(1)


def test_a_tab_that_hears_too_late_of_another_with_its_session_takes_a_new_one(
    scripted: Scripted, enter: Enter
) -> None:
    # The other tab was frozen while this one was loaded, and answers now.
    page, line = enter(
        """window.BroadcastChannel = class extends BroadcastChannel {
            postMessage(data) { if (data.asks) window.asked = data; else super.postMessage(data); }
        }"""
    )
    page.reload()
    again = scripted.join().hello()
    assert again.session == line.session
    expect(status_of(page)).to_have_text("Connected ")
    page.evaluate("new BroadcastChannel('threadchat sessions').postMessage({ from: 'another', to: asked.from })")
    replaced = scripted.join()
    assert replaced.session != line.session


def test_a_page_that_has_left_its_tab_keeps_no_session(scripted: Scripted, enter: Enter) -> None:
    # A browser may keep the old page for a while, when a tab is loaded again or goes to another room.
    page, line = enter()
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    copy = duplicate(page)
    other = scripted.join().hello()
    assert other.session == line.session
    expect(status_of(copy)).to_have_text("Connected ")
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    assert scripted.join().session != line.session  # it has come back, and finds its session taken


def test_the_session_is_a_secret_that_goes_into_no_address(scripted: Scripted, enter: Enter) -> None:
    _, line = enter()
    assert line.offered == ["threadchat.v1", f"session.{line.session}"]
    assert len(line.session) == 32
    assert line.session.isalnum()
    _, other = enter()
    assert other.session != line.session
