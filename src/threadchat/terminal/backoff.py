"""When to dial again after a connection was lost: soon, but not together with everybody else."""

from __future__ import annotations

import random
import time

HELD = 5.0  # seconds that a connection must last before the waits are short again
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0  # seconds; the longest wait before an attempt, doubled for each that failed


class Backoff:
    """Used by the thread of the select alone. `patience` is for how many seconds to try; None for ever."""

    def __init__(self, patience: float | None) -> None:
        self._patience = patience
        self._failures = 0  # attempts since a connection last held
        self._opened: float | None = None  # when the connection came, by time.monotonic(); None without one
        self._lost: float | None = None  # when the last good one was lost; None while there is one

    def opened(self) -> None:
        """Note that there is a connection."""
        self._opened = time.monotonic()

    def welcomed(self) -> None:
        """Note that the server has said hello."""
        self._lost = None

    def next(self, soon: bool = False) -> float | None:
        """The time of the next attempt, by time.monotonic(); None if the patience is over.

        `soon`: the server has said that one may come back at once, which is no failure.
        Full jitter: clients that have lost the same server must not all come back at the same moment.
        """
        now = time.monotonic()
        if self._opened is not None and now - self._opened >= HELD:
            self._failures = 0
        self._opened = None
        self._lost = now if self._lost is None else self._lost
        if self._patience is not None and now - self._lost > self._patience:
            return None
        longest = FIRST_DELAY if soon else min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(self._failures, 10))
        self._failures += not soon
        return now + random.uniform(0, longest)
