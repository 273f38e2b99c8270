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

Names below localhost are this machine's own: neither browsers nor this server look them up (RFC 6761, section 6.3).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple

LOOPBACK: tuple[str, ...] = (".localhost", "127.0.0.0/8", "::1")
NETWORK: tuple[str, ...] = ("0.0.0.0/0", "::/0", "<local>", ".local", ".localhost")

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_PATTERN = re.compile(rf"\*|<local>|\.?{_NAME.pattern}")
# A link-local address has the link's name behind it: fe80::1%eth0, in a URL fe80::1%25eth0 (RFC 6874).
_ZONE = r"(%(25)?[a-z0-9._~-]+)?"
_HEADER = re.compile(rf"(\[(?P<address>[0-9a-f:.]+){_ZONE}]|(?P<name>{_NAME.pattern})\.?)(:[0-9]*)?")


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


class Address(NamedTuple):
    """Where a server listens."""

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]
    host: str  # as a URL has it: a name, or an address, without brackets

    @property
    def everywhere(self) -> bool:
        """Whether it stands for all addresses of this machine."""
        return ip_address(self.sockaddr[0]).is_unspecified


def resolved(listen: str, port: int = 0) -> Address:
    """Where a server listens that is told to listen on `listen`, an address or a name, and on `port`.

    `*` stands for all addresses of this machine. An IPv6 address may have brackets; one that stands for an IPv4 address
    (::ffff:127.0.0.1) becomes that. Raises OSError, or UnicodeError for what cannot be a name at all.
    """
    name = listen.removeprefix("[").removesuffix("]")
    if name == "*":
        name = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
    elif name.lower().rstrip(".").endswith(".localhost"):
        name = "localhost"
    family, _, _, _, sockaddr = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    if plain := unmapped(sockaddr[0]):
        family, sockaddr = socket.AF_INET, (plain, port)
    try:
        socket.getaddrinfo(name, None, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return Address(family, sockaddr, listen)
    _, percent, link = name.partition("%")
    return Address(family, sockaddr, f"{sockaddr[0]}{percent and '%25'}{link}")


def unmapped(address: Any) -> str | None:
    """The IPv4 address that an IPv6 address stands for (::ffff:127.0.0.1), as text; None if it stands for none."""
    mapped = getattr(ip_address(address), "ipv4_mapped", None)
    return str(mapped) if mapped else None


def hosts_of(listen: str) -> tuple[str, ...]:
    """The patterns for a server that listens on `listen`, an address or a name; a name is among them.

    A server on a loopback address is for this machine alone, whose browsers call it localhost or by such an address. On
    any other address, people in the network call it by one of its addresses or by its name: mymachine, mymachine.local.
    A name that does not resolve adds nothing: listening on it will fail and say why.
    """
    patterns, names = LOOPBACK, [listen]
    with suppress(OSError, UnicodeError):
        if not ip_address(resolved(listen).sockaddr[0]).is_loopback:
            patterns, names = NETWORK, [listen, socket.gethostname()]
    return (*patterns, *(name for name in names if _NAME.fullmatch(name.lower())))
