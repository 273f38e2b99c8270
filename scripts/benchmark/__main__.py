"""Compare threadchat with other chat servers on this machine, each under the same load."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import report
import servers
import tables
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rounds import IN_FLIGHT, README_TABLES, SCENARIOS, Results, measure, plan, settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure as the arguments say (default sys.argv). Returns the exit status: 1 if a run failed, 130 after Ctrl-C."""
    given = parse(arguments)
    notices = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with suppress(OSError, ValueError):  # the servers and the load inherit it
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def tell(line: str) -> None:
        notices.print(line, markup=False, highlight=False, soft_wrap=True)

    results, interrupted = Results(), False
    with tempfile.TemporaryDirectory(prefix="threadchat-bench-") as folder:
        try:
            contestants = commits(given.against, Path(folder)) if given.against else choose(given, Path(folder), tell)
        except servers.Failed as failure:
            tell(str(failure))
            return 1
        if not contestants:
            tell("there is no server to measure")
            return 1
        runs = plan(settings(given.scenario, given.clients, given.in_flight), contestants, given.rounds)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=notices, disable=not notices.is_terminal) as progress:
            task = progress.add_task("", total=len(runs))
            try:
                for done, (setting, server) in enumerate(measure(runs, given.seconds, results, tell)):
                    progress.update(task, completed=done, description=f"{server.name}: {setting}")
                progress.update(task, completed=len(runs))
            except KeyboardInterrupt:
                interrupted = True
    machine = report.machine()
    if given.against:
        machine |= dict(zip(("old", "new"), map(servers.about, versions(given.against)), strict=True))
    if given.against or given.tables:
        lines = tables.compared(results, "old", "new") if given.against else tables.readme(results)
        print(*report.described(machine), "", *lines, sep="\n")
    else:
        report.show(results, machine)
    if given.json:
        report.write_json(given.json, results, machine, {"seconds": given.seconds, "rounds": given.rounds})
    if given.chart and not report.draw(given.chart, results, machine):
        tell("nothing was measured, so there is no chart")
    if interrupted:
        return 130
    return 1 if any(outcome.failures for outcome in results.values()) else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    add = parser.add_argument
    add("--scenario", action="append", choices=list(SCENARIOS), help="scenario to measure (repeatable; default all)")
    default = "; ".join(f"{name} {', '.join(map(str, counts))}" for name, counts in SCENARIOS.items())
    add(
        "--clients",
        action="append",
        type=positive,
        metavar="N",
        help=f"number of clients (repeatable; default {default})",
    )
    help_text = "unanswered messages that each of the 4 senders keeps in flight (repeatable; default 16 and 64)"
    add("--in-flight", action="append", type=positive, metavar="N", help=help_text)
    add("--seconds", type=float, metavar="S", help="seconds that each run measures (default 4)")
    add("--rounds", type=positive, metavar="N", help="runs of each server in each setting (default 3)")
    help_text = (
        f"server to measure (repeatable; default all but {servers.INSPECTED}: threadchat with its inspector open, "
        f"{servers.V1}: threadchat with clients that speak threadchat.v1, {servers.REDIS}: threadchat in several "
        f"processes over a Redis of their own, and {servers.BAREST}: the least that two threads a client can cost)"
    )
    add("--server", action="append", choices=(*servers.NAMES, *servers.OTHERS), help=help_text)
    help_text = f"how many processes {servers.REDIS} has (default {servers.PROCESSES})"
    add("--processes", type=positive, default=servers.PROCESSES, metavar="N", help=help_text)
    help_text = "measure this server as well (repeatable); {port} in the command stands for the port"
    add("--other", action="append", default=[], metavar="NAME=COMMAND", help=help_text)
    add("--install-go", action="store_true", help="install the packages that the Go server needs, with apt-get")
    add("--install-node", action="store_true", help="install the packages that the Node servers need, with npm")
    add("--json", type=Path, metavar="FILE", help="write all figures to this file")
    add("--chart", type=Path, metavar="FILE", help="draw a chart into this file (.svg or .png)")
    help_text = (
        "instead of other servers, measure an older commit (old) and the files of this checkout (new) in turn; "
        "OLD..NEW measures two commits. Default 5 rounds of 2 seconds of saturation and calm, with 10, 100 and 1,000 "
        "clients"
    )
    add("--against", metavar="COMMIT", help=help_text)
    help_text = (
        "print the tables of scripts/benchmark/README.md. Default 3 rounds of 2 seconds, with 16 messages in flight, "
        f"of every server but plain and {servers.INSPECTED}"
    )
    add("--tables", action="store_true", help=help_text)
    add("--quick", action="store_true", help="one round of one second, with 10 and 100 clients")
    given = parser.parse_args(arguments)
    if given.quick:
        given.rounds, given.seconds, given.clients = given.rounds or 1, given.seconds or 1, given.clients or [10, 100]
    set_defaults(given)
    if given.against and (given.tables or given.server or given.other or "crowd" in given.scenario):
        parser.error("--against: goes with neither --tables nor servers, and not with the scenario crowd")
    try:
        given.other = [servers.other(text) for text in given.other]
    except ValueError as error:
        parser.error(f"--other: {error}")
    if given.chart and given.chart.suffix not in (".svg", ".png"):
        parser.error("--chart: the file's name must end with .svg or .png")
    if given.processes < 2:
        parser.error("--processes: must be at least 2")
    if given.seconds < 0.1:
        parser.error("--seconds: must be at least 0.1")
    for file in (given.json, given.chart):
        if file and not file.absolute().parent.is_dir():
            parser.error(f"there is no folder {file.parent}")
    return given


def set_defaults(given: argparse.Namespace) -> None:
    """Fill in what was not given: --against and --tables have defaults of their own."""
    counts: Mapping[str, Sequence[int]] = SCENARIOS
    in_flight: Sequence[int] = IN_FLIGHT
    names: Sequence[str] = servers.NAMES
    rounds, seconds = 3, 4.0
    if given.against:
        rounds, seconds, counts = 5, 2.0, dict.fromkeys(("saturation", "calm"), (10, 100, 1000))
        names = ()
    elif given.tables:
        rounds, seconds, counts, in_flight = 3, 2.0, README_TABLES, (16,)
        names = ("threadchat", servers.V1, *(each for each in servers.NAMES[1:] if each != "plain"), servers.BAREST)
    given.scenario = {name: counts.get(name, SCENARIOS[name]) for name in given.scenario or counts}
    given.rounds, given.seconds = given.rounds or rounds, given.seconds or seconds
    given.in_flight, given.server = given.in_flight or list(in_flight), given.server or list(names)
    given.clients = given.clients or []


def commits(asked: str, folder: Path) -> list[servers.Server]:
    """Return the two versions of threadchat that --against names. Raises servers.Failed."""
    old, new = versions(asked)
    newer = servers.committed("new", new, folder) if new else replace(servers.known("threadchat", None), name="new")
    return [servers.committed("old", old, folder), newer]


def versions(asked: str) -> tuple[str, str]:
    """Return the old and the new commit that --against names; "" is this checkout."""
    old, _, new = asked.partition("..")
    return old, new


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def choose(given: argparse.Namespace, folder: Path, tell: report.Tell) -> list[servers.Server]:
    """Return the servers that were asked for. If one is not installed, it is left out and `tell` gets a line."""
    go = None
    if "go" in given.server:
        try:
            if given.install_go:
                servers.install_go()
            go = servers.build_go(folder)
        except servers.Failed as failure:
            tell(f"going on without the Go server: {failure}")
            if failure.output:
                tell(failure.output)
    if given.install_node:
        try:
            servers.install_node()
        except servers.Failed as failure:
            tell(str(failure))
    chosen = []
    for name in dict.fromkeys(given.server):
        if name == "go" and go is None:
            continue
        try:
            server = servers.known(name, go)
            if server.processes:
                server = replace(server, processes=given.processes)
            only_calm = given.tables and name == servers.BAREST
            chosen.append(replace(server, scenarios=("calm",)) if only_calm else server)
        except servers.Failed as failure:
            tell(f"going on without {name}: {failure}")
    chosen += given.other
    return chosen


if __name__ == "__main__":
    sys.exit(main())
