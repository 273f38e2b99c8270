"""Followed messages: the time of each step, from the read pump to the kernel's send buffers of the receivers.

A followed message is still the same entry, as a room may wait for that very object; its class is `Followed` from the
moment when the read pump sends it on. Each watched part on the way recognizes it by its type. For a message that is not
followed, the whole cost is that test of the type. While no followed message is on its way to the hub, the hub does not
even test.

Any thread may record a step. Each field has one writer, so nothing here needs a lock.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from os.path import dirname
from types import FrameType
from typing import Any
from weakref import WeakValueDictionary

from threadchat.messages import Entry

KEPT = 60.0  # seconds that a journey is kept
MOST_KEPT = 1_000  # journeys
A_SECOND = 5  # messages that are followed in a second, besides those that the inspector sends itself
MOST_ANNOUNCED = 256  # messages that were announced and have not been read yet

OWN = dirname(__file__)
PACKAGE = dirname(OWN)

Place = tuple[str, str, int]  # thread, file, line


# The steps of a message until the hub puts it into the send channels, in their order. The second is that of a room in
# memory; the others are those of a room with a store, the last one where several processes share it.
WAY = ("read", "broadcast", "said", "grouped", "stored", "returned")


@dataclass
class Delivery:
    """One client's part of a journey. Times are in seconds, by the watch's clock; None: has not happened."""

    name: str
    buffered: float | None = None
    coalesced: float | None = None
    messages: int = 0  # in the frame that carried the message
    written: float | None = None
    evicted: bool = False
    places: dict[str, Place] = field(default_factory=dict)

    def as_json(self, client: int) -> dict[str, Any]:
        """The part of the client of this number, in the form that the page reads."""
        coalesced = _earliest(self.coalesced, self.written)
        return {
            "client": client,
            "name": self.name,
            "buffered": _earliest(self.buffered, coalesced),
            "coalesced": coalesced,
            "with": self.messages,
            "written": _earliest(self.written),
            "evicted": self.evicted,
        }


class Journey:
    """The way of one message through the server. `times` and `places` are those of the steps in WAY."""

    def __init__(self, number: int, text: str, client: int, hub_thread: str) -> None:
        self.hub_thread = hub_thread
        self.number = number
        self.text = text
        self.client = client
        self.typed: float | None = None
        self.entry: Followed | None = None  # kept, since its identity is what leads here
        self.group = 0  # entries that the log writer took together with the message, itself included
        self.times: dict[str, float] = {}
        self.places: dict[str, Place] = {}
        self.deliveries: dict[int, Delivery] = {}

    @property
    def read(self) -> float:
        """When the read pump had the message."""
        return self.times["read"]

    def step(self, name: str, time: float, place: Place) -> None:
        """Record a step of WAY, which the calling thread has made."""
        self.places[name] = place
        self.times[name] = time

    def delivery(self, client: int, name: str) -> Delivery:
        """The client's part; made when first asked for.

        The hub and the client's write pump may call this at the same instant and get the same Delivery.
        """
        return self.deliveries.setdefault(client, Delivery(name))

    def as_json(self) -> dict[str, Any]:
        """The journey in the form that the page reads.

        A thread records a step after it has made the step, and may lose the processor in between. The next thread's
        step may then have an earlier time. So the time of a step is the earlier of its own and the next step's.
        """
        deliveries = [part.as_json(client) for client, part in sorted(self.deliveries.items())]
        return {
            "id": self.number,
            "text": self.text,
            "client": self.client,
            "group": self.group,
            "steps": [_step(*step) for step in (*self._before_the_hub(deliveries), *self._from_the_hub_on(deliveries))],
            "deliveries": deliveries,
        }

    def _before_the_hub(self, deliveries: Sequence[dict[str, Any]]) -> list[tuple[str, float, Place]]:
        """The steps until the message is in the first send channel."""
        steps: list[tuple[str, float, Place]] = []
        following = _earliest(*(part["buffered"] for part in deliveries))
        for name in reversed(WAY):
            if name in self.times:
                following = time = min(self.times[name], self.times[name] if following is None else following)
                steps.append((name, time, self.places.get(name, (f"readPump-{self.client}", "", 0))))
        if self.typed is not None:
            steps.append(("typed", self.typed, ("", "", 0)))
        return steps[::-1]

    def _from_the_hub_on(self, deliveries: Sequence[dict[str, Any]]) -> Iterator[tuple[str, float, Place]]:
        """The last one to be served by the hub, and the first one to have the message in a frame, and at the kernel."""
        for name, which in (("buffered", max), ("coalesced", min), ("written", min)):
            done = [(part[name], part["client"]) for part in deliveries if part[name] is not None]
            if done:
                time, client = which(done)
                yield name, time, self.deliveries[client].places.get(name, (self.hub_thread, "", 0))


def _step(name: str, time: float, place: Place) -> dict[str, Any]:
    thread, file, line = place
    return {"step": name, "t": round(time, 6), "thread": thread, "file": file, "line": line}


class Followed(Entry):
    """The class of an entry of the room whose message is followed."""

    __slots__ = ()

    @classmethod
    def on(cls, journey: Journey, entry: Entry) -> Followed:
        """The same entry, which the log has not taken yet, on that journey from now on."""
        entry.__class__ = cls
        assert isinstance(entry, cls)
        journey.entry = entry
        _journeys[id(entry)] = journey
        return entry


# The journey of each followed entry, by the entry's id(). A journey that is not kept any more is not found here.
_journeys: WeakValueDictionary[int, Journey] = WeakValueDictionary()


def followed(messages: Iterable[object]) -> list[Journey]:
    """The journeys of those of the messages that are followed."""
    return [journey for message in messages if type(message) is Followed and (journey := _journeys.get(id(message)))]


class Journeys:
    """All journeys of the last minute, and the choice of the messages that are followed. `now` is the watch's clock.

    Their numbers are the next of `numbers`. `on_choosing` is called with True when the next message may be followed,
    and with False when no message would be: until the next True, `begin` need not be called. It may be called twice in
    a row with the same value.
    """

    def __init__(self, now: Callable[[], float], numbers: Iterator[int] | None = None) -> None:
        self.hub_thread = "hub"  # the name of the thread through which the messages come
        self._now = now
        self.on_choosing: Callable[[bool], None] = lambda choosing: None
        self._numbers = numbers or itertools.count(1)
        self._journeys: dict[int, Journey] = {}
        # A read pump that takes a token may follow a message.
        self._tokens: deque[None] = deque([None] * A_SECOND, A_SECOND)
        # The numbers of the journeys that have not reached the hub. While this is empty, the hub need not look for any.
        self.coming: set[int] = set()
        # By peer and text: when the message was typed, and whether it is followed in any case.
        self._announced: dict[tuple[str, str], tuple[float | None, bool]] = {}

    def announce(self, peer: str, text: str, typed: float | None, follow: bool) -> None:
        """Announce a message before `peer` sends it: when it was `typed`, and whether to `follow` it in any case.

        `text` is the message as the read pump sends it to the hub.
        """
        while len(self._announced) >= MOST_ANNOUNCED:
            self._announced.pop(next(iter(self._announced)), None)
        self._announced[peer, text] = (typed, follow)
        self.on_choosing(True)

    def begin(self, peer: str, client: int, text: str) -> Journey | None:
        """Begin the journey of a message that a read pump has read. Returns None if the message is not followed."""
        typed, follow = self._announced.pop((peer, text), (None, False))
        if not follow:
            try:
                self._tokens.pop()
            except IndexError:
                self._decide()
                return None
        journey = Journey(next(self._numbers), text, client, self.hub_thread)
        journey.typed = typed
        journey.times["read"] = self._now()
        self._decide()
        self._journeys[journey.number] = journey
        self.coming.add(journey.number)
        return journey

    def refill(self) -> None:
        """Allow one more message to be followed. The sampler calls this A_SECOND times a second."""
        self._tokens.append(None)
        self.on_choosing(True)

    def rest(self) -> None:
        """Follow no more messages, but those that are announced: nobody looks."""
        self._tokens.clear()
        self._decide()

    def wake(self) -> None:
        """Follow as many messages as in the beginning."""
        for _ in range(A_SECOND):
            self.refill()

    def _decide(self) -> None:
        """Tell `on_choosing` whether the next message may be followed."""
        self.on_choosing(False)  # first: a token or an announcement that comes from now on says True after it
        if self._tokens or self._announced:
            self.on_choosing(True)

    def forget_old(self) -> None:
        """Drop the journeys that are older than KEPT, and the oldest of more than MOST_KEPT."""
        oldest = self._now() - KEPT
        journeys = list(self._journeys.values())
        for place, journey in enumerate(journeys):
            if journey.read >= oldest and len(journeys) - place <= MOST_KEPT:
                return
            del self._journeys[journey.number]
            self.coming.discard(journey.number)

    def get(self, number: int) -> Journey | None:
        """The journey of that number, or None if it has been dropped."""
        return self._journeys.get(number)

    def all(self) -> list[Journey]:
        """The journeys of the last minute, oldest first."""
        return list(self._journeys.values())

    def evicted(self, client: int) -> None:
        """The client was evicted: mark its part in the journeys whose messages were not written to it."""
        for journey in self.all():
            part = journey.deliveries.get(client)
            if part is not None and part.written is None:
                part.evicted = True


def place(thread: str) -> Place:
    """Where the calling thread is in the core: its innermost line outside the inspector. `thread` is its name."""
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code.co_filename.startswith(OWN):
        frame = frame.f_back
    assert frame
    return thread, frame.f_code.co_filename[len(PACKAGE) + 1 :], frame.f_lineno


def _earliest(*times: float | None) -> float | None:
    return min((round(time, 6) for time in times if time is not None), default=None)
