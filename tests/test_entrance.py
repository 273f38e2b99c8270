"""The entrance: of a crowd one comes in after the other, and nobody who takes long keeps the others out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from helpers import LIMIT, V1, Held, Peer, Serve, go, until

from threadchat.web import entrance
from threadchat.web.entrance import Entrance


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is passed, unless a test says otherwise."""
    monkeypatch.setattr(entrance, "PATIENCE", LIMIT)


class Comer:
    """Somebody who takes a turn at an entrance, says so by `there`, is in when told by `go_in`, and ends by `leave`."""

    def __init__(self, door: Entrance) -> None:
        self._door = door
        self.there, self.go_in, self.is_in, self.leave = (threading.Event() for _ in range(4))
        self.run = go(self._run)

    def _run(self) -> None:
        with self._door.turn() as is_in:
            self.there.set()
            assert self.go_in.wait(LIMIT)
            is_in()
            self.is_in.set()
            assert self.leave.wait(LIMIT)


@pytest.fixture
def door() -> Entrance:
    return Entrance()


@pytest.fixture
def comers(door: Entrance) -> Iterator[list[Comer]]:
    """Three who come in this order; the first one is coming in, and the others wait."""
    there: list[Comer] = []
    for before in range(3):
        there.append(Comer(door))
        if before:
            until(lambda before=before: len(door._line) == before, "somebody in the line")  # type: ignore[misc]
        else:
            assert there[0].there.wait(LIMIT)
    yield there
    for each in there:
        each.go_in.set()
        each.leave.set()
    for each in there:
        each.run.result(LIMIT)
    assert door._coming is None
    assert not door._line


def test_one_comes_in_after_the_other_in_the_order_in_which_they_came(comers: list[Comer]) -> None:
    for at, each in enumerate(comers):
        assert each.there.wait(LIMIT)
        assert not any(later.there.is_set() for later in comers[at + 1 :])
        each.go_in.set()


def test_whoever_is_in_stays_and_keeps_nobody_out(comers: list[Comer]) -> None:
    comers[0].go_in.set()
    assert comers[1].there.wait(LIMIT)
    assert not comers[0].leave.is_set()


def test_somebody_who_does_not_come_in_makes_way(door: Entrance) -> None:
    with door.turn():
        waiting = Comer(door)
        until(lambda: len(door._line) == 1)
    assert waiting.there.wait(LIMIT)
    waiting.go_in.set()
    waiting.leave.set()
    waiting.run.result(LIMIT)


def test_somebody_who_takes_too_long_is_passed(door: Entrance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "PATIENCE", 0.0)
    with door.turn():
        go(door.turn().__enter__).result(LIMIT)


class Grantable:
    """A turn whose owner gives up waiting at the moment at which it is granted."""

    def __init__(self, grant: threading.Event, granted: threading.Event) -> None:
        self.grant, self.granted = grant, granted

    def acquire(self, timeout: float | None = None) -> bool:
        if timeout is not None:
            self.grant.set()
            assert self.granted.wait(LIMIT)
        return False

    def release(self) -> None:
        self.granted.set()


def test_race_1_a_turn_that_comes_as_its_owner_loses_patience_is_its_own(
    door: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = door.turn()
    is_in = first.__enter__()
    grant, granted = threading.Event(), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(entrance, "Lock", lambda: Grantable(grant, granted))
        second = door.turn()
        entering = go(second.__enter__)
        assert grant.wait(LIMIT)
    is_in()
    second_is_in = entering.result(LIMIT)
    third = Comer(door)
    until(lambda: len(door._line) == 1)
    assert not third.there.is_set()
    second_is_in()
    assert third.there.wait(LIMIT)
    third.go_in.set()
    third.leave.set()
    third.run.result(LIMIT)
    for each in (first, second):
        each.__exit__(None, None, None)


def test_race_2_somebody_who_was_passed_and_comes_in_lets_nobody_in(
    door: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with door.turn() as slow_is_in:
        monkeypatch.setattr(entrance, "PATIENCE", 0.0)
        passing = Comer(door)
        assert passing.there.wait(LIMIT)
        monkeypatch.setattr(entrance, "PATIENCE", LIMIT)
        waiting = Comer(door)
        until(lambda: len(door._line) == 1)
        slow_is_in()
        assert not waiting.there.is_set()
        assert len(door._line) == 1
    assert len(door._line) == 1
    for each in (passing, waiting):
        assert each.there.wait(LIMIT)
        each.go_in.set()
        each.leave.set()
        each.run.result(LIMIT)


def test_a_crowd_of_clients_comes_in_one_after_the_other(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(message_rate=0)
    most, coming, door = 0, 0, server.app._entrance
    take_turn, mutex = door.turn, threading.Lock()

    @contextmanager
    def counted() -> Iterator[object]:
        nonlocal most, coming
        with take_turn() as is_in:
            with mutex:
                coming += 1
                most = max(most, coming)

            def count_in() -> None:
                nonlocal coming
                with mutex:
                    coming -= 1
                is_in()

            yield count_in

    monkeypatch.setattr(door, "turn", counted)
    comers = [go(V1, server.port, name=f"Guest {number}") for number in range(50)]
    for each in comers:
        each.result(LIMIT).close()
    assert (most, coming) == (1, 0)


def test_a_client_that_waits_for_the_hub_keeps_nobody_out_and_has_no_deadline(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "PATIENCE", 0.0)
    server = serve()
    with Peer(server.port) as speaker:
        hub = server.app.hub
        held = Held(hub)
        speaker.send(1, "hello")
        assert held.at_work.wait(LIMIT)
        waiting = go(Peer, server.port)
        until(lambda: hub.register.statistics().waiting_senders == 1)
        assert not server.server._server.requests._deadlines
        V1(server.port, room="den", name="Bob").close()
        held.goes_on.set()
        waiting.result(LIMIT).close()
