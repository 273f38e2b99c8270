"""A server with the inspector, and somebody who looks at it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlencode

from helpers.servers import Running
from helpers.waiting import LIMIT
from threadchat.inspector.notes import Watch
from threadchat.inspector.site import InspectedApp
from threadchat.inspector.watch import WatchedHub
from threadchat.inspector.watched_connection import WatchedClient
from threadchat.options import Options
from threadchat.web.app import App


class Inspected(Running):
    """A threadchat server with the inspector."""

    def __init__(
        self,
        *,
        demo: bool = False,
        anywhere: bool = False,
        make_hub: Callable[[Watch], WatchedHub] = WatchedHub,
        **options: Any,
    ) -> None:
        self.inspected: InspectedApp

        def make_app(options: Options) -> App:
            self.inspected = InspectedApp(options, demo=demo, anywhere=anywhere, make_hub=make_hub)
            return self.inspected

        super().__init__(make_app=make_app, **options)
        self.inspected.served_at(("127.0.0.1", self.port))

    @property
    def hub(self) -> WatchedHub:
        hub = self.app.hub
        assert isinstance(hub, WatchedHub)
        return hub

    @property
    def watch(self) -> Watch:
        return self.hub.watch

    def hub_of(self, room: str) -> WatchedHub:
        """The hub of a room that is there."""
        found = self.app.rooms.find(room)
        assert found is not None
        assert isinstance(found.hub, WatchedHub)
        return found.hub

    def client(self, number: int = 1) -> WatchedClient:
        return self.hub.watched[number]

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """The status of the answer, and its JSON (None if it is not JSON)."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, f"/inspect{path}", body, named)
            answer = connection.getresponse()
            text = answer.read()
        return answer.status, json.loads(text) if answer.headers.get_content_type() == "application/json" else None

    def get(self, path: str) -> Any:
        status, answer = self.request("GET", path)
        assert status == 200, answer
        return answer

    def do(self, action: str, **arguments: Any) -> tuple[int, Any]:
        body = json.dumps({"action": action, **arguments}).encode()
        return self.request("POST", "/do", body, X_Threadchat="inspect", Content_Type="application/json")

    @contextmanager
    def look(self, *pinned: int, room: str = "lobby") -> Iterator[Look]:
        """A viewer of the live pictures of a room, which pins the clients with these numbers."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)) as connection:
            query = urlencode({"watch": ",".join(map(str, pinned)), "room": room})
            connection.request("GET", f"/inspect/live?{query}")
            with closing(connection.getresponse()) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/event-stream")
                yield Look(answer)


class Look:
    """The pictures of a viewer, one by one, and in `events` all events that came with them."""

    def __init__(self, answer: HTTPResponse) -> None:
        self._answer = answer
        self.events: list[dict[str, Any]] = []

    def picture(self) -> dict[str, Any]:
        """The next picture. Raises EOFError if there are no more."""
        event, data, end = (self._answer.readline() for _ in range(3))
        if not event:
            raise EOFError
        assert event == b"event: picture\n"
        assert data.startswith(b"data: ")
        assert end == b"\n"
        picture: dict[str, Any] = json.loads(data.removeprefix(b"data: "))
        self.events += picture["events"]
        return picture

    def until(self, condition: Callable[[dict[str, Any]], object], what: str = "the condition") -> dict[str, Any]:
        """The first picture for which the condition holds."""
        deadline = time.monotonic() + LIMIT
        while True:
            picture = self.picture()
            if condition(picture):
                return picture
            assert time.monotonic() < deadline, f"{what} was not to be seen within {LIMIT:g} s; at last: {picture}"

    def until_event(self, kind: str) -> dict[str, Any]:
        """The first event of the kind."""
        self.until(lambda _: any(event["kind"] == kind for event in self.events), kind)
        return next(event for event in self.events if event["kind"] == kind)
