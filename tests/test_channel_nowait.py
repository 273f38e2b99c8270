"""What a channel does without waiting: `send_nowait`, `send_what_fits` and `take_pending`."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from channels import (
    assert_closed,
    closed,
    error,
    filled,
    nobody_in_line,
    receivers,
    result,
    senders,
)
from helpers import FAR, go

from threadchat.channel import Channel, ChannelStatistics, WouldBlock, select

# send_nowait


def test_send_nowait_without_room_or_a_receiver_raises_would_block_and_leaves_nothing_behind() -> None:
    channel: Channel[str] = Channel()
    with pytest.raises(WouldBlock):
        channel.send_nowait("item")
    assert channel.statistics() == ChannelStatistics(0, 0, 0, 0, False)


def test_send_nowait_fills_the_buffer_and_then_raises_would_block() -> None:
    channel: Channel[int] = Channel(2)
    channel.send_nowait(0)
    channel.send_nowait(1)
    with pytest.raises(WouldBlock):
        channel.send_nowait(2)
    assert channel.receive() == 0
    channel.send_nowait(3)
    assert channel.take_pending() == [1, 3]


def test_send_nowait_does_not_overtake_a_parked_sender() -> None:
    channel = filled(1, "first")
    sending = go(channel.send, "second")
    senders(channel, 1)
    assert channel.receive() == "first"
    result(sending)
    with pytest.raises(WouldBlock):
        channel.send_nowait("third")
    assert channel.take_pending() == ["second"]


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


# take_pending


@pytest.mark.parametrize("channel", [Channel[int](), Channel[int](2), closed(), closed(2)])
def test_take_pending_of_an_empty_channel_returns_an_empty_list_and_never_raises(channel: Channel[int]) -> None:
    assert result(go(channel.take_pending)) == []
    assert nobody_in_line(channel)


def test_take_pending_takes_what_is_left_in_a_closed_channel() -> None:
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


def test_take_pending_does_not_disturb_parked_receivers() -> None:
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
    assert channel.take_pending() == [0, 1, 2, 3, 4]


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


def test_send_what_fits_of_no_items_sends_nothing_to_a_full_channel_or_a_parked_receiver() -> None:
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
def test_send_what_fits_hands_its_first_items_to_parked_receivers_and_buffers_the_rest(count: int) -> None:
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
def test_send_what_fits_returns_what_neither_receivers_nor_the_buffer_can_take(capacity: int) -> None:
    channel: Channel[int] = Channel(capacity)
    receiving = go(channel.receive)
    receivers(channel, 1)
    assert channel.send_what_fits([0, 1, 2]) == [0, 1, 2][1 + capacity :]
    assert result(receiving) == 0
    assert channel.take_pending() == [1][:capacity]


def test_send_what_fits_needs_a_sequence_and_otherwise_sends_nothing() -> None:
    channel: Channel[int] = Channel(3)
    for items in (iter([1, 2]), None, 5):
        assert isinstance(error(go(channel.send_what_fits, items)), TypeError)
    assert len(channel) == 0
