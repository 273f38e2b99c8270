"""Rooms with a store: after a restart everybody goes on where they were, and the hub never misses what the log has."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import HANDSHAKE, LIMIT, V1, Held, Peer, RedisServer, Running, Serve, ask, go, until

from threadchat import create_app, stored_room
from threadchat.channel import Closed
from threadchat.hub import Hub
from threadchat.log import StoreDown, StoreUnfit
from threadchat.log.sqlite import SqliteStore
from threadchat.log.writer import LogWriter
from threadchat.messages import LOG_DOWN, LOG_UP, message
from threadchat.options import Options
from threadchat.rooms import Rooms
from threadchat.stored_room import StoredRoom
from threadchat.websocket.connection import Connection

KEY = {"Authorization": "Bearer the-organisers"}


@pytest.fixture
def start(serve: Serve, tmp_path: Path) -> Callable[..., Running]:
    """Starts a server with a store, again on the same file after the one before has been stopped."""
    return lambda **options: serve(store=f"sqlite:{tmp_path / 'chat.db'}", moderator_key="the-organisers", **options)


@pytest.fixture(params=["sqlite", "redis"])
def start_any(request: pytest.FixtureRequest, serve: Serve) -> Callable[..., Running]:
    """The same with each engine that outlives the process."""
    if request.param == "sqlite":
        start: Callable[..., Running] = request.getfixturevalue("start")
        return start
    redis: RedisServer = request.getfixturevalue("redis_server")
    return lambda **options: serve(store=redis.unix_url, moderator_key="the-organisers", **options)


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    made = Rooms(Options(), lambda name: Hub(), SqliteStore(str(tmp_path / "chat.db")))
    yield made
    made.stop()


@pytest.mark.usefixtures("patience")
def test_after_a_restart_everybody_goes_on_where_they_were(start_any: Callable[..., Running]) -> None:
    server = start_any()
    with V1(server.port, room="den", name="Ann") as ann, V1(server.port, room="den", name="Bob") as bob:
        ann.until(type="join", name="Bob")
        ann.say("one", n=1)
        seen = bob.until(type="msg")
        ann.say("two", n=2)
        for each in (ann, bob):
            each.until(type="msg", text="two")
        server.stop()
    server = start_any()
    with V1(server.port, room="den", name="Bob", session=bob.session, since=seen["token"]) as back:
        assert back.hello["recovered"]
        assert {each["name"] for each in back.hello["here"]} == {"Ann", "Bob"}, "Ann has some time to come back"
        assert back.receive()["text"] == "two"
        with V1(server.port, room="den", name="Ann", session=ann.session) as writer:
            assert writer.hello["last"] == 2
            assert writer.hello["name"] == "Ann"
            assert writer.texts(2) == ["one", "two"]
            writer.say("two", n=2)
            assert writer.receive() == {"type": "ack", "n": 2}
            writer.say("three", n=3)
            assert back.receive()["text"] == "three", "nobody has left or joined"


def test_who_does_not_come_back_after_a_restart_has_left(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_room, "RETURN_WAIT", 0.01)
    server = start()
    with V1(server.port, name="Ann"), V1(server.port, name="Bob") as bob:
        bob.until(type="join", name="Bob")
        server.stop()
    server = start()
    with V1(server.port, name="Cy") as cy:
        assert {cy.until(type="leave")["name"], cy.until(type="leave")["name"]} == {"Ann", "Bob"}
    with V1(server.port, name="Ann") as another:
        assert another.hello["name"] == "Ann", "the name is free"


def test_orders_are_in_force_after_a_restart(start_any: Callable[..., Running]) -> None:
    server = start_any()
    with V1(server.port, name="Ann", headers=KEY) as ann, V1(server.port, name="Bob") as bob:
        ann.send(type="mute", by=bob.hello["by"])
        assert bob.until(type="order")["order"] == "mute"
        ann.send(type="slow", seconds=30)
        bob.until(order="slow")
        ann.send(type="lock", locked=True)
        bob.until(order="lock")
        server.stop()
    server = start_any()
    with V1(server.port, session=bob.session) as back:
        assert back.hello["locked"]
        assert back.hello["slow"] == 30
        back.say("x", n=1)
        assert back.until(type="error")["text"] == "You are muted in this room."


def test_the_transcript_is_the_same_after_a_restart(start_any: Callable[..., Running]) -> None:
    server = start_any()
    token = server.app.publish("hello", room="den", name="CI")
    before = ask(server, "GET", "/r/den/log.jsonl").body
    server.stop()
    server = start_any()
    assert ask(server, "GET", "/r/den/log.jsonl").body == before
    assert token.encode() in before
    assert ask(server, "GET", "/r/nobody-was-here/log.txt").status == 404
    assert "nobody-was-here" not in server.app.rooms._rooms


def test_while_the_log_is_down_people_are_told_and_nothing_is_lost(start_any: Callable[..., Running]) -> None:
    server = start_any()
    writer = server.app.rooms._writer
    assert writer is not None
    write, down = writer._store.write, threading.Event()

    def fails(additions: Any) -> Any:
        if down.is_set():
            raise StoreDown("the disk is full")
        return write(additions)

    writer._store.write = fails  # type: ignore[method-assign]
    with V1(server.port, name="Ann") as ann, Peer(server.port) as plain:
        ann.until(type="join")
        down.set()
        ann.say("waits", n=1)
        assert ann.receive() == {"type": "state", "log": "down"}
        assert ask(server, "GET", "/readyz").body == b"The log is down.\n"
        assert ask(server, "GET", "/livez").status == 200
        with V1(server.port, name="Bob") as bob:
            assert bob.until(type="state") == {"type": "state", "log": "down"}
            down.clear()
            assert bob.until(type="msg")["text"] == "waits"
        told = [ann.receive()]
        while {"msg", "state"} - {line["type"] for line in told}:
            told.append(ann.receive())
        assert {"type": "state", "log": "up"} in told
        assert [line["text"] for line in told if line["type"] == "msg"] == ["waits"]
        assert plain.lines(1) == ["Ann: waits"]
    assert server.app.rooms.log_is_up


def test_race_1_a_hub_that_ends_frees_those_who_wait_for_it(rooms: Rooms) -> None:
    with rooms.enter("den") as den:
        held = Held(den.hub)

        def speak() -> None:
            for number in range(5_000):
                den.say(message(f"{number}", "ann"))

        speaking = go(speak)
        assert held.at_work.wait(LIMIT)
        until(lambda: den.log.top >= stored_room.BEHIND)
        until(lambda: den._recorded._waiters, "somebody who waits for the hub")  # type: ignore[attr-defined]
        assert den.log.top < stored_room.FAR_BEHIND + 2 * stored_room.BEHIND, "the log does not run away"
        den.hub.stop()
        held.goes_on.set()
        with pytest.raises(Closed):
            speaking.result(LIMIT)


def test_race_2_a_client_that_joins_before_the_hub_has_passed_on_misses_nothing(
    start_any: Callable[..., Running],
) -> None:
    server = start_any()
    with V1(server.port, name="Ann") as ann:
        room = server.app.rooms.lobby
        ann.until(type="join")
        held = Held(room.hub)
        ann.say("in between", n=1)
        assert held.at_work.wait(LIMIT)
        until(lambda: room.log.last(ann.hello["by"]) == 1, "the log has it, and the hub not yet")
        coming = go(V1, server.port, name="Bob")
        held.goes_on.set()
        with coming.result(LIMIT) as bob:
            bob.say("and here I am", n=1)
            texts = [bob.receive()]
            while texts[-1].get("text") != "and here I am":
                texts.append(bob.receive())
        assert [line["text"] for line in texts if line["type"] == "msg"] == ["in between", "and here I am"]
        ids = [line["id"] for line in texts]
        assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_race_3_what_is_cleared_before_the_hub_has_passed_it_on_is_passed_on(start_any: Callable[..., Running]) -> None:
    server = start_any()
    room = server.app.rooms.lobby
    with V1(server.port, name="Ann", headers=KEY) as ann, V1(server.port, name="Bob") as bob:
        ann.until(type="join", name="Bob")
        held = Held(room.hub)
        ann.say("one", n=1)
        ann.say("two", n=2)
        assert held.at_work.wait(LIMIT)
        ann.send(type="clear")
        until(lambda: room.log.start[0] >= 2, "the log, cleared")
        held.goes_on.set()
        assert bob.texts(2) == ["one", "two"]
        assert bob.until(type="order")["order"] == "clear"
    assert json.loads(ask(server, "GET", "/log.jsonl").body.splitlines()[0])["type"] == "order"


def test_race_4_a_client_hears_last_what_is_true(
    start_any: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first client is being told that the log is down, it is up again: nobody is told so before that."""
    server = start_any()
    room, writer = server.app.rooms.lobby, server.app.rooms.writer
    assert isinstance(room, StoredRoom)
    assert writer is not None
    reply, at_work, up_again = Connection.reply_nowait, threading.Event(), threading.Event()

    def slow(connection: Connection, line: str) -> bool:
        if line == LOG_DOWN:
            at_work.set()
            until(lambda: up_again.is_set() or room._tell_is_due, "that the log is up again, and somebody is to say so")
        sent = reply(connection, line)
        if line == LOG_UP:
            up_again.set()
        return sent

    monkeypatch.setattr(Connection, "reply_nowait", slow)
    with V1(server.port, name="Ann") as ann, V1(server.port, name="Bob") as bob:
        for each in (ann, bob):
            assert {each.until(type="join")["name"] for _ in range(2)} == {"Ann", "Bob"}  # in whichever order
        writer.is_down = True
        room.tell(False)
        assert at_work.wait(LIMIT)
        writer.is_down = False
        room.tell(True)
        for each in (ann, bob):
            assert [each.receive(), each.receive()] == [json.loads(LOG_DOWN), json.loads(LOG_UP)]


def test_race_5_whoever_comes_as_the_log_is_up_again_does_not_take_it_to_be_down(
    start_any: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_any()
    looks = iter([False])  # as the client is about to listen; then the log is up
    monkeypatch.setattr(LogWriter, "is_up", property(lambda writer: next(looks, True)))
    with V1(server.port, name="Ann") as ann:
        ann.say("hello", n=1)
        assert [ann.receive()["type"], ann.receive()["type"]] == ["join", "msg"]
        assert next(looks, None) is None


def test_a_client_that_does_not_read_is_told_later_and_delays_nobody(
    start_any: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_room, "TRY_AGAIN", 0.01)
    server = start_any()
    room, writer = server.app.rooms.lobby, server.app.rooms.writer
    assert isinstance(room, StoredRoom)
    assert writer is not None
    with V1(server.port, name="Ann") as ann, V1(server.port, name="Bob") as bob:
        for each in (ann, bob):
            assert {each.until(type="join")["name"] for _ in range(2)} == {"Ann", "Bob"}  # in whichever order
        writer.is_down = True
        room.tell(False)
        for each in (ann, bob):
            assert each.receive() == {"type": "state", "log": "down"}
        (blocked,) = (connection for connection, seat in room.moderation._seats.items() if seat.by == ann.by)
        with blocked._writing:  # as while a thread waits for the peer
            writer.is_down = False
            room.tell(True)
            assert bob.receive() == {"type": "state", "log": "up"}
        assert ann.receive() == {"type": "state", "log": "up"}


def test_a_writer_that_fails_frees_everybody_and_says_so(
    start_any: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_any()
    writer = server.app.rooms.writer
    assert writer is not None
    writer._store.write = lambda additions: [str(1 / 0)]  # type: ignore[method-assign]
    with pytest.raises(Closed):
        server.app.publish("is waited for")
    until(lambda: writer.failed)
    assert ask(server, "GET", "/livez").body == b"The log writer has failed.\n"
    with pytest.raises(Closed):
        server.app.publish("x", room="another")


def test_a_store_that_cannot_be_written_at_the_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: SqliteStore, before: float, used: Any) -> None:
        raise StoreDown("database or disk is full")

    options = Options(store=f"sqlite:{tmp_path / 'chat.db'}", keep_days=1)
    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "expire", full)
        with pytest.raises(StoreUnfit, match=r"chat\.db cannot be used: database or disk is full"):
            create_app(options)
    create_app(options).close()  # the file is free again


def test_a_room_that_ended_is_the_same_when_somebody_comes_back(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "chat.db"))
    rooms = Rooms(Options(max_rooms=2), lambda name: Hub(), store)
    with rooms.enter("den") as den:
        den.post(message("still here", "ann", None, 1))
        token = den.log.token(1)
    with rooms.enter("another"):
        assert "den" not in rooms._rooms, "it made way"
    with rooms.enter("den") as again:
        assert again is not den
        assert again.log.find(token) == 1
        assert not again.post(message("still here", "ann", None, 1))
    rooms.stop()


def test_a_store_that_cannot_be_read_keeps_nobody_waiting_after_a_stop(rooms: Rooms) -> None:
    writer = rooms._writer
    assert writer is not None
    reached = threading.Event()

    def load(room: str) -> Any:
        reached.set()
        raise StoreDown("no disk")

    writer._store.load = load  # type: ignore[method-assign]

    def come() -> None:
        with rooms.enter("den"):
            pass

    coming = [go(come) for _ in range(3)]
    assert reached.wait(LIMIT)
    rooms.stop()
    for each in coming:
        with pytest.raises(Closed):
            each.result(LIMIT)


def test_a_room_that_was_only_looked_at_is_not_kept(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadchat.room.LEAVE_WAIT", 0.0)
    monkeypatch.setattr("threadchat.rooms.SWEEP_EVERY", 0.01)
    server = start(room_linger=0.001)
    writer = server.app.rooms.writer
    assert writer is not None
    store, names = writer._store, [{"nothing yet"}]
    expire = store.expire

    def sweep(before: float, used: Any) -> None:
        expire(before, used)
        names.append(store.names())

    monkeypatch.setattr(store, "expire", sweep)
    with V1(server.port, name="Ann") as ann, V1(server.port, room="den", name="Ann") as in_den:
        in_den.until(type="join")

        def left(sweeps: int) -> set[str]:
            """The rooms that the store has after so many sweeps more. These come with what is said."""
            enough = len(names) + sweeps

            def said() -> bool:
                ann.say("x")
                ann.until(type="msg", text="x")
                return len(names) >= enough

            until(said, "the sweeps")
            return names[-1]

        assert left(2) == {"lobby", "den"}
        in_den.close()
        until(lambda: left(1) == {"lobby"})


def test_a_room_that_ended_is_not_kept_for_those_who_may_come_back(start: Callable[..., Running]) -> None:
    first = start()
    with V1(first.port, room="den", name="Ann") as ann:
        ann.until(type="join")
    first.stop()
    server = start(room_linger=0.001)
    with server.app.rooms.enter("den") as room:
        assert [name for _, name in room.snapshot(9).here] == ["Ann"]
        gone = weakref.ref(room)
    del room
    until(lambda: gone() is None, "the end of the room")


def test_while_the_store_does_not_answer_nobody_waits_for_a_room_or_to_say_something(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    monkeypatch.setattr(stored_room, "OPEN_WAIT", 0.05)
    writer = server.app.rooms.writer
    assert writer is not None
    load, goes_on = writer._store.load, threading.Event()
    monkeypatch.setattr(writer._store, "load", lambda room: goes_on.wait(LIMIT) and load(room))
    for _ in range(2):
        assert ask(server, "GET", "/r/den/ws", HANDSHAKE).status == 503
    goes_on.set()
    until(lambda: ask(server, "POST", "/r/den/say", {"Content-Type": "text/plain"}, b"there").status == 201)
    writer.is_down = True
    answer = ask(server, "POST", "/say", {"Content-Type": "text/plain"}, b"not now")
    assert answer.status == 503
    assert b"the log is down" in answer.body
    writer.is_down = False


def test_a_store_that_does_not_answer_at_the_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(store: SqliteStore, room: str) -> None:
        raise StoreDown("timed out")

    options = Options(store=f"sqlite:{tmp_path / 'chat.db'}")
    with monkeypatch.context() as patched:
        patched.setattr(stored_room, "OPEN_WAIT", 0.05)
        patched.setattr(SqliteStore, "load", down)
        with pytest.raises(StoreUnfit, match=r"chat\.db cannot be used: it does not answer"):
            create_app(options)
    create_app(options).close()  # nothing holds the file any more
