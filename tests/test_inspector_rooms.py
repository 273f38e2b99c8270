"""The inspector in other rooms than the lobby: pictures, the log, journeys, evictions, the trace, actions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest
from helpers import TEXT, V1, Inspected, Peer, until

from threadchat.channel import Channel
from threadchat.inspector import bots as bots_module
from threadchat.inspector import sampler as sampler_module
from threadchat.inspector.bots import STARTERS
from threadchat.inspector.room_log import NEWEST
from threadchat.subprotocol import LINES

Inspect = Callable[..., Inspected]


@pytest.fixture(autouse=True)
def pictures_come_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they cost."""
    monkeypatch.setattr(sampler_module, "SHARE", 1.0)


def there(picture: dict[str, Any]) -> bool:
    return "gone" not in picture


def fullest(picture: dict[str, Any]) -> list[dict[str, Any]]:
    """The rooms that the picture tells of, if it does."""
    told: list[dict[str, Any]] = picture.get("rooms", {}).get("fullest", [])
    return told


def join(server: Inspected, room: str) -> Peer:
    return Peer(server.port, f"/r/{quote(room)}/ws")


def test_a_picture_has_all_of_its_room_and_nothing_of_another(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port), V1(server.port, room="7", name="Ann") as ann, server.look(room="7") as look:
        picture = look.until(lambda picture: there(picture) and picture["clients"], "the client")
        ann.say("hello")
        ann.until(type="msg")
        picture = look.until(
            lambda picture: picture["log"]["top"] == 2 and picture["hub"]["thread"]["state"] == "selecting",
            "what was said, and the hub waiting again",
        )
        assert (picture["room"], picture["hub"]["thread"]["name"], picture["hub"]["clients"]) == ("7", "hub-7", 1)
        assert [(client["number"], client["name"]) for client in picture["clients"]] == [(2, "Ann")]
        assert picture["hub"]["messages"] == 2, "a join and a message"
        ann.send(type="name", name="Bob")
        look.until(lambda picture: [client["name"] for client in picture["clients"]] == ["Bob"], "the new name")
        watched = server.hub_of("7").watched[2]
        ann.close()
        assert look.until_event("left")["name"] == "Bob"
        assert {event["client"] for event in look.events} == {2}
    until(lambda: server.watch.shared.present == {}, "the end of all clients")
    assert watched.connection.protocol is LINES, "connection and protocol do not keep each other"
    assert watched.send._client() == (2, "Bob")


def test_the_log_is_shown_as_it_is_and_as_one_who_joins_would_read_it(inspect: Inspect) -> None:
    server = inspect(history=3, keep=500)
    with V1(server.port, room="ops", name="Ann") as ann, server.look(room="ops") as look:
        for number in range(NEWEST + 3):
            ann.say("x" * 10 * number or "first", n=number + 1)
        log = look.until(lambda picture: there(picture) and picture["log"]["top"] == NEWEST + 4, "what was said")["log"]
        room = server.app.rooms.find("ops")
        assert room is not None
        assert (log["epoch"], log["first"], log["bytes"]) == (ann.hello["token"].partition(".")[0], 1, 10 * 105 + 5)
        assert (log["keep"], log["history"], log["recoverable"]) == (500, 3, True)
        newest = log["newest"]
        assert [entry["id"] for entry in newest] == list(range(5, NEWEST + 5))
        text = "x" * 80 + "\u2026"
        assert newest[-1] == {"id": 16, "kind": "msg", "by": ann.by, "name": "Ann", "n": 15, "text": text}
        with V1(server.port, room="ops", name="Bob") as bob:
            assert bob.receive()["id"] == log["newcomer"] + 1
        ann.until(type="join", name="Bob")
        look.until(lambda picture: picture["log"]["newest"][-1]["kind"] == "join", "that Bob came")


def test_where_nothing_is_kept_the_log_says_so(inspect: Inspect) -> None:
    server = inspect(keep=0)
    with server.look() as look:
        log = look.picture()["log"]
    assert (log["recoverable"], log["first"], log["top"], log["newest"]) == (False, 1, 0, [])


def test_the_rooms_are_told_of_when_they_change_and_a_room_that_ends_is_gone_until_there_is_a_new_one(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "TOLD_EVERY", 0.0)
    server = inspect(room_linger=0.05)
    with server.look(room="Ops ") as look:
        picture = look.picture()
        assert (picture["room"], picture["gone"]) == ("ops", True)
        assert picture["rooms"] == {"count": 1, "fullest": [{"name": "lobby", "clients": 0}]}
        assert "rooms" not in look.picture(), "nothing has changed"
        for number in (1, 2):
            with join(server, "ops") as peer:
                look.until(lambda picture: {"name": "ops", "clients": 1} in fullest(picture), "the room in the list")
                peer.talk("hello")
                picture = look.until(lambda picture: there(picture) and picture["clients"], "the client")
                assert [client["number"] for client in picture["clients"]] == [number]
            look.until(lambda picture: "gone" in picture, "the end of the room")
    until(lambda: list(server.inspected.sampler._cameras) == ["lobby"], "that nobody looks")
    until(lambda: list(server.watch.shared.watches) == ["lobby"], "nothing noted of the rooms that have ended")


def test_of_a_thousand_rooms_the_fullest_are_named(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_module, "MOST_TOLD", 2)
    server = inspect()
    with ExitStack() as stack:
        for room in ("a", "b", "b", "c"):
            stack.enter_context(join(server, room))
        with server.look() as look:
            told = look.picture()["rooms"]
    assert told == {"count": 4, "fullest": [{"name": "lobby", "clients": 0}, {"name": "b", "clients": 2}]}


def test_what_is_no_room_is_refused(inspect: Inspect) -> None:
    server = inspect()
    assert server.request("GET", "/live?room=a/b")[0] == 400
    assert server.request("GET", "/trace?room=")[0] == 400
    assert server.request("GET", "/trace?room=nowhere")[0] == 404
    assert server.do("say", text="hello", room=7)[0] == 400
    assert server.do("say", text="hello", room="nowhere") == (409, {"error": "there is no such room any more"})
    assert server.app.rooms.find("nowhere") is None


def test_while_nobody_looks_at_a_room_nothing_of_it_is_noted_or_followed(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "LINGERS", 0.0)
    server = inspect()
    with join(server, "ops") as peer:
        hub = server.hub_of("ops")

        def unseen() -> bool:
            client = hub.present()[0][0]
            return not (hub.watch.looked_at or client.connection.drawn or client.send.noted)

        def say_something() -> None:
            before, noted = hub.messages, hub.watch.events(after=0)[0]
            peer.talk("nobody sees this")
            assert hub.messages == before + 1, "counted it is"
            assert (type(hub.broadcast).send, hub.watch.journeys.all(), hub.watch.events(after=0)[0]) == (
                *(Channel.send, [], noted),
            )

        assert unseen()
        say_something()
        assert list(server.inspected.sampler._cameras) == ["lobby"]
        with server.look(room="ops") as look:
            look.until(lambda picture: there(picture) and picture["clients"], "the client")
            peer.talk("everybody sees this")
            assert look.until_event("message")["text"] == "everybody sees this"
        until(unseen, "that nobody looks")
        monkeypatch.setattr(hub.watch.journeys, "_journeys", {})
        say_something()


def test_a_message_is_followed_in_any_room_and_the_trace_has_the_rooms_own_threads(inspect: Inspect) -> None:
    server = inspect()
    with join(server, "ops") as peer, Peer(server.port), server.look(room="ops") as look:
        look.until(lambda picture: there(picture) and picture["clients"], "the client")
        peer.talk("hello")
        event = look.until_event("message")
        until(lambda: server.get(f"/message/{event['id']}")["deliveries"][0]["written"], "its delivery")
        journey = server.get(f"/message/{event['id']}")
        assert [(step["step"], step["thread"]) for step in journey["steps"]] == [
            ("read", "readPump-1"),
            ("broadcast", "readPump-1"),
            ("buffered", "hub-ops"),
            ("coalesced", "writePump-1"),
            ("written", "writePump-1"),
        ]
        for _ in range(3):
            look.picture()
        told = server.get("/trace?room=ops")["traceEvents"]
        names = {each["args"]["name"] for each in told if each["name"] == "thread_name"}
        assert names == {"hub-ops", "readPump-1", "writePump-1"}
        tracks = {each["tid"]: each["args"]["name"] for each in told if each["name"] == "thread_name"}
        buffered = [each for each in told if each["name"].startswith("buffered: ")]
        assert [tracks[each["tid"]] for each in buffered] == ["hub-ops"]
        lobby = server.get("/trace")["traceEvents"]
        assert {each["args"]["name"] for each in lobby if each["name"] == "thread_name"} >= {"hub", "readPump-2"}
        assert not [each for each in lobby if "message" in each["name"] and each["ph"] == "X"]


def test_an_eviction_is_told_to_those_who_look_at_the_room(inspect: Inspect) -> None:
    server = inspect(send_buffer=1)
    with join(server, "ops"), server.look(room="ops") as look, server.look() as elsewhere:
        look.until(lambda picture: there(picture) and picture["clients"], "the client")
        hub = server.hub_of("ops")
        hub.broadcast.send("x" * 1_000_000)
        look.until(lambda picture: picture["clients"][0]["away"], "the client being stuck")
        for _ in range(3):
            hub.broadcast.send("one more")
        assert look.until_event("evicted")["client"] == 1
        assert look.until(lambda picture: picture["hub"]["evicted"], "the count")["room"] == "ops"
        assert elsewhere.picture()["hub"]["evicted"] == 0
        assert not elsewhere.events


def test_actions_are_about_the_room_that_they_name(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bots_module, "STARTERS", {})
    assert STARTERS
    server = inspect(demo=True)
    with join(server, "ops") as peer, Peer(server.port), server.look(room="ops") as look:
        assert server.do("add", kind="chatty", room="ops")[0] == 200
        picture = look.until(lambda picture: there(picture) and picture["hub"]["clients"] == 2, "the bot")
        bot = next(client["number"] for client in picture["clients"] if client["name"] == "chatty bot")
        assert server.do("pace", messages_a_second=2, room="lobby")[0] == 409, "there no bot talks"
        assert server.do("pace", messages_a_second=0, room="ops")[0] == 200
        look.until(lambda picture: picture["pace"] == 0.0, "the pace")
        assert server.do("burst", messages=3, room="lobby")[0] == 409
        assert server.do("burst", messages=3, room="ops")[0] == 200
        while b"burst 3 of 3" not in peer.receive().payload:
            pass
        assert server.do("buffer", messages=9, room="ops")[0] == 200
        assert {client.send.capacity for client in server.hub_of("ops").present()[0]} == {9}
        assert {client.send.capacity for client in server.hub.present()[0]} == {256}
        assert server.do("pause", room="ops")[0] == 200
        assert (server.hub_of("ops").gate.shut, server.hub.gate.shut) == (True, False)
        assert server.do("resume", room="ops")[0] == 200
        assert server.do("remove", client=bot, room="ops")[0] == 200
        look.until(lambda picture: picture["hub"]["clients"] == 1, "the bot's end")


def test_the_inspectors_own_client_speaks_in_the_room_and_does_not_keep_it(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bots_module, "INSPECTOR_STAYS", 0.0)
    server = inspect(room_linger=0.05)
    with join(server, "a b") as peer, server.look(room="a b") as look:
        assert server.do("say", text="hello", room="a b") == (200, {"ok": True})
        assert peer.lines(1) == ["hello"]
        assert server.get(f"/message/{look.until_event('message')['id']}")["text"] == "hello"
        look.until_event("left")
        assert server.do("say", text="again", room="a b") == (200, {"ok": True})
        assert peer.lines(1) == ["again"]
    until(lambda: server.app.rooms.find("a b") is None, "the end of the room")
    with Peer(server.port) as peer:
        peer.send(TEXT, "the lobby goes on")
        assert peer.lines(1) == ["the lobby goes on"]


def test_a_paused_room_stops_with_the_server(inspect: Inspect) -> None:
    server = inspect()
    with join(server, "ops") as peer:
        server.hub_of("ops").gate.close()
        peer.send(TEXT, "hello")
        stopping = server.stop_in_thread()
        assert peer.receive_all()[-1].close_code == 1001
    stopping.join()
