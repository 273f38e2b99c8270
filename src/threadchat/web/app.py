"""The WSGI application: the page, and the door through which a WebSocket comes to the hub.

`create_app` gives an application for any threaded WSGI server that hands the socket over (werkzeug's, gunicorn's
gthread). It may be mounted below a path of another application.
"""

from __future__ import annotations

import errno
import itertools
import logging
import re
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    MethodNotAllowed,
    MisdirectedRequest,
    ServiceUnavailable,
)
from werkzeug.http import parse_set_header
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect, send_from_directory
from werkzeug.wrappers import Request, Response

from threadchat.channel import Closed
from threadchat.client import serve_ws
from threadchat.hub import Hub
from threadchat.options import Options
from threadchat.web import guide
from threadchat.web.hosts import Hosts
from threadchat.web.limits import RETRY_AFTER, Admission, Complaints, Full
from threadchat.websocket.connection import Connection, ConnectionClosed, HandshakeFailed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger("threadchat")

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

URLS = Map(
    [
        Rule("/", endpoint="page", methods=["GET"]),
        Rule("/guide", endpoint="guide", methods=["GET"]),
        Rule("/static/<path:name>", endpoint="static", methods=["GET"]),
        Rule("/limits", endpoint="limits", methods=["GET"]),
        Rule("/ws", endpoint="ws", methods=["GET"]),
    ],
    merge_slashes=False,  # "//" is no address of ours; a redirect would name one that a proxy may not know
)


class UpgradeRequired(HTTPException):
    """RFC 9110, section 15.5.22: the resource speaks WebSocket (version 13) and nothing else."""

    code = 426
    description = "This address is for WebSockets."

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        return [*super().get_headers(*args, **kwargs), *upgrade]


class WebSocketDone(ConnectionResetError):
    """Tells the WSGI server that the socket is no longer its own: it must neither answer nor read another request.

    WSGI has no way to say so. Of what an application can do, an OSError for a connection that was reset is what
    werkzeug and gunicorn take without a word to the peer or the log.
    """

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the WebSocket has ended")


class App:
    """A chat as a WSGI application, with a hub of its own, whose thread runs until `close`.

    Any thread may call it, as WSGI servers do, and `close` it. Who wants to watch a chat hands in a hub and a class of
    connections of their own.
    """

    def __init__(
        self, options: Options, hub: Hub | None = None, connection_type: Callable[..., Connection] = Connection
    ) -> None:
        self.options = options
        self.hub = hub or Hub()
        self._connection_type = connection_type
        self._numbers = itertools.count(1)
        self._guide = guide.page()
        self._hosts = Hosts(options.allow_hosts or ("*",))
        self._origins = {origin.lower().rstrip("/") for origin in options.allow_origins}
        self._admission = Admission(options.max_clients, options.max_clients_per_address)
        self._complaints = Complaints(log)
        self._hub_thread = threading.Thread(target=self.hub.run, name="hub", daemon=True)
        self._hub_thread.start()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            # Not put into the environ, which it refers to: the two would keep each other, and wait for the collector.
            response = self._respond(Request(environ, populate_request=False))
        except HTTPException as error:
            response = Response.force_type(error.get_response(environ), environ)
        response.headers.update(SECURITY_HEADERS)
        return response(environ, start_response)

    def close(self) -> None:
        """Part with all clients (close code 1001), answer new ones with 503; return when all have gone (seconds)."""
        self.hub.stop()
        self._hub_thread.join()
        self._admission.wait_until_empty()

    def _respond(self, request: Request) -> Response:
        """The answer to a request. Raises HTTPException, and WebSocketDone when a WebSocket has come and gone."""
        self._check_host(request)
        if not request.environ.get("PATH_INFO"):
            return redirect(request.root_path + "/", 308)  # mounted at /chat: the page's own links need the slash
        endpoint, arguments = URLS.bind_to_environ(request).match(websocket=False)
        if endpoint == "ws":
            self._serve_ws(request)
            raise WebSocketDone
        if endpoint == "limits":
            response = Response(f'{{"message_size": {self.options.message_size}}}\n', mimetype="application/json")
            response.cache_control.no_store = True
            return response
        if endpoint == "guide":
            response = Response(self._guide, mimetype="text/html")
            response.cache_control.no_cache = True
            response.add_etag()
            return response.make_conditional(request)
        name = "chat/index.html" if endpoint == "page" else arguments["name"]
        return send_from_directory(guide.WWW, name, request.environ)

    def _serve_ws(self, request: Request) -> None:
        """Raises HTTPException, with the status that RFC 6455, section 4.2, or RFC 9110 names."""
        if request.environ["REQUEST_METHOD"] != "GET":
            raise MethodNotAllowed(["GET"])
        if request.environ["SERVER_PROTOCOL"] < "HTTP/1.1":
            raise UpgradeRequired("A WebSocket begins with HTTP/1.1 or later.")
        if "websocket" not in parse_set_header(request.headers.get("Upgrade")):
            raise UpgradeRequired
        if request.headers.get("Sec-WebSocket-Version") != "13":
            raise UpgradeRequired("This server speaks version 13 of the WebSocket protocol.")
        if not re.fullmatch("[A-Za-z0-9+/]{22}==", request.headers.get("Sec-WebSocket-Key", "")):
            raise BadRequest("Sec-WebSocket-Key must be 16 bytes in base64.")
        if request.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in request.headers:
            raise BadRequest("A WebSocket's request has no body: it would be taken for frames.")
        if not self._origin_allowed(request):
            origin, host = request.headers["Origin"], request.headers.get("Host", "")
            log.warning("refused a page of origin %.200a: it is not from this host, %.200a", origin, host)
            raise Forbidden("Pages of this origin may not connect (see --allow-origin).")
        connection = self._connection_type(request.environ, self.options)
        try:
            with self._admission.admit(request.environ.get("REMOTE_ADDR", "")):
                serve_ws(self.hub, connection, self.options, next(self._numbers))
        except ConnectionClosed:
            pass  # the peer has gone before it was answered
        except HandshakeFailed as error:
            raise BadRequest(str(error)) from error
        except Full as error:
            self._complaints.say(f"refused a client from %s: {error}", request.environ.get("REMOTE_ADDR"))
            raise ServiceUnavailable(f"Come back later: {error}.", retry_after=RETRY_AFTER) from error
        except Closed as error:
            raise ServiceUnavailable("The server is stopping.") from error

    def _check_host(self, request: Request) -> None:
        """RFC 9110, section 7.4: a request for another host is misdirected (421). Who names none is no browser."""
        host = request.headers.get("Host")
        if host is not None and host not in self._hosts:
            log.warning("refused a request for host %.200a: it is not one of this server's (see --allow-host)", host)
            raise MisdirectedRequest("This server does not answer to this host name, unless allowed by --allow-host.")

    def _origin_allowed(self, request: Request) -> bool:
        """RFC 6455, section 10.2: a browser names the page's origin; who sends none is no browser."""
        origin = request.headers.get("Origin")
        if origin is None:
            return True
        origin = origin.lower()
        if self._origins & {origin, "*"}:
            return True
        scheme, _, page = origin.partition("://")
        default_port = {"http": ":80", "https": ":443"}.get(scheme)
        if default_port is None or not page:
            return False  # "null", among others
        if request.scheme == "https" and scheme == "http":
            return False  # on its way somebody else may have written into that page
        host = request.headers.get("Host", "").lower()  # werkzeug's request.host is empty for my_host
        return page.removesuffix(default_port) == host.removesuffix(default_port)


def create_app(options: Options | None = None) -> App:
    """A chat of its own, ready to serve, with the given options."""
    return App(options or Options())
