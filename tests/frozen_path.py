"""A way to a server that can be spoiled: it goes dead, holds back what it gets, is slow, breaks, or leads elsewhere.

A path that is frozen takes bytes, passes nothing on, and closes no connection: it is what a phone that sleeps, or a
proxy that has forgotten the connection, looks like to a page. One that holds back is a network that drops packets: TCP
sends them again.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select

from helpers import LIMIT


class Path:
    """The connections through `port`. Those made after a `freeze` are alive again, and so are those after a `stall`.

    `target` is the server's port; those made after a change lead to another one. `delay` is how long each byte is on
    its way, in seconds, in each direction.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._frozen: set[socket.socket] = set()  # those from which nothing is passed on
        self._stalled: dict[socket.socket, threading.Event] = {}  # those from which nothing is read, until the event
        self._open = threading.Event()  # not while everything is held back
        self._open.set()
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

    def hold(self) -> None:
        """Pass nothing on until `release`, also on connections that are yet to come. Nothing is lost."""
        self._open.clear()

    def release(self) -> None:
        """Pass on what was held back, and what comes."""
        self._open.set()

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
        self.delay = 0.0
        self.cut()
        self.release()
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
                self._sockets += [page, server]
                try:
                    server.connect(("127.0.0.1", self.target))
                except ConnectionRefusedError:
                    page.close()
                    continue
                self._upward.append(page)
                self._downward.append(server)
                for ends in ((page, server), (server, page)):
                    self._threads.append(threading.Thread(target=self._pass_on, args=ends))
                    self._threads[-1].start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        waiting: deque[tuple[float, bytes]] = deque()  # what has come, and when it is due; b"" for the end
        ended = False
        try:
            while waiting or not ended:
                soon = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
                if select([] if ended else [source], [], [], soon)[0]:
                    waiting.append((time.monotonic() + self.delay, data := source.recv(65536)))
                    ended = not data
                while waiting and waiting[0][0] <= time.monotonic():
                    self._deliver(source, sink, waiting.popleft()[1])
        except OSError:  # one of them was reset: the other one's peer must hear of it
            if source not in self._frozen:
                for end in (source, sink):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    def _deliver(self, source: socket.socket, sink: socket.socket, data: bytes) -> None:
        if data and source in self._stalled:
            self._stalled[source].wait()
        self._open.wait()
        if source in self._frozen:
            return
        if data:
            sink.sendall(data)
        else:
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def path_to(port: int) -> Iterator[Path]:
    path = Path(port)
    try:
        yield path
    finally:
        path.close()
