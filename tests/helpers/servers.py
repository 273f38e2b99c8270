"""A server in this process, and one in a process of its own."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

import pytest

from helpers.waiting import LIMIT, run, until
from threadchat import hub
from threadchat.channel import Case, Channel, WouldBlock, select
from threadchat.options import Options
from threadchat.web.app import App, create_app
from threadchat.web.server import Server

THREADCHAT = [sys.executable, "-W", "error", "-m", "threadchat"]


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
        """The hub's clients at this instant, seen from outside."""
        return set(self.app.hub.clients)

    @property
    def deserted(self) -> bool:
        """Whether the hub has no client and no pump is alive."""
        return not self.clients and not pump_names()

    def stop(self) -> None:
        if self._running:
            self._running = False
            self.server.stop()

    def stop_in_thread(self) -> threading.Thread:
        """Stop in a thread, for a stop that waits for something that the test does."""
        return run(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class Serve(Protocol):
    """The type of the fixture `serve`."""

    def __call__(self, port: int = 0, **options: Any) -> Running: ...


def all_gone(server: Running) -> None:
    until(lambda: server.deserted, "the end of the clients' pumps")


class Process:
    """A process whose standard output and error can be read while it runs: they go to files."""

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
        """The port in the first address that the process prints; waits for it."""
        pattern = re.compile(r"https?://\S+:(\d+)")
        until(lambda: pattern.search(self.out + self.err) or self.ended, "the line with the address")
        found = pattern.search(self.out + self.err)
        assert found, f"it ended with {self.process.returncode}: {self.out}{self.err}"
        return int(found[1])

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait_for(self, pattern: str) -> str:
        """The first line of standard error with the pattern; waits for it."""
        until(lambda: re.search(pattern, self.err), f"a line with {pattern!r}")
        return next(line for line in self.err.splitlines() if re.search(pattern, line))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self.ended:
            self.process.kill()
        self.process.wait(LIMIT)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The messages that were logged as a warning or worse."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def pump_names() -> list[str]:
    """The names of the pumps that are alive in this process, sorted."""
    return sorted(thread.name for thread in threading.enumerate() if "Pump-" in thread.name)


def request_threads() -> list[str]:
    """The names of the threads that serve a connection in this process, sorted."""
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(("request", "readPump-")))


def hub_selects_first(monkeypatch: pytest.MonkeyPatch, *channels: Channel[Any]) -> None:
    """From its next `select` on, the hub takes what is in these channels first, in this order, not at random."""

    def chosen(*cases: Case) -> tuple[Case, Any]:
        for channel in channels:
            if channel in cases and channel._can_receive():  # the hub is the only receiver
                return channel, channel.receive()
        return select(*cases)

    monkeypatch.setattr(hub, "select", chosen)


class Held:
    """Holds a hub as it records what it has received: `at_work` is set then, and it waits for `goes_on`."""

    def __init__(self, held: hub.Hub) -> None:
        self.at_work, self.goes_on = threading.Event(), threading.Event()
        record = held.record

        def hold(items: Sequence[str]) -> Sequence[str]:
            self.at_work.set()
            self.goes_on.wait(LIMIT)
            return record(items)

        held.record = hold


def say_stuck(stuck: Channel[None]) -> None:
    """What a client's pumps do on its channel `stuck` when its peer does not read, or when they have ended."""
    with suppress(WouldBlock):
        stuck.send_nowait(None)
