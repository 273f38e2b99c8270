"""All outcomes that the Go specification allows for a program: the rules of channels as a small transition system.

A state is where each goroutine stands and what each channel holds. A step is one operation of one goroutine, or the
rendezvous of two goroutines at an unbuffered channel. Any goroutine that can take a step may take the next one. A
goroutine may also pause before an operation for as long as it likes, so no other goroutine can tell whether it is
parked there already. The model therefore needs no lines of parked goroutines. It follows every path, and computes what
may come after a state only once.

The sections of the specification: "Channel types", "Send statements", "Receive operator", "Select statements", "For
statements with range clause", "Close", "Length and capacity", "Making slices, maps and channels".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from parity.language import Operation, Program

SEND_ON_CLOSED = "panic: send on closed channel"
CLOSE_OF_CLOSED = "panic: close of closed channel"
CLOSE_OF_NIL = "panic: close of nil channel"
BAD_CAPACITY = "panic: makechan: size out of range"


class Channel(NamedTuple):
    """A channel that is not nil."""

    capacity: int
    items: tuple[int, ...] = ()
    closed: bool = False


class State(NamedTuple):
    """The number of each goroutine's next operation, the channels, and the variable x."""

    at: tuple[int, ...]
    channels: tuple[Channel | None, ...]
    x: int = 0


Observations = dict[int, str]  # what goroutines observe in a step, by the goroutine's number
Logs = tuple[tuple[str, ...], ...]  # what each goroutine observes, from a state on


def outcomes(program: Program) -> set[str]:
    """All outcomes that the specification allows."""
    return Model(program).outcomes()


class Model:
    """A program, and the steps that can be taken in it."""

    def __init__(self, program: Program) -> None:
        self.goroutines = program["goroutines"]
        self.places = {name: place for place, name in enumerate(program["channels"])}
        made = (None if capacity is None else Channel(capacity) for capacity in program["channels"].values())
        self.start = State((0,) * len(self.goroutines), tuple(made))
        self._known: dict[State, frozenset[Logs]] = {}

    def outcomes(self) -> set[str]:
        return {" | ".join(map("; ".join, logs)) for logs in self.futures(self.start)}

    def futures(self, state: State) -> frozenset[Logs]:
        """Everything that the goroutines may observe from this state on."""
        if state not in self._known:
            futures = {
                tuple((observed[g], *log) if g in observed else log for g, log in enumerate(future))
                for after, observed in self.steps(state)
                for future in self.futures(after)
            }
            self._known[state] = frozenset(futures) or frozenset([self.end(state)])
        return self._known[state]

    def end(self, state: State) -> Logs:
        """The end of the logs where no step is left: goroutines that have not ended are blocked for ever."""
        return tuple(("blocked",) if self.operation(state, g) else () for g in range(len(self.goroutines)))

    def operation(self, state: State, g: int) -> Operation | None:
        """The next operation of goroutine `g`; None if it has ended."""
        operations = self.goroutines[g]
        return operations[state.at[g]] if state.at[g] < len(operations) else None

    def steps(self, state: State) -> Iterator[tuple[State, Observations]]:
        """Each step that may be the next one: the state after it, and what goroutines observe in it."""
        for g in range(len(self.goroutines)):
            operation = self.operation(state, g)
            if operation is None:
                continue
            if operation["do"] not in ("send", "receive", "range", "select"):
                after, observation = self.perform(state, operation)
                yield self.advance(after, g, observation), {g: observation}
                continue
            for case in cases(operation):
                if done := self.communicate(state, case):
                    observation = label(operation, case, done[1])
                    yield self.advance(done[0], g, observation), {g: observation}
            if operation.get("default") and not self.ready(state, operation):
                yield self.advance(state, g, "default"), {g: "default"}
            for other in range(len(self.goroutines)):
                if other != g:
                    yield from self.rendezvous(state, g, other)

    def communicate(self, state: State, case: Operation) -> tuple[State, str] | None:
        """Do a send or a receive that needs no other goroutine. Returns None if it cannot proceed."""
        channel = self.channel(state, case)
        if channel is None:
            return None  # "a send on a nil channel blocks forever", and so does a receive
        if case["do"] == "send":
            if channel.closed:
                return state, SEND_ON_CLOSED
            if len(channel.items) < channel.capacity:
                return self.update(state, case, items=(*channel.items, case["item"])), "sent"
        elif channel.items:
            return self.update(state, case, items=channel.items[1:]), f"got {channel.items[0]}"
        elif channel.closed:
            return state, "zero"
        return None

    def rendezvous(self, state: State, sender: int, receiver: int) -> Iterator[tuple[State, Observations]]:
        """The steps in which two goroutines meet at an unbuffered channel: one arrives where the other is parked."""
        sending, receiving = self.operation(state, sender), self.operation(state, receiver)
        if sending is None or receiving is None:
            return
        if not (self.may_park(state, sending) or self.may_park(state, receiving)):
            return
        for send in cases(sending):
            channel = self.channel(state, send)
            if send["do"] != "send" or channel is None or channel.capacity or channel.closed:
                continue
            for receive in cases(receiving):
                if receive["do"] != "send" and receive["channel"] == send["channel"]:
                    sent, got = label(sending, send, "sent"), label(receiving, receive, f"got {send['item']}")
                    after = self.advance(self.advance(state, sender, sent), receiver, got)
                    yield after, {sender: sent, receiver: got}

    def ready(self, state: State, operation: Operation) -> bool:
        """Whether one of the operation's communications can proceed without another goroutine."""
        return any(self.communicate(state, case) for case in cases(operation))

    def may_park(self, state: State, operation: Operation) -> bool:
        """Whether a goroutine at this operation may be parked, waiting for another goroutine."""
        return bool(cases(operation)) and not operation.get("default") and not self.ready(state, operation)

    def perform(self, state: State, operation: Operation) -> tuple[State, str]:
        """An operation that never blocks."""
        match operation["do"]:
            case "make":
                return state, f"cap {operation['capacity']}" if operation["capacity"] >= 0 else BAD_CAPACITY
            case "write":
                return state._replace(x=operation["item"]), "wrote"
            case "read":
                return state, f"x is {state.x}"
        channel = self.channel(state, operation)
        match operation["do"]:
            case "len":
                return state, f"len {0 if channel is None else len(channel.items)}"
            case "cap":
                return state, f"cap {0 if channel is None else channel.capacity}"
            case "close":
                if channel is None:
                    return state, CLOSE_OF_NIL
                if channel.closed:
                    return state, CLOSE_OF_CLOSED
                return self.update(state, operation, closed=True), "closed"
        raise ValueError(f"there is no operation {operation['do']}")

    def advance(self, state: State, g: int, observation: str) -> State:
        """Move goroutine `g` on after an observation: to its next operation, or to its end if it has panicked.

        A range that has received an item stays at its operation.
        """
        operation = self.operation(state, g)
        assert operation
        at = state.at[g] + 1
        if observation.startswith("panic"):
            at = len(self.goroutines[g])
        elif operation["do"] == "range" and observation != "ends":
            at = state.at[g]
        return state._replace(at=(*state.at[:g], at, *state.at[g + 1 :]))

    def channel(self, state: State, operation: Operation) -> Channel | None:
        return state.channels[self.places[operation["channel"]]]

    def update(self, state: State, operation: Operation, **change: object) -> State:
        """Change the channel of an operation."""
        place = self.places[operation["channel"]]
        channel = state.channels[place]
        assert channel
        changed = channel._replace(**change)  # type: ignore[arg-type]
        return state._replace(channels=(*state.channels[:place], changed, *state.channels[place + 1 :]))


def cases(operation: Operation) -> list[Operation]:
    """The sends and receives of an operation, one of which is to proceed."""
    if operation["do"] == "select":
        found: list[Operation] = operation["cases"]
        return found
    return [operation] if operation["do"] in ("send", "receive", "range") else []


def label(operation: Operation, case: Operation, observation: str) -> str:
    """What a goroutine observes of a send or a receive. A select adds the case; a range ends at the zero value."""
    if observation == SEND_ON_CLOSED:
        return observation
    if operation["do"] == "range" and observation == "zero":
        return "ends"
    if operation["do"] == "select":
        arrow = f"{case['channel']}<-{case['item']}" if case["do"] == "send" else f"<-{case['channel']}"
        return f"{arrow}: {observation}"
    return observation
