"""Which hosts the server answers to: the guard against DNS rebinding.

A page on the internet may point its own name, evil.example, at this server from one moment to the next. To the browser
page and server are then one origin, and the Origin check passes. Only the Host header still has that name. So a host is
safe if no stranger can point it here: an IP address, a name that only the local network resolves, the machine's own
name, and what the operator allows.

A pattern for hosts is one of:

    *                       every host
    chat.example.org        this name
    .example.org            this name and all names below it
    127.0.0.0/8, ::1        the addresses of a network, or one address
    <local>                 names without a dot; browsers use the same word in their lists of proxy exceptions
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

LOOPBACK: tuple[str, ...] = ("localhost", "127.0.0.0/8", "::1")
NETWORK: tuple[str, ...] = ("0.0.0.0/0", "::/0", "<local>", ".local")

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_PATTERN = re.compile(rf"\*|<local>|\.?{_NAME.pattern}")
_HEADER = re.compile(rf"(\[(?P<address>[0-9a-f:.]+)]|(?P<name>{_NAME.pattern})\.?)(:[0-9]*)?")


class Hosts:
    """The hosts that match one of the patterns. Raises ValueError for an invalid pattern.

    `header in hosts` tells whether a Host header names one of them. Immutable: any thread may ask.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        self._names: set[str] = set()
        for pattern in patterns:
            try:
                self._networks.append(ip_network(pattern))
            except ValueError:
                if not _PATTERN.fullmatch(pattern.lower()):
                    raise ValueError(
                        f"a host to allow is a name, an IP address or network, or *, without a port, unlike {pattern!r}"
                    ) from None
                self._names.add(pattern.lower())

    def __contains__(self, header: str) -> bool:
        """Whether the value of a Host header, with or without a port, names one of the hosts."""
        if "*" in self._names:
            return True
        found = _HEADER.fullmatch(header.lower())
        if not found:
            return False
        try:
            address = ip_address(found["address"] or found["name"])
        except ValueError:
            return found["name"] is not None and self._has_name(found["name"])
        return any(address in network for network in self._networks)

    def _has_name(self, name: str) -> bool:
        if "." not in name and "<local>" in self._names:
            return True
        return name in self._names or any(f".{name}".endswith(below) for below in self._names if below[0] == ".")


def hosts_of(listen: str) -> tuple[str, ...]:
    """The patterns for a server that listens on `listen`, an address or a name; a name is among them.

    A server on a loopback address is for this machine alone, whose browsers call it localhost or by such an address. On
    any other address, people in the network call it by one of its addresses or by its name: mymachine, mymachine.local.
    A name that does not resolve adds nothing: listening on it will fail and say why.
    """
    patterns, names = LOOPBACK, [listen]
    with suppress(OSError, UnicodeError):
        address = socket.getaddrinfo(listen, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][4][0]
        if not ip_address(address).is_loopback:
            patterns, names = NETWORK, [listen, socket.gethostname()]
    return (*patterns, *(name for name in names if _NAME.fullmatch(name.lower())))
