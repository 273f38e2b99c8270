"""Promises 10 and 11 under fire: clients of threadchat.v1 are cut, evicted and put to sleep, and miss nothing.

With Redis the chat has two processes, and whoever comes back goes to the other one: promise 13.

At `--scale 20` it is 200 clients in 5 rooms for a minute. The soak has the same clients, for as long as one likes.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import Serve, needs_redis, switching_often
from helpers.fleet import Fleet, log_up_to
from talkers import Talkers

from threadchat.websocket import connection


@pytest.fixture
def chat(
    request: pytest.FixtureRequest, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[list[int]]:
    """The ports of a chat whose clients are soon evicted when they sleep: one for each of its processes."""
    kind = request.param
    if kind == "redis:":
        stores = [request.getfixturevalue("redis_server").url] * 2
        small = {"threadchat.websocket.connection:SEND_BUFFER": 1024}
        with Fleet(tmp_path, stores, "--send-buffer", "16", "--room-linger", "0.001", constants=small) as fleet:
            yield fleet.ports
        return
    monkeypatch.setattr(connection, "SEND_BUFFER", 1024)
    store = kind if kind == "memory:" else f"{kind}{tmp_path / 'chat.db'}"
    yield [serve(send_buffer=16, keep=1_000_000, message_rate=0, room_linger=0.001, store=store).port]


@pytest.mark.parametrize("chat", ["memory:", "sqlite:", pytest.param("redis:", marks=needs_redis)], indirect=True)
def test_promises_10_and_11_hold_while_clients_are_cut_evicted_and_put_to_sleep(chat: list[int], scale: int) -> None:
    rooms, clients, seconds = (5, 200, 60.0) if scale > 1 else (2, 20, 3.0)
    talkers = Talkers(chat, clients, rooms, rate=0, pause=0.02, nap=short_nap, keep=True, seed=random.randrange(10**9))
    try:
        with switching_often():  # all clients share one thread: it must not wait 5 ms for each turn
            talkers.run(seconds)
        logs = {room.name: [log_up_to(room.top, port, room.name) for port in chat] for room in talkers.rooms}
    finally:
        talkers.leave()
    counts = talkers.counts
    assert (counts.missed, counts.twice, counts.different, counts.gaps, counts.errors) == (0, 0, 0, 0, [])
    for room in talkers.rooms:
        lines = [line for _, line in sorted(room.lines.items())]
        for log in logs[room.name]:
            assert log == lines, "each process has what the clients have"
        entries = [json.loads(line) for line in lines]
        assert [entry["id"] for entry in entries] == list(range(1, len(entries) + 1))
        inside = [talker for talker in talkers.talkers if talker.room is room]
        assert {talker.last for talker in inside} == {len(entries)}
        said = Counter(entry["by"] for entry in entries if entry["type"] == "msg")
        assert said == {talker.by: talker.number for talker in inside if talker.number}, "each message is there once"
    assert counts.endings["1008"], "some were evicted"
    assert counts.endings["reset"], "some were cut"
    assert counts.said_again, "some messages were sent again"
    print(f"{sum(room.top for room in talkers.rooms)} entries, {counts}")


def short_nap(chance: random.Random) -> float:
    return chance.uniform(0.05, 1.0)
