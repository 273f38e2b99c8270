"""What becomes of a chat when its process ends. Real servers and signals are in test_examples.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import LIMIT, Peer, Process

from threadchat.web import exits

SERVER = """
from threadchat import Server, create_app
server = Server(create_app(), "127.0.0.1", 0)
server.start()
print(server.url, flush=True)
"""


def test_a_program_that_makes_a_chat_and_forgets_it_ends() -> None:
    command = [sys.executable, "-c", "from threadchat import create_app; chat = create_app()"]
    assert subprocess.run(command, timeout=LIMIT, check=False).returncode == 0


@pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 2),
    reason="Python 3.12.0 and 3.12.1 start no thread any more when the main thread has ended (gh-113964)",
)
def test_a_chat_outlives_the_main_thread_while_its_server_runs_in_another(tmp_path: Path) -> None:
    with Process(tmp_path, [sys.executable, "-c", SERVER]) as process:
        assert process.port
        with Peer(process.port) as one:
            one.talk("hello")
            process.process.send_signal(signal.SIGINT)  # which Python's own wait for its threads does not survive
            assert one.goodbye()[0] == 1001


class Worker:
    """What is watched of gunicorn's worker."""

    def __init__(self, ppid: int) -> None:
        self.alive = True
        self.ppid = ppid


class Chat:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("end", ["told to stop", "without its master"])
def test_a_worker_that_ends_closes_the_chats_that_are_open(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, one, two = Worker(os.getppid()), Chat(), Chat()

    def while_it_sleeps(_: float) -> None:
        assert not one.closed
        if end == "told to stop":
            worker.alive = False
        else:
            worker.ppid = -1

    monkeypatch.setattr(exits, "time", SimpleNamespace(sleep=while_it_sleeps))
    monkeypatch.setattr(exits, "_open", {one, two})
    exits.closed(two)
    exits._close_when_it_stops(worker)
    assert (one.closed, two.closed) == (True, False)
