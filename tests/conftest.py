"""The fixtures: a server to talk to, a browser, and the check that a test leaves nothing behind."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from helpers import (
    FAR,
    LIMIT,
    REDIS,
    Connect,
    Inspected,
    OtherEnd,
    Peer,
    RedisServer,
    Running,
    Serve,
    Tap,
    handshake_environ,
    needs_redis,
    tcp_pair,
    until,
)
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, expect, sync_playwright

from threadchat.options import Options
from threadchat.runtime.runqueue import RUN_QUEUE, RunQueue
from threadchat.websocket.connection import Connection

pytest_plugins = ["chat_page", "fake_inspector"]

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",  # as after DNS rebinding
]

# On a slow machine a test may take long. The suite tries the same examples each time (derandomize); scripts/fuzz looks
# for new ones, with the other profile.
settings.register_profile("fuzz", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=2000)
settings.register_profile("suite", settings.get_profile("fuzz"), max_examples=150, derandomize=True)
settings.load_profile("suite")

expect.set_options(timeout=1_000 * LIMIT)  # milliseconds

# A shell makes what it runs in the background ignore Ctrl-C, and nohup makes it ignore SIGHUP. The programs that a test
# starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--scale",
        type=int,
        default=1,
        help="a factor: what the hostile peers do (100: 10,000 come and go), "
        "and how many programs are compared with Go (100: 10,000)",
    )


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> int:
    """How many times as much the hostile peers are to do."""
    asked: int = request.config.getoption("--scale")
    return asked


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are named by their number: frames are masked at random, and each worker must give a test the same name."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


def pytest_collection_finish() -> None:
    """Exempt what the imports made from the `gc.collect` after each test, which would take long."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server: `serve(port=0, **options)`. All are stopped at the test's end."""
    with ExitStack() as stack:

        def start(port: int = 0, **options: Any) -> Running:
            return stack.enter_context(Running(port, **options))

        yield start


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process nobody is taken to have left who comes back, however slow the machine is."""
    for place in ("room.LEAVE_WAIT", "stored_room.RETURN_WAIT", "log.reader.RETURN_WAIT"):
        monkeypatch.setattr(f"threadchat.{place}", FAR)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own, which keeps what it has in an append-only file."""
    if REDIS is None:
        pytest.skip(needs_redis.kwargs["reason"])
    with RedisServer(appendonly="yes", appendfsync="everysec") as server:
        yield server


@pytest.fixture(scope="module")
def shared_redis() -> Iterator[RedisServer]:
    """A Redis for a module's tests."""
    if REDIS is None:
        pytest.skip(needs_redis.kwargs["reason"])
    with RedisServer() as server:
        yield server


@pytest.fixture
def empty_redis(shared_redis: RedisServer) -> Iterator[RedisServer]:
    """The same, without anything in it."""
    shared_redis.client().flushall()
    yield shared_redis
    shared_redis.close_clients()


@pytest.fixture
def inspect() -> Iterator[Callable[..., Inspected]]:
    """Starts a server with the inspector: `inspect(demo=False, anywhere=False, **options)`."""
    with ExitStack() as stack:

        def start(**how: Any) -> Inspected:
            return stack.enter_context(Inspected(**how))

        yield start


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes a Connection that has answered its handshake, and its peer: `connect(send=None, **options)`.

    `send`, if given, is called in place of the `send` of the server's socket. The peer's window is small.
    """
    sockets: list[socket.socket] = []

    def make(send: Callable[[socket.socket, Any], int] | None = None, **options: Any) -> tuple[Connection, Peer]:
        server, end = tcp_pair(receive_buffer=4096)
        sockets.extend((server, end))
        with server.makefile("rb") as reader:
            tap = Tap(server)
            if send:
                tap.on_send = partial(send, server)
            made = Connection(handshake_environ(tap, reader), Options(**options))
            made.accept()
        peer = OtherEnd(end)
        peer.read_answer()
        return made, peer

    yield make
    for each in sockets:
        each.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """One server for a module's tests that do not stop it, need no options and do not count its clients.

    Each test leaves it without a client; `nothing_left_behind` checks it.
    """
    with Running() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, headless: the system's, or the one that playwright brought.

    One module at a time has it: while playwright runs, no other asyncio loop can run in this thread.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield running
        running.close()


def _threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def _sockets() -> set[str]:
    links = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        if link.startswith("socket:"):
            links.add(link)
    return links


def _children() -> set[str]:
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        return set(children.read().split())


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a socket, a process or a turn behind. Fixtures of its module come before."""
    threads, sockets, children = _threads(), _sockets(), _children()
    yield
    gc.collect()
    until(lambda: _threads() <= threads, "the end of the test's threads")
    until(lambda: _sockets() <= sockets, "the end of the test's sockets")
    until(lambda: _children() <= children, "the end of the test's processes")
    until(lambda: RUN_QUEUE.statistics() == RunQueue().statistics(), "the end of the test's turns")
