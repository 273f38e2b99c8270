"""May this request become a WebSocket? The checks of RFC 6455, section 4.2, and the answers where it may not."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any

from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, MethodNotAllowed
from werkzeug.http import parse_set_header
from werkzeug.wrappers import Request

log = logging.getLogger("threadchat")

DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class UpgradeRequired(HTTPException):
    """RFC 9110, section 15.5.22: the resource is for WebSockets (version 13) alone."""

    code = 426
    description = "This address is for WebSockets."

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        return [*super().get_headers(*args, **kwargs), *upgrade]


def check_upgrade(request: Request, origins: Origins) -> None:
    """Raise HTTPException, with the status that RFC 6455 or RFC 9110 names, if the request may not become a WebSocket.

    The Connection header is left to the Connection, which reads it anyway.
    """
    if request.environ["REQUEST_METHOD"] != "GET":
        raise MethodNotAllowed(["GET"])
    if request.environ["SERVER_PROTOCOL"] < "HTTP/1.1":
        raise UpgradeRequired("A WebSocket needs HTTP/1.1 or later.")
    if "websocket" not in parse_set_header(request.headers.get("Upgrade")):
        raise UpgradeRequired
    if request.headers.get("Sec-WebSocket-Version") != "13":
        raise UpgradeRequired("This server speaks version 13 of the WebSocket protocol.")
    if not re.fullmatch("[A-Za-z0-9+/]{22}==", request.headers.get("Sec-WebSocket-Key", "")):
        raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64.")
    if request.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in request.headers:
        raise BadRequest("A WebSocket's request must have no body: it would be taken for frames.")
    if not origins.allow(request):
        origin, host = request.headers["Origin"], request.headers.get("Host", "")
        log.warning("refused a page of origin %.200a: it is not from this host, %.200a", origin, host)
        raise Forbidden("Pages of this origin may not connect (see --allow-origin).")


class Origins:
    """The origins whose pages may connect: this host's own, and those in `allowed` ("*" means all).

    RFC 6455, section 10.2. Any thread may call it.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = {origin.lower().rstrip("/") for origin in allowed}

    def allow(self, request: Request) -> bool:
        """Whether the page that sent the request may connect. A request without an Origin does not come from a page."""
        origin = request.headers.get("Origin")
        if origin is None:
            return True
        origin = origin.lower()
        if self._allowed & {origin, "*"}:
            return True
        scheme, _, page_host = origin.partition("://")
        if scheme not in DEFAULT_PORTS or not page_host:
            return False  # "null", among others
        if request.scheme == "https" and scheme == "http":
            return False  # somebody between the server and the browser may have written into that page
        # Defect (tests/test_defects_wrappers.py): werkzeug's request.host is empty for a name with an underscore.
        host = request.headers.get("Host", "").lower()
        return page_host.removesuffix(DEFAULT_PORTS[scheme]) == host.removesuffix(DEFAULT_PORTS[scheme])
