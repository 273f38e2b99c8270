"""The check of exercise 1: a worker and a channel."""

from __future__ import annotations

from threadchat.channel import Channel
from threadchat.exercises.checks.helpers import known
from threadchat.exercises.outcome import Code, Outcome
from threadchat.exercises.schedule import Failed
from threadchat.exercises.verdict import Scenario

LINES = ("hello", "is anybody there?", "bye")


def three_lines(code: Code) -> None:
    lines: Channel[str] = Channel()
    loud: Channel[str] = Channel()
    code.start(lines, loud)
    for line in LINES:
        lines.send(line)
        heard = loud.receive()
        if heard != line.upper():
            raise Failed(f"I sent {line!r} to `lines` and received {heard!r} from `loud`, not {line.upper()!r}.")


def _calls_it_itself(outcome: Outcome) -> bool:
    main = outcome.sleeper("main")
    return outcome.deadlock and main is not None and main.line > 0


def _ended_early(outcome: Outcome) -> bool:
    main = outcome.sleeper("main")
    workers = outcome.schedule.tasks[1:]
    ended = [task for task in workers if task.ended and not task.error]
    return outcome.deadlock and main is not None and main.does("send") and ended == workers != []


SCENARIOS = (
    Scenario(
        three_lines,
        (
            known("no thread of its own", _calls_it_itself),
            known("no loop", _ended_early),
        ),
        rest=("*",),
    ),
)
