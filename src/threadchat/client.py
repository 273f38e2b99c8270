"""A client: it stands between one WebSocket and the hub, with a read pump and a write pump. This is client.go.

The read pump is the only reader of the connection, and the write pump the only thread that writes to it what the hub
passes on. (What a subprotocol says to its own client goes past the hub: before the write pump starts, or as a reply.)
When the peer leaves, these steps follow one another:

    the read pump leaves its loop, and its thread unregisters the client;
    the hub removes the client and closes its channel `send`;
    the write pump sends what is pending, then the close frame, and ends;
    the read pump's thread joins it, waits a moment for the peer to close its side, and gives the socket back.

When the hub evicts the client or stops, it closes `send` first. When a write fails, the write pump ends first. In both
cases the read pump then finds the connection ended, and the remaining steps follow. Go undoes each pump's work in a
`defer`; here a `finally` does.

The races, each forced by a test of the same number in tests/test_client.py:
1. A message is broadcast after the handshake was answered and before the client is registered.
2. The hub evicts a client that unregisters at the same moment.
3. The hub stops while a read pump sends to it.
4. The peer leaves before the write pump has started, while the hub waits for that write pump.
5. The handshake fails, or the peer has gone, after the client was registered.
6. The client's buffer is full before its handshake is answered.
7. The hub stops before the client is registered, or before its handshake is answered.
8. The peer leaves while its last message waits for the hub.
9. The peer closes the connection while the hub evicts the client, or stops.
10. The connection breaks after the peer's close frame was read and before it is answered.
11. The write pump cannot be started, while the hub has more messages for it than its buffer holds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from threadchat.channel import Channel, Closed, WouldBlock
from threadchat.hub import Ending, Hub
from threadchat.options import Options
from threadchat.runtime.system import give_way_to_wakers
from threadchat.runtime.threads import go
from threadchat.subprotocol import LINES, Subprotocol
from threadchat.websocket.connection import CLOSE_WAIT, Connection, ConnectionClosed

log = logging.getLogger("threadchat")

CLOSE_CODES = {  # RFC 6455, section 7.4.1
    Ending.EVICTED: (1008, "evicted: not reading fast enough"),
    Ending.STOPPED: (1001, "the server is stopping"),
}
FAILED = "the server has failed"  # the reason with close code 1011


class Client:
    """One client of the hub. `number` names its threads and its log lines."""

    __slots__ = ("_ping_every", "_read_pump_done", "connection", "hub", "number", "protocol", "send", "stuck")

    def __init__(
        self, hub: Hub, connection: Connection, options: Options, number: int, protocol: Subprotocol = LINES
    ) -> None:
        self.hub = hub
        # The WebSocket. The read pump reads from it, the write pump writes to it.
        self.connection = connection
        self.number = number
        # Outbound messages. Only the hub sends to this channel and closes it; only the write pump receives before that.
        self.send = hub.new_outbox(options.send_buffer)
        # Holds an item while a frame has waited too long for the peer, and once the client is leaving.
        self.stuck: Channel[None] = Channel(1)
        # Called by the pump that is writing, and only one of them writes at a time.
        connection.on_stuck, connection.on_unstuck = partial(_raise_flag, self.stuck), self.stuck.take_pending
        self.protocol = protocol
        self._ping_every = options.ping_every
        # Released when the read pump is done. A lock, because an Event would take 1 KB a client.
        self._read_pump_done = threading.Lock()
        self._read_pump_done.acquire()

    def read_pump(self) -> None:
        """Pass messages from the connection to the hub until one of them has gone. Runs in the thread of the request.

        While the hub is busy and its buffer is full, nothing is read here, and TCP slows the peer down. The limits that
        Go sets here (SetReadLimit, SetReadDeadline, SetPongHandler) are the connection's.
        """
        try:
            for message in self.connection:
                self.send.urgent = True  # a client that speaks gets its own message before others get it
                if (said := self.protocol.read(message)) is not None:
                    self.hub.broadcast.send(said)
        except Closed:
            pass  # the hub has stopped (race 3)
        finally:
            self._read_pump_done.release()

    def write_pump(self) -> None:
        """Pass messages from the hub to the connection, all that are pending at once, until one of them has gone."""
        next_ping = time.monotonic() + self._ping_every
        try:
            give_way_to_wakers()
            while True:
                try:
                    frame = self.send.receive_in_turn(self.connection.encode, until=next_ping)
                except TimeoutError:  # Go: case <-ticker.C
                    self.connection.send_ping()
                    next_ping = time.monotonic() + self._ping_every
                else:
                    # Outside the turn, because it may block.
                    self.connection.send(frame)
        except (Closed, ConnectionClosed):
            pass  # the hub has closed `send` (Go: !ok), or the peer has gone
        except Exception:
            self.connection.end(1011, FAILED)
            raise
        finally:
            _raise_flag(self.stuck)
            self.connection.send_close()
            if not self._read_pump_done.acquire(timeout=CLOSE_WAIT):
                self.connection.abort()  # the peer did not answer the close frame

    def end(self, why: Ending) -> None:
        """Part with the peer. Called by the hub before it closes `send`."""
        self.connection.end(*CLOSE_CODES[why])

    def unregister(self) -> None:
        """Ask the hub to forget this client, whether the hub still knows it or not (race 2)."""
        _raise_flag(self.stuck)  # the hub may be waiting for a write pump that never started (race 4)
        with suppress(Closed):
            self.hub.unregister.send(self)


def serve_ws(hub: Hub, connection: Connection, options: Options, number: int, protocol: Subprotocol = LINES) -> None:
    """Serve one WebSocket from its handshake to its end: the Go example's serveWs. Runs in the thread of the request.

    Raises HandshakeFailed if the request is no handshake, Closed if the hub has stopped before it was answered, and
    ConnectionClosed if the peer has gone. In the first two cases the request was not answered.
    """
    client = Client(hub, connection, options, number, protocol)
    write_pump = None
    try:
        protocol.before_registration(connection)
        hub.register.send(client)  # race 1: before a plain client's handshake is answered
        protocol.after_registration(connection)
        try:
            write_pump = go(client.write_pump, f"writePump-{number}")
        except (RuntimeError, MemoryError) as error:  # the system has no more threads
            connection.end(1013, "the server is full")
            log.error("client %d in %s has no write pump: %s", number, protocol.where, error)
            return
        log.info("client %d joined %s from %s", number, protocol.where, connection.peer)
        with _named(f"readPump-{number}"):
            client.read_pump()
    except Closed:
        if not connection.accepted:
            raise
        connection.end(*CLOSE_CODES[Ending.STOPPED])
    except Exception:
        connection.end(1011, FAILED)  # unless it has ended already
        raise
    finally:
        client.unregister()  # race 11: before anything that waits
        if write_pump is not None:
            write_pump.join()
        elif connection.accepted:
            connection.send_close()
        if connection.accepted:
            connection.close()
            log.info("client %d left %s: %s", number, protocol.where, connection.ending)


def _raise_flag(flag: Channel[None]) -> None:
    with suppress(WouldBlock):
        flag.send_nowait(None)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Give the current thread a role's name for a while. The thread comes from a pool and has other roles later."""
    thread = threading.current_thread()
    before, thread.name = thread.name, name
    try:
        yield
    finally:
        thread.name = before
