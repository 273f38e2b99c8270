"""What a server says once it listens: where to open it, who can reach it, how to stop it, and a code for phones."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from threadchat.web.server import Server

QUIET = 4  # modules of margin that a QR code needs (ISO/IEC 18004)
BLACK_ON_WHITE = "\x1b[38;5;16;48;5;231m"  # whatever the terminal's own colours are
PLAIN = "\x1b[0m"
HALVES = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}  # two modules in a character


def welcome(server: Server, trusted_proxies: int, qr: bool) -> Iterator[str]:
    """The lines to print. `qr` is whether a QR code is wanted; it is left out where it is no use, or cannot be made."""
    yield f"threadchat listens: open {server.url} (Ctrl-C stops it)"
    network = server.network_urls
    if server.url != server.local_url:
        yield f"on this machine: {server.local_url}"
    for other in network[1:]:
        yield f"also in the network: {other}"
    here_alone = "" if network or trusted_proxies else "Only this machine can reach it (see --host). "
    yield f"{here_alone}Everyone who reaches the port can read and write."
    if qr and network and sys.stdout.isatty():
        yield from qr_code(network[0], sys.stdout.encoding)


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
