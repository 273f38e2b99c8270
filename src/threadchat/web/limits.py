"""What one peer may take from the server, and what all of them may: how many come in, how soon, how fast they talk.

Nobody is counted twice: a connection is a request until it is read and answered, then, if it asked for that, a client.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

RETRY_AFTER = 10  # seconds after which one who was refused may try again; RFC 9110, section 10.2.3
LEAST_WAIT = 1.0  # seconds that a request has to be read, however many others want its place
QUIET = 60.0  # seconds for which a complaint is not repeated


class Full(Exception):
    """There is no room for one more client; str() says why."""


class Admission:
    """Counts the clients, in all and from each address. Any thread may call it."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._changed = threading.Condition()  # guards the next two
        self._clients = 0
        self._from: Counter[str] = Counter()

    @contextmanager
    def admit(self, address: str) -> Iterator[None]:
        """Count a client from this address (REMOTE_ADDR) while it is served. Raises Full."""
        source = _source(address)
        with self._changed:
            if self._clients >= self._most:
                raise Full("the server is full")
            if source and self._from[source] >= self._most_per_address:
                raise Full("there are too many clients from this address")
            self._clients += 1
            self._from[source] += 1
        try:
            yield
        finally:
            with self._changed:
                self._clients -= 1
                self._from[source] -= 1
                if not self._from[source]:
                    del self._from[source]
                self._changed.notify_all()

    def wait_until_empty(self) -> None:
        """Return when all clients have gone."""
        with self._changed:
            self._changed.wait_for(lambda: self._clients == 0)


class Requests:
    """The connections that are requests so far: unread at first, then not answered yet. Any thread may call it.

    A request has `wait` seconds to be sent and as many to be answered, whatever the peer does meanwhile. At most
    `most_unread` wait to be read. A connection that fails is shut down, which ends the thread that serves it.
    """

    def __init__(self, wait: float, most_unread: int) -> None:
        self._wait = wait
        self._most_unread = most_unread
        self._changed = threading.Condition()  # guards the next two, whose first entry is always the oldest
        self._unread: dict[socket.socket, float] = {}  # when each came
        self._deadlines: dict[socket.socket, float] = {}

    def add(self, connection: socket.socket) -> None:
        """One has come. If there is no place it gets that of the one that has been unread for longest.

        Blocks as long as that one has not had LEAST_WAIT: it may be the server that was too busy to read.
        """
        with self._changed:
            while len(self._unread) >= self._most_unread:
                oldest, came = next(iter(self._unread.items()))
                patience = came + LEAST_WAIT - time.monotonic()
                if patience > 0:
                    self._changed.wait(patience)
                else:
                    del self._unread[oldest]
                    _shut_down(oldest)
            now = time.monotonic()
            self._unread[connection] = now
            self._deadlines[connection] = now + self._wait

    def was_read(self, connection: socket.socket) -> None:
        """Its request has been read whole."""
        self.forget(connection)
        with self._changed:
            self._deadlines[connection] = time.monotonic() + self._wait

    def forget(self, connection: socket.socket) -> None:
        """It has ended."""
        with self._changed:
            self._deadlines.pop(connection, None)
            if self._unread.pop(connection, None) is not None:
                self._changed.notify()

    def drop_overdue(self) -> None:
        """End those whose time is over, but not the WebSockets: a socket that does not block has become one."""
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
        """End those whose request nobody will answer any more."""
        with self._changed:
            for connection in self._unread:
                _shut_down(connection)


class Complaints:
    """Log lines about what may happen a thousand times a second: each is written once, then once a minute at most.

    Any thread may call it.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._mutex = threading.Lock()  # guards the next two
        self._quiet_until: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()

    def say(self, text: str, *details: object) -> None:
        """Write the text, with the details where it has a %s, unless it was written a short while ago."""
        with self._mutex:
            now = time.monotonic()
            if now < self._quiet_until.get(text, now):
                self._unsaid[text] += 1
                return
            self._quiet_until[text] = now + QUIET
            unsaid = self._unsaid.pop(text, 0)
        if unsaid:
            self._log.error(f"{text} (and %d times before)", *details, unsaid)
        else:
            self._log.error(text, *details)


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _source(address: str) -> str:
    """Whom an address stands for; nobody ("") where it is this machine: a reverse proxy runs there, or a test.

    An IPv6 address stands for its network of 64 bits, since that is what one customer is given (RFC 6177).
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return ""  # a Unix socket
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if ip.is_loopback:
        return ""
    if ip.version == 6:
        return str(ipaddress.ip_network((int(ip), 64), strict=False))
    return str(ip)
