"""Load a server with clients of every kind at once, and check each message, each eviction and what is left at the end.

Clients of plain lines talk in the lobby. Clients of threadchat.v1 talk in rooms, where they are cut off and put to
sleep, come back and send again what was not echoed. The exit status is 1 if a message was lost, repeated or out of
order, also across reconnects with threadchat.v1, if a healthy client was evicted or a stuck one was not, if threads or
descriptors were left over, or if the server did not stop properly. Ctrl-C ends the traffic; the report follows all the
same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import load
import servers
import soak_processes
from rich.console import Console
from soak_clients import Refused, Soak
from soak_report import failures, middle_and_worst, quarters, show
from talkers import Talkers

SEND_BUFFER = 256  # messages
PLAIN_LINE_EVERY = 30  # seconds, if standard error is not a terminal
REST = 5.0  # seconds; longer than the server waits for a peer's close frame
TALKERS, ROOMS = 40, 4  # clients of threadchat.v1, and the rooms that they are in
DISTURBED = 50  # messages, after which one of them is cut off or put to sleep
AWAY = 2.0  # seconds until one of them comes back, at most
NAPS = {(0.05, 1.0): 70, (1.0, 10.0): 25, (20.0, 75.0): 5}  # from how long to how long one sleeps, and how often
STOP_LIMIT = 30.0  # seconds


@dataclass
class Sample:
    """What the operating system says about the server's process at one moment. Memory in KB."""

    threads: int
    descriptors: int
    memory: int


@dataclass
class Watch:
    """The server's process, observed during the run."""

    process: subprocess.Popen[bytes]
    samples: list[Sample] = field(default_factory=list)

    def look(self) -> Sample:
        """Take a sample. Raises servers.Failed if the process has ended."""
        if self.process.poll() is not None:
            raise servers.Failed(f"the server ended with status {self.process.returncode}")
        known = load.Server(self.process.pid)
        descriptors = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        self.samples.append(Sample(known.status("Threads"), descriptors, known.status("VmRSS")))
        return self.samples[-1]

    def at_rest(self) -> Sample:
        """Return the first sample that has the same threads and descriptors as one second before."""
        before = self.look()
        while True:
            time.sleep(1)
            now = self.look()
            if (now.threads, now.descriptors) == (before.threads, before.descriptors):
                return now
            before = now

    def back_at(self, start: Sample) -> Sample:
        """Wait until no more is left than at the start, or nothing has changed for REST seconds; return a sample."""
        before, since = self.look(), time.monotonic()
        while before.threads > start.threads or before.descriptors > start.descriptors:
            time.sleep(0.05)
            now = self.look()
            if (now.threads, now.descriptors) != (before.threads, before.descriptors):
                before, since = now, time.monotonic()
            elif time.monotonic() > since + REST:
                break
        return self.samples[-1]

    def peak(self) -> Sample:
        """Return the highest value of each figure."""
        columns = zip(*((sample.threads, sample.descriptors, sample.memory) for sample in self.samples), strict=True)
        return Sample(*map(max, columns))


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak as these arguments say (default sys.argv), and return the exit status."""
    given = parse(arguments)
    notices = Console(stderr=True, highlight=False, soft_wrap=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with suppress(OSError, ValueError):  # the server inherits it
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        if given.processes:
            report = soak_processes.soak(given, notices, of_talkers(given.talkers, given))
        else:
            with servers.running(servers.Server("soaked", given.server)) as running:
                report = soak(running, given, notices)
    except (servers.Failed, Refused, TimeoutError) as failure:
        notices.print(f"{failure} {getattr(failure, 'output', '')}".strip(), markup=False)
        return 1
    (soak_processes.show if given.processes else show)(report)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if report["failures"] else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=positive, default=20.0, metavar="M", help="minutes of traffic (default %(default)g)")
    add(
        "--clients",
        type=int,
        default=100,
        metavar="N",
        help="clients of the lobby that stay for the whole run (default %(default)s)",
    )
    help_text = (
        f"clients of threadchat.v1, in {ROOMS} rooms, that are cut off and put to sleep, come back and send again what "
        f"was not echoed (default {TALKERS}; 0 with --server)"
    )
    add("--talkers", type=int, metavar="N", help=help_text)
    help_text = (
        "messages a second from all writers together, without the bursts; the clients of threadchat.v1 send as many "
        "(default %(default)g)"
    )
    add("--rate", type=positive, default=200.0, metavar="A_SECOND", help=help_text)
    add("--seed", type=int, default=0, help="seed of the random choices: which client writes, how visitors leave")
    add("--json", type=Path, metavar="FILE", help="write the report to this file")
    help_text = "an option of `threadchat serve`, as in --serve-option=--pong-wait=30 (repeatable)"
    add("--serve-option", action="append", default=[], metavar="OPTION", help=help_text)
    help_text = (
        "the server to soak instead of threadchat; {port} stands for the port; its send buffer must hold 256 messages"
    )
    add("--server", type=shlex.split, metavar="COMMAND", help=help_text)
    help_text = "where several processes keep their logs: redis:// starts a redis-server for the run"
    add("--store", choices=["redis://"], help=help_text)
    help_text = (
        "soak so many processes over that store, with clients of threadchat.v1 alone, while one process after the "
        "other is killed or stopped"
    )
    add("--processes", type=int, default=0, metavar="N", help=help_text)
    help_text = "how often one of the processes is ended; what dies within 5 s is restarted later (default %(default)g)"
    add("--kill-every", type=positive, default=20.0, metavar="SECONDS", help=help_text)
    given = parser.parse_args(arguments)
    given.stop_limit = STOP_LIMIT
    if bool(given.processes) != bool(given.store) or given.processes < 0 or (given.processes and given.server):
        parser.error("--processes and --store go together, and without --server")
    if given.clients < 1:
        parser.error("--clients: must be at least 1")
    if given.talkers is None:
        given.talkers = TALKERS if given.server is None else 0
    if given.talkers < 0:
        parser.error("--talkers: must not be negative")
    if given.server is None:
        options: tuple[str, ...] = ("--send-buffer", str(SEND_BUFFER), "--message-rate", "0", "--log-level", "warning")
        options += ("--room-linger", "1")  # so that the threads of the rooms have ended when the rest is counted
        given.server = (sys.executable, "-m", "threadchat", "serve", "--port", "{port}", *options, *given.serve_option)
    elif given.serve_option or not any("{port}" in word for word in given.server):
        parser.error("--server: must be a command with {port} in it, and excludes --serve-option")
    if given.json and not given.json.absolute().parent.is_dir():
        parser.error(f"there is no folder {given.json.parent}")
    return given


def positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise ValueError
    return value


def soak(running: servers.Running, given: argparse.Namespace, notices: Console) -> dict[str, Any]:
    """Do the whole run, and return its report."""
    watch = Watch(running.process)
    warm_up = Soak(running.port, 1, given.rate, SEND_BUFFER, given.seed)
    warm_up.leave()
    if given.talkers:
        join(running, 1, given).leave()
    start = watch.at_rest()
    clients = Soak(running.port, given.clients, given.rate, SEND_BUFFER, given.seed)
    talkers = join(running, given.talkers, given)
    signal.signal(signal.SIGINT, lambda *_: finish(clients, talkers))
    with progress(notices, clients, talkers, watch) as each_second, ThreadPoolExecutor(1) as executor:
        began, used = time.monotonic(), time.process_time()
        talking = executor.submit(talkers.run, given.minutes * 60)
        try:
            clients.run(given.minutes * 60, each_second)
        except BaseException:
            talkers.finish()
            raise
        talking.result()
        load_cpu = (time.process_time() - used) / (time.monotonic() - began)
        lasted = list(watch.samples)
        clients.leave()
        talkers.leave()
        end = watch.back_at(start)
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    try:
        status: int | None = running.process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        status = None
    counts = clients.counts
    report: dict[str, Any] = {
        "minutes": round(clients.talked / 60, 3),
        "clients": counts.healthy_clients,
        "sent": counts.sent,
        "delivered": counts.delivered,
        "lost": counts.lost,
        "repeated": counts.repeated,
        "out_of_order": counts.out_of_order,
        "healthy_evicted": counts.healthy_evicted.total(),
        "healthy_evicted_kinds": dict(counts.healthy_evicted),
        "visits": dict(counts.visits),
        "stuck_evicted": counts.stuck_evicted,
        "stuck_not_evicted": counts.stuck_not_evicted,
        "stuck_not_full_at_the_end": counts.stuck_not_full,
        "evicted_after_seconds": middle_and_worst(counts.evicted_after),
        "vanished_given_up_after_seconds": middle_and_worst(counts.vanished_after),
        "v1": v1_figures(talkers),
        "start": vars(start),
        "peak": vars(watch.peak()),
        "end": vars(end),
        "memory_quarters": quarters([sample.memory for sample in lasted]),
        "load_cpu": round(load_cpu, 2),
        "stop_status": status,
        "stop_seconds": round(time.monotonic() - began, 2),
        "server_said": running.said(),
    }
    return report | {"failures": failures(report)}


def join(running: servers.Running, talkers: int, given: argparse.Namespace) -> Talkers:
    """Return so many clients of threadchat.v1, which have joined their rooms."""
    return Talkers([running.port], talkers, **of_talkers(talkers, given))


def of_talkers(talkers: int, given: argparse.Namespace) -> dict[str, Any]:
    """Return what so many clients of threadchat.v1 are to do."""
    pause = DISTURBED / given.rate
    return {
        "rooms": min(ROOMS, talkers),
        "rate": given.rate,
        "pause": pause,
        "nap": nap,
        "away": AWAY,
        "seed": given.seed,
    }


def nap(chance: random.Random) -> float:
    """Return for how many seconds a client of threadchat.v1 sleeps: mostly a moment, sometimes beyond the pong wait."""
    (shortest, longest) = chance.choices(list(NAPS), list(NAPS.values()))[0]
    return chance.uniform(shortest, longest)


def v1_figures(talkers: Talkers) -> dict[str, Any]:
    """Return the part of the report that is about the clients of threadchat.v1."""
    return vars(talkers.counts) | {
        "clients": len(talkers.talkers),
        "rooms": len(talkers.rooms),
        "entries": sum(room.top for room in talkers.rooms),
        "endings": dict(talkers.counts.endings),
    }


def finish(clients: Soak, talkers: Talkers) -> None:
    """On Ctrl-C, end the traffic and let the report follow. A second Ctrl-C ends the soak at once."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    clients.finish()
    talkers.finish()


@contextmanager
def progress(notices: Console, clients: Soak, talkers: Talkers, watch: Watch) -> Iterator[Callable[[], None]]:
    """Yield the function to call every second: it takes a sample and shows the counts so far."""
    began = time.monotonic()
    last_plain = -PLAIN_LINE_EVERY
    with notices.status("the clients are joining") if notices.is_terminal else nullcontext() as status:

        def each_second() -> None:
            nonlocal last_plain
            seconds, now, counts = int(time.monotonic() - began), watch.look(), clients.counts
            talk = (
                f"{seconds // 60:02d}:{seconds % 60:02d}  sent {counts.sent:,}  delivered {counts.delivered:,}  "
                f"lost {counts.lost:,}  repeated {counts.repeated:,}  out of order {counts.out_of_order:,}"
            )
            v1 = talkers.counts
            talk += f"; v1 said {v1.said:,}  delivered {v1.delivered:,}  missed {v1.missed:,}  twice {v1.twice:,}"
            server = (
                f"evicted {counts.healthy_evicted.total()} healthy, {counts.stuck_evicted} stuck  "
                f"clients {len(clients.clients)}  threads {now.threads}  descriptors {now.descriptors}  "
                f"{now.memory / 1024:.0f} MB"
            )
            if status is not None:
                status.update(f"{talk}\n  {server}")
            elif seconds >= last_plain + PLAIN_LINE_EVERY:
                last_plain = seconds
                notices.print(f"{talk}  {server}", markup=False)

        yield each_second


if __name__ == "__main__":
    sys.exit(main())
