"""The client's loop, against a server that the test plays: every rule of threadchat.v1 for clients."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import pytest
from helpers import LIMIT, SESSION_TAG, Scripted, Seat, go, until
from mentions import ADDRESSED

from threadchat.channel import Channel, Closed, Send, select
from threadchat.terminal import backoff, dial
from threadchat.terminal import chat as module
from threadchat.terminal.address import address_of
from threadchat.terminal.chat import Chat, Gone
from threadchat.terminal.join import dialer
from threadchat.terminal.view import Said
from threadchat.terminal.words import mentions


class Seen:
    """A view without a terminal: the test presses the keys, and looks at what was shown."""

    ahead = 10

    def __init__(self, patience: float | None) -> None:
        self.patience = patience
        self.keys: Channel[str] = Channel(100)
        self.said: list[Said] = []
        self.told: list[str] = []
        self.troubles: list[str] = []
        self.states = [("", False, 0)]
        self.names: tuple[str, ...] = ()

    @property
    def texts(self) -> list[str]:
        return [said.text for said in self.said]

    def read_keys(self, says: Channel[str], commands: Channel[str], done: Channel[None]) -> None:
        try:
            while True:
                case, line = select(self.keys, done)
                assert case is self.keys
                select(Send(commands if line.startswith("/") else says, line), done)
        except Closed as closed:
            if closed.channel is self.keys:
                says.close()

    def message(self, said: Said) -> None:
        self.said.append(said)

    def news(self, text: str) -> None:
        self.told.append(text)

    def trouble(self, text: str) -> None:
        self.troubles.append(text)

    def status(self, name: str, connected: bool, waiting: int, names: tuple[str, ...]) -> None:
        self.states.append((name, connected, waiting))
        self.names = names


class Person:
    """A Chat that runs in a thread, and what its view has seen."""

    def __init__(
        self, url: str, name: str | None = None, key: str | None = None, patience: float | None = None
    ) -> None:
        self.view = Seen(patience)
        self.chat = Chat(dialer(address_of(url), key), self.view, name)
        self.running: Future[None] = go(self.chat.run)

    def types(self, *lines: str) -> None:
        for line in lines:
            self.view.keys.send(line)

    def sees(self, *texts: str) -> None:
        until(lambda: self.view.texts == list(texts), lambda: f"the messages {texts}, not {self.view.texts}")

    def is_connected(self, whether: bool = True) -> None:
        until(lambda: self.view.states[-1][1] == whether, f"connected: {whether}")

    def reads(self, pattern: str) -> None:
        """Wait for a line of news or trouble."""
        until(lambda: re.search(pattern, "\n".join(self.view.told + self.view.troubles)), f"a line with {pattern!r}")

    def gone(self) -> str:
        """Why the chat has ended by itself."""
        with pytest.raises(Gone) as gone:
            self.running.result(LIMIT)
        return str(gone.value)


Enter = Callable[..., Person]


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as scripted:
        yield scripted


@pytest.fixture
def enter(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> Iterator[Enter]:
    """Starts a client of the server, which does not wait before it comes back. It has left at the test's end."""
    monkeypatch.setattr(backoff, "FIRST_DELAY", 0.0)
    with ExitStack() as stack:

        def start(name: str | None = None, **how: Any) -> Person:
            person = Person(server.url, name, **how)
            stack.callback(leave, person)
            return person

        def leave(person: Person) -> None:
            server.close()
            if not person.running.done():
                person.types("/quit")
            assert person.running.exception(LIMIT) is None or isinstance(person.running.exception(), Gone)

        yield start


def hears(seat: Seat, text: str, n: int) -> dict[str, Any]:
    said = seat.hear()
    assert said == {"type": "msg", "n": n, "text": text}
    return said


# How it introduces itself


def test_it_offers_the_protocol_and_a_secret_session_of_its_own(server: Scripted, enter: Enter) -> None:
    secrets = set()
    for _ in range(2):
        enter()
        seat = server.join()
        assert seat.offered[0] == "threadchat.v1"
        assert re.fullmatch(r"session\.[A-Za-z0-9_-]{16,64}", seat.offered[1])
        secrets.add(seat.offered[1])
        assert (seat.path, seat.query) == ("/ws", {})
    assert len(secrets) == 2


def test_it_asks_for_the_name_and_shows_the_key(server: Scripted, enter: Enter) -> None:
    enter("Änn 1", key="s3cret")
    seat = server.join()
    assert seat.query == {"name": "Änn 1"}
    assert seat.headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in seat.path


def test_without_a_key_it_shows_none(server: Scripted, enter: Enter) -> None:
    enter()
    assert "authorization" not in server.join().headers


# What is said, and how it comes back


def test_a_message_waits_for_the_echo_of_the_one_before(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join()
    person.types("one", "two")
    said = hears(seat, "one", 1)
    until(lambda: person.view.states[-1] == ("Ann", True, 2), "one on the way, and one that waits")
    seat.message(1, "from another")
    seat.echo(2, said)
    hears(seat, "two", 2)
    person.sees("from another", "one")
    assert [said.own for said in person.view.said] == [False, True]


def test_an_acknowledgement_does_for_an_echo(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join()
    person.types("one", "two")
    hears(seat, "one", 1)
    seat.say({"type": "ack", "n": 1})
    hears(seat, "two", 2)


def test_the_echo_of_another_number_is_none(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join(last=4)
    person.types("one", "two")
    said = hears(seat, "one", 5)
    seat.message(1, "of the same session", by=SESSION_TAG, n=4)
    seat.say({"type": "ack", "n": 4}, {"type": "error", "n": 4, "text": "no"})
    seat.echo(2, said)
    hears(seat, "two", 6)


def test_a_refusal_is_shown_and_uses_no_number_up(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join()
    person.types("one", "two")
    hears(seat, "one", 1)
    seat.say({"type": "error", "n": 1, "text": "You are muted."})
    hears(seat, "two", 1)
    person.reads(r"Not sent: one \(You are muted\.\)")
    assert person.chat.failed


def test_a_text_that_is_too_long_stays_here(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join(message_size=5)
    person.types("sixsix", "äöü", "five5")
    seat.echo(1, hears(seat, "five5", 1))
    person.types("/name sixsix", "/name five5")
    assert seat.hear() == {"type": "name", "name": "five5"}
    person.reads("at most 5 bytes, and this one has 6")
    assert len(person.view.troubles) == 3


def test_half_a_character_does_not_leave_this_machine(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join()
    person.types("a\ud800b")
    hears(seat, "a?b", 1)


# Coming back


@pytest.mark.parametrize("ending", [1001, 1006, 1008, 1011, 1012, 1013])
def test_it_comes_back_with_its_session_its_name_and_the_last_token(
    server: Scripted, enter: Enter, ending: int
) -> None:
    person = enter()
    seat = server.join(token="e.7.0", top=8)
    seat.message(8, "history")
    seat.message(9, "new")
    person.sees("history", "new")
    seat.cut() if ending == 1006 else seat.end(ending)
    again = server.join(token="e.9.0", top=9, recovered=True)
    assert again.query == {"name": "Ann", "since": "e.9.0"}
    assert again.offered == seat.offered
    again.message(10, "newer")
    person.sees("history", "new", "newer")


def test_hellos_token_is_the_one_from_which_it_goes_on(server: Scripted, enter: Enter) -> None:
    enter()
    server.join(token="e.7.0", top=9).cut()  # in the middle of the history
    assert server.join().query["since"] == "e.7.0"


@pytest.mark.parametrize(
    ("last", "recovered", "again", "number"),
    [
        (2, True, True, 3),
        (3, True, False, 4),
        (3, False, False, 4),
        (9, True, False, 10),
        (None, True, False, 4),
        (None, False, False, 4),
        (2, False, False, 4),
    ],
)
def test_it_sends_again_only_what_the_server_is_sure_not_to_have(
    server: Scripted, enter: Enter, last: int | None, recovered: bool, again: bool, number: int
) -> None:
    person = enter()
    seat = server.join(last=2)
    person.types("one", "two")
    hears(seat, "one", 3)
    seat.cut()
    seat = server.join(last=last, recovered=recovered)
    hears(seat, "one" if again else "two", number)
    doubtful = not again and (last is None or last < 3)
    assert any("Nobody knows whether this was delivered: one" in each for each in person.view.troubles) == doubtful
    assert person.chat.failed == doubtful


def test_what_is_typed_without_a_connection_is_sent_when_there_is_one(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join()
    person.is_connected()
    seat.cut()
    person.is_connected(False)
    person.types("one", "/name Bob", "/who")
    person.reads("0 here")
    assert person.view.states[-1] == ("Ann", False, 1)
    seat = server.join()
    assert seat.hear() == {"type": "name", "name": "Bob"}
    hears(seat, "one", 1)


def test_the_waits_grow_with_full_jitter_until_a_connection_has_held(
    server: Scripted, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FIRST_DELAY", 1.0)
    longest: list[float] = []

    def uniform(least: float, most: float) -> float:
        assert least == 0
        longest.append(most)
        return 0.0

    monkeypatch.setattr(random, "uniform", uniform)
    person = enter()
    for _ in range(4):
        server.join().end(1001)  # it did not hold
    for _ in range(3):
        server.refuse(503)
    server.join().end(1012)  # one may come back at once: that is no failure
    server.refuse(503)
    monkeypatch.setattr(backoff, "HELD", 0.0)
    server.join().end(1001)
    server.join()
    person.is_connected()
    assert longest == [1, 2, 4, 8, 16, 30, 30, 1, 30, 1]


def test_it_does_not_come_back_when_it_was_put_out(server: Scripted, enter: Enter) -> None:
    person = enter()
    server.join().end(4001, "spam\x1b[2J")
    assert person.gone() == "You were put out of the room: spam"


@pytest.mark.parametrize(("status", "why"), [(400, "status 400"), (401, "has a key.*--key"), (403, "status 403")])
@pytest.mark.parametrize("joined", [False, True])
def test_it_does_not_come_back_where_it_is_refused(
    server: Scripted, enter: Enter, status: int, why: str, joined: bool
) -> None:
    person = enter()
    if joined:
        server.join().cut()
    server.refuse(status)
    assert re.search(why, person.gone())


@pytest.mark.parametrize("status", [404, 500, 502, 503])
def test_another_refusal_ends_it_only_before_it_has_joined(server: Scripted, enter: Enter, status: int) -> None:
    person = enter()
    server.join().cut()
    server.refuse(status)
    server.join().message(1, "here again")
    person.sees("here again")
    other = enter()
    server.refuse(status)
    assert f"status {status}" in other.gone()


def test_a_connection_that_does_not_come_back_in_time_is_the_end_of_a_pipe(server: Scripted, enter: Enter) -> None:
    person = enter(patience=0.0)
    server.join().cut()
    server.refuse(503)
    assert re.search("does not come back: .*503", person.gone())


def test_a_server_that_is_silent_is_left(server: Scripted, enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "READ_WAIT", 1.0)
    enter()
    server.join()
    assert server.join().query["since"] == "e.0.0"


def test_it_pings_so_that_a_server_that_is_there_is_not_silent(
    server: Scripted, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PING_EVERY", 0.001)
    enter()
    seat = server.join()
    for _ in range(3):
        seat.ping()


# What the server says


def test_what_was_said_before_it_came_is_past_and_what_it_missed_is_not(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join(top=2)
    seat.message(2, "hello @Ann")
    seat.message(3, "hello @ann!")
    seat.message(4, "hello @Annabel")
    person.sees("hello @Ann", "hello @ann!", "hello @Annabel")
    seat.cut()
    server.join(top=5, recovered=True).message(5, "@ANN: are you there?")
    until(lambda: len(person.view.said) == 4, "the message that it missed")
    assert [said.past for said in person.view.said] == [True, False, False, False]
    assert [said.mentions_me for said in person.view.said] == [False, True, False, True]


@pytest.mark.parametrize(("text", "marks"), ADDRESSED)
def test_a_text_mentions_somebody_where_the_page_sees_it(text: str, marks: list[str]) -> None:
    assert mentions(text, "Ann") is bool(marks)
    assert not mentions(text, "")


def test_nobody_mentions_themselves(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join()
    seat.message(1, "I am @Ann", by=SESSION_TAG)
    person.sees("I am @Ann")
    assert not person.view.said[0].mentions_me


def test_it_knows_who_is_here(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join(top=3, count=3, here=[{"name": "Bob", "by": "b"}])
    entry = {"token": "e.4.0", "at": 0}
    seat.say({**entry, "type": "join", "id": 3, "by": "o", "name": "Old"})
    seat.say({**entry, "type": "join", "id": 4, "by": SESSION_TAG, "name": "Ann"})
    person.reads("You are Ann; 4 here: Bob, Ann and 2 more")
    seat.say({**entry, "type": "join", "id": 5, "by": "c", "name": "Cid"})
    seat.say({**entry, "type": "name", "id": 6, "by": "c", "name": "Dan"})
    seat.say({**entry, "type": "leave", "id": 7, "by": "b", "name": "Bob"})
    person.reads("Bob left")
    assert person.view.told[1:] == ["Cid joined", "Cid is now called Dan", "Bob left"]
    assert person.view.names == ("Ann", "Dan")
    person.types("/who")
    person.reads("4 here: Ann, Dan and 2 more")


def test_what_an_organiser_has_done_is_told(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join()
    entry = {"token": "e.4.0", "id": 4, "at": 0, "by": "b", "name": "Bob"}
    seat.say({**entry, "type": "order", "order": "clear", "text": "Bob cleared the room.\x1b[2J"})
    person.reads(r"^Bob cleared the room\.\S*$")


def test_in_a_crowd_joins_and_leaves_are_not_told(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join(count=25)
    for number, kind in enumerate(("join", "leave", "leave"), 1):
        seat.say({"type": kind, "token": "e", "id": number, "at": 0, "by": "b", "name": "Bob"})
    person.reads("Bob left")
    until(lambda: person.view.told == ["Bob left", "Bob left"], "what is told at 25 and below")


def test_a_new_name_is_the_one_that_the_server_gives(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join()
    person.types("/name  Bob ")
    assert seat.hear() == {"type": "name", "name": "Bob"}
    seat.say({"type": "name", "token": "e", "id": 1, "at": 0, "by": SESSION_TAG, "name": "Bob 2"})
    person.reads("You are Bob 2")
    person.types("/name admin")
    seat.hear()
    seat.say({"type": "error", "n": None, "text": "The name admin is reserved."})
    person.reads("reserved")
    seat.cut()
    assert server.join().query["name"] == "Bob 2"


def test_a_gap_and_a_log_that_is_down_are_told(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join()
    seat.say({"type": "gap"}, {"type": "state", "log": "down"}, {"type": "state", "log": "up"})
    person.reads("writes down what is said again")
    assert [each.partition(" ")[0] for each in person.view.troubles] == ["Some", "The"]


def test_entries_of_a_new_epoch_are_new_though_their_ids_are_low(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join(top=9)
    seat.message(10, "old epoch")
    seat.say({"type": "gap"})
    seat.say({"type": "join", "token": "f.1.0", "id": 1, "at": 0, "by": "b", "name": "Bob"})
    person.reads("Bob joined")


def test_nothing_that_the_server_says_reaches_the_terminal_as_a_command(server: Scripted, enter: Enter) -> None:
    bad = "\x1b]0;owned\x07\x1b[31m\x9b2J\r\u202e\ud800x"
    person = enter()
    seat = server.join(name=f"Ann{bad}", here=[{"name": f"Bob{bad}", "by": "b"}], count=1)
    seat.message(1, bad, name=bad)
    seat.say({"type": "join", "token": "e", "id": 2, "at": 0, "by": SESSION_TAG, "name": bad})
    seat.say(
        {"type": "error", "n": None, "text": bad},
        {"type": "name", "token": "e", "id": 3, "at": 0, "by": "b", "name": bad},
    )
    person.reads("is now called")
    seat.end(4001, bad.replace("\ud800", ""))
    view = person.view
    shown = [person.gone(), *view.told, *view.troubles, *view.names, *view.texts]
    shown += [said.name for said in view.said] + [name for name, _, _ in view.states]
    assert all(text.replace("\n", "").isprintable() for text in shown), shown
    assert not any("owned" in text or "31m" in text or "2J" in text for text in shown)


def test_what_is_not_of_the_protocol_is_passed_over(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join(top="many", last=[], message_size=512, here={"a": 1}, count="x", token=5)
    seat.say("no JSON", "[" * 100_000, "9" * 5000, "[]", "null", '"text"', {"type": "new"}, {"type": "msg"}, {})
    seat.say({"type": "msg", "token": [], "id": 1}, {"type": "msg", "token": "e.1.0", "id": "1"}, {"type": ["msg"]})
    seat.say({"type": "msg", "token": "e.1.0", "id": 1, "at": "noon", "name": 7, "by": None, "text": {}})
    seat.message(2, "all is well")
    person.sees("", "all is well")


def test_a_server_without_the_protocol_is_not_spoken_to(server: Scripted, enter: Enter) -> None:
    person = enter()
    server.seat(subprotocol=None)
    assert person.gone() == "The server does not speak threadchat.v1."


# The end


def test_when_there_is_nothing_more_to_say_it_leaves_after_the_last_echo(server: Scripted, enter: Enter) -> None:
    person = enter()
    person.types("one")
    person.view.keys.close()
    seat = server.join()
    seat.echo(1, hears(seat, "one", 1))
    assert seat.goodbye() == 1000
    person.running.result(LIMIT)
    person.sees("one")
    assert not person.chat.failed


def test_somebody_who_leaves_with_a_message_on_the_way_is_told_so(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join()
    person.types("one", "two")
    hears(seat, "one", 1)
    until(lambda: person.view.states[-1][2] == 2, "one on the way, and one that waits")
    person.types("/quit")
    assert seat.goodbye() == 1000
    person.running.result(LIMIT)
    assert person.view.troubles == ["2 messages not delivered."]
    assert person.chat.failed


@pytest.mark.parametrize("moment", ["dialing", "handshake", "talk", "flood", "waiting"])
def test_it_ends_at_once_at_every_moment(
    server: Scripted, enter: Enter, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setattr(module, "CLOSE_WAIT", 0.1)
    monkeypatch.setattr(dial, "CLOSE_WAIT", 0.1)
    monkeypatch.setattr(dial, "DIAL_WAIT", 0.5)
    person = enter()
    if moment == "handshake":
        server._arrival()
    elif moment != "dialing":
        seat = server.join()
        person.is_connected()
        if moment == "flood":
            for number in range(1, 2000):
                seat.message(number, "x" * 100)
        elif moment == "waiting":
            monkeypatch.setattr(backoff, "FIRST_DELAY", 1000.0)
            seat.cut()
            person.is_connected(False)
    person.types("/quit")
    person.running.result(LIMIT)


def test_unknown_commands_are_not_said(server: Scripted, enter: Enter) -> None:
    person = enter()
    seat = server.join()
    person.types("/me waves", "/name", "/help", "said")
    hears(seat, "said", 1)
    person.reads("Tab completes names")
    assert person.view.troubles == [
        "There is no command /me: /help lists them. To say it, write //me waves",
        "Say which name: /name NAME",
    ]
