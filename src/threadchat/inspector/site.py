"""The addresses under /inspect, and the App that serves them: the page, the pictures, the trace, the actions.

By default it answers this machine alone (see web/local.py). An action also needs a header of its own: a browser sends
such a header for a page of another site only if the server allows it first (CORS preflight), and this one does not.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from werkzeug.exceptions import BadRequest, Conflict, Forbidden, HTTPException, NotFound, ServiceUnavailable
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from threadchat.channel import Closed
from threadchat.inspector import actions
from threadchat.inspector.actions import Action
from threadchat.inspector.bots import KINDS, MOST_BOTS, MOST_BURST, Bots, Refused
from threadchat.inspector.lesson_processes import Lessons, NoLesson
from threadchat.inspector.notes import Shared, Watch
from threadchat.inspector.own_hub import LearnersHub
from threadchat.inspector.perfetto import trace
from threadchat.inspector.sampler import Sampler, TooManyViewers
from threadchat.inspector.watch import WatchedHub
from threadchat.inspector.watched_connection import WatchedConnection
from threadchat.inspector.watched_reader import WatchedReader
from threadchat.inspector.watched_writer import WatchedWriter
from threadchat.options import Options
from threadchat.room import Room
from threadchat.web import guide, www
from threadchat.web.app import App
from threadchat.web.deadlines import deadline_of
from threadchat.web.local import check_local
from threadchat.web.source import python_source

URLS = Map(
    [
        Rule("/inspect", endpoint="page", methods=["GET"]),
        Rule("/inspect/live", endpoint="live", methods=["GET"]),
        Rule("/inspect/message/<int:number>", endpoint="message", methods=["GET"]),
        Rule("/inspect/source", endpoint="source", methods=["GET"]),
        Rule("/inspect/trace", endpoint="trace", methods=["GET"]),
        Rule("/inspect/lessons", endpoint="lessons", methods=["GET"]),
        Rule("/inspect/lessons/<name>", endpoint="lesson", methods=["GET"]),
        Rule("/inspect/do", endpoint="do", methods=["POST"]),
    ],
    merge_slashes=False,
)
CORE = (
    "web/app.py",
    "channel.py",
    "log/memory.py",
    "log/reader.py",
    "log/redis.py",
    "log/redis_line.py",
    "log/sqlite.py",
    "log/writer.py",
    "outbox.py",
    "protocols/plain.py",
    "protocols/v1.py",
    "room.py",
    "shared_room.py",
    "stored_room.py",
    "client.py",
    "websocket/connection.py",
    "hub.py",
    "web/admission.py",
    "web/deadlines.py",
    "web/handler.py",
    "runtime/runqueue.py",
    "web/server.py",
)
NEAR = ("the inspector", "--inspect-from-anywhere")  # what answers this machine alone, and what changes that
LARGEST_BUFFER = 1_000_000  # messages
FASTEST_PACE = 10_000.0  # messages a second
LATEST_TYPING = 60.0  # seconds; if a message was typed longer ago, the browser's clock is not this machine's
DEMO_KERNEL_BUFFER = 2_048  # bytes; small, so that a client that does not read is noticed soon (see Watch)


class InspectedApp(App):
    """The chat with the inspector at /inspect. `close` ends both.

    `anywhere` lets other machines use the inspector, under any name that the chat itself answers to. `demo` adds bots,
    and lets viewers act on the server. The bots and the inspector's own client connect once `served_at` was called.
    `make_hub` makes the lobby's hub. Raises what that raises.
    """

    def __init__(
        self,
        options: Options,
        *,
        demo: bool = False,
        anywhere: bool = False,
        make_hub: Callable[[Watch], WatchedHub] = WatchedHub,
    ) -> None:
        self._shared = Shared(DEMO_KERNEL_BUFFER if demo else None)
        hub = make_hub(Watch(self._shared))
        super().__init__(options, hub, partial(WatchedConnection, self._shared), make_hub=self._make_hub)
        self._demo = demo
        self._anywhere = anywhere
        self._bots: Bots | None = None
        if self.rooms.writer is not None:
            writer = WatchedWriter.of(self.rooms.writer, self._shared.now)
            writer.follow(hub)
            if writer.reader is not None:
                WatchedReader.of(writer.reader, writer)
        self._lessons = Lessons()
        self.sampler = Sampler(self.rooms, self._shared, demo)
        self.sampler.start()

    def served_at(self, address: tuple[str, int]) -> None:
        """Tell where the server listens. The inspector's own client can now connect, and the demo's bots start."""
        self._bots = Bots(self._shared, address, self.options)
        if isinstance(self.hub, LearnersHub):
            self.hub.keeping = self._bots.kept
        if self._demo:
            self._bots.start()

    def close(self) -> None:
        self._lessons.stop()
        for room in self.rooms.all:
            _hub(room).gate.open(for_good=True)
        if self._bots is not None:
            self._bots.stop()
            self._bots = None
        super().close()
        self.sampler.stop()

    def _make_hub(self, name: str) -> WatchedHub:
        """The hub of a room that is made: nobody looks at it yet."""
        hub = WatchedHub(Watch(self._shared, name))
        if isinstance(self.rooms.writer, WatchedWriter):
            self.rooms.writer.follow(hub)
        hub.rest()
        return hub

    def _respond(self, request: Request) -> Response:
        if request.path != "/inspect" and not request.path.startswith("/inspect/"):
            return super()._respond(request)
        self._check_viewer(request)
        endpoint, arguments = URLS.bind_to_environ(request).match(websocket=False)
        match endpoint:
            case "page":
                return www.file_response(request, "inspect/index.html")
            case "live":
                return self._live(request)
            case "message":
                return self._message(arguments["number"])
            case "source":
                return _source(request, _hub(self.rooms.lobby))
            case "trace":
                return self._trace(actions.room(request.args.get("room")))
            case "lessons":
                return self._all_lessons(request)
            case "lesson":
                return _json(self._lessons.result(arguments["name"]))
            case _:
                return self._do(request)

    def _check_viewer(self, request: Request) -> None:
        """Raise HTTPException unless this peer may look. Another machine needs the chat's key, if it has one."""
        self._check_near(request, *NEAR, self._anywhere)

    def _may_inspect(self, request: Request) -> bool:
        try:
            check_local(request, *NEAR)
        except Forbidden:
            return self._anywhere
        return True

    def _live(self, request: Request) -> Response:
        try:
            pinned = frozenset(int(number) for number in request.args.get("watch", "").split(",") if number)
        except ValueError as error:
            raise BadRequest("watch must be a list of clients' numbers, such as 7,12") from error
        room = actions.room(request.args.get("room"))
        looking = ExitStack()
        try:
            pictures = looking.enter_context(self.sampler.viewing(pinned, room))
        except TooManyViewers as error:
            raise ServiceUnavailable("Too many viewers: close another inspector page first.") from error
        except Closed as error:
            raise ServiceUnavailable("The server is stopping.") from error
        response = Response(_events(request, pictures), mimetype="text/event-stream")
        response.call_on_close(looking.close)
        return _not_stored(response)

    def _message(self, number: int) -> Response:
        for room in self.rooms.all:
            if journey := _hub(room).watch.journeys.get(number):
                return _json(journey.as_json())
        raise NotFound("This message is too old, or it was not followed.")

    def _trace(self, name: str) -> Response:
        """The last minute of the room. Of another than the lobby there is what was seen while somebody looked."""
        room = self.sampler.room(name)
        if room is None:
            raise NotFound("There is no such room.")
        response = _json(trace(self.sampler.moments(name), _hub(room).watch.journeys.all()))
        response.headers["Content-Disposition"] = 'attachment; filename="threadchat-trace.json"'
        return response

    def _all_lessons(self, request: Request) -> Response:
        try:
            with _no_deadline(request):
                return _json(self._lessons.all())
        except (NoLesson, OSError) as error:
            raise ServiceUnavailable(str(error)) from error

    def _do(self, request: Request) -> Response:
        """Carry out an action. Errors are answered in JSON too."""
        try:
            answer = self._act(actions.action(request), request)
        except (Refused, NoLesson, OSError) as error:
            return _json({"error": str(error)}, 409)
        except HTTPException as error:
            return _json({"error": error.description}, error.code)
        return _json({"ok": True, **answer})

    def _act(self, action: Action, request: Request) -> dict[str, Any]:
        """Carry out an action. Returns what the answer says besides "ok".

        Raises HTTPException if the request is not a valid action, and Refused, NoLesson or OSError if the action is not
        possible now.
        """
        match action.get("action"):
            case "say":
                text = actions.text(action, self.options.message_size)
                self._need_bots().say(text, self._typed(action), self._room_of(action).name)
            case "lesson":
                with _no_deadline(request):
                    return {"lesson": self._lessons.run(str(action.get("name")))}
            case name if self._demo:
                self._disturb(name, action)
            case _:
                raise BadRequest("The only actions here are say and lesson; threadchat demo has more.")
        return {}

    def _disturb(self, name: Any, action: Action) -> None:
        """The demo's actions. Those that are not about one client are about one room."""
        room = self._room_of(action)
        match name:
            case "add":
                if action.get("kind") not in KINDS:
                    raise BadRequest(f"kind must be one of {', '.join(KINDS)}")
                self._need_bots().add(action["kind"], actions.whole(action, "count", MOST_BOTS, 1), room=room.name)
            case "burst":
                self._need_bots().burst(actions.whole(action, "messages", MOST_BURST), room.name)
            case "pause":
                _hub(room).gate.close()
            case "resume":
                _hub(room).gate.open()
            case "buffer":
                _hub(room).resize_send_channels(actions.whole(action, "messages", LARGEST_BUFFER))
            case "vanish":
                self._need_bots().vanish(actions.whole(action, "client", sys.maxsize))
            case "remove":
                self._need_bots().remove(actions.whole(action, "client", sys.maxsize))
            case "pace":
                self._need_bots().set_pace(actions.number(action, "messages_a_second", FASTEST_PACE), room.name)
            case _:
                raise BadRequest("There is no action of that name.")

    def _room_of(self, action: Action) -> Room:
        """The room that the action is about. Raises BadRequest, and Refused if there is no such room."""
        room = self.sampler.room(actions.room(action.get("room")))
        if room is None:
            raise Refused("there is no such room any more")
        return room

    def _need_bots(self) -> Bots:
        if self._bots is None:
            raise Conflict("The server is not listening yet, or is stopping.")
        return self._bots

    def _typed(self, action: Action) -> float | None:
        """When the text was typed, by the watch's clock. None if the browser does not say, or uses another clock."""
        typed = action.get("typed")
        if not isinstance(typed, (int, float)):
            return None
        ago = time.time() - typed / 1000
        return self._shared.now() - ago if 0 <= ago < LATEST_TYPING else None


def _hub(room: Room) -> WatchedHub:
    assert isinstance(room.hub, WatchedHub)
    return room.hub


@contextmanager
def _no_deadline(request: Request) -> Iterator[None]:
    """Suspend the deadline for the answer while the peer waits for us. Other servers have no such deadline."""
    deadline = deadline_of(request.environ)
    deadline.suspend()
    try:
        yield
    finally:
        deadline.begin_anew()


def _events(request: Request, pictures: Iterator[str]) -> Iterator[str]:
    """The pictures as an event stream. The deadline for an answer runs anew for each: see `_no_deadline`."""
    while True:
        with _no_deadline(request):
            picture = next(pictures, None)
        if picture is None:
            return
        yield f"event: picture\ndata: {picture}\n\n"


def _source(request: Request, hub: WatchedHub) -> Response:
    """The source of a function of the core, and the lines of the Go example that the guide shows beside it.

    Or that of a function of the learner's file, beside the Go of the real hub's function of this name, or of its `run`.
    """
    file, function = request.args.get("file", ""), request.args.get("function", "")
    try:
        if isinstance(hub, LearnersHub) and (own := hub.source(file, function)):
            first_line, lines = own
            go = guide.go_beside("hub.py", function) or guide.go_beside("hub.py", "Hub.run")
        elif file in CORE:
            first_line, lines = python_source(file, function)
            go = guide.go_beside(file, function)
        else:
            raise LookupError
    except LookupError as error:
        raise NotFound("The core has no such function, or its source is not installed.") from error
    told = {"file": file, "function": function, "first_line": first_line, "lines": lines}
    return _json({**told, "go": go, "go_from": "chat.go" if go else ""})


def _json(value: Any, status: int | None = 200) -> Response:
    return _not_stored(Response(json.dumps(value) + "\n", status, mimetype="application/json"))


def _not_stored(response: Response) -> Response:
    response.cache_control.no_store = True
    return response
