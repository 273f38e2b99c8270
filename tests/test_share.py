"""How processes share connections: the one with the fewest takes the next one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from threadchat.runtime import share as module
from threadchat.runtime.share import Share, make_table, remove


@pytest.fixture
def table(tmp_path: Path) -> Path:
    make_table(tmp_path / "table", 3)
    return tmp_path / "table"


@pytest.fixture
def shares(table: Path) -> list[Share]:
    """The views of three processes, of which the third one takes no connections."""
    return [Share(table, number) for number in (1, 2, 3)]


def never() -> bool:
    raise AssertionError("it gives way")


def times(count: int, then: Callable[[], object] = lambda: None) -> Callable[[], bool]:
    """Says so many times that the connection waits still, calls `then`, and says it once more."""
    left = [count]

    def is_waiting() -> bool:
        left[0] -= 1
        if not left[0]:
            then()
        return left[0] >= 0

    return is_waiting


def test_a_process_alone_takes_every_connection(shares: list[Share]) -> None:
    shares[0].count(1_000)
    assert shares[0].may_take(never)


def test_the_one_with_the_fewest_takes_it_and_so_does_one_with_a_few_more(shares: list[Share]) -> None:
    shares[0].count(103)
    shares[1].count(94)
    for share in shares[:2]:
        assert share.may_take(never)


def test_one_with_more_leaves_it_to_the_other(shares: list[Share]) -> None:
    shares[0].count(120)
    shares[1].count(94)
    assert not shares[0].may_take(times(2))


def test_it_takes_it_once_the_other_has_as_many(shares: list[Share]) -> None:
    shares[0].count(120)
    shares[1].count(94)
    assert shares[0].may_take(times(3, then=lambda: shares[1].count(110)))


def test_nobody_waits_for_one_that_hangs_until_that_takes_a_connection(
    shares: list[Share], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.002)
    shares[0].count(120)
    shares[1].count(0)
    assert shares[0].may_take(lambda: True)
    assert shares[0].may_take(never)  # at once, since the other one has hung before
    shares[1].count(1)
    assert not shares[0].may_take(times(1))


@pytest.mark.parametrize("gone", ["left", "died"])
def test_nobody_waits_for_one_that_is_absent(shares: list[Share], table: Path, gone: str) -> None:
    shares[0].count(120)
    shares[1].count(0)
    if gone == "left":
        shares[1].leave()
        shares[1].count(0)  # the last of its connections has ended, and another process may have its place
    else:
        remove(table, 2)
    assert shares[0].may_take(never)


def test_it_is_known_how_many_connections_the_others_have(shares: list[Share]) -> None:
    for share, count in zip(shares[:2], (3, 4), strict=True):
        share.count(count)
    assert [share.elsewhere() for share in shares] == [4, 3, 7]


def test_who_has_left_takes_what_nobody_else_takes(shares: list[Share]) -> None:
    """To refuse it: otherwise it would wait until the last one has ended, and then be cut off."""
    one, two, _ = shares
    one.count(3)
    two.count(0)
    one.leave()
    assert one.others_take()
    assert not one.may_take(never)
    two.leave()
    assert not one.others_take()
    assert one.may_take(never)
    assert two.may_take(never)


def test_one_that_hangs_keeps_nobody_waiting_while_others_leave(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.02)
    hangs, other = Share(table, 2), Share(table, 3)
    own, count = Share(table, 1), [1_000]
    own.count(500)
    hangs.count(0)

    def somebody_leaves() -> bool:
        count[0] -= 1
        other.count(count[0])
        assert count[0] > 600, "it gives way for ever"
        return True

    assert own.may_take(somebody_leaves)
