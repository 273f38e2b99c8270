"""Channels against a model of what Go does: step by step with threads that park, and many threads at once."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

from helpers import FAR, LIMIT, go, switching_often, until
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from threadchat.channel import Channel, ChannelStatistics, Closed, WouldBlock, select

SOON = 0.001  # seconds; a deadline that passes while nothing happens


# The model: what the threads and channels would be in Go


@dataclass(eq=False)
class Operation:
    """What one thread does. `outcome` is None while it is parked."""

    future: Future[Any]
    kind: str  # send, receive, receive_pending or select
    places: tuple[int, ...]
    item: int | None = None
    outcome: object = None


@dataclass(eq=False)
class Line:
    """A channel."""

    capacity: int
    buffer: deque[int] = field(default_factory=deque)
    senders: deque[Operation] = field(default_factory=deque)
    receivers: deque[Operation] = field(default_factory=deque)
    closed: bool = False
    away: int = 0

    def ready(self) -> bool:
        return bool(self.buffer or self.senders or self.closed)

    def statistics(self) -> ChannelStatistics:
        return ChannelStatistics(len(self.buffer), self.capacity, len(self.senders), len(self.receivers), self.closed)


# Outcomes, to be compared: an item is received, alone or with others, or by a select from the channel at a place.
SENT = "sent"
PASSED = "the deadline passed"
BLOCKS = "would block"


def closed(place: int) -> tuple[str, int]:
    return ("closed", place)


class Machine(RuleBasedStateMachine):
    """Each step does the same to the channels and to the model. An operation that blocks runs in a thread of its own.

    Nothing is left to chance but the choice of a select among several ready channels, and who of several threads that
    were woken at once is the first to run: there the model follows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.channels: list[Channel[int]] = []
        self.lines: list[Line] = []
        self.parked: list[Operation] = []
        self.items = itertools.count()

    @initialize(capacities=st.lists(st.integers(0, 3), min_size=1, max_size=3))
    def make(self, capacities: list[int]) -> None:
        self.channels = [Channel(capacity) for capacity in capacities]
        self.lines = [Line(capacity) for capacity in capacities]

    # The rules

    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        place = self.draw_place(data)
        item = next(self.items)
        future = go(self.channels[place].send, item)
        outcome = self.accept(place, item)
        if outcome is BLOCKS and not self.lines[place].away:
            self.park(Operation(future, "send", (place,), item))
        else:
            assert self.outcome(future) == outcome

    @rule(data=st.data())
    def send_nowait(self, data: st.DataObject) -> None:
        place = self.draw_place(data)
        item = next(self.items)
        future = go(self.channels[place].send_nowait, item)
        assert self.outcome(future) == self.accept(place, item)

    @rule(data=st.data(), count=st.integers(0, 4))
    def send_what_fits(self, data: st.DataObject, count: int) -> None:
        place = self.draw_place(data)
        line = self.lines[place]
        items = [next(self.items) for _ in range(count)]
        future = go(self.channels[place].send_what_fits, items)
        if line.closed:
            assert self.outcome(future) == closed(place)
        else:
            woken = list(line.receivers)[:count]
            outcomes = [self.accept(place, item) for item in items]
            fit = outcomes.count(SENT)
            assert outcomes == [SENT] * fit + [BLOCKS] * (count - fit)
            assert list(future.result(LIMIT)) == items[fit:]
            self.take_the_rest(line, [receiver for receiver in woken if receiver.kind == "receive_pending"])

    @rule(data=st.data())
    def take_pending(self, data: st.DataObject) -> None:
        place = self.draw_place(data)
        line = self.lines[place]
        future = go(self.channels[place].take_pending)
        assert self.outcome(future) == (self.take(place, pending=True) if line.buffer or line.senders else [])

    @rule(data=st.data(), really=st.integers(0, 2))
    def step_away(self, data: st.DataObject, really: int) -> None:
        if not really:  # not too often: nobody parks there any more
            place = self.draw_place(data)
            line = self.lines[place]
            future = go(self.channels[place].step_away)
            line.away += 1
            while line.senders:
                self.finish(line.senders[0], BLOCKS)
            assert self.outcome(future) == SENT

    @precondition(lambda self: any(line.away for line in self.lines))
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from([place for place, line in enumerate(self.lines) if line.away]))
        future = go(self.channels[place].come_back)
        self.lines[place].away -= 1
        assert self.outcome(future) == SENT

    @rule(data=st.data(), timeout=st.sampled_from([None, FAR]), pending=st.booleans())
    def receive(self, data: st.DataObject, timeout: float | None, pending: bool) -> None:
        place = self.draw_place(data)
        kind = "receive_pending" if pending else "receive"
        future = go(getattr(self.channels[place], kind), timeout)
        if self.lines[place].ready():
            assert self.outcome(future) == self.take(place, pending)
        else:
            self.park(Operation(future, kind, (place,)))

    @rule(data=st.data(), timeout=st.sampled_from([SOON, 0, -1]), pending=st.booleans())
    def receive_with_a_deadline_that_passes(self, data: st.DataObject, timeout: float, pending: bool) -> None:
        place = self.draw_place(data)
        future = go(getattr(self.channels[place], "receive_pending" if pending else "receive"), timeout)
        assert self.outcome(future) == (self.take(place, pending) if self.lines[place].ready() else PASSED)

    @rule(data=st.data(), timeout=st.sampled_from([None, FAR, SOON, 0, -1]))
    def select(self, data: st.DataObject, timeout: float | None) -> None:
        places = tuple(data.draw(st.lists(st.sampled_from(range(len(self.lines))), min_size=1, max_size=4)))
        future = go(select, *(self.channels[place] for place in places), timeout=timeout)
        ready = {place for place in places if self.lines[place].ready()}
        if ready:
            outcome = self.outcome(future)
            assert isinstance(outcome, tuple)
            place = outcome[1]
            assert place in ready
            took = self.take(place, pending=False)
            assert outcome == (took if took == closed(place) else ("selected", place, took))
        elif timeout in (None, FAR):
            self.park(Operation(future, "select", tuple(dict.fromkeys(places))))
        else:
            assert self.outcome(future) == PASSED

    @rule(data=st.data(), really=st.integers(0, 5))
    def close(self, data: st.DataObject, really: int) -> None:
        if not really:  # now and then: little can be done with a closed channel
            self.close_channel(self.draw_place(data))

    def close_channel(self, place: int) -> None:
        line = self.lines[place]
        future = go(self.channels[place].close)
        if line.closed:
            assert self.outcome(future) == closed(place)
            return
        line.closed = True
        while line.receivers:
            self.finish(line.receivers[0], closed(place))
        while line.senders:
            self.finish(line.senders[0], closed(place))
        assert self.outcome(future) == SENT

    # What the model does

    def accept(self, place: int, item: int) -> object:
        line = self.lines[place]
        if line.closed:
            return closed(place)
        if line.receivers:
            receiver = line.receivers[0]
            received = {"receive": item, "receive_pending": [item], "select": ("selected", place, item)}
            self.finish(receiver, received[receiver.kind])
            return SENT
        if len(line.buffer) < line.capacity:
            line.buffer.append(item)
            return SENT
        return BLOCKS

    def take(self, place: int, pending: bool) -> object:
        """From a channel that is ready: an item, or all that are pending."""
        line = self.lines[place]
        items: list[int] = []
        while (line.buffer or line.senders) and (pending or not items):
            if line.senders:
                item = line.senders[0].item
                assert item is not None
                line.buffer.append(item)
                self.finish(line.senders[0], SENT)
            items.append(line.buffer.popleft())
        if not items:
            return closed(place)
        return items if pending else items[0]

    def take_the_rest(self, line: Line, woken: list[Operation]) -> None:
        """Of those who were woken to receive all that is pending, one has what was left: the first to get there."""
        if not woken:
            return
        rest = list(line.buffer)
        line.buffer.clear()
        taker = next((receiver for receiver in woken if self.outcome(receiver.future) != receiver.outcome), woken[0])
        assert isinstance(taker.outcome, list)
        taker.outcome = [*taker.outcome, *rest]

    def finish(self, operation: Operation, outcome: object) -> None:
        """It leaves the lines in which it stands; its thread must do so by itself."""
        operation.outcome = outcome
        for place in operation.places:
            line = self.lines[place]
            (line.senders if operation.kind == "send" else line.receivers).remove(operation)

    def park(self, operation: Operation) -> None:
        self.parked.append(operation)
        for place in operation.places:
            line = self.lines[place]
            (line.senders if operation.kind == "send" else line.receivers).append(operation)
        until(lambda: self.statistics() == self.expected() or operation.future.done(), f"{operation.kind} to park")

    # What the channels do

    def draw_place(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(range(len(self.lines))), label="place")

    def outcome(self, future: Future[Any]) -> object:
        try:
            value = future.result(LIMIT)
        except Closed as error:
            return closed(self.place(error.channel))
        except WouldBlock:
            return BLOCKS
        except TimeoutError:
            assert future.done(), "it hangs"
            return PASSED
        if value is None:
            return SENT
        if isinstance(value, tuple):
            channel, item = value
            return ("selected", self.place(channel), item)
        return value

    def place(self, channel: Channel[Any]) -> int:
        return next(place for place, known in enumerate(self.channels) if known is channel)

    def statistics(self) -> list[ChannelStatistics]:
        return [channel.statistics() for channel in self.channels]

    def expected(self) -> list[ChannelStatistics]:
        return [line.statistics() for line in self.lines]

    @invariant()
    def the_channels_and_the_threads_are_where_the_model_says(self) -> None:
        for operation in self.parked:
            if operation.outcome is not None:
                assert self.outcome(operation.future) == operation.outcome
        self.parked = [operation for operation in self.parked if operation.outcome is None]
        assert not any(operation.future.done() for operation in self.parked)
        assert self.statistics() == self.expected()
        assert [len(channel) for channel in self.channels] == [len(line.buffer) for line in self.lines]
        # Nor does anybody stand in a line whom the statistics no longer count.
        assert [len(channel._receivers) for channel in self.channels] == [len(line.receivers) for line in self.lines]

    def teardown(self) -> None:
        try:
            for place, line in enumerate(self.lines):
                if not line.closed:
                    self.close_channel(place)
        finally:  # after a failure too no thread stays behind
            for channel in self.channels:
                with suppress(Closed):
                    channel.close()
        self.the_channels_and_the_threads_are_where_the_model_says()
        assert not self.parked
        for channel, line in zip(self.channels, self.lines, strict=True):
            assert list(channel) == list(line.buffer)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


# Many threads at once


@dataclass(frozen=True)
class Step:
    """One operation of a thread's program."""

    kind: str
    places: tuple[int, ...]
    timeout: float | None = None


@dataclass
class Event:
    """What came of a step: `items` are those sent or received, `begun` and `ended` the ticks of a common clock."""

    thread: int
    step: Step
    begun: int
    ended: int
    place: int
    items: list[tuple[int, int, int]]  # by thread, to the channel at place, the how manieth of the thread
    outcome: str = "done"


@dataclass(frozen=True)
class Program:
    capacities: list[int]
    threads: list[list[Step]]


TIMEOUTS = st.sampled_from([None, None, 0, 0.0005, 0.002])


@st.composite
def programs(draw: st.DrawFn) -> Program:
    capacities = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    places = st.sampled_from(range(len(capacities)))
    one = st.tuples(places)
    sends = st.builds(Step, st.sampled_from(["send", "send", "send", "send_nowait", "send_what_fits"]), one)
    receives = st.builds(Step, st.sampled_from(["receive", "receive_pending"]), one, TIMEOUTS)
    takes = st.builds(Step, st.just("take_pending"), one)
    selects = st.builds(Step, st.just("select"), st.lists(places, min_size=1, max_size=3).map(tuple), TIMEOUTS)
    closes = st.builds(Step, st.just("close"), one)
    any_step = st.one_of(sends, sends, sends, receives, selects, selects)
    thread = st.one_of(
        st.lists(sends, min_size=1, max_size=40),
        st.lists(st.one_of(receives, receives, takes, selects), min_size=1, max_size=40),
        st.tuples(places, st.lists(st.one_of(receives, takes, selects), max_size=5)).map(
            lambda parts: [Step("step_away", parts[:1]), *parts[1], Step("come_back", parts[:1])]
        ),
        st.lists(any_step, min_size=1, max_size=40),
        st.tuples(st.lists(any_step, max_size=20), closes, st.lists(any_step, max_size=5)).map(
            lambda parts: [*parts[0], parts[1], *parts[2]]
        ),
    )
    threads = draw(st.lists(thread, min_size=2, max_size=6))
    return Program(capacities, [steps * draw(st.integers(1, 8)) for steps in threads])


ITEMS = {"send": 1, "send_nowait": 1, "send_what_fits": 3}  # how many each sends


def run(thread: int, steps: Sequence[Step], channels: Sequence[Channel[Any]], clock: Iterator[int]) -> list[Event]:
    history = []
    sent = itertools.count()
    for step in steps:
        place = step.places[0]
        channel = channels[place]
        items: list[tuple[int, int, int]] = []
        outcome = "done"
        if step.kind in ITEMS:
            items = [(thread, place, next(sent)) for _ in range(ITEMS[step.kind])]
        begun = next(clock)
        try:
            if step.kind in ("close", "step_away", "come_back"):
                getattr(channel, step.kind)()
            elif step.kind == "send_what_fits":
                rest = channel.send_what_fits(items)
                items = items[: len(items) - len(rest)]
            elif step.kind == "take_pending":
                items = channel.take_pending()
            elif step.kind == "receive":
                items = [channel.receive(step.timeout)]
            elif step.kind == "receive_pending":
                items = channel.receive_pending(step.timeout)
            elif step.kind == "select":
                channel, item = select(*(channels[place] for place in step.places), timeout=step.timeout)
                items = [item]
            else:
                getattr(channel, step.kind)(items[0])
        except Closed as error:
            outcome = "closed"
            channel = error.channel
        except TimeoutError:
            outcome = "passed"
        except WouldBlock:
            outcome = "blocks"
        ended = next(clock)
        place = next(place for place, known in enumerate(channels) if known is channel)
        history.append(Event(thread, step, begun, ended, place, items, outcome))
    return history


def parked(channels: Sequence[Channel[Any]]) -> int:
    """How many threads are parked. Counts no thread twice, as long as nobody moves."""
    waiting: set[object] = set()
    for channel in channels:
        with channel._mutex:
            waiting.update(channel._senders)
            waiting.update(receiver for receiver in channel._receivers if not receiver.claimed())
    return len(waiting)


RECEIVES = ("receive", "receive_pending", "take_pending", "select")


def check(capacities: Sequence[int], history: Sequence[Event]) -> None:
    """That the history, which ends with closes and with receives of what was left, is one that Go allows."""
    sends = {item: event for event in history if event.step.kind in ITEMS for item in event.items}
    sent = {item: event for item, event in sends.items() if event.outcome == "done"}
    receives = [event for event in history if event.step.kind in RECEIVES]
    received: dict[tuple[int, int, int], Event] = {}
    for event in receives:
        if event.step.kind == "take_pending":
            assert event.outcome == "done"
        else:
            assert bool(event.items) == (event.outcome == "done"), "a receive has an item or raises"
        assert event.outcome != "passed" or event.step.timeout is not None, "a deadline passed that was not given"
        assert event.outcome == "passed" or event.place in event.step.places, "it asked for another channel"
        for item in event.items:
            assert item not in received, "received twice"
            assert item in sends, "received and never sent"
            assert sends[item].place == event.place, "received from another channel"
            received[item] = event
    assert received.keys() == sent.keys(), "lost, or received though its sender was refused"

    for event in history:
        if event.outcome == "blocks" and event.step.kind == "send":
            assert any(
                away.step.kind == "step_away" and away.place == event.place and away.begun < event.ended
                for away in history
            ), "refused though no receiver had stepped away"
        assert event.outcome != "blocks" or event.step.kind in ITEMS

    # A close divides the history of its channel.
    for place in range(len(capacities)):
        closes = [event for event in history if event.step.kind == "close" and event.place == place]
        done = [event for event in closes if event.outcome == "done"]
        assert len(done) == 1, "closed once"
        for event in history:
            if event.place == place and event.outcome == "closed":
                assert event.ended > done[0].begun, "closed before it was"
            if event.place == place and event.step.kind in ITEMS and event.outcome == "done":
                assert event.begun < done[0].ended, "sent after the close"
        dry = [event.ended for event in receives if event.place == place and event.outcome == "closed"]
        for event in receives:
            assert event.place != place or not event.items or event.begun < min(dry, default=inf), (
                "an item after the end"
            )

    # A queue: of two sends of which one began after the other had ended, the first is received first.
    for event in receives:
        for one, other in itertools.combinations(event.items, 2):
            assert sends[one].begun < sends[other].ended, "overtaken in a batch"
    for place, capacity in enumerate(capacities):
        # One pair of a send and its receive for each item.
        pairs = [(event, received[item]) for item, event in sent.items() if event.place == place]
        pairs.sort(key=lambda pair: pair[0].begun)
        over = deque(sorted(pairs, key=lambda pair: pair[0].ended))
        latest = -1
        for event, receive in pairs:
            while over[0][0].ended < event.begun:
                latest = max(latest, over.popleft()[1].begun)
            assert latest < receive.ended, "overtaken"
        by_receiver: dict[tuple[int, int], list[int]] = defaultdict(list)
        for event in receives:
            if event.place == place:
                for thread, _, number in event.items:
                    by_receiver[event.thread, thread].append(number)
        for numbers in by_receiver.values():
            assert numbers == sorted(numbers), "a receiver has one sender's items in another order"

        # The memory model: the receive numbered k begins before the send numbered k + capacity ends.
        begun = sorted(receive.begun for _, receive in pairs)
        ended = sorted(event.ended for event, _ in pairs)
        for number in range(capacity, len(pairs)):
            assert begun[number - capacity] < ended[number], "more was sent than there was room for"
        # And it ends after the send numbered k has begun.
        for event, receive in pairs:
            assert receive.ended > event.begun, "received before it was sent"


@settings(
    max_examples=300,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # what depends on the order of threads cannot be shrunk
    suppress_health_check=list(HealthCheck),
)
@given(programs())
def test_what_threads_see_of_each_other_is_what_go_allows(program: Program) -> None:
    channels: list[Channel[Any]] = [Channel(capacity) for capacity in program.capacities]
    clock = itertools.count()
    barrier = threading.Barrier(len(program.threads), timeout=LIMIT)

    def start(thread: int, steps: Sequence[Step]) -> list[Event]:
        barrier.wait()
        return run(thread, steps, channels, clock)

    with switching_often():
        running = [go(start, thread, steps) for thread, steps in enumerate(program.threads)]
        # Once nobody can go on by himself, the channels are closed; then all do.
        until(lambda: sum(not future.done() for future in running) <= parked(channels), "the threads to end or park")
        closes = [Step("close", (place,)) for place in range(len(channels))]
        history = run(-1, closes, channels, clock)
        for future in running:
            history += future.result(LIMIT)
    leftovers = [Step("receive_pending", (place,), 0) for place in range(len(channels))]
    history += run(-1, leftovers, channels, clock)
    for channel in channels:
        assert channel.statistics() == ChannelStatistics(0, channel.capacity, 0, 0, True)
        assert not channel._receivers
    check(program.capacities, history)
