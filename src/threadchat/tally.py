"""What a chat has done so far, in totals that never fall, for those who watch it from outside (web/metrics.py).

What lies on a message's way is counted without a lock, once a batch, by the thread of the room's hub alone (`Passed`).
Everything else is rare, and is counted with a lock (`Tally.count`).
"""

from __future__ import annotations

import threading
from collections import Counter


class Passed:
    """What one hub has passed on. Only the hub's thread writes it; any thread may read it."""

    __slots__ = ("deliveries", "messages")

    def __init__(self) -> None:
        self.messages = 0
        self.deliveries = 0  # one for each message and client

    def count(self, messages: int, clients: int) -> None:
        """Count messages that are passed on to so many clients."""
        self.messages += messages
        self.deliveries += messages * clients


class Tally:
    """The totals of one chat. Any thread may call the methods."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()  # guards the rest
        self._running: set[Passed] = set()  # of the hubs that run
        self._ended = Passed()  # of all that have ended
        self._events: Counter[tuple[str, str]] = Counter()

    def begin(self, passed: Passed) -> None:
        """Count what a hub passes on from now on."""
        with self._mutex:
            self._running.add(passed)

    def end(self, passed: Passed) -> None:
        """Keep what a hub has passed on in the totals: the hub has ended, and passes nothing on any more."""
        with self._mutex:
            self._running.discard(passed)
            self._ended.messages += passed.messages
            self._ended.deliveries += passed.deliveries

    def count(self, event: str, label: str = "") -> None:
        """Count one of these events more. `label` parts them, and is one of a few words."""
        with self._mutex:
            self._events[event, label] += 1

    def passed(self) -> tuple[int, int]:
        """How many messages were passed on so far, and how many deliveries that made."""
        with self._mutex:
            hubs = [self._ended, *self._running]
            return sum(hub.messages for hub in hubs), sum(hub.deliveries for hub in hubs)

    def counted(self, event: str) -> dict[str, int]:
        """How many of these events there were so far, by label."""
        with self._mutex:
            return {label: count for (name, label), count in self._events.items() if name == event}
