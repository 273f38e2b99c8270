"""The states of threads in the inspector: each row of the table is forced in a real server, and seen in a picture."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import Mock

import pytest
from helpers import CLOSE, FAR, PING, TEXT, Inspected, Look, Peer, RedisServer, say_stuck, until

from threadchat import client as client_module
from threadchat import stored_room
from threadchat.channel import Channel, select
from threadchat.client import Client, serve_ws
from threadchat.hub import Hub
from threadchat.inspector import sampler as sampler_module
from threadchat.inspector.journey import Journeys
from threadchat.inspector.states import STATES
from threadchat.inspector.watch import Gate
from threadchat.inspector.watched_writer import WatchedWriter
from threadchat.log import Addition, StoreDown
from threadchat.log import reader as reader_module
from threadchat.log.reader import LogReader
from threadchat.log.writer import LogWriter
from threadchat.outbox import Outbox
from threadchat.runtime.runqueue import RunQueue
from threadchat.shared_room import SharedRoom
from threadchat.stored_room import StoredRoom
from threadchat.websocket import connection as connection_module
from threadchat.websocket.connection import Connection

Inspect = Callable[..., Inspected]
Test = TypeVar("Test", bound=Callable[..., None])

BIG = "x" * 1_000_000  # bytes: more than the kernel holds for a peer that does not read
forced: set[Any] = set()


@pytest.fixture(autouse=True)
def pictures_come_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they cost."""
    monkeypatch.setattr(sampler_module, "SHARE", 1.0)


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
    server = inspect(message_rate=0)
    with Peer(server.port) as peer, server.look() as look:
        server.hub.gate.close()
        for _ in range(2 * server.hub.broadcast.capacity + 2):  # the hub may have taken all that were there
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


# The log writer, and who waits for a hub that is behind its log


def with_store(inspect: Inspect, folder: Path) -> tuple[Inspected, WatchedWriter]:
    server = inspect(store=f"sqlite:{folder / 'chat.db'}", message_rate=0)
    assert isinstance(server.app.rooms.writer, WatchedWriter)
    return server, server.app.rooms.writer


def until_writer(look: Look, state: str, on: str) -> dict[str, Any]:
    def so(picture: dict[str, Any]) -> bool:
        thread = picture["log_writer"]["thread"]
        return (thread["name"], thread["state"], thread["on"]) == ("logWriter", state, on)

    return look.until(so, f"the log writer {state} {on}")


@forces(LogWriter._write_what_waits, LogWriter._until_it_works)
def test_the_log_writer_waits_for_what_is_said_and_is_storing_while_the_store_is_at_work(
    inspect: Inspect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, writer = with_store(inspect, tmp_path)
    write = writer._store.write
    with Peer(server.port) as peer, server.look() as look:
        thread = until_writer(look, "receiving", "said")["log_writer"]["thread"]
        assert "LogWriter._write_what_waits" in [function for _, _, function in thread["stack"]]
        with blocked() as block, monkeypatch.context() as patch:
            patch.setattr(writer._store, "write", lambda additions: (block(), write(additions))[1])
            peer.send(TEXT, "one")
            until_writer(look, "storing", "store")
            for text in ("two", "three"):
                peer.send(TEXT, text)
            told = look.until(lambda picture: picture["log_writer"]["said"]["pending"] == 2, "what waits")["log_writer"]
            assert (told["in_hand"], told["behind"], told["down"]) == (1, 0, False)
        assert peer.lines(3) == ["one", "two", "three"]
        told = look.until(lambda picture: picture["log_writer"]["entries"] == 3, "all of it written")["log_writer"]
        assert (told["in_hand"], told["said"]["pending"], told["groups"]) == (0, 0, 2)


def test_while_the_store_is_down_the_log_writer_is_down_and_all_who_look_are_told(
    inspect: Inspect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, writer = with_store(inspect, tmp_path)
    write, down = writer._store.write, threading.Event()

    def fails(additions: Sequence[Addition]) -> Collection[str]:
        if down.is_set():
            raise StoreDown("the disk is full")
        return write(additions)

    monkeypatch.setattr(writer, "_store", Mock(wraps=writer._store, write=fails))
    down.set()
    with Peer(server.port) as peer, server.look() as look:
        peer.send(TEXT, "waits")
        told = until_writer(look, "down", "store")["log_writer"]
        assert told["down"]
        look.until(lambda picture: picture["log_writer"]["failures"] > told["failures"], "another try")
        assert look.until_event("store")["text"] == "the store is down: what is said waits"
        down.clear()
        assert peer.lines(1) == ["waits"]
        look.until(lambda _: look.events[-1]["kind"] == "store" and "up again" in look.events[-1]["text"], "the news")
        until_writer(look, "receiving", "said")


@forces(StoredRoom._wait_for_hub)
@pytest.mark.parametrize(("limit", "who"), [("BEHIND", "read pump"), ("FAR_BEHIND", "log writer")])
def test_who_waits_for_a_hub_that_is_behind_its_log_is_behind_and_the_lag_is_told(
    inspect: Inspect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, who: str
) -> None:
    server, _ = with_store(inspect, tmp_path)
    monkeypatch.setattr(stored_room, limit, 2)
    with Peer(server.port) as peer, server.look() as look:
        until_hub(look, "selecting")
        server.hub.gate.close()
        for number in range(3):  # one by one: a group that is larger than the limit would be written at once
            until(lambda number=number: server.app.rooms.lobby.log.top == number)  # type: ignore[misc]
            peer.send(TEXT, f"{number}")
        if who == "read pump":
            until_pump(look, "read_pump", "behind", "hub")
        else:
            until_writer(look, "behind", "hub")
        told = look.picture()
        assert (told["log"]["top"], told["log_writer"]["behind"]) == (2, 2), "the log has it, and the hub has not"
        server.hub.gate.open()
        assert peer.lines(3) == ["0", "1", "2"]
        look.until(lambda picture: picture["log_writer"]["behind"] == 0, "the hub that has caught up")


@forces(LogWriter._write)
def test_the_log_writer_is_running_while_a_room_numbers_what_was_said(
    inspect: Inspect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = with_store(inspect, tmp_path)
    accept = StoredRoom.accept
    with Peer(server.port) as peer, server.look() as look:
        with blocked() as block, monkeypatch.context() as patch:
            patch.setattr(StoredRoom, "accept", lambda room, said: (block(), accept(room, said))[1])
            peer.send(TEXT, "hello")
            until_writer(look, "running", "")
        assert peer.lines(1) == ["hello"]


def until_reader(look: Look, state: str, on: str) -> dict[str, Any]:
    def so(picture: dict[str, Any]) -> bool:
        thread = picture["log_reader"]["thread"]
        return (thread["name"], thread["state"], thread["on"]) == ("logReader", state, on)

    return look.until(so, f"the log reader {state} {on}")


@forces(LogReader._read, LogReader._look, LogReader._step, SharedRoom.arrived)
def test_the_log_reader_listens_looks_whether_the_logs_are_the_same_and_is_down_with_the_store(
    inspect: Inspect, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "LOOK_EVERY", 0.5)
    server = inspect(store=redis_server.url)
    writer = server.app.rooms.writer
    assert isinstance(writer, WatchedWriter)
    assert writer.reader is not None
    redis_server.config(appendfsync="always")  # what is killed may otherwise have lost what it has answered
    pass_on = SharedRoom._pass_on
    with Peer(server.port) as peer, server.look() as look:
        until_reader(look, "listening", "store")
        store = writer.reader._store
        with blocked() as block, monkeypatch.context() as patch:
            look_at_logs = store.look
            patch.setattr(store, "look", lambda points: (block(), look_at_logs(points))[1])
            until_reader(look, "storing", "store")
        with blocked() as block, monkeypatch.context() as patch:
            patch.setattr(SharedRoom, "_pass_on", lambda room, entries: (block(), pass_on(room, entries)))
            peer.send(TEXT, "hello")
            until_reader(look, "running", "")
            told = look.until(lambda picture: picture["log_reader"]["behind"] == 1, "the lag")
            assert told["log"]["top"] == 0
        assert peer.lines(1) == ["hello"]
        look.until(lambda picture: picture["log_reader"]["behind"] == 0, "that it has caught up")
        redis_server.kill()
        assert until_reader(look, "down", "store")["log_reader"]["down"]
        assert look.until_event("store")["text"].startswith("the store cannot be read")
        redis_server.start()
        until_reader(look, "listening", "store")


def test_a_room_in_memory_has_neither_a_log_writer_nor_a_log_reader(inspect: Inspect) -> None:
    with inspect().look() as look:
        picture = look.picture()
        assert (picture["log_writer"], picture["log_reader"]) == (None, None)


def test_every_row_of_the_table_is_forced_by_a_test() -> None:
    assert forced == {row.function for row in STATES}
