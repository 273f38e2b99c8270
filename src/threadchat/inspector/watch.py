"""The watched parts of a server: a hub, channels and connections that record what passes through them.

In all else they behave like the plain ones, and the App gets them in their place. Their counters are plain integers,
each written by one thread. Steps of single messages are recorded only for messages that are followed (see `journey`),
and only for the clients that are drawn.

Little is added to the way of every message. An overridden method there calls the class's method by name, because
`super()` takes twice as long. What is done for followed messages alone is in a subclass: an object changes its class
to it for as long as it handles such a message. (To set a method on the object itself would slow down the calls of all
other objects: Python 3.11's interpreter remembers that a class has the method, but not that one object has it.)

This module has the hub. The channels are in `watched_channels`, the connections in `watched_connection`, and what all
of them note in `notes`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from threadchat.client import Client
from threadchat.hub import Hub, Member
from threadchat.inspector.evictions import facts
from threadchat.inspector.journey import followed
from threadchat.inspector.notes import Watch
from threadchat.inspector.watched_channels import BroadcastChannel, NotingOutbox, WatchedChannel, WatchedOutbox
from threadchat.inspector.watched_connection import WatchedClient, WatchedConnection


class Gate:
    """The hub's thread passes it before each batch. While the gate is shut, the thread waits there.

    Any thread may call the methods.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()  # guards the rest
        self.shut = False
        self._for_good = False
        self._open = threading.Event()

    def close(self) -> None:
        with self._mutex:
            if not self._for_good:
                self._open.clear()
                self.shut = True

    def open(self, for_good: bool = False) -> None:
        """Let the hub's thread through. After an opening `for_good`, the gate cannot be closed any more."""
        with self._mutex:
            self._for_good |= for_good
            self.shut = False
            self._open.set()

    def wait(self) -> None:
        self._open.wait()


class RegisterChannel(WatchedChannel[Any]):
    """The hub's channel for new clients. The thread that sends to it becomes the client's read pump."""

    __slots__ = ("_hub",)

    def __init__(self, hub: WatchedHub) -> None:
        super().__init__("register")
        self._hub = hub

    def send(self, client: Any) -> None:
        self._hub.arrive(client)
        if client.connection.accepted:
            client.connection.note_joined()
        super().send(client)


class UnregisterChannel(WatchedChannel[Any]):
    """The hub's channel for clients that leave. If the client's handshake was not answered, it has departed now."""

    __slots__ = ()

    def send(self, client: Any) -> None:
        try:
            super().send(client)
        finally:
            if not client.connection.accepted:
                client.connection.depart()


class WatchedHub(Hub):
    """A hub whose channels are watched, and which can be paused at its gate."""

    def __init__(self, watch: Watch) -> None:
        self._records = 0  # calls of `record` that are under way, one inside the other; the hub's thread's
        self._noted: list[WatchedOutbox] = []  # those that note what the hub passes on at this moment
        super().__init__()
        self.watch = watch
        self.gate = Gate()
        self.register: RegisterChannel = RegisterChannel(self)
        self.unregister: UnregisterChannel = UnregisterChannel("unregister")
        self.broadcast: BroadcastChannel = BroadcastChannel(watch)
        self.broadcast.choose(True)
        watch.journeys.on_choosing = self.broadcast.choose
        # The clients that are known, by their numbers: from before they are registered until their threads are done.
        self.watched: dict[int, WatchedClient] = {}
        self._frames_of_departed = 0
        self._mutex = threading.Lock()  # guards the last two, so that no frame is counted twice
        self.messages = 0
        self.batches = 0
        self.deliveries = 0  # one for each message and client
        self.evictions = 0
        self.thread: int | None = None
        self.thread_name = "hub"
        self._send_buffer: int | None = None

    def run(self) -> None:
        self.thread = threading.get_ident()
        self.thread_name = self.watch.journeys.hub_thread = threading.current_thread().name
        watches, room = self.watch.shared.watches, self.watch.room
        watches[room] = self.watch
        try:
            super().run()
        finally:
            self._end_notes()
            if watches.get(room) is self.watch:  # and not that of a room which has taken its place
                del watches[room]

    def arrive(self, client: Any) -> None:
        """Know a client that is about to be registered. Called by the thread that becomes its read pump."""
        connection, send, number = client.connection, client.send, client.number
        watched = WatchedClient(number, connection, send, client.stuck, threading.get_ident())
        connection.number, connection.outbound, connection.protocol = number, send, client.protocol
        connection.watch, connection.on_departure = self.watch, partial(self._depart, watched)
        send.belongs_to(number, lambda: connection.name)
        watched.draw(self.watch.looked_at, self.watch.looked_at)  # until the sampler's next picture
        with self._mutex:
            self.watched[number] = watched
            self.watch.shared.present[number] = connection.peer

    def present(self) -> tuple[list[WatchedClient], int]:
        """The clients that are known at this instant, and how many frames were sent to those and to all before them."""
        with self._mutex:
            clients = list(self.watched.values())
            return clients, self._frames_of_departed + sum(client.connection.frames_out for client in clients)

    def rest(self) -> None:
        """Nobody looks at the room any more."""
        self.watch.rest()
        for client in self.present()[0]:
            client.draw(False, False)

    def _depart(self, client: WatchedClient) -> None:
        with self._mutex:
            if self.watched.pop(client.number, None) is not None:
                self._frames_of_departed += client.connection.frames_out
                del self.watch.shared.present[client.number]
        name = client.connection.name
        client.send.belongs_to(client.number, lambda: name)  # breaks a reference cycle

    def new_outbox(self, capacity: int) -> WatchedOutbox:
        return WatchedOutbox(self.watch, self._send_buffer or capacity, self.run_queue)

    def resize_send_channels(self, capacity: int) -> None:
        """Change the capacity of every client's channel `send`, those to come included."""
        self._send_buffer = capacity
        for client in list(self.watched.values()):
            client.send.resize(capacity)

    def stop(self) -> None:
        self.watch.stopping = True
        self.gate.open(for_good=True)
        super().stop()

    @property
    def record(self) -> Callable[[Sequence[str]], Sequence[str]]:
        """See `Hub.record`. What it returns is counted, and looked through while a followed message is on its way."""
        return self._record

    @record.setter
    def record(self, record: Callable[[Sequence[str]], Sequence[str]]) -> None:
        self._record = partial(self._look_at, record)

    def _look_at(self, record: Callable[[Sequence[str]], Sequence[str]], items: Sequence[str]) -> Sequence[str]:
        self._records += 1  # the function that was set may call the one that was there before
        try:
            entries = record(items)
        finally:
            self._records -= 1
        if not self._records:
            self._look_through(items, entries)
        return entries

    def _look_through(self, items: Sequence[str], entries: Sequence[str]) -> None:
        """The log has these entries of what came. With a store they are others, as only nudges come."""
        self.messages += len(entries)
        self.deliveries += len(entries) * len(self.clients)
        coming = self.watch.journeys.coming
        if coming and (those := followed((*items, *entries))):
            coming.difference_update(journey.number for journey in those)
            self._noted = [client.send for client in list(self.watched.values()) if client.send.noted]
            for channel in self._noted:
                channel.__class__ = NotingOutbox

    def _end_notes(self) -> None:
        for channel in self._noted:
            channel.__class__ = WatchedOutbox
        self._noted = []

    def _pass_on(self, messages: Sequence[str]) -> None:
        if self.gate.shut:
            self.gate.wait()  # here the hub holds no mutex
        self.batches += 1
        try:
            Hub._pass_on(self, messages)
        finally:
            if self._noted:
                self._end_notes()

    def _evict(self, client: Member) -> None:
        assert isinstance(client, Client)
        connection = client.connection
        assert isinstance(connection, WatchedConnection)
        waiting, leaving, why = len(client.send), connection.ended, facts(connection.wait)
        super()._evict(client)
        if not leaving:
            self.evictions += 1
            connection.evicted = True
            self.watch.journeys.evicted(client.number)
            self.watch.note(
                "evicted",
                client=client.number,
                name=connection.name,
                reason=connection.ending,
                waiting=waiting,
                capacity=client.send.capacity,
                **why,
            )
