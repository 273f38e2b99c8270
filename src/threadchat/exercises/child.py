"""Runs the check of one exercise on the learner's file, in a process of its own, and prints the result as JSON.

The command is `python -m threadchat.exercises.child NAME FILE UNTIL`. The process is needed because the learner's
threads may sleep for ever, run for ever or fill the memory. It ends before UNTIL, a time of `time.monotonic`, which all
processes of a machine share; `checking` kills it if it does not.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from threadchat.exercises import standins
from threadchat.exercises.checks import (
    channel,
    close,
    default,
    full,
    hub,
    pumps,
    rendezvous,
    select,
    semaphore,
    stop,
    timeout,
    worker,
)
from threadchat.exercises.outcome import Code, Outcome, story
from threadchat.exercises.schedule import Chance, Plan, Schedule, SwitchOnce
from threadchat.exercises.verdict import Finding, Result, Scenario, judge

SCENARIOS: dict[str, Sequence[Scenario]] = {
    module.__name__.rpartition(".")[2]: module.SCENARIOS
    for module in (worker, rendezvous, close, default, timeout, semaphore, channel, select, hub, full, pumps, stop)
}
MOST = 0.55  # of the time that the process has: after that no run is begun
FIRST = 0.4  # of the same, for the first run of a scenario
LONGEST = 0.2  # of the same, for each of the others
LAST = 0.15  # of the same, to find a simpler run that shows the same
MEMORY = 1024 * 1024 * 1024  # bytes that it may use
STACK = 256 * 1024  # bytes for each thread


def check(scenarios: Sequence[Scenario], code: Code, seconds: float) -> Result:
    """Try all scenarios in many orders of the threads' steps, until one fails or the time is over.

    They take turns, each in its simplest order first.
    """
    until = standins.now() + seconds * MOST
    steps = [1] * len(scenarios)
    runs, printed = 0, ""
    for number in range(max(scenario.orders for scenario in scenarios)):
        for place, scenario in enumerate(scenarios):
            if scenario.last or number >= scenario.orders or (number and standins.now() > until):
                continue
            outcome = run(scenario, code, _plan(number, steps[place]), seconds * (LONGEST if number else FIRST))
            if number and not outcome.in_time:  # the machine is busy: the first run did end
                outcome.schedule.end()
                continue
            if not number:
                steps[place] = max(1, outcome.schedule.steps)
            printed = printed or code.printed
            runs += 1
            if finding := judge(scenario, outcome):
                if number:
                    finding = replace(finding, story=story(outcome.schedule))
                    finding = _simplest(scenarios, code, steps, finding, standins.now() + seconds * LAST)
                return Result(finding, runs, code.printed)
            outcome.schedule.end()
    for scenario in scenarios:
        if scenario.last:
            outcome = run(scenario, code, Plan(), seconds * LAST)
            if outcome.in_time and (finding := judge(scenario, outcome)):
                return Result(finding, runs, printed)
    return Result(None, runs, printed)


def _simplest(
    scenarios: Sequence[Scenario], code: Code, steps: Sequence[int], finding: Finding, until: float
) -> Finding:
    """The same finding with the story of a run in which the threads are switched once, if there is one; or as it is."""
    for number in range(2, 2 * max(steps) + 2, 2):
        for scenario, count in zip(scenarios, steps, strict=True):
            if standins.now() > until:
                return finding
            outcome = run(scenario, code, _plan(number, count), until - standins.now())
            found = judge(scenario, outcome) if outcome.in_time else None
            if found and found.name == finding.name:
                return replace(found, story=story(outcome.schedule))
    return finding


def run(scenario: Scenario, code: Code, plan: Plan, seconds: float) -> Outcome:
    """One run."""
    schedule = Schedule(code.file, plan)

    def main() -> None:
        code.begin()
        scenario.run(code)

    began = time.process_time()
    in_time = schedule.run(main, seconds)
    return Outcome(schedule, code, in_time, scenario.rest, time.process_time() - began > seconds / 2)


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


def main(name: str, file: str, until: str) -> None:
    """Print the result of a check as JSON, and end the process."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    threading.stack_size(STACK)
    standins.install()
    code = _read(file)
    result = (
        Result(code, 0) if isinstance(code, Finding) else check(SCENARIOS[name], code, float(until) - standins.now())
    )
    json.dump(asdict(result), out)
    out.flush()
    os._exit(0)  # unlike sys.exit, does not wait for the learner's threads


if __name__ == "__main__":
    main(*sys.argv[1:])
