"""`select`: what the Go specification says under "Select statements", case by case."""

from __future__ import annotations

import gc
import random
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

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
    takers,
)
from helpers import FAR, LIMIT, go, switching_often, until

from threadchat import channel as module
from threadchat.channel import Case, Channel, ChannelStatistics, Closed, Send, WouldBlock, select

T = TypeVar("T")


@pytest.fixture
def fixed_chance() -> Iterator[None]:
    before = random.getstate()
    random.seed(20)
    yield
    random.setstate(before)


# Receive cases


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


def test_a_select_that_leaves_its_lines_leaves_the_other_threads_where_they_are() -> None:
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


def test_receiving_from_a_closed_channel_is_always_ready_and_the_error_names_the_channel() -> None:
    one, two = Channel[str](), closed(1, "left")
    assert select(one, two) == (two, "left")
    for timeout in (None, FAR, 0, -1):
        assert_closed(go(select, one, two, timeout=timeout), two)
    assert one.statistics().waiting_receivers == 0
    one.close()
    named = set()
    for _ in range(200):
        with pytest.raises(Closed) as either:
            select(one, two, timeout=LIMIT)
        named.add(either.value.channel)
    assert named == {one, two}


# Send cases


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_select_sends_to_the_one_channel_that_has_room(place: int) -> None:
    channels = [filled(1, -1) for _ in range(3)]
    channels[place].receive()
    cases = [Send(channel, number) for number, channel in enumerate(channels)]
    assert select(*cases) == (cases[place], None)
    assert [channel.take_pending() for channel in channels] == [[place if at == place else -1] for at in range(3)]


def test_a_select_sends_to_a_parked_receiver() -> None:
    one, two = Channel[str](), Channel[str]()
    receiving = go(two.receive)
    receivers(two, 1)
    case = Send(two, "item")
    assert select(Send(one, "other"), case, timeout=LIMIT) == (case, None)
    assert result(receiving) == "item"
    assert nobody_in_line(one, two)


@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_select_that_waits_to_send_proceeds_when_any_channel_is_received_from(place: int, capacity: int) -> None:
    channels = [filled(capacity, *[-1] * capacity) for _ in range(3)]
    cases = [Send(channel, number) for number, channel in enumerate(channels)]
    selecting = go(select, *cases)
    for channel in channels:
        senders(channel, 1)
    assert not selecting.done()
    assert channels[place].receive() == (-1 if capacity else place)
    case, item = result(selecting)
    assert case is cases[place]
    assert item is None
    assert nobody_in_line(*channels)
    assert [channel.take_pending() for channel in channels] == [
        ([place] if at == place else [-1]) * capacity for at in range(3)
    ]


def test_a_select_that_waits_to_send_has_its_item_taken_by_take_pending() -> None:
    one, two = Channel[str](), Channel[str]()
    case = Send(one, "item")
    selecting = go(select, case, two)
    receivers(two, 1)
    assert one.take_pending() == ["item"]
    assert result(selecting) == (case, None)
    assert nobody_in_line(one, two)


def test_a_send_case_takes_its_place_in_the_line_of_parked_senders() -> None:
    channel: Channel[int] = Channel()
    sending: list[Future[Any]] = []
    for number in range(3):
        sending.append(go(select, Send(channel, number)) if number == 1 else go(channel.send, number))
        senders(channel, number + 1)
    assert [channel.receive(), channel.receive(), channel.receive()] == [0, 1, 2]
    for future in sending:
        result(future)


@pytest.mark.parametrize("capacity", [0, 2])
def test_sending_to_a_closed_channel_is_always_ready_and_raises(capacity: int) -> None:
    full = Channel[int]()
    channel: Channel[int] = closed(capacity)
    for timeout in (None, FAR, 0, -1):
        assert_closed(go(select, Send(full, 1), Send(channel, 2), timeout=timeout), channel)
    assert_closed(go(select, Send(full, 1), Send(channel, 2), default=True), channel)
    assert nobody_in_line(full, channel)


@pytest.mark.parametrize("place", [0, 1])
def test_a_select_that_waits_to_send_raises_when_a_channel_is_closed_and_leaves_all_lines(place: int) -> None:
    channels = [Channel[int](), filled(1, 7)]
    selecting = go(select, *(Send(channel, 8) for channel in channels))
    for channel in channels:
        senders(channel, 1)
    channels[place].close()
    assert_closed(selecting, channels[place])
    assert nobody_in_line(*channels)
    assert [channel.take_pending() for channel in channels] == [[], [7]]


def test_the_item_of_a_case_that_was_not_chosen_is_not_sent_and_not_kept() -> None:
    class Item:
        pass

    one, two = Channel[Any](), Channel[Any]()
    item = Item()
    gone = weakref.ref(item)
    selecting = go(select, Send(one, item), two)
    senders(one, 1)
    del item
    two.send("other")
    assert result(selecting) == (two, "other")
    assert one.take_pending() == []
    gc.collect()
    until(lambda: gone() is None, "the end of the item")


# Cases of both kinds


@pytest.mark.parametrize("how", ["send", "receive"])
def test_a_select_that_waits_to_send_and_to_receive_does_one_of_them(how: str) -> None:
    inbox, outbox = Channel[str](), Channel[str]()
    case = Send(outbox, "out")
    selecting = go(select, inbox, case)
    receivers(inbox, 1)
    senders(outbox, 1)
    if how == "send":
        assert outbox.receive() == "out"
        assert result(selecting) == (case, None)
    else:
        inbox.send("in")
        assert result(selecting) == (inbox, "in")
        assert outbox.take_pending() == []
    assert nobody_in_line(inbox, outbox)


def test_channels_and_items_are_evaluated_once_in_order_whichever_case_is_chosen() -> None:
    evaluated: list[object] = []

    def noting(what: T) -> T:
        evaluated.append(what)
        return what

    full, ready = filled(1, 0), filled(1, 7)
    assert select(Send(noting(full), noting(1)), noting(ready), Send(noting(full), noting(2))) == (ready, 7)
    assert evaluated == [full, 1, ready, full, 2]


def test_two_selects_meet_one_sends_and_the_other_receives() -> None:
    one, two = Channel[str](), Channel[str]()
    case = Send(one, "item")
    first = go(select, case, two)
    receivers(two, 1)
    assert select(one, timeout=LIMIT) == (one, "item")
    assert result(first) == (case, None)
    assert nobody_in_line(one, two)


def test_a_select_does_not_receive_what_it_sends_itself() -> None:
    channel: Channel[int] = Channel()
    assert isinstance(error(go(select, Send(channel, 1), channel, timeout=0.01)), TimeoutError)
    assert select(Send(channel, 1), channel, default=True) == (None, None)
    assert nobody_in_line(channel)


def test_a_channel_may_be_in_two_receive_cases() -> None:
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


def test_a_channel_may_be_in_two_send_cases() -> None:
    channel: Channel[int] = Channel()
    cases = [Send(channel, 1), Send(channel, 2)]
    selecting = go(select, *cases)
    senders(channel, 1)
    item = channel.receive()
    assert result(selecting) == (cases[item - 1], None)
    assert nobody_in_line(channel)


@pytest.mark.parametrize("served", ["by a sender", "by a receiver", "by take_pending", "by a close"])
def test_a_select_that_stands_twice_at_one_channel_leaves_both_places(served: str) -> None:
    for order in ("sr", "rs", "srsr"):
        channel: Channel[int] = Channel()
        case = Send(channel, 1)
        selecting = go(select, *({"s": case, "r": channel}[kind] for kind in order))
        senders(channel, 1)
        if served == "by a sender":
            channel.send(2)
            assert result(selecting) == (channel, 2)
        elif served == "by a receiver":
            assert channel.receive() == 1
            assert result(selecting) == (case, None)
        elif served == "by take_pending":
            assert channel.take_pending() == [1]
            assert result(selecting) == (case, None)
        else:
            channel.close()
            assert_closed(selecting, channel)
        assert nobody_in_line(channel)


def test_a_thread_that_stands_twice_at_one_channel_is_counted_once() -> None:
    channel: Channel[int] = Channel()
    selecting = go(select, Send(channel, 1), channel, Send(channel, 2), channel)
    senders(channel, 1)
    assert channel.statistics() == ChannelStatistics(0, 0, 1, 1, False)
    channel.send(3)
    assert result(selecting) == (channel, 3)


# The choice


def test_of_several_ready_channels_each_is_chosen_equally_often(fixed_chance: None) -> None:
    """1,000 times of 3,000, give or take six standard deviations."""
    channels = [Channel[int](1) for _ in range(4)]
    for channel in channels[1:]:
        channel.send(0)
    chosen: Counter[int] = Counter()
    for _ in range(3000):
        case, item = select(*channels)
        assert isinstance(case, Channel)
        chosen[channels.index(case)] += 1
        case.send(item)
    assert set(chosen) == {1, 2, 3}
    assert all(abs(count - 1000) < 6 * 26 for count in chosen.values()), chosen


def test_the_choice_is_uniform_among_the_cases_not_the_channels(fixed_chance: None) -> None:
    """Of five ready cases, three are for one channel: it is chosen 1,800 times of 3,000."""
    channel, other = Channel[int](2), Channel[int](2)
    channel.send(0)
    other.send(0)
    cases: list[Case] = [channel, Send(channel, 0), channel, other, Send(other, 0), None, Channel[int]()]
    chosen: Counter[int] = Counter()
    for _ in range(3000):
        case, _ = select(*cases)
        chosen[id(case)] += 1
        touched = case.channel if isinstance(case, Send) else case
        assert touched is not None
        if isinstance(case, Send):
            touched.receive()
        else:
            touched.send(0)
    # Give or take six standard deviations.
    assert abs(chosen[id(channel)] - 1200) < 6 * 27
    for place in (1, 3, 4):
        assert abs(chosen[id(cases[place])] - 600) < 6 * 22, chosen
    assert sum(chosen.values()) == 3000


@pytest.mark.parametrize("place", [0, 1])
def test_a_channel_that_is_always_ready_does_not_starve_another(place: int) -> None:
    """One is closed, the other always has an item. A fair coin does not fall 200 times on the same side."""
    finished: Channel[str] = closed()
    filled_up = filled(1, "item")
    channels = [filled_up]
    channels.insert(place, finished)
    chosen = []
    for _ in range(200):
        try:
            case, item = select(*channels)
            assert isinstance(case, Channel)
            case.send(item)
        except Closed as raised:
            case = raised.channel
        chosen.append(case)
    assert set(chosen) == {finished, filled_up}


@switching_often()
def test_busy_senders_are_all_served() -> None:
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
        case, _ = select(*channels, timeout=LIMIT)
        assert isinstance(case, Channel)
        served[channels.index(case)] += 1
    for channel in channels:
        channel.close()
    for future in feeding:
        result(future)
    assert set(served) == {0, 1, 2}, served


# default and timeouts


def test_the_default_is_chosen_only_if_no_case_is_ready() -> None:
    channel, full = Channel[int](1), filled(1, 7)
    assert select(channel, Send(full, 8), default=True) == (None, None)
    channel.send(1)
    assert select(channel, Send(full, 8), default=True) == (channel, 1)
    case = Send(channel, 2)
    assert select(case, full, default=True, timeout=0) in [(case, None), (full, 7)]
    assert nobody_in_line(channel, full)


def test_the_default_comes_before_any_timeout() -> None:
    for timeout in (None, FAR, 0, -1):
        assert select(Channel[int](), default=True, timeout=timeout) == (None, None)


def test_the_error_names_the_case_that_was_chosen() -> None:
    channel: Channel[int] = closed()
    send = Send(channel, 1)
    chosen = set()
    for _ in range(200):  # both are ready, and chance decides
        with pytest.raises(Closed) as either:
            select(channel, send, timeout=LIMIT)
        assert either.value.channel is channel
        chosen.add(either.value.case)
    assert chosen == {channel, send}
    with pytest.raises(Closed) as received:
        channel.receive()
    assert received.value.case is channel


@pytest.mark.parametrize("kind", ["receive", "send"])
def test_the_error_names_the_case_that_waited_when_the_channel_is_closed(kind: str) -> None:
    channel = Channel[int]()
    case = channel if kind == "receive" else Send(channel, 1)
    selecting = go(select, case, Channel[int]())
    (receivers if kind == "receive" else senders)(channel, 1)
    channel.close()
    raised = error(selecting)
    assert isinstance(raised, Closed)
    assert raised.case is case


def test_a_default_does_not_hide_that_a_channel_is_closed() -> None:
    channel: Channel[int] = closed()
    assert_closed(go(select, channel, default=True), channel)


@pytest.mark.parametrize("timeout", [0.01, 0, 0.0, -0.5, -1, -7])
def test_a_select_raises_when_its_timeout_has_passed_and_leaves_all_lines(timeout: float) -> None:
    one, two = Channel[str](), Channel[str](1)
    assert isinstance(error(go(select, one, two, timeout=timeout)), TimeoutError)
    assert nobody_in_line(one, two)
    with pytest.raises(WouldBlock):
        one.send_nowait("nobody has it")
    two.send_nowait("the buffer has it")
    assert select(one, two, timeout=timeout) == (two, "the buffer has it")


@pytest.mark.parametrize("timeout", [0.01, 0, -1])
def test_a_select_that_waits_to_send_raises_when_its_timeout_has_passed_and_leaves_all_lines(timeout: float) -> None:
    one, two = Channel[str](), filled(1, "first")
    assert isinstance(error(go(select, Send(one, "x"), Send(two, "y"), timeout=timeout)), TimeoutError)
    assert nobody_in_line(one, two)
    assert one.take_pending() == []
    assert two.take_pending() == ["first"]


# nil channels


@pytest.mark.parametrize("nil", [None, Send(None, "item")], ids=["receive", "send"])
def test_a_case_of_a_nil_channel_is_never_ready(nil: Case) -> None:
    channel: Channel[str] = Channel(1)
    assert select(nil, channel, default=True) == (None, None)
    assert isinstance(error(go(select, nil, channel, timeout=0.01)), TimeoutError)
    channel.send("item")
    assert select(nil, channel, nil) == (channel, "item")
    case = Send(channel, "item")
    assert select(nil, case, nil) == (case, None)


def test_a_subclass_of_send_may_have_a_nil_channel_too() -> None:
    class Named(Send[str]):
        __slots__ = ()

    assert select(Named(None, "item"), default=True) == (None, None)


def test_a_select_over_nil_channels_or_nothing_raises_when_its_timeout_has_passed() -> None:
    for cases in ((), (None,), (None, Send(None, 1))):
        assert isinstance(error(go(select, *cases, timeout=0.01)), TimeoutError)
        assert select(*cases, default=True) == (None, None)


@pytest.mark.parametrize("cases", [(), (None,), (Send(None, 1), None)], ids=["none", "nil", "two nil"])
def test_a_select_over_nil_channels_or_nothing_blocks_for_ever(
    cases: tuple[Case, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It parks without a timeout, in no line: nothing could ever wake it but the test."""
    parked: list[module._Parked] = []
    park = module._Parked._park

    def noting(self: module._Parked, timeout: float | None) -> bool:
        assert timeout is None
        parked.append(self)
        return park(self, timeout)

    monkeypatch.setattr(module._Parked, "_park", noting)
    blocked = go(select, *cases)
    until(lambda: parked, "the select to park")
    assert not blocked.done()
    woken: Channel[str] = Channel()
    parked[0].serve(woken, "by the test")
    assert result(blocked) == (woken, "by the test")


# Errors


def test_a_select_holds_no_channel_after_it_raised() -> None:
    one: Channel[str] = Channel(1)
    two: Channel[str] = closed()
    assert isinstance(error(go(select, one, two)), Closed)
    assert isinstance(error(go(select, one, timeout=0)), TimeoutError)
    result(go(one.send, "item"))
    assert isinstance(error(go(two.receive)), Closed)


@pytest.mark.parametrize("wrong", [3, "channel", [], ("a", 1), Send(3, 1), Send("a", 1)])  # type: ignore[arg-type]
def test_a_case_of_another_type_is_a_type_error_and_no_channel_is_held_or_changed(wrong: Any) -> None:
    """Whether it comes before or after the channels, and whether one of them is ready."""
    for _ in range(10):
        one, two = Channel[str](1), filled(1, "item")
        for cases in ((wrong, one, two), (one, two, wrong), (one, wrong)):
            for timeout in (None, 0):
                raised = error(go(select, *cases, timeout=timeout))
                assert isinstance(raised, TypeError)
                assert "case of a select must be a channel" in str(raised)
                with pytest.raises(TypeError):
                    select(*cases, default=True)
        assert nobody_in_line(one, two)
        assert result(go(one.take_pending)) == []
        assert result(go(two.take_pending)) == ["item"]


def test_a_list_of_channels_is_not_a_case_and_the_error_shows_it() -> None:
    with pytest.raises(TypeError, match=r"not \[<Channel: 0 of 0 items>\]"):
        select([Channel[int]()])  # type: ignore[arg-type]


# Locks


def test_all_selects_take_the_mutexes_in_one_order() -> None:
    """Otherwise two selects could each hold a mutex that the other waits for."""
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


@switching_often()
def test_selects_over_the_same_channels_in_all_orders_do_not_wait_for_each_other() -> None:
    channels = [Channel[int](1) for _ in range(3)]

    def turn(order: Sequence[Channel[int]]) -> None:
        for _ in range(500):
            case, item = select(*order)
            assert isinstance(case, Channel)
            case.send(item)

    channels[0].send(0)
    channels[1].send(1)
    turning = [go(turn, [channels[at] for at in order]) for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1))]
    for future in turning:
        result(future)
