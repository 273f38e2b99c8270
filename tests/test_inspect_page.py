"""The inspector's page in a real browser, against a stub that shows it the pictures a test wants.

The stub speaks the inspector's protocol and sends the app's own security headers. A test that leaves an error in the
browser's console fails: a violation of the content security policy is one.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT, luminance, ratio, until
from playwright.sync_api import Browser, Locator, Page, expect
from werkzeug.serving import make_server
from werkzeug.utils import send_from_directory
from werkzeug.wrappers import Request, Response

from threadchat.web.app import SECURITY_HEADERS

WWW = Path(__file__).parents[1] / "www"
EVIL = '<img src=x onerror="document.title=1"><b>bold</b>'
REASON = "1008 evicted: not reading fast enough; 256 of 256 messages were waiting when more came"

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

SIDE = {"title": "", "source": SOURCE, "seen": [["messages waiting", "48,211"]], "chart": None}
LESSON = {
    "name": "no-limit",
    "title": "No limit",
    "question": "What happens?",
    "choices": ["It is evicted", "Memory grows"],
}
LESSON_SEEN = {
    **LESSON,
    "answer": 1,
    "broken": {
        **SIDE,
        "title": "Without",
        "chart": {"label": "waiting", "unit": "messages", "points": [[0, 0], [1, 9]]},
    },
    "real": {**SIDE, "title": "With", "seen": [["messages waiting", "256"]]},
    "why": "Because.\n\nThat is why.",
}


def thread(name: str, state: str, on: str = "", line: int = 136) -> dict[str, Any]:
    """A Thread of the protocol, somewhere inside Channel.receive."""
    stack = [["client.py", 80, "Client.write_pump"], ["channel.py", line, "Channel.receive"]]
    return {"name": name, "state": state, "on": on, "for": 1.5, "stack": stack} | dict(
        zip(("file", "line", "function"), stack[-1], strict=True)
    )


def channel(name: str, pending: int = 0, capacity: int = 256) -> dict[str, Any]:
    return {
        "name": name, "pending": pending, "capacity": capacity, "senders": 0, "receivers": 1, "closed": False
    }  # fmt: skip


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
        "evicted": False,
        "messages_in": 0,
        "messages_out": 6,
        "frames_out": 3,
        "pinned": False,
    }


class Inspector:
    """The server's side of the protocol. Each `show` sends one picture, a tenth of a second after the one before."""

    def __init__(self) -> None:
        self.asked: list[str] = []  # addresses, with what stands behind the question mark
        self.done: list[dict[str, Any]] = []  # what was posted to inspect/do
        self.headers: list[dict[str, str]] = []
        self.refusal = ""
        self.up = True
        self._lock = threading.Lock()  # guards both: a new stream misses no picture
        self._streams: list[queue.Queue[str | None]] = []
        self._last = ""
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
        with self._lock:
            self._last = json.dumps(picture)
            for stream in self._streams:
                stream.put(self._last)

    def lose(self) -> None:
        """End all connections, and take no new ones until `up` is set again."""
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
                return Response(self._stream(), mimetype="text/event-stream")
            case ["inspect", "source"]:
                return self._json(SOURCE)
            case ["inspect", "message", "41"]:
                return self._json(JOURNEY)
            case ["inspect", "lessons"]:
                return self._json([LESSON])
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

    def _stream(self) -> Iterator[str]:
        pictures: queue.Queue[str | None] = queue.Queue()
        with self._lock:
            pictures.put(self._last)
            self._streams.append(pictures)
        while (picture := pictures.get()) is not None:
            yield f"event: picture\ndata: {picture}\n\n"

    def _end_streams(self) -> None:
        for stream in self._streams:
            stream.put(None)


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    inspector = Inspector()
    yield inspector
    inspector.close()


Look = Callable[..., Page]


@pytest.fixture
def errors() -> list[str]:
    """What the browser's console said that was an error."""
    return []


@pytest.fixture
def look(browser: Browser, inspector: Inspector, errors: list[str]) -> Iterator[Look]:
    """Open the page, once: `look(*scripts, **options of the browser's context)`. It is connected on return."""
    contexts = []

    def open_page(*scripts: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        for script in scripts:
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


def texts(page: Page, within: str) -> dict[str, float]:
    """Every text that is seen, and its contrast to what lies behind it: the worst, where it stands there twice."""
    found = page.locator(within).evaluate("""root => {
        const clear = "rgba(0, 0, 0, 0)", found = [];
        const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            let item = walker.currentNode.parentElement;
            const text = walker.currentNode.data.trim();
            if (!text || !item.checkVisibility({visibilityProperty: true})) continue;
            const ink = getComputedStyle(item).color;
            while (getComputedStyle(item).backgroundColor === clear) item = item.parentElement;
            found.push([text, ink, getComputedStyle(item).backgroundColor]);
        }
        return found;
    }""")
    seen: dict[str, float] = {}
    for text, ink, behind in found:
        seen[text] = min(ratio(ink, behind), seen.get(text, 21))
    return seen


def focused(page: Page) -> str:
    """What a screen reader would call the element that has the focus."""
    return str(page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"))


# What is seen


def test_a_stuck_client_is_seen_filling_and_evicted_with_the_reason(inspector: Inspector, look: Look) -> None:
    page = look()
    for pending in 40, 120, 255:
        inspector.show(client(1), client(2, pending, "stuck"))
        expect(gauge_of(page, 2)).to_contain_text(f"{pending}/256")
    expect(write_pump_of(page, 2)).to_contain_text("stuck")
    expect(page.locator("#hint")).to_contain_text("The peer of client 2 does not read")
    inspector.show(client(1), events=[{"kind": "evicted", "client": 2, "name": "bot", "reason": REASON}])
    expect(row_of(page, 2)).to_contain_text("evicted: not reading fast enough")
    expect(gauge_of(page, 2)).to_contain_text("256/256")
    expect(page.locator("#why")).to_contain_text("Client 2 (bot) was evicted: not reading fast enough; 256 of 256")
    expect(page.locator("#why")).to_contain_text("its peer stopped reading")
    expect(page.locator("#why")).to_contain_text("Nobody else waited")
    expect(page.locator("[aria-live]#aloud")).to_contain_text("Client 2 (bot) was evicted")
    expect(log_of(page).first).to_contain_text("client 2, bot, evicted: not reading fast enough")
    expect(write_pump_of(page, 1)).to_contain_text("receiving")


def test_a_thousand_clients_stay_a_crowd_in_any_window(inspector: Inspector, look: Look) -> None:
    page = look()
    crowd = {
        "count": 976,
        "fill": [900, *(14 * [5]), 30],
        "reading": {"reading": 994, "sending": 6},
        "writing": {"receiving": 900, "ready": 70, "writing": 30},
    }
    inspector.show(*(client(number) for number in range(1, 25)), crowd=crowd)
    everybody = page.get_by_role("group", name="All clients")
    for width, height in (1280, 800), (1920, 1080), (390, 844):
        page.set_viewport_size({"width": width, "height": height})
        expect(page.locator(".row")).to_have_count(24)
        for words in "all 1,000", "976 not drawn", "994reading", "6sending", "70ready", "30 send channels nearly full":
            expect(everybody).to_contain_text(words)
        expect(everybody).to_be_in_viewport()
        expect(page.locator("#wires > .wire").first).to_be_visible(visible=width > 760)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    inspector.show(client(1))
    expect(everybody).to_be_hidden()
    expect(page.locator(".row")).to_have_count(1)


def test_names_and_messages_are_text_and_never_html(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(
        client(1, name=EVIL),
        events=[
            {"kind": "message", "id": 41, "client": 1, "text": EVIL},
            {"kind": "evicted", "client": 2, "name": EVIL, "reason": EVIL},
        ],
    )
    expect(row_of(page, 1)).to_contain_text(EVIL)
    expect(page.locator("#why")).to_contain_text(EVIL)
    expect(log_of(page)).to_have_count(2)
    page.get_by_role("button", name=EVIL).click()
    expect(page.locator("#detail")).to_contain_text("hello")
    assert page.locator("main :is(img, b b)").count() == 0
    expect(page).to_have_title("threadchat: the inspector")


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_messages_move_unless_motion_shall_be_reduced(inspector: Inspector, look: Look, motion: str) -> None:
    page = look(COUNT_ANIMATIONS, reduced_motion=motion)
    inspector.show(client(1), client(2), events=[{"kind": "message", "id": 41, "client": 1, "text": "hello"}])
    expect(page.get_by_role("button", name="hello")).to_be_visible()
    # The events of a picture are drawn before the next picture is.
    inspector.show(client(1, pending=9), client(2))
    expect(gauge_of(page, 1)).to_contain_text("9/256")
    assert bool(page.evaluate("document.animations")) == (motion == "no-preference")


def test_a_lost_connection_is_said_and_found_again(inspector: Inspector, look: Look, errors: list[str]) -> None:
    page = look()
    inspector.lose()
    expect(page.get_by_role("status").first).to_contain_text("The connection to the server is lost")
    expect(page.locator("#when")).to_have_text("last picture")
    expect(row_of(page, 1)).to_be_visible()
    inspector.up = True
    expect(page.locator("#status")).to_have_text("Connected")
    inspector.show(client(1, pending=9), client(2))
    expect(gauge_of(page, 1)).to_contain_text("9/256")
    errors.clear()  # the browser's own words about the connection


# Looking closer


def test_a_message_is_followed_from_step_to_step(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(client(1), client(2), events=[{"kind": "message", "id": 41, "client": 1, "text": "hello"}])
    page.get_by_role("button", name="hello").click()
    detail = page.get_by_role("region", name="The journey of a message")
    steps = detail.locator(".steps > li")
    expect(steps.locator("strong")).to_have_text(["typed", "read", "broadcast", "buffered", "coalesced", "written"])
    expect(steps.locator(".at")).to_have_text(["0.00 ms", "1.25 ms", "1.50 ms", "2.00 ms", "3.00 ms", "4.50 ms"])
    expect(steps.nth(1)).to_contain_text("readPump-1\nclient.py:61")
    expect(detail.get_by_role("row", name="1 a")).to_have_text("1 a2.003.0054.50")
    expect(detail.get_by_role("row", name="2 b")).to_contain_text("evicted")


def test_a_message_too_old_is_said_to_be_unknown(inspector: Inspector, look: Look, errors: list[str]) -> None:
    page = look()
    inspector.show(client(1), events=[{"kind": "message", "id": 7, "client": 1, "text": "long ago"}])
    page.get_by_role("button", name="long ago").click()
    expect(page.locator("#detail")).to_contain_text("This message is too old")
    errors.clear()  # the browser's own words about the 404


def test_a_thread_shows_the_line_it_is_at_with_the_go_beside(inspector: Inspector, look: Look) -> None:
    page = look()
    write_pump_of(page, 2).click()
    detail = page.get_by_role("region", name="writePump-2")
    expect(detail.locator("[aria-current]")).to_have_text("receiver.park()")
    expect(detail.locator("[aria-current]")).to_have_attribute("data-line", "136")
    expect(detail.get_by_label("The same in Go")).to_have_text("message, ok := <-c.send")
    expect(detail.locator(".frames > li")).to_have_text(
        ["Client.write_pump client.py:80", "Channel.receive channel.py:136"]
    )
    assert "/inspect/source?file=channel.py&function=Channel.receive" in inspector.asked
    detail.get_by_role("button", name="Client.write_pump").click()
    expect(detail.get_by_role("heading", name="Client.write_pump in channel.py")).to_be_visible()
    detail.get_by_role("button", name="Channel.receive").click()
    expect(detail.locator("[aria-current]")).to_have_text("receiver.park()")
    inspector.show(client(1), client(2, state="running", line=137))
    expect(detail.locator("[aria-current]")).to_have_text("return item")
    expect(detail.locator(".changes")).to_contain_text("running")


def test_a_channel_shows_its_fill_and_a_pinned_client_is_watched(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(client(1), client(2, pending=200))
    gauge_of(page, 2).click()
    detail = page.get_by_role("region", name="channel send-2")
    expect(detail).to_contain_text("200 of 256 messages are waiting in it")
    expect(detail).to_contain_text("At most 200 of 256.")
    detail.get_by_role("button", name="Pin client 2").click()
    expect(detail.get_by_role("button", name="Client 2 is pinned")).to_have_attribute("aria-pressed", "true")
    until(lambda: "/inspect/live?watch=2" in inspector.asked, "a connection that watches client 2")
    inspector.show(client(2, pending=201))
    expect(detail).to_contain_text("201 of 256")


def test_in_a_crowd_a_client_that_is_looked_into_is_watched(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(
        client(1, pending=1), client(2), crowd={"count": 7, "fill": [9] + 15 * [0], "reading": {}, "writing": {}}
    )
    expect(page.get_by_role("group", name="All clients")).to_contain_text("7 not drawn")
    write_pump_of(page, 2).click()
    until(lambda: "/inspect/live?watch=2" in inspector.asked, "a connection that watches client 2")
    page.keyboard.press("Escape")
    until(lambda: inspector.asked[-1] == "/inspect/live", "a connection that watches nobody")


# Time


def test_while_paused_older_pictures_can_be_seen(inspector: Inspector, look: Look) -> None:
    page = look()
    for pending in 10, 20, 30:
        inspector.show(client(1, pending), events=[{"kind": "joined", "client": pending, "name": "bot"}])
    expect(gauge_of(page, 1)).to_contain_text("30/256")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    inspector.show(client(1, 40), events=[{"kind": "joined", "client": 40, "name": "bot"}])
    expect(page.locator("#when")).to_have_text("0.1 s ago")
    expect(gauge_of(page, 1)).to_contain_text("30/256")
    page.keyboard.press("ArrowLeft")
    expect(gauge_of(page, 1)).to_contain_text("20/256")
    expect(log_of(page)).to_have_count(2)
    page.get_by_role("button", name="One picture back").click()
    expect(gauge_of(page, 1)).to_contain_text("10/256")
    page.get_by_role("slider", name="The last minute").press("End")
    expect(gauge_of(page, 1)).to_contain_text("40/256")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#when")).to_have_text("live")
    expect(log_of(page)).to_have_count(4)
    inspector.show(client(1, 50))
    expect(gauge_of(page, 1)).to_contain_text("50/256")
    expect(page.get_by_role("link", name="Export trace")).to_have_attribute("href", "inspect/trace")


def test_it_can_be_used_by_keyboard_alone(inspector: Inspector, look: Look) -> None:
    page = look()
    for _ in range(40):
        page.keyboard.press("Tab")
        if focused(page).startswith("read pump of client 1"):
            break
    page.keyboard.press("ArrowDown")
    assert focused(page).startswith("read pump of client 2")
    page.keyboard.press("Tab")
    assert focused(page).startswith("send channel of client 2")
    expect(page.locator("#hint")).to_contain_text("Channel send-2: 0 of 256 messages are waiting in it")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(gauge_of(page, 2)).to_be_focused()
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    page.keyboard.press("l")
    expect(page.locator("#when")).to_have_text("live")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="How to read it")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_in_light_and_in_dark(inspector: Inspector, look: Look, scheme: str) -> None:
    page = look(color_scheme=scheme, reduced_motion="reduce")
    states = "ready", "running", "writing", "stuck", "sending", "paused", "leaving", "gone"
    busy = [client(number, 30 * number, state) for number, state in enumerate(states, 3)]
    inspector.show(client(1), client(2), *busy)
    evicted = {"kind": "evicted", "client": 6, "name": "bot", "reason": REASON}
    said = {"kind": "message", "id": 41, "client": 1, "text": "hello"}
    inspector.show(client(1), client(2), *busy, events=[said, evicted])
    expect(page.locator("#why")).to_contain_text("was evicted")
    gauge_of(page, 5).click()
    expect(page.locator("#detail")).to_be_visible()
    seen = texts(page, "body")
    for text in *states, "receiving", "reading", "90/256", "Pause", "Say", "Guide", "hello":
        assert any(text in each for each in seen), text
    page.get_by_role("button", name="Lessons").click()
    page.get_by_label("It is evicted").check()
    page.get_by_role("button", name="Run it").click()
    expect(page.locator("#lessons .verdict")).to_be_visible()
    seen |= texts(page, "#lessons")
    assert {text: ratio for text, ratio in seen.items() if ratio < 4.5} == {}
    behind = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert luminance(behind) > 0.5 if scheme == "light" else luminance(behind) < 0.1


# Doing something to it


def test_what_is_done_to_the_server_is_what_the_protocol_says(inspector: Inspector, look: Look) -> None:
    page = look()
    posts = 0

    def press(name: str) -> None:
        page.get_by_role("button").filter(has_text=name).or_(page.get_by_role("button", name=name)).click()
        posted()

    def enter(label: str, text: str) -> None:
        page.get_by_label(label).fill(text)
        page.get_by_label(label).press("Enter")
        posted()

    def posted() -> None:
        """Each action is a request of its own, so the next waits for it."""
        nonlocal posts
        posts += 1
        until(lambda: len(inspector.done) == posts, "the action's request")

    press("Add a client that stops reading")
    press("Add 100, each of which only listens")
    press("Burst of 1,000")
    press("Hold the hub")
    inspector.show(client(1), client(2), paused=True)
    press("Release the hub")
    enter("Send buffer", "64")
    enter("Talkers say", "0.5")
    press("Make client 1,")
    press("Have client 2,")
    enter("Say something", " hello ")
    say = inspector.done[-1]
    assert isinstance(say.pop("typed"), int)
    assert inspector.done == [
        {"action": "add", "kind": "stuck", "count": 1},
        {"action": "add", "kind": "quiet", "count": 100},
        {"action": "burst", "messages": 1000},
        {"action": "pause"},
        {"action": "resume"},
        {"action": "buffer", "messages": 64},
        {"action": "pace", "messages_a_second": 0.5},
        {"action": "vanish", "client": 1},
        {"action": "remove", "client": 2},
        {"action": "say", "text": "hello"},
    ]
    assert {headers["X-Threadchat"] for headers in inspector.headers} == {"inspect"}
    assert {headers["Content-Type"] for headers in inspector.headers} == {"application/json"}


def test_what_the_server_refuses_is_shown_as_text(inspector: Inspector, look: Look, errors: list[str]) -> None:
    page = look()
    inspector.refusal = f"There is no such client. {EVIL}"
    page.get_by_role("button", name="Burst").click()
    expect(page.locator("#done")).to_have_text(inspector.refusal)
    errors.clear()  # the browser's own words about the 400


def test_without_the_demo_there_is_nothing_to_do_but_to_say_something(inspector: Inspector, look: Look) -> None:
    page = look()
    expect(page.get_by_role("button", name="Burst")).to_be_visible()
    inspector.show(client(1), demo=False)
    expect(page.get_by_role("button", name="Burst")).to_be_hidden()
    expect(page.get_by_role("button").filter(has_text="Make client 1,")).to_be_hidden()
    expect(page.get_by_role("button", name="Say")).to_be_visible()


def test_a_lesson_asks_first_and_then_shows_broken_beside_real(inspector: Inspector, look: Look) -> None:
    page = look()
    page.get_by_role("button", name="Lessons").click()
    dialog = page.get_by_role("dialog", name="Lessons")
    expect(dialog.get_by_role("button", name="Run it")).to_be_disabled()
    dialog.get_by_label("It is evicted").check()
    dialog.get_by_role("button", name="Run it").click()
    expect(dialog.locator(".verdict")).to_have_text("What happens: Memory grows")
    expect(dialog.get_by_role("region", name="Without")).to_contain_text("48,211")
    expect(dialog.get_by_role("img", name="waiting: at most 9.0 messages")).to_be_visible()
    expect(dialog.get_by_role("region", name="With", exact=True)).to_contain_text("256")
    expect(dialog.locator(".result > p").last).to_have_text("That is why.")
    assert inspector.done == [{"action": "lesson", "name": "no-limit"}]
