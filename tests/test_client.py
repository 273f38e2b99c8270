"""The races that client.py lists, each forced. What the pumps do otherwise is tested in test_promises.py."""

from __future__ import annotations

import gc
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from helpers import (
    CLOSE,
    FAR,
    LIMIT,
    TEXT,
    Peer,
    Running,
    Serve,
    frame,
    go,
    hub_selects_first,
    no_collector,
    pump_names,
    say_stuck,
    until,
)

from threadchat import client as client_module
from threadchat.client import Client
from threadchat.hub import Ending
from threadchat.options import Options
from threadchat.websocket import connection
from threadchat.websocket.connection import Connection, ConnectionClosed, HandshakeFailed


class IdleConnection(Connection):
    """A connection without a peer, for a client that only the hub knows."""

    def __init__(self) -> None:
        super().__init__({}, Options())


def test_race_1_a_message_between_the_answer_to_the_handshake_and_the_start_of_the_pumps_arrives(
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
    say_stuck(evicted.stuck)
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
        stack.callback(say_stuck, busy.stuck)
        hub.broadcast.send("1")
        hub.broadcast.send("2")
        until(lambda: busy.send.statistics().waiting_senders == 1, "the hub waiting for the busy client")
        for _ in range(hub.broadcast.capacity):
            hub.broadcast.send("fill")
        peer.send(TEXT, "too late")
        until(lambda: hub.broadcast.statistics().waiting_senders == 1, "the read pump sending to the hub")
        hub.stop()
        # Now `broadcast` and `done` are both ready, and `select` chooses at random.
        monkeypatch.setattr(random, "choice", lambda ready: hub.done)
        say_stuck(busy.stuck)
        frames = peer.receive_all()
        assert b"too late" not in b"".join(frame.payload for frame in frames)
        assert frames[-1].opcode == CLOSE
        assert frames[-1].close_code == 1001
    until(lambda: pump_names() == [])


@contextmanager
def no_write_pumps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """During a `with` block, the system has no thread for a write pump."""
    start = threading.Thread.start

    def no_more_pumps(thread: threading.Thread) -> None:
        if thread.name.startswith("writePump"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more_pumps)
        yield


def test_a_client_whose_write_pump_cannot_start_is_refused_with_1013(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    with no_write_pumps(monkeypatch), Peer(server.port) as peer:
        assert [frame.close_code for frame in peer.receive_all()] == [1013]
    with Peer(server.port) as peer:
        peer.send(TEXT, "the server goes on")
        assert peer.lines(1) == ["the server goes on"]


def test_race_11_a_write_pump_that_cannot_start_does_not_block_the_hub(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CLOSE_WAIT", FAR)
    server = serve(send_buffer=1)
    with Peer(server.port) as other:
        until(lambda: "writePump-1" in pump_names())
        with no_write_pumps(monkeypatch), Peer(server.port) as refused:
            assert refused.receive().close_code == 1013
            for number in range(5):  # while the refused peer keeps its side of the connection open
                other.send(TEXT, str(number))
                assert other.lines(1) == [str(number)]


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
        until(lambda: client.send.statistics().waiting_senders == 1, "the hub waiting for the client")
        raise ConnectionClosed

    with monkeypatch.context() as patch:
        patch.setattr(client_module, "Client", Watched)
        patch.setattr(Connection, "accept", accept)
        with pytest.raises(EOFError):
            Peer(server.port)
    with Peer(server.port) as peer:
        peer.send(TEXT, "the hub goes on")
        assert peer.lines(1) == ["the hub goes on"]


@contextmanager
def busy(server: Running) -> Iterator[None]:
    """During a `with` block the hub is busy: it has passed on "a", and waits with "b" for one client's write pump."""
    hub = server.app.hub
    other = Client(hub, IdleConnection(), Options(send_buffer=1), 0)
    hub.register.send(other)
    hub.broadcast.send("a")
    hub.broadcast.send("b")
    until(lambda: other.send.statistics().waiting_senders == 1, "the hub being busy")
    try:
        yield
    finally:
        say_stuck(other.stuck)


def the_server_goes_on(server: Running) -> None:
    """Check that all clients have gone, and that the server serves the next one."""
    until(lambda: server.deserted, "the end of all clients")
    with Peer(server.port) as peer:
        peer.send(TEXT, "the server goes on")
        assert peer.lines(1) == ["the server goes on"]


@pytest.mark.parametrize("failure", [HandshakeFailed("no handshake"), ConnectionClosed()])
def test_race_5_a_client_whose_handshake_fails_is_unregistered(
    serve: Serve, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()

    def accept(connection: Connection) -> None:
        until(lambda: server.clients, "the registration")
        server.app.hub.broadcast.send("for nobody")
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "accept", accept)
        if isinstance(failure, HandshakeFailed):
            with Peer(server.port) as peer:
                assert peer.answer.startswith(b"HTTP/1.1 400 ")
        else:
            with pytest.raises(EOFError):
                Peer(server.port)
    the_server_goes_on(server)


def test_race_6_a_client_whose_buffer_fills_before_its_handshake_is_answered_is_not_evicted(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(send_buffer=1)
    accept = Connection.accept

    def late_accept(connection: Connection) -> None:
        until(lambda: server.clients, "the registration")
        (client,) = server.clients
        for message in ("1", "2", "3"):
            server.app.hub.broadcast.send(message)
        until(lambda: client.send.statistics().waiting_senders == 1, "the hub waiting for the client")
        accept(connection)

    monkeypatch.setattr(Connection, "accept", late_accept)
    with Peer(server.port) as peer:
        assert peer.lines(3) == ["1", "2", "3"]


@pytest.mark.parametrize("first", ["stop", "register"])
def test_race_7_the_handshake_is_refused_if_the_stop_comes_before_the_registration_and_else_answered(
    serve: Serve, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    hub = server.app.hub
    with busy(server):
        joining = go(Peer, server.port)
        until(lambda: hub.register.statistics().waiting_senders == 1, "a client that registers")
        hub.stop()
        hub_selects_first(monkeypatch, hub.done if first == "stop" else hub.register)
    with joining.result(LIMIT) as peer:
        if first == "stop":
            assert peer.answer.startswith(b"HTTP/1.1 503 ")
        else:
            assert peer.answer.startswith(b"HTTP/1.1 101 ")
            assert [frame.close_code for frame in peer.receive_all()] == [1001]
    until(lambda: server.deserted)


def test_race_7_a_client_of_a_hub_that_stops_before_its_handshake_is_answered_is_told_1001_after_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    accept = Connection.accept

    def late_accept(connection: Connection) -> None:
        server.app.hub.stop()
        until(lambda: not server.clients, "the hub parting with all clients")
        accept(connection)

    monkeypatch.setattr(Connection, "accept", late_accept)
    with Peer(server.port) as peer:
        assert peer.answer.startswith(b"HTTP/1.1 101 ")
        assert [frame.close_code for frame in peer.receive_all()] == [1001]
    until(lambda: server.deserted)


@pytest.mark.parametrize("leaves", ["close", "end of file", "reset"])
def test_race_8_the_last_message_of_a_peer_that_has_left_still_reaches_the_others(serve: Serve, leaves: str) -> None:
    server = serve()
    hub = server.app.hub
    with Peer(server.port) as listener, Peer(server.port) as leaver:
        until(lambda: len(server.clients) == 2)
        with busy(server):
            for _ in range(hub.broadcast.capacity):
                hub.broadcast.send("fill")
            leaver.send(TEXT, "last words")
            until(lambda: hub.broadcast.statistics().waiting_senders == 1, "the read pump sending to the hub")
            if leaves == "close":
                leaver.send(CLOSE, (1000).to_bytes(2, "big"))
            elif leaves == "reset":
                leaver.reset()
            else:
                leaver.close()
        assert listener.lines(2 + hub.broadcast.capacity + 1)[-1] == "last words"
    the_server_goes_on(server)


class Gate:
    """Holds the first thread that calls `Client.unregister`, until the gate is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._reached, self._open = threading.Event(), threading.Event()
        unregister = Client.unregister

        def held(client: Client) -> None:
            if not self._reached.is_set():
                self._reached.set()
                assert self._open.wait(LIMIT)
            unregister(client)

        monkeypatch.setattr(Client, "unregister", held)

    def reached(self) -> None:
        """Wait until a thread is held."""
        assert self._reached.wait(LIMIT), "no client unregisters"

    def open(self) -> None:
        self._open.set()


NORMAL = (1000).to_bytes(2, "big")


@pytest.mark.parametrize("why", list(Ending))
def test_race_9_a_peers_close_frame_is_answered_even_if_the_hub_then_parts_with_the_client(
    serve: Serve, why: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(send_buffer=1)
    hub = server.app.hub
    with Peer(server.port) as peer, Peer(server.port) as listener:
        until(lambda: len(server.clients) == 2)
        gate = Gate(monkeypatch)
        peer.send(CLOSE, NORMAL)
        gate.reached()
        if why is Ending.EVICTED:
            while len(server.clients) == 2:  # the client's buffer fills up, since its write pump has ended
                hub.broadcast.send("on it goes")
                assert listener.lines(1) == ["on it goes"]
        else:
            hub.stop()
            assert listener.receive_all()[-1].close_code == 1001
        gate.open()
        assert [frame.close_code for frame in peer.receive_all()] == [1000]
    until(lambda: server.deserted)


@pytest.mark.parametrize(("why", "code"), [(Ending.EVICTED, 1008), (Ending.STOPPED, 1001)])
def test_race_9_a_peer_that_closes_after_the_hub_has_parted_with_the_client_is_told_why(
    serve: Serve, why: Ending, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(send_buffer=1)
    hub = server.app.hub
    end = Client.end
    with Peer(server.port) as peer:
        until(lambda: server.clients)
        (client,) = server.clients
        gate = Gate(monkeypatch)

        def end_and_meet_the_peers_close(client: Client, told: Ending) -> None:
            assert told is why
            end(client, told)
            peer.send(CLOSE, NORMAL)
            gate.reached()

        monkeypatch.setattr(Client, "end", end_and_meet_the_peers_close)
        if why is Ending.STOPPED:
            hub.stop()
        else:
            hub.run_queue.ready(lambda: None)  # takes the only turn, so the write pump does not run
            monkeypatch.setattr(hub.run_queue, "gosched", lambda: None)  # the hub would wait for the write pump's turn
            say_stuck(client.stuck)
            for message in ("for the turn", "in the buffer", "too many"):
                hub.broadcast.send(message)
        until(lambda: client.send.statistics().closed, "the hub parting with the client")
        if why is Ending.EVICTED:
            hub.run_queue.next()
        gate.open()
        assert peer.receive_all()[-1].close_code == code
    until(lambda: server.deserted)


def test_race_10_a_connection_that_breaks_after_the_peers_close_frame_was_read_ends_with_the_peers_code(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "threadchat")
    server = serve()
    with Peer(server.port) as peer:
        until(lambda: server.clients)
        gate = Gate(monkeypatch)
        peer.socket.sendall(frame(TEXT, "last words") + frame(CLOSE, NORMAL))
        gate.reached()
        peer.reset()
        gate.open()
    until(lambda: 'client 1 left room "lobby": 1000' in caplog.text, "the end of the client")
    the_server_goes_on(server)


# What a client leaves behind


def closes(server: Running, peer: Peer) -> None:
    peer.send(CLOSE, NORMAL)
    assert peer.receive_all()[-1].close_code == 1000


def breaks_off(server: Running, peer: Peer) -> None:
    peer.socket.sendall(frame(TEXT, "half a frame")[:4])
    peer.reset()


def does_not_read(server: Running, peer: Peer) -> None:
    """The peer's write pump gets stuck while the hub waits for it, and the hub evicts the client."""
    while server.clients:
        server.app.hub.broadcast.send("x" * 500_000)


@pytest.mark.parametrize("protocol", ["", "Sec-WebSocket-Protocol: threadchat.v1\r\n"])
@pytest.mark.parametrize("does", [closes, breaks_off, does_not_read])
def test_a_client_that_has_left_is_freed_without_the_garbage_collector(
    serve: Serve, does: Callable[[Running, Peer], None], protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reference cycles would let the memory of a busy server grow until the garbage collector runs."""
    monkeypatch.setattr(connection, "CLOSE_WAIT", 0.1)
    server = serve(send_buffer=2, history=0)  # this peer does not read before the hub knows it

    def visit() -> None:
        with Peer(server.port, headers=protocol) as peer:
            until(lambda: server.clients)
            peer.send(TEXT, '{"type":"msg","text":"hello"}')
            while b"hello" not in peer.receive().payload.replace(b'"hello","room"', b""):
                pass
            does(server, peer)
            until(lambda: server.deserted)
        until(lambda: not server.server._server._connections, "the end of the connection")

    visit()
    with no_collector():
        timers = server.app.rooms._timers
        for channel in (server.app.hub.done, *([timers._changed] if timers._thread else [])):
            until(lambda channel=channel: channel.statistics().waiting_receivers == 1, "the threads that stay, parked")  # type: ignore[misc]
        before = objects_of_clients()
        visit()
        visit()
        with suppress(AssertionError):
            until(lambda: objects_of_clients() <= before)
        assert objects_of_clients() - before == Counter(), "these objects are left"


def objects_of_clients() -> Counter[str]:
    """The number of objects of each type, for the modules of which a client may have objects."""
    kinds = Counter((type(each).__module__.partition(".")[0], type(each).__qualname__) for each in gc.get_objects())
    modules = "threadchat", "werkzeug", "simple_websocket", "wsproto", "h11", "http", "socket", "_io", "threading"
    kept = {"Entry", "Person"}  # by the room's log, and by the timer for "left"
    return Counter({kind: count for (module, kind), count in kinds.items() if module in modules and kind not in kept})
