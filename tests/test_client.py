"""The races of client.py, each forced. The pumps' daily work is tested with the promises and the connection."""

from __future__ import annotations

import random
import threading
from contextlib import ExitStack
from typing import Any

import pytest
from helpers import CLOSE, LIMIT, TEXT, Peer, Serve, pump_names, until

from threadchat import client as client_module
from threadchat.client import Client
from threadchat.connection import Connection, ConnectionClosed
from threadchat.hub import Ending
from threadchat.options import Options


class IdleConnection(Connection):
    """A connection that never gets as far as a handshake."""

    def __init__(self) -> None:
        super().__init__({}, Options())


def test_race_1_a_message_between_the_handshakes_answer_and_the_pumps_start_is_not_missed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    accept = Connection.accept

    def accept_and_speak(connection: Connection) -> None:
        accept(connection)
        server.app.hub.broadcast.send("the moment after the answer")

    monkeypatch.setattr(Connection, "accept", accept_and_speak)
    with Peer(server.port) as peer:
        assert peer.lines(1) == ["the moment after the answer"]


def test_race_2_a_client_that_unregisters_while_it_is_evicted_is_closed_once(serve: Serve) -> None:
    hub = serve().app.hub
    leaving: list[threading.Thread] = []

    class Evicted(Client):
        def end(self, why: Ending) -> None:
            assert why is Ending.EVICTED
            leaving.append(threading.Thread(target=self.unregister))
            leaving[0].start()
            until(lambda: hub.unregister.statistics().waiting_senders == 1)
            super().end(why)

    evicted = Evicted(hub, IdleConnection(), Options(send_buffer=1), 1)
    evicted.send.step_away()
    hub.register.send(evicted)
    hub.broadcast.send("1")
    hub.broadcast.send("2")
    until(lambda: evicted.send.statistics().closed, "the eviction")
    leaving[0].join(LIMIT)
    until(lambda: hub.broadcast.statistics().waiting_receivers == 1, "the hub going on")


def test_race_3_a_read_pump_that_sends_to_a_hub_that_stops_is_freed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    hub = server.app.hub
    busy = Client(hub, IdleConnection(), Options(send_buffer=1), 0)
    hub.register.send(busy)
    with Peer(server.port) as peer, ExitStack() as stack:
        stack.callback(busy.send.step_away)
        hub.broadcast.send("1")
        hub.broadcast.send("2")
        until(lambda: busy.send.statistics().waiting_senders == 1, "the hub giving way to the busy client")
        for _ in range(hub.broadcast.capacity):
            hub.broadcast.send("fill")
        peer.send(TEXT, "too late")
        until(lambda: hub.broadcast.statistics().waiting_senders == 1, "the read pump sending to the hub")
        hub.stop()
        monkeypatch.setattr(random, "choice", lambda ready: hub._done)  # both are ready now, and chance decides
        busy.send.step_away()
        frames = peer.receive_all()
        assert b"too late" not in b"".join(frame.payload for frame in frames)
        assert frames[-1].opcode == CLOSE
        assert frames[-1].close_code == 1001
    until(lambda: pump_names() == [])


def test_a_client_whose_write_pump_cannot_be_started_is_told_so(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    start = threading.Thread.start

    def no_more_pumps(thread: threading.Thread) -> None:
        if thread.name.startswith("writePump"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more_pumps)
        with Peer(server.port) as peer:
            assert [frame.close_code for frame in peer.receive_all()] == [1013]
    with Peer(server.port) as peer:
        peer.send(TEXT, "the server goes on")
        assert peer.lines(1) == ["the server goes on"]


def test_race_4_a_peer_that_leaves_before_its_write_pump_has_started_frees_the_hub(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(send_buffer=1)
    hub = server.app.hub
    registered: list[Client] = []

    class Watched(Client):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            registered.append(self)

    def accept(connection: Connection) -> None:
        hub.broadcast.send("1")
        hub.broadcast.send("2")
        (client,) = registered
        until(lambda: client.send.statistics().waiting_senders == 1, "the hub giving way to the client")
        raise ConnectionClosed

    with monkeypatch.context() as patch:
        patch.setattr(client_module, "Client", Watched)
        patch.setattr(Connection, "accept", accept)
        with pytest.raises(EOFError):
            Peer(server.port)
    with Peer(server.port) as peer:
        peer.send(TEXT, "the hub goes on")
        assert peer.lines(1) == ["the hub goes on"]
