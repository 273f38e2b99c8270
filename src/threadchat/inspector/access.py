"""Who may use the inspector, and where it can be opened.

The inspector shows what everybody writes, and its actions change the server. So by default it answers only requests
from this machine that name the machine as localhost. The name keeps out pages of other sites that have pointed a name
of their own at this address (DNS rebinding).
"""

from __future__ import annotations

from ipaddress import ip_address

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request

from threadchat.web.hosts import LOOPBACK, Hosts, resolved

MINE = Hosts((*LOOPBACK, ".localhost"))
# A request with one of these headers came through a proxy: it may be from anywhere, even if the proxy runs here.
OF_A_PROXY = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


def check_local(request: Request) -> None:
    """Raises Forbidden unless the request comes from this machine, without a proxy, and names it as localhost."""
    address = request.environ.get("REMOTE_ADDR", "").removeprefix("::ffff:")
    forwarded = any(name in request.headers for name in OF_A_PROXY)
    if forwarded or (f"[{address}]" if ":" in address else address) not in MINE:
        raise Forbidden("The inspector answers only requests from this machine (see --inspect-from-anywhere).")
    if request.headers.get("Host", "") not in MINE:
        raise Forbidden("Open the inspector as localhost (see --inspect-from-anywhere).")


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
