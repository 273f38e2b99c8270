"""Werkzeug's threaded WSGI server, made fit for connections that last, and its orderly stop.

One thread accepts. Each connection has a thread, which reads the request and, if it asks for a WebSocket, becomes that
client's read pump. What werkzeug's server lacks for this is worked around here, where a comment begins with "Defect";
what its request handler lacks, in handler.py. A test in tests/test_defects_werkzeug.py shows each defect.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from contextlib import suppress
from email.utils import formatdate
from ipaddress import ip_address
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, get_interface_ip

from threadchat.channel import Channel
from threadchat.options import Options
from threadchat.runtime.share import Share
from threadchat.runtime.system import KEPT_FREE, most_descriptors
from threadchat.runtime.threads import NoThread, start
from threadchat.tally import Tally
from threadchat.web.admission import RETRY_AFTER
from threadchat.web.app import App
from threadchat.web.deadlines import PendingRequests
from threadchat.web.drain import drain
from threadchat.web.handler import RequestHandler
from threadchat.web.hosts import Address, resolved, unmapped
from threadchat.web.proxies import behind_proxies
from threadchat.web.throttled_log import ThrottledLog
from threadchat.websocket.ready import readable

log = logging.getLogger("threadchat")

STOP_WAIT = 5.0  # seconds that the connections' threads have to end by themselves, after all clients have gone
# Connections that wait to be accepted. The system allows fewer (Linux 4,096, net.core.somaxconn) and drops what goes
# beyond; a peer then tries again after 1 second, 3, 7 and so on, so that a herd comes in by and by.
LISTEN_QUEUE = 65_535
NO_DESCRIPTOR_WAIT = 0.1  # seconds until the next try to accept, where even those are taken
REFUSAL = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER}\r\nConnection: close\r\nDate: "


class Server:
    """A chat that listens on `host` and `port` (0: any free port). Raises OSError if it cannot.

    `host` is an address or a name. `0.0.0.0` stands for all IPv4 addresses of this machine, and `*` or `::` for the
    IPv6 addresses as well, where the system can have both in one.

    `listener` is a socket that listens already, at this address: another process may keep it, and go on with it. With
    `share`, several processes take connections from it.

    With `trusted_proxies` reverse proxies, one behind the other, a client's address, scheme and host are those that the
    proxies give (see web/proxies.py). Then nobody but the proxies may be able to reach the port.
    """

    def __init__(
        self,
        app: App,
        host: str,
        port: int,
        trusted_proxies: int = 0,
        listener: socket.socket | None = None,
        share: Share | None = None,
    ) -> None:
        self.app = app
        wsgi_app = behind_proxies(app, trusted_proxies) if trusted_proxies else app
        self._address = resolved(host, port)
        self._keeps_listening = listener is not None and (share is None or share.kept)
        with listener or listen(self._address) as listener:
            self._both = self._address.family == socket.AF_INET6 and self._address.everywhere
            self._both = self._both and not listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            where, number = self._address.sockaddr[0], listener.fileno()
            self._server = _WSGIServer(
                app.options, app.rooms.tally, share, where, port, wsgi_app, RequestHandler, fd=number
            )
        self.port: int = self._server.port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="accept")

    @property
    def url(self) -> str:
        """The address to open in a browser; for a server on all addresses, this machine's own in its network."""
        return self._url(self._own_address() if self._address.everywhere else self._address.host)

    @property
    def local_url(self) -> str:
        """The address to open in a browser on this machine."""
        return self._url(self.local_address[0]) if self._address.everywhere else self.url

    @property
    def network_urls(self) -> list[str]:
        """The addresses to open on other machines, `url` first; none where only this machine reaches the server.

        On a server on all addresses these are the ones that can be found out: those of the way to other networks, and
        those that the machine's own name stands for.
        """
        if not self._address.everywhere:
            return [] if ip_address(self._address.sockaddr[0].partition("%")[0]).is_loopback else [self.url]
        own = [self._own_address(), *map(get_interface_ip, self._families)]
        with suppress(OSError):
            own += [str(each[4][0]) for each in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)]
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        found = [address for address in map(ip_address, own) if families[address.version] in self._families]
        reachable = [each for each in found if not (each.is_loopback or each.is_link_local or each.is_unspecified)]
        return [self._url(str(each)) for each in dict.fromkeys(reachable)]

    @property
    def local_address(self) -> tuple[str, int]:
        """The address and port by which a program on this machine reaches the server."""
        family, sockaddr, _ = self._address
        if self._address.everywhere:
            return "127.0.0.1" if family == socket.AF_INET or self._both else "::1", self.port
        link = sockaddr[3] if family == socket.AF_INET6 else 0
        return f"{sockaddr[0]}%{link}" if link else sockaddr[0], self.port

    def _url(self, host: str) -> str:
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def _families(self) -> list[socket.AddressFamily]:
        return [socket.AF_INET, socket.AF_INET6] if self._both else [self._address.family]

    def _own_address(self) -> str:
        """This machine's address in its network, IPv4 where there is one; a loopback address if it has no network."""
        own = [get_interface_ip(family) for family in self._families]
        return next((address for address in own if not ip_address(address).is_loopback), own[0])

    def start(self) -> None:
        """Accept connections, in a thread of the server's own. Raises NoThread."""
        self._server.show_connections()
        start(self._thread)

    def stop_accepting(self) -> None:
        """Accept no more connections. May be called again."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.leave_to_others()
        self._server.server_close()

    def leave_to_others(self) -> None:
        """Take no connection that another process, or the next server, can take. May be called again."""
        if self._keeps_listening:
            self.stop_accepting()
        else:
            self._server.leave_to_others()

    def drain(self, seconds: float, cut: Channel[None]) -> int:
        """Let nobody new in, and part with all clients, evenly over so many seconds. Returns how many were told.

        To close `cut` ends the drain at once. Where another program keeps the socket, nobody is refused: those who
        connect wait for the next server. Where other processes share it, they take those who connect; if all of them
        drain, each refuses some. As long as nobody is refused, the drain ends early if no client is left.
        """
        self.leave_to_others()
        return drain(self.app.rooms, seconds, cut, lambda: self._keeps_listening or self._server.is_relieved())

    def stop(self) -> None:
        """Accept no more, disconnect all clients, and return when every thread has ended. May be called again."""
        self.stop_accepting()
        self._server.requests.drop_unread()
        self.app.close()
        self._server.join_connections(STOP_WAIT)


def listen(address: Address) -> socket.socket:
    """A socket that listens there. Raises OSError.

    Defects: where a port is taken, werkzeug prints and exits; and its listen queue is short.
    """
    family, sockaddr, _ = address
    both = family == socket.AF_INET6 and address.everywhere and socket.has_dualstack_ipv6()
    return socket.create_server(sockaddr, family=family, backlog=LISTEN_QUEUE, dualstack_ipv6=both)


class _WSGIServer(ThreadedWSGIServer):
    """Knows its connections' threads and sockets, limits them, and refuses a connection that it has no room for."""

    def __init__(self, options: Options, tally: Tally, share: Share | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tally = tally
        self._share = share
        self.requests = PendingRequests(options.request_wait, options.max_unread_requests)
        self._throttled_log = ThrottledLog(log)
        self._lock = threading.Lock()  # guards the next two
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._ending: list[threading.Thread] = []  # done with their connection, and about to end

    # Called by the accept thread

    def service_actions(self) -> None:
        """Called after each connection, and ten times a second."""
        # Defect: werkzeug waits for ever for a request, and its own time-out would hold for the WebSocket as well.
        self.requests.drop_overdue()
        with self._lock:
            self._ending = [thread for thread in self._ending if thread.is_alive()]

    def get_request(self) -> Any:
        if self._share is not None and not self._share.may_take(lambda: readable(self.socket).wait(0)):
            raise BlockingIOError("another process has taken the connection")
        try:
            return super().get_request()
        except OSError as error:
            # Defect: without descriptors the accept loop spins, since the connection stays in the listen queue.
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._throttled_log.error("cannot accept connections: %s", error.strerror)
                time.sleep(NO_DESCRIPTOR_WAIT)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there are descriptors enough. A new descriptor is the lowest number that is free."""
        most = most_descriptors()
        if most is None or request.fileno() < most - KEPT_FREE:
            return True
        self._throttled_log.error("out of file descriptors (see ulimit -n): refused a connection")
        self._tally.count("refusals", "descriptors")
        _refuse(request)
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread. The connection is registered first, so that a stop cannot miss it."""
        address, *others = client_address
        # A server on IPv6 and IPv4 sees an IPv4 client as ::ffff:192.0.2.1.
        arguments = (request, (unmapped(address) or address, *others))
        thread = threading.Thread(target=self.process_request_thread, args=arguments, name="request", daemon=True)
        with self._lock:
            self._connections[thread] = request
            self._show_connections()
        self.requests.add(request)
        try:
            start(thread)
        except NoThread:
            # Defect: werkzeug writes a traceback for each connection that it has no thread for.
            self._throttled_log.error("out of threads (see ulimit -u): refused a connection")
            self._tally.count("refusals", "threads")
            self._forget(thread, request)
            _refuse(request)
            self.shutdown_request(request)

    # Called by a connection's thread

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(threading.current_thread(), request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        RequestHandler(request, client_address, self, self.requests)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.exception("a connection from %s failed", client_address)

    # Called by the thread that stops the server

    def join_connections(self, timeout: float) -> None:
        """Wait `timeout` seconds for the connections' threads to end by themselves; then cut off the rest.

        Defect: werkzeug's `shutdown` leaves these threads alone.
        """
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

    def show_connections(self) -> None:
        """Let the other processes know that this one takes connections, where there are others."""
        with self._lock:
            self._show_connections()

    def leave_to_others(self) -> None:
        """Leave all connections that come to the other processes, where there are others."""
        with self._lock:
            if self._share is not None:
                self._share.leave()

    def is_relieved(self) -> bool:
        """Whether other processes take the connections that come."""
        return self._share is not None and self._share.others_take()

    def _show_connections(self) -> None:  # the caller holds the lock
        if self._share is not None:
            self._share.count(len(self._connections))

    def _forget(self, thread: threading.Thread, request: socket.socket) -> None:
        with self._lock:
            del self._connections[thread]
            self._show_connections()
            if thread.is_alive():
                self._ending.append(thread)
        self.requests.forget(request)


def _refuse(request: socket.socket) -> None:
    """Answer 503 without blocking: there is no thread to wait in. The caller closes the connection."""
    with suppress(OSError):
        request.setblocking(False)
        request.send(f"{REFUSAL}{formatdate(usegmt=True)}\r\n\r\n".encode())
        request.recv(65_536)  # closing a socket with unread bytes would reset the connection and lose the answer
