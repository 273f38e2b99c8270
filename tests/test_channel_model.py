"""Channels step by step against a model that knows which threads are parked, in which line, and who is served next.

tests/parity compares whole programs with the Go specification, which says nothing of lines. Here each step is over
before the next one begins, so the model can say after each step which threads wait where, and which have what outcome.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from channels import nobody_in_line
from helpers import FAR, LIMIT, go, until
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from threadchat.channel import Case, Channel, ChannelStatistics, Closed, Send, WouldBlock, select

SOON = 0.001  # seconds; a timeout that passes while nothing happens
NEVER = [None, FAR]  # timeouts that do not pass
TIMEOUTS = st.sampled_from([*NEVER * 4, SOON, 0, -1])  # mostly such that threads park

# Outcomes, to be compared. An item that was received is its own outcome.
SENT = "sent"
PASSED = "the timeout has passed"
BLOCKS = "would block"
DEFAULT = "default"


def closed(place: int) -> tuple[str, int]:
    return ("closed", place)


@dataclass(eq=False)
class Step:
    """One case of an operation: a send of `item` to the channel at `place`, or a receive from it."""

    kind: str  # send or receive
    place: int
    item: int = -1


def selected(step: Step, outcome: object) -> tuple[Any, ...]:
    """The outcome of a select that chose this step. Two receives from one channel are alike, two sends are not."""
    if isinstance(outcome, tuple):
        return outcome
    return ("sent", step.item) if step.kind == "send" else ("received", step.place, outcome)


@dataclass(eq=False)
class Operation:
    """What one thread does: a send, a receive, or a select of both. `outcome` is None while it is parked."""

    future: Future[Any]
    steps: Sequence[Step]
    read: Callable[[Any], object]  # makes the outcome of what the thread returned
    selects: bool = False
    outcome: object = None


@dataclass(eq=False)
class Line:
    """A channel."""

    capacity: int
    buffer: deque[int] = field(default_factory=deque)
    senders: list[tuple[Operation, Step]] = field(default_factory=list)
    receivers: list[tuple[Operation, Step]] = field(default_factory=list)
    closed: bool = False

    def ready(self, kind: str) -> bool:
        if kind == "send":
            return self.closed or bool(self.receivers) or len(self.buffer) < self.capacity
        return self.closed or bool(self.buffer or self.senders)

    def statistics(self) -> ChannelStatistics:
        senders = {operation for operation, _ in self.senders}
        receivers = {operation for operation, _ in self.receivers}
        return ChannelStatistics(len(self.buffer), self.capacity, len(senders), len(receivers), self.closed)


class Machine(RuleBasedStateMachine):
    """Each rule does the same to the channels and to the model. What may block runs in a thread of its own.

    Only the choice of a select among several ready cases is left to chance. There the model follows.
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
        step = Step("send", self.draw_place(data), next(self.items))
        future = go(self.channels[step.place].send, step.item)
        operation = Operation(future, [step], lambda _: SENT)
        if self.lines[step.place].ready("send"):
            assert self.outcome(operation) == self.proceed(step)
        else:
            self.park(operation)

    @rule(data=st.data())
    def send_nowait(self, data: st.DataObject) -> None:
        step = Step("send", self.draw_place(data), next(self.items))
        future = go(self.channels[step.place].send_nowait, step.item)
        expected = self.proceed(step) if self.lines[step.place].ready("send") else BLOCKS
        assert self.outcome(Operation(future, [step], lambda _: SENT)) == expected

    @rule(data=st.data(), count=st.integers(0, 4))
    def send_what_fits(self, data: st.DataObject, count: int) -> None:
        place = self.draw_place(data)
        steps = [Step("send", place, next(self.items)) for _ in range(count)]
        future = go(self.channels[place].send_what_fits, [step.item for step in steps])
        rest: object = closed(place)
        if not self.lines[place].closed:
            while steps and self.lines[place].ready("send"):
                self.proceed(steps.pop(0))
            rest = [step.item for step in steps]
        assert self.outcome(Operation(future, [], list)) == rest

    @rule(data=st.data())
    def take_pending(self, data: st.DataObject) -> None:
        step = Step("receive", self.draw_place(data))
        line = self.lines[step.place]
        future = go(self.channels[step.place].take_pending)
        items = []
        while line.buffer or line.senders:
            items.append(self.proceed(step))
        assert self.outcome(Operation(future, [], list)) == items

    @rule(data=st.data(), timeout=TIMEOUTS)
    def receive(self, data: st.DataObject, timeout: float | None) -> None:
        step = Step("receive", self.draw_place(data))
        operation = Operation(go(self.channels[step.place].receive, timeout), [step], lambda item: item)
        if self.lines[step.place].ready("receive"):
            assert self.outcome(operation) == self.proceed(step)
        elif timeout in NEVER:
            self.park(operation)
        else:
            assert self.outcome(operation) == PASSED

    @rule(data=st.data(), timeout=TIMEOUTS, default=st.sampled_from([False, False, False, True]), nil=st.booleans())
    def select(self, data: st.DataObject, timeout: float | None, default: bool, nil: bool) -> None:
        """Any number of cases, the same channel several times and in both directions, and a nil channel."""
        draw_step = st.tuples(st.sampled_from(["send", "receive"]), st.sampled_from(range(len(self.lines))))
        drawn = data.draw(st.lists(draw_step, min_size=1, max_size=4), label="steps")
        steps = [Step(kind, place, next(self.items)) for kind, place in drawn]
        cases: list[Case] = [
            Send(self.channels[step.place], step.item) if step.kind == "send" else self.channels[step.place]
            for step in steps
        ]

        def read(returned: tuple[Case, Any]) -> object:
            if returned == (None, None):
                return DEFAULT
            case, item = returned
            step = next(step for step, known in zip(steps, cases, strict=True) if known is case)
            return selected(step, SENT if isinstance(case, Send) else item)

        nothing: list[Case] = [None, Send(None, -1)] if nil else []
        operation = Operation(go(select, *nothing, *cases, default=default, timeout=timeout), steps, read, selects=True)
        ready = [step for step in steps if self.lines[step.place].ready(step.kind)]
        if ready:
            outcome = self.outcome(operation)
            chosen = next(step for step in ready if self.may_have(step, outcome))
            assert selected(chosen, self.proceed(chosen)) == outcome
        elif default:
            assert self.outcome(operation) == DEFAULT
        elif timeout in NEVER:
            self.park(operation)
        else:
            assert self.outcome(operation) == PASSED

    @rule(data=st.data(), really=st.integers(0, 9))
    def close(self, data: st.DataObject, really: int) -> None:
        if not really:  # now and then: little can be done with a closed channel
            self.close_channel(self.draw_place(data))

    def close_channel(self, place: int) -> None:
        line = self.lines[place]
        closing = Operation(go(self.channels[place].close), [], lambda _: None)
        if line.closed:
            assert self.outcome(closing) == closed(place)
            return
        line.closed = True
        for operation, _ in [*line.receivers, *line.senders]:
            self.finish(operation, closed(place))
        assert self.outcome(closing) is None

    # What the model does

    def proceed(self, step: Step) -> object:
        """Do what the step says, which is ready. Returns the outcome: SENT, an item, or closed(...)."""
        line = self.lines[step.place]
        if step.kind == "send":
            if line.closed:
                return closed(step.place)
            if line.receivers:
                self.serve(*line.receivers[0], step.item)
            else:
                line.buffer.append(step.item)
            return SENT
        if line.senders:
            operation, sending = line.senders[0]
            line.buffer.append(sending.item)
            self.serve(operation, sending, SENT)
        return line.buffer.popleft() if line.buffer else closed(step.place)

    def serve(self, operation: Operation, step: Step, outcome: object) -> None:
        self.finish(operation, selected(step, outcome) if operation.selects else outcome)

    def may_have(self, step: Step, outcome: object) -> bool:
        """Whether a select with this outcome may have chosen this step."""
        line = self.lines[step.place]
        if line.closed and (step.kind == "send" or not line.buffer):
            return outcome == closed(step.place)
        return isinstance(outcome, tuple) and outcome[:2] == selected(step, None)[:2]

    def finish(self, operation: Operation, outcome: object) -> None:
        """Its thread has an outcome, and leaves all lines."""
        if operation.outcome is None:
            operation.outcome = outcome
        for line in self.lines:
            line.senders = [each for each in line.senders if each[0] is not operation]
            line.receivers = [each for each in line.receivers if each[0] is not operation]

    def park(self, operation: Operation) -> None:
        self.parked.append(operation)
        for step in operation.steps:
            line = self.lines[step.place]
            (line.senders if step.kind == "send" else line.receivers).append((operation, step))
        until(lambda: self.statistics() == self.expected() or operation.future.done(), "the thread to park")

    # What the channels do

    def draw_place(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(range(len(self.lines))), label="place")

    def outcome(self, operation: Operation) -> object:
        try:
            return operation.read(operation.future.result(LIMIT))
        except Closed as error:
            return closed(next(place for place, known in enumerate(self.channels) if known is error.channel))
        except WouldBlock:
            return BLOCKS
        except TimeoutError:
            assert operation.future.done(), "it hangs"
            return PASSED

    def statistics(self) -> list[ChannelStatistics]:
        return [channel.statistics() for channel in self.channels]

    def expected(self) -> list[ChannelStatistics]:
        return [line.statistics() for line in self.lines]

    @invariant()
    def the_channels_and_the_threads_are_where_the_model_says(self) -> None:
        for operation in self.parked:
            if operation.outcome is not None:
                assert self.outcome(operation) == operation.outcome
        self.parked = [operation for operation in self.parked if operation.outcome is None]
        assert not any(operation.future.done() for operation in self.parked)
        assert self.statistics() == self.expected()
        assert [len(channel) for channel in self.channels] == [len(line.buffer) for line in self.lines]
        # No thread stands in a line that it should have left.
        for channel, line in zip(self.channels, self.lines, strict=True):
            assert len(channel._senders) == len(line.senders)
            assert len(channel._receivers) == len(line.receivers)

    def teardown(self) -> None:
        try:
            for place, line in enumerate(self.lines):
                if not line.closed:
                    self.close_channel(place)
        finally:  # after a failure too, no thread stays behind
            for channel in self.channels:
                with suppress(Closed):
                    channel.close()
        self.the_channels_and_the_threads_are_where_the_model_says()
        assert not self.parked
        assert nobody_in_line(*self.channels)
        for channel, line in zip(self.channels, self.lines, strict=True):
            assert list(channel) == list(line.buffer)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a failure often hangs until a limit; to shrink it would take many minutes
    suppress_health_check=list(HealthCheck),
)
