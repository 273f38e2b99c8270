"""Where the chat is: what people write or paste, and what the client needs of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlsplit

HTTP_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
WHERE = re.compile(r"(?P<mounted>.*?)(/r/(?P<room>[^/]+))?(/ws)?/*")


class NotAnAddress(ValueError):
    """The text is no address of a chat. str() says why."""


@dataclass(frozen=True)
class Address:
    """The address of a room's WebSocket. `key` is the join key, where the address had one behind its #."""

    secure: bool
    host: str
    port: int
    path: str
    key: str | None = None

    @property
    def authority(self) -> str:
        """The Host header's value. An IPv6 address is without the link behind its %, which only this machine knows."""
        host = self.host.partition("%")[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.path.removesuffix('ws')}"


def address_of(text: str, room: str | None = None) -> Address:
    """The address in a text such as http://host:8080/r/ROOM, ws://host/ws or host:8080. Raises NotAnAddress.

    `room` is the room to join, whatever the address says.
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
        ascii_host = host.encode("idna").decode() if host and not host.isascii() else host
    except ValueError as error:  # UnicodeError is one
        raise NotAnAddress(f"{text!r} is not an address: {error}") from error
    if parts.scheme not in HTTP_PORTS:
        raise NotAnAddress(f"an address begins with http:// or https://, unlike {text!r}")
    if not ascii_host or re.search(r"[\s\x00-\x20\x7f]", ascii_host):
        raise NotAnAddress(f"there is no host in the address {text!r}")
    if parts.username is not None:
        raise NotAnAddress("an address has no user name in it; a join key is given by --key")
    where = WHERE.fullmatch(parts.path)
    assert where is not None, "the pattern fits every text without a line break, and urlsplit removes those"
    wanted = room if room is not None else where["room"] and unquote(where["room"])
    path = quote(where["mounted"], safe="/%") + (f"/r/{quote(wanted, safe='')}" if wanted else "") + "/ws"
    key = parse_qs(parts.fragment).get("key", [None])[0]
    return Address(parts.scheme in ("https", "wss"), ascii_host, port or HTTP_PORTS[parts.scheme], path, key)
