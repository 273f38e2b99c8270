"""Promises 10 and 11 under fire: clients of threadchat.v1 are cut, evicted and put to sleep, and miss nothing.

At `--scale 20` it is 200 clients in 5 rooms for a minute. The soak has the same clients, for as long as one likes.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from helpers import Serve, switching_often
from talkers import Talkers

from threadchat.websocket import connection


@pytest.mark.parametrize("kind", ["memory:", "sqlite:"])
def test_promises_10_and_11_hold_while_clients_are_cut_evicted_and_put_to_sleep(
    serve: Serve, scale: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setattr(connection, "SEND_BUFFER", 1024)  # so that a client that sleeps is soon evicted
    rooms, clients, seconds = (5, 200, 60.0) if scale > 1 else (2, 20, 3.0)
    store = kind if kind == "memory:" else f"{kind}{tmp_path / 'chat.db'}"
    server = serve(send_buffer=16, keep=1_000_000, message_rate=0, room_linger=0.001, store=store)
    talkers = Talkers(
        server.port, clients, rooms, rate=0, pause=0.02, nap=short_nap, keep=True, seed=random.randrange(10**9)
    )
    try:
        with switching_often():  # all clients share one thread: it must not wait 5 ms for each turn
            talkers.run(seconds)
        logs = {room.name: server.app.rooms._rooms[room.name].log.read(0, 1_000_000) for room in talkers.rooms}
    finally:
        talkers.leave()
    counts = talkers.counts
    assert (counts.missed, counts.twice, counts.different, counts.gaps, counts.errors) == (0, 0, 0, 0, [])
    for room in talkers.rooms:
        entries = logs[room.name]
        assert entries is not None
        received = [json.loads(line) for _, line in sorted(room.lines.items())]
        assert [(line["id"], line["type"], line.get("text", "")) for line in received] == [
            (entry.id, entry.kind, entry.text) for entry in entries
        ]
        inside = [talker for talker in talkers.talkers if talker.room is room]
        assert {talker.last for talker in inside} == {entries[-1].id}
        said = Counter(entry.by for entry in entries if entry.kind == "msg")
        assert said == {talker.by: talker.number for talker in inside if talker.number}, "each message is there once"
    assert counts.endings["1008"], "some were evicted"
    assert counts.endings["reset"], "some were cut"
    assert counts.said_again, "some messages were sent again"
    print(f"{sum(room.top for room in talkers.rooms)} entries, {counts}")


def short_nap(chance: random.Random) -> float:
    return chance.uniform(0.05, 1.0)
