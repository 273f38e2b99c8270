"""Promises 10 and 11 under fire: clients of threadchat.v1 are cut, evicted and put to sleep, and miss nothing.

At `--scale 20` it is 200 clients in 5 rooms for a minute.
"""

from __future__ import annotations

import json
import random
import secrets
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers import CLOSE, LIMIT, PING, PONG, TEXT, Peer, Running, Serve, go, until

from threadchat.websocket import connection

SENDERS = 4  # in each room


class Talker:
    """A client that comes back whenever it loses its connection, and keeps the rules of threadchat.v1.

    `entries` has what it was sent, by id. `awake` is cleared while it shall not read. `faults` says what went wrong.
    """

    def __init__(self, port: int, room: str, sends: bool) -> None:
        self.entries: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.ended = Counter[str]()
        self.said = 0  # messages whose echo or acknowledgement came
        self.awake = threading.Event()
        self.awake.set()
        self.done = threading.Event()  # say no more
        self.leave = threading.Event()
        self.peer: Peer | None = None
        self._port, self._room, self._sends = port, room, sends
        self._session = secrets.token_urlsafe(24)
        self._token: str | None = None
        self._number = 0
        self._under_way: str | None = None

    def run(self) -> None:
        while not self.leave.is_set():
            since = f"?since={self._token}" if self._token else ""
            offered = f"Sec-WebSocket-Protocol: threadchat.v1, session.{self._session}\r\n"
            try:
                with Peer(self._port, f"/r/{self._room}/ws{since}", headers=offered, receive_buffer=4096) as self.peer:
                    while not self.leave.is_set():
                        self.awake.wait()
                        frame = self.peer.receive()
                        if frame.opcode == PING:
                            self.peer.send(PONG, frame.payload)
                            continue
                        if frame.opcode == CLOSE:
                            self.ended[str(frame.close_code)] += 1
                            break
                        for line in frame.payload.decode().split("\n"):
                            self._take(json.loads(line))
            except (OSError, EOFError, AssertionError):  # AssertionError: the end came within a frame
                self.ended["cut"] += 1

    def _take(self, line: dict[str, Any]) -> None:
        match line["type"]:
            case "hello":
                if self._token and not line["recovered"]:
                    self.faults.append(f"not recovered from {self._token}: {line}")
                self._number = max(self._number, line["last"] or 0) + (self._under_way is None)
                self._token = line["token"]
                self._say()
            case "ack":
                self._delivered(line["n"])
            case "gap" | "error":
                self.faults.append(str(line))
            case _:
                if self.entries and line["id"] != self.entries[-1]["id"] + 1:
                    self.faults.append(f"{line['id']} came after {self.entries[-1]['id']}")
                self.entries.append(line)
                self._token = line["token"]
                if line.get("n") == self._number and line["text"] == self._under_way:
                    self._delivered(self._number)

    def _delivered(self, number: int) -> None:
        if number == self._number and self._under_way is not None:
            self._under_way, self._number = None, self._number + 1
            self.said += 1
            self._say()

    def _say(self) -> None:
        """Send what is under way again or, if nothing is, the next message."""
        if self._under_way is None:
            if not self._sends or self.done.is_set():
                return
            self._under_way = f"{self._session} {self._number} {'x' * 300}"
        assert self.peer is not None
        self.peer.send(TEXT, json.dumps({"type": "msg", "n": self._number, "text": self._under_way}))


def harass(talkers: list[Talker], seconds: float) -> None:
    """Cut one connection or put one client to sleep every few milliseconds."""
    end, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < end:
        talker = random.choice(talkers)
        if random.random() < 0.5:
            with suppress(OSError, AttributeError):
                talker.peer.socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        else:
            talker.awake.clear()
            threading.Timer(random.uniform(0.05, 1.0), talker.awake.set).start()
        pause.wait(0.02)


def log_of(server: Running, room: str) -> list[tuple[int, str, str]]:
    log = server.app.rooms._rooms[room].log
    entries = log.read(0, 1_000_000)
    assert entries is not None
    return [(entry.id, entry.kind, entry.text) for entry in entries]


@pytest.mark.parametrize("store", ["memory:", "sqlite:"])
def test_promises_10_and_11_hold_while_clients_are_cut_evicted_and_put_to_sleep(
    serve: Serve, scale: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: str
) -> None:
    monkeypatch.setattr(connection, "SEND_BUFFER", 1024)  # so that a client that sleeps is soon evicted
    rooms, clients, seconds = (5, 40, 60.0) if scale > 1 else (2, 10, 3.0)
    server = serve(
        send_buffer=16,
        keep=1_000_000,
        message_rate=0,
        max_clients_per_address=10_000,
        room_linger=0.001,
        store=store if store == "memory:" else f"{store}{tmp_path / 'chat.db'}",
    )
    talkers = [
        Talker(server.port, f"room{number % rooms}", number // rooms < SENDERS) for number in range(rooms * clients)
    ]
    by_room = {f"room{number}": talkers[number::rooms] for number in range(rooms)}
    runs = [go(talker.run) for talker in talkers]
    try:
        until(lambda: all(talker.entries for talker in talkers), "all clients in their rooms", 60)
        harass(talkers, seconds)
        for talker in talkers:
            talker.done.set()
        until(lambda: all(talker.awake.is_set() for talker in talkers), "all clients awake")
        until(lambda: all(talker._under_way is None for talker in talkers), "the last echo", 60)
        tops = {name: server.app.rooms._rooms[name].log for name in by_room}
        for name, inside in by_room.items():
            until(
                lambda name=name, inside=inside: all(  # type: ignore[misc]
                    talker.entries[-1]["id"] == tops[name].top for talker in inside
                ),
                "the last entry everywhere",
                60,
            )
        logs = {name: log_of(server, name) for name in by_room}
    finally:
        for talker in talkers:
            talker.leave.set()
            talker.awake.set()
            talker.done.set()
            with suppress(OSError, AttributeError):
                talker.peer.socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        for run in runs:
            run.result(LIMIT)
    ended = sum((talker.ended for talker in talkers), Counter[str]())
    for name, inside in by_room.items():
        said = Counter(text for _, kind, text in logs[name] if kind == "msg")
        assert set(said.values()) == {1}, "each message is in the log once"
        assert sum(said.values()) == sum(talker.said for talker in inside), "each message that was delivered is there"
        for talker in inside:
            assert not talker.faults
            first = talker.entries[0]["id"]
            got = [(entry["id"], entry["type"], entry.get("text", "")) for entry in talker.entries]
            assert got == logs[name][first - 1 : first - 1 + len(got)]
    assert ended["1008"], "some were evicted"
    assert ended["cut"], "some were cut"
    print(f"{sum(map(len, logs.values()))} entries, endings {dict(ended)}")
