"""Rooms: they come with the first client and end some time after the last, and nobody meets one that has ended."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import LIMIT, TEXT, V1, Peer, Serve, ask, go, until

from threadchat.channel import Closed
from threadchat.hub import Hub
from threadchat.log.memory import LEAST
from threadchat.messages import message
from threadchat.options import Options
from threadchat.room import LOBBY
from threadchat.rooms import NoRoom, Rooms
from threadchat.websocket.connection import Connection


class Later:
    """Stands for Timers: the test decides when a function is due."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], object]]] = []

    def after(self, seconds: float, function: Callable[[], object]) -> None:
        self.due.append((seconds, function))

    def stop(self) -> None:
        self.due.clear()

    def run(self) -> None:
        for _, function in [self.due.pop(0) for _ in range(len(self.due))]:
            function()


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    made = Rooms(Options(max_rooms=3, room_linger=60), lambda name: Hub())
    made._timers = Later()  # type: ignore[assignment]
    yield made
    made.stop()


def hub_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("hub")}


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic() + seconds
    monkeypatch.setattr("time.monotonic", lambda: now)


def test_a_room_is_made_at_its_first_join_and_has_a_thread(rooms: Rooms) -> None:
    assert hub_threads() == {"hub"}
    with rooms.enter("den") as room, rooms.enter("den") as same:
        assert room is same
        assert room is not rooms.lobby
        assert hub_threads() == {"hub", "hub-den"}


def test_a_room_ends_when_it_has_been_empty_for_its_linger_time(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    with rooms.enter("den") as room:
        room.log.append([message("kept", "by")])
    pass_time(monkeypatch, 40)
    with rooms.enter("den") as again:
        assert again is room
        assert again.log.top == 1
    pass_time(monkeypatch, 30)
    rooms._timers.run()  # type: ignore[attr-defined]
    assert "den" in rooms._rooms, "it has been empty for 30 seconds only"
    pass_time(monkeypatch, 31)
    rooms._timers.run()  # type: ignore[attr-defined]
    until(lambda: hub_threads() == {"hub"}, "the end of the room's thread")
    with rooms.enter("den") as new:
        assert new is not room
        assert new.log.top == 0


def test_the_lobby_never_ends(rooms: Rooms) -> None:
    with rooms.enter(LOBBY) as lobby:
        assert lobby is rooms.lobby
    assert not rooms._timers.due  # type: ignore[attr-defined]


def test_a_room_that_becomes_empty_often_has_one_timer(rooms: Rooms) -> None:
    for _ in range(100):
        with rooms.enter("den"):
            pass
    assert len(rooms._timers.due) == 1  # type: ignore[attr-defined]


def test_at_the_limit_the_room_that_has_been_empty_for_longest_ends(rooms: Rooms) -> None:
    with rooms.enter("one"):
        pass
    with rooms.enter("two"):
        pass
    with rooms.enter("one") as one, rooms.enter("three"):
        assert set(rooms._rooms) == {LOBBY, "one", "three"}
        with pytest.raises(NoRoom, match="too many rooms"), rooms.enter("four"):
            pass
        assert not one.failed


def test_race_1_who_enters_as_the_linger_time_passes_meets_no_room_that_has_ended(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rooms.enter("den") as room:
        pass
    pass_time(monkeypatch, 61)
    with rooms.enter("den") as same:
        rooms._timers.run()  # type: ignore[attr-defined]
        assert same is room
        same.say(message("the hub still listens", "by"))
        until(lambda: room.log.top == 1)


def test_race_2_two_threads_that_make_a_room_get_the_same_one(rooms: Rooms) -> None:
    made: list[str] = []
    both = threading.Barrier(2)

    def make(name: str) -> Hub:
        made.append(name)
        return Hub()

    rooms._make_hub = make

    def enter() -> Any:
        both.wait(LIMIT)
        with rooms.enter("den") as room:
            both.wait(LIMIT)
            return room

    first, second = go(enter), go(enter)
    assert first.result(LIMIT) is second.result(LIMIT)
    assert made == ["den"]


def test_race_3_nobody_enters_after_a_stop(rooms: Rooms) -> None:
    with rooms.enter("den") as room:
        rooms.stop()
        with pytest.raises(Closed), rooms.enter("den"):
            pass
        with pytest.raises(Closed):
            room.say(message("too late", "by"))
        with pytest.raises(Closed), room.arriving(None):  # type: ignore[arg-type]
            pass
    assert not hub_threads()


def test_race_4_a_room_whose_hub_has_failed_is_replaced(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda hook: None)
    for name in (LOBBY, "den"):
        with rooms.enter(name) as room:
            room.hub.record = lambda messages: 1 / 0  # type: ignore[assignment, return-value]
            room.say(message("what cannot be recorded", "by"))
            until(lambda room=room: room.failed)  # type: ignore[misc]
            with rooms.enter(name) as new:
                assert new is not room
                new.say(message("hello", "by"))
                until(lambda new=new: new.log.top == 1)  # type: ignore[misc]


def test_a_thousand_rooms_made_and_left_by_ten_threads_leave_nothing_behind(serve: Serve) -> None:
    server = serve(room_linger=0.001)

    def visit(number: int) -> None:
        for each in range(100):
            with Peer(server.port, f"/r/room%20{each if each % 3 else number * 100 + each}/ws") as peer:
                assert peer.status == 101, "no join meets a room that has ended"

    visits = [go(visit, number) for number in range(10)]
    for each in visits:
        each.result(60)
    until(lambda: hub_threads() == {"hub"}, "the end of the rooms' threads")
    assert set(server.app.rooms._rooms) == {LOBBY}
    assert not server.app.rooms._inside
    assert not server.app.rooms._empty_since


def test_too_many_rooms_are_answered_with_503(serve: Serve) -> None:
    port = serve(max_rooms=2).port
    with Peer(port, "/r/den/ws") as first:
        with Peer(port, "/r/one%20more/ws") as refused:
            assert refused.status == 503
        first.talk("the others go on")


@pytest.mark.parametrize("address", ["/r/%E2%80%AE/ws", "/r/a%2Fb/ws", f"/r/{'x' * 65}/ws", "/r/%00/ws"])
def test_what_cannot_be_a_rooms_name_is_not_found(serve: Serve, address: str) -> None:
    with Peer(serve().port, address) as refused:
        assert refused.status == 404


def test_other_spellings_of_a_rooms_name_are_the_same_room(serve: Serve) -> None:
    port = serve(room_linger=0.001).port
    with V1(port, room="Straße  Ⅷ", name="Ann") as ann, V1(port, room="STRASSE viii", name="Bob") as bob:
        assert ann.hello["room"] == bob.hello["room"] == "strasse viii"
        bob.say("here", n=1)
        assert ann.texts(1) == ["here"]


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/r/DEN?x=1", "/r/den?x=1"),
        ("/r/%20den", "/r/den"),
        ("/r/Stra%C3%9Fe", "/r/strasse"),
        ("/r/Lobby", "/"),
    ],
)
def test_another_spelling_of_a_rooms_address_is_redirected(serve: Serve, path: str, location: str) -> None:
    answer = ask(serve(), "GET", path)
    assert (answer.status, answer.headers["Location"]) == (308, location)


def test_the_page_of_a_room_loads_what_the_lobbys_page_loads(serve: Serve) -> None:
    server = serve()
    lobby, den = ask(server, "GET", "/").body, ask(server, "GET", "/r/den").body
    assert b'"static/' in lobby
    assert den == lobby.replace(b'"static/', b'"../static/')


def test_what_the_application_sends_must_be_text(serve: Serve) -> None:
    server = serve()
    with Peer(server.port) as peer:
        until(lambda: server.clients)
        for wrong in (b"bytes", 5, None):
            with pytest.raises(TypeError, match="a channel of str cannot take"):
                server.app.hub.broadcast.send(wrong)  # type: ignore[arg-type]
        server.app.hub.broadcast.send("half a character: \ud83d")
        assert peer.lines(1) == ["half a character: ?"]
        peer.talk("nobody was thrown out")


def test_a_hub_whose_log_fails_still_parts_with_its_clients(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda hook: None)
    server = serve()
    with Peer(server.port) as peer:
        until(lambda: server.clients)
        server.app.hub.record = lambda messages: 1 / 0  # type: ignore[assignment, return-value]
        peer.send(TEXT, "what cannot be recorded")
        assert peer.receive_all()[-1].close_code == 1001
    with Peer(server.port) as peer:
        peer.talk("the next client meets a new hub")


def test_half_a_character_from_the_application_costs_nobody_anything(serve: Serve) -> None:
    server = serve(keep=1)
    with V1(server.port) as client, Peer(server.port) as plain:
        until(lambda: len(server.clients) == 2)
        for number in range(2 * LEAST):  # until the log drops what comes before one of these
            server.app.hub.broadcast.send(f"{number} \ud83d")
        assert client.texts(2 * LEAST)[-1] == plain.lines(2 * LEAST)[-1] == f"{2 * LEAST - 1} ?"
        plain.talk("the hub goes on")


@contextmanager
def no_threads(monkeypatch: pytest.MonkeyPatch, *roles: str) -> Iterator[None]:
    """During a `with` block, the system has no thread for these roles."""
    start = threading.Thread.start

    def no_more(thread: threading.Thread) -> None:
        if thread.name.startswith(roles):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        yield


def test_without_threads_a_room_that_cannot_be_made_is_answered_with_503_and_the_others_go_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve().port
    with Peer(port, "/r/den/ws") as first:
        with no_threads(monkeypatch, "hub"), Peer(port, "/r/other/ws") as refused:
            assert refused.status == 503
        first.talk("the others go on")
        with Peer(port, "/r/other/ws") as second:
            second.talk("and later there is room")


def test_without_threads_a_room_ends_all_the_same_and_so_does_a_stop(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rooms.enter("den"):
        pass
    pass_time(monkeypatch, 61)
    with no_threads(monkeypatch, "end"):
        rooms._timers.run()  # type: ignore[attr-defined]
    until(lambda: hub_threads() == {"hub"}, "the end of the room's thread")
    go(rooms.stop).result(LIMIT)


def test_a_room_that_has_ended_is_freed_without_the_garbage_collector(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()
    gc.disable()
    try:
        with rooms.enter("den") as room:
            log = weakref.ref(room.log)
        del room
        pass_time(monkeypatch, 61)
        rooms._timers.run()  # type: ignore[attr-defined]
        until(lambda: log() is None, "the end of the room's log")
    finally:
        gc.enable()


def test_who_arrives_in_a_room_whose_hub_has_failed_is_sent_away(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda hook: None)
    arriving = Connection({}, Options())
    with rooms.enter("den") as room, room.arriving(arriving):
        room.hub.record = lambda messages: 1 / 0  # type: ignore[assignment, return-value]
        room.say(message("what cannot be recorded", "by"))
        until(lambda: room.failed)
        with rooms.enter("den"):
            assert arriving.ending.startswith("1001")
