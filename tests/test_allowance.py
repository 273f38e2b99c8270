"""How often one source may do something."""

from __future__ import annotations

import pytest
from helpers import Clock

from threadchat.web import allowance
from threadchat.web.allowance import Allowance


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(allowance, "time", made)
    return made


def test_each_source_has_a_burst_and_then_a_rate(clock: Clock) -> None:
    allowed = Allowance(3, 0.5)
    assert [allowed.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 2.0]
    assert allowed.take("b") == 0.0
    clock.now += 1
    assert allowed.wait("a") == allowed.take("a") == 1.0
    clock.now += 1
    assert allowed.wait("a") == allowed.take("a") == 0.0
    assert allowed.wait("a") == 2.0
    clock.now += 1000
    assert [allowed.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 2.0]


def test_sources_that_have_their_whole_allowance_again_are_forgotten(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "MOST_SOURCES", 3)
    allowed = Allowance(1, 1)
    for source in "abc":
        allowed.take(source)
    clock.now += 0.5
    allowed.take("d")
    assert set(allowed._left) == set("abcd"), "none of them has its whole allowance"
    clock.now += 0.5
    allowed.take("e")
    assert set(allowed._left) == set("de")
