"""One room: the races of those who wait for its hub, or come in past it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from helpers import FAR, LIMIT, V1, Serve, go, until
from websockets.exceptions import ConnectionClosed

from threadchat import room
from threadchat.channel import Closed
from threadchat.messages import event


def test_race_1_a_stop_frees_who_waits_for_the_log(serve: Serve) -> None:
    server = serve()
    room = server.app.rooms.lobby
    record, waiting = room.record, threading.Event()

    def stopped_first(items: Any) -> Any:  # as if the hub had ended without taking it
        waiting.set()
        until(lambda: room._stopped)
        return record([])

    room.hub.record = stopped_first
    publishing = go(server.app.publish, "x")
    assert waiting.wait(LIMIT)
    server.stop()
    with pytest.raises(Closed):
        publishing.result(LIMIT)
    with pytest.raises(Closed):
        server.app.publish("too late")


def test_race_1_a_hub_that_fails_frees_who_waits_for_the_log(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda hook: None)
    server = serve()
    server.app.rooms.lobby.hub.record = lambda items: 1 / 0  # type: ignore[assignment, return-value]
    with pytest.raises(Closed):
        server.app.publish("x")
    assert server.app.publish("the lobby has a new hub")


def test_race_2_who_is_put_out_while_coming_in_does_not_stay(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(moderator_key="k")
    room = server.app.rooms.lobby
    with V1(server.port, name="Ann", headers={"Authorization": "Bearer k"}) as ann:
        bob = V1(server.port, name="Bob")
        bob.close()
        reached, go_on = threading.Event(), threading.Event()
        read = room.log.read

        def wait_and_read(after: int, most: int) -> Any:
            if threading.current_thread().name == "request":  # before its registration
                reached.set()
                go_on.wait(LIMIT)
            return read(after, most)

        monkeypatch.setattr(room.log, "read", wait_and_read)
        coming = go(V1, server.port, session=bob.session, at_once=True)
        assert reached.wait(LIMIT)
        ann.send(type="kick", by=bob.by)
        ann.until(type="order")
        go_on.set()
        with coming.result(LIMIT) as back:
            with pytest.raises(ConnectionClosed) as closed:
                back.until(type="never")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4001


def test_the_hub_hears_nothing_of_those_who_come_back_before_they_have_left(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would look through all its clients for each of them: too much where thousands come back at once."""
    monkeypatch.setattr(room, "LEAVE_WAIT", FAR)
    server = serve()
    lobby = server.app.rooms.lobby
    record = lobby.hub.record
    with V1(server.port, name="Ann") as ann:
        until(lambda: lobby.log.top == 1, "Ann's join")
    until(lambda: not lobby.hub.clients, "her leave")
    heard: list[Any] = []
    lobby.hub.record = lambda items: heard.append(items) or record(items)  # type: ignore[func-returns-value]
    with V1(server.port, session=ann.session, name="Ann") as back:
        back.say("back", n=1)
        back.until(type="msg", text="back")
        person = lobby.people.arrive(ann.by, None)
        lobby._leave(person, person.departures)  # the timer of her first connection
        lobby.depart(person)
    assert [[entry.kind for entry in items] for items in heard] == [["msg"]]
    with V1(server.port, session=ann.session, name="Eve") as renamed:
        renamed.until(type="name", name="Eve")


def test_a_snapshot_has_the_oldest_of_those_who_are_here_and_counts_all(serve: Serve) -> None:
    lobby = serve().app.rooms.lobby
    for name in ("Ann", "Bob", "Cy"):
        lobby.post(event("join", name.lower(), name))
    assert lobby.snapshot(2) == room.Snapshot(3, 3, (("ann", "Ann"), ("bob", "Bob")))
