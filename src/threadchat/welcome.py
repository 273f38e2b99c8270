"""What a server says once it listens: where to open it, who can reach it, how to stop it, and a code for phones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from urllib.parse import quote

from threadchat.web.server import Server

QUIET = 4  # modules of margin that a QR code needs (ISO/IEC 18004)
BLACK_ON_WHITE = "\x1b[38;5;16;48;5;231m"  # whatever the terminal's own colours are
PLAIN = "\x1b[0m"
HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}  # two modules in a character


def welcome(
    server: Server, trusted_proxies: int, qr: bool, key: str | None = None, moderator_key: str | None = None
) -> Iterator[str]:
    """The lines to print. `qr` is whether a QR code is wanted; it is left out where it is no use, or cannot be made.

    The addresses bring the join key along, if there is one.
    """
    yield f"threadchat listens: open {_with_key(server.url, key)} (Ctrl-C stops it)"
    network = server.network_urls
    if server.url != server.local_url:
        yield f"on this machine: {_with_key(server.local_url, key)}"
    for other in network[1:]:
        yield f"also in the network: {_with_key(other, key)}"
    if moderator_key is not None:
        yield f"for the organiser: {_with_key(server.url, moderator_key)}"
    here_alone = "" if network or trusted_proxies else "Only this machine can reach it (see --host). "
    who = "reaches the port" if key is None else "has the key, which the address brings along,"
    yield f"{here_alone}Everyone who {who} can read and write."
    if qr and network and sys.stdout.isatty():
        yield from qr_code(_with_key(network[0], key), sys.stdout.encoding)


def _with_key(url: str, key: str | None) -> str:
    """The address as people are given it: the fragment has the key, and no browser sends it to a server."""
    return url if key is None else f"{url}#key={quote(key, safe='')}"


def qr_code(text: str, encoding: str) -> Iterator[str]:
    """The lines of a QR code; none where segno is missing (the extra `terminal`), or the encoding lacks its blocks."""
    try:
        import segno

        "".join(HALVES.values()).encode(encoding)
    except (ImportError, UnicodeEncodeError):
        return
    rows = [[bool(module) for module in row] for row in segno.make_qr(text).matrix_iter(border=QUIET)]
    if len(rows) % 2:
        rows.append([False] * len(rows))
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        halves = "".join(HALVES[pair] for pair in zip(upper, lower, strict=True))
        yield f"{BLACK_ON_WHITE}{halves}{PLAIN}"
