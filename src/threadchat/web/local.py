"""Does a request come from this machine? Some addresses answer nobody else, unless the operator says so.

The request must name the machine as localhost. This keeps out pages of other sites that have pointed a name of their
own at this address (DNS rebinding).
"""

from __future__ import annotations

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request

from threadchat.web.hosts import LOOPBACK, Hosts

MINE = Hosts((*LOOPBACK, ".localhost"))
# A request with one of these headers came through a proxy: it may be from anywhere, even if the proxy runs here.
OF_A_PROXY = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


def check_local(request: Request, what: str, flag: str) -> None:
    """Raises Forbidden unless the request comes from this machine, without a proxy, and names it as localhost.

    `what` is asked for, and `flag` would open it to others; the answer names both.
    """
    address = request.environ.get("REMOTE_ADDR", "").removeprefix("::ffff:")
    forwarded = any(name in request.headers for name in OF_A_PROXY)
    if forwarded or (f"[{address}]" if ":" in address else address) not in MINE:
        raise Forbidden(f"{what[0].upper()}{what[1:]} answers only requests from this machine (see {flag}).")
    if request.headers.get("Host", "") not in MINE:
        raise Forbidden(f"Open {what} as localhost (see {flag}).")
