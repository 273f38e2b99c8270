"""A rate limit: how many frames a second one peer may send."""

from __future__ import annotations

import time


class TokenBucket:
    """A bucket that gains `rate` tokens a second and holds at most one second's worth. It is full at first.

    For one thread.
    """

    __slots__ = ("_at", "_rate", "_tokens")

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._tokens = float(rate)  # below 0 while tokens are owed
        self._at = time.monotonic()  # when _tokens was right

    def take(self) -> float:
        """Take one token. Returns the seconds to wait before using it: 0.0 if it is there, else at most 1 / rate.

        The caller must wait that long before it takes the next token.
        """
        now = time.monotonic()
        tokens = self._tokens + (now - self._at) * self._rate
        self._at = now
        self._tokens = tokens = (tokens if tokens < self._rate else self._rate) - 1
        return 0.0 if tokens >= 0 else -tokens / self._rate
