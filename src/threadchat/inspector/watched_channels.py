"""The watched channels: they have names, tell how full they are, and note the messages that are followed.

While no message is followed they run the core's code, but for little: see `watch`.
"""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from threadchat.channel import Channel
from threadchat.client import Client
from threadchat.hub import BROADCAST_BUFFER
from threadchat.inspector.journey import PACKAGE, Followed, Journey, followed, place
from threadchat.inspector.notes import Watch
from threadchat.messages import MESSAGE, Entry
from threadchat.outbox import Outbox
from threadchat.runtime.runqueue import RunQueue

T = TypeVar("T")

TEXT = 80  # characters of a message that are part of its event


class Watchable:
    """What the sampler reads of a channel, without taking the channel's mutex."""

    __slots__ = ()

    name: str
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
        journey = begun(self._watch, message)
        Channel.send(self, message)  # not super(): by now another thread may have made it a plain one again
        if journey is not None:
            journey.step("broadcast", self._watch.now(), place(threading.current_thread().name))


def begun(watch: Watch, said: object) -> Journey | None:
    """The journey of what the calling thread is about to send, if that is a read pump with a message to be followed.

    The message is followed from now on.
    """
    pump = threading.current_thread().name
    number = int(pump.rpartition("-")[2]) if pump.startswith("readPump-") else 0
    peer = watch.shared.present.get(number)
    if peer is None or not isinstance(said, Entry) or said.kind != MESSAGE:
        return None
    journey = watch.journeys.begin(peer, number, said)
    if journey is not None:
        watch.note("message", id=journey.number, client=number, text=said[:TEXT])
        journey.places["read"] = pump, *READ_LINE
        Followed.on(journey, said)
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
        self._client: Callable[[], tuple[int, str]] = lambda: (0, "")  # its number and its name at that moment

    def belongs_to(self, number: int, called: Callable[[], str]) -> None:
        """Set the client's number, and what tells its name. Called once, before the client is registered."""
        self.name = f"send-{number}"
        self._client = lambda: (number, called())

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
        coming = followed(items)
        self.followed += len(coming)
        rest = super().send_what_fits(items)
        self._note_buffered(coming[: len(coming) - len(followed(rest))])
        return rest

    def _note_buffered(self, journeys: Sequence[Journey]) -> None:
        for journey in journeys:
            part = journey.delivery(*self._client())
            part.buffered = self._watch.now()
            part.places["buffered"] = place(threading.current_thread().name)


def _line(function: Callable[..., Any], text: str) -> tuple[str, int]:
    """The file of the function, and the number of its first line that has the text."""
    lines, first = inspect.getsourcelines(function)
    number = next(number for number, line in enumerate(lines, first) if text in line)
    return function.__code__.co_filename[len(PACKAGE) + 1 :], number


# The line of the step "read", which the read pump has left when it sends the message to the hub.
READ_LINE = _line(Client.read_pump, "for message in self.connection")
