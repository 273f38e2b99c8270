"""A server of the protocol threadchat.v1 that says what a test tells it to: for what a real server does not do, or not
when it is asked. It serves the chat page too, so that the page needs no other server."""

from __future__ import annotations

import json
import mimetypes
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from helpers import LIMIT
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from threadchat.web.app import SECURITY_HEADERS

WWW = Path(__file__).parents[1] / "www"
BIRTHDAY = 1_790_000_000  # the time of the entry 0: one entry a second
ME = "by-me"  # the tag that hello gives to the page


class Line:
    """The server's end of a page's connection."""

    def __init__(self, connection: ServerConnection, request: Request) -> None:
        self._connection = connection
        self._next = 1
        self.path, _, query = request.path.partition("?")
        asked = parse_qs(query)
        self.name = asked.get("name", [""])[0]
        self.since = asked["since"][0] if "since" in asked else None
        self.offered = [part.strip() for part in request.headers["Sec-WebSocket-Protocol"].split(",")]
        self.over = threading.Event()

    @property
    def session(self) -> str:
        (secret,) = (part.removeprefix("session.") for part in self.offered if part.startswith("session."))
        return secret

    def send(self, *messages: dict[str, Any]) -> None:
        """Send the messages in one frame, a line each."""
        self._connection.send("\n".join(map(json.dumps, messages)))

    def hello(self, top: int = 0, **fields: Any) -> Line:
        """Send a hello. What follows has the ids from `top` on."""
        self._next = top + 1
        name = fields.get("name", self.name or "Guest")
        hello = {
            "room": "lobby",
            "token": f"t{top}",
            "top": top,
            "recovered": self.since is not None,
            "last": None,
            "name": name,
            "by": ME,
            "count": 1,
            "here": [{"name": name, "by": ME}],
            "message_size": 512,
        }
        self.send({"type": "hello", **hello, **fields})
        return self

    def entry(self, kind: str = "msg", **fields: Any) -> dict[str, Any]:
        """The next entry of the log, not sent yet."""
        number = fields.setdefault("id", self._next)
        self._next = number + 1
        entry = {"type": kind, "token": f"t{number}", "at": BIRTHDAY + number, "name": "Bea", "by": "by-bea"}
        return entry | fields

    def say(self, *texts: str, **fields: Any) -> None:
        """Send messages of somebody else, in one frame."""
        self.send(*(self.entry(text=text, **fields) for text in texts))

    def receive(self) -> dict[str, Any]:
        """The next message of the page."""
        message: dict[str, Any] = json.loads(self._connection.recv(LIMIT))
        return message

    def receive_now(self) -> dict[str, Any]:
        """The next message of the page if it is there already. Raises TimeoutError if there is none."""
        message: dict[str, Any] = json.loads(self._connection.recv(0))
        return message

    def echo(self, message: dict[str, Any]) -> None:
        self.send(self.entry(name=self.name or "Guest", by=ME, n=message["n"], text=message["text"]))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self._connection.close(code, reason)
        self.over.set()

    def cut(self) -> None:
        """End the connection without a close frame."""
        self._connection.close_socket()
        self.over.set()


class Scripted:
    """The server. `join()` waits for the next connection of a page."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"
        self.arrivals: queue.Queue[Line] = queue.Queue()
        self.lines: list[Line] = []
        self.shut = False  # whether nobody is let in

    def join(self) -> Line:
        return self.arrivals.get(timeout=LIMIT)

    def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        line = Line(connection, connection.request)
        self.lines.append(line)
        self.arrivals.put(line)
        line.over.wait()


def _answer(request: Request, shut: bool) -> Response | None:
    """Answer a request for a file of the page; let the handshake of a WebSocket pass (None) or not."""
    if "Upgrade" in request.headers:
        return Response(401, "Unauthorized", Headers(), b"") if shut else None
    path = unquote(urlsplit(request.path).path)
    name = path.removeprefix("/static/") if path.startswith("/static/") else "chat/index.html"
    if not (WWW / name).is_file():
        return Response(404, "Not Found", Headers(), b"")
    body = (WWW / name).read_bytes()
    if path.startswith("/r/"):
        body = body.replace(b'"static/', b'"../static/')
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {**SECURITY_HEADERS, "Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
    return Response(200, "OK", Headers(headers), body)


@contextmanager
def scripted_server() -> Iterator[Scripted]:
    scripted: Scripted
    protocols = [Subprotocol("threadchat.v1")]
    with serve(
        lambda connection: scripted._talk(connection),
        "127.0.0.1",
        0,
        subprotocols=protocols,
        process_request=lambda _, request: _answer(request, scripted.shut),
        ping_interval=None,
        close_timeout=1,
        compression=None,
    ) as server:
        scripted = Scripted(server.socket.getsockname()[1])
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield scripted
        finally:
            for line in scripted.lines:
                line.cut()
            server.shutdown()
            thread.join(LIMIT)
