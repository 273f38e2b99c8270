"""The outbox: its receiver takes what is pending in turns, and every turn comes back. Then the races of outbox.py."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from channels import Pause, Watched, assert_closed, error, nobody_in_line, parked_senders, result, senders, watch
from helpers import FAR, LIMIT, go, switching_often, until

from threadchat.channel import Channel, ChannelStatistics, Closed, Send, WouldBlock, select
from threadchat.outbox import Outbox
from threadchat.runtime.runqueue import RunQueue, RunQueueStatistics


def far_off() -> float:
    """A deadline that no test reaches, on the clock of `receive_in_turn`."""
    return time.monotonic() + FAR


def take(outbox: Outbox[Any], until: float | None = None) -> list[Any]:
    """What the receiver is given in one turn."""
    return outbox.receive_in_turn(list, until=far_off() if until is None else until)


def idle(outbox: Outbox[Any]) -> None:
    until(lambda: outbox.statistics().waiting_receivers == 1, "a receiver that waits for items")


def in_line(run_queue: RunQueue, count: int) -> None:
    until(lambda: run_queue.statistics().waiting == count, f"{count} threads that wait for a turn")


def hold_turn(run_queue: RunQueue) -> None:
    """Take the turn that is free. The test gives it back with `run_queue.next()`."""
    taken = threading.Event()
    run_queue.ready(taken.set)
    assert taken.is_set(), "no turn is free"


def other_threads(pause: Pause) -> Callable[[], None]:
    """A function that holds up any thread but the one that is running now."""
    ours = threading.get_ident()

    def before() -> None:
        if threading.get_ident() != ours:
            pause()

    return before


def all_free(run_queue: RunQueue) -> bool:
    """Whether all turns have come back and no thread waits for one."""
    return run_queue.statistics() == RunQueueStatistics(run_queue.turns, run_queue.turns, 0)


@pytest.fixture
def run_queue() -> RunQueue:
    return RunQueue()


@pytest.fixture
def outbox(run_queue: RunQueue) -> Outbox[int]:
    return Outbox(3, run_queue)


# What a turn is given


def test_an_outbox_is_a_channel(outbox: Outbox[int], run_queue: RunQueue) -> None:
    outbox.send(1)
    outbox.send_nowait(2)
    case = Send(outbox, 3)
    assert select(case) == (case, None)
    with pytest.raises(WouldBlock):
        outbox.send_nowait(4)
    assert len(outbox) == outbox.capacity == 3
    assert outbox.receive() == 1
    assert select(outbox) == (outbox, 2)
    assert outbox.take_pending() == [3]
    assert repr(outbox) == "<Outbox: 0 of 3 items>"
    assert all_free(run_queue)


@pytest.mark.parametrize(("capacity", "raises"), [(0, ValueError), (-1, ValueError), ("3", TypeError)])
def test_an_outbox_needs_room_for_an_item(capacity: Any, raises: type[Exception]) -> None:
    """A sender that parks does not make the receiver ready. What fills the buffer has done so."""
    with pytest.raises(raises):
        Outbox(capacity)


@pytest.mark.parametrize("deadline", [math.inf, 1e300])
def test_a_turn_may_have_a_deadline_that_never_comes(deadline: float, outbox: Outbox[int], run_queue: RunQueue) -> None:
    taking = go(take, outbox, deadline)
    idle(outbox)
    outbox.send(1)
    assert result(taking) == [1]
    assert all_free(run_queue)


def test_a_turn_takes_all_that_is_pending_in_the_order_of_the_sends(outbox: Outbox[int], run_queue: RunQueue) -> None:
    outbox.send_what_fits([1, 2])
    outbox.send(3)

    def work(items: list[int]) -> str:
        assert items == [1, 2, 3]
        assert run_queue.statistics().free == 0
        assert len(outbox) == 0
        return "worked"

    assert outbox.receive_in_turn(work, until=far_off()) == "worked"
    assert all_free(run_queue)


def test_a_turn_takes_the_items_of_parked_senders_too_and_lets_them_go_on(
    outbox: Outbox[int], run_queue: RunQueue
) -> None:
    outbox.send_what_fits([1, 2, 3])
    sending = parked_senders(outbox, 4, 5)
    selecting = go(select, Send(outbox, 6), Channel[int]())
    senders(outbox, 3)
    assert take(outbox) == [1, 2, 3, 4, 5, 6]
    for future in sending:
        result(future)
    assert result(selecting)[1] is None
    assert nobody_in_line(outbox)
    assert all_free(run_queue)


@pytest.mark.parametrize("how", ["send", "send_nowait", "send_what_fits", "select"])
def test_every_kind_of_send_makes_the_receiver_ready(how: str, outbox: Outbox[int], run_queue: RunQueue) -> None:
    taking = go(take, outbox)
    idle(outbox)
    if how == "select":
        select(Send(outbox, 1), None)
    elif how == "send_what_fits":
        assert not outbox.send_what_fits([1])
    else:
        getattr(outbox, how)(1)
    assert result(taking) == [1]
    assert all_free(run_queue)


def test_sending_no_items_does_not_make_the_receiver_ready(outbox: Outbox[int], run_queue: RunQueue) -> None:
    taking = go(take, outbox)
    idle(outbox)
    outbox.send_what_fits([])
    assert outbox.statistics().waiting_receivers == 1
    assert all_free(run_queue)
    outbox.send(1)
    assert result(taking) == [1]


def test_an_idle_receiver_counts_as_waiting_until_it_is_made_ready(outbox: Outbox[int], run_queue: RunQueue) -> None:
    assert outbox.statistics() == ChannelStatistics(0, 3, 0, 0, False)
    hold_turn(run_queue)
    taking = go(take, outbox)
    idle(outbox)
    outbox.send(1)
    assert outbox.statistics() == ChannelStatistics(1, 3, 0, 0, False)
    assert not taking.done()
    run_queue.next()
    assert result(taking) == [1]


# Turns


def test_a_receiver_waits_for_its_turn_even_if_something_is_pending(outbox: Outbox[int], run_queue: RunQueue) -> None:
    outbox.send(1)
    hold_turn(run_queue)
    taking = go(take, outbox)
    in_line(run_queue, 1)
    assert len(outbox) == 1
    assert not taking.done()
    run_queue.next()
    assert result(taking) == [1]
    assert all_free(run_queue)


def test_receivers_are_woken_one_at_a_time_in_the_order_in_which_they_became_ready(run_queue: RunQueue) -> None:
    outboxes = [Outbox[int](1, run_queue) for _ in range(4)]
    leave = [threading.Event() for _ in outboxes]
    entered: list[int] = []

    def pump(number: int) -> None:
        def work(items: list[int]) -> None:
            entered.extend(items)
            assert leave[number].wait(LIMIT)

        outboxes[number].receive_in_turn(work, until=far_off())

    pumping = [go(pump, number) for number in range(4)]
    for outbox in outboxes:
        idle(outbox)
    order = [2, 0, 3, 1]
    for number in order:
        outboxes[number].send(number)
    for place, number in enumerate(order):
        until(lambda place=place: len(entered) > place, "the next turn")  # type: ignore[misc]
        assert entered == order[: place + 1]
        assert run_queue.statistics() == RunQueueStatistics(1, 0, 3 - place)
        leave[number].set()
    for future in pumping:
        result(future)
    assert all_free(run_queue)


def test_an_urgent_receiver_has_its_turn_first_and_is_urgent_once(run_queue: RunQueue) -> None:
    outboxes = [Outbox[int](1, run_queue) for _ in range(3)]
    order: list[int] = []

    def pump(outbox: Outbox[int]) -> None:
        outbox.receive_in_turn(order.extend, until=far_off())

    for urgent, expected in ((2, [2, 0, 1]), (None, [0, 1, 2])):
        pumping = [go(pump, outbox) for outbox in outboxes]
        for outbox in outboxes:
            idle(outbox)
        if urgent is not None:
            outboxes[urgent].urgent = True
        hold_turn(run_queue)
        for number, outbox in enumerate(outboxes):
            outbox.send(number)
        run_queue.next()
        for future in pumping:
            result(future)
        assert order == expected
        assert not any(outbox.urgent for outbox in outboxes)
        order.clear()
    assert all_free(run_queue)


@pytest.mark.parametrize("turns", [1, 3])
@switching_often()
def test_no_more_receivers_hold_a_turn_than_there_are_turns(turns: int) -> None:
    run_queue = RunQueue(turns)
    outboxes = [Outbox[int](capacity, run_queue) for capacity in (1, 2, 50, 50, 50, 50)]
    counting = threading.Lock()
    awake, most, received = 0, 0, 0

    def work(items: list[int]) -> None:
        nonlocal awake, most, received
        with counting:
            awake += 1
            most = max(most, awake)
            received += len(items)
        with counting:
            awake -= 1

    def pump(outbox: Outbox[int]) -> None:
        try:
            while True:
                outbox.receive_in_turn(work, until=far_off())
        except Closed:
            pass

    pumping = [go(pump, outbox) for outbox in outboxes]
    for number in range(300):
        for outbox in outboxes:
            outbox.send(number)
    for outbox in outboxes:
        outbox.close()
    for future in pumping:
        result(future)
    assert received == 1800
    assert 1 <= most <= turns
    assert all_free(run_queue)


# A turn cannot leak


@pytest.mark.parametrize("raised", [ValueError, Closed, TimeoutError, KeyboardInterrupt])
def test_a_turn_comes_back_whatever_the_work_raises(
    raised: type[BaseException], outbox: Outbox[int], run_queue: RunQueue
) -> None:
    def work(items: list[int]) -> None:
        raise raised(outbox) if raised is Closed else raised

    outbox.send(1)
    with pytest.raises(raised):
        outbox.receive_in_turn(work, until=far_off())
    assert all_free(run_queue)
    outbox.send(2)
    assert take(outbox) == [2]


@pytest.mark.parametrize("pending", [0, 1])
@pytest.mark.parametrize("late", [0, 1, math.inf, math.nan])
def test_a_turn_that_begins_too_late_raises_holds_none_and_takes_nothing(
    pending: int, late: float, outbox: Outbox[int], run_queue: RunQueue
) -> None:
    outbox.send_what_fits([1] * pending)
    with pytest.raises(TimeoutError):
        outbox.receive_in_turn(lambda items: pytest.fail("work was called"), until=time.monotonic() - late)
    assert all_free(run_queue)
    assert outbox.statistics() == ChannelStatistics(pending, 3, 0, 0, False)
    outbox.send(2)  # makes no receiver ready: none waits
    assert all_free(run_queue)


def test_a_turn_raises_when_its_time_has_passed_and_holds_none(outbox: Outbox[int], run_queue: RunQueue) -> None:
    assert isinstance(error(go(take, outbox, time.monotonic() + 0.01)), TimeoutError)
    assert outbox.statistics().waiting_receivers == 0
    outbox.send(1)
    assert all_free(run_queue)
    assert take(outbox) == [1]


@pytest.mark.parametrize("wrong", ["soon", [], b""])
def test_a_turn_whose_deadline_is_not_a_number_raises_and_leaves_nothing_behind(
    wrong: Any, outbox: Outbox[int], run_queue: RunQueue
) -> None:
    assert isinstance(error(go(take, outbox, wrong)), TypeError)
    outbox.send(1)
    assert all_free(run_queue)


def test_a_closed_outbox_gives_what_is_left_and_then_raises_and_holds_no_turn(
    outbox: Outbox[int], run_queue: RunQueue
) -> None:
    outbox.send_what_fits([1, 2])
    outbox.close()
    assert take(outbox) == [1, 2]
    for _ in range(3):
        assert_closed(go(take, outbox), outbox)
        assert all_free(run_queue)
    with pytest.raises(Closed):
        outbox.close()
    assert all_free(run_queue)


def test_a_second_receiver_is_a_mistake_and_not_a_close(outbox: Outbox[int], run_queue: RunQueue) -> None:
    hold_turn(run_queue)
    outbox.send(1)
    taken = go(take, outbox)
    in_line(run_queue, 1)
    assert outbox.receive() == 1
    run_queue.next()
    assert isinstance(error(taken), RuntimeError)
    assert run_queue.statistics().free == 1


def test_an_idle_receiver_learns_of_a_close_in_its_turn(outbox: Outbox[int], run_queue: RunQueue) -> None:
    taking = go(take, outbox)
    idle(outbox)
    hold_turn(run_queue)
    outbox.close()
    in_line(run_queue, 1)
    assert not taking.done()
    run_queue.next()
    assert_closed(taking, outbox)
    assert all_free(run_queue)


# Race 1: the pump's deadline passes at the moment when a send makes it ready


class TurnGranted(Watched):
    """In place of `_turn_granted`: the deadline passes when the test says so. `again` is set at the second sleep."""

    def __init__(self, lock: Any) -> None:
        super().__init__(lock, lambda: None)
        self.passes, self.again = threading.Event(), threading.Event()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if timeout < 0:
            self.again.set()
            return super().acquire()
        assert self.passes.wait(LIMIT)
        return False


@pytest.mark.parametrize("how", ["send", "close"])
@pytest.mark.parametrize("busy", [False, True])
def test_race_1_a_pump_that_was_made_ready_as_its_deadline_passed_has_its_turn(
    how: str, busy: bool, outbox: Outbox[int], run_queue: RunQueue
) -> None:
    granted: Any = TurnGranted(outbox._turn_granted)
    outbox._turn_granted = granted
    taking = go(take, outbox)
    idle(outbox)
    if busy:
        hold_turn(run_queue)
    if how == "send":
        outbox.send(1)
    else:
        outbox.close()
    granted.passes.set()
    assert granted.again.wait(LIMIT)
    if busy:
        assert not taking.done()
        run_queue.next()
    if how == "send":
        assert result(taking) == [1]
    else:
        assert_closed(taking, outbox)
    assert all_free(run_queue)


@pytest.mark.parametrize("how", ["send", "close"])
def test_race_1_a_pump_whose_deadline_has_passed_is_made_ready_as_long_as_it_has_not_said_so(
    how: str, outbox: Outbox[int], run_queue: RunQueue
) -> None:
    granted: Any = TurnGranted(outbox._turn_granted)
    outbox._turn_granted = granted
    taking = go(take, outbox)
    idle(outbox)
    with Pause() as pause:
        watch(outbox, other_threads(pause))
        granted.passes.set()
        pause.reached()  # the pump is about to take the mutex
        if how == "send":
            outbox.send(1)
        else:
            outbox.close()
        assert not taking.done()
    if how == "send":
        assert result(taking) == [1]
    else:
        assert_closed(taking, outbox)
    assert all_free(run_queue)


@pytest.mark.parametrize("how", ["send", "close"])
def test_race_1_a_pump_whose_deadline_passed_first_is_not_made_ready(
    how: str, outbox: Outbox[int], run_queue: RunQueue
) -> None:
    granted: Any = TurnGranted(outbox._turn_granted)
    outbox._turn_granted = granted
    taking = go(take, outbox)
    idle(outbox)
    granted.passes.set()
    assert isinstance(error(taking), TimeoutError)
    if how == "send":
        outbox.send(1)
    else:
        outbox.close()
    assert all_free(run_queue)
    assert not granted.again.is_set()


# Race 2: the outbox is closed while its pump waits for its turn


def test_race_2_a_pump_that_waits_for_its_turn_takes_what_was_sent_before_the_close(
    outbox: Outbox[int], run_queue: RunQueue
) -> None:
    hold_turn(run_queue)
    taking = go(take, outbox)
    idle(outbox)
    outbox.send_what_fits([1, 2])
    in_line(run_queue, 1)
    outbox.close()
    in_line(run_queue, 1)  # the close does not put it there twice
    run_queue.next()
    assert result(taking) == [1, 2]
    assert all_free(run_queue)
    assert_closed(go(take, outbox), outbox)
    assert all_free(run_queue)


def test_race_2_a_pump_whose_items_are_taken_away_after_the_close_raises(
    outbox: Outbox[int], run_queue: RunQueue
) -> None:
    """This is how the hub evicts: it closes the channel and takes what is pending."""
    hold_turn(run_queue)
    taking = go(take, outbox)
    idle(outbox)
    outbox.send(1)
    outbox.close()
    assert outbox.take_pending() == [1]
    run_queue.next()
    assert_closed(taking, outbox)
    assert all_free(run_queue)


def test_race_2_parked_senders_raise_and_the_pump_is_not_given_their_items(
    outbox: Outbox[int], run_queue: RunQueue
) -> None:
    hold_turn(run_queue)
    taking = go(take, outbox)
    idle(outbox)
    outbox.send_what_fits([1, 2, 3])
    sending = parked_senders(outbox, 4)
    outbox.close()
    assert_closed(sending[0], outbox)
    run_queue.next()
    assert result(taking) == [1, 2, 3]
    assert all_free(run_queue)


# Race 3: more is sent while the pump waits for its turn


def test_race_3_a_pump_takes_what_came_while_it_waited_for_its_turn(outbox: Outbox[int], run_queue: RunQueue) -> None:
    hold_turn(run_queue)
    taking = go(take, outbox)
    idle(outbox)
    for number in range(3):
        outbox.send_nowait(number)
        in_line(run_queue, 1)  # once, however much is sent
    sending = parked_senders(outbox, 3)
    run_queue.next()
    assert result(taking) == [0, 1, 2, 3]
    result(sending[0])
    assert all_free(run_queue)


def test_race_3_what_is_sent_between_the_grant_of_a_turn_and_the_look_is_taken_once(
    outbox: Outbox[int], run_queue: RunQueue
) -> None:
    with Pause() as pause:
        taking = go(take, outbox)
        idle(outbox)
        watch(outbox, other_threads(pause))
        outbox.send(1)
        pause.reached()  # the pump has its turn, and is about to take the mutex
        outbox.send(2)
        assert run_queue.statistics() == RunQueueStatistics(1, 0, 0)
    assert result(taking) == [1, 2]
    assert all_free(run_queue)
    with pytest.raises(TimeoutError):
        take(outbox, time.monotonic())


# Many threads at once


@pytest.mark.parametrize("turns", [1, 2])
@switching_often()
def test_amid_deadlines_and_closes_nothing_is_lost_and_every_turn_comes_back(turns: int) -> None:
    """What a sender was told has been sent is received once."""
    run_queue = RunQueue(turns)
    outboxes = [Outbox[tuple[int, int]](capacity, run_queue) for capacity in (1, 2, 7)]
    stuck: Channel[None] = Channel()
    received: list[list[tuple[int, int]]] = [[], [], []]

    def send(sender: int) -> list[tuple[int, tuple[int, int]]]:
        chance = random.Random(sender)
        accepted: list[tuple[int, tuple[int, int]]] = []
        number = 0
        while True:
            to = chance.randrange(3)
            items = [(sender, number + more) for more in range(chance.choice([1, 1, 3]))]
            number += len(items)
            try:
                if len(items) > 1:
                    items = items[: len(items) - len(outboxes[to].send_what_fits(items))]
                elif (how := chance.randrange(3)) == 0:
                    outboxes[to].send_nowait(items[0])
                elif how == 1:
                    outboxes[to].send(items[0])
                else:
                    select(Send(outboxes[to], items[0]), stuck)
                accepted += [(to, item) for item in items]
            except WouldBlock:
                pass
            except Closed:
                if all(outbox.statistics().closed for outbox in outboxes):
                    return accepted

    def pump(place: int) -> None:
        chance = random.Random(place)
        while True:
            try:
                until = time.monotonic() + chance.choice([FAR, -1, 0.0001])
                outboxes[place].receive_in_turn(received[place].extend, until=until)
            except TimeoutError:
                outboxes[place].urgent = chance.random() < 0.5
            except Closed:
                return

    pumping = [go(pump, place) for place in range(3)]
    sending: list[Future[list[tuple[int, tuple[int, int]]]]] = [go(send, sender) for sender in range(4)]
    for place, outbox in enumerate(outboxes):
        until(lambda place=place: len(received[place]) >= 200, "some traffic")  # type: ignore[misc]
        outbox.close()
    sent = sorted(item for future in sending for item in result(future))
    for future in pumping:
        result(future)
    assert sorted((place, item) for place in range(3) for item in received[place]) == sent
    for items in received:
        for sender in range(4):
            numbers = [number for whose, number in items if whose == sender]
            assert numbers == sorted(numbers)
    assert all_free(run_queue)
    assert nobody_in_line(*outboxes, stuck)
