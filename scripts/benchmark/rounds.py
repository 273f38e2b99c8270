"""What is measured, and the runs: each server in turn, and then again, so that what disturbs one disturbs them all."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from servers import Failed, Running, Server, running

SCENARIOS = {"saturation": (10, 100, 1000, 5000), "calm": (10, 100, 1000), "crowd": (10_000,)}
IN_FLIGHT = (16, 64)
WORST = {"dropped", "lost", "repeated", "undelivered"}  # of these the worst round counts, of others the median
LOAD = Path(__file__).parent / "load.py"

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Setting:
    scenario: str
    clients: int
    in_flight: int | None = None

    def __str__(self) -> str:
        return f"{self.scenario}, {self.clients:,} clients" + (
            f", {self.in_flight} in flight" if self.in_flight else ""
        )


@dataclass
class Outcome:
    """What the rounds of one server in one setting gave."""

    rounds: list[Figures] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def figure(self, name: str) -> float | None:
        values = [value for figures in self.rounds if (value := figures.get(name)) is not None]
        if not values:
            return None
        return max(values) if name in WORST else statistics.median(values)

    @property
    def load_was_busy(self) -> bool:
        return (self.figure("load_cpu") or 0) > 0.9

    @property
    def load_was_the_limit(self) -> bool:
        """Busy alone does not say so: the load takes what comes frame by frame while the server is as busy."""
        return self.load_was_busy and (self.figure("server_cpu") or 0) < 0.9


class Results(dict[tuple[Setting, str], Outcome]):
    """By setting and name of the server."""

    def figure(self, setting: Setting, server: str, name: str) -> float | None:
        outcome = self.get((setting, server))
        return outcome.figure(name) if outcome else None

    def ratio(self, setting: Setting, server: str, name: str) -> float | None:
        """threadchat's figure divided by that of the other."""
        ours, theirs = self.figure(setting, "threadchat", name), self.figure(setting, server, name)
        return ours / theirs if ours is not None and theirs else None

    def settings(self) -> list[Setting]:
        return list(dict.fromkeys(setting for setting, _ in self))

    def servers(self) -> list[str]:
        return list(dict.fromkeys(server for _, server in self))


def settings(scenarios: Iterable[str], clients: Sequence[int], in_flight: Sequence[int]) -> list[Setting]:
    """With no clients given, each scenario has its own."""
    return [
        Setting(scenario, count, flying)
        for scenario in scenarios
        for count in clients or SCENARIOS[scenario]
        for flying in (in_flight if scenario == "saturation" else [None])
    ]


def plan(todo: Iterable[Setting], servers: Sequence[Server], rounds: int) -> list[tuple[Setting, Server]]:
    """The runs, in their order."""
    return [
        (setting, server)
        for setting in todo
        for _ in range(rounds)
        for server in servers
        if server.can(setting.scenario, setting.clients)
    ]


def measure(
    runs: Iterable[tuple[Setting, Server]], seconds: float, results: Results, tell: Callable[[str], None]
) -> Iterable[tuple[Setting, Server]]:
    """Do the runs, each after it has been yielded, and add to the results. Nothing that fails ends it."""
    for setting, server in runs:
        yield setting, server
        outcome = results.get((setting, server.name), Outcome())
        try:
            outcome.rounds.append(run(setting, server, seconds, tell))
        except Failed as failure:
            outcome.failures.append(str(failure))
            tell(f"{server.name}, {setting}: failed: {failure}")
            if failure.output:
                tell("\n".join(f"    {line}" for line in failure.output.splitlines()[-20:]))
        results[setting, server.name] = outcome  # not before: an interrupted run is not there


def run(setting: Setting, server: Server, seconds: float, tell: Callable[[str], None]) -> Figures:
    """Raises Failed."""
    started = None
    try:
        with running(server) as started:
            return _load(setting, started, seconds)
    finally:
        if started and started.killed:
            tell(f"{server.name}, {setting}: the server did not stop when told to, and was killed")


def _load(setting: Setting, started: Running, seconds: float) -> Figures:
    limit = 180 if setting.scenario == "crowd" else 60 + seconds
    command = [sys.executable, str(LOAD), setting.scenario, "--port", str(started.port)]
    command += ["--pid", str(started.process.pid), "--clients", str(setting.clients), "--seconds", str(seconds)]
    if setting.in_flight:
        command += ["--in-flight", str(setting.in_flight)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, start_new_session=True)
    except subprocess.TimeoutExpired:
        raise Failed(f"not done in {limit:g} s", started.said()) from None
    status = started.process.poll()
    if status is not None:
        raise Failed(f"the server ended in the middle, with status {status}", started.said())
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"the load ended with status {done.returncode}"]
        raise Failed(said[-1], started.said())
    figures: Figures = json.loads(done.stdout)
    return figures
