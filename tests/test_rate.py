"""The rate limit: the token bucket alone, and a server that slows down a peer that sends too many frames."""

from __future__ import annotations

import select
import socket
import time

import pytest
from helpers import CLOSE, CONTINUATION, PING, PONG, TEXT, Clock, Peer, Serve, all_gone, frame, pump_names, until

from threadchat.websocket import connection, rate
from threadchat.websocket.rate import TokenBucket


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the bucket."""
    clock = Clock()
    monkeypatch.setattr(rate, "time", clock)
    return clock


@pytest.fixture
def paused(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock of the bucket that only a connection's pauses make go on, so that they can be added up."""

    class PausesOnly:
        sleep = staticmethod(clock.sleep)
        monotonic = staticmethod(time.monotonic)

    monkeypatch.setattr(connection, "time", PausesOnly)
    return clock


# The bucket


def test_a_bucket_holds_one_second_of_tokens_and_fills_again(clock: Clock) -> None:
    bucket = TokenBucket(10)
    assert [bucket.take() for _ in range(10)] == [0.0] * 10
    assert bucket.take() == pytest.approx(0.1)
    clock.now += 0.1
    assert bucket.take() == pytest.approx(0.1)
    clock.now += 0.1 + 0.5
    assert [bucket.take() for _ in range(5)] == pytest.approx([0.0] * 5)
    assert bucket.take() == pytest.approx(0.1)


@pytest.mark.parametrize("saved", [0.05, 3600])
def test_a_full_bucket_gains_nothing(clock: Clock, saved: float) -> None:
    bucket = TokenBucket(10)
    clock.now += saved
    assert [bucket.take() for _ in range(10)] == [0.0] * 10
    assert bucket.take() == pytest.approx(0.1)


# A server that slows a peer down

FLOODS = {  # 30 frames each, and how many of the messages in them are passed on
    "messages": ([frame(TEXT, "x")] * 30, 30),
    "empty messages": ([frame(TEXT)] * 30, 0),
    "pings": ([frame(PING)] * 30, 0),
    "pongs": ([frame(PONG)] * 30, 0),
    "fragments": ([frame(TEXT, fin=False), *[frame(CONTINUATION, fin=False)] * 28, frame(CONTINUATION)], 0),
    "a little of all": ([frame(TEXT, "x"), frame(PING), frame(PONG)] * 10, 10),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_peer_that_sends_too_many_frames_is_slowed_down_and_nothing_is_lost(
    serve: Serve, paused: Clock, name: str
) -> None:
    frames, said = FLOODS[name]
    server = serve(message_rate=10)
    begun = paused.now
    with Peer(server.port) as flooder:
        flooder.socket.sendall(b"".join(frames) + frame(TEXT, "last"))
        lines: list[str] = []
        while "last" not in lines:
            got = flooder.receive()
            lines += got.payload.decode().split("\n") if got.opcode == TEXT else []
        assert lines == ["x"] * said + ["last"]
        flooder.send(CLOSE)
        assert flooder.receive_all()[-1].opcode == CLOSE
    # 30 frames, one message and the close frame: ten are free, each of the others takes a tenth of a second.
    assert paused.now - begun == pytest.approx(2.2)
    all_gone(server)


def test_a_frame_that_arrives_in_many_pieces_counts_once(serve: Serve, paused: Clock) -> None:
    server = serve(message_rate=1)
    begun = paused.now
    with Peer(server.port) as slow:
        until(lambda: "readPump-1" in pump_names() and len(server.clients) == 1)
        (client,) = server.clients
        slow.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in frame(TEXT, "in many pieces"):
            slow.socket.sendall(bytes([byte]))
            until(lambda: not select.select([client.connection._socket], [], [], 0)[0], "the byte being read")
        assert slow.lines(1) == ["in many pieces"]
    all_gone(server)
    assert paused.now == begun


def test_message_rate_0_is_no_limit(serve: Serve, paused: Clock) -> None:
    server = serve(message_rate=0)
    begun = paused.now
    with Peer(server.port) as flooder:
        flooder.socket.sendall(frame(TEXT, "x") * 1000)
        assert flooder.lines(1000) == ["x"] * 1000
    assert paused.now == begun
    all_gone(server)


def test_a_pong_that_waits_behind_a_flood_is_not_late(serve: Serve) -> None:
    """The pong wait passes before the server has read what came before the pong. The peer is not to blame for that."""
    server = serve(message_rate=20, pong_wait=0.5, ping_period=0.4, write_wait=0.1)
    with Peer(server.port) as flooder:
        message = "x" * 500  # so that the server does not read all of them at once
        flooder.socket.sendall(frame(TEXT, message) * 50 + frame(PONG) + frame(TEXT, "after the pong"))
        lines: list[str] = []
        while "after the pong" not in lines:
            got = flooder.receive()
            assert got.opcode in (TEXT, PING), got
            lines += got.payload.decode().split("\n") if got.opcode == TEXT else []
        assert lines == [message] * 50 + ["after the pong"]


@pytest.mark.parametrize("why", ["stop", "eviction"])
def test_a_stop_and_an_eviction_do_not_wait_until_a_flood_is_read(serve: Serve, why: str) -> None:
    """Reading it would take 200 pauses of half a second. One of them is waited for."""
    server = serve(message_rate=2, send_buffer=4)
    with Peer(server.port) as flooder:
        flooder.socket.sendall(frame(TEXT, "x") * 200)
        flooder.receive()
        (client,) = server.clients
        if why == "stop":
            server.stop_in_thread()
            code = 1001
        else:
            client.connection.end(1008, "evicted")
            server.app.hub.unregister.send(client)
            code = 1008
        *said, last = flooder.receive_all()
        assert (last.opcode, last.close_code) == (CLOSE, code)
        assert len(b"".join(got.payload for got in said)) < 20
    until(lambda: server.deserted, "the end of its pumps")
