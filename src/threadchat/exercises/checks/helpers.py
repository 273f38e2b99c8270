"""What the checks share: threads that return something, and waiting until nothing moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from threadchat.channel import Channel
from threadchat.exercises.outcome import Outcome
from threadchat.exercises.schedule import Failed, schedule
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


def must_sleep(started: Start[Any], for_what: str) -> None:
    """Fail if the thread wakes by itself, to look, while nothing has happened. To be called after `settle`."""
    task = started.thread.task
    if task and task.until is not None:
        raise Failed(
            f"{task.name} waits for {for_what}, and wakes by itself after some time to look whether it is there. "
            + POLLING,
            "polling",
        )


def now() -> float:
    """The schedule's clock: 0 at the beginning of a run."""
    return schedule().now
