"""Messages that are followed: when each got where, from the read pump to the kernel's buffers of its receivers.

A followed message is a `Followed`, a str that bears its Journey. It takes the plain one's place as the read pump sends
it to the hub, and comes by each watched part, which knows it by its type. All others are plain str and cost that one
test; the hub spares itself even that while no followed one is coming.

Any thread may note a step. Each field has one writer, and nothing here locks.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from os.path import dirname
from types import FrameType
from typing import Any

KEPT = 60.0  # seconds that a journey can be looked at
MOST_KEPT = 1_000  # journeys
A_SECOND = 5  # messages that are followed, besides the inspector's own
MOST_ANNOUNCED = 256  # messages whose time of typing is known, and that have not been read yet

OWN = dirname(__file__)
PACKAGE = dirname(OWN)

Place = tuple[str, str, int]  # thread, file, line


@dataclass
class Delivery:
    """One client's part of a journey, in seconds of the watch's clock."""

    name: str
    buffered: float | None = None
    coalesced: float | None = None
    messages: int = 0  # in its frame
    written: float | None = None
    evicted: bool = False
    places: dict[str, Place] = field(default_factory=dict)


class Journey:
    """The way of one message through the server."""

    def __init__(self, number: int, text: str, client: int) -> None:
        self.number = number
        self.text = text
        self.client = client
        self.typed: float | None = None
        self.read = 0.0
        self.broadcast: float | None = None
        self.places: dict[str, Place] = {}
        self.deliveries: dict[int, Delivery] = {}

    def delivery(self, client: int, name: str) -> Delivery:
        """The client's part. The hub and the client's write pump may ask for it in the same instant."""
        return self.deliveries.setdefault(client, Delivery(name))

    def as_json(self) -> dict[str, Any]:
        """As the page takes it.

        A step that one thread makes and another follows up may be noted by the second first, for want of a turn: the
        earlier of the two times is the right one.
        """
        deliveries: list[dict[str, Any]] = []
        for client, part in sorted(self.deliveries.items()):
            coalesced = _earliest(part.coalesced, part.written)
            deliveries.append(
                {
                    "client": client,
                    "name": part.name,
                    "buffered": _earliest(part.buffered, coalesced),
                    "coalesced": coalesced,
                    "with": part.messages,
                    "written": _earliest(part.written),
                    "evicted": part.evicted,
                }
            )
        steps = []

        def step(name: str, time: float | None, place: Place | None) -> None:
            if time is not None:
                thread, file, line = place or (f"readPump-{self.client}", "", 0)
                steps.append({"step": name, "t": round(time, 6), "thread": thread, "file": file, "line": line})

        step("typed", self.typed, ("", "", 0))
        step("read", self.read, self.places.get("read"))
        buffered = [(part["buffered"], part["client"]) for part in deliveries if part["buffered"] is not None]
        first = min(buffered)[0] if buffered else None
        step("broadcast", _earliest(self.broadcast, first), self.places.get("broadcast"))
        if buffered:
            last, client = max(buffered)
            step("buffered", last, self.deliveries[client].places.get("buffered"))
        for name in ("coalesced", "written"):
            done = [(part[name], part["client"]) for part in deliveries if part[name] is not None]
            if done:
                first, client = min(done)
                step(name, first, self.deliveries[client].places.get(name))
        return {
            "id": self.number,
            "text": self.text,
            "client": self.client,
            "steps": steps,
            "deliveries": deliveries,
        }


class Followed(str):
    """A message that is followed."""

    journey: Journey

    @classmethod
    def on(cls, journey: Journey, text: str) -> Followed:
        message = cls(text)
        message.journey = journey
        return message


class Journeys:
    """All journeys of the last minute, and the choice of who is followed. `now` is the watch's clock.

    `on_choosing` is told True when the next message may be followed, and False when none would be: then nobody need
    ask. It may be told so more than once.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.on_choosing: Callable[[bool], None] = lambda choosing: None
        self._numbers = itertools.count(1)
        self._journeys: dict[int, Journey] = {}
        self._tokens: deque[None] = deque([None] * A_SECOND, A_SECOND)  # who takes one may follow a message
        self.coming: set[int] = set()  # those that the hub has not met yet: while there are none, it need not look
        self._announced: dict[tuple[str, str], tuple[float | None, bool]] = {}

    def announce(self, peer: str, text: str, typed: float | None, follow: bool) -> None:
        """Tell when a message was typed, before the peer sends it, and whether it is followed in any case.

        `text` is what the read pump sends to the hub.
        """
        while len(self._announced) >= MOST_ANNOUNCED:
            self._announced.pop(next(iter(self._announced)), None)
        self._announced[peer, text] = (typed, follow)
        self.on_choosing(True)

    def begin(self, peer: str, client: int, text: str) -> Journey | None:
        """For a read pump that has a message: its journey, if it is to be followed."""
        typed, follow = self._announced.pop((peer, text), (None, False))
        if not follow:
            try:
                self._tokens.pop()
            except IndexError:
                self._decide()
                return None
        journey = Journey(next(self._numbers), text, client)
        journey.typed = typed
        journey.read = self._now()
        self._decide()
        self._journeys[journey.number] = journey
        self.coming.add(journey.number)
        return journey

    def refill(self) -> None:
        """Let one more message be followed; called A_SECOND times a second."""
        self._tokens.append(None)
        self.on_choosing(True)

    def _decide(self) -> None:
        """In this order, so that what is announced or refilled meanwhile is not overlooked."""
        self.on_choosing(False)
        if self._tokens or self._announced:
            self.on_choosing(True)

    def forget_old(self) -> None:
        """Drop the journeys of more than a minute ago, and those above the limit."""
        oldest = self._now() - KEPT
        journeys = list(self._journeys.values())
        for place, journey in enumerate(journeys):
            if journey.read >= oldest and len(journeys) - place <= MOST_KEPT:
                return
            del self._journeys[journey.number]
            self.coming.discard(journey.number)

    def get(self, number: int) -> Journey | None:
        """The journey of that number, if it is not too old."""
        return self._journeys.get(number)

    def all(self) -> list[Journey]:
        """The journeys of the last minute, oldest first."""
        return list(self._journeys.values())

    def evicted(self, client: int) -> None:
        """What was not written to this client never will be."""
        for journey in self.all():
            part = journey.deliveries.get(client)
            if part is not None and part.written is None:
                part.evicted = True


def place(thread: str) -> Place:
    """The line of the core that the calling thread is at."""
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code.co_filename.startswith(OWN):
        frame = frame.f_back
    assert frame
    return thread, frame.f_code.co_filename[len(PACKAGE) + 1 :], frame.f_lineno


def _earliest(*times: float | None) -> float | None:
    return min((round(time, 6) for time in times if time is not None), default=None)
