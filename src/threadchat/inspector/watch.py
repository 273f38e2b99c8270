"""The watched parts of a server: a hub, channels and connections that record what passes through them.

In all else they behave like the plain ones, and the App gets them in their place. Their counters are plain integers,
each written by one thread. Steps of single messages are recorded only for messages that are followed (see `journey`),
and only for the clients that are drawn.

Little is added to the way of every message. An overridden method there calls the class's method by name, because
`super()` takes twice as long. What is done for followed messages alone is in a subclass: an object changes its class
to it for as long as it handles such a message. (To set a method on the object itself would slow down the calls of all
other objects: Python 3.11's interpreter remembers that a class has the method, but not that one object has it.)
"""

from __future__ import annotations

import inspect
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from threadchat.channel import Channel
from threadchat.client import Client
from threadchat.hub import BROADCAST_BUFFER, Hub, Member
from threadchat.inspector.evictions import Wait, facts
from threadchat.inspector.journey import PACKAGE, Followed, Journey, Journeys, place
from threadchat.inspector.kernel import Held, unacknowledged
from threadchat.messages import Entry
from threadchat.options import Options
from threadchat.outbox import Outbox
from threadchat.runtime.runqueue import RunQueue
from threadchat.websocket.connection import Connection

T = TypeVar("T")

EVENTS = 2_000  # that are kept for viewers that have not seen them yet
TEXT = 80  # characters of a message that are part of its event


class Watch:
    """What the watched parts of one server share: a clock, the clients, the events, and the followed messages.

    `kernel_buffer` is the size of the kernel's send buffer for each client, in bytes; None leaves it as `connection`
    has set it. Any thread may call the methods.
    """

    def __init__(self, kernel_buffer: int | None = None) -> None:
        self.kernel_buffer = kernel_buffer
        self.clients: dict[int, WatchedClient] = {}  # from its registration until the sampler finds it departed
        self.names: dict[str, str] = {}  # of bots that the server has not met yet, by their address
        self.peers: dict[str, socket.socket] = {}  # the bots' own sockets, by their address; only to be looked at
        self.stopping = False
        self.pace = 0.0  # messages a second that the demo's bots send, all together
        self.journeys = Journeys(self.now)
        self._started = time.monotonic()
        self._mutex = threading.Lock()  # guards the next two
        self._happened = 0
        self._events: deque[tuple[int, str]] = deque(maxlen=EVENTS)

    def now(self) -> float:
        """Seconds since the inspector started."""
        return time.monotonic() - self._started

    def note(self, kind: str, **facts: Any) -> None:
        """Record an event, which viewers get with their next picture."""
        text = json.dumps({"t": round(self.now(), 6), "kind": kind, **facts})
        with self._mutex:
            self._happened += 1
            self._events.append((self._happened, text))

    def events(self, after: int) -> tuple[int, list[str]]:
        """The number of the latest event, and the events after the one of number `after`, each as JSON.

        Of more than EVENTS, only the latest are left.
        """
        with self._mutex:
            new = min(self._happened - after, len(self._events))
            return self._happened, [self._events[index][1] for index in range(-new, 0)]


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


class Watchable:
    """What the sampler reads of a channel, without taking the channel's mutex."""

    __slots__ = ()

    capacity: int
    _buffer: deque[Any]
    _receivers: list[Any]
    _senders: list[Any]

    @property
    def fill(self) -> int:
        """The number of items in the buffer."""
        return len(self._buffer)

    @property
    def has_parked_receiver(self) -> bool:
        """Whether a thread waits to receive and has not been served yet."""
        return bool(self._receivers)

    @property
    def has_parked_sender(self) -> bool:
        """Whether a thread waits to send and has not been served yet."""
        return bool(self._senders)


class WatchedChannel(Watchable, Channel[T]):
    """A channel with a name."""

    __slots__ = ("name",)

    def __init__(self, name: str, capacity: int = 0, of: type[T] | None = None) -> None:
        super().__init__(capacity, of)
        self.name = name


class RegisterChannel(WatchedChannel[Any]):
    """The hub's channel for new clients. The thread that sends to it becomes the client's read pump."""

    __slots__ = ("_watch",)

    def __init__(self, watch: Watch) -> None:
        super().__init__("register")
        self._watch = watch

    def send(self, client: Any) -> None:
        watched = WatchedClient(client.number, client.connection, client.send, client.stuck, threading.get_ident())
        watched.connection.number = watched.number
        watched.connection.outbound = watched.send
        watched.send.belongs_to(watched.number, watched.connection.name)
        watched.draw(True, True)  # until the sampler's next picture
        self._watch.clients[watched.number] = watched
        if watched.connection.accepted:
            watched.connection.note_joined()
        super().send(client)


class UnregisterChannel(WatchedChannel[Any]):
    """The hub's channel for clients that leave. If the client's handshake was not answered, it has departed now."""

    __slots__ = ()

    def send(self, client: Any) -> None:
        try:
            super().send(client)
        finally:
            client.connection.departed |= not client.connection.accepted


class BroadcastChannel(WatchedChannel[str]):
    """The hub's channel for messages. Mostly read pumps send to it; only their messages are followed."""

    __slots__ = ("_watch",)

    def __init__(self, watch: Watch) -> None:
        super().__init__("broadcast", BROADCAST_BUFFER, of=str)
        self._watch = watch

    def choose(self, choosing: bool) -> None:
        """Start or stop choosing messages to follow. Any thread may call this."""
        self.__class__ = ChoosingBroadcastChannel if choosing else BroadcastChannel


class ChoosingBroadcastChannel(BroadcastChannel):
    """The class of the channel while the next message may be followed."""

    __slots__ = ()

    def send(self, message: str) -> None:
        pump = threading.current_thread().name
        client = self._watch.clients.get(int(pump.rpartition("-")[2])) if pump.startswith("readPump-") else None
        if not isinstance(message, Entry) or not message:
            Channel.send(self, message)  # not a message, or nobody's
            return
        journey = self._begin(client, message) if client else None
        if journey is None:
            Channel.send(self, message)  # not super(): by now another thread may have made it a plain one again
            return
        journey.places["read"] = pump, *READ_LINE
        Channel.send(self, Followed.on(journey, message))
        journey.broadcast = self._watch.now()
        journey.places["broadcast"] = place(pump)

    def _begin(self, client: WatchedClient, message: str) -> Journey | None:
        journey = self._watch.journeys.begin(client.connection.peer, client.number, message)
        if journey:
            self._watch.note("message", id=journey.number, client=client.number, text=message[:TEXT])
        return journey


class WatchedOutbox(Watchable, Outbox[str]):
    """A client's channel `send`, with a name and a capacity that can be changed.

    While `noted` is set, the step of each followed message that the hub puts into it is recorded.
    """

    __slots__ = ("_client", "_watch", "followed", "name", "noted")

    def __init__(self, watch: Watch, capacity: int, run_queue: RunQueue) -> None:
        super().__init__(capacity, run_queue)
        self.name = "send"
        self.noted = False
        # How many followed messages the hub sent to it while `noted` was set. One that had to wait may count again.
        self.followed = 0
        self._watch = watch
        self._client = 0, ""  # number and name, once the client is registered

    def belongs_to(self, number: int, name: str) -> None:
        """Set the client's number and name. Called once, before the client is registered."""
        self.name = f"send-{number}"
        self._client = number, name

    @property
    def has_parked_receiver(self) -> bool:
        """Whether the write pump waits to receive and has not been made ready yet."""
        return self._idle

    def resize(self, capacity: int) -> None:
        """Give the buffer room for `capacity` items from now on. Items that are in it stay, even if they are more."""
        with self._mutex:
            self.capacity = capacity


class NotingOutbox(WatchedOutbox):
    """The class of an outbox with `noted` set, while the hub passes a followed message on.

    A followed message that has to wait for room is not recorded here, but when the write pump takes it.
    """

    __slots__ = ()

    def send_what_fits(self, items: Sequence[str]) -> Sequence[str]:
        followed = _followed(items)
        self.followed += len(followed)
        rest = super().send_what_fits(items)
        self._note_buffered(followed[: len(followed) - len(_followed(rest))])
        return rest

    def _note_buffered(self, messages: Sequence[Followed]) -> None:
        for message in messages:
            part = message.journey.delivery(*self._client)
            part.buffered = self._watch.now()
            part.places["buffered"] = place("hub")


class WatchedHub(Hub):
    """A hub whose channels are watched, and which can be paused at its gate."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch
        self.gate = Gate()
        self.register: RegisterChannel = RegisterChannel(watch)
        self.unregister: UnregisterChannel = UnregisterChannel("unregister")
        self.broadcast: BroadcastChannel = BroadcastChannel(watch)
        self.broadcast.choose(True)
        watch.journeys.on_choosing = self.broadcast.choose
        self.messages = 0
        self.batches = 0
        self.deliveries = 0  # one for each message and client
        self.evictions = 0
        self.thread: int | None = None
        self._send_buffer: int | None = None

    def run(self) -> None:
        self.thread = threading.get_ident()
        super().run()

    def new_outbox(self, capacity: int) -> WatchedOutbox:
        return WatchedOutbox(self.watch, self._send_buffer or capacity, self.run_queue)

    def resize_send_channels(self, capacity: int) -> None:
        """Change the capacity of every client's channel `send`, those to come included."""
        self._send_buffer = capacity
        for client in list(self.watch.clients.values()):
            client.send.resize(capacity)

    def stop(self) -> None:
        self.watch.stopping = True
        self.gate.open(for_good=True)
        super().stop()

    def _pass_on(self, messages: Sequence[str]) -> None:
        if self.gate.shut:
            self.gate.wait()  # here the hub holds no mutex
        self.messages += len(messages)
        self.deliveries += len(messages) * len(self.clients)
        self.batches += 1
        coming = self.watch.journeys.coming
        if not coming or not (followed := _followed(messages)):
            Hub._pass_on(self, messages)
            return
        coming.difference_update(message.journey.number for message in followed)
        noted = [client.send for client in list(self.watch.clients.values()) if client.send.noted]
        for channel in noted:
            channel.__class__ = NotingOutbox
        try:
            Hub._pass_on(self, messages)
        finally:
            for channel in noted:
                channel.__class__ = WatchedOutbox

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


class WatchedConnection(Connection):
    """A connection that counts what it sends.

    While `drawn` is set, it records the steps of the followed messages that it sends.
    """

    __slots__ = (
        "_carried",
        "_found",
        "_vain",
        "_watch",
        "departed",
        "drawn",
        "ended",
        "evicted",
        "frames_out",
        "messages_out",
        "name",
        "number",
        "outbound",
        "wait",
    )

    number: int  # its client's; 0 before the client is known
    outbound: WatchedOutbox  # its client's

    def __init__(self, watch: Watch, environ: dict[str, Any], options: Options) -> None:
        super().__init__(environ, options)
        self.number = 0
        self.name = watch.names.pop(self.peer, self.peer)
        self.evicted = False
        self.ended = False  # whether it is decided how the connection ends
        self.departed = False  # whether its threads are done with it
        self.messages_out = 0
        self.frames_out = 0
        self.wait: Wait | None = None  # the latest frame that had to wait for the peer; the writing thread's
        self.drawn = False
        self._watch = watch
        self._found = 0  # how many of the channel's `followed` messages were found in frames
        self._vain = 0  # frames in a row that were searched without finding one
        self._carried: Sequence[Followed] = ()  # the followed messages in the frame that the write pump sends next

    def accept(self) -> None:
        super().accept()
        if self._watch.kernel_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._watch.kernel_buffer)
        if self.number:
            self.note_joined()

    def note_joined(self) -> None:
        """Called once the handshake has been answered and the client is known, whichever comes last."""
        self._watch.note("joined", client=self.number, name=self.name, reason="")

    def end(self, code: int, reason: str | None = None, by_peer: bool = False) -> None:
        super().end(code, reason, by_peer)
        self.ended = True

    def _write_rest(self, rest: memoryview) -> None:
        self.wait = wait = Wait(self._socket)
        try:
            super()._write_rest(rest)
        finally:
            wait.until = time.monotonic()

    def held(self) -> Held | None:
        """What the kernel holds for the peer; None before the handshake has been answered, or if it does not tell."""
        return unacknowledged(self._socket) if self.accepted else None

    def close(self) -> None:
        super().close()
        if self.number in self._watch.clients and not self.evicted:
            kind = "stopped" if self._watch.stopping else "left"
            self._watch.note(kind, client=self.number, name=self.name, reason=self.ending)
        self.departed = True

    def encode(self, lines: Sequence[str]) -> bytes:
        self.messages_out += len(lines)
        self.frames_out += 1
        if self.drawn and self._found != self.outbound.followed:  # not all have been found: they may be in this frame
            self._note_coalesced(lines)
        return Connection.encode(self, lines)

    def _note_coalesced(self, lines: Sequence[str]) -> None:
        self._carried = _followed(lines)
        if not self._carried:
            self._vain += 1
            # A frame takes all that is in the channel. So after two of them the missing messages are not in the channel
            # any more: they were taken while the client was not drawn.
            if self._vain == 2:
                self._found, self._vain = self.outbound.followed, 0
            return
        self._vain = 0
        self._found += len(self._carried)
        for message in self._carried:
            part = message.journey.delivery(self.number, self.name)
            part.coalesced = self._watch.now()
            part.messages = len(lines)
            part.places["coalesced"] = place(f"writePump-{self.number}")
        self.__class__ = CarryingConnection  # for this frame


class CarryingConnection(WatchedConnection):
    """The class of a connection while its write pump has a frame with followed messages."""

    __slots__ = ()

    def send(self, frame: bytes) -> None:
        self.__class__ = WatchedConnection  # type: ignore[assignment]
        self.send(frame)
        for message in self._carried:
            part = message.journey.delivery(self.number, self.name)
            part.written = self._watch.now()
            part.places["written"] = place(f"writePump-{self.number}")


@dataclass(eq=False)
class WatchedClient:
    """The watched parts of one client, and the idents of its threads. The sampler finds the write pump's ident."""

    number: int
    connection: WatchedConnection
    send: WatchedOutbox
    stuck: Channel[None]
    reader: int
    writer: int | None = None

    @property
    def away(self) -> bool:
        """Whether no thread takes messages from its channel `send` at present."""
        return bool(self.stuck._buffer) or self.connection.evicted

    @property
    def waits(self) -> float:
        """For how many seconds a frame has been waiting for the peer; 0.0 if none is."""
        wait = self.connection.wait
        return wait.seconds if wait is not None and wait.until is None else 0.0

    def draw(self, drawn: bool, buffered: bool) -> None:
        """Set whether the client is drawn, and whether at least the hub's sends to it are recorded."""
        self.connection.drawn = drawn
        self.send.noted = drawn or buffered


def _line(function: Callable[..., Any], text: str) -> tuple[str, int]:
    """The file of the function, and the number of its first line that has the text."""
    lines, first = inspect.getsourcelines(function)
    number = next(number for number, line in enumerate(lines, first) if text in line)
    return function.__code__.co_filename[len(PACKAGE) + 1 :], number


# The line of the step "read", which the read pump has left when it sends the message to the hub.
READ_LINE = _line(Client.read_pump, "for message in self.connection")


def _followed(messages: Sequence[str]) -> Sequence[Followed]:
    return [message for message in messages if type(message) is Followed]
