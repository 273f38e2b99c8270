"""The inspector with a store: a message on its way through the log writer, the figures, and what it costs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT, TEXT, V1, Inspected, Peer, RedisServer, instructions, until

from threadchat import stored_room
from threadchat.channel import Channel
from threadchat.hub import Hub
from threadchat.inspector import sampler as sampler_module
from threadchat.inspector.notes import Shared, Watch
from threadchat.inspector.watch import WatchedHub
from threadchat.inspector.watched_writer import SaidChannel, WatchedWriter
from threadchat.log import Addition
from threadchat.log.sqlite import SqliteStore
from threadchat.messages import Entry, message
from threadchat.options import Options
from threadchat.rooms import Rooms
from threadchat.waits import wait_of

STEPS = ["read", "said", "grouped", "stored", "buffered", "coalesced", "written"]
KEY = {"Authorization": "Bearer the-organisers"}
ALLOWED = 0.1  # of what a group costs the log writer


@pytest.fixture(autouse=True)
def pictures_come_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they cost."""
    monkeypatch.setattr(sampler_module, "SHARE", 1.0)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        return server.url
    return "memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'chat.db'}"


@pytest.fixture
def server(inspect: Callable[..., Inspected], tmp_path: Path) -> Inspected:
    return inspect(store=f"sqlite:{tmp_path / 'chat.db'}", moderator_key="the-organisers", message_rate=0)


def writer_of(server: Inspected) -> WatchedWriter:
    assert isinstance(server.app.rooms.writer, WatchedWriter)
    return server.app.rooms.writer


def journey_of(server: Inspected, text: str, clients: int, room: str = "lobby") -> Any:
    """The journey of the message with this text, once it has come to so many clients."""
    journeys = server.hub_of(room).watch.journeys

    def done() -> bool:
        told = [each.as_json()["deliveries"] for each in journeys.all() if each.text == text]
        return bool(told) and len(told[0]) == clients and all(part["written"] for part in told[0])

    until(done, "the journey's end")
    return server.get(f"/message/{next(each.number for each in journeys.all() if each.text == text)}")


def test_a_message_is_followed_through_the_log_writer_and_the_store(server: Inspected) -> None:
    with V1(server.port, room="den", name="Ann") as ann, V1(server.port, room="den", name="Bob") as bob:
        ann.until(type="join", name="Bob")
        with server.look(room="den") as look:
            look.until(lambda picture: picture.get("clients"), "the clients")
            ann.say("hello", n=1)
            assert bob.until(type="msg")["text"] == "hello"
            journey = journey_of(server, "Ann: hello", 2, "den")
            event = look.until_event("message")
            look.until(lambda picture: picture["hub"]["messages"] == 3, "two joins and a message, and no nudges")
    assert (event["id"], event["client"], event["text"]) == (journey["id"], 1, "Ann: hello")
    steps = {step["step"]: step for step in journey["steps"]}
    assert list(steps) == STEPS
    assert [steps[name]["t"] for name in STEPS[:5]] == sorted(steps[name]["t"] for name in STEPS[:5])
    threads = [steps[name]["thread"] for name in STEPS]
    assert threads[:5] == ["readPump-1", "readPump-1", "logWriter", "logWriter", "hub-den"]
    core = Path(Hub.run.__code__.co_filename).parent
    lines = {
        name: (core / step["file"]).read_text().splitlines()[step["line"] - 1].strip() for name, step in steps.items()
    }
    assert lines["read"] == "for message in self.connection:"
    assert lines["said"] == "self._writer.said.send((self, entry))"
    assert lines["grouped"] == "self._write(said)"
    assert lines["stored"] == "result = action()"
    assert journey["group"] == 1
    names = [event["name"] for event in server.get("/trace?room=den")["traceEvents"]]
    assert [name for name in names if name.endswith(f"message {journey['id']}")][:4] == [
        f"{step}: message {journey['id']}" for step in STEPS[:4]
    ]


def test_a_message_is_followed_also_where_it_comes_back_from_a_store_that_is_shared(
    inspect: Callable[..., Inspected], redis_server: RedisServer
) -> None:
    here, there = inspect(store=redis_server.url), inspect(store=redis_server.url)
    with Peer(here.port) as one, Peer(there.port) as other, here.look() as look:
        look.until(lambda picture: picture["clients"], "the client")
        for _ in range(2):
            one.talk("the same words")
            assert other.lines(1) == ["the same words"]
        first, second = here.watch.journeys.all()
        until(lambda: all(each.deliveries and each.deliveries[1].written for each in (first, second)), "their ends")
        until(lambda: all("stored" in each.times for each in (first, second)), "the store's answers, which may be last")
        for journey in (first, second):
            steps = {step["step"]: step for step in journey.as_json()["steps"]}
            assert list(steps) == [*STEPS[:4], "returned", *STEPS[4:]]
            assert steps["returned"]["thread"] == "logReader"
            assert steps["returned"]["file"] == "log/reader.py"
        assert first.times["returned"] < second.times["read"]
    assert there.watch.journeys.all() == [], "it came from elsewhere"
    assert writer_of(here).awaited == {}


def test_messages_that_waited_for_the_store_share_a_group_and_the_time_they_waited_is_seen(
    server: Inspected, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, goes_on, reached = writer_of(server)._store, threading.Event(), threading.Event()
    write = store.write

    def holds(additions: Sequence[Addition]) -> Collection[str]:
        reached.set()
        goes_on.wait(LIMIT)
        return write(additions)

    monkeypatch.setattr(store, "write", holds)
    with Peer(server.port) as peer, server.look() as look:
        look.until(lambda picture: picture["clients"], "the client")
        peer.send(TEXT, "first")
        assert reached.wait(LIMIT)
        for text in ("second", "third"):
            peer.send(TEXT, text)
        until(lambda: len(writer_of(server).said) == 2, "what waits")
        goes_on.set()
        assert peer.lines(3) == ["first", "second", "third"]
        first, third = journey_of(server, "first", 1), journey_of(server, "third", 1)
        assert (first["group"], third["group"]) == (1, 2)
        stored = next(step["t"] for step in first["steps"] if step["step"] == "stored")
        grouped = next(step["t"] for step in third["steps"] if step["step"] == "grouped")
        assert grouped >= stored, "it waited in said until the writer was back"
        rates = look.until(lambda picture: picture["rates"]["entries_a_group"] == 1.5, "both groups")["rates"]
        assert 0 < rates["append"] < LIMIT


def test_what_an_organiser_orders_and_what_is_said_in_slow_mode_is_taken_while_somebody_looks(
    inspect: Callable[..., Inspected], store: str
) -> None:
    server = inspect(store=store, moderator_key="the-organisers")
    with V1(server.port, name="Ann", headers=KEY) as ann, V1(server.port, name="Bob") as bob, server.look() as look:
        look.until(lambda picture: len(picture["clients"]) == 2, "the clients")
        ann.send(type="slow", seconds=30)
        assert bob.until(type="order")["order"] == "slow"
        for number in (1, 2):
            bob.say(f"number {number}", n=number)
        assert bob.until(type="error")["n"] == 2
        assert journey_of(server, "Bob: number 1", 2)["client"] == 2
        until(lambda: not server.watch.journeys.coming, "that nothing is on its way to the hub")


def test_rooms_choose_their_messages_one_by_one_and_the_channel_is_a_plain_one_when_none_does(
    server: Inspected,
) -> None:
    writer = writer_of(server)
    until(lambda: server.inspected.sampler._cameras, "the lobby's first picture")
    with V1(server.port, room="den", name="Ann") as ann:
        ann.until(type="join")
        den, lobby = server.hub_of("den").watch, server.watch
        assert (lobby in writer.choosing, den in writer.choosing) == (True, False), "nobody looks at the den"
        server.inspected.sampler.stop()
        lobby.rest()
        assert type(writer.said) is SaidChannel
        assert type(writer.said).send is Channel.send
        ann.say("nobody sees it")
        ann.until(type="msg")
        assert den.journeys.all() == []
        den.look()
        assert den in writer.choosing
        assert type(writer.said).send is not Channel.send
        ann.say("followed")
        ann.until(type="msg")
        assert [journey.text for journey in den.journeys.all()] == ["Ann: followed"]


def test_what_the_log_writer_waits_for_is_told_by_those_who_look_for_deadlocks(
    server: Inspected, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, waits = writer_of(server), ""

    def waits_for(what: str) -> bool:
        nonlocal waits
        wait = wait_of(writer.ident, sys._current_frames()[writer.ident])
        waits = wait.described()[0] if wait is not None and wait.lasts() else ""
        return waits == what

    with Peer(server.port) as peer:
        until(lambda: waits_for("receives from `said`"), lambda: waits)
        monkeypatch.setattr(stored_room, "FAR_BEHIND", 1)
        server.hub.gate.close()
        peer.send(TEXT, "one")
        until(lambda: writer.behind(server.app.rooms.lobby) == 1, "what the hub has not passed on")
        peer.send(TEXT, "two")
        until(lambda: waits_for("waits for a Condition"), lambda: waits)
        server.hub.gate.open()
        assert peer.lines(2) == ["one", "two"]


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    shared = Shared()
    made = Rooms(Options(), lambda name: WatchedHub(Watch(shared, name)), SqliteStore(str(tmp_path / "chat.db")))
    yield made
    made.stop()


def test_a_watched_log_writer_costs_few_instructions_more(rooms: Rooms) -> None:
    writer, lobby = rooms.writer, rooms.lobby
    assert writer is not None

    def group() -> list[tuple[Any, Entry | None]]:
        return [(lobby, message(f"message {number}", "ann")) for number in range(64)]

    groups = [group() for _ in range(3)]
    writer._write(groups[0])
    plain = instructions(lambda: writer._write(groups[1]))
    watched = WatchedWriter.of(writer, Shared().now)
    looked_at = instructions(lambda: watched._write(groups[2]))
    assert watched.entries == 3 * 64
    assert plain < looked_at < plain * (1 + ALLOWED), f"{looked_at / plain - 1:.1%}"
    print(f"{looked_at / plain - 1:.1%} more instructions a group")
