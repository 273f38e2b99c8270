"""A look at every client of a room: which of them are drawn one by one, and the counts of what all of them do.

At most DRAWN clients, and those that viewers have pinned, are drawn; the others are only counted by what they do.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from threadchat.inspector.states import State, state_of_pump
from threadchat.inspector.watched_connection import WatchedClient

DRAWN = 24  # clients that are drawn, besides those that a viewer has pinned
BINS = 16  # in the histogram of how full the send channels are
STAYS = 3.0  # seconds that a client keeps its interest after its cause has gone, so that the drawing does not flicker
STUCK, FULL, TALKS, QUIET = 3, 2, 1, 0  # how interesting a client is


@dataclass
class Figures:
    """What the sampler remembers of a client, or of a thread of the server's own, from one picture to the next."""

    # For each role: the thread's state, a counter that grows as the thread works, and since when both are the same.
    threads: dict[str, tuple[State, int, float]] = field(default_factory=dict)
    messages_in: int = 0
    interest: int = QUIET
    interest_until: float = 0.0

    def look(self, t: float, client: WatchedClient) -> None:
        """See how interesting the client is now. It stays so for a while."""
        received = client.connection.received
        interest = QUIET
        if client.connection.blocked or client.away or client.connection.ended:
            interest = STUCK
            if client.connection.wait:
                client.connection.wait.look()
        elif client.send.fill * 2 >= client.send.capacity:
            interest = FULL
        elif received != self.messages_in:
            interest = TALKS
        self.messages_in = received
        if interest >= self.interest or t > self.interest_until:
            self.interest, self.interest_until = interest, t + STAYS


class Survey:
    """What is known of the clients of a room from one look to the next. Only the sampler's thread uses it."""

    def __init__(self) -> None:
        self.figures: dict[int, Figures] = {}  # by the client's number, of those that were there at the last look
        self._drawn: set[int] = set()

    def look(
        self, t: float, clients: list[WatchedClient], frames: Mapping[int, FrameType], pinned: set[int]
    ) -> tuple[list[WatchedClient], dict[str, Any]]:
        """Look at every client. Returns the clients to draw, and the counts of what all of them do, for JSON."""
        self.figures = {client.number: self.figures.get(client.number) or Figures() for client in clients}
        fill = [0] * BINS
        reading: Counter[str] = Counter()
        writing: Counter[str] = Counter()
        for client in clients:
            reading[state_of_pump(frames.get(client.reader), client)[0]] += 1
            writing[state_of_pump(frames.get(client.writer or 0), client)[0]] += 1
            fill[min(BINS - 1, client.send.fill * BINS // client.send.capacity)] += 1
            self.figures[client.number].look(t, client)
        self._drawn = self._most_interesting() | pinned
        drawn = [client for client in clients if client.number in self._drawn]
        undrawn = len(clients) - len(drawn)
        return drawn, {"count": undrawn, "fill": fill, "reading": dict(reading), "writing": dict(writing)}

    def _most_interesting(self) -> set[int]:
        """The numbers of DRAWN clients. Of those that are as interesting, the ones that are drawn already stay."""
        ranked = ((-each.interest, number not in self._drawn, number) for number, each in self.figures.items())
        return {number for _, _, number in heapq.nsmallest(DRAWN, ranked)}
