"""Waiting until a socket can be read or written: by `select.poll` or, where that is missing, by `select.select`."""

from __future__ import annotations

import select
from typing import Protocol

__all__ = ["HasFileno", "Readiness", "readable", "writable"]


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
