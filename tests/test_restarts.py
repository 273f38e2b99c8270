"""Promise 12 for those who talk: the server is replaced again and again, and nobody misses anything, or says it twice.

At `--scale 20` it is 300 clients, and ten restarts in about a minute.
"""

from __future__ import annotations

import random
import signal
import socket
import time
from contextlib import ExitStack, closing
from math import inf
from pathlib import Path

import pytest
import talkers as module
from helpers import LIMIT, THREADCHAT, Process, go, switching_often, until
from talkers import Talkers

RATE = 200  # messages a second, of all together


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port: int = listening.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGTERM, ()), (signal.SIGTERM, ("--drain", "0.5")), (signal.SIGKILL, ())]
)
def test_promise_12_nobody_misses_anything_while_the_server_is_replaced_again_and_again(
    tmp_path: Path, scale: int, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, options: tuple[str, ...]
) -> None:
    monkeypatch.setattr(module, "COMPARE", inf)  # the log cannot be asked for while there is no server
    clients, restarts, between = (300, 10, 5 * RATE) if scale > 1 else (20, 2, RATE // 4)  # messages between restarts
    port, store = free_port(), f"sqlite:{tmp_path / 'chat.db'}"
    command = [*THREADCHAT, "serve", "--port", str(port), "--store", store, "--message-rate", "0", *options]
    silences: list[float] = []
    with ExitStack() as stack:

        def start() -> Process:
            process = stack.enter_context(Process(tmp_path, [*command, "--keep", "1000000"]))
            assert process.port == port
            return process

        server = start()
        everybody = Talkers(
            port, clients, 3, rate=RATE, pause=inf, nap=lambda chance: 0.0, away=1.0, seed=random.randrange(10**9)
        )
        stack.callback(everybody.leave)

        def replace_again_and_again() -> None:
            nonlocal server
            try:
                for _ in range(restarts):
                    before = everybody.counts.said
                    until(lambda before=before: everybody.counts.said >= before + between, "talk")  # type: ignore[misc]
                    began = time.monotonic()
                    server.process.send_signal(number)
                    server.process.wait(LIMIT)
                    server = start()
                    until(lambda: all(talker.greeted for talker in everybody.talkers), "everybody's return", 60)
                    silences.append(time.monotonic() - began)
            finally:
                everybody.finish()

        replacing = go(replace_again_and_again)
        with switching_often():
            everybody.run(inf)
        replacing.result(60)
        counts = everybody.counts
        assert (counts.missed, counts.twice, counts.different, counts.gaps, counts.errors) == (0, 0, 0, 0, [])
        assert len(silences) == restarts
        assert counts.said >= restarts * between
        if number == signal.SIGTERM:
            assert server.end() == 0
    print(f"{counts.said} messages, {counts.said_again} of them sent again; longest silence {max(silences):.2f} s")
