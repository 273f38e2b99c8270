"""How often one source may do something, where there is no connection that could be slowed down."""

from __future__ import annotations

import threading
import time

MOST_SOURCES = 4_096  # that are remembered; then those with a whole allowance are forgotten


class Allowance:
    """Each source may do something `burst` times at once, and then `rate` times a second. Any thread may call it."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._mutex = threading.Lock()  # guards the next one
        self._left: dict[str, tuple[float, float]] = {}  # by source: what was left, and when (time.monotonic())

    def take(self, source: str) -> float:
        """Count one time. Returns 0.0, or the seconds to wait if nothing is left; then nothing is counted."""
        with self._mutex:
            now = time.monotonic()
            left = self._left_of(source, now)
            if left < 1:
                return (1 - left) / self._rate
            if len(self._left) >= MOST_SOURCES and source not in self._left:
                for each in [each for each in self._left if self._left_of(each, now) >= self._burst]:
                    del self._left[each]
            self._left[source] = left - 1, now
            return 0.0

    def wait(self, source: str) -> float:
        """The seconds to wait before the next time: what `take` would return. Nothing is counted."""
        with self._mutex:
            left = self._left_of(source, time.monotonic())
            return (1 - left) / self._rate if left < 1 else 0.0

    def _left_of(self, source: str, now: float) -> float:
        left, at = self._left.get(source, (float(self._burst), now))
        return min(float(self._burst), left + (now - at) * self._rate)
