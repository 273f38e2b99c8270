"""The hub: one thread that knows all clients and passes each message on to every one of them. This is hub.go.

Other threads talk to the hub over its channels alone. Only the hub's thread changes the set of clients, so the set
needs no lock, and all clients see the messages in one order: the order in which the hub received them. The hub knows
nothing of WebSockets; a message is something that it passes on.

The races, each forced by a test of the same number in tests/test_hub.py:
1. A client registers while a message waits for the hub.
2. A client unregisters while a message waits for the hub.
3. A client gets stuck while the hub has passed on a part of a batch and waits for that client's write pump.
4. The hub is told to stop while it waits for all write pumps, or for one, or is about to.
5. The hub stops while a registration, an unregistration and a message wait for it.
6. A client unregisters twice, and two threads stop the hub at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Protocol

from threadchat.channel import Channel, Send, WouldBlock, select
from threadchat.outbox import Outbox
from threadchat.runtime.runqueue import RUN_QUEUE, RunQueue

BROADCAST_BUFFER = 256  # messages that read pumps may leave for the hub while it is busy; it takes them all at once


class Hub:
    """The set of clients, and the channels through which they reach it."""

    def __init__(self, run_queue: RunQueue = RUN_QUEUE) -> None:
        # The registered clients. Only the hub's thread changes the set.
        self.clients: set[Member] = set()
        # Registrations, from the threads of the requests. A send returns when the hub has taken the client.
        self.register: Channel[Member] = Channel()
        # Unregistrations, from the threads of the requests.
        self.unregister: Channel[Member] = Channel()
        # Messages, from the read pumps.
        self.broadcast: Channel[str] = Channel(BROADCAST_BUFFER, of=str)
        # One item, from the thread that stops the hub.
        self.done: Channel[None] = Channel(1)
        # Called by the hub's thread with the messages that it has received. Returns those to pass on. Go has no such
        # seam: here a room's log numbers the messages.
        self.record: Callable[[Sequence[str]], Sequence[str]] = lambda messages: messages
        # Where the write pumps wait for their turns. Shared with all other hubs of the process.
        self.run_queue = run_queue

    def run(self) -> None:
        """Serve the channels until `stop`; then part with all clients. This is the hub's thread."""
        try:
            while True:
                channel, value = select(self.register, self.unregister, self.broadcast, self.done)
                match channel:
                    case self.register:
                        self.clients.add(value)
                    case self.unregister:
                        if last := self.broadcast.take_pending():  # the client's own last words are for it too
                            self._pass_on(last)
                        if value in self.clients:
                            self.clients.remove(value)
                            value.send.close()
                    case self.broadcast:
                        self._pass_on([value, *self.broadcast.take_pending()])
                    case self.done:
                        return
        finally:
            self._part_with_all()

    def stop(self) -> None:
        """Make `run` return. What is in `broadcast` still goes out, as far as there is room.

        Any thread may call this, once or more.
        """
        with suppress(WouldBlock):
            self.done.send_nowait(None)

    def new_outbox(self, capacity: int) -> Outbox[str]:
        """The channel `send` of a new client, with room for `capacity` messages."""
        return Outbox(capacity, self.run_queue)

    def _pass_on(self, messages: Sequence[str]) -> None:
        """Send the messages to all clients. On a full buffer Go's hub evicts; this one lets the pumps run first."""
        messages, full = self.record(messages), []
        for client in self.clients:
            if rest := client.send.send_what_fits(messages):
                full.append((client, rest))
        if full:
            # Most of these pumps have not had their turn yet. To wait once for all of them takes two thread switches.
            # To wait for each in turn takes two for each pump, and a fifth less was delivered.
            self.run_queue.gosched()
        for client, rest in full:
            self._wait_or_evict(client, rest)

    def _wait_or_evict(self, client: Member, messages: Sequence[str]) -> None:
        """Send the messages to a client with a full buffer. If its write pump was ready, it has mostly had its turn.

        If the pump is still writing, or stands in the urgent line, the hub waits until the pump takes what is pending.
        If the peer does not read, the hub evicts the client and waits no longer.
        """
        while messages := client.send.send_what_fits(messages):
            case, _ = select(Send(client.send, messages[0]), client.stuck)
            if case is client.stuck:
                self._evict(client)
                return
            messages = messages[1:]

    def _evict(self, client: Member) -> None:
        self.clients.remove(client)
        client.end(Ending.EVICTED)
        client.send.close()
        client.send.take_pending()  # discard what is pending: only the close frame still goes out

    def _part_with_all(self) -> None:
        """Close all channels. In Go a send to a hub that has ended blocks for ever; here it raises Closed."""
        for inbox in (self.register, self.unregister, self.broadcast):
            inbox.close()
        last: Sequence[str] = ()
        try:
            last = self.record(self.broadcast.take_pending())
        finally:  # also where that fails: the clients' threads would wait for ever
            for client in self.clients:
                client.send.send_what_fits(last)
                client.end(Ending.STOPPED)
                client.send.close()
            self.clients.clear()


class Ending(Enum):
    """Why the hub parts with a client that did not ask to leave."""

    EVICTED = auto()
    STOPPED = auto()


class Member(Protocol):
    """What the hub needs of a client. Only the hub's thread uses it."""

    @property
    def send(self) -> Channel[str]:
        """The client's outbound messages. Only the hub sends to this channel and closes it."""

    @property
    def stuck(self) -> Channel[None]:
        """Holds an item while a frame has waited too long for the peer, and once the write pump has ended."""

    def end(self, why: Ending) -> None:
        """Tell the peer why. Called before the hub closes `send`; must not block."""
