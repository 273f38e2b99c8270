"""The benchmark's Markdown tables: those of the README, and the comparison of two commits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from report import plain, short, whole
from rounds import Results, Setting

# A figure of each scenario: its name, how it is called, and whether more is better.
COMPARED = {
    "saturation": (("deliveries_a_second", "deliveries a second", True), ("cpu_us_a_delivery", "CPU us", False)),
    "calm": (("latency_p50_ms", "median ms", False), ("cpu_us_a_delivery", "CPU us", False)),
}
TOLERATED = 0.05  # how much worse the newer commit may be


def readme(results: Results) -> Iterator[str]:
    """Yield the lines of the README's tables."""
    others = [name for name in results.servers() if name != "threadchat"]
    title = "4 senders in a closed loop, {} in flight each: deliveries a second"
    for flying in dict.fromkeys(setting.in_flight for setting in results.settings() if setting.in_flight):
        chosen = [setting for setting in results.settings() if setting.in_flight == flying]
        there = [name for name in others if any((setting, name) in results for setting in chosen)]
        head = [title.format(flying), "threadchat", *(f"times {name}" for name in there)]
        yield from _table(head, [_ahead(results, setting, there) for setting in chosen])
        names = ["threadchat", *there]
        head = [f"the same, {flying} in flight: CPU a delivery in microseconds", *names]
        yield from _table(head, [_figures(results, setting, names, "cpu_us_a_delivery") for setting in chosen])
    calm = [setting for setting in results.settings() if setting.scenario == "calm"]
    if calm:
        head = ["50 messages a second: median latency in ms; CPU a delivery in microseconds", "threadchat", *others]
        yield from _table(
            head,
            [
                _figures(results, setting, ["threadchat", *others], "latency_p50_ms", "cpu_us_a_delivery")
                for setting in calm
            ],
        )
    crowds = [setting for setting in results.settings() if setting.scenario == "crowd"]
    if crowds:
        there = [name for name in results.servers() if any((setting, name) in results for setting in crowds)]
        yield from _table(
            ["memory a client in KB", *there],
            [_figures(results, setting, there, "memory_kb_a_client") for setting in crowds],
        )
    for name in dict.fromkeys(("threadchat", *others)):
        lost, repeated, dropped = (_in_all(results, name, figure) for figure in ("lost", "repeated", "dropped"))
        if name == "threadchat" or lost or repeated:
            yield f"{name} lost {lost:,.0f} messages, repeated {repeated:,.0f} and dropped {dropped:,.0f} clients."
    yield "Ratios are medians of the rounds' ratios, and all other figures medians of the rounds."
    yield "In brackets: the other's deliveries a second, and the clients that it dropped in its worst round."
    yield "`*`: the load generator was the bottleneck for that server, which could have delivered more."


def compared(results: Results, old: str, new: str) -> Iterator[str]:
    """Yield the lines of the table that compares two commits. What has become worse is bold."""
    rows = []
    for setting in results.settings():
        for name, title, more in COMPARED[setting.scenario]:
            values = [results.figure(setting, server, name) for server in (old, new)]
            ratio, each = results.ratio(setting, old, name, ours=new), results.ratios(setting, old, name, ours=new)
            form = whole if name == "deliveries_a_second" else plain
            cells = ["failed" if value is None else form(value) for value in values]
            span = f"{min(each):.2f} to {max(each):.2f}" if each else ""
            shown = "" if ratio is None else f"{ratio:.3f}"
            if ratio is not None and not (ratio >= 1 - TOLERATED if more else ratio <= 1 + TOLERATED):
                shown = f"**{shown}**"
            rows.append([f"{setting}: {title}", *cells, shown, span])
    yield from _table(["", old, new, "new / old", "single rounds"], rows)
    yield f"Bold: more than {TOLERATED:.0%} worse."


def _in_all(results: Results, server: str, name: str) -> float:
    """Return the sum of a figure over all rounds of all settings."""
    rounds = (figures for (_, other), outcome in results.items() if other == server for figures in outcome.rounds)
    return sum(figures.get(name) or 0 for figures in rounds)


def _ahead(results: Results, setting: Setting, others: Sequence[str]) -> list[str]:
    ours = results.figure(setting, "threadchat", "deliveries_a_second")
    cells = [f"{setting.clients:,} clients", "failed" if ours is None else whole(round(ours, -3))]
    for name in others:
        ratio = results.ratio(setting, name, "deliveries_a_second")
        theirs, dropped = (results.figure(setting, name, figure) for figure in ("deliveries_a_second", "dropped"))
        if ratio is None or theirs is None:
            cells.append("failed" if (setting, name) in results else "")
            continue
        mark = " `*`" if results[setting, name].load_was_the_limit else ""
        gone = f"; {dropped:,.0f} dropped" if dropped else ""
        cells.append(f"{plain(ratio)} ({short(theirs)}{gone}){mark}")
    return cells


def _figures(results: Results, setting: Setting, servers: Sequence[str], *names: str) -> list[str]:
    cells = [f"{setting.clients:,} clients"]
    for server in servers:
        figures = [results.figure(setting, server, name) for name in names]
        cells.append("; ".join(plain(figure) for figure in figures if figure is not None))
    return cells


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---", *("---:" for _ in head[1:])], *rows):
        yield f"| {' | '.join(row)} |"
    yield ""
