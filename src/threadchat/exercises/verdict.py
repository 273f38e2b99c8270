"""The verdict on a run of the learner's program: the known mistakes of the exercise, then the rules for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from threadchat.channel import Closed, Send
from threadchat.exercises.outcome import Code, Outcome, at, check_line, own_frame, relations
from threadchat.exercises.schedule import Failed


@dataclass(frozen=True)
class Finding:
    """What is wrong: what the threads do, the mistake's name if it is a known one, and how it came to it."""

    paragraphs: tuple[str, ...]
    name: str = ""
    story: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What a check found, how many runs it made, and what the learner's code printed in the last one."""

    finding: Finding | None
    runs: int
    printed: str = ""


Mistake = Callable[[Outcome], Finding | None]


@dataclass(frozen=True)
class Scenario:
    """What a check does with the learner's code.

    `run` is the main thread; it raises Failed if the code does something wrong. `rest` names the threads that may sleep
    for ever afterwards ("*": all). `mistakes` are asked about each run before the general rules are. `orders` is how
    many orders of the threads' steps are tried. One that is `last` is run once, when all others have gone well.
    """

    run: Callable[[Code], None]
    mistakes: tuple[Mistake, ...] = ()
    rest: tuple[str, ...] = ()
    orders: int = 160
    last: bool = False


def judge(scenario: Scenario, outcome: Outcome) -> Finding | None:
    """What is wrong with the run, or None."""
    for mistake in (_unwritten, *scenario.mistakes, _raised, _told, _too_slow, _deadlock):
        if finding := mistake(outcome):
            return finding
    if left := outcome.noted():
        one = len(left) == 1
        said = "A thread is left over, asleep for ever" if one else "Threads are left over, asleep for ever"
        said += f": no running thread can reach the channel that would wake {'it' if one else 'them'}."
        return Finding((said, *map(str, left), *relations(outcome, left)))
    return None


# The general rules


def _unwritten(outcome: Outcome) -> Finding | None:
    found = outcome.error(NotImplementedError)
    if not found:
        return None
    _, _, line = found
    return Finding((f"`{outcome.source_of(line)}` is still to be written: line {line}.",))


def _told(outcome: Outcome) -> Finding | None:
    found = outcome.error(Failed)
    if not found or not isinstance(found[1], Failed):
        return None
    return Finding((*str(found[1]).split("\n\n"), *map(str, outcome.noted())), found[1].name)


def _raised(outcome: Outcome) -> Finding | None:
    failed = [task for task in outcome.schedule.tasks if task.error and not isinstance(task.error, Failed)]
    if not failed or failed[0].error is None:
        return None
    task = next((each for each in failed if each.error and outcome.line_of(each.error)), failed[0])
    error = task.error
    assert error
    line = outcome.line_of(error)
    text = outcome.text(line) if line else check_line(error)
    where = f" at line {line}, `{text}`" if line else f" (the check) at `{text}`" if text else ""
    if isinstance(error, Closed):
        return Finding((f"The thread {task.name}{where} {_closed(outcome, error, text)}",))
    said = f"The thread {task.name} raised {type(error).__name__}{where}: {error}"
    if not text and isinstance(error, TypeError) and "positional argument" in str(error):
        function = str(error).partition("()")[0].rpartition(".")[2]
        how = "" if function == "<lambda>" else f": `lambda: {function}(...)`"
        return Finding((said, f"`go` calls its function without arguments{how}."))
    return Finding((said,))


def _closed(outcome: Outcome, error: Closed, text: str) -> str:
    does = "sends to a closed channel" if isinstance(error.case, Send) or ".send" in text else ""
    does = does or ("closes a channel that is closed already" if ".close(" in text else "uses a closed channel")
    receives = ".receive(" in text or (not isinstance(error.case, Send) and "select(" in text)
    does = "receives from a channel that is closed and empty" if receives else does
    closers = outcome.schedule.users(error.channel, "close")
    by = f" The channel was closed by {' and by '.join(closers)}." if closers else ""
    go = "" if receives else " In Go it would panic."
    advice = ""
    if outcome.line_of(error) and ".close(" not in text:
        or_loop = ", or loop with `for`, which ends when the channel is closed and empty"
        advice = f" Catch Closed{or_loop if receives else ', if another thread may close the channel meanwhile'}."
    return f"{does}: that raised Closed.{go}{by}{advice}"


def _too_slow(outcome: Outcome) -> Finding | None:
    task = outcome.schedule.current
    if not outcome.in_time:
        frame = own_frame(task.frame(), outcome.code.file) if task else None
        line = frame.f_lineno if frame and frame.f_code.co_filename == outcome.code.file else 0
        where = f" at {at(outcome, line)}" if line else ""
        why = "" if outcome.busy else ": it waits for something that is no channel, or this machine has much else to do"
        return Finding((f"The thread {task.name if task else ''}{where} does not come to an end{why}.",))
    if outcome.schedule.ending not in ("busy", "polling"):
        return None
    lines = [line for each, line in outcome.schedule.history[-50:] if each is task]
    span = (
        f"lines {min(lines)}-{max(lines)}" if lines and min(lines) < max(lines) else f"line {lines[0] if lines else 0}"
    )
    name = task.name if task else ""
    if outcome.schedule.ending == "busy":
        return Finding((f"The thread {name} goes round and round in {span}, and never sleeps. " + POLLING,), "polling")
    return Finding(
        (f"The thread {name} wakes again and again in {span} to look, and finds nothing. " + POLLING,), "polling"
    )


POLLING = (
    "This is polling: it burns the processor while there is nothing to do, or reacts late. A thread that waits in a "
    "channel (or in select) sleeps, and is woken at once when there is something."
)


def _deadlock(outcome: Outcome) -> Finding | None:
    return Finding(tuple(outcome.facts())) if outcome.deadlock else None
