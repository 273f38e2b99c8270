"""The soak's report: what went wrong, and the figures for people to read."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def middle_and_worst(values: Sequence[float]) -> dict[str, float] | None:
    return {"median": round(statistics.median(values), 3), "worst": round(max(values), 3)} if values else None


def quarters(values: Sequence[int]) -> list[int]:
    """Return the median of each quarter of the run."""
    size = max(1, len(values) // 4)
    starts = range(0, min(4 * size, len(values)), size)
    return [int(statistics.median(values[start : start + size])) for start in starts]


def failures(report: dict[str, Any]) -> list[str]:
    """Return a sentence for each thing that went wrong."""
    found = [
        f"{report[name]:,} {what}"
        for name, what in (
            ("lost", "messages were lost"),
            ("repeated", "messages were repeated"),
            ("out_of_order", "messages were out of order"),
            ("healthy_evicted", "healthy clients were evicted"),
            ("stuck_not_evicted", "stuck clients were not evicted"),
        )
        if report[name]
    ]
    found += [
        f"{report['v1'][name]:,} entries {what}"
        for name, what in (
            ("missed", "were missed by clients of threadchat.v1"),
            ("twice", "came twice, or were taken twice"),
            ("different", "were not the same for all, or not in the log's order"),
            ("gaps", "or more were lost in a gap"),
        )
        if report["v1"][name]
    ]
    if report["v1"]["downs"]:
        found.append(f"clients were told {report['v1']['downs']:,} times that the log is down")
    found += report["v1"]["errors"][:5]
    for what in ("threads", "descriptors"):
        left = report["end"][what] - report["start"][what]
        if left > 0:
            found.append(f"{left} {what} were left over")
    if report["stop_status"] != 0:
        found.append(f"the server's exit status was {report['stop_status']}")
    return found


def show(report: dict[str, Any]) -> None:
    """Print the report on standard output."""
    start, peak, end = report["start"], report["peak"], report["end"]
    evicted, vanished = (
        f"{after['median']} s, at worst {after['worst']} s" if after else "none"
        for after in (report["evicted_after_seconds"], report["vanished_given_up_after_seconds"])
    )
    rows = [
        ("sent", f"{report['sent']:,} messages in {report['minutes']:g} minutes"),
        ("delivered", f"{report['delivered']:,} to {report['clients']} clients, and to visitors"),
        ("lost, repeated, out of order", f"{report['lost']:,}, {report['repeated']:,}, {report['out_of_order']:,}"),
        ("visits", ", ".join(f"{count:,} ended by {way}" for way, count in sorted(report["visits"].items())) or "none"),
        (
            "healthy clients evicted",
            ", ".join(f"{count} {kind}" for kind, count in report["healthy_evicted_kinds"].items()) or "0",
        ),
        (
            "stuck clients evicted",
            f"{report['stuck_evicted']}; not evicted {report['stuck_not_evicted']}; "
            f"buffer not full at the end {report['stuck_not_full_at_the_end']}",
        ),
        ("eviction after a full buffer", evicted),
        ("vanished clients dropped after", vanished),
        *_of_v1(report["v1"]),
        ("threads", f"{start['threads']} at the start, {peak['threads']} at most, {end['threads']} at the end"),
        ("descriptors", f"{start['descriptors']}, {peak['descriptors']}, {end['descriptors']}"),
        ("memory in MB", ", ".join(f"{sample['memory'] / 1024:.1f}" for sample in (start, peak, end))),
        ("memory by quarters of the run", ", ".join(f"{value / 1024:.1f}" for value in report["memory_quarters"])),
        ("CPU of the load itself", f"{report['load_cpu']:.0%} of a processor"),
        ("stopped", f"in {report['stop_seconds']} s, with exit status {report['stop_status']}"),
    ]
    for name, value in rows:
        print(f"{name + ':':33}{value}")
    if report["server_said"]:
        print(f"the server said:\n{report['server_said']}")
    for failure in report["failures"]:
        print(f"FAILED: {failure}")


def _of_v1(v1: dict[str, Any]) -> list[tuple[str, str]]:
    if not v1["clients"]:
        return []
    endings = ", ".join(
        f"{count:,} {f'by the server with {why}' if why.isdigit() else why}"
        for why, count in sorted(v1["endings"].items())
    )
    return [
        ("threadchat.v1", f"{v1['clients']} clients in {v1['rooms']} rooms, {v1['entries']:,} entries"),
        (
            "  said",
            f"{v1['said']:,} messages; {v1['said_again']:,} said again, {v1['acknowledged']:,} were there already",
        ),
        ("  delivered", f"{v1['delivered']:,} entries"),
        ("  missed, twice, different, gaps", f"{v1['missed']:,}, {v1['twice']:,}, {v1['different']:,}, {v1['gaps']:,}"),
        ("  asleep, connections ended", f"{v1['naps']:,}; {endings or 'none'}"),
    ]
