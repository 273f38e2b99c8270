"""A way to a server that can go dead: bytes are taken and passed on no further, and no connection is closed. It is what
a phone that sleeps, or a proxy that has forgotten the connection, looks like to a page."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from helpers import LIMIT


class Path:
    """The connections through `port`. Those made after a `freeze` are alive again, and so are those after a `stall`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._frozen: set[socket.socket] = set()  # those from which nothing is passed on
        self._stalled: dict[socket.socket, threading.Event] = {}  # those from which nothing is read, until the event
        self._upward: list[socket.socket] = []  # a page's ends
        self._downward: list[socket.socket] = []  # the server's ends
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def freeze(self, *, up: bool = True, down: bool = True) -> None:
        """From now on pass nothing on, on the connections that there are: to the server, to the page, or both."""
        self._frozen |= {*(self._upward if up else ()), *(self._downward if down else ())}

    def stall(self) -> None:
        """From now on read nothing from the server, on the connections that there are."""
        self._stalled |= {end: threading.Event() for end in self._downward}

    def cut(self) -> None:
        """End the connections that there are."""
        for event in self._stalled.values():
            event.set()
        for end in list(self._sockets):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(LIMIT)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(LIMIT)
        for end in self._sockets:
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                page = self._listener.accept()[0]
                server = socket.socket()
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # a server soon notices a stall
                server.connect(("127.0.0.1", self._target))
                self._sockets += [page, server]
                self._upward.append(page)
                self._downward.append(server)
                for ends in ((page, server), (server, page)):
                    self._threads.append(threading.Thread(target=self._pass_on, args=ends))
                    self._threads[-1].start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source in self._stalled:
                    self._stalled[source].wait()
                if source not in self._frozen:
                    sink.sendall(data)
            if source not in self._frozen:
                sink.shutdown(socket.SHUT_WR)


@contextmanager
def path_to(port: int) -> Iterator[Path]:
    path = Path(port)
    try:
        yield path
    finally:
        path.close()
