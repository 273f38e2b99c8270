"""The Hub: one thread that knows all clients and passes each message on to every one of them.

Others talk to it over its channels alone. Nothing but `Hub.run` touches the set of clients, so there is no lock, and
all clients see the messages in one order: the order in which the hub received them. It knows nothing of WebSockets.

The races, each forced by a test of the same number in tests/test_hub.py:
1. A client registers while a message waits for the hub.
2. A client unregisters while a message waits for the hub.
3. A client gets stuck while the hub has passed on some messages of several and waits for its pump.
4. The hub is told to stop while it waits for all pumps, or for one, or would have to.
5. The hub stops while a registration, an unregistration and a message wait for it.
6. A client unregisters twice, and two threads stop the hub, at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Protocol

from threadchat.channel import Channel, Closed, WouldBlock, select
from threadchat.runtime.runqueue import RunQueue

BROADCAST_BUFFER = 256  # messages that the read pumps may have ready while the hub is busy; it takes them all at once


class Hub:
    """The set of clients and the channels through which they are heard: hub.go.

    `run` is the hub's thread. `stop` may be called by any thread, once or more.
    """

    def __init__(self) -> None:
        self.clients: set[Member] = set()
        self.register: Channel[Member] = Channel()
        self.unregister: Channel[Member] = Channel()
        self.broadcast: Channel[str] = Channel(BROADCAST_BUFFER)
        self.run_queue = RunQueue()
        self._done: Channel[None] = Channel()  # never sent to: its close tells the hub to stop

    def run(self) -> None:
        """Serve the channels until `stop`; then part with all clients, and let nobody wait for the hub any more."""
        try:
            while True:
                try:
                    channel, value = select(self.register, self.unregister, self.broadcast, self._done)
                except Closed:
                    return
                if channel is self.register:
                    self.clients.add(value)
                elif channel is self.unregister:
                    if last := self.broadcast.take_pending():  # what it said before it left is for itself as well
                        self._pass_on(last)
                    if value in self.clients:
                        self.clients.remove(value)
                        value.send.close()
                elif channel is self.broadcast:
                    self._pass_on([value, *self.broadcast.take_pending()])
        finally:
            # In Go a send to a hub that has gone blocks for ever. Here it raises Closed.
            for inbox in (self.register, self.unregister, self.broadcast):
                inbox.close()
            last = self.broadcast.take_pending()
            for client in self.clients:
                client.send.send_what_fits(last)
                client.end(Ending.STOPPED)
                client.send.close()
            self.clients.clear()

    def send_channel(self, capacity: int) -> Channel[str]:
        """The channel `send` of a new client, with room for so many messages."""
        return Channel(capacity, self.run_queue)

    def stop(self) -> None:
        """Make `run` return. What the hub has received by now still reaches the clients' channels."""
        with suppress(Closed):
            self._done.close()

    def _pass_on(self, messages: list[str]) -> None:
        full = []
        for client in self.clients:
            if rest := client.send.send_what_fits(messages):
                full.append((client, rest))
        if full:
            # Their pumps have not had their turn yet, or hardly any has. To wait once for all of them takes two changes
            # of threads; to wait for one, and then for the next, took two for each, and a fifth less was delivered.
            self.run_queue.gosched()
        for client, rest in full:
            self._wait_or_evict(client, rest)

    def _wait_or_evict(self, client: Member, messages: Sequence[str]) -> None:
        """The client's buffer was full, and its pump has had its turn since, if it was ready for one.

        If it has not, it is writing to its peer: then the hub waits, until it comes back for what is pending or finds
        out that its peer is stuck. Whose peer does not read is evicted, and nobody waits for it.
        """
        try:
            client.send.send_all(messages)
        except WouldBlock:
            self._evict(client)

    def _evict(self, client: Member) -> None:
        self.clients.remove(client)
        client.end(Ending.EVICTED)
        client.send.close()
        client.send.take_pending()  # nothing more is sent but the reason


class Ending(Enum):
    """Why the hub parts with a client that did not ask to leave."""

    EVICTED = auto()
    STOPPED = auto()


class Member(Protocol):
    """What the hub asks of a client. Called by the hub's thread."""

    @property
    def send(self) -> Channel[str]:
        """The client's buffered channel of outbound messages. Only the hub sends to it and closes it.

        Its receiver, the write pump, steps away from it while the peer does not take what it writes.
        """

    def end(self, why: Ending) -> None:
        """Told before the hub closes `send`. It must not block."""
