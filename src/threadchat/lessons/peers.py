"""What the lessons try their parts on: the real server, in this process, and clients that read when they are told to.

Nothing here is taken down again. It ends with the process, which is the lesson's own.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar, cast

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage

from threadchat.client import Client
from threadchat.hub import Hub
from threadchat.options import Options
from threadchat.web.app import App
from threadchat.web.server import Server
from threadchat.websocket.connection import Connection

LIMIT = 10.0  # seconds; bounds a run that went wrong
PACKAGE = str(Path(__file__).parents[1])
BATCH = 100  # messages: less than a buffer holds, so a client that reads cannot be too slow for it


def until(condition: Callable[[], object], limit: float = LIMIT) -> None:
    """Wait for the condition, `limit` seconds at most."""
    deadline = time.monotonic() + limit
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)


def where_it_waits(role: str) -> str:
    """Where the thread of that name waits for another, once it does: threadchat's functions, outermost first."""
    until(lambda: _where(role).endswith(("> select", "> Channel.send")))
    return _where(role)


def _where(role: str) -> str:
    (thread,) = (thread for thread in threading.enumerate() if thread.name == role)
    frame: FrameType | None = sys._current_frames()[cast(int, thread.ident)]
    names: list[str] = []
    while frame:
        if frame.f_code.co_filename.startswith(PACKAGE) and not frame.f_code.co_qualname.startswith("_"):
            names.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return " > ".join(reversed(names))


class Peer:
    """A WebSocket client that reads only when it is asked to.

    Its buffers in the kernel are small, so that what it has not read is soon in the server's way.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, buffer, 16_384)
        self.socket.settimeout(LIMIT)
        self.socket.connect(("127.0.0.1", port))
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self.socket.sendall(self._protocol.send(Request(host="127.0.0.1", target="/ws")))
        self._protocol.receive_data(self.socket.recv(4096))
        (answer,) = self._protocol.events()
        if not isinstance(answer, AcceptConnection):
            raise ConnectionError(f"the server answered the handshake with {answer}")

        self.ending = ""  # how the connection ended: by a close frame, or by the server's breach of the protocol
        self._text = ""  # of a message that is not complete yet

    def text(self, message: str) -> bytes:
        """The frame of a message."""
        return self._protocol.send(TextMessage(message))

    def ping(self, payload: bytes) -> bytes:
        """The frame of a ping."""
        return self._protocol.send(Ping(payload))

    def messages(self, data: bytes) -> list[str]:
        """Read these bytes from the server: the messages that they complete."""
        messages: list[str] = []
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            if isinstance(event, CloseConnection):
                self.ending = f"{int(event.code)} {event.reason}"
            elif isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    messages += self._text.split("\n")
                    self._text = ""
        return messages


class Listener(Peer):
    """A client that reads all the time, in a thread of its own, and counts the messages."""

    heard = 0

    def __init__(self, port: int) -> None:
        super().__init__(port)
        threading.Thread(target=self._listen, name="listener", daemon=True).start()

    def _listen(self) -> None:
        self.socket.settimeout(None)
        while data := self.socket.recv(65_536):
            self.heard += len(self.messages(data))


AnyPeer = TypeVar("AnyPeer", bound=Peer)


class Chat:
    """The real server, with a hub or connections that may be broken ones, and patient when it writes."""

    def __init__(self, hub: Hub | None = None, connection_type: type[Connection] = Connection) -> None:
        self.hub = hub or Hub()
        self._server = Server(App(Options(write_wait=60, message_rate=0), self.hub, connection_type), "127.0.0.1", 0)
        self._server.start()
        self._listeners: list[Listener] = []

    def join(self, peer_type: type[AnyPeer]) -> tuple[AnyPeer, Client]:
        """A new client: its peer and the server's end of it."""
        before = set(self.hub.clients)
        peer = peer_type(self._server.port)
        until(lambda: self.hub.clients - before)
        (client,) = self.hub.clients - before
        return peer, cast(Client, client)

    def listen(self, listeners: int) -> None:
        """So many more clients, who read all the time."""
        self._listeners += [self.join(Listener)[0] for _ in range(listeners)]

    def talk(
        self,
        messages: int,
        patience: float = LIMIT,
        waits: Callable[[], object] = lambda: True,
        watch: Callable[[], None] = lambda: None,
    ) -> int:
        """Broadcast so many messages of 500 bytes, the next batch when all listeners have heard the one before.

        Gives up when they have not, and `waits` has held for `patience` seconds. Returns how many messages all have
        heard; `watch` is called about every millisecond.
        """
        for said in range(BATCH, messages + 1, BATCH):
            for number in range(said - BATCH, said):
                self.hub.broadcast.send(f"{number} ".ljust(500, "."))
            began = time.monotonic()
            while self._heard() < said:
                watch()
                if not waits():
                    began = time.monotonic()
                if time.monotonic() > began + patience:
                    return self._heard()
                time.sleep(0.001)
        return messages

    def _heard(self) -> int:
        return min(listener.heard for listener in self._listeners)
