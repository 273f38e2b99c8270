"""Werkzeug's threaded WSGI server, made fit for connections that last, and its orderly stop.

One thread accepts; each connection has a thread, which reads the request and, if it asks for a WebSocket, becomes that
client's read pump. What werkzeug lacks for this is here, each with a test in tests/test_defects.py that shows it:

- It waits for ever for a request. Here the request wait is the limit, and the number of those who wait has one too.
- Without descriptors for a new connection its accept loop spins. Here some are kept free, and the newcomer is refused.
- Without threads for a new connection it writes a traceback for each. Here that is one line, and a 503.
- After a WebSocket it would read another request from the same socket. Here the connection is done.
- Its `shutdown` leaves the connections' threads alone. Here `stop` waits for them.
- It prints and exits when a port is taken. Here the OSError is raised.
- It tells every peer its own version and Python's. Here the Server header says threadchat.
- It closes a connection while the peer still sends, which resets it, and the peer loses the answer. Here it lingers.
- It lets pass what RFC 9112 demands status 400 for, and hands over headers with white space behind them. Here not.
"""

from __future__ import annotations

import errno
import logging
import re
import resource
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler, get_interface_ip

from threadchat.options import Options
from threadchat.web.app import App
from threadchat.web.limits import RETRY_AFTER, Complaints, Requests

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("threadchat")
http_log = logging.getLogger("threadchat.http")

LINGER = 2.0  # seconds for a peer to read its answer and close its side, while what it still sends is thrown away
STOP_WAIT = 5.0  # seconds for the clients to take their leave
LISTEN_QUEUE = 1024  # connections that wait to be accepted; the system may allow fewer
KEPT_FREE = 32  # descriptors that connections leave to what else the process opens: the page's files, for example
NO_DESCRIPTOR_WAIT = 0.1  # seconds until the next try to accept, where others have taken those as well
REFUSAL = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER}\r\nConnection: close\r\n\r\n".encode()


class Server:
    """A chat that listens. Raises OSError if it cannot listen on `host` and `port` (0: any free port).

    Behind `trusted_proxies` reverse proxies, each behind the other, a client is who they say (X-Forwarded-For, -Proto
    and -Host). Then nobody but them may be able to reach the port.
    """

    def __init__(self, app: App, host: str, port: int, trusted_proxies: int = 0) -> None:
        self.app = app
        wsgi_app = _behind_proxies(app, trusted_proxies) if trusted_proxies else app
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.create_server(address[:2], family=family, backlog=LISTEN_QUEUE) as listener:
            self._server = _WSGIServer(app.options, host, port, wsgi_app, _RequestHandler, fd=listener.fileno())
        self.port: int = self._server.port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="accept")

    @property
    def url(self) -> str:
        """What to open in a browser; if it listens on all addresses, the one that this machine has in its network."""
        host = self._server.host
        if host in ("0.0.0.0", "::"):
            host = get_interface_ip(socket.AddressFamily(self._server.address_family))
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def start(self) -> None:
        """Accept connections, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more, part with all clients, and return when every thread has ended."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.requests.drop_unread()
        self.app.close()
        self._server.join_connections(STOP_WAIT)


def _behind_proxies(app: App, count: int) -> WSGIApplication:
    """The app, called with the client's address, scheme and host in place of the last proxy's."""

    def as_client(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            environ["REMOTE_ADDR"] = str(ip_address(environ["REMOTE_ADDR"]))
        except ValueError:
            log.warning("X-Forwarded-For has %.200a where an address should be", environ["REMOTE_ADDR"])
            environ["REMOTE_ADDR"] = environ["werkzeug.proxy_fix.orig"]["REMOTE_ADDR"]
        if environ["REMOTE_ADDR"] != environ["werkzeug.proxy_fix.orig"]["REMOTE_ADDR"]:
            del environ["REMOTE_PORT"]  # the proxy's; the client's is not known
        return app(environ, start_response)

    return ProxyFix(as_client, x_for=count, x_proto=count, x_host=count)


class _WSGIServer(ThreadedWSGIServer):
    def __init__(self, options: Options, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.requests = Requests(options.request_wait, options.max_unread_requests)
        self._complaints = Complaints(log)
        self._lock = threading.Lock()  # guards the next two
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._ending: list[threading.Thread] = []  # done with their connection, and perhaps not quite at their end

    def service_actions(self) -> None:
        """Called by the accept thread after each connection, and ten times a second."""
        self.requests.drop_overdue()
        with self._lock:
            self._ending = [thread for thread in self._ending if thread.is_alive()]

    def get_request(self) -> Any:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._complaints.say("cannot accept connections: %s", error.strerror)
                time.sleep(NO_DESCRIPTOR_WAIT)  # the connection waits in the listen queue
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there are descriptors for it. Each new one gets the lowest number that is free."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY or request.fileno() < limit - KEPT_FREE:
            return True
        self._complaints.say("out of file descriptors (see ulimit -n): refused a connection")
        _refuse(request)
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread. It is known from here on, so that a stop cannot miss it."""
        arguments = (request, client_address)
        thread = threading.Thread(target=self.process_request_thread, args=arguments, name="request", daemon=True)
        with self._lock:
            self._connections[thread] = request
        self.requests.add(request)
        try:
            thread.start()
        except RuntimeError:
            self._complaints.say("out of threads (see ulimit -u): refused a connection")
            self._forget(thread, request)
            _refuse(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(threading.current_thread(), request)

    def join_connections(self, timeout: float) -> None:
        """Wait `timeout` seconds for the connections' threads to end by themselves; then cut off the rest."""
        deadline = time.monotonic() + timeout
        with self._lock:
            connections = dict(self._connections)
        for thread in connections:
            thread.join(max(0.0, deadline - time.monotonic()))
        for thread, request in connections.items():
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
            thread.join()
        with self._lock:
            ending = self._ending
        for thread in ending:
            thread.join()

    def _forget(self, thread: threading.Thread, request: socket.socket) -> None:
        with self._lock:
            del self._connections[thread]
            if thread.is_alive():
                self._ending.append(thread)
        self.requests.forget(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.exception("a connection from %s failed", client_address)


class _RequestHandler(WSGIRequestHandler):
    server: _WSGIServer
    rbufsize = 1024  # bytes, kept for as long as the connection lasts
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "Error code: %(code)d\nMessage: %(message)s\n"
    default_request_version = "HTTP/1.0"  # of a request that names none; an answer by HTTP/0.9 has no status line

    def version_string(self) -> str:
        return "threadchat"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Without the message, which quotes the request."""
        super().send_error(code)

    def run_wsgi(self) -> None:
        self.server.requests.was_read(self.connection)
        if self._well_formed():
            super().run_wsgi()
        else:
            self.request_version = self.default_request_version
            self.send_error(400)

    def _well_formed(self) -> bool:
        """What RFC 9112 demands in sections 2.3 (version), 3.2 (address and Host), 5 (header lines), 6.3 (length)."""
        try:
            urlsplit(self.path)  # as werkzeug will, but it does not expect that this fails
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
        """Without white space behind the headers (RFC 9112, section 5.1).

        `threadchat.deadline` is for an application that lets the peer wait for its answer: a function that suspends the
        deadline of the request, and one that begins it anew.
        """
        environ = super().make_environ()
        requests, connection = self.server.requests, self.connection
        environ["threadchat.deadline"] = partial(requests.forget, connection), partial(requests.was_read, connection)
        return {key: value.strip(" \t") if key.startswith("HTTP_") else value for key, value in environ.items()}

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.log("info", "%a %s", self.requestline, int(code) if isinstance(code, int) else code)

    def finish(self) -> None:
        """Close in stages, as RFC 9112 has it in section 9.6. A WebSocket, whose socket does not block, has done so."""
        super().finish()
        if self.connection.gettimeout() == 0:
            return
        deadline = time.monotonic() + LINGER
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while (remaining := deadline - time.monotonic()) > 0:
                self.connection.settimeout(remaining)
                if not self.connection.recv(65536):
                    return

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:
        level = logging.ERROR if type == "error" else logging.DEBUG
        http_log.log(level, "%s: " + message, self.address_string(), *args)

    def log_error(self, format: str, *args: Any) -> None:
        self.log("info", format, *args)  # http.server's: a peer's fault, such as a malformed request


def _refuse(request: socket.socket) -> None:
    """Answer 503 without a thread to wait in: nothing blocks. The caller closes the connection."""
    with suppress(OSError):
        request.setblocking(False)
        request.send(REFUSAL)
        request.recv(65_536)  # or closing would reset the connection, and take the answer with it
