"""The benchmark's output: tables, goals, a JSON file and a chart."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rounds import Outcome, Results, Setting
from servers import INSPECTED, NAMES, NODE_FOLDER, NODE_PEERS, REDIS, V1

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Tell = Callable[[str], None]
Formatter = Callable[[float], str]
WIDTH = 110
PACKAGES = ("threadchat", "simple-websocket", "werkzeug", "websockets", "aiohttp", "socketify", "picows", "uvloop")


def machine() -> dict[str, str]:
    """Describe the machine and the versions, by their names."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "CPU": f"{count} x {model}",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    found["Go"] = _output("go", "version").removeprefix("go version ").removeprefix("go") or "not installed"
    gorilla = _output("dpkg-query", "-W", "-f=${Version}", "golang-github-gorilla-websocket-dev")
    found["gorilla/websocket"] = gorilla or "not installed"
    found["Node"] = _output("node", "--version").removeprefix("v") or "not installed"
    for package, _ in NODE_PEERS.values():
        about = NODE_FOLDER / "node_modules" / package / "package.json"
        found[package] = json.loads(about.read_text())["version"] if about.exists() else "not installed"
    return found


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


# Tables


def short(value: float) -> str:
    """Format briefly: 1.23M, 45.6k, 789, 7.9, 0.79."""
    for limit, divisor, unit in ((999_500, 1e6, "M"), (9_950, 1e3, "k")):
        if value >= limit:
            return f"{value / divisor:.3g}{unit}"
    return plain(value)


def plain(value: float) -> str:
    """Format with at least two significant digits, and no decimals from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 99.5 else f"{value:.1f}" if abs(value) >= 9.95 else f"{value:.2f}"


def whole(value: float) -> str:
    return f"{value:,.0f}"


def percent(value: float) -> str:
    return f"{value:.0%}"


@dataclass(frozen=True)
class Column:
    """A column of a table. With `ratio` it holds threadchat's figure divided by the server's."""

    title: str
    name: str
    form: Formatter
    ratio: bool = False


COLUMNS = {
    "saturation": (
        Column("deliveries/s", "deliveries_a_second", whole),
        Column("ratio", "deliveries_a_second", plain, ratio=True),
        Column("messages\na frame", "messages_a_frame", plain),
        Column("CPU us a\ndelivery", "cpu_us_a_delivery", plain),
        Column("healthy\ndropped", "dropped", whole),
        Column("lost", "lost", whole),
        Column("repeated", "repeated", whole),
        Column("server\nCPU", "server_cpu", percent),
        Column("load\nCPU", "load_cpu", percent),
    ),
    "calm": (
        Column("p50 ms", "latency_p50_ms", plain),
        Column("p99 ms", "latency_p99_ms", plain),
        Column("ratio of\np50", "latency_p50_ms", plain, ratio=True),
        Column("own echo\np50 ms", "own_echo_p50_ms", plain),
        Column("CPU us a\ndelivery", "cpu_us_a_delivery", plain),
        Column("undelivered", "undelivered", whole),
        Column("healthy\ndropped", "dropped", whole),
        Column("load\nCPU", "load_cpu", percent),
    ),
    "crowd": (
        Column("connections/s", "connections_a_second", whole),
        Column("memory KB\na client", "memory_kb_a_client", plain),
        Column("threads", "threads", whole),
        Column("one to\nall ms", "one_to_all_ms", plain),
        Column("healthy\ndropped", "dropped", whole),
    ),
}
EXPLAINED = {
    "saturation": "4 senders; a sender sends another message for each of its own that comes back",
    "calm": "50 messages a second, at a pace that does not depend on the server",
    "crowd": "all clients connect; then one message goes to all of them, 5 times",
}


def show(results: Results, ran_on: Mapping[str, str]) -> None:
    """Print the results on standard output: as plain Markdown tables if that is not a terminal."""
    console = Console(highlight=False, soft_wrap=False)
    console.width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    style = box.SIMPLE_HEAD if console.is_terminal else box.MARKDOWN
    for line in described(ran_on):
        console.print(line, markup=False)
    for setting in results.settings():
        _heading(console, str(setting), EXPLAINED[setting.scenario])
        table, notes = _table(results, setting, style)
        _print(console, table)
        for note in notes:
            console.print(note, markup=False)
    if results:
        console.print()
        note = (
            "ratio: threadchat's figure divided by the server's, the median of the rounds' ratios. Other figures are "
        )
        note += (
            "medians over the rounds; counts of what was dropped, lost, repeated or undelivered are the worst round's."
        )
        console.print(note, markup=False)
    if all(goal.measured(results) is None for goal in GOALS):
        return
    _heading(console, "goals")
    table = Table(box=style)
    for title in ("goal", "limit", "aim", "measured", ""):
        table.add_column(title, justify="left" if title in ("goal", "") else "right")
    for goal in GOALS:
        if goal.measured(results) is not None:
            table.add_row(*goal.row(results))
    _print(console, table)
    if any(goal.load_was_the_limit(results) for goal in GOALS):
        console.print("* the load generator was the bottleneck for one of the two", markup=False)
    if any(goal.others_were_dropped(results) for goal in GOALS):
        console.print("- the other server dropped healthy clients, and had fewer left to deliver to", markup=False)


def described(ran_on: Mapping[str, str]) -> list[str]:
    """Return a line for each thing that is known about the machine."""
    return [f"{name}: {value}" for name, value in ran_on.items()]


def _heading(console: Console, text: str, more: str = "") -> None:
    console.print()
    console.print(text, style="bold", markup=False)
    if more:
        console.print(more, markup=False)


def _print(console: Console, table: Table) -> None:
    """Print the table without the empty lines that rich draws as its edges."""
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        if line.strip():
            console.file.write(line + "\n")


def _table(results: Results, setting: Setting, style: box.Box) -> tuple[Table, list[str]]:
    table, notes = Table(box=style), []
    columns = COLUMNS[setting.scenario]
    table.add_column("server", no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right")
    for (other, server), outcome in results.items():
        if other != setting:
            continue
        mark = ""
        if outcome.load_was_the_limit:
            mark = " *"
            notes.append(f"* {server}: the load generator was the bottleneck: it had no CPU time left")
        elif outcome.load_was_busy:
            mark = " *"
            notes.append(
                f"* {server}: the load generator had no CPU time left, but the server was as busy (see server CPU)"
            )
        if not outcome.rounds:
            table.add_row(server, "failed", *["" for _ in columns[1:]])
            notes.append(f"{server} failed: {outcome.failures[0]}")
            continue
        if (worst := outcome.figure("cpu_us_a_delivery_worst")) is not None:
            used, busy = outcome.figure("redis_cpu_us_a_message") or 0, outcome.figure("redis_cpu") or 0
            notes.append(
                f"{server}: CPU a delivery in its busiest process {plain(worst)} us; Redis {plain(used)} us a message, "
                f"{percent(busy)} of a processor"
            )
        if outcome.failures:
            mark += " +"
            rounds = len(outcome.rounds) + len(outcome.failures)
            notes.append(f"+ {server}: {len(outcome.failures)} of {rounds} rounds failed: {outcome.failures[0]}")
        table.add_row(server + mark, *(_cell(results, setting, server, column) for column in columns))
    return table, notes


def _cell(results: Results, setting: Setting, server: str, column: Column) -> str:
    if column.ratio and server == "threadchat":
        return ""
    value = (results.ratio if column.ratio else results.figure)(setting, server, column.name)
    return "-" if value is None else column.form(value)


# Goals


@dataclass(frozen=True)
class Goal:
    """A figure that must not be worse than `limit`, and should reach `aim`."""

    text: str
    limit: float
    aim: float | None
    measured: Callable[[Results], float | None]
    at_least: bool
    compared: tuple[Setting, str] | None = None  # the setting, and the server that threadchat is compared with

    def verdict(self, value: float | None) -> str:
        if value is None:
            return "not measured"
        if self.aim is not None and self._holds(value, self.aim):
            return "aim reached"
        return "met" if self._holds(value, self.limit) else "MISSED"

    def _holds(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound

    def load_was_the_limit(self, results: Results) -> bool:
        if self.compared is None:
            return False
        setting, server = self.compared
        outcomes = (results.get((setting, name)) for name in ("threadchat", server))
        return any(outcome is not None and outcome.load_was_the_limit for outcome in outcomes)

    def others_were_dropped(self, results: Results) -> bool:
        return self.compared is not None and bool(results.figure(*self.compared, "dropped"))

    def row(self, results: Results) -> tuple[str, str, str, str, str]:
        value, sign = self.measured(results), ">=" if self.at_least else "<="
        aim = "" if self.aim is None else f"{self.aim:,g}"
        shown = "" if value is None else f"{value:g}" if self.limit == 0 else plain(value)
        if value is not None and self.load_was_the_limit(results):
            shown += " *"
        if value is not None and self.others_were_dropped(results):
            shown += " -"
        return self.text, f"{sign} {self.limit:,g}", aim, shown, self.verdict(value)


def _ratio(
    text: str, setting: Setting, server: str, name: str, limit: float, aim: float | None, at_least: bool
) -> Goal:
    return Goal(
        f"{text} against {server}, {_briefly(setting)}",
        limit,
        aim,
        lambda results: results.ratio(setting, server, name),
        at_least,
        (setting, server),
    )


def _briefly(setting: Setting) -> str:
    return f"{setting.clients:,} clients" + (f", {setting.in_flight} in flight" if setting.in_flight else "")


def _throughput(
    clients: int, in_flight: int, server: str, limit: float, aim: float | None, at_least: bool = True
) -> Goal:
    setting = Setting("saturation", clients, in_flight)
    return _ratio("deliveries/s", setting, server, "deliveries_a_second", limit, aim, at_least)


def _calm(text: str, clients: int, name: str, limit: float, aim: float) -> Goal:
    return _ratio(text, Setting("calm", clients), "websockets", name, limit, aim, False)


def _crowd(text: str, name: str, limit: float, aim: float, at_least: bool) -> Goal:
    setting = Setting("crowd", 10_000)
    return Goal(
        f"{text}, {_briefly(setting)}",
        limit,
        aim,
        lambda results: results.figure(setting, "threadchat", name),
        at_least,
    )


def _later_echo(results: Results) -> float | None:
    """Return by how many ms one's own message comes back later over Redis than in memory, with 100 clients."""
    own = [results.figure(Setting("calm", 100), name, "own_echo_p50_ms") for name in ("threadchat", REDIS)]
    return own[1] - own[0] if own[0] is not None and own[1] is not None else None


def _dropped(results: Results) -> float | None:
    """Return the number of clients that threadchat dropped in all rounds together."""
    ours = [outcome for (_, server), outcome in results.items() if server == "threadchat" and outcome.rounds]
    return sum(figures.get("dropped") or 0 for outcome in ours for figures in outcome.rounds) if ours else None


GOALS = (
    _throughput(100, 16, "go", 1.2, 3),
    _throughput(1000, 16, "go", 1.2, 3),
    _throughput(100, 64, "go", 3, 8),
    _throughput(1000, 64, "go", 3, 8),
    _throughput(1000, 16, "websockets", 10, 30),
    _throughput(1000, 64, "websockets", 25, 50),
    _throughput(10, 16, "websockets", 2, 4),
    _throughput(5000, 16, "go", 0.8, 2),
    _throughput(100, 16, INSPECTED, 1.05, None, at_least=False),
    _throughput(1000, 16, INSPECTED, 1.05, None, at_least=False),
    _throughput(100, 64, V1, 1.25, None, at_least=False),
    _throughput(1000, 64, V1, 1.25, None, at_least=False),
    *(
        _throughput(clients, 16, server, limit, None)
        for clients, limit in ((10, 1), (100, 3), (1000, 5), (5000, 5))
        for server in ("socketify", "picows", *NODE_PEERS)
    ),
    Goal("healthy clients that threadchat dropped, in all runs", 0, None, _dropped, False),
    _calm("median latency", 10, "latency_p50_ms", 1.5, 1),
    _calm("median latency", 100, "latency_p50_ms", 2, 1),
    _calm("median latency", 1000, "latency_p50_ms", 3, 1.3),
    _calm("calm CPU a delivery", 1000, "cpu_us_a_delivery", 2.2, 1),
    *(
        _ratio("CPU a delivery", Setting("saturation", clients, 16), REDIS, "cpu_us_a_delivery", 1 / 1.2, None, True)
        for clients in (100, 1000)
    ),
    Goal(f"ms by which one's own echo is later with {REDIS}, 100 clients", 1.5, None, _later_echo, False),
    Goal(
        f"messages/s through the log of {REDIS}, 10 clients, 64 in flight",
        25_000,
        None,
        lambda results: results.figure(Setting("saturation", 10, 64), REDIS, "messages_a_second"),
        True,
    ),
    _crowd("KB of memory a client", "memory_kb_a_client", 60, 40, False),
    _crowd("connections/s", "connections_a_second", 1000, 3000, True),
)


# Files


def write_json(file: Path, results: Results, ran_on: Mapping[str, str], options: Mapping[str, float]) -> None:
    measured = [
        asdict(setting)
        | {"server": server, "rounds": outcome.rounds, "failures": outcome.failures, "result": _result(outcome)}
        for (setting, server), outcome in results.items()
    ]
    goals = [
        {"goal": goal.text, "limit": goal.limit, "aim": goal.aim, "measured": value, "verdict": goal.verdict(value)}
        for goal in GOALS
        for value in [goal.measured(results)]
    ]
    everything: dict[str, Any] = {"machine": ran_on, "options": options, "measured": measured, "goals": goals}
    file.write_text(json.dumps(everything, indent=2) + "\n")


def _result(outcome: Outcome) -> dict[str, float | None]:
    return {name: outcome.figure(name) for name in (outcome.rounds[0] if outcome.rounds else {})}


@dataclass(frozen=True)
class Panel:
    """One diagram of the chart, for one figure of one scenario."""

    scenario: str
    name: str
    title: str
    log: bool = False


SATURATION = Panel(
    "saturation", "deliveries_a_second", "Deliveries a second under full load (log scale; more is better)", True
)
CALM = Panel("calm", "latency_p50_ms", "Median latency at 50 messages a second, ms (log scale; less is better)", True)
CROWD = (
    Panel("crowd", "connections_a_second", "Connections a second\n(more is better)"),
    Panel("crowd", "memory_kb_a_client", "Memory a client, KB\n(less is better)"),
    Panel("crowd", "one_to_all_ms", "One message to all, ms\n(less is better)"),
)
# From the palette of Okabe and Ito, made for colour-blind readers; each has enough contrast to white.
COLOURS = dict(
    zip(
        NAMES,
        ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#555555", "#D55E00", "#56B4E9", "#8A7400", "#000000"),
        strict=True,
    )
)
MORE_COLOURS = ("#7F3C8D", "#A0522D", "#999999")


def draw(file: Path, results: Results, ran_on: Mapping[str, str]) -> bool:
    """Draw a chart with one row for each scenario. Returns False, and draws nothing, if nothing was measured."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "threadchat"})
    from matplotlib import pyplot

    rows = [panels for panels in ((SATURATION,), (CALM,), CROWD) if _bars(results, panels[0])]
    if not rows:
        return False
    figure = pyplot.figure(figsize=(11, 0.6 + 3.6 * len(rows)), facecolor="white", layout="constrained")
    grid = figure.add_gridspec(len(rows), 6)
    handles: dict[str, Any] = {}
    for row, panels in enumerate(rows):
        each = 6 // len(panels)
        for column, panel in enumerate(panels):
            axes = figure.add_subplot(grid[row, column * each : (column + 1) * each])
            handles |= _panel(axes, results, panel)
    ordered = [name for name in results.servers() if name in handles]
    figure.legend([handles[name] for name in ordered], ordered, loc="outside upper center", ncols=6, frameon=False)
    below = ", ".join([ran_on["CPU"], f"Python {ran_on['Python']}", ran_on["date"]])
    figure.supxlabel(below, fontsize=8, color="#555555")
    figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)
    return True


def _bars(results: Results, panel: Panel) -> dict[Setting, dict[str, float]]:
    bars: dict[Setting, dict[str, float]] = {}
    for (setting, server), outcome in results.items():
        value = outcome.figure(panel.name) if setting.scenario == panel.scenario else None
        if value is not None and value > 0:
            bars.setdefault(setting, {})[server] = value
    return bars


def _panel(axes: Axes, results: Results, panel: Panel) -> dict[str, Any]:
    """Draw one diagram, and return the legend's handle of each server."""
    groups = _bars(results, panel)
    handles: dict[str, Any] = {}
    others = [name for name in results.servers() if name not in COLOURS]
    colours = COLOURS | {name: MORE_COLOURS[at % len(MORE_COLOURS)] for at, name in enumerate(others)}
    values = [value for bars in groups.values() for value in bars.values()]
    floor = min(values) / 3 if panel.log else 0.0
    widest = max(len(bars) for bars in groups.values())
    width = 0.86 / widest
    for place, (setting, bars) in enumerate(groups.items()):
        for at, (server, value) in enumerate(bars.items()):
            x = place + (at - (len(bars) - 1) / 2) * width
            drawn = axes.bar(x, value - floor, width * 0.92, bottom=floor, color=colours[server], linewidth=0)
            handles.setdefault(server, drawn)
            dropped = results.figure(setting, server, "dropped") or 0
            label = " " + short(value) + (f", dropped {dropped:,.0f}" if dropped else "")
            axes.text(x, value, label, rotation=90, ha="center", va="bottom", fontsize=7)
    axes.set_title(panel.title, fontsize=10)
    axes.set_xticks(range(len(groups)), [_tick(setting) for setting in groups])
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(which="both", length=0)
    if panel.log:
        axes.set_yscale("log")
        top = max(values)
        axes.set_ylim(floor, top * (top / floor) ** 0.5)  # room for the labels
    else:
        axes.set_ylim(0, max(values) * 1.3)
    axes.yaxis.set_major_formatter(lambda value, _: short(value) if value >= 9_950 else f"{value:,g}")
    return handles


def _tick(setting: Setting) -> str:
    flying = f"\n{setting.in_flight} in flight" if setting.in_flight else ""
    return f"{setting.clients:,} clients{flying}"
