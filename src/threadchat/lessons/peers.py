"""The server and the clients that the lessons run with: the real server, in this process, and clients under control.

Nothing here is ever closed: a lesson's part has a process of its own (see `run`), and all ends with it.
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

LIMIT = 10.0  # seconds to wait for something that a correct run reaches; bounds a run that goes wrong
PACKAGE = str(Path(__file__).parents[1])
BATCH = 100  # messages; fewer than a buffer holds, so that a client that reads is never too slow


def until(condition: Callable[[], object], limit: float = LIMIT) -> None:
    """Wait until the condition holds, or `limit` seconds have passed."""
    deadline = time.monotonic() + limit
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)


def where_it_waits(role: str) -> str:
    """Wait until the thread of that name waits in a channel, and say where.

    Returns the public functions of threadchat on its stack, outermost first: "Hub.run > select", for example.
    """
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
    """A WebSocket client that reads only when it is told to.

    Its buffers in the kernel are small, so that the server soon notices when it does not read.
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

        # The code and reason of the close frame: the server's, or this client's own after an error in the protocol.
        self.ending = ""
        self._text = ""  # the beginning of a message that is not complete yet

    def text(self, message: str) -> bytes:
        """The frame of a text message."""
        return self._protocol.send(TextMessage(message))

    def ping(self, payload: bytes) -> bytes:
        """The frame of a ping."""
        return self._protocol.send(Ping(payload))

    def messages(self, data: bytes) -> list[str]:
        """Take these bytes from the server, and return the messages that they complete."""
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
    """A client that reads all the time, in a thread of its own, and counts the messages in `heard`."""

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
    """The real server, in which the hub or the connections may be replaced by broken ones.

    It waits long for a write, and does not limit how fast a client sends.
    """

    def __init__(self, hub: Hub | None = None, connection_type: type[Connection] = Connection) -> None:
        self.hub = hub or Hub()
        self._server = Server(App(Options(write_wait=60, message_rate=0), self.hub, connection_type), "127.0.0.1", 0)
        self._server.start()
        self._listeners: list[Listener] = []

    def join(self, peer_type: type[AnyPeer]) -> tuple[AnyPeer, Client]:
        """Connect a new client. Returns the peer and the server's Client for it."""
        before = set(self.hub.clients)
        peer = peer_type(self._server.port)
        until(lambda: self.hub.clients - before)
        (client,) = self.hub.clients - before
        return peer, cast(Client, client)

    def listen(self, listeners: int) -> None:
        """Connect that many more clients, which read all the time."""
        self._listeners += [self.join(Listener)[0] for _ in range(listeners)]

    def talk(
        self,
        messages: int,
        patience: float = LIMIT,
        waits: Callable[[], object] = lambda: True,
        watch: Callable[[], None] = lambda: None,
    ) -> int:
        """Broadcast `messages` messages of 500 bytes in batches, each when all listeners have received the one before.

        Gives up on a batch that they do not receive once `waits()` has been true for `patience` seconds. Calls `watch`
        about every millisecond. Returns how many messages all listeners have received.
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
