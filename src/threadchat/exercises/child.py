"""Runs the check of one exercise on the learner's file, in a process of its own, and prints the result as JSON.

The command is `python -m threadchat.exercises.child NAME FILE`. The process is needed because the learner's threads may
sleep for ever, run for ever or fill the memory. It ends within LIMIT seconds; `checking` kills it if it does not.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from threadchat.exercises import standins
from threadchat.exercises.checks import close, rendezvous, worker
from threadchat.exercises.schedule import Chance, Plan, Schedule, SwitchOnce
from threadchat.exercises.verdict import Code, Finding, Outcome, Result, Scenario, judge, story

SCENARIOS: dict[str, Sequence[Scenario]] = {
    module.__name__.rpartition(".")[2]: module.SCENARIOS for module in (worker, rendezvous, close)
}
LIMIT = 1.5  # seconds for all runs
MEMORY = 1024 * 1024 * 1024  # bytes that it may use
STACK = 256 * 1024  # bytes for each thread


def check(scenarios: Sequence[Scenario], code: Code, seconds: float = LIMIT) -> Result:
    """Try all scenarios in many orders of the threads' steps, until one fails or the time is over."""
    deadline = standins.now() + seconds
    runs, printed = 0, ""
    for scenario in scenarios:
        first_steps = 1
        for number in range(scenario.orders):
            if number and standins.now() > deadline:
                break
            outcome = run(scenario, code, _plan(number, first_steps), deadline)
            if not number:
                first_steps = max(1, outcome.schedule.steps)
            printed = printed or code.printed
            runs += 1
            if finding := judge(scenario, outcome):
                told = story(outcome.schedule) if number else ()
                return Result(Finding(finding.paragraphs, finding.name, told), runs, code.printed)
    return Result(None, runs, printed)


def run(scenario: Scenario, code: Code, plan: Plan, deadline: float) -> Outcome:
    """One run."""
    schedule = Schedule(code.file, plan)
    standins.obey(schedule)

    def main() -> None:
        code.begin()
        scenario.run(code)

    return Outcome(schedule, code, schedule.run(main, deadline - standins.now()))


def _plan(number: int, steps: int) -> Plan:
    """Straight on; then by turns a switch before each of the steps, and a random order."""
    if not number:
        return Plan()
    half = number // 2
    return Chance(half) if number % 2 else SwitchOnce(1 + (half - 1) % steps, (half - 1) // steps)


def _read(file: str) -> Code | Finding:
    try:
        return Code(file, Path(file).read_text(encoding="utf-8"))
    except SyntaxError as error:
        where = f"line {error.lineno}, `{(error.text or '').strip()}`" if error.lineno else "the file"
        return Finding((f"Python cannot read {where}: {error.msg}.",))
    except (OSError, ValueError) as error:
        return Finding((f"The file cannot be read: {error}",))


def main(name: str, file: str) -> None:
    """Print the result of a check as JSON, and end the process."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    threading.stack_size(STACK)
    standins.install()
    code = _read(file)
    result = Result(code, 0) if isinstance(code, Finding) else check(SCENARIOS[name], code)
    json.dump(asdict(result), out)
    out.flush()
    os._exit(0)  # unlike sys.exit, does not wait for the learner's threads


if __name__ == "__main__":
    main(*sys.argv[1:])
