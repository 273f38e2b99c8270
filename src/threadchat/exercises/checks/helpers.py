"""What the checks share: threads that return something, and waiting until nothing moves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Generic, TypeVar

from threadchat.channel import Channel
from threadchat.exercises.outcome import Code, Outcome, at
from threadchat.exercises.schedule import Failed, Task, schedule
from threadchat.exercises.standins import Thread
from threadchat.exercises.verdict import POLLING, Finding, Mistake

T = TypeVar("T")


class Start(Generic[T]):
    """Starts a thread of that name which calls the function. `value` is what it returned, `done` whether it has."""

    value: T

    def __init__(self, name: str, function: Callable[..., T], *arguments: Any) -> None:
        self.done = False

        def call() -> None:
            self.value = function(*arguments)
            self.done = True

        self.thread = Thread(target=call, name=name, daemon=True)
        self.thread.start()

    def join(self) -> T | None:
        """Wait for the end of the thread. Returns None if it raised an error, which the verdict tells."""
        self.thread.join()
        return self.value if self.done else None


def call_it(channel: Channel[Any], name: str) -> None:
    """Let reports about the check's own threads call the channel so."""
    schedule().names[id(channel)] = name


def settle() -> None:
    """Let all other threads run until they sleep for ever, or for longer than a millisecond."""
    schedule().sleep("time", 0.001)


def wait(seconds: float) -> None:
    """Let that time pass, on the schedule's clock."""
    schedule().sleep("time", seconds)


def known(name: str, applies: Callable[[Outcome], object], raises: bool = False) -> Mistake:
    """The mistake of that name, for runs to which this applies. What it is about is in the card.

    `raises` says that it may show in an error that the learner's code raised. Otherwise such an error comes first.
    """

    def mistake(outcome: Outcome) -> Finding | None:
        if (outcome.raised() and not raises) or not applies(outcome):
            return None
        return Finding(tuple(outcome.facts()), name)

    return mistake


INBOXES = ("register", "unregister", "broadcast")


def make_hub(code: Code) -> Any:
    """The learner's hub. From now on the schedule notes which threads use its set of clients, and in which lines."""
    hub_class = code.Hub

    class Hub(hub_class):  # type: ignore[misc, valid-type]
        @property
        def clients(self) -> Any:
            _touch(code.file)
            if "clients" not in vars(self):
                raise AttributeError("the hub has no `clients` any more")
            return vars(self)["clients"]

        @clients.setter
        def clients(self, value: Any) -> None:
            _touch(code.file)
            self.__dict__["clients"] = value

    hub = Hub()
    schedule().touches.clear()  # `__init__` is called by the check
    for name in INBOXES:
        if isinstance(inbox := getattr(hub, name, None), Channel):
            call_it(inbox, name)
    return hub


def _touch(file: str) -> None:
    """Note that a line of this file uses the set."""
    frame: FrameType | None = sys._getframe(2)
    lines: list[int] = []
    while frame is not None and frame.f_code.co_filename == file:
        lines += [frame.f_lineno] if lines[-1:] != [frame.f_lineno] else []
        frame = frame.f_back
    if lines and (me := schedule().current):
        schedule().touches.setdefault(me.name, lines)


def shares_the_set(outcome: Outcome) -> Finding | None:
    """A known mistake: two or more threads use the hub's set."""
    touches = outcome.schedule.touches
    if len(touches) < 2:
        return None
    owner = "hub" if "hub" in touches else next(iter(touches))
    other, lines = next((name, lines) for name, lines in touches.items() if name != owner)
    called = f", called from {at(outcome, lines[1])}" if len(lines) > 1 else ""
    who = "main (the check)" if other == "main" else other
    said = f"The thread {who} uses `clients` at {at(outcome, lines[0])}{called}. So does the thread {owner}."
    return Finding((said,), "the set belongs to the hub's thread")


def must_sleep(started: Start[Any], for_what: str) -> None:
    """Fail if the thread wakes by itself, to look, while nothing has happened. To be called after `settle`."""
    if started.thread.task:
        _must_sleep(started.thread.task, for_what)


def all_must_sleep(for_what: str) -> None:
    """The same for all threads but the check's own."""
    for task in schedule().tasks[1:]:
        _must_sleep(task, for_what)


def _must_sleep(task: Task, for_what: str) -> None:
    if task.until is not None:
        raise Failed(
            f"{task.name} waits for {for_what}, and wakes by itself after some time to look whether it is there. "
            + POLLING,
            "polling",
        )


def now() -> float:
    """The schedule's clock: 0 at the beginning of a run."""
    return schedule().now
