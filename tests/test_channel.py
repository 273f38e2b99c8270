"""One channel: what its methods do, as the Go specification and the Go memory model have it. See also test_select."""

from __future__ import annotations

import copy
import math
import pickle
from concurrent.futures import Future
from typing import Any

import pytest
from channels import (
    assert_closed,
    closed,
    error,
    filled,
    nobody_in_line,
    parked_senders,
    receivers,
    result,
    senders,
)
from helpers import FAR, LIMIT, go, switching_often

from threadchat.channel import Channel, ChannelStatistics, Closed, ReceiveOnly, SendOnly, select

# Making a channel


@pytest.mark.parametrize("capacity", [-1, -7])
def test_a_negative_capacity_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="capacity"):
        Channel(capacity)


def test_a_channel_is_unbuffered_unless_it_is_given_a_capacity() -> None:
    assert Channel[int]().capacity == 0
    assert Channel[int](3).capacity == 3


@pytest.mark.parametrize("capacity", ["3", 1.5, 2.0, None, math.nan, math.inf, [1]])
def test_a_capacity_that_is_not_an_integer_is_a_type_error(capacity: Any) -> None:
    with pytest.raises(TypeError, match="integer"):
        Channel(capacity)


def test_a_capacity_may_be_whatever_is_an_index() -> None:
    class Four:
        def __index__(self) -> int:
            return 4

    four: Any = Four()
    assert repr(Channel(four)) == "<Channel: 0 of 4 items>"
    assert repr(Channel(True)) == "<Channel: 0 of 1 items>"  # as everywhere in Python, True is 1


# A channel as a value


def test_a_channel_is_true_even_when_it_is_empty_or_closed() -> None:
    assert Channel[int]()
    assert closed()


def test_a_copy_of_a_channel_is_the_same_channel() -> None:
    channel: Channel[int] = Channel(1)
    assert copy.copy(channel) is channel
    assert copy.deepcopy({"deep": [channel]})["deep"][0] is channel


def test_two_channels_are_equal_only_if_they_are_the_same_one() -> None:
    one, two = Channel[int](1), Channel[int](1)
    assert one == one
    assert one != two
    assert len({one, two, copy.copy(one)}) == 2


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_channel_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Channel[int](), protocol)


def test_repr_shows_the_class_the_fill_the_capacity_and_whether_it_is_closed() -> None:
    class Pipe(Channel[int]):
        pass

    assert repr(filled(3, 1, 2)) == "<Channel: 2 of 3 items>"
    assert repr(closed(3, 1)) == "<Channel: 1 of 3 items, closed>"
    assert repr(Pipe()) == "<Pipe: 0 of 0 items>"


def test_repr_needs_no_mutex_so_that_a_debugger_may_ask_for_it_at_any_time() -> None:
    channel: Channel[int] = Channel()
    with channel._mutex:
        assert result(go(repr, channel)) == "<Channel: 0 of 0 items>"


def feed(channel: SendOnly[int]) -> None:
    channel.send(1)
    channel.send_nowait(2)
    channel.close()


def drained(channel: ReceiveOnly[int]) -> list[int]:
    return [channel.receive(), channel.receive(timeout=0), *channel]


def test_a_channel_can_be_passed_as_a_send_only_or_a_receive_only_channel() -> None:
    channel: Channel[int] = Channel(2)
    feed(channel)
    assert drained(channel) == [1, 2]


def test_a_receive_only_channel_has_neither_send_nor_close() -> None:
    """So a type checker refuses both, and the receives of a channel that is only sent to."""
    assert {name for name in vars(Channel) if hasattr(ReceiveOnly, name)} >= {"receive", "__iter__"}
    assert not any(hasattr(ReceiveOnly, name) for name in ("send", "send_nowait", "send_what_fits", "close"))
    assert not any(hasattr(SendOnly, name) for name in ("receive", "take_pending", "__iter__"))


def test_outside_a_select_a_nil_channel_is_an_error_instead_of_blocking() -> None:
    nil: Any = None
    for name in ("send", "receive", "close", "capacity"):
        with pytest.raises(AttributeError):
            getattr(nil, name)
    for use in (list, len):
        with pytest.raises(TypeError):
            use(nil)


# Sends and receives


def test_a_buffered_channel_takes_its_capacity_while_nobody_receives() -> None:
    channel: Channel[int] = Channel(3)
    for number in range(3):
        result(go(channel.send, number))
    sending = go(channel.send, 3)
    senders(channel, 1)
    assert not sending.done()
    assert [channel.receive(), channel.receive(), channel.receive(), channel.receive()] == [0, 1, 2, 3]
    result(sending)


def test_a_send_to_an_unbuffered_channel_returns_when_a_receiver_has_the_item() -> None:
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


@pytest.mark.parametrize("capacity", [0, 2])
def test_parked_senders_are_served_in_the_order_in_which_they_came(capacity: int) -> None:
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


def test_parked_receivers_and_selects_are_served_in_the_order_in_which_they_came() -> None:
    channel: Channel[int] = Channel(2)
    other: Channel[int] = Channel()
    receiving: list[Future[Any]] = []
    for start in (
        lambda: go(channel.receive),
        lambda: go(select, channel, other),
        lambda: go(channel.receive, FAR),
        lambda: go(select, channel, default=False),
        lambda: go(select, other, channel, timeout=FAR),
    ):
        receiving.append(start())
        receivers(channel, len(receiving))
    expected: list[object] = [0, (channel, 1), 2, (channel, 3), (channel, 4)]
    for number in range(5):
        channel.send_nowait(number)
        assert result(receiving[number]) == expected[number]
        assert channel.statistics().waiting_receivers == 4 - number
    assert nobody_in_line(channel, other)


# The memory model


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_receive_k_comes_before_the_completion_of_send_k_plus_capacity(capacity: int) -> None:
    """And no later than it must: that send then completes."""
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
@switching_often()
def test_what_happened_before_receive_k_is_seen_after_send_k_plus_capacity(capacity: int) -> None:
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


@switching_often()
def test_what_happened_before_a_send_is_seen_after_its_receive() -> None:
    channel: Channel[int] = Channel(3)
    written = [0] * 1000

    def send() -> None:
        for number in range(1000):
            written[number] = 1
            channel.send(number)

    sending = go(send)
    for _ in range(1000):
        assert written[channel.receive(LIMIT)] == 1
    result(sending)


def test_what_happened_before_a_close_is_seen_by_a_receive_that_raises_because_of_it() -> None:
    channel: Channel[None] = Channel()
    written: list[int] = []

    def write_and_close() -> None:
        written.append(1)
        channel.close()

    closing = go(write_and_close)
    with pytest.raises(Closed):
        channel.receive(LIMIT)
    assert written == [1]
    result(closing)


@switching_often()
def test_what_happened_before_a_receive_is_seen_after_its_send_on_an_unbuffered_channel() -> None:
    channel: Channel[int] = Channel()
    written = [0] * 1000

    def receive() -> None:
        for number in range(1000):
            written[number] = 1
            channel.receive()

    receiving = go(receive)
    for number in range(1000):
        channel.send(number)
        assert written[number] == 1
    result(receiving)


# close and range


def test_a_closed_channel_yields_what_is_left_and_then_raises_for_ever() -> None:
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
    assert result(go(list, channel)) == list(range(capacity))


def test_parked_receivers_and_selects_raise_when_the_channel_is_closed() -> None:
    channel, other = Channel[int](), Channel[int]()
    receiving: list[Future[Any]] = [
        go(channel.receive),
        go(channel.receive, FAR),
        go(select, channel, other),
        go(select, other, channel, timeout=FAR),
        go(list, channel),
    ]
    receivers(channel, 5)
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


def test_iteration_yields_what_is_left_in_a_channel_that_was_closed_before() -> None:
    assert list(closed(3, 1, 2)) == [1, 2]


def test_an_iteration_that_is_left_early_takes_no_more_items() -> None:
    channel = filled(3, 1, 2, 3)
    for item in channel:
        if item == 2:
            break
    assert channel.take_pending() == [3]


def test_each_item_goes_to_one_of_several_iterations() -> None:
    channel: Channel[int] = Channel()
    iterating: list[Future[list[int]]] = [go(list, channel) for _ in range(3)]
    receivers(channel, 3)
    for number in range(30):
        channel.send(number)
    channel.close()
    assert sorted(number for future in iterating for number in result(future)) == list(range(30))


# len, cap and statistics


@switching_often()
def test_len_is_never_above_the_capacity() -> None:
    """Not even while the item of a parked sender moves up into a full buffer."""
    for capacity in (0, 1, 3):
        channel: Channel[int] = Channel(capacity)
        receiving: Future[list[int]] = go(list, channel)
        sending = [go(send_many, channel, 500) for _ in range(2)]
        while not all(future.done() for future in sending):
            assert 0 <= len(channel) <= channel.capacity
        channel.close()
        assert len(result(receiving)) == 1000


def send_many(channel: Channel[int], count: int) -> None:
    for number in range(count):
        channel.send(number)


def test_len_and_capacity_of_an_unbuffered_channel_are_0() -> None:
    channel: Channel[int] = Channel()
    sending = parked_senders(channel, 1)
    assert (len(channel), channel.capacity) == (0, 0)
    assert channel.take_pending() == [1]
    result(sending[0])


def test_len_counts_only_the_items_in_the_buffer() -> None:
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


def test_statistics_count_pending_items_and_parked_threads() -> None:
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
