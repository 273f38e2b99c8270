"""How evenly connections are spread over several processes, and what happens to them while one of these is replaced.

    python scripts/benchmark/spread.py [--processes 4] [--connections 1000] [--how threadchat|one|reuseport]

`threadchat` is `threadchat serve --processes`. The two others are what it could do instead: `one` socket for all
processes, left to the system, and a socket for each with SO_REUSEPORT. It needs Linux, and redis-server, which it
starts.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

SERVE = [sys.executable, "-m", "threadchat", "serve", "--log-level", "error"]
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LIMIT = 60.0  # seconds
THREADS = 20  # that connect


@dataclass
class Served:
    """Processes that serve on one port. `pids` asks who they are; `replace` replaces the one that it is given."""

    port: int
    pids: Callable[[], list[int]]
    replace: Callable[[int], object]


@dataclass
class Clients:
    """Connections that are opened, and what became of them."""

    port: int
    connections: list[socket.socket] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)  # seconds until the handshake was answered
    failures: list[str] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def connect(self, number: int) -> None:
        """Open so many, in THREADS threads."""
        threads = [threading.Thread(target=self._connect, args=(number // THREADS,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _connect(self, number: int) -> None:
        for _ in range(number):
            began = time.monotonic()
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), LIMIT)
                connection.sendall(HANDSHAKE)
                answer = connection.recv(15)
                with self._mutex:
                    self.connections.append(connection)
                    self.waits.append(time.monotonic() - began)
                    if not answer.startswith(b"HTTP/1.1 101"):
                        self.failures.append(f"the answer was {answer!r}")
            except OSError as error:
                with self._mutex:
                    self.failures.append(str(error))


def sockets(pid: int) -> int:
    """How many sockets a process has open."""
    count = 0
    with suppress(OSError):  # it has ended
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                count += os.readlink(f"/proc/{pid}/fd/{descriptor}").startswith("socket:")
    return count


@contextmanager
def threadchat(processes: int, folder: Path) -> Iterator[Served]:
    path = folder / "redis"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not path.exists():
        time.sleep(0.01)
    command = [*SERVE, "--port", "0", "--store", f"unix://{path}", "--processes", str(processes), "--drain", "1"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    port = int(re.findall(r":(\d+)/", parent.stdout.readline())[0])

    def pids() -> list[int]:
        children = Path(f"/proc/{parent.pid}/task").glob("*/children")
        return sorted(int(pid) for each in children for pid in each.read_text().split())

    try:
        yield Served(port, pids, lambda pid: os.kill(pid, signal.SIGTERM))
    finally:
        parent.terminate()
        parent.communicate()
        redis.terminate()
        redis.wait()


@contextmanager
def by_the_system(processes: int, reuse_port: bool) -> Iterator[Served]:
    """Processes that are handed their sockets: one for all, or one each. They are chats of their own."""
    listeners: list[socket.socket] = []
    for _ in range(processes if reuse_port else 1):
        port = listeners[0].getsockname()[1] if listeners else 0
        listeners.append(socket.create_server(("127.0.0.1", port), backlog=1024, reuse_port=reuse_port))
    children: list[subprocess.Popen[str]] = []

    def start(place: int) -> subprocess.Popen[str]:
        number = listeners[place % len(listeners)].fileno()
        command = f'exec 3<&{number}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        return subprocess.Popen(
            ["sh", "-c", command, "sh", *SERVE], pass_fds=[number], stdout=subprocess.PIPE, text=True
        )

    def replace(pid: int) -> None:
        place = [child.pid for child in children].index(pid)
        children[place].terminate()
        children[place].communicate()
        children[place] = start(place)

    children += map(start, range(processes))
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    try:
        yield Served(listeners[0].getsockname()[1], lambda: [child.pid for child in children], replace)
    finally:
        for child in children:
            child.terminate()
            child.communicate()
        for listener in listeners:
            listener.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--how", choices=["threadchat", "one", "reuseport"], default="threadchat")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        serving = threadchat(given.processes, folder)
        if given.how != "threadchat":
            serving = by_the_system(given.processes, given.how == "reuseport")
        served = stack.enter_context(serving)
        before = {pid: sockets(pid) for pid in served.pids()}
        clients = Clients(served.port)
        clients.connect(given.connections)
        spread = [sockets(pid) - before[pid] for pid in served.pids()]
        print(f"{given.how}: {spread} connections, {round(spread_of(spread))} % from the mean at most")
        first = Clients(served.port)
        connecting = threading.Thread(target=first.connect, args=(given.connections // 2,))
        connecting.start()
        served.replace(min(before))
        connecting.join()
        longest = max(first.waits)
        print(f"while one is replaced: {len(first.failures)} of {given.connections // 2} refused or reset, "
              f"the longest waited {longest:.1f} s")  # fmt: skip
        for failure in sorted(set(first.failures)):
            print(f"  {failure}")
        while len(served.pids()) != given.processes or min(sockets(pid) for pid in served.pids()) < min(
            before.values()
        ):
            time.sleep(0.1)  # the old one drains, or the new one starts
        more = Clients(served.port)
        more.connect(given.connections // 2)
        now = [sockets(pid) - min(before.values()) for pid in served.pids()]
        print(f"with {given.connections // 2} more after that: {now}")
        for connection in [*clients.connections, *first.connections, *more.connections]:
            connection.close()


def spread_of(counts: list[int]) -> float:
    """How far the count that is farthest from the mean is from it, in per cent."""
    mean = sum(counts) / len(counts)
    return max(abs(count - mean) for count in counts) * 100 / mean


if __name__ == "__main__":
    main()
