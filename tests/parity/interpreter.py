"""An interpreter of small concurrent programs, in Python. interpreter.go beside it does the same with Go's channels.

Reads programs from standard input, one JSON object a line, runs each as often as it asks for, and answers with one line
of JSON: how often each outcome was seen. An outcome says what each goroutine observed, and how it ended:

    sent; closed | got 1; ends | blocked
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from parity.language import Operation, Program

from threadchat.channel import Channel, Closed, Send, select

Channels = dict[str, Channel[int] | None]  # None is the nil channel

LIMIT = 20.0  # seconds; a run that takes longer has lost a goroutine, which was woken and did not go on


@dataclass
class Shared:
    """What the goroutines of one run share."""

    channels: Channels
    x: int = 0  # the one variable


@dataclass(eq=False)
class Goroutine:
    """A goroutine of one run. Its log says what it observed, operation by operation."""

    shared: Shared
    log: list[str] = field(default_factory=list)
    ended: bool = False
    waiting: list[Operation] | None = None  # see `communications`; a new list for each operation

    def run(self, operations: list[Operation]) -> None:
        """Perform the operations one after the other. A panic ends it, and is the last that it logs."""
        try:
            for operation in operations:
                while random.random() < 0.5:
                    time.sleep(0)  # so that each run has an order of its own
                self.waiting = communications(operation)
                self.perform(operation)
                self.waiting = None
        except Exception as panic:
            self.observe(f"panic: {panic}")
        finally:
            self.ended = True

    def observe(self, observation: str) -> None:
        self.log.append(observation)

    def perform(self, operation: Operation) -> None:
        channel = self.shared.channels.get(operation.get("channel", ""))
        match operation["do"]:
            case "send":
                send(channel, operation["item"])
                self.observe("sent")
            case "receive":
                self.observe(receive(channel))
            case "range":
                for item in items(channel):
                    self.observe(f"got {item}")
                    self.waiting = communications(operation)
                self.observe("ends")
            case "select":
                self.observe(self.select_case(operation))
            case "close":
                close(channel)
                self.observe("closed")
            case "len":
                self.observe(f"len {0 if channel is None else len(channel)}")
            case "cap":
                self.observe(f"cap {0 if channel is None else channel.capacity}")
            case "make":
                self.observe(f"cap {make(operation['capacity']).capacity}")
            case "write":
                self.shared.x = operation["item"]
                self.observe("wrote")
            case "read":
                self.observe(f"x is {self.shared.x}")
            case unknown:
                raise ValueError(f"there is no operation {unknown}")

    def select_case(self, operation: Operation) -> str:
        channels = [self.shared.channels[case["channel"]] for case in operation["cases"]]
        cases: list[Channel[int] | Send[int] | None] = [
            Send(channel, case["item"]) if case["do"] == "send" else channel
            for case, channel in zip(operation["cases"], channels, strict=True)
        ]
        result = "zero"
        try:
            chosen, item = select(*cases, default=operation["default"])
            result = f"got {item}"
        except Closed as closed:
            chosen = closed.case
            if isinstance(chosen, Send):
                raise Panic("send on closed channel") from None
        if chosen is None:
            return "default"
        case = operation["cases"][next(number for number, case in enumerate(cases) if case is chosen)]
        if case["do"] == "send":
            return f"{case['channel']}<-{case['item']}: sent"
        return f"<-{case['channel']}: {result}"


# Go's operations and panics. A nil channel is None here.


class Panic(Exception):
    """What Go panics with."""


def make(capacity: int) -> Channel[int]:
    try:
        return Channel(capacity)
    except ValueError:
        raise Panic("makechan: size out of range") from None


def send(channel: Channel[int] | None, item: int) -> None:
    try:
        if channel is None:
            select(Send(channel, item))
        else:
            channel.send(item)
    except Closed:
        raise Panic("send on closed channel") from None


def receive(channel: Channel[int] | None) -> str:
    try:
        return f"got {select(channel)[1] if channel is None else channel.receive()}"
    except Closed:
        return "zero"


def items(channel: Channel[int] | None) -> Iterator[int]:
    """What a range goes over."""
    if channel is None:
        select(None)
    else:
        yield from channel


def close(channel: Channel[int] | None) -> None:
    if channel is None:
        raise Panic("close of nil channel")
    try:
        channel.close()
    except Closed:
        raise Panic("close of closed channel") from None


# Running a program


def execute(program: Program) -> str:
    """Run the program once, until each goroutine has ended or is blocked for ever. Returns the outcome."""
    capacities = program["channels"].items()
    shared = Shared({name: None if capacity is None else make(capacity) for name, capacity in capacities})
    goroutines = [Goroutine(shared) for _ in program["goroutines"]]
    for number in random.sample(range(len(goroutines)), len(goroutines)):
        operations = program["goroutines"][number]
        threading.Thread(target=goroutines[number].run, args=[operations], daemon=True).start()
    deadline = time.monotonic() + LIMIT
    end = "blocked"
    while not all(goroutine.ended for goroutine in goroutines) and not asleep(goroutines, shared.channels):
        time.sleep(0)
        if time.monotonic() > deadline:
            end = "lost"
            break
    outcome = ["; ".join(g.log if g.ended else [*g.log, end]) for g in goroutines]
    try:
        release(shared.channels)
    except Exception as fault:  # of a channel that is broken: an outcome that no program has
        outcome.append(f"at the end: {fault!r}")
    return " | ".join(outcome)


def asleep(goroutines: list[Goroutine], channels: Channels) -> bool:
    """Whether all goroutines that have not ended are parked at channels, so that none can wake another.

    They are if the channels count as many parked threads as there are goroutines that wait, and no goroutine began
    another operation while the channels were asked, one after the other. (An operation that wakes another goroutine
    does not park.)
    """
    waiting = [goroutine.waiting for goroutine in goroutines if not goroutine.ended]
    parked: Counter[tuple[str, bool]] = Counter()
    for operations in waiting:
        if operations is None:
            return False
        parked.update({(operation["channel"], operation["do"] == "send") for operation in operations})  # a thread once
    for name, channel in channels.items():
        if channel is not None:
            statistics = channel.statistics()
            if statistics.waiting_senders != parked[name, True] or statistics.waiting_receivers != parked[name, False]:
                return False
    still = [goroutine.waiting for goroutine in goroutines if not goroutine.ended]
    return len(still) == len(waiting) and all(now is before for now, before in zip(still, waiting, strict=True))


def communications(operation: Operation) -> list[Operation] | None:
    """The sends and receives of which the operation waits for one; None if it does not wait."""
    if operation["do"] == "select":
        return None if operation["default"] else list(operation["cases"])
    return [operation] if operation["do"] in ("send", "receive", "range") else None


def release(channels: Channels) -> None:
    """Close all channels, which frees the goroutines that are blocked, except at nil channels."""
    for channel in channels.values():
        with suppress(Panic):
            close(channel)


def main() -> None:
    sys.setswitchinterval(1e-5)  # seconds; a thread may have to let another run between any two steps
    for line in sys.stdin:
        program = json.loads(line)
        outcomes = Counter(execute(program) for _ in range(program["runs"]))
        print(json.dumps(outcomes), flush=True)
    os._exit(0)  # without waiting for the threads that are blocked for ever


if __name__ == "__main__":
    main()
