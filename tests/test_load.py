"""The benchmark's load: it finds what is lost, repeated or out of order, whichever protocol its clients speak."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import Serve, until

sys.path.append(str(Path(__file__).parents[1] / "scripts" / "benchmark"))

from load import LENGTH, Client, Load

Line = Callable[[str, int], bytes]


def plain(name: str, number: int) -> bytes:
    return f"{name}:{number:08d}:{1_000 + number:016d}:".encode().ljust(LENGTH, b"x")


def v1(name: str, number: int) -> bytes:
    return json.dumps(
        {"type": "msg", "n": number + 1, "text": plain(name, number).decode()}, separators=(",", ":")
    ).encode()


def frame(*lines: bytes) -> bytes:
    payload = b"\n".join(lines)
    return b"\x81\x7e" + len(payload).to_bytes(2) + payload


@pytest.fixture(params=[plain, v1])
def line(request: pytest.FixtureRequest) -> Line:
    made: Line = request.param
    return made


@pytest.fixture
def load(line: Line) -> Load:
    return Load(port=0, clients=0, v1=line is v1)


@pytest.fixture
def client() -> Iterator[Callable[[], Client]]:
    with socket.socket() as unused:
        yield lambda: Client(unused)


def test_messages_are_counted_and_those_that_came_back_to_their_sender(
    load: Load, line: Line, client: Callable[[], Client]
) -> None:
    sender, other = client(), client()
    sender.token = b"1:"
    data = frame(line("0", 0), line("1", 0)) + frame(line("1", 1))
    load.latencies = []
    assert load.parse(sender, data[:100], 2_000) == 0
    assert load.parse(sender, sender.rest + data[100:], 2_000) == 3
    assert load.parse(other, data, 2_000) == 3
    assert load.own == {sender: 2}
    assert load.latencies == [1_000, 1_000, 999] * 2
    assert (load.lost, load.repeated, load.order.lost, load.order.repeated) == (0, 0, 0, 0)


def test_what_is_lost_repeated_or_out_of_order_is_found(load: Load, line: Line, client: Callable[[], Client]) -> None:
    lines = [line("0", number) for number in range(6)]
    first, skips, again = client(), client(), client()
    assert load.parse(first, frame(*lines), 0) == 6
    assert load.parse(skips, frame(lines[0], lines[3]) + frame(*lines[4:]), 0) == 4
    assert (load.lost, load.repeated) == (2, 0)
    assert load.parse(again, frame(*lines[:3]) + frame(*lines[1:]), 0) == 6
    assert (load.lost, load.repeated) == (2, 2)
    load.parse(first, frame(line("0", 8)), 0)
    assert load.order.lost == 2, "nobody has the numbers 6 and 7"
    load.parse(first, frame(line("0", 7)), 0)
    assert load.order.repeated == 1


def test_a_line_of_threadchat_v1_that_is_no_message_is_left_out(client: Callable[[], Client]) -> None:
    load, one, other = Load(port=0, clients=0, v1=True), client(), client()
    join, said = b'{"type":"join","name":"Ann"}', [v1("0", number) for number in range(3)]
    assert load.parse(one, frame(join) + frame(said[0], join, said[1]), 0) == 2
    assert load.parse(other, frame(*said), 0) == 3
    assert load.parse(one, frame(said[2], join), 0) == 1
    assert (load.lost, load.repeated) == (0, 0)


def test_all_clients_of_a_server_get_what_the_senders_say(serve: Serve, line: Line) -> None:
    load = Load(serve(message_rate=0).port, clients=5, v1=line is v1)
    try:
        for sender in load.senders:
            load.send(sender, 3)
        until(lambda: load.receive(0) >= 0 and len(load.order.names) == 3 * len(load.senders))
        load.settle()
        assert (load.lost, load.repeated, load.order.lost, load.order.repeated, load.dropped) == (0, 0, 0, 0, 0)
        assert list(load.own.values()) == [3] * len(load.senders)
    finally:
        load.poll.close()
        for client in load.clients.values():
            client.socket.close()
