"""The fixtures: a server to talk to, a browser, and the check that a test leaves nothing behind."""

from __future__ import annotations

import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import until
from playwright.sync_api import Browser, sync_playwright

from threadchat.app import App, create_app
from threadchat.options import Options
from threadchat.server import Server

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Running:
    """A threadchat server in this process, on 127.0.0.1."""

    def __init__(self, port: int, options: Options) -> None:
        self.app: App = create_app(options)
        self.server = Server(self.app, "127.0.0.1", port)
        self.server.start()
        self.port = self.server.port
        self.url = f"http://127.0.0.1:{self.port}/"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"
        self._running = True

    @property
    def clients(self) -> set[Any]:
        """The hub's clients, as seen from outside at this instant."""
        return set(self.app.hub.clients)

    def stop(self) -> None:
        if self._running:
            self._running = False
            self.server.stop()


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Starts a server: `serve(port=0, **options)`. All are stopped at the test's end."""
    started: list[Running] = []

    def start(port: int = 0, **options: Any) -> Running:
        started.append(Running(port, Options(**options)))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, headless: the system's, or the one that playwright brought.

    For one module at a time: while playwright runs, no other asyncio loop can run in this thread.
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
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves a thread, a socket or a process behind."""
    if "browser" in request.fixturenames:
        request.getfixturevalue("browser")  # it outlives the test, so it has to be there before
    threads, sockets, children = _threads(), _sockets(), _children()
    yield
    gc.collect()
    until(lambda: _threads() <= threads, "the end of the test's threads")
    until(lambda: _sockets() <= sockets, "the end of the test's sockets")
    until(lambda: _children() <= children, "the end of the test's processes")
