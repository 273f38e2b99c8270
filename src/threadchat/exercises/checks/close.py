"""The check of exercise 3: close and range."""

from __future__ import annotations

from threadchat.channel import Channel, Closed
from threadchat.exercises.checks.helpers import Start, call_it, known
from threadchat.exercises.outcome import Code, Outcome
from threadchat.exercises.schedule import Failed
from threadchat.exercises.verdict import Scenario

TEXT = "one\ntwo\n\nfour\nfive"  # an empty line is a line


def two_counters(code: Code) -> None:
    _read_and_count(code, TEXT, 2)


def no_lines(code: Code) -> None:
    _read_and_count(code, "", 2)


def _read_and_count(code: Code, text: str, counters: int) -> None:
    lines: Channel[str] = Channel(1)
    totals: Channel[int] = Channel()
    call_it(lines, "lines")
    call_it(totals, "totals")
    reader = Start("reader", code.read, text, lines)
    for number in range(1, counters + 1):
        Start(f"counter {number}", code.count, lines, totals)
    found = [totals.receive() for _ in range(counters)]
    reader.join()
    expected = len(text.splitlines())
    if sum(found) != expected:
        raise Failed(f"The text has {expected} lines. The counters say {' and '.join(map(str, found))}.")


def _counter_sleeps(outcome: Outcome) -> bool:
    return outcome.deadlock and any(each.name.startswith("counter") and each.does("receive") for each in outcome.asleep)


def _closers(outcome: Outcome, channel: str) -> set[str]:
    """The threads that have closed the channel of this name."""
    schedule = outcome.schedule
    named = [each for key, (each, _) in schedule.uses.items() if schedule.names.get(key) == channel]
    return {name for each in named for name in schedule.users(each, "close")}


def _forgotten(outcome: Outcome) -> bool:
    failed = any(task.error for task in outcome.schedule.tasks)
    return _counter_sleeps(outcome) and not _closers(outcome, "lines") and not failed


def _one_counter_ended(outcome: Outcome) -> bool:
    counters = [task for task in outcome.schedule.tasks if task.name.startswith("counter")]
    return _forgotten(outcome) and any(task.ended or outcome.sleeper(task.name) is None for task in counters)


def _wrong_side(outcome: Outcome) -> bool:
    counter_closes = any(name.startswith("counter") for name in _closers(outcome, "lines"))
    return counter_closes and outcome.error(Closed) is not None


def _one_of_several(outcome: Outcome) -> bool:
    return bool(_closers(outcome, "totals")) and outcome.error(Closed) is not None


def _too_early(outcome: Outcome) -> bool:
    error = outcome.error(Closed)
    return error is not None and error[0].name == "reader"


MISTAKES = (
    known("close by the wrong side", _wrong_side, raises=True),
    known("close by one of several senders", _one_of_several, raises=True),
    known("close before the last send", _too_early, raises=True),
    known("an end mark instead of a close", _one_counter_ended),
    known("a forgotten close", _forgotten),
)

SCENARIOS = (Scenario(two_counters, MISTAKES), Scenario(no_lines, MISTAKES))
