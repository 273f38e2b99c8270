"""The check of exercise 5: a timeout, and what becomes of the late ones."""

from __future__ import annotations

from collections.abc import Callable

from threadchat.exercises.checks.helpers import known, now, wait
from threadchat.exercises.outcome import Code, Outcome
from threadchat.exercises.schedule import Failed, schedule
from threadchat.exercises.verdict import POLLING, Scenario

SECONDS = 3.0
LATE = 10.0
A_BIT = 1e-6  # that the sum of many waits may be off
TIMES = {1: "once", 2: "twice", 3: "three times"}


def the_second_is_fastest(code: Code) -> None:
    asked: list[int] = []
    answer = code.fastest(_servers(asked, 2.0, 1.0, 2.5), SECONDS)
    took = now()
    if sorted(set(asked)) != [1, 2, 3] and len(asked) == 3:
        times = " and ".join(f"server {number} {TIMES[asked.count(number)]}" for number in sorted(set(asked)))
        raise Failed(f"Each of three servers should be asked once. You asked {times}.", "a loop variable in a lambda")
    _must_not_poll(3)  # each server's end
    if answer != "answer 2" or took > 1.0 + A_BIT:
        _too_late(took, 1.0, answer)
    wait(LATE)


def nobody_answers_in_time(code: Code) -> None:
    asked: list[int] = []
    answer = code.fastest(_servers(asked, LATE, LATE), SECONDS)
    took = now()
    _must_not_poll(3)  # each server's end
    if took > SECONDS + A_BIT:
        raise Failed(
            f"No server answers within {SECONDS:g} seconds. `fastest` should have returned None then. It "
            f"returned {answer!r} after {_seconds(took)}.",
            "a forgotten timeout",
        )
    if answer is not None or took < SECONDS - A_BIT:
        raise Failed(
            f"No server answers within {SECONDS:g} seconds. `fastest` should return None after that time. It "
            f"returned {answer!r} after {_seconds(took)}."
        )
    _must_not_poll(1)
    wait(LATE)


def _must_not_poll(naps: int) -> None:
    """Fail if the clock has jumped more often than this: a thread has looked again and again."""
    if schedule().naps > naps:
        said = "A thread wakes by itself, again and again, to look whether there is an answer. "
        raise Failed(said + POLLING, "polling")


def _seconds(number: float) -> str:
    return "1 second" if abs(number - 1) < A_BIT else f"{number:.4g} seconds"


def _too_late(took: float, due: float, answer: object) -> None:
    text = (
        f"Three servers take 2, 1 and 2.5 seconds. `fastest` should return 'answer 2' after {_seconds(due)}. It "
        f"returned {answer!r} after {_seconds(took)}."
    )
    name = {5.5: "one after the other", 2.0: "one after the other", 2.5: "waits for all", 3.0: "waits for all"}
    raise Failed(text, name.get(took, ""))


def _servers(asked: list[int], *seconds: float) -> list[Callable[[], str]]:
    def server(number: int, delay: float) -> Callable[[], str]:
        def ask() -> str:
            asked.append(number)
            wait(delay)
            return f"answer {number}"

        return ask

    return [server(number, delay) for number, delay in enumerate(seconds, 1)]


def _leaked(outcome: Outcome) -> bool:
    return not outcome.deadlock and any(each.line and each.does("send") for each in outcome.asleep)


MISTAKES = (known("a leaked sender", _leaked),)

SCENARIOS = (Scenario(the_second_is_fastest, MISTAKES), Scenario(nobody_answers_in_time, MISTAKES))
