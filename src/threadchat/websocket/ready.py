"""Waiting until a socket can be read or written: by `select.poll` or, where that is missing, by `select.select`.

A process may be asleep for a while: stopped (Ctrl-Z), frozen (docker pause), or with its whole machine. Clocks go on
meanwhile, so a deadline that passes then says nothing about the peer.
"""

from __future__ import annotations

import select
import time
from typing import Protocol

__all__ = ["OVERSLEPT", "HasFileno", "Readiness", "readable", "wait_until", "writable"]

OVERSLEPT = 1.0  # seconds: a thread that wakes so much too late was asleep together with its process


class HasFileno(Protocol):
    """A socket, or what has one inside."""

    def fileno(self) -> int: ...


class Readiness(Protocol):
    """Waits for one socket and one direction. For one thread at a time."""

    def wait(self, seconds: float) -> bool:
        """Wait until the socket is ready, or has failed; False if it is not after so many seconds.

        Without time left (0 or less), the answer comes at once.
        """


def readable(socket: HasFileno) -> Readiness:
    """Waits until there is something to read from the socket, the end of the stream included."""
    # Windows has no poll.
    return _Polled(socket, select.POLLIN) if hasattr(select, "poll") else _Selected(socket, writing=False)


def writable(socket: HasFileno) -> Readiness:
    """Waits until the kernel takes bytes for the socket."""
    return _Polled(socket, select.POLLOUT) if hasattr(select, "poll") else _Selected(socket, writing=True)


def wait_until(readiness: Readiness, deadline: float) -> bool:
    """Wait until the socket is ready; False when the deadline (of time.monotonic) has passed.

    The socket is asked even if the deadline has passed already. If the process overslept it, the wait goes on for a
    moment: the network may have been asleep too.
    """
    left = deadline - time.monotonic()
    if readiness.wait(left):
        return True
    return left > 0 and time.monotonic() >= deadline + OVERSLEPT and readiness.wait(OVERSLEPT)


class _Polled:
    __slots__ = ("_poll",)

    def __init__(self, socket: HasFileno, event: int) -> None:
        self._poll = select.poll()
        self._poll.register(socket, event)

    def wait(self, seconds: float) -> bool:
        return bool(self._poll.poll(seconds * 1000 if seconds > 0 else 0))


class _Selected:
    __slots__ = ("_reading", "_writing")

    def __init__(self, socket: HasFileno, *, writing: bool) -> None:
        self._reading = [] if writing else [socket.fileno()]
        self._writing = [socket.fileno()] if writing else []

    def wait(self, seconds: float) -> bool:
        return any(select.select(self._reading, self._writing, [], max(seconds, 0)))
