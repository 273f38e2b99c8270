"""What a chat has done so far, in totals that never fall, for those who watch it from outside (web/metrics.py).

What lies on a message's way is counted without a lock, once a batch (`Passed`). Everything else is rare, and is counted
with a lock (`Tally.count`).
"""

from __future__ import annotations

import threading
from collections import Counter


class Passed:
    """What was said in one room, and passed on by its hub. Any thread may read it.

    A room that several processes have is passed on by each of them, and what is said in it counts in one.
    """

    __slots__ = ("deliveries", "messages")

    def __init__(self) -> None:
        self.messages = 0  # said in this process, and taken; written by the thread that has the log take them
        self.deliveries = 0  # one for each message and client; the hub's thread's


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
        """How many messages were said here so far, and how many deliveries the hubs have made."""
        with self._mutex:
            hubs = [self._ended, *self._running]
            return sum(hub.messages for hub in hubs), sum(hub.deliveries for hub in hubs)

    def counted(self, event: str) -> dict[str, int]:
        """How many of these events there were so far, by label."""
        with self._mutex:
            return {label: count for (name, label), count in self._events.items() if name == event}
