"""The Hub: one thread that knows all clients and passes each message on to every one of them.

Others talk to it over its channels alone. Nothing but `Hub.run` touches the set of clients, so there is no lock, and
all clients see the messages in one order: the order in which the hub received them. It knows nothing of WebSockets.

The races, each forced by a test of the same number in tests/test_hub.py:
1. A client registers while a message waits for the hub.
2. A client unregisters while a message waits for the hub.
3. A client gets stuck while the hub has passed on some messages of several and gives way to it.
4. The hub is told to stop while it gives way to a client, or would have to.
5. The hub stops while a registration, an unregistration and a message wait for it.
6. A client unregisters twice, and two threads stop the hub, at once.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum, auto
from typing import Protocol

from threadchat.channel import Channel, Closed, WouldBlock, select
from threadchat.runqueue import RunQueue

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
        self._step = 1  # through the clients: forth, or -1 back

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
                with suppress(WouldBlock):
                    client.send.send_all_nowait(last)
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
        # To and fro: whom it served last the processor's caches are likely to know still. With 1,000 clients and full
        # frames a third more is delivered than by always coming back to those whom it has not seen for longest.
        self._step = -self._step
        for client in list(self.clients)[:: self._step]:
            try:
                client.send.send_all_nowait(messages)
            except WouldBlock:
                self._give_way_or_evict(client, messages)

    def _give_way_or_evict(self, client: Member, messages: list[str]) -> None:
        """The client's buffer has no room for all messages. Its peer does not read, or its pump has not had its turn.

        In the first case the client is evicted, and nobody waits for it. The second is the server's own doing: the hub
        waits for the pump, which is about to take all that is pending, or else to find out that its peer is stuck.
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
