"""Several chat processes over one store, and people who talk in them while something goes wrong."""

from __future__ import annotations

import json
import random
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from math import inf
from pathlib import Path
from typing import Any, Self

from talkers import Talkers

from helpers.servers import THREADCHAT, Process
from helpers.waiting import LIMIT, go, switching_often, until

WITH_CONSTANTS = Path(__file__).parents[1] / "with_constants.py"


def free_port() -> int:
    """A free port, which the system gives to nobody who does not ask for it: it is still free after a restart."""
    while True:
        port = random.randrange(10_000, 32_000)
        with suppress(OSError), closing(socket.create_server(("127.0.0.1", port))):
            return port


class Fleet:
    """Chat processes, one for each address of a store, in folders of their own. The ports stay over a restart.

    `constants` are those of modules that the processes are to have, as {"threadchat.client:NAME": 1.0}.
    """

    def __init__(
        self, folder: Path, stores: Sequence[str], *options: str, constants: Mapping[str, float] | None = None
    ) -> None:
        words = [f"{name}={value}" for name, value in (constants or {}).items()]
        command = [sys.executable, "-W", "error", str(WITH_CONSTANTS), *words] if words else THREADCHAT
        self._command = [*command, "serve", "--message-rate", "0", "--keep", "1000000", *options]
        self._folder, self._stores = folder, stores
        self._started: list[Process] = []
        self.ports = [free_port() for _ in stores]
        self.servers: list[Process] = []
        try:
            for number in range(len(stores)):  # all at once, since each takes a while
                self.servers.append(self._launch(number))
            for number in range(len(stores)):
                self._check_port(number)
        except BaseException:
            self.close()
            raise

    def start(self, number: int) -> None:
        """Start a process again that has ended, and wait until it serves."""
        self.servers[number] = self._launch(number)
        self._check_port(number)

    def send(self, number: int, sent: signal.Signals) -> None:
        self.servers[number].process.send_signal(sent)

    def end(self, number: int, sent: signal.Signals) -> int:
        """End a process by this signal, and return its exit status."""
        return self.servers[number].end(sent)

    def close(self) -> None:
        for process in self._started:
            process.__exit__()

    def _launch(self, number: int) -> Process:
        folder = self._folder / f"process-{len(self._started)}"
        folder.mkdir()
        command = [*self._command, "--port", str(self.ports[number]), "--store", self._stores[number]]
        self._started.append(Process(folder, command))
        return self._started[-1]

    def _check_port(self, number: int) -> None:
        assert self.servers[number].port == self.ports[number]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def log_of(port: int, room: str) -> list[str]:
    """The lines of the room's log, as the server with this port has it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/r/{room}/log.jsonl", timeout=LIMIT) as got:
        return [line for line in got.read().decode().split("\n") if line]


def log_up_to(top: int, port: int, room: str) -> list[str]:
    """The same up to the entry with the id `top`. Waits until the server has that."""
    lines: list[str] = []

    def has_come() -> bool:
        lines[:] = log_of(port, room)
        return bool(lines) and json.loads(lines[-1])["id"] >= top

    until(has_come, f"entry {top} in the log of {room}")
    return [line for line in lines if json.loads(line)["id"] <= top]


class People(Talkers):
    """Talkers who remember everything, and need not be cut off: `through` is what happens to their servers."""

    def __init__(self, ports: Sequence[int], clients: int, rooms: int, rate: float, **how: Any) -> None:
        how = {"pause": inf, "nap": no_nap, "away": 0.2, "seed": random.randrange(10**9), **how}
        super().__init__(ports, clients, rooms, rate=rate, keep=True, compare=inf, **how)

    def through(self, trouble: Callable[[], object]) -> None:
        """Talk while the trouble happens, in a thread of its own, and until everybody has everything."""
        self._until = inf
        self.counts.silence, self.counts.downs, self.counts.gaps = 0.0, 0, 0
        for talker in self.talkers:
            talker.heard = 0.0

        def run() -> None:
            try:
                trouble()
            finally:
                self.finish()

        troubling = go(run)
        with switching_often():  # all clients share one thread: it must not wait 5 ms for each turn
            self.run(inf)
        troubling.result(LIMIT)

    def say(self, messages: int, limit: float = LIMIT) -> None:
        """Wait until they have said so many more."""
        enough = self.counts.said + messages
        until(lambda: self.counts.said >= enough, lambda: f"{enough} messages instead of {self.counts.said}", limit)

    def hear(self, limit: float = LIMIT) -> float:
        """Wait until each of them has heard something new. Returns how long it took."""
        began = time.monotonic()
        until(lambda: all(talker.heard > began for talker in self.talkers), "what everybody hears", limit)
        return time.monotonic() - began

    def come_back(self, limit: float = LIMIT) -> float:
        """Wait until each of them is connected. Returns how long it took."""
        began = time.monotonic()
        until(lambda: all(talker.greeted for talker in self.talkers), "everybody's return", limit)
        return time.monotonic() - began


def no_nap(chance: random.Random) -> float:
    return 0.0
