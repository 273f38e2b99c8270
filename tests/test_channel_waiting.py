"""How a thread waits at a channel: it sleeps once, until it is served, its timeout has passed, or it is interrupted."""

from __future__ import annotations

import math
import threading
from decimal import Decimal
from typing import Any

import pytest
from channels import (
    Pause,
    Watched,
    assert_closed,
    closed,
    error,
    filled,
    nobody_in_line,
    receivers,
    replace_locks,
    result,
    senders,
    takers,
)
from helpers import FAR, go, until

from threadchat import channel as module
from threadchat.channel import Channel, Closed, Send, WouldBlock, select

# Timeouts


@pytest.mark.parametrize("timeout", [0.01, 0, 0.0, -0.5, -1, -7])
def test_a_receive_raises_when_its_timeout_has_passed_and_leaves_the_line(timeout: float) -> None:
    channel: Channel[str] = Channel()
    assert isinstance(error(go(channel.receive, timeout)), TimeoutError)
    assert nobody_in_line(channel)
    with pytest.raises(WouldBlock):
        channel.send_nowait("nobody has it")


@pytest.mark.parametrize("timeout", [None, FAR, 0.01, 0, -1])
def test_a_receive_that_need_not_wait_succeeds_whatever_its_timeout(timeout: float | None) -> None:
    assert filled(1, "item").receive(timeout) == "item"
    assert isinstance(error(go(closed().receive, timeout)), Closed)
    unbuffered: Channel[str] = Channel()
    sending = go(unbuffered.send, "item")
    senders(unbuffered, 1)
    assert unbuffered.receive(timeout) == "item"
    result(sending)


def test_a_receive_with_a_timeout_returns_as_soon_as_it_has_an_item() -> None:
    channel: Channel[str] = Channel()
    receiving = go(channel.receive, FAR)
    receivers(channel, 1)
    channel.send("item")
    assert result(receiving) == "item"


def test_a_receiver_that_times_out_leaves_the_others_in_line() -> None:
    channel: Channel[int] = Channel()
    first = go(channel.receive)
    receivers(channel, 1)
    second = go(channel.receive, 0.01)
    assert isinstance(error(second), TimeoutError)
    third = go(channel.receive)
    receivers(channel, 2)
    channel.send_nowait(1)
    channel.send_nowait(3)
    assert (result(first), result(third)) == (1, 3)


def test_a_timeout_that_is_infinite_or_beyond_what_the_system_can_count_waits() -> None:
    for timeout in (math.inf, 1e300, 10**400):
        channel: Channel[str] = Channel()
        receiving = go(channel.receive, timeout)
        receivers(channel, 1)
        channel.send_nowait("item")
        assert result(receiving) == "item"


@pytest.mark.parametrize(
    ("timeout", "raises"), [(math.nan, ValueError), ("1", TypeError), (Decimal(1), TypeError), ([], TypeError)]
)
def test_a_timeout_that_is_not_a_number_of_seconds_is_an_error_and_the_receiver_leaves_the_line(
    timeout: Any, raises: type[Exception]
) -> None:
    channel: Channel[str] = Channel()
    assert isinstance(error(go(channel.receive, timeout)), raises)
    assert isinstance(error(go(select, channel, Channel[str](), timeout=timeout)), raises)
    assert nobody_in_line(channel)


# Sleeping


@pytest.mark.parametrize("timeout", [None, FAR])
def test_a_thread_that_waits_looks_once_and_sleeps_once(timeout: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No polling: one look at the channels, and one sleep until something happens.

    Nor a second look before the sleep: between the two looks something could happen and be missed.
    """
    sleeps: list[float] = []

    class Wake(Watched):
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            sleeps.append(timeout)
            return super().acquire(blocking, timeout)

    replace_locks(monkeypatch, _wake=lambda lock: Wake(lock, lambda: None))
    one, two = Channel[int](), Channel[int]()
    seen = takers(one, two)

    def looks() -> list[int]:
        return [place for thread, place in seen if thread != threading.get_ident()]

    def begin() -> None:
        sleeps.clear()
        seen.clear()

    sending = go(one.send, 0)
    senders(one, 1)
    one.receive()
    result(sending)
    assert (looks(), sleeps) == ([0], [-1])

    begin()
    receiving = go(one.receive, timeout)
    until(lambda: sleeps)
    one.send(0)
    result(receiving)
    assert (looks(), sleeps) == ([0], [-1 if timeout is None else timeout])

    begin()
    selecting = go(select, one, two, timeout=timeout)
    until(lambda: sleeps)
    assert sorted(looks()) == [0, 1]
    two.send(0)
    result(selecting)
    assert sleeps == [-1 if timeout is None else timeout]
    assert sorted(looks()[2:]) == [0, 1]  # to leave the lines


def test_a_receiver_is_given_its_item_before_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wake(Watched):
        def release(self) -> None:
            super().release()
            until(receiving.done)  # the receiver runs on, the sender does not

    replace_locks(monkeypatch, _wake=lambda lock: Wake(lock, lambda: None))
    channel: Channel[str] = Channel()
    receiving = go(channel.receive)
    receivers(channel, 1)
    channel.send("item")
    assert result(receiving) == "item"
    receiving = go(channel.receive)
    receivers(channel, 1)
    channel.close()
    assert_closed(receiving, channel)


# Interrupts


WAYS: dict[str, Any] = {
    "receive": lambda channel, other: channel.receive(FAR),
    "send": lambda channel, other: channel.send("item"),
    "select to receive": lambda channel, other: select(other, channel),
    "select to send": lambda channel, other: select(Send(other, "item"), Send(channel, "item")),
}


@pytest.mark.parametrize("how", WAYS)
def test_a_thread_that_is_interrupted_in_its_sleep_leaves_all_lines(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    channel, other = Channel[str](), Channel[str]()

    def interrupted(self: module._Parked, timeout: float | None) -> bool:
        seen = channel.statistics()
        assert seen.waiting_receivers + seen.waiting_senders == 1
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module._Parked, "_park", interrupted)
        assert isinstance(error(go(WAYS[how], channel, other)), KeyboardInterrupt)
    assert nobody_in_line(channel, other)
    with pytest.raises(WouldBlock):
        channel.send_nowait("nobody receives it")
    assert channel.take_pending() == []


@pytest.mark.parametrize("how", WAYS)
def test_a_thread_that_was_interrupted_is_not_served_while_it_still_stands_in_line(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise an item would be sent to a thread that raised KeyboardInterrupt, or be received from one."""
    channel, other = Channel[str](), Channel[str]()
    leave = Channel._leave

    def interrupted(self: module._Parked, timeout: float | None) -> bool:
        raise KeyboardInterrupt

    def paused_leave(self: Channel[str], thread: module._Parked) -> None:
        pause()
        leave(self, thread)

    with Pause() as pause:
        with monkeypatch.context() as patch:
            patch.setattr(module._Parked, "_park", interrupted)
            patch.setattr(Channel, "_leave", paused_leave)
            interrupting = go(WAYS[how], channel, other)
            pause.reached()
        with pytest.raises(WouldBlock):
            channel.send_nowait("nobody receives it")
        assert channel.take_pending() == []
    assert isinstance(error(interrupting), KeyboardInterrupt)
    assert nobody_in_line(channel, other)


@pytest.mark.parametrize("how", WAYS)
def test_a_thread_that_was_served_just_before_it_was_interrupted_has_sent_or_received(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, other = Channel[str](), Channel[str]()

    def interrupted(self: module._Parked, timeout: float | None) -> bool:
        if "send" in how:
            assert channel.receive() == "item"
        else:
            channel.send_nowait("item")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module._Parked, "_park", interrupted)
        assert isinstance(error(go(WAYS[how], channel, other)), KeyboardInterrupt)
    assert nobody_in_line(channel, other)
    assert channel.take_pending() == []
