"""The cause of an eviction, as its event tells it: each is brought about in a real server."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import FAR, Clock, Inspected, Look, Peer, say_stuck, until

from threadchat.inspector import evictions, kernel
from threadchat.inspector.bots import _drop_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a peer has taken")

Inspect = Callable[..., Inspected]

BIG = "x" * 1_000_000  # bytes: more than the kernel holds for a peer that does not read


@contextmanager
def a_frame_waits(server: Inspected) -> Iterator[tuple[Peer, Look]]:
    """A client that reads nothing, with a frame that has waited for it long enough."""
    with Peer(server.port) as peer, server.look() as look:
        look.until(lambda picture: picture["clients"], "the client")
        server.hub.broadcast.send(BIG)
        look.until(lambda picture: picture["clients"][0]["away"], "the client being stuck")
        yield peer, look


def evict(server: Inspected, look: Look) -> dict[str, Any]:
    """Fill the client's channel, which has room for one message. Returns the event."""
    for text in ("fills the channel", "one too many"):
        server.hub.broadcast.send(text)
    return look.until_event("evicted")


def test_a_peer_that_took_nothing_for_long_has_stopped(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evictions, "LONG", 0.1)
    server = inspect(send_buffer=1)
    with a_frame_waits(server) as (_, look):
        wait = server.client().connection.wait
        assert wait is not None
        until(lambda: wait.facts()["quiet"] >= 0.1, "a while in which the peer takes nothing")
        event = evict(server, look)
    assert event["cause"] == "stopped"
    assert event["waited"] >= event["quiet"] >= 0.1


def test_that_a_peer_took_nothing_for_a_moment_does_not_mean_that_it_has_stopped(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evictions, "LONG", FAR)
    server = inspect(send_buffer=1)
    with a_frame_waits(server) as (_, look):
        assert evict(server, look)["cause"] == "slow"


def test_a_peer_that_still_takes_bytes_is_slow_however_long_a_frame_waits(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(evictions, "time", clock)
    server = inspect(send_buffer=1)
    with a_frame_waits(server) as (peer, look):
        client = server.client()
        clock.now += 2 * evictions.LONG
        socket = client.connection._socket
        before = kernel.taken(socket)
        assert before is not None
        until(lambda: peer.socket.recv(4_000) and (kernel.taken(socket) or 0) > before + evictions.NOTHING)
        event = evict(server, look)
    assert event["cause"] == "slow"
    assert event["waited"] > evictions.LONG > event["quiet"]


def test_a_peer_whose_machine_does_not_answer_is_silent(inspect: Inspect) -> None:
    server = inspect(send_buffer=1)
    with Peer(server.port) as peer, server.look() as look:
        look.until(lambda picture: picture["clients"], "the client")
        _drop_all(peer.socket)
        server.hub.broadcast.send(BIG)
        look.until(lambda picture: picture["clients"][0]["away"], "the client being stuck")
        until(lambda: kernel.unanswered(server.client().connection._socket), "the kernel sending it again")
        assert evict(server, look)["cause"] == "silent"


def test_where_no_frame_waits_there_is_no_write_pump(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    server = inspect(send_buffer=1)
    with Peer(server.port), server.look() as look:
        look.until(lambda picture: picture["clients"], "the client")
        monkeypatch.setattr(server.hub.run_queue, "gosched", lambda: None)
        server.hub.run_queue.ready(lambda: None)  # takes the only turn, so that the write pump takes nothing
        say_stuck(server.client().stuck)
        try:
            event = evict(server, look)
        finally:
            server.hub.run_queue.next()
    assert (event["cause"], event["waited"], event["quiet"]) == ("ended", None, None)


def test_a_frame_that_went_out_just_before_the_eviction_is_still_its_cause() -> None:
    wait = evictions.Wait(None)
    wait.until = time.monotonic()
    assert evictions.facts(wait)["cause"] == "slow"
    wait.until -= 2 * evictions.LATELY
    assert evictions.facts(wait)["cause"] == "ended"


def test_where_the_kernel_does_not_tell_nothing_is_claimed(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    monkeypatch.setattr(evictions, "LONG", 0.0)
    server = inspect(send_buffer=1)
    with a_frame_waits(server) as (_, look):
        client = look.picture()["clients"][0]
        assert (client["kernel"], client["unread"]) == (None, None)
        event = evict(server, look)
    assert (event["cause"], event["quiet"]) == ("slow", None)
