"""The check of exercise 8: your own select over two channels."""

from __future__ import annotations

import ast
from typing import Any

from threadchat.exercises.checks.helpers import Start, known, must_sleep, settle
from threadchat.exercises.outcome import Code, Outcome, Sleeper
from threadchat.exercises.schedule import Failed
from threadchat.exercises.standins import Event, Lock
from threadchat.exercises.verdict import Scenario

TURNS = 60


def one_is_ready(code: Code) -> None:
    first, second = code.Channel(), code.Channel()
    second.send("news")
    _expect(code.select(first, second), second, "news")
    first.send("more")
    _expect(code.select(first, second), first, "more")


def nothing_is_ready_yet(code: Code) -> None:
    first, second = code.Channel(), code.Channel()
    for channel in (second, first):
        selecting = Start("selecting", code.select, first, second)
        settle()
        must_sleep(selecting, "an item")
        channel.send("news")
        _expect(selecting.join(), channel, "news")
        left = [name for name, each in (("first", first), ("second", second)) if each.receivers]
        if left:
            raise Failed(
                f"The select has returned, and still stands in the line of its {left[0]} channel.",
                "a place left behind",
            )


def it_meets_a_sender(code: Code) -> None:
    first, second = code.Channel(), code.Channel()
    selecting = Start("selecting", code.select, first, second)
    sender = Start("sender", second.send, "news")
    sender.join()
    _expect(selecting.join(), second, "news")


def two_senders_at_once(code: Code) -> None:
    first, second = code.Channel(), code.Channel()
    selecting = Start("selecting", lambda: [code.select(first, second), code.select(first, second)])
    senders = [Start("sender 1", first.send, "one"), Start("sender 2", second.send, "two")]
    for sender in senders:
        sender.join()
    got = selecting.join() or []
    if sorted(str(item) for _, item in got) != ["one", "two"]:
        raise Failed(
            "Two threads sent 'one' and 'two' over the two channels. Two selects, one after the other, returned "
            f"{' and '.join(repr(item) for _, item in got)}."
        )


def both_are_always_ready(code: Code) -> None:
    first, second = code.Channel(), code.Channel()
    for number in range(TURNS):
        first.send(number)
        second.send(number)
    chosen = [code.select(first, second)[0] for _ in range(TURNS)]
    for name, channel in (("first", first), ("second", second)):
        if channel not in chosen:
            raise Failed(
                f"Both channels had items all the time. In {TURNS} selects, the {name} channel was never chosen.",
                "starvation",
            )


def _expect(got: Any, channel: Any, item: str) -> None:
    if not isinstance(got, tuple) or len(got) != 2:
        raise Failed(f"`select` should return a tuple: the channel and the item. It returned {got!r}.")
    if got[0] is not channel or got[1] != item:
        which = "that channel" if got[0] is channel else "another channel" if got[0] is not None else "no channel"
        raise Failed(f"{item!r} was sent over one of two channels. `select` returned {which} and {got[1]!r}.")


def _under_the_lock(outcome: Outcome) -> bool:
    asleep = {each.task for each in outcome.asleep}
    held = [each.task.waits_for for each in outcome.asleep if isinstance(each.task.waits_for, Lock)]
    return any(lock.holder in asleep for lock in held)


def _selecting_sleeps(outcome: Outcome) -> bool:
    selecting = outcome.sleeper("selecting")
    return outcome.deadlock and selecting is not None and isinstance(selecting.task.waits_for, Event)


def _one_channel(outcome: Outcome) -> bool:
    """Whether a thread sleeps in the `receive` of one channel that `select` has called."""
    functions = [_functions(each, outcome.code.file) for each in outcome.asleep]
    return outcome.deadlock and any({"receive", "select"} <= names for names in functions)


def _functions(sleeper: Sleeper, file: str) -> set[str]:
    """The learner's functions inside which the thread is."""
    frame, names = sleeper.task.frame(), set()
    while frame is not None:
        names |= {frame.f_code.co_name} if frame.f_code.co_filename == file else set()
        frame = frame.f_back
    return names


def _not_in_line(outcome: Outcome) -> bool:
    found = outcome.error(ValueError)
    return found is not None and "not in" in str(found[1]) and outcome.source_of(found[2]) == "select"


def _two_places(outcome: Outcome) -> bool:
    parked = [call for call in outcome.code.calls("Parked") if call.lineno in _lines_of_select(outcome)]
    return _selecting_sleeps(outcome) and len(parked) > 1


def _lines_of_select(outcome: Outcome) -> range:
    for node in outcome.code.tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "select":
            return range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return range(0)


MISTAKES = (
    known("asleep under the lock", _under_the_lock),
    known("one after the other", _one_channel),
    known("a second Parked", _two_places),
    known("a lost wake-up", _selecting_sleeps),
    known("not in line any more", _not_in_line, raises=True),
)

SCENARIOS = (
    *(Scenario(run, MISTAKES) for run in (one_is_ready, nothing_is_ready_yet, it_meets_a_sender, two_senders_at_once)),
    Scenario(both_are_always_ready, MISTAKES, orders=3),
)
