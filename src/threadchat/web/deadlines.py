"""The time limits of plain requests: how long a peer may take to send one, and to take its answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from threadchat.websocket.ready import readable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

LEAST_WAIT = 1.0  # seconds that a request has to be read in, however many other connections want its place
DEADLINE = "threadchat.deadline"  # the key of a request's Deadline in its WSGI environ
LOOK_AGAIN = 0.1  # seconds until the next look at a request that the server itself has not read yet


class Deadline(NamedTuple):
    """The deadline for the answer to one request, for an application that lets the peer wait or sends for long."""

    suspend: Callable[[], object]
    begin_anew: Callable[[], object]


def deadline_of(environ: WSGIEnvironment) -> Deadline:
    """The deadline of the request that has this environ. Other servers than threadchat's have none."""
    deadline: Deadline = environ.get(DEADLINE, Deadline(_nothing, _nothing))
    return deadline


class PendingRequests:
    """The connections whose request has not been answered yet.

    A peer has `wait` seconds to send its request and as many to take the answer, whatever it sends meanwhile. At most
    `most_unread` connections wait to be read. A connection that goes over a limit is shut down, which ends the thread
    that serves it; closing the socket remains that thread's part. Any thread may call any method.
    """

    def __init__(self, wait: float, most_unread: int) -> None:
        self._wait = wait
        self._most_unread = most_unread
        self._changed = threading.Condition()  # guards the next two
        # Each of the two is in the order of its times, so the first entry is the oldest.
        self._unread: dict[socket.socket, float] = {}  # the time at which each was accepted
        self._deadlines: dict[socket.socket, float] = {}

    def add(self, connection: socket.socket) -> None:
        """Track a connection that was just accepted. If there are too many, the one unread for longest is shut down.

        Blocks until that one has had LEAST_WAIT, since it may be the server that was too busy to read its request; and
        for longer if it is: what the peer has sent then still lies there. Meanwhile others wait in the listen queue.
        """
        with self._changed:
            while len(self._unread) >= self._most_unread:
                oldest, accepted = next(iter(self._unread.items()))
                patience = accepted + LEAST_WAIT - time.monotonic()
                if patience > 0:
                    self._changed.wait(patience)
                elif _has_come(oldest):
                    self._changed.wait(LOOK_AGAIN)
                else:
                    del self._unread[oldest]
                    _shut_down(oldest)
            now = time.monotonic()
            self._unread[connection] = now
            self._deadlines[connection] = now + self._wait

    def was_read(self, connection: socket.socket) -> None:
        """The connection's request has been read: the time for its answer begins."""
        self.forget(connection)
        with self._changed:
            self._deadlines[connection] = time.monotonic() + self._wait

    def forget(self, connection: socket.socket) -> None:
        """The connection has no limit any more: it has ended, or it is the server that takes its time."""
        with self._changed:
            self._deadlines.pop(connection, None)
            if self._unread.pop(connection, None) is not None:
                self._changed.notify()

    def drop_overdue(self) -> None:
        """Shut down the connections whose deadline has passed.

        WebSockets are spared: a connection whose socket does not block (its time-out is 0) has become one.
        """
        with self._changed:
            now = time.monotonic()
            while self._deadlines:
                connection, deadline = next(iter(self._deadlines.items()))
                if deadline > now:
                    return
                del self._deadlines[connection]
                if connection.gettimeout() != 0:
                    _shut_down(connection)

    def drop_unread(self) -> None:
        """Shut down the connections whose request has not been read: the server is stopping."""
        with self._changed:
            for connection in self._unread:
                _shut_down(connection)


def _nothing() -> None: ...


def _has_come(connection: socket.socket) -> bool:
    """Whether something of the request lies there that the server has not read."""
    try:
        return readable(connection).wait(0)
    except (OSError, ValueError):  # it was closed, and is about to be forgotten
        return True


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
