"""A Client stands between one WebSocket and the Hub, with two threads, a read pump and a write pump: client.go.

The read pump is the only reader of the connection, the write pump the only one that writes messages to it. However a
client ends, the same follows in the same order:

    the read pump leaves its loop, and its thread unregisters the client;
    the hub removes the client and closes its channel `send` (when it evicts or stops, that is the first step);
    the write pump sends what is pending, then the close frame, and ends;
    the read pump joins it, waits a moment for the peer to close its side, and gives the thread back.

The races, each forced by a test of the same number in tests/test_client.py:
1. A message is broadcast after the handshake was answered and before the client is registered.
2. The hub evicts a client that unregisters in the same instant.
3. The hub stops while a read pump sends to it.
4. The peer leaves before the write pump has started, while the hub gives way to that write pump.
5. The handshake fails, or the peer has gone, after the client was registered.
6. The client's buffer is full before its handshake is answered.
7. The hub stops before the client is registered, or before its handshake is answered.
8. The peer leaves while its last message waits for the hub.
9. The peer closes the connection while the hub evicts it, or stops.
10. The connection breaks after the peer's close frame was read and before it is answered.
11. The write pump cannot be started, while the hub has more for it than its buffer holds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from threadchat.channel import Closed
from threadchat.hub import Ending, Hub
from threadchat.options import Options
from threadchat.runtime.system import give_way_to_wakers
from threadchat.websocket.connection import CLOSE_WAIT, Connection, ConnectionClosed

log = logging.getLogger("threadchat")

CLOSE_CODES = {  # RFC 6455, section 7.4.1
    Ending.EVICTED: (1008, "evicted: not reading fast enough"),
    Ending.STOPPED: (1001, "the server is stopping"),
}


class Client:
    """One client of the hub. `number` names its threads and its log lines."""

    __slots__ = ("_ping_every", "_reading", "connection", "hub", "number", "send")

    def __init__(self, hub: Hub, connection: Connection, options: Options, number: int) -> None:
        self.hub = hub
        self.connection = connection
        self.number = number
        self.send = hub.send_channel(options.send_buffer)
        self._ping_every = options.ping_every
        self._reading = threading.Lock()  # held until the read pump is done; an Event would take 1 KB a client
        self._reading.acquire()
        # While the peer does not read, this client's messages have no receiver.
        connection.on_stuck, connection.on_unstuck = self.send.step_away, self.send.come_back

    def read_pump(self) -> None:
        """Take messages from the connection to the hub until either has gone. Runs in the thread of the request.

        While the hub is busy and its buffer full, nothing is read here, and TCP slows the peer down.
        """
        try:
            for message in self.connection:
                message = message.replace("\n", " ").strip()
                if message:
                    self.send.urgent = True  # who speaks hears first
                    self.hub.broadcast.send(message)
        except Closed:
            pass  # the hub has stopped (race 3)
        finally:
            self.send.step_away()  # for good
            self._reading.release()

    def write_pump(self) -> None:
        """Take messages from the hub to the connection, all that are pending as one, until the hub closes `send`."""
        give_way_to_wakers()
        next_ping = time.monotonic() + self._ping_every
        try:
            while True:
                until_ping = next_ping - time.monotonic()
                if until_ping <= 0:
                    self.connection.send_ping()
                    next_ping = time.monotonic() + self._ping_every
                    continue
                try:
                    messages = self.send.receive_pending(timeout=until_ping)
                except TimeoutError:
                    continue
                try:
                    self.send.urgent = False
                    frame = self.connection.encode(messages)
                finally:
                    self.hub.run_queue.next()  # from here on this thread may block
                self.connection.send(frame)
        except (Closed, ConnectionClosed):
            pass
        finally:
            self.send.step_away()  # for good
            self.connection.send_close()
            if not self._reading.acquire(timeout=CLOSE_WAIT):
                self.connection.abort()  # the peer did not answer the close frame

    def end(self, why: Ending) -> None:
        """Part with the peer; called by the hub before it closes `send`."""
        self.connection.end(*CLOSE_CODES[why])

    def unregister(self) -> None:
        """Ask the hub to forget this client, whether it still knows it or not (race 2)."""
        self.send.step_away()  # the hub may be giving way to a write pump that never started (race 4)
        with suppress(Closed):
            self.hub.unregister.send(self)


def serve_ws(hub: Hub, connection: Connection, options: Options, number: int) -> None:
    """Serve one WebSocket from its handshake to its end: the Go example's serveWs. Runs in the thread of the request.

    Raises Closed if the hub has stopped, HandshakeFailed, and ConnectionClosed if the peer has gone; in all three cases
    the request was not answered.
    """
    client = Client(hub, connection, options, number)
    write_pump = threading.Thread(target=client.write_pump, name=f"writePump-{number}", daemon=True)
    hub.register.send(client)  # race 1: before the handshake is answered
    try:
        connection.accept()
        try:
            write_pump.start()
        except RuntimeError as error:  # the system has no more threads
            client.unregister()  # race 11: before anything that waits
            connection.end(1013, "the server is full")
            connection.send_close()
            connection.close()
            log.error("client %d has no write pump: %s", number, error)
            return
        log.info("client %d joined from %s", number, connection.peer)
        with _named(f"readPump-{number}"):
            client.read_pump()
    except Exception:
        connection.end(1011, "the server has failed")  # unless it has ended already; RFC 6455, section 7.4.1
        raise
    finally:
        client.unregister()
        if write_pump.ident is not None:
            write_pump.join()
            connection.close()
            log.info("client %d left: %s", number, connection.ending)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """The current thread bears a role's name for a while: a pool's thread has other roles before and after."""
    thread = threading.current_thread()
    before, thread.name = thread.name, name
    try:
        yield
    finally:
        thread.name = before
