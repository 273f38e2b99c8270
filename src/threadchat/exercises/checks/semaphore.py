"""The check of exercise 6: a semaphore from a channel."""

from __future__ import annotations

from threadchat.exercises.checks.helpers import Start, known, now, wait
from threadchat.exercises.outcome import Code, Outcome
from threadchat.exercises.schedule import Failed, schedule
from threadchat.exercises.verdict import Scenario


def five_jobs_two_at_a_time(code: Code) -> None:
    limit = code.Limit(2)
    inside: list[int] = []
    most: list[int] = []

    def job(number: int) -> int:
        inside.append(number)
        most.append(len(inside))
        if len(inside) > 2:
            schedule().mark()
        wait(1)
        inside.remove(number)
        return number

    def call(number: int) -> int:
        result: int = limit.run(lambda: job(number))
        return result

    callers = [Start(f"caller {number}", call, number) for number in range(1, 6)]
    results = [caller.join() for caller in callers]
    if max(most) > 2:
        raise Failed(f"{max(most)} threads were inside at once. At most 2 may be.", _why_too_many(code, max(most)))
    if results != [1, 2, 3, 4, 5]:
        raise Failed(
            f"`run` should return what the job returns. The jobs return 1, 2, 3, 4, 5; `run` returned {results}."
        )
    if now() > 3.5:
        raise Failed(f"Five jobs of one second each, two at a time, take 3 seconds. Here they took {now():g}.")


def with_a_channel(code: Code) -> None:
    five_jobs_two_at_a_time(code)
    if not schedule().uses:
        raise Failed(
            "At most two threads were inside at once, and no channel was used: the exercise is to do it with one.",
            "no channel",
        )


def a_job_that_fails(code: Code) -> None:
    limit = code.Limit(1)

    def fail() -> None:
        raise ValueError("the job has failed")

    def call() -> str:
        try:
            limit.run(fail)
        except ValueError:
            return "raised"
        return "nothing raised"

    first = Start("caller 1", call)
    if first.join() != "raised":
        raise Failed("The job raised ValueError. `run` should let it through to its caller.")
    second = Start("caller 2", lambda: limit.run(lambda: "done"))
    second.join()


def _why_too_many(code: Code, most: int) -> str:
    made_in_run = any(call.lineno > _line_of_run(code) for call in code.calls("Channel"))
    if made_in_run:
        return "a channel for each call"
    return "one place too many" if code.calls("Channel") and most == 3 else "check then act"


def _line_of_run(code: Code) -> int:
    line: int = code.Limit.run.__code__.co_firstlineno
    return line


def _kept(outcome: Outcome) -> bool:
    second = outcome.sleeper("caller 2")
    return outcome.deadlock and second is not None and len(outcome.asleep) == 2


def _wrong_way(outcome: Outcome) -> bool:
    first = outcome.sleeper("caller 1")
    return outcome.deadlock and first is not None and first.does("receive")


MISTAKES = (known("the wrong way round", _wrong_way), known("a forgotten release", _kept))

SCENARIOS = (
    Scenario(five_jobs_two_at_a_time, MISTAKES),
    Scenario(a_job_that_fails, MISTAKES),
    Scenario(with_a_channel, MISTAKES, last=True),
)
