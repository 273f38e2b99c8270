"""May this request become a WebSocket? The checks of RFC 6455, section 4.2, and the answers where it may not."""

from __future__ import annotations

import logging
import re
from typing import Any

from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed
from werkzeug.http import parse_set_header
from werkzeug.wrappers import Request

from threadchat.web.origins import Origins
from threadchat.web.refusals import ForeignOrigin
from threadchat.web.throttled_log import ThrottledLog

log = logging.getLogger("threadchat")

# RFC 9110, section 7.6.1: a proxy drops Upgrade and Connection, unless it is told to pass them on.
DROPPED = (
    "a proxy before this server has to pass on the headers Upgrade and Connection, over HTTP/1.1 (nginx: "
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade)"
)


class UpgradeRequired(HTTPException):
    """RFC 9110, section 15.5.22: the resource is for WebSockets (version 13) alone."""

    code = 426

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        return [*super().get_headers(*args, **kwargs), *upgrade]


def check_upgrade(request: Request, origins: Origins, throttled_log: ThrottledLog) -> None:
    """Raise HTTPException if the request may not become a WebSocket, with the status that RFC 6455 or 9110 names."""
    if request.environ["REQUEST_METHOD"] != "GET":
        raise MethodNotAllowed(["GET"])
    if error := _dropped(request):
        if "Sec-WebSocket-Key" in request.headers:  # not a browser that opens the address as a page
            throttled_log.warning(f"refused a WebSocket from %s: {error.description} {DROPPED}", request.remote_addr)
            error.description = f"{error.description} {DROPPED[0].upper()}{DROPPED[1:]}."
        raise error
    if request.headers.get("Sec-WebSocket-Version") != "13":
        raise UpgradeRequired("This server speaks version 13 of the WebSocket protocol.")
    if not re.fullmatch("[A-Za-z0-9+/]{22}==", request.headers.get("Sec-WebSocket-Key", "")):
        raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64.")
    if request.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in request.headers:
        raise BadRequest("A WebSocket's request must have no body: it would be taken for frames.")
    check_origin(request, origins)


def check_origin(request: Request, origins: Origins) -> None:
    """Raise ForeignOrigin (403) if the request comes from a page that may not connect.

    One without an Origin is not a page's.
    """
    # Defect (tests/test_defects_wrappers.py): werkzeug's request.host is empty for a name with an underscore.
    origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
    if origin is not None and not origins.allow(origin, request.scheme, host):
        log.warning(
            "refused a page of origin %.200a: this server is %.200a (see --allow-origin; a proxy before this server "
            "has to pass on the header Host)",
            *(origin, f"{request.scheme}://{host}"),
        )
        raise ForeignOrigin("Pages of this origin may not connect (see --allow-origin).")


def _dropped(request: Request) -> HTTPException | None:
    """The answer to a request that lacks what passes only from one neighbour to the next, if it does."""
    if request.environ["SERVER_PROTOCOL"] < "HTTP/1.1":
        return UpgradeRequired("A WebSocket needs HTTP/1.1 or later.")
    if "websocket" not in parse_set_header(request.headers.get("Upgrade")):
        return UpgradeRequired("This address is for WebSockets: a request needs the header Upgrade: websocket.")
    if "upgrade" not in parse_set_header(request.headers.get("Connection")):
        return BadRequest("A WebSocket's request needs the header Connection: Upgrade.")
    return None
