"""Admission: how many clients the server takes, in all and from each address, and their numbers."""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

RETRY_AFTER = 10  # seconds; the Retry-After header of every 503 for lack of room (RFC 9110, section 10.2.3)


class Full(Exception):
    """There is no room for another client. `str()` says which limit was reached."""


class FullForAddress(Full):
    """There is no room for another client from this address."""


class Admission:
    """Counts the clients: at most `most` in all, and at most `most_per_address` from one address.

    A client is counted from its handshake to its end, whether or not the hub still knows it. Any thread may call any
    method. `elsewhere` says how many connections other processes of the chat have, which count as well.
    """

    def __init__(self, most: int, most_per_address: int) -> None:
        self.elsewhere: Callable[[], int] = lambda: 0
        self._most = most
        self._most_per_address = most_per_address
        self._changed = threading.Condition()  # guards the next three
        self._admitted = 0  # since the start: the last client's number
        self._clients = 0  # at present
        self._from: Counter[str] = Counter()  # clients by source; a source without clients has no entry

    @contextmanager
    def admit(self, address: str) -> Iterator[int]:
        """Count a client from `address` (WSGI's REMOTE_ADDR) for as long as the `with` block runs. Raises Full.

        Gives the client its number: 1 for the first one, 2 for the next.
        """
        source = source_of(address)
        with self._changed:
            if self._clients + self.elsewhere() >= self._most:
                raise Full("the server is full")
            if source and self._from[source] >= self._most_per_address:
                raise FullForAddress("there are too many clients from this address")
            self._admitted += 1
            number = self._admitted
            self._clients += 1
            self._from[source] += 1
        try:
            yield number
        finally:
            with self._changed:
                self._clients -= 1
                self._from[source] -= 1
                if not self._from[source]:
                    del self._from[source]
                self._changed.notify_all()

    def wait_until_empty(self) -> None:
        """Block until there are no clients."""
        with self._changed:
            self._changed.wait_for(lambda: self._clients == 0)


def source_of(address: str) -> str:
    """What is counted as one source: an IPv4 address, or the /64 network of an IPv6 address.

    A /64 is what one customer is given (RFC 6177). Loopback addresses and Unix sockets have no limit of their own (""):
    their clients may all come through one reverse proxy on this machine.
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
