"""How fast one client may talk."""

from __future__ import annotations

import time


class TokenBucket:
    """`rate` tokens a second, of which one second's worth can be saved. For one thread."""

    __slots__ = ("_at", "_rate", "_tokens")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._tokens = float(rate)
        self._at = time.monotonic()

    def take(self) -> float:
        """Take a token. Returns the seconds, at most 1 / rate, after which it is there: wait for them."""
        now = time.monotonic()
        self._tokens = min(self._tokens + (now - self._at) * self._rate, self._rate) - 1
        self._at = now
        return max(0.0, -self._tokens / self._rate)
