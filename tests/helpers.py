"""What the tests share: waiting, threads, peers that speak raw bytes, a server in this process and one of its own."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage, HTTPResponse
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Protocol, Self, TypeVar

import pytest
from playwright.sync_api import Page
from websockets.exceptions import ConnectionClosed as PeerConnectionClosed
from websockets.frames import Close
from websockets.sync.client import ClientConnection

from threadchat import hub
from threadchat.channel import Channel, select
from threadchat.inspector.site import InspectedApp
from threadchat.inspector.watch import Watch, WatchedClient, WatchedHub
from threadchat.options import Options
from threadchat.web.app import App, create_app
from threadchat.web.server import Server
from threadchat.websocket.connection import ConnectionClosed

T = TypeVar("T")

LIMIT = 20.0  # seconds; bounds a failure, nothing waits for it to pass
FAR = 3600.0  # seconds; a deadline that no test reaches

THREADCHAT = [sys.executable, "-W", "error", "-m", "threadchat"]

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


def until(condition: Callable[[], object], what: str = "the condition", limit: float = LIMIT) -> None:
    """Return as soon as the condition holds; fail if it does not within the limit."""
    deadline = time.monotonic() + limit
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {limit:g} s"
        pause.wait(0.001)


def instructions(work: Callable[[], object]) -> int:
    """How many bytecode instructions the interpreter executes in this thread while it calls `work`.

    The number depends on the interpreter's version: compare it only with others of the same run.
    """
    executed = 0
    if sys.version_info >= (3, 12):  # where a trace function no longer sees the instructions of every frame
        thread = threading.get_ident()

        def count(code: CodeType, offset: int) -> None:
            nonlocal executed
            executed += threading.get_ident() == thread

        monitoring, tool = sys.monitoring, 3  # the lowest number that neither a debugger nor coverage uses
        monitoring.use_tool_id(tool, "instructions")
        monitoring.register_callback(tool, monitoring.events.INSTRUCTION, count)
        monitoring.set_events(tool, monitoring.events.INSTRUCTION)
        try:
            work()
        finally:
            monitoring.set_events(tool, 0)
            monitoring.register_callback(tool, monitoring.events.INSTRUCTION, None)
            monitoring.free_tool_id(tool)
        return executed

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal executed
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        executed += event == "opcode"
        return trace

    before = sys.gettrace()  # coverage's
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return executed


# Threads


def go(function: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
    """Go's `go` statement: call it in a thread of its own. The future has what it returned or raised."""
    future: Future[T] = Future()

    def body() -> None:
        try:
            value = function(*arguments, **named)
        except BaseException as raised:
            future.set_exception(raised)
        else:
            future.set_result(value)

    threading.Thread(target=body, daemon=True).start()
    return future


def run(function: Callable[[], object], *, harmless: tuple[type[Exception], ...] = ()) -> threading.Thread:
    """A thread that runs the function; a connection that was closed is no failure, nor what else is harmless."""

    def body() -> None:
        with suppress(ConnectionClosed, *harmless):
            function()

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def join(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive(), "the thread was not freed"


@contextmanager
def switching_often() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def hub_selects_first(monkeypatch: pytest.MonkeyPatch, *channels: Channel[Any]) -> None:
    """From its next select on the hub takes what waits in these channels first, in their order, and not by chance."""

    def chosen(*all_channels: Channel[Any]) -> tuple[Channel[Any], Any]:
        for channel in channels:
            with suppress(TimeoutError):
                return select(channel, timeout=0)
        return select(*all_channels)

    monkeypatch.setattr(hub, "select", chosen)


class Observed:
    """A lock that tells when a thread has to wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.waited_for = threading.Event()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.waited_for.set()
            self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


def pump_names() -> list[str]:
    """The names of the pumps alive in this process, sorted."""
    return sorted(thread.name for thread in threading.enumerate() if "Pump-" in thread.name)


# Peers

HANDSHAKE = {  # RFC 6455, section 1.3
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@dataclass
class Frame:
    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2], "big")


def frame(
    opcode: int, payload: bytes | str = b"", *, fin: bool = True, masked: bool = True, mask: bytes | None = None
) -> bytes:
    """A client's frame as it goes over the wire (RFC 6455, section 5.2), by a random mask unless one is given."""
    if isinstance(payload, str):
        payload = payload.encode()
    size = len(payload)
    if size < 126:
        length = bytes([masked << 7 | size])
    elif size < 65536:
        length = struct.pack("!BH", masked << 7 | 126, size)
    else:
        length = struct.pack("!BQ", masked << 7 | 127, size)
    mask = (mask or os.urandom(4)) if masked else b""
    if masked:
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([fin << 7 | opcode]) + length + mask + payload


def deflate(text: str) -> bytes:
    """The payload of a compressed message (RFC 7692, section 7.2.1)."""
    squeeze = zlib.compressobj(wbits=-15)
    return (squeeze.compress(text.encode()) + squeeze.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


class Peer:
    """A WebSocket client made of a socket and nothing else: it reads only when told, and can send any bytes."""

    def __init__(
        self,
        port: int,
        path: str = "/ws",
        *,
        behind: bytes = b"",
        headers: str = "",
        receive_buffer: int | None = None,
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(LIMIT)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self._buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
            + behind
        )
        try:
            self.read_answer()
        except BaseException:
            self.close()
            raise

    def read_answer(self) -> None:
        """The head of the answer to the handshake. Raises EOFError where there is none."""
        while b"\r\n\r\n" not in self._buffer:
            self._more(at_boundary=not self._buffer)
        self.answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")

    def send(self, opcode: int, payload: bytes | str = b"", *, fin: bool = True) -> None:
        self.socket.sendall(frame(opcode, payload, fin=fin))

    def receive(self) -> Frame:
        """The next frame. Raises EOFError where the server ended the connection between frames."""
        head = self._exactly(2)
        assert not head[1] & 0x80, "a server's frame is not masked"
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._exactly(8))
        return Frame(head[0] & 0x0F, self._exactly(size), bool(head[0] & 0x80))

    def receive_all(self) -> list[Frame]:
        """All frames until the end of the connection."""
        frames = []
        try:
            while True:
                frames.append(self.receive())
        except EOFError:
            return frames

    def rest(self) -> bytes:
        """All bytes until the end of the connection."""
        return self._buffer + read_all(self.socket)

    def lines(self, count: int) -> list[str]:
        """The next `count` chat messages, of however many text frames."""
        lines: list[str] = []
        while len(lines) < count:
            got = self.receive()
            assert got.opcode == TEXT, got
            lines += got.payload.decode().split("\n")
        assert len(lines) == count, lines
        return lines

    def read_a_byte(self) -> None:
        """And keep it for `receive`."""
        self._buffer += self.socket.recv(1)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """End the connection by a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more(at_boundary=not self._buffer and size == 2)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _more(self, at_boundary: bool = False) -> None:
        data = self.socket.recv(65536)
        if not data:
            assert at_boundary, f"the connection ended inside a frame, after {self._buffer!r}"
            raise EOFError
        self._buffer += data


def drip(peer: socket.socket, data: bytes, pause: Callable[[], object]) -> bool:
    """Send the data a byte at a time, with a pause after each; False if the other end gave up before the last."""
    peer.setblocking(False)
    for byte in data:
        try:
            peer.send(bytes([byte]))
            if not peer.recv(1):
                return False
        except BlockingIOError:
            pass
        except ConnectionError:
            return False
        pause()
    return True


class OtherEnd(Peer):
    """The peer of a WebSocket that was made without a server."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.socket.settimeout(LIMIT)
        self._buffer = b""


def read_all(end: socket.socket) -> bytes:
    """All bytes until the other end has ended the connection."""
    data = b""
    while more := end.recv(65536):
        data += more
    return data


def close_frame(client: ClientConnection) -> Close:
    """The close frame that a client of another library gets, and nothing before it."""
    with pytest.raises(PeerConnectionClosed) as closed:
        client.recv(LIMIT)
    assert closed.value.rcvd is not None, "the connection ended without a close frame"
    return closed.value.rcvd


# HTTP


class Listening(Protocol):
    """A server in this process, or one of its own."""

    @property
    def port(self) -> int: ...


@dataclass
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes


def ask(
    server: Listening, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """Send one request, its path as it stands, and read the answer (of a 101: the head)."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def handshake(server: Listening, **changes: str | None) -> Answer:
    """A WebSocket's opening handshake with some headers changed or, where None, left out."""
    changed = {name.replace("_", "-"): value for name, value in changes.items()}
    headers = {name: value for name, value in {**HANDSHAKE, **changed}.items() if value is not None}
    return ask(server, "GET", "/ws", headers)


# The server's end, without a server


def tcp_pair(receive_buffer: int | None = None) -> tuple[socket.socket, socket.socket]:
    """The server's and the peer's end of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.socket()
        if receive_buffer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        peer.connect(listener.getsockname())
        return listener.accept()[0], peer


def handshake_environ(end: object, reader: object) -> dict[str, Any]:
    """The environ of a handshake, as werkzeug hands it over with the socket and what was read ahead from it."""
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HANDSHAKE.items()}
    return {**headers, "HTTP_HOST": "127.0.0.1", "werkzeug.socket": end, "wsgi.input": reader}


class Tap:
    """A socket with another `send`; the rest is the real one's. It notes the calls of these three methods."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.calls: list[str] = []
        self.on_send: Callable[[Any], int] = real.send

    def send(self, data: Any) -> int:
        self.calls.append("send")
        return self.on_send(data)

    def shutdown(self, how: int) -> None:
        self.calls.append("shutdown")
        self.real.shutdown(how)

    def close(self) -> None:
        self.calls.append("close")
        self.real.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class CountingPoller:
    """Stands where a `select.poll` object is, and counts the calls."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.polls = 0

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        self.polls += 1
        ready: list[tuple[int, int]] = self._real.poll(timeout)
        return ready


# Servers


class Running:
    """A threadchat server in this process, on 127.0.0.1."""

    def __init__(
        self,
        port: int = 0,
        make_app: Callable[[Options], App] = create_app,
        *,
        trusted_proxies: int = 0,
        **options: Any,
    ) -> None:
        self.app = make_app(Options(**options))
        self.server = Server(self.app, "127.0.0.1", port, trusted_proxies)
        self.server.start()
        self.port = self.server.port
        self.url = f"http://127.0.0.1:{self.port}/"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"
        self._running = True

    @property
    def clients(self) -> set[Any]:
        """The hub's clients, as seen from outside at this instant."""
        return set(self.app.hub.clients)

    @property
    def deserted(self) -> bool:
        """Neither the hub has a client, nor is a pump alive."""
        return not self.clients and not pump_names()

    def stop(self) -> None:
        if self._running:
            self._running = False
            self.server.stop()

    def stop_in_thread(self) -> threading.Thread:
        """For a stop that waits for what the test does meanwhile."""
        return run(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class Inspected(Running):
    """A threadchat server with the inspector."""

    def __init__(self, *, demo: bool = False, anywhere: bool = False, **options: Any) -> None:
        self.inspected: InspectedApp

        def make_app(options: Options) -> App:
            self.inspected = InspectedApp(options, demo=demo, anywhere=anywhere)
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

    def client(self, number: int = 1) -> WatchedClient:
        return self.watch.clients[number]

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """The status and the JSON of the answer (None if it is none)."""
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
    def look(self, *pinned: int) -> Iterator[Look]:
        """Somebody who looks."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)) as connection:
            connection.request("GET", f"/inspect/live?watch={','.join(map(str, pinned))}")
            with closing(connection.getresponse()) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith("text/event-stream")
                yield Look(answer)


class Look:
    """The pictures that come, and all events that came with them."""

    def __init__(self, answer: HTTPResponse) -> None:
        self._answer = answer
        self.events: list[dict[str, Any]] = []

    def picture(self) -> dict[str, Any]:
        """The next one. Raises EOFError where there are no more."""
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
        """The first picture of which the condition holds."""
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


class Serve(Protocol):
    """The fixture `serve`."""

    def __call__(self, port: int = 0, **options: Any) -> Running: ...


def all_gone(server: Running) -> None:
    until(lambda: server.deserted, "the end of the clients' pumps")


class Process:
    """A process whose standard output and error go to files, where they can be read while it runs."""

    def __init__(
        self,
        folder: Path,
        command: list[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env=env, pass_fds=pass_fds
            )
        self.pid = self.process.pid

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def port(self) -> int:
        """Of the first address that it has printed; waits until it has."""
        pattern = re.compile(r"https?://\S+:(\d+)")
        until(lambda: pattern.search(self.out + self.err) or self.ended, "the line with the address")
        found = pattern.search(self.out + self.err)
        assert found, f"it ended with {self.process.returncode}: {self.out}{self.err}"
        return int(found[1])

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait_for(self, pattern: str) -> str:
        """The first line of standard error that has the pattern."""
        until(lambda: re.search(pattern, self.err), f"a line with {pattern!r}")
        return next(line for line in self.err.splitlines() if re.search(pattern, line))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self.ended:
            self.process.kill()
        self.process.wait(LIMIT)


# Pages in a browser


def luminance(colour: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (int(number) / 255 for number in re.findall(r"\d+", colour)[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ratio(ink: str, behind: str) -> float:
    """The contrast of two colours: 1 to 21 (WCAG 2.2, "contrast ratio")."""
    dark, light = sorted(map(luminance, (ink, behind)))
    return (light + 0.05) / (dark + 0.05)


def contrast(page: Page, selector: str) -> float:
    """The contrast between the text of an element and what lies behind it."""
    colours = page.locator(selector).first.evaluate("""item => {
        const clear = "rgba(0, 0, 0, 0)";
        const ink = getComputedStyle(item).color;
        while (getComputedStyle(item).backgroundColor === clear) item = item.parentElement;
        return [ink, getComputedStyle(item).backgroundColor];
    }""")
    return ratio(*colours)
