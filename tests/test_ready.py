"""ready.py: waiting for a socket, with `select.poll` and without it."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest
from helpers import LIMIT, TEXT, Peer, Serve, go, tcp_pair, until

from threadchat.websocket import ready
from threadchat.websocket.ready import readable, writable


@pytest.fixture(params=["poll", "select"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What there is to wait with. `select` is how Windows has it."""
    hidden = "poll" if request.param == "select" else "select"
    rest = {name: value for name, value in vars(select).items() if name != hidden}
    monkeypatch.setattr(ready, "select", SimpleNamespace(**rest))
    return str(request.param)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = tcp_pair()
    with here, there:
        here.setblocking(False)
        yield here, there


def fill(end: socket.socket) -> None:
    with suppress(BlockingIOError):
        while True:
            end.send(b"x" * 65_536)


def drained(end: socket.socket) -> bool:
    """Read what there is."""
    with suppress(BlockingIOError):
        while end.recv(65_536):
            pass
    return True


@pytest.mark.usefixtures("how")
@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.01])
def test_what_is_not_ready_is_not_so_after_the_time_either(
    ends: tuple[socket.socket, socket.socket], seconds: float
) -> None:
    fill(ends[0])
    assert not readable(ends[0]).wait(seconds)
    assert not writable(ends[0]).wait(seconds)


@pytest.mark.usefixtures("how")
@pytest.mark.parametrize("seconds", [-1.0, 0.0, LIMIT])
def test_what_is_ready_is_so_even_without_time_to_wait(
    ends: tuple[socket.socket, socket.socket], seconds: float
) -> None:
    ends[1].send(b"x")
    assert readable(ends[0]).wait(seconds)
    assert writable(ends[0]).wait(seconds)


@pytest.mark.usefixtures("how")
def test_a_wait_ends_when_bytes_come_and_when_there_is_room(ends: tuple[socket.socket, socket.socket]) -> None:
    fill(ends[0])
    ends[1].setblocking(False)
    reading = go(readable(ends[0]).wait, LIMIT)
    writing = go(writable(ends[0]).wait, LIMIT)
    ends[1].send(b"x")
    assert reading.result(LIMIT)
    until(lambda: drained(ends[1]) and writing.done(), "room")
    assert writing.result(LIMIT)


@pytest.mark.usefixtures("how")
def test_a_shutdown_from_another_thread_ends_a_wait(ends: tuple[socket.socket, socket.socket]) -> None:
    fill(ends[0])
    waits = [go(readable(ends[0]).wait, LIMIT), go(writable(ends[0]).wait, LIMIT)]
    ends[0].shutdown(socket.SHUT_RDWR)
    assert [wait.result(LIMIT) for wait in waits] == [True, True]


@pytest.mark.usefixtures("how")
def test_the_chat_talks_waits_for_room_and_evicts(serve: Serve) -> None:
    running = serve(message_size=60_000, send_buffer=2, message_rate=0)
    with Peer(running.port, receive_buffer=4096) as stuck, Peer(running.port) as talker:
        until(lambda: len(running.clients) == 2)
        while len(running.clients) == 2:
            talker.talk("x" * 60_000)
        frames = stuck.receive_all()
        assert frames[-1].close_code == 1008
        assert frames[0].opcode == TEXT
        talker.talk("still here")
