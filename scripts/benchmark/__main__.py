"""Compare threadchat with other chat servers on this machine, each under the same load."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import report
import servers
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rounds import IN_FLIGHT, SCENARIOS, Results, measure, plan, settings


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
        contestants = choose(given, Path(folder), tell)
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
        f"server to measure (repeatable; default all but {servers.INSPECTED}: threadchat with its "
        f"inspector open, and {servers.V1}: threadchat with clients that speak threadchat.v1)"
    )
    add("--server", action="append", choices=(*servers.NAMES, servers.INSPECTED, servers.V1), help=help_text)
    help_text = "measure this server as well (repeatable); {port} in the command stands for the port"
    add("--other", action="append", default=[], metavar="NAME=COMMAND", help=help_text)
    add("--install-go", action="store_true", help="install the packages that the Go server needs, with apt-get")
    add("--install-node", action="store_true", help="install the packages that the Node servers need, with npm")
    add("--json", type=Path, metavar="FILE", help="write all figures to this file")
    add("--chart", type=Path, metavar="FILE", help="draw a chart into this file (.svg or .png)")
    add("--quick", action="store_true", help="one round of one second, with 10 and 100 clients")
    given = parser.parse_args(arguments)
    if given.quick:
        given.rounds, given.seconds, given.clients = given.rounds or 1, given.seconds or 1, given.clients or [10, 100]
    given.rounds, given.seconds = given.rounds or 3, given.seconds or 4
    given.scenario, given.clients = given.scenario or list(SCENARIOS), given.clients or []
    given.in_flight, given.server = given.in_flight or list(IN_FLIGHT), given.server or list(servers.NAMES)
    try:
        given.other = [servers.other(text) for text in given.other]
    except ValueError as error:
        parser.error(f"--other: {error}")
    if given.chart and given.chart.suffix not in (".svg", ".png"):
        parser.error("--chart: the file's name must end with .svg or .png")
    if given.seconds < 0.1:
        parser.error("--seconds: must be at least 0.1")
    for file in (given.json, given.chart):
        if file and not file.absolute().parent.is_dir():
            parser.error(f"there is no folder {file.parent}")
    return given


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
            chosen.append(servers.known(name, go))
        except servers.Failed as failure:
            tell(f"going on without {name}: {failure}")
    chosen += given.other
    return chosen


if __name__ == "__main__":
    sys.exit(main())
