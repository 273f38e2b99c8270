"""The races that channel.py lists, each forced by a test of the same number; then many threads at once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from channels import (
    PassingDeadline,
    Pause,
    Watched,
    arrivals,
    assert_closed,
    error,
    filled,
    nobody_in_line,
    parked_senders,
    pause_in_wake,
    receivers,
    replace_locks,
    result,
    senders,
    takers,
    watch,
)
from helpers import FAR, LIMIT, go, until

from threadchat import channel as module
from threadchat.channel import Case, Channel, Closed, Send, WouldBlock, select


def selecting_thread(
    monkeypatch: pytest.MonkeyPatch, *cases: Case, timeout: float | None = None, **locks: Callable[[Any], Any]
) -> Future[tuple[Case, Any]]:
    """A thread parked in a select, with other locks. Threads that park later have the usual ones."""
    with monkeypatch.context() as patch:
        replace_locks(patch, **locks)
        selecting = go(select, *cases, timeout=timeout)
        for case in cases:
            if isinstance(case, Send):
                assert case.channel
                senders(case.channel, 1)
            elif case:
                receivers(case, 1)
    return selecting


def meeting() -> Callable[[Any], Watched]:
    """A lock in place of `_claim`: the two threads that claim the parked thread wait for each other first."""
    both = threading.Barrier(2, timeout=LIMIT)
    claims = iter([both.wait, both.wait])
    return lambda lock: Watched(lock, lambda: next(claims, lambda: None)())


# Race 1: two threads reach the same selecting thread over two channels, and both want to serve it


@pytest.mark.parametrize("capacity", [0, 1])
def test_race_1_one_of_two_senders_serves_the_select_and_the_other_keeps_its_item(
    capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(20):
        one, two = Channel[str](capacity), Channel[str](capacity)
        selecting = selecting_thread(monkeypatch, one, two, _claim=meeting())
        sending = {one: go(one.send, "one"), two: go(two.send, "two")}
        chosen, item = result(selecting)
        assert isinstance(chosen, Channel)
        assert item == ("one" if chosen is one else "two")
        result(sending.pop(chosen))
        other, waiting = sending.popitem()
        if capacity:
            result(waiting)
        else:
            senders(other, 1)
            assert not waiting.done()
        assert nobody_in_line(chosen)
        assert len(other) == capacity
        assert other.receive() == ("one" if other is one else "two")
        result(waiting)
        assert nobody_in_line(one, two)


def test_race_1_one_of_two_receivers_serves_the_sending_select_and_the_other_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(20):
        one, two = Channel[str](), Channel[str]()
        cases = {one: Send(one, "one"), two: Send(two, "two")}
        selecting = selecting_thread(monkeypatch, *cases.values(), _claim=meeting())
        receiving = {one: go(one.receive), two: go(two.receive)}
        case, _ = result(selecting)
        chosen = one if case is cases[one] else two
        assert result(receiving.pop(chosen)) == cases[chosen].item
        other, waiting = receiving.popitem()
        receivers(other, 1)
        assert not waiting.done()
        other.send("another")
        assert result(waiting) == "another"
        assert nobody_in_line(one, two)


def test_race_1_a_sender_and_a_receiver_do_not_both_serve_the_select(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        inbox, outbox = Channel[str](), Channel[str]()
        case = Send(outbox, "out")
        selecting = selecting_thread(monkeypatch, inbox, case, _claim=meeting())
        sending, receiving = go(inbox.send, "in"), go(outbox.receive)
        if result(selecting) == (inbox, "in"):
            result(sending)
            receivers(outbox, 1)
            outbox.send("another")
            assert result(receiving) == "another"
        else:
            assert result(selecting) == (case, None)
            assert result(receiving) == "out"
            senders(inbox, 1)
            assert inbox.receive() == "in"
            result(sending)
        assert nobody_in_line(inbox, outbox)


def test_race_1_the_sender_that_comes_second_turns_to_the_next_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Channel[str](), Channel[str]()
    selecting = selecting_thread(monkeypatch, one, two, _claim=meeting())
    next_in_line = {one: go(one.receive), two: go(two.receive)}
    receivers(one, 2)
    receivers(two, 2)
    for future in [go(one.send, "one"), go(two.send, "two")]:
        result(future)
    chosen, item = result(selecting)
    assert isinstance(chosen, Channel)
    unserved = next_in_line.pop(chosen)
    other, served = next_in_line.popitem()
    assert {chosen: item, other: result(served)} == {one: "one", two: "two"}
    assert chosen.statistics().waiting_receivers == 1
    chosen.send("last")
    assert result(unserved) == "last"


def test_race_1_a_sender_and_a_close_do_not_both_serve_the_select(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        one, two = Channel[str](), Channel[str](1)
        selecting = selecting_thread(monkeypatch, one, two, _claim=meeting())
        closing, sending = go(one.close), go(two.send, "item")
        result(closing)
        result(sending)
        if isinstance(raised := error(selecting), Closed):
            assert raised.channel is one
            assert two.receive() == "item"
        else:
            assert result(selecting) == (two, "item")
            assert len(two) == 0
        assert nobody_in_line(one, two)


# Race 2: a thread's deadline passes at the moment when another thread serves it

# What the thread with the deadline does, and how another thread serves it.
WAITS: dict[str, Callable[[Channel[str], Channel[str]], object]] = {
    "receive": lambda channel, other: channel.receive(FAR),
    "select to receive": lambda channel, other: select(other, channel, timeout=FAR)[1],
    "select to send": lambda channel, other: select(other, Send(channel, "item"), timeout=FAR)[1],
}


def parked(how: str, channel: Channel[str], other: Channel[str]) -> Future[Any]:
    waiting = go(WAITS[how], channel, other)
    (senders if how == "select to send" else receivers)(channel, 1)
    return waiting


@pytest.mark.parametrize("how", WAITS)
@pytest.mark.parametrize("closes", [False, True])
def test_race_2_a_thread_that_is_served_as_its_deadline_passes_has_been_served(
    how: str, closes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline passes after the other thread has claimed the parked one, and before it wakes it."""
    waits_on = threading.Event()

    class Wake(PassingDeadline):
        passes = threading.Event()

    class Claim(Watched):
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            if not super().acquire(blocking, timeout):
                return False
            Wake.passes.set()
            until(lambda: waits_on.is_set() or waiting.done())
            return True

    channel, other = Channel[str](), Channel[str]()
    with monkeypatch.context() as patch:
        replace_locks(patch, _wake=lambda lock: Wake(lock, waits_on.set), _claim=lambda lock: Claim(lock, lambda: None))
        waiting = parked(how, channel, other)
    if closes:
        channel.close()
        assert_closed(waiting, channel)
    elif how == "select to send":
        assert channel.receive() == "item"
        assert result(waiting) is None
    else:
        channel.send_nowait("item")
        assert result(waiting) == "item"
    assert nobody_in_line(channel, other)


def meet_a_leaver(channel: Channel[str], then: str, waiting: Future[str] | None) -> Future[None] | None:
    """Use the channel while a receiver that has been served stands in line, before `waiting`.

    Returns the sender that was parked by this, if one was.
    """
    sending = None
    assert channel.statistics().waiting_receivers == (1 if waiting else 0)
    assert len(channel._receivers) == (2 if waiting else 1)
    if then == "would block":
        with pytest.raises(WouldBlock):
            channel.send_nowait("item")
    elif then == "default":
        assert select(Send(channel, "item"), default=True) == (None, None)
    elif then == "parked":
        sending = go(channel.send, "item")
        senders(channel, 1)
    elif then == "closed":
        channel.close()
    elif then == "all at once":
        channel.send_what_fits(["item"])
        assert len(channel) == 1
    elif then != "nothing":
        channel.send_nowait("item")
        assert len(channel) == (1 if then == "buffered" else 0)
    if waiting:
        assert result(waiting) == "item"
    return sending


def check_that_the_item_is_there(channel: Channel[str], then: str, sending: Future[None] | None) -> None:
    """What `meet_a_leaver` sent has not been given to the receiver that was leaving."""
    if then in ("buffered", "all at once", "parked"):
        assert channel.receive() == "item"
    if sending:
        result(sending)


THEN = ["nothing", "would block", "default", "buffered", "all at once", "next in line", "parked", "closed"]


@pytest.mark.parametrize("how", ["receive", "select to receive"])
@pytest.mark.parametrize("then", THEN)
def test_race_2_a_receiver_whose_deadline_has_passed_is_left_alone_while_it_still_stands_in_line(
    how: str, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wake(PassingDeadline):
        passes = threading.Event()

    channel: Channel[str] = Channel(1 if then in ("buffered", "all at once") else 0)
    other: Channel[str] = Channel()
    with monkeypatch.context() as patch:
        replace_locks(patch, _wake=lambda lock: Wake(lock, lambda: None))
        late = parked(how, channel, other)
    waiting = None
    if then == "next in line":
        waiting = go(channel.receive)
        receivers(channel, 2)
    with Pause() as pause:
        watch(channel, pause)
        Wake.passes.set()
        pause.reached()
        sending = meet_a_leaver(channel, then, waiting)
        assert not late.done()
    assert isinstance(error(late), TimeoutError)
    check_that_the_item_is_there(channel, then, sending)
    assert nobody_in_line(channel, other)


def meet_a_leaving_sender(channel: Channel[str], then: str) -> None:
    """Use the channel while a select that sends "item", and has been served, stands in the line of senders."""
    assert channel.statistics().waiting_senders == 0
    assert len(channel._senders) == 1
    if then == "receive":
        with pytest.raises(TimeoutError):
            channel.receive(0)
    elif then == "take_pending":
        assert channel.take_pending() == []
    elif then == "default":
        assert select(channel, default=True) == (None, None)
    elif then == "next in line":
        sending = go(channel.send, "next")
        senders(channel, 1)
        assert channel.receive() == "next"
        result(sending)
    elif then == "closed":
        channel.close()
        with pytest.raises(Closed):
            channel.receive()


THEN_RECEIVE = ["nothing", "receive", "take_pending", "default", "next in line", "closed"]


@pytest.mark.parametrize("then", THEN_RECEIVE)
def test_race_2_a_sending_select_whose_deadline_has_passed_is_left_alone_while_it_still_stands_in_line(
    then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wake(PassingDeadline):
        passes = threading.Event()

    channel, other = Channel[str](), Channel[str]()
    with monkeypatch.context() as patch:
        replace_locks(patch, _wake=lambda lock: Wake(lock, lambda: None))
        late = parked("select to send", channel, other)
    with Pause() as pause:
        watch(channel, pause)
        Wake.passes.set()
        pause.reached()
        meet_a_leaving_sender(channel, then)
        assert not late.done()
    assert isinstance(error(late), TimeoutError)
    assert nobody_in_line(channel, other)


# Race 3: a close meets a parked sender just as a receiver makes room for it


@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("how", ["receive", "select"])
def test_race_3_a_sender_that_a_receiver_made_room_for_has_sent_and_the_close_comes_after(
    capacity: int, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = filled(capacity, *range(capacity))
    sending = parked_senders(channel, 7, 8)
    seen = takers(channel)
    with Pause() as pause:
        woken = pause_in_wake(monkeypatch, pause)
        receiving: Future[Any] = go(channel.receive) if how == "receive" else go(lambda: select(channel)[1])
        pause.reached()
        assert channel._mutex.locked()
        closing = go(channel.close)
        arrivals(seen, 2)
        assert not closing.done()
        assert not sending[0].done()
    result(closing)
    result(sending[0])
    assert_closed(sending[1], channel)
    assert result(receiving) == (0 if capacity else 7)
    assert result(go(list, channel)) == [7] * capacity
    assert sorted(woken.values()) == [1, 1]


@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("how", ["receive", "select"])
def test_race_3_senders_that_a_close_has_met_first_have_not_sent_and_no_receiver_gets_their_items(
    capacity: int, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = filled(capacity, *range(capacity))
    sending = parked_senders(channel, 7, 8)
    seen = takers(channel)
    with Pause() as pause:
        woken = pause_in_wake(monkeypatch, pause)
        closing = go(channel.close)
        pause.reached()
        assert channel._mutex.locked()
        receiving: Future[Any] = go(channel.receive) if how == "receive" else go(lambda: select(channel)[1])
        arrivals(seen, 2)
        assert not receiving.done()
    result(closing)
    if capacity:
        assert result(receiving) == 0
    else:
        assert_closed(receiving, channel)
    for future in sending:
        assert_closed(future, channel)
    assert result(go(list, channel)) == []
    assert sorted(woken.values()) == [1, 1]


# Race 4: a select has been served over one channel while it still stands in the lines of the others


@pytest.mark.parametrize("then", THEN)
def test_race_4_a_select_that_was_served_is_left_alone_while_it_still_stands_in_another_line(then: str) -> None:
    one: Channel[str] = Channel()
    two: Channel[str] = Channel(1 if then in ("buffered", "all at once") else 0)
    selecting = go(select, one, two)
    receivers(one, 1)
    receivers(two, 1)
    waiting = None
    if then == "next in line":
        waiting = go(two.receive)
        receivers(two, 2)
    with Pause() as pause:
        watch(two, pause)
        one.send_nowait("one")
        pause.reached()
        sending = meet_a_leaver(two, then, waiting)
        assert not selecting.done()
    assert result(selecting) == (one, "one")
    check_that_the_item_is_there(two, then, sending)
    assert nobody_in_line(one, two)


@pytest.mark.parametrize("then", THEN_RECEIVE)
def test_race_4_the_item_of_a_select_that_was_served_is_not_received_while_it_still_stands_in_another_line(
    then: str,
) -> None:
    one, two = Channel[str](), Channel[str]()
    selecting = go(select, one, Send(two, "item"))
    receivers(one, 1)
    senders(two, 1)
    with Pause() as pause:
        watch(two, pause)
        one.send_nowait("one")
        pause.reached()
        meet_a_leaving_sender(two, then)
        assert not selecting.done()
    assert result(selecting) == (one, "one")
    assert nobody_in_line(one, two)


# Race 5: two selects meet, each with a send and a receive for the other


def test_race_5_of_two_selects_that_meet_one_sends_and_the_other_receives() -> None:
    """Both are about to take the mutexes, and each could send to the other."""
    outcomes = set()
    for _ in range(50):
        one, two = Channel[str](), Channel[str]()
        both = threading.Barrier(2, timeout=LIMIT)
        at_start = iter([both.wait, both.wait])
        for channel in (one, two):
            watch(channel, lambda: next(at_start, lambda: None)())  # noqa: B023
        to_one, to_two = Send(one, "to one"), Send(two, "to two")
        first, second = go(select, to_one, two), go(select, to_two, one)
        outcome = (result(first), result(second))
        outcomes.add(outcome[0][1])
        assert outcome in [((to_one, None), (one, "to one")), ((two, "to two"), (to_two, None))]
        assert nobody_in_line(one, two)
    assert outcomes == {None, "to two"}


def pause_in_proceed(monkeypatch: pytest.MonkeyPatch, pause: Pause) -> None:
    """The first select that has found a case ready is held up before it does what the case says."""
    proceed = module._proceed

    def paused(case: Any) -> Any:
        pause()
        return proceed(case)

    monkeypatch.setattr(module, "_proceed", paused)


@pytest.mark.parametrize("kind", ["send", "receive"])
def test_race_5_a_select_that_counted_on_another_which_was_served_elsewhere_looks_again(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look and its deed the other select is served over a channel that this one does not hold."""
    shared, elsewhere, idle = Channel[str](), Channel[str](), Channel[str]()
    its = Send(shared, "its") if kind == "receive" else shared
    ours = Send(shared, "ours") if kind == "send" else shared
    first = go(select, its, elsewhere)
    receivers(elsewhere, 1)
    with Pause() as pause:
        pause_in_proceed(monkeypatch, pause)
        second = go(select, idle, ours)
        pause.reached()
        elsewhere.send_nowait("elsewhere")  # claims the first, which waits for the mutex of `shared` to leave its line
    assert result(first) == (elsewhere, "elsewhere")
    receivers(idle, 1)
    assert not second.done()
    idle.send("at last")
    assert result(second) == (idle, "at last")
    assert nobody_in_line(shared, elsewhere, idle)


def test_race_5_a_select_that_must_look_again_does_not_miss_another_case_that_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared, elsewhere, full = Channel[str](), Channel[str](), filled(1, "ready all the time")
    first = go(select, Send(shared, "item"), elsewhere)
    receivers(elsewhere, 1)
    with Pause() as pause:
        pause_in_proceed(monkeypatch, pause)
        monkeypatch.setattr(random, "choice", lambda ready: ready[0])
        second = go(select, shared, full)
        pause.reached()  # it has chosen to receive from the first
        elsewhere.send_nowait("elsewhere")
    assert result(first) == (elsewhere, "elsewhere")
    assert result(second) == (full, "ready all the time")
    assert nobody_in_line(shared, elsewhere, full)


def test_race_5_a_select_that_must_look_again_takes_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    shared, elsewhere = Channel[str](), Channel[str]()
    first = go(select, Send(shared, "item"), elsewhere)
    receivers(elsewhere, 1)
    with Pause() as pause:
        pause_in_proceed(monkeypatch, pause)
        second = go(select, shared, default=True)
        pause.reached()
        elsewhere.send_nowait("elsewhere")
    assert result(first) == (elsewhere, "elsewhere")
    assert result(second) == (None, None)
    assert nobody_in_line(shared, elsewhere)


# Race 6: two threads close a channel at the same time


def test_race_6_of_two_threads_that_close_a_channel_one_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    channel: Channel[int] = Channel()
    sending = parked_senders(channel, 7, 8)
    seen = takers(channel)
    with Pause() as pause:
        woken = pause_in_wake(monkeypatch, pause)
        first = go(channel.close)
        pause.reached()
        second = go(channel.close)
        arrivals(seen, 2)
        assert not second.done()
    result(first)
    assert_closed(second, channel)
    for future in sending:
        assert_closed(future, channel)
    assert sorted(woken.values()) == [1, 1]


@pytest.mark.parametrize("kind", ["receive", "send", "both"])
def test_race_6_a_select_of_which_two_channels_are_closed_at_the_same_time_raises_for_one(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Channel[str](), Channel[str]()
    first: Case = Send(one, "item") if kind != "receive" else one
    second: Case = Send(two, "item") if kind == "send" else two
    selecting = selecting_thread(monkeypatch, first, second, _claim=meeting())
    for future in [go(one.close), go(two.close)]:
        result(future)
    raised = error(selecting)
    assert isinstance(raised, Closed)
    assert raised.channel in (one, two)
    assert nobody_in_line(one, two)


# Race 7: a close meets a receiver that takes all that is pending, items of parked senders included


@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("first", ["take_pending", "close"])
def test_race_7_of_a_close_and_take_pending_the_first_has_the_parked_senders(
    capacity: int, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = filled(capacity, *range(capacity))
    sending = parked_senders(channel, 7, 8)
    seen = takers(channel)
    with Pause() as pause:
        woken = pause_in_wake(monkeypatch, pause)
        one = go(getattr(channel, first))
        pause.reached()
        other = go(channel.close if first == "take_pending" else channel.take_pending)
        arrivals(seen, 2)
        assert not other.done()
    if first == "take_pending":
        result(other)
        assert result(one) == [*range(capacity), 7, 8]
        assert [error(future) for future in sending] == [None, None]
    else:
        result(one)
        assert result(other) == list(range(capacity))
        for future in sending:
            assert_closed(future, channel)
    assert sorted(woken.values()) == [1, 1]
    assert nobody_in_line(channel)
