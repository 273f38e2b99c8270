"""A server of threadchat.v1 that the test plays, for what a real one does not do when it is told to."""

from __future__ import annotations

import json
import socket
from collections import deque
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, RejectConnection, Request, TextMessage

from helpers.waiting import LIMIT

SESSION_TAG = "me"  # the `by` of the client, as hello tells it


class Scripted:
    """Listens on 127.0.0.1. Each client that comes is a Seat, in which the test says what the server says."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LIMIT)
        self._seats: list[Seat] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    def seat(self, subprotocol: str | None = "threadchat.v1") -> Seat:
        """The next client, whose handshake is answered with this subprotocol."""
        seat = self._arrival()
        seat.answer(AcceptConnection(subprotocol=subprotocol))
        return seat

    def join(self, **hello: Any) -> Seat:
        """The next client, with its handshake answered and hello said."""
        seat = self.seat()
        seat.hello(**hello)
        return seat

    def refuse(self, status: int, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        """Answer the next client's handshake with this status."""
        seat = self._arrival()
        seat.answer(RejectConnection(status_code=status, headers=headers or []))
        seat.cut()

    def hang_up(self, instead: bytes = b"") -> None:
        """Say something else to the next client, and end its connection."""
        end, _ = self._listener.accept()
        with end:
            end.sendall(instead)

    def close(self) -> None:
        """Listen no more, and cut off those who are still there."""
        self._listener.close()
        for seat in self._seats:
            seat.cut()

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _arrival(self) -> Seat:
        seat = Seat(self._listener.accept()[0])
        self._seats.append(seat)
        seat.read_request()
        return seat


class Seat:
    """The server's end of one connection."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.socket.settimeout(LIMIT)
        self.pings = 0
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._events: deque[Event] = deque()

    def read_request(self) -> None:
        """Read the handshake."""
        event = self._next()
        assert isinstance(event, Request)
        parts = urlsplit(event.target)
        self.path = parts.path
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.offered = list(event.subprotocols)
        self.headers = {name.decode().lower(): value.decode() for name, value in event.extra_headers}

    def answer(self, event: Event) -> None:
        """Answer the handshake, or send another event."""
        self.socket.sendall(self._protocol.send(event))

    def hello(self, **changes: Any) -> None:
        """Say hello; what is not given is as for a newcomer, the only one in an empty lobby."""
        hello = {
            "type": "hello",
            "room": "lobby",
            "token": "e.0.0",
            "top": 0,
            "recovered": False,
            "last": None,
            "name": "Ann",
            "by": SESSION_TAG,
            "count": 0,
            "here": [],
            "message_size": 512,
        }
        self.say({**hello, **changes})

    def message(self, id: int, text: str, *, by: str = "other", name: str | None = "Bob", n: int | None = None) -> None:
        """Say what somebody says."""
        self.say({"type": "msg", "token": f"e.{id}.0", "id": id, "at": 0, "name": name, "by": by, "n": n, "text": text})

    def echo(self, id: int, said: dict[str, Any]) -> None:
        """Say what the client said."""
        self.message(id, said["text"], by=SESSION_TAG, name="Ann", n=said["n"])

    def say(self, *lines: Any) -> None:
        """Send one frame with these lines: text as it is, other things as JSON."""
        self.answer(TextMessage("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)))

    def hear(self) -> dict[str, Any]:
        """The next thing that the client says. Its pings are counted, and answered."""
        while True:
            match self._next():
                case TextMessage() as message:
                    assert message.message_finished
                    heard: dict[str, Any] = json.loads(message.data)
                    return heard
                case Ping() as ping:
                    self.pings += 1
                    self.answer(ping.response())
                case other:
                    raise AssertionError(f"the client sent {other}")

    def ping(self) -> None:
        """Wait for a ping, and do not answer it."""
        assert isinstance(self._next(), Ping)

    def goodbye(self) -> int:
        """The code of the close frame, which must be next. It is answered."""
        event = self._next()
        assert isinstance(event, CloseConnection)
        with suppress(OSError):
            self.answer(event.response())
        self.cut()
        return int(event.code)

    def end(self, code: int, reason: str = "") -> None:
        """Send a close frame, wait for the client's, and end the connection."""
        self.answer(CloseConnection(code=code, reason=reason))
        assert isinstance(self._next(), CloseConnection)
        self.cut()

    def cut(self) -> None:
        """End the connection without a word."""
        self.socket.close()

    def _next(self) -> Event:
        while not self._events:
            data = self.socket.recv(65_536)
            if not data:
                raise EOFError
            self._protocol.receive_data(data)
            self._events += self._protocol.events()
        return self._events.popleft()
