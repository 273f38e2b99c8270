"""The settings that are measured, and the runs. The servers take turns, so that a disturbance affects all of them."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from redis_server import Redis, chat_processes, redis, wait_for_processes
from servers import Failed, Running, Server, running

SCENARIOS = {"saturation": (10, 100, 1000, 5000), "calm": (10, 100, 1000), "crowd": (10_000,)}
IN_FLIGHT = (16, 64)
README_TABLES = {"saturation": (10, 100, 1000, 5000), "calm": (10, 100, 1000), "crowd": (1000,)}  # of --tables
WORST = {
    "dropped",
    "lost",
    "repeated",
    "undelivered",
}  # figures of which the worst round counts; of all others it is the median
LOAD = Path(__file__).parent / "load.py"

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Setting:
    """A scenario, the number of its clients and, for saturation, of messages that each sender has in flight."""

    scenario: str
    clients: int
    in_flight: int | None = None

    def __str__(self) -> str:
        return f"{self.scenario}, {self.clients:,} clients" + (
            f", {self.in_flight} in flight" if self.in_flight else ""
        )


@dataclass
class Outcome:
    """The figures and the failures of one server's rounds in one setting."""

    rounds: list[Figures] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def figure(self, name: str) -> float | None:
        """Return a figure over all rounds, or None if no round has it."""
        values = [value for figures in self.rounds if (value := figures.get(name)) is not None]
        if not values:
            return None
        return max(values) if name in WORST else statistics.median(values)

    @property
    def load_was_busy(self) -> bool:
        return (self.figure("load_cpu") or 0) > 0.9

    @property
    def load_was_the_limit(self) -> bool:
        """Whether the load slowed the server down. A busy load alone does not: the server may have been as busy."""
        return self.load_was_busy and (self.figure("server_cpu") or 0) < 0.9


class Results(dict[tuple[Setting, str], Outcome]):
    """The outcomes, by setting and name of the server."""

    def figure(self, setting: Setting, server: str, name: str) -> float | None:
        outcome = self.get((setting, server))
        return outcome.figure(name) if outcome else None

    def ratio(self, setting: Setting, server: str, name: str, ours: str = "threadchat") -> float | None:
        """Return our figure divided by the server's, or None if one of them is missing.

        It is the median of the rounds' ratios if both have all rounds, since what disturbs a round disturbs both.
        """
        if each := self.ratios(setting, server, name, ours):
            return statistics.median(each)
        one, other = self.figure(setting, ours, name), self.figure(setting, server, name)
        return one / other if one is not None and other else None

    def ratios(self, setting: Setting, server: str, name: str, ours: str = "threadchat") -> list[float]:
        """Return the ratio of each round; none if a round of one of them failed or lacks the figure."""
        one, other = (self.get((setting, each), Outcome()) for each in (ours, server))
        if one.failures or other.failures or len(one.rounds) != len(other.rounds):
            return []
        pairs = [(a.get(name), b.get(name)) for a, b in zip(one.rounds, other.rounds, strict=True)]
        return [a / b for a, b in pairs if a is not None and b] if all(a is not None and b for a, b in pairs) else []

    def settings(self) -> list[Setting]:
        return list(dict.fromkeys(setting for setting, _ in self))

    def servers(self) -> list[str]:
        return list(dict.fromkeys(server for _, server in self))


def settings(scenarios: Mapping[str, Sequence[int]], clients: Sequence[int], in_flight: Sequence[int]) -> list[Setting]:
    """Combine the scenarios with these numbers. Without numbers of clients, each scenario has its own."""
    return [
        Setting(scenario, count, flying)
        for scenario, counts in scenarios.items()
        for count in clients or counts
        for flying in (in_flight if scenario == "saturation" else [None])
    ]


def plan(todo: Iterable[Setting], servers: Sequence[Server], rounds: int) -> list[tuple[Setting, Server]]:
    """Return the runs in their order, without those that a server cannot do. Every other round goes backwards."""
    return [
        (setting, server)
        for setting in todo
        for number in range(rounds)
        for server in (servers[::-1] if number % 2 else servers)
        if server.can(setting.scenario, setting.clients)
    ]


def measure(
    runs: Iterable[tuple[Setting, Server]], seconds: float, results: Results, tell: Callable[[str], None]
) -> Iterable[tuple[Setting, Server]]:
    """Yield each run, then do it and add it to `results`. After a run that failed, the next one follows."""
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
        results[setting, server.name] = outcome  # only now, so that an interrupted run does not count


def run(setting: Setting, server: Server, seconds: float, tell: Callable[[str], None]) -> Figures:
    """Start the server, put the load on it, and return the figures. Raises Failed."""
    started, shared = None, None
    try:
        with ExitStack() as stack:
            if server.processes:
                shared = stack.enter_context(redis())
                more = ("--store", shared.url, "--processes", str(server.processes))
                server = replace(server, command=(*server.command, *more))
            started = stack.enter_context(running(server))
            if server.processes:
                wait_for_processes(started)
            return _load(setting, started, seconds, server.v1, shared)
    finally:
        if started and started.killed:
            tell(f"{server.name}, {setting}: the server did not stop after SIGTERM, and was killed")


def _load(setting: Setting, started: Running, seconds: float, v1: bool, shared: Redis | None) -> Figures:
    limit = 180 if setting.scenario == "crowd" else 60 + seconds
    command = [sys.executable, str(LOAD), setting.scenario, "--port", str(started.port)]
    command += ["--clients", str(setting.clients), "--seconds", str(seconds)]
    for pid in chat_processes(started.process.pid) if shared else [started.process.pid]:
        command += ["--pid", str(pid)]
    if shared:
        command += ["--redis-pid", str(shared.pid)]
    if setting.in_flight:
        command += ["--in-flight", str(setting.in_flight)]
    if v1:
        command.append("--v1")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, start_new_session=True)
    except subprocess.TimeoutExpired:
        raise Failed(f"it took longer than {limit:g} s", started.said()) from None
    status = started.process.poll()
    if status is not None:
        raise Failed(f"the server ended during the run, with status {status}", started.said())
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"the load ended with status {done.returncode}"]
        raise Failed(said[-1], started.said())
    figures: Figures = json.loads(done.stdout)
    return figures
