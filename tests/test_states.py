"""The states of threads in the inspector: each row of the table is forced in a real server, and seen in a picture."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from helpers import CLOSE, FAR, PING, TEXT, Inspected, Look, Peer, say_stuck, until

from threadchat import client as client_module
from threadchat.channel import Channel, select
from threadchat.client import Client, serve_ws
from threadchat.hub import Hub
from threadchat.inspector.journey import Journeys
from threadchat.inspector.states import STATES
from threadchat.inspector.watch import Gate
from threadchat.outbox import Outbox
from threadchat.runtime.runqueue import RunQueue
from threadchat.websocket import connection as connection_module
from threadchat.websocket.connection import Connection

Inspect = Callable[..., Inspected]
Test = TypeVar("Test", bound=Callable[..., None])

BIG = "x" * 1_000_000  # bytes: more than the kernel holds for a peer that does not read
forced: set[Any] = set()


def forces(*functions: Callable[..., Any]) -> Callable[[Test], Test]:
    """Name the functions whose rows in the table a test forces."""
    forced.update(functions)
    return lambda test: test


@contextmanager
def blocked(value: Any = None) -> Iterator[Callable[..., Any]]:
    """Yields a function that blocks until the end of the `with` block, and then returns the value."""
    done = threading.Event()
    try:
        yield lambda *_: (done.wait(FAR), value)[1]
    finally:
        done.set()


@contextmanager
def no_turns(server: Inspected) -> Iterator[None]:
    """Take the run queue's only turn during a `with` block."""
    server.hub.run_queue.ready(lambda: None)
    try:
        yield
    finally:
        server.hub.run_queue.next()


def pump(picture: dict[str, Any], which: str) -> tuple[str, str]:
    """The state of a pump of the only client, and the channel or socket that the pump uses."""
    if not picture["clients"]:
        return "", ""
    thread = picture["clients"][0][which]
    return thread["state"], thread["on"]


def until_pump(look: Look, which: str, state: str, on: str) -> dict[str, Any]:
    picture = look.until(lambda picture: pump(picture, which) == (state, on), f"{which} {state} {on}")
    thread: dict[str, Any] = picture["clients"][0][which]
    return thread


def until_hub(look: Look, state: str, on: str = "") -> None:
    def so(picture: dict[str, Any]) -> bool:
        thread = picture["hub"]["thread"]
        return (thread["state"], thread["on"]) == (state, on)

    look.until(so, f"the hub {state} {on}")


@forces(Outbox.receive_in_turn, Connection._receive, select)
def test_without_anything_to_do_all_threads_wait(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port), server.look() as look:
        writer = until_pump(look, "write_pump", "receiving", "send-1")
        reader = until_pump(look, "read_pump", "reading", "socket")
        until_hub(look, "selecting")
        assert writer["name"] == "writePump-1"
        assert [function for _, _, function in writer["stack"]] == ["Client.write_pump", "Outbox.receive_in_turn"]
        assert "Client.read_pump" in [function for _, _, function in reader["stack"]]
        assert [writer["file"], writer["line"], writer["function"]] == writer["stack"][-1]
        look.until(lambda picture: picture["clients"][0]["write_pump"]["for"] > writer["for"], "time passing")


def test_a_write_pump_with_a_message_and_without_a_turn_is_ready(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as peer, server.look() as look, no_turns(server):
        peer.send(TEXT, "hello")
        until_pump(look, "write_pump", "ready", "send-1")
        assert look.picture()["run_queue"] == {"turns": 1, "free": 0, "waiting": 1}


def test_a_hub_that_has_been_served_and_has_not_run_yet_is_ready(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as peer, server.look() as look, server.hub.done._mutex:
        peer.send(TEXT, "hello")  # the hub wakes, but cannot leave the line of the fourth channel
        until_hub(look, "ready")


@forces(Gate.wait)
def test_a_hub_that_waits_at_the_gate_is_paused_and_the_pumps_wait(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as peer, server.look() as look:
        server.hub.gate.close()
        peer.send(TEXT, "hello")
        until_hub(look, "paused")
        assert look.picture()["hub"]["paused"]
        server.hub.gate.open()
        assert peer.lines(1) == ["hello"]


@forces(Channel.send)
def test_a_read_pump_is_sending_while_the_hubs_channel_is_full(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as peer, server.look() as look:
        server.hub.gate.close()
        for _ in range(server.hub.broadcast.capacity + 2):
            peer.send(TEXT, "hello")
        until_pump(look, "read_pump", "sending", "broadcast")
        channel = look.picture()["channels"]["broadcast"]
        assert (channel["pending"], channel["capacity"], channel["senders"]) == (256, 256, 1)
        server.hub.gate.open()


@forces(RunQueue.gosched)
def test_a_hub_that_waits_in_the_run_queue_is_ready(inspect: Inspect) -> None:
    server = inspect(send_buffer=1)
    with Peer(server.port) as peer, server.look() as look, no_turns(server):
        for _ in range(3):
            peer.send(TEXT, "hello")
        until_hub(look, "ready", "")


def test_a_hub_that_waits_for_a_pump_is_sending_to_its_channel(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = inspect(send_buffer=1)
    with Peer(server.port) as peer, server.look() as look, no_turns(server):
        monkeypatch.setattr(server.hub.run_queue, "gosched", lambda: None)
        for _ in range(3):
            peer.send(TEXT, "hello")
        until_hub(look, "sending", "send-1")


@forces(Connection._write)
def test_a_write_pump_whose_peer_does_not_read_is_writing_and_then_stuck(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = inspect()
    with server.look() as look, monkeypatch.context() as patch:
        patch.setattr(connection_module, "STUCK_AFTER", FAR)
        with Peer(server.port):
            server.hub.broadcast.send(BIG)
            until_pump(look, "write_pump", "writing", "socket")
            assert not look.picture()["clients"][0]["away"]
        look.until(lambda picture: not picture["clients"], "the client's end")
    with Peer(server.port), server.look() as look:
        server.hub.broadcast.send(BIG)
        until_pump(look, "write_pump", "stuck", "socket")
        assert look.picture()["clients"][0]["away"]


@forces(Connection._send, Connection.send)
def test_a_pump_that_waits_until_another_thread_has_finished_its_frame_is_writing(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as peer, server.look() as look:
        until_pump(look, "write_pump", "receiving", "send-1")
        with server.client().connection._writing:
            peer.send(TEXT, "hello")
            until_pump(look, "write_pump", "writing", "socket")
            peer.send(PING)
            until_pump(look, "read_pump", "writing", "socket")


@forces(Connection.send_close, serve_ws)
def test_both_pumps_are_leaving_while_the_write_pump_sends_the_close_frame(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as peer, server.look() as look:
        until_pump(look, "write_pump", "receiving", "send-1")
        with server.client().connection._writing:
            peer.close()
            until_pump(look, "write_pump", "leaving", "socket")
            until_pump(look, "read_pump", "leaving", "socket")


@forces(Connection.close)
def test_a_read_pump_that_waits_for_the_peer_to_close_its_side_is_leaving(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "CLOSE_WAIT", FAR)
    server = inspect()
    with Peer(server.port) as peer, server.look() as look:
        peer.send(CLOSE, b"\x03\xe8")
        until_pump(look, "read_pump", "leaving", "socket")
        until_pump(look, "write_pump", "gone", "")


@forces(Client.write_pump)
def test_a_write_pump_that_waits_for_the_peers_close_frame_is_leaving(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CLOSE_WAIT", FAR)
    server = inspect()
    with Peer(server.port), server.look() as look:
        until_pump(look, "write_pump", "receiving", "send-1")
        (client,) = server.clients
        server.hub.unregister.send(client)
        until_pump(look, "write_pump", "leaving", "socket")


@forces(Connection.encode)
def test_a_write_pump_is_running_while_it_encodes(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    server = inspect()
    with Peer(server.port) as peer, server.look() as look, blocked(b"\x81\x00") as block:
        monkeypatch.setattr(connection_module, "text_frames", block)
        peer.send(TEXT, "hello")
        until_pump(look, "write_pump", "running", "")


@forces(Client.read_pump)
def test_a_read_pump_is_running_between_reading_and_sending(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    server = inspect()
    with Peer(server.port) as peer, server.look() as look, blocked() as block:
        monkeypatch.setattr(Journeys, "begin", block)
        peer.send(TEXT, "hello")
        until_pump(look, "read_pump", "running", "")
        monkeypatch.undo()


@forces(serve_ws)
def test_during_the_handshake_the_read_pump_is_running_and_the_write_pump_ready(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = inspect()
    accept = Connection.accept
    with server.look() as look:
        with blocked() as block, monkeypatch.context() as patch:
            patch.setattr(Connection, "accept", lambda connection: (block(), accept(connection)))
            joining = threading.Thread(target=lambda: Peer(server.port).close())
            joining.start()
            until_pump(look, "read_pump", "running", "")
            assert pump(look.picture(), "write_pump") == ("ready", "")
        joining.join()


@forces(Hub.run)
def test_the_hub_is_running_while_it_parts_with_a_client(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    server = inspect(send_buffer=1)
    with Peer(server.port), server.look() as look:
        until_pump(look, "write_pump", "receiving", "send-1")
        client = server.client()
        say_stuck(client.stuck)
        monkeypatch.setattr(server.hub.run_queue, "gosched", lambda: None)
        with no_turns(server), client.connection._state:
            server.hub.broadcast.send("in the buffer")
            until(lambda: client.send.fill == 1)
            server.hub.broadcast.send("one too many")
            until_hub(look, "running")
        assert look.until_event("evicted")["client"] == 1


def test_every_row_of_the_table_is_forced_by_a_test() -> None:
    assert forced == {row.function for row in STATES}
