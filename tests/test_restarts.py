"""Promise 12 for those who talk: the server is replaced again and again, and nobody misses anything, or says it twice.

At `--scale 20` it is 300 clients, and ten restarts in about a minute.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from helpers import needs_redis
from helpers.fleet import Fleet, People

RATE = 200  # messages a second, of all together


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'chat.db'}"
    url: str = request.getfixturevalue("redis_server").url
    return url


@pytest.mark.parametrize("store", ["sqlite", pytest.param("redis", marks=needs_redis)], indirect=True)
@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGTERM, ()), (signal.SIGTERM, ("--drain", "0.5")), (signal.SIGKILL, ())]
)
def test_promise_12_nobody_misses_anything_while_the_server_is_replaced_again_and_again(
    tmp_path: Path, scale: int, store: str, number: signal.Signals, options: tuple[str, ...]
) -> None:
    clients, restarts, between = (300, 10, 5 * RATE) if scale > 1 else (20, 2, RATE // 4)  # messages between restarts
    silences: list[float] = []
    with Fleet(tmp_path, [store], *options) as fleet:
        everybody = People(fleet.ports, clients, 3, RATE, away=1.0)

        def replace_again_and_again() -> None:
            for _ in range(restarts):
                everybody.say(between, 60)
                began = time.monotonic()
                status = fleet.end(0, number)
                assert status == (0 if number == signal.SIGTERM else -number)
                fleet.start(0)
                everybody.come_back(60)
                silences.append(time.monotonic() - began)

        try:
            everybody.through(replace_again_and_again)
        finally:
            everybody.leave()
        counts = everybody.counts
        assert (counts.missed, counts.twice, counts.different, counts.gaps, counts.errors) == (0, 0, 0, 0, [])
        assert counts.said >= restarts * between
    print(
        f"{counts.said} messages, {counts.said_again} of them sent again; everybody back after {max(silences):.2f} s, "
        f"longest silence of one {counts.silence:.2f} s"
    )
