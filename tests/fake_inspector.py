"""A fake server for the inspector's page, which shows the page the pictures that a test wants.

It speaks the inspector's protocol and sends the app's own security headers. The fixture `look` opens the page in a
browser. A test that leaves an error in the browser's console fails; a violation of the content security policy is such
an error.
"""

from __future__ import annotations

import json
import queue
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT
from playwright.sync_api import Browser, Locator, Page, expect
from werkzeug.serving import make_server
from werkzeug.utils import send_from_directory
from werkzeug.wrappers import Request, Response

from threadchat.web.app import SECURITY_HEADERS

WWW = Path(__file__).parents[1] / "www"
EVIL = '<img src=x onerror="document.title=1"><b>bold</b>'
EVICTION = {
    "kind": "evicted",
    "name": "bot",
    "reason": "1008 evicted: not reading fast enough",
    "cause": "stopped",
    "waited": 6.25,
    "quiet": 6.15,
    "waiting": 256,
    "capacity": 256,
}

# For a page on which the tour must not open by itself. A blank page has no storage.
# A real server sends pictures all the time, and a silent one is taken for lost; this one waits for the test.
(SILENCE,) = re.findall(r"SILENCE_MS = ([\d_]+);", (WWW / "inspect" / "server.js").read_text())
PATIENT = f"""{{
    const real = setTimeout;
    window.setTimeout = (work, ms, ...more) => real(work, ms === {SILENCE} ? 1e9 : ms, ...more);
}}"""
NO_TOUR = "try { localStorage.setItem('threadchat: the tour', 'skipped'); } catch {}"
COUNT_ANIMATIONS = """
    document.animations = 0;
    const animate = Element.prototype.animate;
    Element.prototype.animate = function (...rest) { document.animations++; return animate.apply(this, rest); };
"""

SOURCE = {
    "file": "channel.py",
    "first_line": 134,
    "lines": [
        "    def receive(self):",
        "        receiver = Receiver()",
        "        receiver.park()",
        "        return item",
    ],
    "go": "message, ok := <-c.send",
    "go_from": "writePump",
}

JOURNEY = {
    "id": 41,
    "text": "hello",
    "client": 1,
    "steps": [
        {"step": step, "t": 10 + ms / 1000, "thread": thread, "file": "client.py", "line": line}
        for step, ms, thread, line in [
            ("typed", 0, "", 0),
            ("read", 1.25, "readPump-1", 61),
            ("broadcast", 1.5, "readPump-1", 64),
            ("buffered", 2, "hub", 58),
            ("coalesced", 3, "writePump-1", 86),
            ("written", 4.5, "writePump-1", 90),
        ]
    ],
    "deliveries": [
        {
            "client": 1,
            "name": "a",
            "buffered": 10.002,
            "coalesced": 10.003,
            "with": 5,
            "written": 10.0045,
            "evicted": False,
        },
        {
            "client": 2,
            "name": "b",
            "buffered": 10.002,
            "coalesced": None,
            "with": None,
            "written": None,
            "evicted": True,
        },
    ],
}

EPOCH = "kX3-aB"
LOG = {
    "epoch": EPOCH,
    "first": 3,
    "top": 1042,
    "bytes": 31_000,
    "keep": 10_000,
    "recoverable": True,
    "history": 200,
    "newcomer": 842,
    "newest": [
        {"id": 1040, "kind": "join", "by": "7f3a9c00d1", "name": "Bob", "n": None, "text": ""},
        {"id": 1041, "kind": "msg", "by": "0b5e2290aa", "name": "Ann", "n": 7, "text": "good morning"},
        {"id": 1042, "kind": "msg", "by": "7f3a9c00d1", "name": "Bob", "n": 1, "text": "hello\nyou"},
    ],
}

LESSON_SOURCE = {
    "file": "channel.py",
    "first_line": 134,
    "lines": SOURCE["lines"],
    "changed": [136],
    "folded": [134, 135],
}
SIDE = {"title": "", "source": LESSON_SOURCE, "seen": [["messages waiting", "48,211"]], "chart": None}
LESSON = {
    "name": "no-limit",
    "title": "No limit",
    "chapter": "too-slow",
    "exercise": "full",
    "question": "What happens in `send`?",
    "choices": ["It is evicted", "Memory grows"],
}
NEXT_LESSON = {**LESSON, "name": "convoy", "title": "The next one"}
LESSON_SEEN = {
    **LESSON,
    "answer": 1,
    "reasons": ["Nobody evicts it: its channel is never full.", ""],
    "broken": {
        **SIDE,
        "title": "Without",
        "chart": {"label": "waiting", "unit": "messages", "points": [[0, 0], [1, 9]]},
    },
    "real": {**SIDE, "title": "With", "seen": [["messages waiting", "256"]]},
    "why": "Because.\n\nThat is why.",
}


def thread(name: str, state: str, on: str = "", line: int = 136) -> dict[str, Any]:
    """A Thread of the protocol, which is inside Channel.receive."""
    stack = [["client.py", 80, "Client.write_pump"], ["channel.py", line, "Channel.receive"]]
    return {"name": name, "state": state, "on": on, "for": 1.5, "stack": stack} | dict(
        zip(("file", "line", "function"), stack[-1], strict=True)
    )


def channel(name: str, pending: int = 0, capacity: int = 256) -> dict[str, Any]:
    return {
        "name": name, "pending": pending, "capacity": capacity, "senders": 0, "receivers": 1, "closed": False
    }  # fmt: skip


def held(size: int, room: int) -> dict[str, int]:
    """What the kernel holds, without its bookkeeping."""
    return {"bytes": size, "used": size, "room": room}


def client(
    number: int, pending: int = 0, state: str = "receiving", name: str = "bot", line: int = 136
) -> dict[str, Any]:
    return {
        "number": number,
        "name": name,
        "read_pump": thread(f"readPump-{number}", "reading", "socket"),
        "write_pump": thread(f"writePump-{number}", state, f"send-{number}", line),
        "send": channel(f"send-{number}", pending),
        "away": state == "stuck",
        "waits": 1.5 if state == "stuck" else 0,
        "kernel": held(0, 4608),
        "unread": held(0, 4096),
        "evicted": False,
        "messages_in": 0,
        "messages_out": 6,
        "frames_out": 3,
        "pinned": False,
    }


class Inspector:
    """The server's side of the protocol. Each `show` sends one picture, with a time 0.1 s after that of the last."""

    def __init__(self) -> None:
        self.asked: list[str] = []  # the addresses that were asked for, with their queries
        self.done: list[dict[str, Any]] = []  # the actions that were posted to inspect/do
        self.headers: list[dict[str, str]] = []  # of these posts
        self.source = SOURCE
        self.sources_together = threading.Barrier(1)  # how many must be asked for until they are answered
        self.journey = JOURNEY
        self.refusal = ""  # why the next actions are refused, if they are
        self.up = True
        self._lock = threading.Lock()  # guards the next two, so that a new stream misses no picture
        self._streams: list[tuple[str, queue.Queue[str | None]]] = []  # with the rooms that they show
        self._last: dict[str, str] = {}  # by room
        self._tenths = 0
        self._server = make_server("127.0.0.1", 0, self, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/inspect"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def show(self, *clients: dict[str, Any], events: list[dict[str, Any]] | None = None, **changed: Any) -> None:
        self._tenths += 1
        t = self._tenths / 10
        picture = {
            "t": t,
            "room": "lobby",
            "log": LOG,
            "cost_ms": 0.5,
            "demo": True,
            "hub": {
                "thread": thread("hub", "selecting"), "paused": changed.pop("paused", False),
                "clients": len(clients), "messages": 7, "batches": 7, "evicted": 0,
            },
            "channels": {
                "register": channel("register", 0, 0), "unregister": channel("unregister", 0, 0),
                "broadcast": channel("broadcast", 3),
            },
            "run_queue": {"turns": 1, "free": 1, "waiting": 0},
            "clients": clients,
            "crowd": {"count": 0, "fill": [len(clients)] + 15 * [0], "reading": {}, "writing": {}},
            "rates": {"messages": 2.0, "deliveries": 4.0, "frames": 4.0, "messages_a_frame": 1.0},
            "events": [{"t": t, **event} for event in events or []],
            **changed,
        }  # fmt: skip
        self._send(picture)

    def gone(self, room: str, **more: Any) -> None:
        """Say that there is no such room."""
        self._tenths += 1
        self._send({"t": self._tenths / 10, "room": room, "gone": True, "events": [], **more})

    def _send(self, picture: dict[str, Any]) -> None:
        with self._lock:
            self._last[picture["room"]] = text = json.dumps(picture)
            for room, stream in self._streams:
                if room == picture["room"]:
                    stream.put(text)

    def restart(self) -> None:
        """Count the time of the pictures from zero again, as a new server does."""
        self._tenths = 0

    def lose(self) -> None:
        """End all connections, and refuse new ones until `up` is set again."""
        self.up = False
        self._end_streams()

    def close(self) -> None:
        self._end_streams()
        self._server.shutdown()
        self._thread.join(LIMIT)
        self._server.server_close()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        response = self._respond(request)
        response.headers.update(SECURITY_HEADERS)
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        self.asked.append(request.full_path.rstrip("?"))
        if not self.up:
            return Response(status=503)
        match request.path.removeprefix("/").split("/"):
            case ["inspect"]:
                return send_from_directory(WWW, "inspect/index.html", request.environ)
            case ["static", *path]:
                return send_from_directory(WWW, "/".join(path), request.environ)
            case ["inspect", "live"]:
                return Response(self._stream(request.args.get("room", "lobby").lower()), mimetype="text/event-stream")
            case ["inspect", "source"]:
                self.sources_together.wait(LIMIT)
                return self._json(self.source)
            case ["inspect", "message", "41"]:
                return self._json(self.journey)
            case ["inspect", "lessons"]:
                return self._json([LESSON, NEXT_LESSON])
            case ["inspect", "lessons", name]:
                return self._json(LESSON_SEEN if name in [done.get("name") for done in self.done] else None)
            case ["inspect", "do"]:
                self.headers.append(dict(request.headers))
                self.done.append(json.loads(request.get_data()))
                if self.refusal:
                    return self._json({"error": self.refusal}, 400)
                return self._json({"ok": True, "lesson": LESSON_SEEN})
        return Response(status=404)

    @staticmethod
    def _json(value: object, status: int = 200) -> Response:
        return Response(json.dumps(value), status, mimetype="application/json")

    def _stream(self, room: str) -> Iterator[str]:
        pictures: queue.Queue[str | None] = queue.Queue()
        with self._lock:
            if room in self._last:
                pictures.put(self._last[room])
            self._streams.append((room, pictures))
        while (picture := pictures.get()) is not None:
            yield f"event: picture\ndata: {picture}\n\n"

    def _end_streams(self) -> None:
        for _, stream in self._streams:
            stream.put(None)


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    inspector = Inspector()
    yield inspector
    inspector.close()


Look = Callable[..., Page]


@pytest.fixture
def errors() -> list[str]:
    """The errors in the browser's console."""
    return []


@pytest.fixture
def look(browser: Browser, inspector: Inspector, errors: list[str]) -> Iterator[Look]:
    """`look(*scripts, **options)` opens the page, once, with options of the browser's context; it is connected then.

    With `tour=True` it is the page's first time, and the tour opens by itself.
    """
    contexts = []

    def open_page(*scripts: str, tour: bool = False, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(1_000 * LIMIT)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        for script in (PATIENT, *scripts) if tour else (PATIENT, NO_TOUR, *scripts):
            page.add_init_script(script)
        inspector.show(client(1), client(2))
        page.goto(inspector.url)
        expect(page.locator("#status")).to_have_text("Connected")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def row_of(page: Page, number: int) -> Locator:
    return page.get_by_role("group", name=f"client {number},")


def gauge_of(page: Page, number: int) -> Locator:
    return page.get_by_role("button", name=f"send channel of client {number}:")


def write_pump_of(page: Page, number: int) -> Locator:
    return page.get_by_role("button", name=f"write pump of client {number}:")


def log_of(page: Page) -> Locator:
    return page.locator("#log > :visible")
