"""Where the inspector can be opened. By default it answers this machine alone (see web/local.py).

The inspector shows what everybody writes, and its actions change the server.
"""

from __future__ import annotations

from ipaddress import ip_address

from threadchat.web.hosts import resolved
from threadchat.web.local import MINE


def own_host(listen: str) -> str | None:
    """The host to name in this machine's browser for a server that listens on `listen`, an address or a name.

    It is one that `check_local` lets pass, or None if the server has none: it listens on an address for others alone.
    """
    try:
        found = resolved(listen).sockaddr[0]
    except (OSError, UnicodeError):
        return listen  # nobody can listen there, and the attempt says why
    address = ip_address(str(found).partition("%")[0])
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    if not address.is_loopback:
        return None
    if listen in MINE:
        return listen
    return f"[{address}]" if address.version == 6 else str(address)
