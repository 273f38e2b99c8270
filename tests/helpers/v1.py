"""A client of the protocol threadchat.v1, on top of a WebSocket library that is not the server's."""

from __future__ import annotations

import json
import secrets
from collections import deque
from contextlib import ExitStack
from typing import Any, Self
from urllib.parse import quote, urlencode

from websockets.sync.client import connect

from helpers.waiting import LIMIT

ENTRIES = ("msg", "join", "leave", "name", "order")


class V1:
    """One connection. `session` is a secret; a new one is made unless it is given, and "" means none.

    `hello` is the server's first line. `receive` gives one line after the other. The constructor returns once the
    server reads what this client says: its join was said before that, and the hub knows it. With `at_once` it returns
    after hello, when all of that is still to come.
    """

    def __init__(
        self,
        port: int,
        *,
        room: str | None = None,
        name: str | None = None,
        session: str | None = None,
        since: str | None = None,
        headers: dict[str, str] | None = None,
        at_once: bool = False,
    ) -> None:
        self.session = secrets.token_urlsafe(24) if session is None else session
        query = urlencode({key: value for key, value in (("name", name), ("since", since)) if value is not None})
        path = "/ws" if room is None else f"/r/{quote(room, safe='')}/ws"
        offered: list[Any] = ["threadchat.v1", *([f"session.{self.session}"] if self.session else [])]
        self._stack = ExitStack()
        connecting = connect(
            f"ws://127.0.0.1:{port}{path}?{query}",
            subprotocols=offered,
            additional_headers=headers,
            compression=None,
            max_size=None,
            max_queue=None,  # see `websocket`
            open_timeout=LIMIT,
            ping_interval=None,
        )
        self.socket = self._stack.enter_context(connecting)
        assert self.socket.subprotocol == "threadchat.v1"
        self._lines: deque[dict[str, Any]] = deque()
        self.hello = self.receive()
        assert self.hello["type"] == "hello"
        if not at_once:
            self._wait_until_in()

    @property
    def by(self) -> str:
        by: str = self.hello["by"]
        return by

    def receive(self) -> dict[str, Any]:
        """The next line, as an object."""
        while not self._lines:
            frame = self.socket.recv(timeout=LIMIT)
            assert isinstance(frame, str)
            self._lines.extend(map(json.loads, frame.split("\n")))
        return self._lines.popleft()

    def until(self, **facts: Any) -> dict[str, Any]:
        """The next line with these facts; those before it are passed over."""
        while True:
            line = self.receive()
            if facts.items() <= line.items():
                return line

    def texts(self, count: int) -> list[str]:
        """The texts of the next `count` messages; other lines are passed over."""
        return [self.until(type="msg")["text"] for _ in range(count)]

    def send(self, **line: Any) -> None:
        self.socket.send(json.dumps(line))

    def say(self, text: str, n: int | None = None) -> None:
        self.send(type="msg", text=text, **({} if n is None else {"n": n}))

    def close(self) -> None:
        self._stack.close()

    def _wait_until_in(self) -> None:
        """Ask something that the read pump answers by itself, and keep all other lines for `receive`."""
        self.send(type="are you there?")
        before = []
        while (line := self.receive())["type"] != "error":
            before.append(line)
        assert line["text"] == "This is nothing that a client says in threadchat.v1."
        self._lines.extendleft(reversed(before))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
