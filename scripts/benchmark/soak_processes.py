"""The soak of several processes over one Redis, in which one process after the other is killed, or stopped in order.

Only clients of threadchat.v1 can go on over that, so there are no others. They are cut off and put to sleep meanwhile.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import load
import servers
from redis_server import Redis, chat_processes, redis
from rich.console import Console
from soak_report import quarters
from talkers import Talkers

SIGNALS = (signal.SIGKILL, signal.SIGTERM)  # in turn
EACH_LINE = 30  # seconds


@dataclass
class Harm:
    """Ends one of the processes every so often, in a thread of its own, and looks at all of them every second."""

    parent: int
    redis: Redis
    every: float
    ended: Counter[str] = field(default_factory=Counter)  # processes, by the signal
    memory: list[int] = field(default_factory=list)  # of all chat processes together, in KB
    redis_memory: list[int] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self, tell: Console, talkers: Talkers) -> None:
        due, began, line = time.monotonic() + self.every, time.monotonic(), 0.0
        while not self.over.wait(1):
            now = time.monotonic()
            with suppress(OSError, KeyError):  # one of them ends at this moment
                self.memory.append(sum(load.Server(pid).status("VmRSS") for pid in chat_processes(self.parent)))
                self.redis_memory.append(load.Server(self.redis.pid).status("VmRSS"))
            if now >= due:
                due = now + self.every
                self._end_one()
            if now >= line:
                line, counts = now + EACH_LINE, talkers.counts
                tell.print(
                    f"{now - began:5.0f} s  said {counts.said:,}  delivered {counts.delivered:,}  "
                    f"missed {counts.missed}  twice {counts.twice}  processes ended {self.ended.total()}",
                    markup=False,
                )

    def _end_one(self) -> None:
        number = SIGNALS[self.ended.total() % len(SIGNALS)]
        processes = chat_processes(self.parent)
        if processes:
            with suppress(ProcessLookupError):
                os.kill(processes[self.ended.total() // len(SIGNALS) % len(processes)], number)
                self.ended[number.name] += 1


def soak(given: argparse.Namespace, notices: Console, options: dict[str, Any]) -> dict[str, Any]:
    """Do the whole run, and return its report. `options` are those of the talkers. Raises servers.Failed."""
    with redis() as shared:
        command = (*given.server, "--store", shared.url, "--processes", str(given.processes))
        with servers.running(servers.Server("soaked", command)) as running:
            talkers = Talkers([running.port], given.talkers, processes=True, **options)
            signal.signal(signal.SIGINT, lambda *_: talkers.finish())
            harm = Harm(running.process.pid, shared, given.kill_every)
            harming = threading.Thread(target=harm.run, args=(notices, talkers), daemon=True)
            harming.start()
            began, used = time.monotonic(), time.process_time()
            stopping = threading.Timer(max(0.0, given.minutes * 60 - given.kill_every), harm.over.set)
            stopping.start()  # the last ones come back before all is compared
            try:
                talkers.run(given.minutes * 60)
            finally:
                stopping.cancel()
                harm.over.set()
                harming.join()
            minutes, load_cpu = (
                (time.monotonic() - began) / 60,
                (time.process_time() - used) / (time.monotonic() - began),
            )
            talkers.leave()
            began = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            try:
                status: int | None = running.process.wait(given.stop_limit)
            except subprocess.TimeoutExpired:
                status = None
            counts = talkers.counts
            report = vars(counts) | {
                "minutes": round(minutes, 2),
                "processes": given.processes,
                "clients": given.talkers,
                "entries": sum(room.top for room in talkers.rooms),
                "endings": dict(counts.endings),
                "ended": dict(harm.ended),
                "memory_quarters": quarters(harm.memory),
                "redis_memory_quarters": quarters(harm.redis_memory),
                "load_cpu": round(load_cpu, 2),
                "stop_status": status,
                "stop_seconds": round(time.monotonic() - began, 2),
                "server_said": running.said(),
            }
    return report | {"failures": failures(report)}


def failures(report: dict[str, Any]) -> list[str]:
    """Return a sentence for each thing that went wrong."""
    found = [
        f"{report[name]:,} {what}"
        for name, what in (
            ("missed", "entries were missed"),
            ("twice", "entries came twice, or were taken twice"),
            ("different", "entries were not the same for all, or not in the log's order"),
            ("gaps", "gaps were told"),
            ("downs", "times a client was told that the log is down"),
            ("healthy_evicted", "healthy clients were evicted"),
        )
        if report[name]
    ]
    found += report["errors"][:5]
    if not report["ended"]:
        found.append("no process was ended")
    if report["stop_status"] != 0:
        found.append(f"the server's exit status was {report['stop_status']}")
    return found


def show(report: dict[str, Any]) -> None:
    """Print the report on standard output."""

    def counted(counts: dict[str, int]) -> str:
        return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items())) or "none"

    def in_mb(values: list[int]) -> str:
        return ", ".join(f"{value / 1024:.1f}" for value in values)

    rows = [
        (
            "threadchat.v1",
            f"{report['clients']} clients, {report['processes']} processes, {report['minutes']:g} minutes",
        ),
        ("processes ended", counted(report["ended"])),
        ("said", f"{report['said']:,}; {report['said_again']:,} again, {report['acknowledged']:,} were there already"),
        ("delivered", f"{report['delivered']:,} of {report['entries']:,} entries"),
        ("missed, twice, different, gaps", "{missed:,}, {twice:,}, {different:,}, {gaps:,}".format(**report)),
        ("healthy clients evicted", f"{report['healthy_evicted']}"),
        ("asleep, connections ended", f"{report['naps']:,}; {counted(report['endings'])}"),
        ("memory of the chat in MB", f"{in_mb(report['memory_quarters'])}, by quarters of the run"),
        ("memory of Redis in MB", in_mb(report["redis_memory_quarters"])),
        ("CPU of the load itself", f"{report['load_cpu']:.0%} of a processor"),
        ("stopped", f"in {report['stop_seconds']} s, with exit status {report['stop_status']}"),
    ]
    for name, value in rows:
        print(f"{name + ':':33}{value}")
    if report["server_said"]:
        print(f"the server said:\n{report['server_said']}")
    for failure in report["failures"]:
        print(f"FAILED: {failure}")
