"""Why a client was evicted: what is known of its peer at that moment.

The hub evicts a client when its channel is full and its flag `stuck` is raised. A pump raises the flag when a frame has
waited for the peer for STUCK_AFTER, and once it has ended. The causes:

- stopped: while a frame waited, the peer took nothing any more, for long enough to say so.
- slow: more came than the peer took.
- silent: the peer's kernel does not answer any more.
- ended: no frame waits; there is no write pump (any more).

A learner's hub may also be hasty: see `own_channels`.
"""

from __future__ import annotations

import time
from typing import Any

from threadchat.inspector import kernel

LONG = 2.0  # seconds; that a peer took nothing for a shorter time does not tell that it has stopped
# Seconds; when the hub has found the flag, the frame may have gone out before the hub's thread comes to the eviction.
LATELY = 1.0
NOTHING = 64  # bytes; a kernel may take a few more at the last moment, though nobody reads


class Wait:
    """A frame for which the kernel had no room at once. It waits until the peer takes bytes.

    Made by the thread that writes; the hub and the sampler look at it. Where both do so at once, at most a moment's
    progress is noticed late.
    """

    def __init__(self, connected: object) -> None:
        self.since = time.monotonic()
        self.until: float | None = None  # when the wait was over
        self._connected = connected
        self._taken = kernel.taken(connected)  # what the peer had taken when it was last noticed, and when that was
        self._taken_at = self.since

    @property
    def seconds(self) -> float:
        """How long the frame has waited."""
        return (self.until or time.monotonic()) - self.since

    def look(self) -> None:
        """Notice whether the peer takes bytes."""
        taken = kernel.taken(self._connected)
        if taken is not None and self._taken is not None and taken - self._taken > NOTHING:
            self._taken, self._taken_at = taken, time.monotonic()

    def facts(self) -> dict[str, Any]:
        """What is known at this moment; `quiet` is for how many seconds the peer has taken nothing, None if unknown."""
        self.look()
        quiet = None if self._taken is None else round(time.monotonic() - self._taken_at, 3)
        if kernel.unanswered(self._connected):
            cause = "silent"
        else:
            cause = "stopped" if quiet is not None and quiet >= LONG else "slow"
        return {"cause": cause, "waited": round(self.seconds, 3), "quiet": quiet}


def facts(wait: Wait | None) -> dict[str, Any]:
    """The facts of an eviction, for its event. `wait` is that of the connection's last frame that had to wait."""
    if wait is None or (wait.until is not None and time.monotonic() - wait.until > LATELY):
        return {"cause": "ended", "waited": None, "quiet": None}
    return wait.facts()
