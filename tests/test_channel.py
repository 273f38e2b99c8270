"""Channels and select: what Go's specification and memory model say of them, and the races that the module lists."""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest
from helpers import FAR, LIMIT, go, switching_often, until

from threadchat import channel as module
from threadchat.channel import Channel, ChannelStatistics, Closed, WouldBlock, select
from threadchat.runtime.runqueue import RunQueue

T = TypeVar("T")


def result(future: Future[T]) -> T:
    return future.result(LIMIT)


def error(future: Future[Any]) -> BaseException | None:
    return future.exception(LIMIT)


def assert_closed(future: Future[Any], channel: Channel[Any]) -> None:
    """That it raised because this channel is closed."""
    raised = error(future)
    assert isinstance(raised, Closed)
    assert raised.channel is channel


def senders(channel: Channel[Any], count: int) -> None:
    until(lambda: channel.statistics().waiting_senders == count, f"{count} parked senders")


def receivers(channel: Channel[Any], count: int) -> None:
    until(lambda: channel.statistics().waiting_receivers == count, f"{count} parked receivers")


def filled(capacity: int, *items: T) -> Channel[T]:
    channel: Channel[T] = Channel(capacity)
    for item in items:
        channel.send_nowait(item)
    return channel


def closed(capacity: int = 0, *items: T) -> Channel[T]:
    channel = filled(capacity, *items)
    channel.close()
    return channel


def drain(channel: Channel[T]) -> list[T]:
    return list(channel)


def nobody_in_line(*channels: Channel[Any]) -> bool:
    """Neither a waiting thread, nor one that has left and stands there still."""
    return not any(channel._receivers or channel._senders for channel in channels)


@pytest.fixture
def eager_switches() -> Iterator[None]:
    with switching_often():
        yield


@pytest.fixture
def fixed_chance() -> Iterator[None]:
    before = random.getstate()
    random.seed(20)
    yield
    random.setstate(before)


# Sends and receives


@pytest.mark.parametrize("capacity", [-1, -7])
def test_a_negative_capacity_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity"):
        Channel(capacity)


def test_a_channel_is_unbuffered_unless_it_is_given_a_capacity() -> None:
    assert Channel[int]().capacity == 0
    assert Channel[int](3).capacity == 3


def test_a_buffered_channel_takes_its_capacity_while_nobody_receives() -> None:
    channel: Channel[int] = Channel(3)
    for number in range(3):
        result(go(channel.send, number))
    sending = go(channel.send, 3)
    senders(channel, 1)
    assert not sending.done()
    assert [channel.receive(), channel.receive(), channel.receive(), channel.receive()] == [0, 1, 2, 3]
    result(sending)


def test_a_send_to_an_unbuffered_channel_returns_only_once_a_receiver_has_the_item() -> None:
    channel: Channel[str] = Channel()
    sending = go(channel.send, "item")
    senders(channel, 1)
    assert not sending.done()
    assert channel.receive() == "item"
    result(sending)
    assert nobody_in_line(channel)


@pytest.mark.parametrize("capacity", [0, 2])
def test_a_send_that_finds_a_waiting_receiver_hands_it_the_item_and_does_not_wait(capacity: int) -> None:
    channel: Channel[str] = Channel(capacity)
    receiving = go(channel.receive)
    receivers(channel, 1)
    result(go(channel.send, "item"))
    assert result(receiving) == "item"
    assert channel.statistics() == ChannelStatistics(0, capacity, 0, 0, False)


@pytest.mark.parametrize("item", [None, False, 0, "", Closed, object()])
def test_any_object_is_an_item(item: object) -> None:
    channel: Channel[object] = Channel(1)
    channel.send(item)
    assert channel.receive() is item
    receiving = go(channel.receive)
    receivers(channel, 1)
    channel.send(item)
    assert result(receiving) is item


@pytest.mark.parametrize("capacity", [0, 1, 5, 50])
def test_items_are_received_in_the_order_of_the_sends(capacity: int) -> None:
    channel: Channel[int] = Channel(capacity)

    def send() -> None:
        for number in range(200):
            channel.send(number)

    sending = go(send)
    assert [channel.receive(LIMIT) for _ in range(200)] == list(range(200))
    result(sending)


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_receive_k_comes_before_the_completion_of_send_k_plus_capacity(capacity: int) -> None:
    """Go's memory model. And no later than it must: that send then completes."""
    channel: Channel[int] = Channel(capacity)
    completed: list[int] = []

    def send() -> None:
        for number in range(10):
            channel.send(number)
            completed.append(number)

    sending = go(send)
    for number in range(10 - capacity):
        senders(channel, 1)
        assert completed == list(range(number + capacity))
        assert channel.receive() == number
    result(sending)
    assert channel.statistics().pending == capacity


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_what_a_receiver_did_before_receive_k_is_seen_after_send_k_plus_capacity(
    capacity: int, eager_switches: None
) -> None:
    channel: Channel[int] = Channel(capacity)
    received = 0
    seen: list[int] = []

    def send() -> None:
        for number in range(1000):
            channel.send(number)
            seen.append(received)

    sending = go(send)
    for _ in range(1000):
        received += 1
        channel.receive(LIMIT)
    result(sending)
    assert all(count >= number + 1 - capacity for number, count in enumerate(seen))


@pytest.mark.parametrize("capacity", [0, 2])
def test_parked_senders_are_served_first_come_first_served(capacity: int) -> None:
    channel = filled(capacity, *range(capacity))
    sending = []
    for number in range(5):
        sending.append(go(channel.send, capacity + number))
        senders(channel, number + 1)
    for number in range(capacity + 5):
        assert channel.receive() == number
        if number < 5:
            result(sending[number])
            assert channel.statistics().waiting_senders == 4 - number


def test_parked_receivers_and_selects_are_served_first_come_first_served() -> None:
    channel: Channel[int] = Channel(2)
    other: Channel[int] = Channel()
    receiving: list[Future[Any]] = []
    for start in (
        lambda: go(channel.receive),
        lambda: go(select, channel, other),
        lambda: go(channel.receive, FAR),
        lambda: go(channel.receive_pending),
        lambda: go(select, other, channel, timeout=FAR),
    ):
        receiving.append(start())
        receivers(channel, len(receiving))
    expected: list[object] = [0, (channel, 1), 2, [3], (channel, 4)]
    for number in range(5):
        channel.send_nowait(number)
        assert result(receiving[number]) == expected[number]
        assert channel.statistics().waiting_receivers == 4 - number
    assert nobody_in_line(channel, other)


# send_nowait


def test_send_nowait_would_block_where_nobody_waits_and_leaves_nothing_behind() -> None:
    channel: Channel[str] = Channel()
    with pytest.raises(WouldBlock):
        channel.send_nowait("item")
    assert channel.statistics() == ChannelStatistics(0, 0, 0, 0, False)


def test_send_nowait_fills_the_buffer_and_then_would_block() -> None:
    channel: Channel[int] = Channel(2)
    channel.send_nowait(0)
    channel.send_nowait(1)
    with pytest.raises(WouldBlock):
        channel.send_nowait(2)
    assert channel.receive() == 0
    channel.send_nowait(3)
    assert channel.receive_pending() == [1, 3]


def test_send_nowait_does_not_overtake_a_parked_sender() -> None:
    channel = filled(1, "first")
    sending = go(channel.send, "second")
    senders(channel, 1)
    assert channel.receive() == "first"
    result(sending)
    with pytest.raises(WouldBlock):
        channel.send_nowait("third")
    assert channel.receive_pending() == ["second"]


def test_send_nowait_hands_its_item_to_a_waiting_receiver() -> None:
    channel: Channel[str] = Channel()
    receiving = go(channel.receive)
    receivers(channel, 1)
    channel.send_nowait("item")
    with pytest.raises(WouldBlock):  # at once: the receiver has its item, woken or not
        channel.send_nowait("another")
    assert result(receiving) == "item"


def test_send_nowait_hands_its_item_to_a_receiver_that_waits_in_a_select() -> None:
    one, two = Channel[str](), Channel[str]()
    selecting = go(select, one, two)
    receivers(two, 1)
    two.send_nowait("item")
    with pytest.raises(WouldBlock):
        two.send_nowait("another")
    with pytest.raises(WouldBlock):
        one.send_nowait("another")
    assert result(selecting) == (two, "item")


# Deadlines


@pytest.mark.parametrize("timeout", [0.01, 0, 0.0, -0.5, -1, -7])
def test_a_receive_raises_when_its_deadline_passes_and_leaves_the_line(timeout: float) -> None:
    channel: Channel[str] = Channel()
    assert isinstance(error(go(channel.receive, timeout)), TimeoutError)
    assert isinstance(error(go(channel.receive_pending, timeout)), TimeoutError)
    assert nobody_in_line(channel)
    with pytest.raises(WouldBlock):
        channel.send_nowait("nobody has it")


@pytest.mark.parametrize("timeout", [None, FAR, 0.01, 0, -1])
def test_a_receive_from_a_ready_channel_succeeds_whatever_its_deadline(timeout: float | None) -> None:
    assert filled(1, "item").receive(timeout) == "item"
    assert filled(2, "one", "two").receive_pending(timeout) == ["one", "two"]
    assert isinstance(error(go(closed().receive, timeout)), Closed)
    unbuffered: Channel[str] = Channel()
    sending = go(unbuffered.send, "item")
    senders(unbuffered, 1)
    assert unbuffered.receive(timeout) == "item"
    result(sending)


def test_a_receive_with_a_deadline_returns_as_soon_as_it_has_an_item() -> None:
    channel: Channel[str] = Channel()
    receiving = go(channel.receive, FAR)
    receivers(channel, 1)
    channel.send("item")
    assert result(receiving) == "item"


def test_a_receiver_whose_deadline_passes_leaves_the_others_in_line() -> None:
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


# receive_pending


def test_receive_pending_takes_all_that_the_buffer_has() -> None:
    channel = filled(5, 1, 2, 3)
    assert channel.receive_pending() == [1, 2, 3]
    assert len(channel) == 0


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_receive_pending_takes_the_items_of_parked_senders_too_and_wakes_them(capacity: int) -> None:
    channel = filled(capacity, *range(capacity))
    sending = []
    for number in range(4):
        sending.append(go(channel.send, capacity + number))
        senders(channel, number + 1)
    assert channel.receive_pending() == list(range(capacity + 4))
    for future in sending:
        result(future)
    assert channel.statistics() == ChannelStatistics(0, capacity, 0, 0, False)


@pytest.mark.parametrize("capacity", [0, 2])
def test_receive_pending_waits_for_one_item_and_not_for_more(capacity: int) -> None:
    channel: Channel[str] = Channel(capacity)
    receiving = go(channel.receive_pending)
    receivers(channel, 1)
    channel.send("item")
    assert result(receiving) == ["item"]


def test_receive_pending_from_a_closed_channel_takes_what_is_left_and_then_raises() -> None:
    channel = closed(3, 1, 2)
    assert channel.receive_pending() == [1, 2]
    assert_closed(go(channel.receive_pending), channel)


# take_pending


@pytest.mark.parametrize("channel", [Channel[int](), Channel[int](2), closed(), closed(2)])
def test_take_pending_takes_nothing_where_there_is_nothing_and_never_raises(channel: Channel[int]) -> None:
    assert result(go(channel.take_pending)) == []
    assert nobody_in_line(channel)


def test_take_pending_takes_what_a_closed_channel_still_has() -> None:
    channel = closed(3, 1, 2)
    assert channel.take_pending() == [1, 2]
    assert channel.take_pending() == []


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_take_pending_takes_the_items_of_parked_senders_too_and_lets_them_through(capacity: int) -> None:
    channel = filled(capacity, *range(capacity))
    sending = []
    for number in range(4):
        sending.append(go(channel.send, capacity + number))
        senders(channel, number + 1)
    assert channel.take_pending() == list(range(capacity + 4))
    for future in sending:
        result(future)
    assert channel.statistics() == ChannelStatistics(0, capacity, 0, 0, False)
    assert channel.take_pending() == []


def test_take_pending_takes_nothing_from_those_who_wait() -> None:
    channel: Channel[str] = Channel(1)
    receiving = go(channel.receive)
    receivers(channel, 1)
    assert channel.take_pending() == []
    channel.send_nowait("item")
    assert result(receiving) == "item"


# send_what_fits


def test_send_what_fits_puts_all_items_into_the_buffer_in_their_order() -> None:
    channel = filled(5, 0)
    assert not channel.send_what_fits([1, 2, 3, 4])
    assert channel.statistics() == ChannelStatistics(5, 5, 0, 0, False)
    assert channel.receive_pending() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_send_what_fits_returns_what_does_not_fit(capacity: int) -> None:
    channel: Channel[int] = Channel(capacity)
    assert list(channel.send_what_fits(range(capacity + 2))) == [capacity, capacity + 1]
    assert channel.send_what_fits([7]) == [7]
    assert channel.take_pending() == list(range(capacity))
    assert not channel.send_what_fits(range(capacity))
    assert channel.take_pending() == list(range(capacity))


def test_send_what_fits_does_not_overtake_a_parked_sender() -> None:
    channel = filled(2, 0, 1)
    sending = go(channel.send, 2)
    senders(channel, 1)
    assert channel.receive() == 0
    result(sending)
    assert channel.send_what_fits([3]) == [3]
    assert channel.receive() == 1
    assert channel.send_what_fits([3, 4]) == [4]
    assert channel.take_pending() == [2, 3]


def test_send_what_fits_of_nothing_sends_nothing_however_full_the_channel_is() -> None:
    channel = filled(1, "item")
    channel.send_what_fits([])
    assert channel.take_pending() == ["item"]
    unbuffered: Channel[str] = Channel()
    receiving = go(unbuffered.receive)
    receivers(unbuffered, 1)
    unbuffered.send_what_fits([])
    assert unbuffered.statistics().waiting_receivers == 1
    unbuffered.send_nowait("item")
    assert result(receiving) == "item"


@pytest.mark.parametrize("items", [[], [1], [1, 2, 3]])
def test_send_what_fits_to_a_closed_channel_raises(items: list[int]) -> None:
    channel: Channel[int] = closed(2)
    assert_closed(go(channel.send_what_fits, items), channel)
    assert len(channel) == 0


@pytest.mark.parametrize("count", [2, 3, 5])
def test_send_what_fits_hands_its_first_items_to_those_who_wait(count: int) -> None:
    """To each one, in the order of their line; the buffer has the rest."""
    channel: Channel[int] = Channel(5)
    other: Channel[int] = Channel()
    receiving: list[Future[Any]] = []
    for start in (
        lambda: go(channel.receive),
        lambda: go(select, other, channel),
        lambda: go(channel.receive, FAR),
    ):
        receiving.append(start())
        receivers(channel, len(receiving))
    assert not channel.send_what_fits(list(range(count)))
    assert channel.statistics() == ChannelStatistics(max(0, count - 3), 5, 0, max(0, 3 - count), False)
    assert [result(future) for future in receiving[:count]] == [0, (channel, 1), 2][:count]
    assert channel.take_pending() == list(range(3, count))
    if count < 3:
        channel.send_nowait(2)
        assert result(receiving[2]) == 2
    assert nobody_in_line(channel, other)


@pytest.mark.parametrize("capacity", [0, 1])
def test_send_what_fits_counts_on_those_who_wait_and_on_the_buffer(capacity: int) -> None:
    channel: Channel[int] = Channel(capacity)
    receiving = go(channel.receive)
    receivers(channel, 1)
    assert channel.send_what_fits([0, 1, 2]) == [0, 1, 2][1 + capacity :]
    assert result(receiving) == 0
    assert channel.take_pending() == [1][:capacity]


# step_away and come_back


@pytest.mark.parametrize("capacity", [0, 2])
def test_while_the_receiver_is_away_a_send_that_would_have_to_wait_would_block(capacity: int) -> None:
    channel: Channel[int] = Channel(capacity)
    channel.step_away()
    for number in range(capacity):
        result(go(channel.send, number))  # there is room
    for _ in range(2):
        assert isinstance(error(go(channel.send, 7)), WouldBlock)
    assert channel.statistics() == ChannelStatistics(capacity, capacity, 0, 0, False)
    assert channel.take_pending() == list(range(capacity))


@pytest.mark.parametrize("capacity", [0, 2])
def test_parked_senders_are_refused_when_the_receiver_steps_away_and_nobody_receives_their_items(capacity: int) -> None:
    channel = filled(capacity, *range(capacity))
    sending = [go(channel.send, 7) for _ in range(3)]
    senders(channel, 3)
    channel.step_away()
    for future in sending:
        assert isinstance(error(future), WouldBlock)
    assert channel.statistics() == ChannelStatistics(capacity, capacity, 0, 0, False)
    assert channel.take_pending() == list(range(capacity))


def test_while_one_receiver_is_away_a_send_still_finds_another_that_waits() -> None:
    channel, other = Channel[str](), Channel[str]()
    channel.step_away()
    receiving: list[Future[Any]] = [go(channel.receive)]
    receivers(channel, 1)
    receiving.append(go(select, channel, other))
    receivers(channel, 2)
    result(go(channel.send, "one"))
    assert result(receiving[0]) == "one"
    channel.send_nowait("two")
    assert result(receiving[1]) == (channel, "two")


def test_a_send_waits_again_once_the_receiver_has_come_back() -> None:
    channel: Channel[str] = Channel()
    channel.step_away()
    assert isinstance(error(go(channel.send, "refused")), WouldBlock)
    channel.come_back()
    sending = go(channel.send, "item")
    senders(channel, 1)
    assert channel.receive() == "item"
    result(sending)


def test_who_has_stepped_away_twice_is_there_when_he_has_come_back_twice() -> None:
    channel: Channel[str] = Channel()
    channel.step_away()
    channel.step_away()
    channel.come_back()
    assert isinstance(error(go(channel.send, "refused")), WouldBlock)
    channel.come_back()
    sending = go(channel.send, "item")
    senders(channel, 1)
    assert channel.receive() == "item"
    result(sending)


def test_a_closed_channel_is_closed_whether_its_receiver_is_away_or_not() -> None:
    channel = filled(1, "item")
    channel.step_away()
    channel.close()
    for future in (go(channel.send, "late"), go(channel.send_nowait, "late"), go(channel.send_what_fits, ["late"])):
        assert_closed(future, channel)
    channel.step_away()
    channel.come_back()
    assert result(go(drain, channel)) == ["item"]


# A channel with a run queue


def take_turn(run_queue: RunQueue) -> None:
    """The one that is free."""
    taken = threading.Event()
    run_queue.ready(taken.set)
    assert taken.is_set(), "no turn is free"


def asking(run_queue: RunQueue, count: int) -> None:
    until(lambda: len(run_queue._line) == count, f"{count} that wait for a turn")


def has_its_turns(run_queue: RunQueue, turns: int = 1) -> bool:
    """All of them are free, and nobody has asked for one."""
    return run_queue._free == turns and not run_queue._line


@pytest.mark.parametrize("how", ["receive", "receive_pending"])
@pytest.mark.parametrize("at_once", [False, True])
def test_parked_receivers_are_woken_one_at_a_time_as_turns_are_given_back(how: str, at_once: bool) -> None:
    run_queue = RunQueue()
    channel: Channel[int] = Channel(3, run_queue)
    receiving: list[Future[Any]] = []
    for number in range(3):
        receiving.append(go(getattr(channel, how), FAR))
        receivers(channel, number + 1)
    if at_once:
        channel.send_what_fits([0, 1, 2])
    else:
        for number in range(3):
            channel.send_nowait(number)
    assert channel.statistics() == ChannelStatistics(0, 3, 0, 0, False)  # all have their items in hands
    for number, future in enumerate(receiving):
        assert result(future) == (number if how == "receive" else [number])
        assert len(run_queue._line) == 2 - number
        assert not any(future.done() for future in receiving[number + 1 :])
        assert run_queue._free == 0
        run_queue.next()
    assert has_its_turns(run_queue)


@pytest.mark.parametrize("turns", [1, 3])
def test_of_all_who_are_returned_an_item_only_so_many_have_a_turn(turns: int, eager_switches: None) -> None:
    run_queue = RunQueue(turns)
    channels = [Channel[int](capacity, run_queue) for capacity in (0, 1, 50)]
    counting = threading.Lock()
    awake, most, received = 0, 0, 0

    def receive(channel: Channel[int], pending: bool) -> None:
        nonlocal awake, most, received
        while True:
            try:
                items = channel.receive_pending(FAR) if pending else [channel.receive()]
            except Closed:
                return
            with counting:
                awake += 1
                most = max(most, awake)
                received += len(items)
            with counting:
                awake -= 1
            run_queue.next()

    receiving = [go(receive, channel, pending) for channel in channels for pending in (False, True) * 3]
    for number in range(300):
        for channel in channels:
            channel.send(number)
    for channel in channels:
        until(lambda channel=channel: len(channel) == 0)  # type: ignore[misc]
        channel.close()
    for future in receiving:
        result(future)
    assert received == 900
    assert 1 <= most <= turns
    assert has_its_turns(run_queue, turns)


@pytest.mark.parametrize("how", ["receive", "receive_pending"])
def test_who_takes_an_item_that_is_there_waits_for_a_turn_with_it_in_hands(how: str) -> None:
    run_queue = RunQueue()
    channel: Channel[str] = Channel(2, run_queue)
    channel.send_nowait("item")
    take_turn(run_queue)
    receiving = start(how, channel)
    asking(run_queue, 1)
    assert channel.statistics() == ChannelStatistics(0, 2, 0, 0, False)
    assert channel.take_pending() == []
    assert not receiving.done()
    run_queue.next()
    assert result(receiving) == ("item" if how == "receive" else ["item"])
    assert run_queue._free == 0


@pytest.mark.parametrize("parked", [False, True])
def test_a_deadline_that_passes_while_an_item_is_in_hands_takes_it_from_nobody(
    parked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeps: list[float] = []

    class Parked(PassingDeadline):
        passes = threading.Event()

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            sleeps.append(timeout)
            return super().acquire(blocking, timeout)

    replace_locks(monkeypatch, _parked=lambda lock: Parked(lock, lambda: None))
    run_queue = RunQueue()
    channel: Channel[str] = Channel(1, run_queue)
    take_turn(run_queue)
    if not parked:
        channel.send_nowait("item")
    receiving = go(channel.receive, FAR)
    if parked:
        receivers(channel, 1)
        channel.send_nowait("item")
    asking(run_queue, 1)
    Parked.passes.set()
    until(lambda: sleeps == [FAR, -1] or receiving.done(), "the second sleep")
    assert not receiving.done()
    run_queue.next()
    assert result(receiving) == "item"
    assert nobody_in_line(channel)


@pytest.mark.parametrize("how", ["receive", "receive_pending"])
def test_the_end_of_a_deadline_brings_no_turn_and_waits_for_none(how: str) -> None:
    run_queue = RunQueue()
    channel: Channel[str] = Channel(1, run_queue)
    for taken in (False, True):
        if taken:
            take_turn(run_queue)
        for timeout in (0.01, 0, -1):
            assert isinstance(error(go(getattr(channel, how), timeout)), TimeoutError)
        assert run_queue._free == (0 if taken else 1)


@pytest.mark.parametrize("how", ["receive", "receive_pending"])
def test_parked_receivers_are_told_of_a_close_in_turn_and_have_none_afterwards(how: str) -> None:
    run_queue = RunQueue()
    channel: Channel[str] = Channel(1, run_queue)
    receiving = [start(how, channel) for _ in range(3)]
    receivers(channel, 3)
    take_turn(run_queue)
    channel.close()
    asking(run_queue, 3)
    assert_closed(start(how, channel), channel)  # who finds it closed does not wait
    assert not any(future.done() for future in receiving)
    run_queue.next()
    for future in receiving:
        assert_closed(future, channel)
    assert has_its_turns(run_queue)


def test_receive_pending_takes_what_came_while_it_waited_for_its_turn() -> None:
    run_queue = RunQueue()
    channel: Channel[int] = Channel(2, run_queue)
    receiving = go(channel.receive_pending)
    receivers(channel, 1)
    take_turn(run_queue)
    for number in range(3):
        channel.send_nowait(number)
    sending = go(channel.send, 3)
    senders(channel, 1)
    assert not receiving.done()
    run_queue.next()
    assert result(receiving) == [0, 1, 2, 3]
    result(sending)


def test_take_pending_and_a_select_need_no_turn() -> None:
    run_queue = RunQueue()
    channel: Channel[int] = Channel(2, run_queue)
    take_turn(run_queue)
    channel.send_what_fits([0, 1])
    assert result(go(select, channel)) == (channel, 0)
    assert result(go(channel.take_pending)) == [1]
    selecting = go(select, channel)
    receivers(channel, 1)
    channel.send(2)
    assert result(selecting) == (channel, 2)
    assert run_queue._free == 0
    run_queue.next()
    assert has_its_turns(run_queue)


# close


def test_a_closed_channel_can_be_drained_and_then_raises_for_ever() -> None:
    channel = closed(3, 1, 2)
    assert [channel.receive(), channel.receive()] == [1, 2]
    for _ in range(3):
        assert_closed(go(channel.receive), channel)


def test_closing_a_channel_twice_raises() -> None:
    channel = closed(1, "item")
    with pytest.raises(Closed) as raised:
        channel.close()
    assert raised.value.channel is channel
    assert channel.receive() == "item"


@pytest.mark.parametrize("capacity", [0, 2])
def test_a_send_to_a_closed_channel_raises(capacity: int) -> None:
    channel: Channel[str] = closed(capacity)
    for future in (go(channel.send, "item"), go(channel.send_nowait, "item")):
        assert_closed(future, channel)
    assert channel.statistics() == ChannelStatistics(0, capacity, 0, 0, True)


@pytest.mark.parametrize("capacity", [0, 1, 2])
def test_parked_senders_raise_when_the_channel_is_closed_and_nobody_receives_their_items(capacity: int) -> None:
    channel = filled(capacity, *range(capacity))
    sending = [go(channel.send, -1) for _ in range(3)]
    senders(channel, 3)
    channel.close()
    for future in sending:
        assert_closed(future, channel)
    assert channel.statistics() == ChannelStatistics(capacity, capacity, 0, 0, True)
    assert result(go(drain, channel)) == list(range(capacity))


def test_parked_receivers_and_selects_raise_when_the_channel_is_closed() -> None:
    channel, other = Channel[int](), Channel[int]()
    receiving: list[Future[Any]] = [
        go(channel.receive),
        go(channel.receive, FAR),
        go(channel.receive_pending),
        go(select, channel, other),
        go(select, other, channel, timeout=FAR),
        go(list, channel),
    ]
    receivers(channel, 6)
    channel.close()
    assert result(receiving.pop()) == []
    for future in receiving:
        assert_closed(future, channel)
    assert nobody_in_line(channel, other)


def test_iteration_waits_for_items_and_ends_when_the_channel_is_closed_and_empty() -> None:
    channel: Channel[int] = Channel(2)
    iterating: Future[list[int]] = go(list, channel)
    receivers(channel, 1)
    for number in range(10):
        channel.send(number)
    channel.close()
    assert result(iterating) == list(range(10))


# len and statistics


def test_len_counts_the_items_in_the_buffer_alone() -> None:
    channel: Channel[int] = Channel(2)
    assert len(channel) == 0
    channel.send(0)
    assert len(channel) == 1
    channel.send(1)
    sending = go(channel.send, 2)
    senders(channel, 1)
    assert len(channel) == 2
    channel.receive()
    result(sending)
    assert len(channel) == 2
    channel.close()
    assert len(channel) == 2


def test_statistics_tell_what_is_pending_and_who_waits() -> None:
    channel: Channel[int] = Channel(1)
    other: Channel[int] = Channel()
    assert channel.statistics() == ChannelStatistics(
        pending=0, capacity=1, waiting_senders=0, waiting_receivers=0, closed=False
    )
    receiving = go(channel.receive)
    receivers(channel, 1)
    selecting = go(select, channel, other)
    receivers(channel, 2)
    assert channel.statistics() == ChannelStatistics(0, 1, 0, 2, False)
    assert other.statistics() == ChannelStatistics(0, 0, 0, 1, False)
    channel.send(1)
    assert result(receiving) == 1
    channel.send(2)
    assert result(selecting) == (channel, 2)
    channel.send(3)
    assert channel.statistics() == ChannelStatistics(1, 1, 0, 0, False)
    sending = [go(channel.send, 4), go(channel.send, 5)]
    senders(channel, 2)
    assert channel.statistics() == ChannelStatistics(1, 1, 2, 0, False)
    channel.close()
    assert channel.statistics() == ChannelStatistics(1, 1, 0, 0, True)
    for future in sending:
        assert isinstance(error(future), Closed)
    channel.receive()
    assert channel.statistics() == ChannelStatistics(0, 1, 0, 0, True)


# select


def test_a_select_needs_a_channel() -> None:
    assert isinstance(error(go(select)), ValueError)
    assert isinstance(error(go(select, timeout=0)), ValueError)


def test_a_select_holds_no_channel_after_it_raised() -> None:
    one: Channel[str] = Channel(1)
    two: Channel[str] = closed()
    assert isinstance(error(go(select, one, two)), Closed)
    assert isinstance(error(go(select, one, timeout=0)), TimeoutError)
    result(go(one.send, "item"))
    assert isinstance(error(go(two.receive)), Closed)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_select_returns_the_one_channel_that_is_ready_and_its_oldest_item(place: int) -> None:
    channels = [Channel[int](2) for _ in range(3)]
    channels[place].send(7)
    channels[place].send(8)
    assert select(*channels) == (channels[place], 7)
    assert select(*channels, timeout=0) == (channels[place], 8)
    assert [len(channel) for channel in channels] == [0, 0, 0]


def test_a_select_takes_the_item_of_a_parked_sender() -> None:
    one, two = Channel[str](), Channel[str]()
    sending = go(two.send, "item")
    senders(two, 1)
    assert select(one, two, timeout=LIMIT) == (two, "item")
    result(sending)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_select_that_waits_is_woken_by_any_channel_and_leaves_all_lines(place: int) -> None:
    channels = [Channel[str](capacity) for capacity in (0, 1, 0)]
    selecting = go(select, *channels)
    for channel in channels:
        receivers(channel, 1)
    assert not selecting.done()
    channels[place].send("item")
    assert result(selecting) == (channels[place], "item")
    assert [channel.statistics().waiting_receivers for channel in channels] == [0, 0, 0]
    assert nobody_in_line(*channels)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_select_that_waits_raises_when_any_channel_is_closed_and_leaves_all_lines(place: int) -> None:
    channels = [Channel[str](capacity) for capacity in (0, 1, 0)]
    selecting = go(select, *channels)
    for channel in channels:
        receivers(channel, 1)
    channels[place].close()
    assert_closed(selecting, channels[place])
    assert nobody_in_line(*channels)


def test_a_select_leaves_the_others_in_line_where_they_are() -> None:
    one, two = Channel[int](), Channel[int]()
    first = go(two.receive)
    receivers(two, 1)
    selecting = go(select, one, two)
    receivers(two, 2)
    last = go(two.receive)
    receivers(two, 3)
    one.send_nowait(0)
    assert result(selecting) == (one, 0)
    two.send_nowait(1)
    two.send_nowait(2)
    assert (result(first), result(last)) == (1, 2)


@pytest.mark.parametrize("timeout", [0.01, 0, 0.0, -0.5, -1, -7])
def test_a_select_raises_when_its_deadline_passes_and_leaves_all_lines(timeout: float) -> None:
    one, two = Channel[str](), Channel[str](1)
    assert isinstance(error(go(select, one, two, timeout=timeout)), TimeoutError)
    assert nobody_in_line(one, two)
    with pytest.raises(WouldBlock):
        one.send_nowait("nobody has it")
    two.send_nowait("the buffer has it")
    assert select(one, two, timeout=timeout) == (two, "the buffer has it")


def test_where_several_channels_are_ready_each_is_chosen_as_often_as_the_others(fixed_chance: None) -> None:
    """1000 times of 3000, give or take six standard deviations."""
    channels = [Channel[int](1) for _ in range(4)]
    for channel in channels[1:]:
        channel.send(0)
    chosen: Counter[int] = Counter()
    for _ in range(3000):
        channel, item = select(*channels)
        chosen[channels.index(channel)] += 1
        channel.send(item)
    assert set(chosen) == {1, 2, 3}
    assert all(abs(count - 1000) < 6 * 26 for count in chosen.values()), chosen


@pytest.mark.parametrize("place", [0, 1])
def test_a_channel_that_is_always_ready_does_not_starve_another(place: int) -> None:
    """One is closed, the other always has an item; nobody has seen a fair coin fall 200 times on one side."""
    finished: Channel[str] = closed()
    filled_up = filled(1, "item")
    channels = [filled_up]
    channels.insert(place, finished)
    chosen = []
    for _ in range(200):
        try:
            channel, item = select(*channels)
            channel.send(item)
        except Closed as raised:
            channel = raised.channel
        chosen.append(channel)
    assert set(chosen) == {finished, filled_up}


def test_two_busy_senders_are_both_served(eager_switches: None) -> None:
    channels = [Channel[int](), Channel[int](), Channel[int]()]

    def feed(channel: Channel[int]) -> None:
        try:
            while True:
                channel.send(0)
        except Closed:
            pass

    feeding = [go(feed, channel) for channel in channels]
    served: Counter[int] = Counter()
    for _ in range(600):
        channel, _ = select(*channels, timeout=LIMIT)
        served[channels.index(channel)] += 1
    for channel in channels:
        channel.close()
    for future in feeding:
        result(future)
    assert set(served) == {0, 1, 2}, served


def test_a_channel_may_be_given_to_a_select_twice() -> None:
    one, two = Channel[str](), Channel[str](1)
    two.send("ready")
    assert result(go(select, two, one, two)) == (two, "ready")
    selecting = go(select, two, one, two)
    receivers(one, 1)
    assert two.statistics().waiting_receivers == 1
    two.send_nowait("waiting")
    assert result(selecting) == (two, "waiting")
    assert isinstance(error(go(select, one, one, timeout=0)), TimeoutError)
    assert nobody_in_line(one, two)


def test_a_closed_channel_is_always_ready_and_the_error_bears_it() -> None:
    one, two = Channel[str](), closed(1, "left")
    assert select(one, two) == (two, "left")
    for timeout in (None, FAR, 0, -1):
        assert_closed(go(select, one, two, timeout=timeout), two)
    assert one.statistics().waiting_receivers == 0
    one.close()
    bears = set()
    for _ in range(200):
        with pytest.raises(Closed) as either:
            select(one, two, timeout=LIMIT)
        bears.add(either.value.channel)
    assert bears == {one, two}


# Locks: what they do when is seen by putting others in their place


class Watched:
    """A lock that calls `before` in each thread that is about to take it."""

    def __init__(self, lock: Any, before: Callable[[], object]) -> None:
        self.lock = lock
        self.before = before

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self.before()
        return bool(self.lock.acquire(blocking, timeout))

    def release(self) -> None:
        self.lock.release()

    def locked(self) -> bool:
        return bool(self.lock.locked())

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()


class Pause:
    """The first thread that calls it stops until `end`. The others pass."""

    def __init__(self) -> None:
        self._called = threading.Lock()
        self._reached = threading.Event()
        self._ended = threading.Event()

    def __call__(self) -> None:
        if self._called.acquire(blocking=False):
            self._reached.set()
            assert self._ended.wait(LIMIT)

    def reached(self) -> None:
        assert self._reached.wait(LIMIT), "no thread came by"

    def end(self) -> None:
        self._ended.set()

    def __enter__(self) -> Pause:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()


def watch(channel: Channel[Any], before: Callable[[], object]) -> None:
    """From now on whoever is about to take the channel's mutex calls `before`."""
    with channel._mutex:
        lock: Any = Watched(channel._mutex, before)
    channel._mutex = lock


def takers(*channels: Channel[Any]) -> list[tuple[int, int]]:
    """From now on it grows by the thread and the channel's place whenever someone is about to take a mutex."""
    seen: list[tuple[int, int]] = []

    def noting(place: int) -> Callable[[], object]:
        return lambda: seen.append((threading.get_ident(), place))

    for place, channel in enumerate(channels):
        watch(channel, noting(place))
    return seen


def replace_locks(monkeypatch: pytest.MonkeyPatch, **replacements: Callable[[Any], Any]) -> None:
    """From now on each receiver has other locks of these names, if it has such: each replacement is given its own."""

    def replace(receiver: module._Receiver) -> None:
        for name, replacement in replacements.items():
            if hasattr(receiver, name):
                setattr(receiver, name, replacement(getattr(receiver, name)))

    class Receiver(module._Receiver):
        __slots__ = ()

        def __init__(self, run_queue: RunQueue | None) -> None:
            super().__init__(run_queue)
            replace(self)

    class SelectingReceiver(module._SelectingReceiver):
        __slots__ = ()

        def __init__(self, run_queue: RunQueue | None) -> None:
            super().__init__(run_queue)
            replace(self)

    monkeypatch.setattr(module, "_Receiver", Receiver)
    monkeypatch.setattr(module, "_SelectingReceiver", SelectingReceiver)


def test_all_selects_take_the_mutexes_in_one_order() -> None:
    """Otherwise two of them could wait for each other. And nobody holds one while waiting for another but they."""
    channels = [Channel[int](1) for _ in range(4)]
    taken = takers(*channels)
    orders = set()
    shuffled = list(channels)
    for seed in range(20):
        random.Random(seed).shuffle(shuffled)
        taken.clear()
        with pytest.raises(TimeoutError):
            select(*shuffled, timeout=0)
        orders.add(tuple(place for _, place in taken[:4]))
        shuffled[0].send(0)
        taken.clear()
        select(*shuffled)
        orders.add(tuple(place for _, place in taken))
    assert len(orders) == 1
    assert sorted(orders.pop()) == [0, 1, 2, 3]


def test_selects_over_the_same_channels_in_all_orders_do_not_wait_for_each_other(eager_switches: None) -> None:
    channels = [Channel[int](1) for _ in range(3)]

    def turn(order: Sequence[Channel[int]]) -> None:
        for _ in range(500):
            channel, item = select(*order)
            channel.send(item)

    channels[0].send(0)
    channels[1].send(1)
    turning = [go(turn, [channels[at] for at in order]) for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1))]
    for future in turning:
        result(future)


@pytest.mark.parametrize("timeout", [None, FAR])
def test_who_waits_sleeps_once_until_something_happens(timeout: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No polling: one look at the channels, one sleep for all of the time, and no look before it ends.

    Nor a second look before the sleep, between which and the first something could happen and be missed.
    """
    sleeps: list[float] = []

    class Parked(Watched):
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            sleeps.append(timeout)
            return bool(self.lock.acquire(blocking, timeout))

    replace_locks(monkeypatch, _parked=lambda lock: Parked(lock, lambda: None))
    one, two = Channel[int](), Channel[int]()
    seen = takers(one, two)

    def looks() -> list[int]:
        return [place for thread, place in seen if thread != threading.get_ident()]

    sending = go(one.send, 0)
    senders(one, 1)
    one.receive()
    result(sending)
    assert looks() == [0]

    sleeps.clear()
    seen.clear()
    receiving = go(one.receive, timeout)
    until(lambda: sleeps)
    one.send(0)
    result(receiving)
    assert sleeps == [-1 if timeout is None else timeout]
    assert looks() == [0]

    sleeps.clear()
    seen.clear()
    selecting = go(select, one, two, timeout=timeout)
    until(lambda: sleeps)
    assert sorted(looks()) == [0, 1]
    two.send(0)
    result(selecting)
    assert sleeps == [-1 if timeout is None else timeout]
    assert sorted(looks()[2:]) == [0, 1]  # to leave the lines


def test_a_receiver_is_given_its_item_before_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Parked(Watched):
        def release(self) -> None:
            self.lock.release()
            until(receiving.done)  # the receiver runs on, the sender does not

    replace_locks(monkeypatch, _parked=lambda lock: Parked(lock, lambda: None))
    channel: Channel[str] = Channel()
    receiving = go(channel.receive)
    receivers(channel, 1)
    channel.send("item")
    assert result(receiving) == "item"
    receiving = go(channel.receive)
    receivers(channel, 1)
    channel.close()
    assert isinstance(error(receiving), Closed)


def start(how: str, *channels: Channel[Any]) -> Future[Any]:
    """A `select` over the channels, or a method of the first, with a deadline far away, in a thread of its own."""
    return go(select, *channels, timeout=FAR) if how == "select" else go(getattr(channels[0], how), FAR)


# Who is interrupted in his sleep


@pytest.mark.parametrize("how", ["receive", "receive_pending", "select"])
def test_a_receiver_that_is_interrupted_in_its_sleep_leaves_the_line(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    channel: Channel[str] = Channel()
    other: Channel[str] = Channel()

    def interrupted(self: module._Receiver, timeout: float | None) -> bool:
        assert channel.statistics().waiting_receivers == 1
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module._Receiver, "park", interrupted)
        assert isinstance(error(start(how, channel, other)), KeyboardInterrupt)
    assert nobody_in_line(channel, other)
    with pytest.raises(WouldBlock):
        channel.send_nowait("nobody has it")


@pytest.mark.parametrize("taken", [False, True])
def test_a_sender_that_is_interrupted_in_its_sleep_leaves_the_line(
    taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a receiver has taken its item just then, that is all the same."""
    channel: Channel[str] = Channel()

    def interrupted(self: module._Sender[Any]) -> None:
        assert channel.statistics().waiting_senders == 1
        if taken:
            assert channel.receive() == "item"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module._Sender, "park", interrupted)
        assert isinstance(error(go(channel.send, "item")), KeyboardInterrupt)
    assert nobody_in_line(channel)
    assert channel.take_pending() == []


# Race 1: two senders on two channels meet the same selecting receiver


@pytest.mark.parametrize("capacity", [0, 1])
def test_race_1_one_of_two_senders_has_the_selecting_receiver_and_the_other_keeps_its_item(
    capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=LIMIT)
    replace_locks(monkeypatch, _claim=lambda lock: Watched(lock, both.wait))
    for _ in range(20):
        channels = one, two = Channel[str](capacity), Channel[str](capacity)
        selecting = go(select, one, two)
        receivers(two, 1)
        sending = {one: go(one.send, "one"), two: go(two.send, "two")}
        chosen, item = result(selecting)
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
        assert nobody_in_line(*channels)


def test_race_1_the_sender_that_comes_second_turns_to_the_next_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=LIMIT)
    replace_locks(monkeypatch, _claim=lambda lock: Watched(lock, both.wait))
    one, two = Channel[str](), Channel[str]()
    selecting = go(select, one, two)
    receivers(two, 1)
    monkeypatch.undo()
    next_in_line = {one: go(one.receive), two: go(two.receive)}
    receivers(one, 2)
    receivers(two, 2)
    sending = [go(one.send, "one"), go(two.send, "two")]
    for future in sending:
        result(future)
    chosen, item = result(selecting)
    unserved = next_in_line.pop(chosen)
    other, served = next_in_line.popitem()
    assert {chosen: item, other: result(served)} == {one: "one", two: "two"}
    assert chosen.statistics().waiting_receivers == 1
    chosen.send("last")
    assert result(unserved) == "last"


def test_race_1_a_sender_and_a_close_do_not_both_have_the_selecting_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=LIMIT)
    replace_locks(monkeypatch, _claim=lambda lock: Watched(lock, both.wait))
    for _ in range(20):
        one, two = Channel[str](), Channel[str](1)
        selecting = go(select, one, two)
        receivers(two, 1)
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


# Race 2: a receiver's deadline passes in the instant in which a sender hands it an item


class PassingDeadline(Watched):
    """In place of a receiver's `_parked`: the deadline passes when the test says so, and no sooner."""

    passes: threading.Event

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if timeout < 0:
            self.before()
            return bool(self.lock.acquire())
        assert self.passes.wait(LIMIT)
        return False


def meet_a_leaver(channel: Channel[str], then: str, waiting: Future[str] | None) -> Future[None] | None:
    """Another thread uses the channel while a receiver that has its outcome still stands in line, before `waiting`.

    Returns the sender that is parked by it, if one is.
    """
    sending = None
    assert channel.statistics().waiting_receivers == (1 if waiting else 0)
    assert len(channel._receivers) == (2 if waiting else 1)
    if then == "would block":
        with pytest.raises(WouldBlock):
            channel.send_nowait("item")
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
    """Where the leaver left it."""
    if then in ("buffered", "all at once", "parked"):
        assert channel.receive() == "item"
    if sending:
        result(sending)


def meet(channel: Channel[str], closes: bool) -> None:
    """Another thread hands an item to who waits in the channel's line, or closes the channel."""
    if closes:
        channel.close()
    else:
        channel.send_nowait("item")


def check_that_it_has_it(receiving: Future[Any], how: str, channel: Channel[str], closes: bool) -> None:
    if closes:
        assert_closed(receiving, channel)
    else:
        assert result(receiving) == {"receive": "item", "receive_pending": ["item"], "select": (channel, "item")}[how]
        assert len(channel) == 0
    assert nobody_in_line(channel)


@pytest.mark.parametrize("how", ["receive", "receive_pending"])
@pytest.mark.parametrize("closes", [False, True])
def test_race_2_a_receiver_that_is_handed_an_item_as_its_deadline_passes_has_it(
    how: str, closes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline passes after the sender has taken the receiver out of the line and before it tells it the item."""

    class Parked(PassingDeadline):
        passes = threading.Event()

    hand = module._Receiver.hand

    def late(self: module._Receiver, channel: Channel[Any], item: Any) -> bool:
        Parked.passes.set()
        until(lambda: len({thread for thread, _ in seen}) == 2 or receiving.done(), "the receiver at the mutex")
        return hand(self, channel, item)

    replace_locks(monkeypatch, _parked=lambda lock: Parked(lock, lambda: None))
    monkeypatch.setattr(module._Receiver, "hand", late)
    channel: Channel[str] = Channel()
    receiving = start(how, channel)
    receivers(channel, 1)
    seen = takers(channel)
    meet(channel, closes)
    check_that_it_has_it(receiving, how, channel, closes)


@pytest.mark.parametrize("how", ["receive", "receive_pending"])
@pytest.mark.parametrize("closes", [False, True])
def test_race_2_a_receiver_whose_deadline_has_passed_is_handed_an_item_as_long_as_it_stands_in_line(
    how: str, closes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Parked(PassingDeadline):
        passes = threading.Event()

    replace_locks(monkeypatch, _parked=lambda lock: Parked(lock, lambda: None))
    channel: Channel[str] = Channel(1)
    receiving = start(how, channel)
    receivers(channel, 1)
    with Pause() as pause:
        watch(channel, pause)
        Parked.passes.set()
        pause.reached()
        meet(channel, closes)
        assert not receiving.done()
    check_that_it_has_it(receiving, how, channel, closes)


@pytest.mark.parametrize("closes", [False, True])
def test_race_2_a_select_that_is_handed_an_item_as_its_deadline_passes_has_it(
    closes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline passes after the sender has claimed the select and before it tells it the item, or wakes it."""
    waits_on = threading.Event()

    class Parked(PassingDeadline):
        passes = threading.Event()

    class Claim(Watched):
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            if not self.lock.acquire(blocking, timeout):
                return False
            Parked.passes.set()
            until(lambda: waits_on.is_set() or selecting.done())
            return True

    replace_locks(
        monkeypatch,
        _parked=lambda lock: Parked(lock, waits_on.set),
        _claim=lambda lock: Claim(lock, lambda: None),
    )
    channel, other = Channel[str](), Channel[str]()
    selecting = start("select", channel, other)
    receivers(channel, 1)
    meet(channel, closes)
    check_that_it_has_it(selecting, "select", channel, closes)
    assert nobody_in_line(other)


@pytest.mark.parametrize("then", ["would block", "buffered", "all at once", "next in line", "parked", "closed"])
def test_race_2_a_select_whose_deadline_has_passed_is_left_alone_while_it_still_stands_in_line(
    then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Parked(PassingDeadline):
        passes = threading.Event()

    channel: Channel[str] = Channel(1 if then in ("buffered", "all at once") else 0)
    other: Channel[str] = Channel()
    with monkeypatch.context() as patch:
        replace_locks(patch, _parked=lambda lock: Parked(lock, lambda: None))
        late = start("select", channel, other)
        receivers(channel, 1)
    waiting = None
    if then == "next in line":
        waiting = go(channel.receive)
        receivers(channel, 2)
    with Pause() as pause:
        watch(channel, pause)
        Parked.passes.set()
        pause.reached()
        sending = meet_a_leaver(channel, then, waiting)
        assert not late.done()
    assert isinstance(error(late), TimeoutError)
    check_that_the_item_is_there(channel, then, sending)
    assert nobody_in_line(channel, other)


# Race 3: a close meets a parked sender just as a receiver makes room for it


def pause_in_wake(monkeypatch: pytest.MonkeyPatch, pause: Pause) -> Counter[Any]:
    """The first to wake a parked sender stops before it does. Counts how often each item's sender is woken."""
    wake = module._Sender.wake
    woken: Counter[Any] = Counter()

    def paused(self: module._Sender[Any], refusal: type[Closed | WouldBlock] | None) -> None:
        woken[self.item] += 1
        pause()
        wake(self, refusal)

    monkeypatch.setattr(module._Sender, "wake", paused)
    return woken


def parked_senders(channel: Channel[int], *items: int) -> list[Future[None]]:
    sending = []
    for item in items:
        sending.append(go(channel.send, item))
        senders(channel, len(sending))
    return sending


def arrivals(seen: list[tuple[int, int]], count: int) -> None:
    until(lambda: len({thread for thread, _ in seen}) == count, f"{count} threads that want the mutex")


@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("how", ["receive", "receive_pending", "select"])
def test_race_3_a_sender_that_a_receiver_made_room_for_has_sent_and_the_close_comes_after(
    capacity: int, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = filled(capacity, *range(capacity))
    sending = parked_senders(channel, 7, 8)
    seen = takers(channel)
    with Pause() as pause:
        woken = pause_in_wake(monkeypatch, pause)
        receiving = start(how, channel)
        pause.reached()
        assert channel._mutex.locked()
        closing = go(channel.close)
        arrivals(seen, 2)
        assert not closing.done()
        assert not sending[0].done()
    result(closing)
    result(sending[0])
    first = 0 if capacity else 7
    if how == "receive":
        assert result(receiving) == first
    elif how == "select":
        assert result(receiving) == (channel, first)
    elif error(sending[1]):  # the close came between the receive and what it then takes
        assert result(receiving) == [0, 7][1 - capacity :]
    else:
        assert result(receiving) == [0, 7, 8][1 - capacity :]
    if how != "receive_pending":
        assert isinstance(error(sending[1]), Closed)
        assert result(go(drain, channel)) == [7] * capacity
    assert result(go(drain, channel)) == []
    assert woken == {7: 1, 8: 1}


@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("how", ["receive", "receive_pending", "select"])
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
        receiving = start(how, channel)
        arrivals(seen, 2)
        assert not receiving.done()
    result(closing)
    if capacity:
        assert result(receiving) == {"receive": 0, "receive_pending": [0], "select": (channel, 0)}[how]
    else:
        assert isinstance(error(receiving), Closed)
    for future in sending:
        assert isinstance(error(future), Closed)
    assert result(go(drain, channel)) == []
    assert woken == {7: 1, 8: 1}


# Race 4: a select wakes by one channel while it still stands in the lines of the others


@pytest.mark.parametrize(
    "then", ["nothing", "would block", "buffered", "all at once", "next in line", "parked", "closed"]
)
def test_race_4_a_select_that_was_woken_is_left_alone_while_it_still_stands_in_another_line(then: str) -> None:
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


# Race 5: a receiver steps away in the instant in which a sender parks


@pytest.mark.parametrize("capacity", [0, 1])
def test_race_5_a_sender_that_stands_in_line_and_does_not_sleep_yet_is_refused_by_who_steps_away(
    capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    park = module._Sender.park
    channel = filled(capacity, *range(capacity))
    with Pause() as pause:

        def paused(self: module._Sender[Any]) -> None:
            pause()
            park(self)

        monkeypatch.setattr(module._Sender, "park", paused)
        sending = go(channel.send, 7)
        pause.reached()
        assert channel.statistics().waiting_senders == 1
        channel.step_away()
        channel.come_back()  # too late for this sender
        assert not sending.done()
    assert isinstance(error(sending), WouldBlock)
    assert nobody_in_line(channel)
    assert channel.take_pending() == list(range(capacity))


@pytest.mark.parametrize("capacity", [0, 1])
def test_race_5_a_sender_that_comes_while_a_receiver_steps_away_does_not_park(
    capacity: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = filled(capacity, *range(capacity))
    sending = parked_senders(channel, 7)
    seen = takers(channel)
    with Pause() as pause:
        woken = pause_in_wake(monkeypatch, pause)
        stepping = go(channel.step_away)
        pause.reached()
        assert channel._mutex.locked()
        sending.append(go(channel.send, 8))
        arrivals(seen, 2)
        assert not sending[0].done()
        assert not sending[1].done()
    result(stepping)
    for future in sending:
        assert isinstance(error(future), WouldBlock)
    assert nobody_in_line(channel)
    assert channel.take_pending() == list(range(capacity))
    assert woken == {7: 1}


def test_race_5_a_sender_whose_item_a_receiver_takes_before_it_steps_away_has_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel: Channel[int] = Channel()
    sending = parked_senders(channel, 7, 8)
    seen = takers(channel)
    with Pause() as pause:
        woken = pause_in_wake(monkeypatch, pause)
        receiving = go(channel.receive)
        pause.reached()
        stepping = go(channel.step_away)
        arrivals(seen, 2)
        assert not stepping.done()
    result(stepping)
    assert result(receiving) == 7
    result(sending[0])
    assert isinstance(error(sending[1]), WouldBlock)
    assert channel.take_pending() == []
    assert woken == {7: 1, 8: 1}


def test_race_5_of_a_close_and_a_receiver_that_steps_away_a_parked_sender_is_told_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for first, second, refusal in (("step_away", "close", WouldBlock), ("close", "step_away", Closed)):
        channel: Channel[int] = Channel()
        sending = parked_senders(channel, 7, 8)
        seen = takers(channel)
        with monkeypatch.context() as patch, Pause() as pause:
            woken = pause_in_wake(patch, pause)
            one = go(getattr(channel, first))
            pause.reached()
            other = go(getattr(channel, second))
            arrivals(seen, 2)
            assert not other.done()
            pause.end()
            result(one)
            result(other)
            for future in sending:
                assert isinstance(error(future), refusal)
            assert woken == {7: 1, 8: 1}


# Race 6: two threads close a channel at once


def test_race_6_of_two_who_close_a_channel_one_has_closed_it_and_the_other_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
    assert woken == {7: 1, 8: 1}


def test_race_6_a_select_whose_channels_are_closed_by_two_at_once_is_told_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = threading.Barrier(2, timeout=LIMIT)
    replace_locks(monkeypatch, _claim=lambda lock: Watched(lock, both.wait))
    one, two = Channel[str](), Channel[str]()
    selecting = go(select, one, two)
    receivers(two, 1)
    closing = [go(one.close), go(two.close)]
    for future in closing:
        result(future)
    raised = error(selecting)
    assert isinstance(raised, Closed)
    assert raised.channel in (one, two)
    assert nobody_in_line(one, two)


# Race 7: a close meets a receiver that takes all that is pending, the items of parked senders too


@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("first", ["take_pending", "close"])
def test_race_7_of_a_close_and_who_takes_all_that_is_pending_the_first_has_the_parked_senders(
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
    taken = result(one) if first == "take_pending" else result(other)
    if first == "take_pending":
        result(other)
        assert taken == [*range(capacity), 7, 8]
        assert [error(future) for future in sending] == [None, None]
    else:
        result(one)
        assert taken == list(range(capacity))
        for future in sending:
            assert_closed(future, channel)
    assert woken == {7: 1, 8: 1}
    assert nobody_in_line(channel)


# All at once


Item = tuple[int, int, int]  # sender, channel, number


def check_order(received: Sequence[Sequence[Item]]) -> None:
    """What one receiver has of one sender through one channel is in the order of the sends."""
    for items in received:
        numbers: dict[tuple[int, int], list[int]] = defaultdict(list)
        for sender, channel, number in items:
            numbers[sender, channel].append(number)
        for line in numbers.values():
            assert line == sorted(line)


@pytest.mark.parametrize("seed", [1, 2])
def test_among_many_threads_nothing_is_lost_and_nothing_received_twice(seed: int, eager_switches: None) -> None:
    channels = [Channel[Item](capacity) for capacity in (0, 1, 7)]

    def send(sender: int) -> list[Item]:
        chance = random.Random(f"{seed} {sender}")
        items = []
        for number in range(1000):
            to = chance.randrange(3)
            item = (sender, to, number)
            try:
                if chance.random() < 0.5:
                    raise WouldBlock
                channels[to].send_nowait(item)
            except WouldBlock:
                channels[to].send(item)
            items.append(item)
        return items

    def receive(channel: Channel[Item], deadlines: bool) -> list[Item]:
        items = []
        while True:
            try:
                items.append(channel.receive(random.uniform(-0.0001, 0.001) if deadlines else None))
            except TimeoutError:
                continue
            except Closed:
                return items

    def receive_pending(channel: Channel[Item]) -> list[Item]:
        items = []
        while True:
            try:
                items += channel.receive_pending(random.uniform(0, 0.001))
            except TimeoutError:
                continue
            except Closed:
                return items

    def receive_selected(deadlines: bool) -> list[Item]:
        items = []
        open_ones = list(channels)
        while open_ones:
            try:
                channel, item = select(*open_ones, timeout=random.uniform(-0.0001, 0.001) if deadlines else None)
            except TimeoutError:
                continue
            except Closed as raised:
                open_ones.remove(raised.channel)
                continue
            assert channels.index(channel) == item[1]
            items.append(item)
        return items

    receiving = [go(receive_selected, deadlines) for deadlines in (False, False, True, True)]
    for channel in channels:
        receiving.append(go(list, channel))
        receiving.append(go(receive, channel, True))
        receiving.append(go(receive_pending, channel))
    sending = [go(send, sender) for sender in range(6)]
    sent = [item for future in sending for item in result(future)]
    for channel in channels:
        channel.close()
    received = [result(future) for future in receiving]
    assert sorted(item for items in received for item in items) == sorted(sent)
    check_order(received)
    assert nobody_in_line(*channels)


@pytest.mark.parametrize("capacity", [0, 1, 7])
def test_among_many_threads_a_close_loses_no_item_that_was_sent(capacity: int, eager_switches: None) -> None:
    for _ in range(30):
        channel: Channel[Item] = Channel(capacity)
        other: Channel[Item] = Channel()
        received: list[list[Item]] = [[], [], [], []]

        def send(sender: int, channel: Channel[Item] = channel) -> int:
            number = 0
            try:
                while True:
                    channel.send((sender, 0, number))
                    number += 1
            except Closed:
                return number

        def receive(take: Callable[[], list[Item]], items: list[Item]) -> None:
            try:
                while True:
                    items += take()
            except Closed:
                pass

        takes: list[Callable[[], list[Item]]] = [
            lambda channel=channel: [channel.receive()],  # type: ignore[misc]
            lambda channel=channel: [channel.receive(FAR)],  # type: ignore[misc]
            lambda channel=channel: channel.receive_pending(),  # type: ignore[misc]
            lambda channel=channel, other=other: [select(other, channel)[1]],  # type: ignore[misc]
        ]
        receiving = [go(receive, take, items) for take, items in zip(takes, received, strict=True)]
        sending = [go(send, sender) for sender in range(3)]
        until(lambda received=received: sum(map(len, received)) >= 50)  # type: ignore[misc]
        channel.close()
        sent = [(sender, 0, number) for sender, future in enumerate(sending) for number in range(result(future))]
        for future in receiving:
            result(future)
        assert sorted(item for items in received for item in items) == sent
        check_order(received)
        assert nobody_in_line(channel, other)


@pytest.mark.parametrize("turns", [1, 2])
def test_with_turns_selects_and_closes_amid_the_sends_nothing_is_lost_and_all_turns_come_back(
    turns: int, eager_switches: None
) -> None:
    """Who is told that an item was sent has it received once, whoever closes, steps away or lets a deadline pass."""
    run_queue = RunQueue(turns)
    channels = [Channel[Item](capacity, run_queue) for capacity in (0, 1, 7)]
    counting = threading.Lock()
    awake, most, taken = 0, 0, [0, 0, 0]

    def send(sender: int) -> list[Item]:
        chance = random.Random(sender)
        accepted: list[Item] = []
        number = 0
        while True:
            to = chance.randrange(3)
            items = [(sender, to, number + more) for more in range(chance.choice([1, 1, 3]))]
            number += len(items)
            try:
                if len(items) > 1:
                    items = items[: len(items) - len(channels[to].send_what_fits(items))]
                elif chance.random() < 0.5:
                    channels[to].send_nowait(items[0])
                else:
                    channels[to].send(items[0])
                accepted += items
            except WouldBlock:
                pass
            except Closed:
                if all(channel.statistics().closed for channel in channels):
                    return accepted

    def took(items: list[Item]) -> list[Item]:
        with counting:
            for _, channel, _ in items:
                taken[channel] += 1
        return items

    def receive(channel: Channel[Item], how: str) -> list[Item]:
        nonlocal awake, most
        chance = random.Random(how)
        received: list[Item] = []
        while True:
            timeout = chance.choice([None, 0, 0.0001])
            try:
                items = channel.receive_pending(timeout) if how == "pending" else [channel.receive(timeout)]
            except TimeoutError:
                continue
            except Closed:
                return received
            with counting:
                awake += 1
                most = max(most, awake)
            received += took(items)
            with counting:
                awake -= 1
            run_queue.next()
            if how == "away":
                channel.step_away()
                received += took(channel.take_pending())
                channel.come_back()

    def receive_selected() -> list[Item]:
        received: list[Item] = []
        open_ones = list(channels)
        while open_ones:
            try:
                _, item = select(*open_ones, timeout=random.choice([None, 0, 0.0001]))
                received += took([item])
            except TimeoutError:
                continue
            except Closed as raised:
                open_ones.remove(raised.channel)
        return received

    receiving = [go(receive, channel, how) for channel in channels for how in ("one", "pending", "away")]
    receiving += [go(receive_selected) for _ in range(2)]
    sending = [go(send, sender) for sender in range(4)]
    for number, channel in enumerate(channels):
        until(lambda number=number: taken[number] >= 200, "some traffic")  # type: ignore[misc]
        channel.close()
    sent = [item for future in sending for item in result(future)]
    received = [result(future) for future in receiving]
    assert sorted(item for items in received for item in items) == sorted(sent)
    check_order(received)
    assert 1 <= most <= turns
    assert has_its_turns(run_queue, turns)
    assert nobody_in_line(*channels)


def test_send_all_waits_for_room_as_often_as_it_must_and_keeps_the_order() -> None:
    channel: Channel[int] = Channel(3)
    sending = go(channel.send_all, list(range(10)))
    for expected in ([0, 1, 2, 3], [4, 5, 6, 7]):
        senders(channel, 1)
        assert channel.receive_pending() == expected
    result(sending)
    assert channel.take_pending() == [8, 9]


@pytest.mark.parametrize("capacity", [0, 1, 4])
def test_send_all_hands_items_to_receivers_that_wait(capacity: int) -> None:
    channel: Channel[int] = Channel(capacity)
    receiving = [go(channel.receive) for _ in range(3)]
    receivers(channel, 3)
    channel.send_all([1, 2, 3])
    assert sorted(map(result, receiving)) == [1, 2, 3]
    assert len(channel) == 0


@pytest.mark.parametrize("end", [Channel.close, Channel.step_away])
def test_send_all_that_is_refused_has_sent_what_came_before(end: Callable[[Channel[int]], None]) -> None:
    channel: Channel[int] = Channel(2)
    sending = go(channel.send_all, [1, 2, 3, 4])
    senders(channel, 1)
    end(channel)
    assert isinstance(error(sending), Closed if end is Channel.close else WouldBlock)
    assert channel.take_pending() == [1, 2]
