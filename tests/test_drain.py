"""A drain: nobody new, goodbyes one after the other, and then the stop."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers import (
    HANDSHAKE,
    LIMIT,
    TEXT,
    THREADCHAT,
    V1,
    Clock,
    Held,
    Peer,
    Process,
    Serve,
    all_gone,
    ask,
    errors,
    go,
    until,
)

from threadchat import serving
from threadchat.channel import Channel, Closed
from threadchat.client import Client
from threadchat.web import drain

SERVE = [*THREADCHAT, "serve", "--port", "0"]


# In this process


@pytest.mark.parametrize("clients", [0, 1, 4, 30])
def test_the_goodbyes_are_spread_evenly_over_the_drain(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, clients: int
) -> None:
    server, clock = serve(), Clock()
    pauses: list[float] = []

    told, began, real = [0], clock.now, drain._part_with

    def wait(cut: Channel[None], seconds: float) -> bool:
        clock.sleep(seconds)
        pauses.append(seconds)
        return False

    def part_with(client: Client, cut: Channel[None]) -> bool:
        told[0] += 1
        assert told[0] <= clients * (clock.now - began) + 1
        return real(client, cut)

    monkeypatch.setattr(drain, "time", clock)
    monkeypatch.setattr(drain, "_wait", wait)
    monkeypatch.setattr(drain, "_part_with", part_with)
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.port)) for _ in range(clients)]
        until(lambda: len(server.clients) == clients)
        assert drain.drain(server.app.rooms, 1.0, Channel(), lambda: False) == clients
        assert clock.now - began == pytest.approx(1.0)
        assert {peer.goodbye() for peer in peers} <= {(1012, "the server restarts")}
    assert max(pauses) - min(pauses) <= drain.TELL_EVERY
    all_gone(server)


def test_it_ends_early_without_a_client_if_nobody_can_come(serve: Serve) -> None:
    assert drain.drain(serve().app.rooms, 3600.0, Channel(), lambda: True) == 0


def test_a_drain_goes_on_past_a_hub_that_hangs_and_can_be_cut_short_there(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    hub = server.app.hub
    held = Held(hub)
    with Peer(server.port) as stuck, Peer(server.port), Peer(server.port, "/r/den/ws") as other:
        until(lambda: len(drain.staying(server.app.rooms)) == 3)
        stuck.send(TEXT, "hello")
        assert held.at_work.wait(LIMIT)
        cut = Channel[None]()
        monkeypatch.setattr(drain, "HUB_WAIT", 3600.0)
        draining = go(drain.drain, server.app.rooms, 1.0, cut, lambda: False)
        until(lambda: hub.unregister.statistics().waiting_senders == 1, "the drain at the hub that hangs")
        cut.close()
        assert draining.result(LIMIT) == 0
        monkeypatch.setattr(drain, "HUB_WAIT", 0.01)
        draining = go(drain.drain, server.app.rooms, 1.0, Channel(), lambda: False)
        assert other.goodbye()[0] == 1012
        assert draining.result(LIMIT) == 2
        held.goes_on.set()


def test_whoever_is_left_when_the_time_is_over_is_told_all_the_same_and_counted_once(serve: Serve) -> None:
    server = serve()
    with Peer(server.port) as late, Peer(server.port, "/r/den/ws") as later:
        until(lambda: len(drain.staying(server.app.rooms)) == 2)
        assert drain.drain(server.app.rooms, 0.0, Channel(), lambda: False) == 2
        stopping = go(serving._stop, server.server, set(threading.enumerate()))
        for peer in (late, later):
            assert peer.goodbye()[0] == 1012
            peer.close()
        told, sentence = stopping.result(LIMIT)
    assert told == 0
    assert sentence.startswith("stopped: 0 clients told (close code 1001)")


def test_during_a_drain_nobody_new_comes_in_and_those_who_are_there_go_on(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    with V1(server.port, name="Ann") as ann, Peer(server.port) as bob:
        until(lambda: len(server.clients) == 2)
        cut = Channel[None]()
        draining = go(drain.drain, server.app.rooms, 3600.0, cut, lambda: False)
        until(lambda: server.app.rooms.drains_until)
        ready = ask(server, "GET", "/readyz")
        assert (ready.status, ready.body) == (503, b"The server is about to restart.\n")
        assert ask(server, "GET", "/livez").status == 200
        for path in ("/ws", "/r/den/ws"):
            refused = ask(server, "GET", path, HANDSHAKE)
            assert refused.status == 503
            assert 3500 < int(refused.headers["Retry-After"]) <= 3600
        assert ask(server, "POST", "/r/den/say", body=b"hello").status == 503
        assert ask(server, "POST", "/say", body=b"still here").status == 201
        assert bob.lines(1) == ["still here"]
        ann.say("so am I")
        assert bob.lines(1) == ["Ann: so am I"]
        assert len(server.app.rooms.hubs) == 1
        assert server.app.rooms.tally.counted("refusals") == {"draining": 3}
        cut.close()
        assert draining.result(LIMIT) == 0
    assert errors(caplog) == []


# The command


def test_sigterm_drains_and_then_stops(tmp_path: Path) -> None:
    with Process(tmp_path, [*SERVE, "--drain", "0.2"]) as process, ExitStack() as stack:
        people = [stack.enter_context(Peer(process.port)) for _ in range(3)]
        process.wait_for("client 3 joined")
        process.process.send_signal(signal.SIGTERM)
        for person in people:
            assert person.receive_all()[-1].close_code == 1012
            person.close()
        assert process.process.wait(LIMIT) == 0
    drained, stopped = process.out.splitlines()[-2:]
    assert re.fullmatch(r"drained: 3 clients told in (0\.[2-9]|[1-9]\d*\.\d) seconds \(close code 1012\)", drained)
    assert stopped.startswith("stopped: 0 clients told")
    assert "draining for 0.2 seconds: no new clients" in process.err


def test_a_third_signal_before_the_drain_has_ended_changes_nothing() -> None:
    class Signals:
        def drain(self, work: Callable[[], int], cut: Callable[[], object]) -> int:
            cut()
            cut()
            return work()

    class Drained:
        def drain(self, seconds: float, cut: Channel[None]) -> int:
            with pytest.raises(Closed):
                cut.receive()
            return 7

    told, said = serving._drain(Drained(), 60.0, Signals())  # type: ignore[arg-type]
    assert told == 7
    assert said.startswith("drained: 7 clients told")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_drain_and_stops_in_order(tmp_path: Path, second: signal.Signals) -> None:
    with Process(tmp_path, [*SERVE, "--drain", "3600"]) as process, Peer(process.port) as peer:
        process.wait_for("client 1 joined")
        process.process.send_signal(signal.SIGTERM)
        until(lambda: ask(process, "GET", "/readyz").status == 503, "the drain")

        def is_over() -> bool:
            process.process.send_signal(second)
            return "drained: 0 clients told" in process.out

        until(is_over)
        assert peer.goodbye()[0] == 1001
        peer.close()
        assert process.process.wait(LIMIT) == 0
        assert "stopped: 1 client told (close code 1001)" in process.out


def test_ctrl_c_stops_without_a_drain(tmp_path: Path) -> None:
    with Process(tmp_path, [*SERVE, "--drain", "3600"]) as process, Peer(process.port) as peer:
        process.wait_for("client 1 joined")
        process.process.send_signal(signal.SIGINT)
        assert peer.goodbye()[0] == 1001
        peer.close()
        assert process.process.wait(LIMIT) == 0
        assert "drained" not in process.out
