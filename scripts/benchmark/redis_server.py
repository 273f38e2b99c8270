"""A Redis of one run's own, in a folder of its own, and the processes of a chat that share it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import servers

OPTIONS = ("--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
START_SECONDS = 10


@dataclass(frozen=True)
class Redis:
    """A redis-server that is running; `url` is for --store."""

    url: str
    pid: int


@contextmanager
def redis() -> Iterator[Redis]:
    """Start a redis-server that keeps what it has in a file, and stop it at the end. Raises servers.Failed."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise servers.Failed("there is no redis-server (Debian: apt-get install redis-server)")
    with tempfile.TemporaryDirectory(prefix="threadchat-redis-") as folder:
        path = f"{folder}/socket"
        command = [program, *OPTIONS, "--unixsocket", path, "--dir", folder]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            limit = time.monotonic() + START_SECONDS
            while not _answers(path):
                if process.poll() is not None or time.monotonic() > limit:
                    raise servers.Failed("redis-server does not answer")
                time.sleep(0.02)
            yield Redis(f"unix://{path}", process.pid)
        finally:
            process.kill()
            process.wait()


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as asked:
        try:
            asked.connect(path)
            asked.sendall(b"PING\r\n")
            return asked.recv(64) == b"+PONG\r\n"
        except OSError:
            return False


def chat_processes(pid: int) -> list[int]:
    """Return the processes of `threadchat serve --processes` that have clients: the children of this one."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_processes(started: servers.Running) -> None:
    """Wait until each of the processes takes clients. Raises servers.Failed."""
    limit = time.monotonic() + servers.START_SECONDS
    while "processes serve it" not in started.said():
        if started.process.poll() is not None or time.monotonic() > limit:
            raise servers.Failed("the processes do not serve", started.said())
        time.sleep(0.02)
