"""One room: the races of those who wait for its hub, or come in past it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from helpers import LIMIT, V1, Serve, go, until
from websockets.exceptions import ConnectionClosed

from threadchat.channel import Closed


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
        coming = go(V1, server.port, session=bob.session)
        assert reached.wait(LIMIT)
        ann.send(type="kick", by=bob.by)
        ann.until(type="order")
        go_on.set()
        with coming.result(LIMIT) as back:
            with pytest.raises(ConnectionClosed) as closed:
                back.until(type="never")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4001
