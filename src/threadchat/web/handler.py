"""Reads one request of a connection, has it answered, and closes the connection in an orderly way.

The defects of werkzeug's request handler are worked around here, where a comment begins with "Defect". A test in
tests/test_defects_werkzeug.py shows each of them.
"""

from __future__ import annotations

import logging
import re
import socket
import time
from contextlib import suppress
from functools import partial
from io import BufferedReader
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler

from threadchat.web.deadlines import DEADLINE, Deadline, PendingRequests

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

http_log = logging.getLogger("threadchat.http")

LINGER = 2.0  # seconds that a peer has to read its answer and close its side


class Input(BufferedReader):
    """What a peer sends. A connection that was reset has ended.

    Defect: werkzeug reads to the end when it has answered, and waits for that with a selector. Where the read raises,
    the selector's descriptor stays open until the garbage collector finds it.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return super().read(size)
        except ConnectionError:
            return b""


class RequestHandler(WSGIRequestHandler):
    """One connection, in a thread of its own. `requests` is told when its request has been read."""

    protocol_version = "HTTP/1.1"
    rbufsize = 1024  # bytes, which are kept for as long as the connection lasts
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "Error code: %(code)d\nMessage: %(message)s\n"
    # Defect: a request line without a version is answered by HTTP/0.9, without a status line.
    default_request_version = "HTTP/1.0"

    def __init__(self, connection: Any, address: Any, server: BaseWSGIServer, requests: PendingRequests) -> None:
        self._requests = requests
        super().__init__(connection, address, server)  # serves the whole connection

    def setup(self) -> None:
        super().setup()
        self.rfile = Input(self.rfile.detach(), self.rbufsize)

    def version_string(self) -> str:
        # Defect: the Server header tells every peer the versions of werkzeug and Python.
        return "threadchat"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        super().send_error(code)  # without `message`, which quotes the request

    def run_wsgi(self) -> None:
        self._requests.was_read(self.connection)
        # Defect: requests that RFC 9112 wants refused are answered.
        if self._well_formed():
            super().run_wsgi()
        else:
            self.request_version = self.default_request_version
            self.send_error(400)

    def _well_formed(self) -> bool:
        """RFC 9112, sections 2.3 (version), 3.2 (address and Host), 5 (header lines) and 6.3 (length)."""
        try:
            urlsplit(self.path)  # Defect: werkzeug calls it too, and does not expect it to fail.
        except ValueError:
            return False
        count = {name: len(self.headers.get_all(name, [])) for name in ("Host", "Content-Length")}
        return (
            re.fullmatch(r"HTTP/1\.\d", self.request_version) is not None
            and not self.headers.defects
            and (count["Host"] == 1 or (count["Host"] == 0 and self.request_version == "HTTP/1.0"))
            and count["Content-Length"] <= 1
        )

    def make_environ(self) -> WSGIEnvironment:
        """The WSGI environ, with the Deadline of this request: see `deadline_of`."""
        environ = super().make_environ()
        requests, connection = self._requests, self.connection
        environ[DEADLINE] = Deadline(partial(requests.forget, connection), partial(requests.was_read, connection))
        # Defect: white space behind a header's value is handed over with it (RFC 9112, section 5.1).
        return {key: value.strip(" \t") if key.startswith("HTTP_") else value for key, value in environ.items()}

    def finish(self) -> None:
        """Close in stages (RFC 9112, section 9.6), unless this was a WebSocket, which has done so itself.

        A socket that does not block (its time-out is 0) has become a WebSocket's.
        """
        super().finish()
        if self.connection.gettimeout() == 0:
            return
        # Defect: a connection is closed while the peer still sends. That resets it, and the peer loses its answer.
        deadline = time.monotonic() + LINGER
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while (remaining := deadline - time.monotonic()) > 0:
                self.connection.settimeout(remaining)
                if not self.connection.recv(65536):
                    return

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        # Defect: after a connection error, and so after a WebSocket, another request is read from the same socket.
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:
        level = logging.ERROR if type == "error" else logging.DEBUG
        http_log.log(level, "%s: " + message, self.address_string(), *args)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.log("info", "%a %s", self.requestline, int(code) if isinstance(code, int) else code)

    def log_error(self, format: str, *args: Any) -> None:
        self.log("info", format, *args)  # http.server calls it for a fault of the peer, such as a malformed request
