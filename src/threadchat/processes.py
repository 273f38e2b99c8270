"""Several processes that are one chat, on one machine: `threadchat serve --processes N`.

This process starts the others, which it calls its siblings, replaces those that end, and stops them all. They share a
store, without which they would be N chats, and the socket that they listen on. A sibling is this program, started anew
with the same arguments; runtime/sibling.py is its side.

A sibling that is told to stop (SIGTERM) is replaced at once, while it drains: so they can be restarted one by one, by
hand. One that dies is replaced too. Where none of them lives for YOUNG seconds, they are not restarted for ever.

How the connections are shared was chosen by measurement (scripts/benchmark/spread.py: four processes on two processors
that had much else to do, 1,000 connections, and 500 more from the moment when one process is told to stop):

| | farthest from the mean | refused or reset | longest wait | 500 more after that |
| --- | --- | --- | --- | --- |
| one socket, and the one with the fewest takes the next (runtime/share.py) | 3 % | 0 | 0.9 s | 432, 453, 433, 431 |
| one socket, left to the system | 234 % | 0 | 0.8 s | 252, 322, 1,067, 300 |
| a socket for each, with SO_REUSEPORT, which outlives its process | 5 % | 0 | 8.6 s | 257, 508, 494, 486 |

With SO_REUSEPORT, those whom the system sends to a process that is replaced wait for the next one. It also lets a
second server take the same port. A port for each is for a proxy, which then has to know all of them.

The races, each forced by a test of the same number in tests/test_processes.py:
1. A sibling ends while all are told to stop.
2. This process is killed.
3. A sibling is told to stop twice, or dies while it drains.
4. Whoever stops all of them sends SIGTERM to each one as well, as systemd does with KillMode=control-group.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from threadchat.runtime.share import make_table, remove
from threadchat.runtime.sibling import Place, read_report
from threadchat.runtime.signals import status_before_start, stop_signals
from threadchat.runtime.supervisor import tell
from threadchat.runtime.threads import NoThread, go
from threadchat.serving import CannotServe, counted, say, say_last
from threadchat.web.drain import GOODBYE

log = logging.getLogger("threadchat")

LAST_WAIT = 10.0  # seconds that siblings have to end after a second signal, before they are killed
LOOK_EVERY = 0.5  # seconds between two looks whether that time has passed
YOUNG = 5.0  # seconds: a sibling that ends before has failed to start
PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds before the next start, by how many have failed in a row


def run(command: Sequence[str], count: int, host: str, listener: socket.socket, kept: bool = False) -> int:
    """Run `count` processes in place of one, until a stop signal. Returns the exit status.

    Each is started with `command`. They take themselves to listen on `host`. SIGTERM, SIGINT and SIGHUP are passed on
    to all of them, and so is each further signal. `kept` is Place's. Raises CannotServe if they cannot start, or
    cannot say where they listen.
    """
    with (
        stop_signals() as signals,
        tempfile.TemporaryDirectory(prefix="threadchat-", ignore_cleanup_errors=True) as folder,
    ):
        if early := signals.came():
            return status_before_start(early)
        processes = Processes(command, count, host, listener, Path(folder), kept)
        processes.start()
        number = signals.wait()
        tell("STOPPING=1")
        if number == signal.SIGINT and sys.stdout.isatty():
            say_last("")  # after the ^C that the terminal shows
        processes.send(number)
        signals.drain(processes.join, lambda: processes.send(number))
        if processes.problem is not None:
            raise processes.problem
        say_last(processes.told)
        return processes.status


class Process:
    """A sibling, as this process sees it. The last two fields are guarded by the mutex of its `Processes`."""

    def __init__(self, number: int, process: subprocess.Popen[bytes], reports: socket.socket) -> None:
        self.number = number
        self.process = process
        self.reports = reports
        self.began = time.monotonic()
        self.is_ready = False
        self.leaves = False  # stops, and is replaced already

    @property
    def is_settled(self) -> bool:
        """Whether it has started, and gone on for a while."""
        return self.is_ready and not self.leaves and time.monotonic() >= self.began + YOUNG


class Processes:
    """The siblings. Each is followed by a thread of this process, which starts the next one in its place.

    The main thread calls the methods. `problem` is why the siblings were given up, once they are.
    """

    def __init__(
        self, command: Sequence[str], count: int, host: str, listener: socket.socket, folder: Path, kept: bool
    ) -> None:
        self.problem: OSError | None = None
        self._command = command
        self._count = count
        self._host = host
        self._listener = listener
        self._folder = folder
        self._kept = kept
        self._environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        self._changed = threading.Condition()  # guards the rest
        self._running: list[Process] = []
        self._threads: list[threading.Thread] = []
        self._starting = set(range(1, count + 1))  # the numbers of those that have not been ready yet
        self._failures = 0  # how many starts have failed in a row
        self._reason = ""  # why the last one failed, if it has said so
        self._stopping = False
        self._told = {"drained": 0, "stopped": 0}  # how many clients were told in a drain, and in a stop
        self._ended = 0  # how many have ended after all were told to stop
        self._patience_ends = math.inf  # when those are killed that have not ended; set by the second signal to stop
        self._statuses: list[int] = []  # the exit statuses of these, without those that had only just been started
        make_table(self._folder / "table", count)

    def start(self) -> None:
        """Start all of them. Returns at once."""
        with self._changed:
            for number in range(1, self._count + 1):
                self._start(number)

    def send(self, number: int) -> None:
        """Send all of them a signal to stop. None is replaced from now on."""
        with self._changed:
            first, self._stopping = not self._stopping, True
            self._changed.notify_all()
            if not first:
                self._patience_ends = min(self._patience_ends, time.monotonic() + LAST_WAIT)
            for each in self._running:
                if not (first and number == signal.SIGTERM and each.leaves):  # race 4: it drains, and would end that
                    each.process.send_signal(number)

    def join(self) -> None:
        """Wait until all of them have ended. Called after `send`. One that hangs is killed after a further signal."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(LOOK_EVERY)
                if time.monotonic() >= self._patience_ends:
                    with self._changed:
                        for each in self._running:
                            each.process.kill()

    @property
    def told(self) -> str:
        """What the stop has done, as a sentence."""
        drained, stopped = self._told["drained"], self._told["stopped"]
        come_back = f"{counted(drained, 'client')} told to come back (close code {GOODBYE[0]}), " if drained else ""
        ended = f"{counted(self._ended, 'process', 'processes')} ended"
        return f"stopped: {come_back}{counted(stopped, 'client')} told (close code 1001), {ended}"

    @property
    def status(self) -> int:
        """The exit status: 0 if all of them have stopped in order."""
        return max((128 - status if status < 0 else status for status in self._statuses), default=0)

    # The threads that follow a sibling

    def _follow(self, sibling: Process) -> None:
        with sibling.reports, sibling.reports.makefile("rb") as reports:
            for line in reports:
                self._hear(sibling, read_report(line))
        status = sibling.process.wait()
        with self._changed:
            self._running.remove(sibling)
            if self._stopping:  # race 1
                remove(self._folder / "table", sibling.number)  # the others refuse those who would be its own
                self._ended += 1
                self._statuses += [status] if sibling.is_ready else []
            elif sibling.leaves:
                level = logging.ERROR if status else logging.INFO
                log.log(level, "process %d has ended: %s", sibling.number, described(status))
            else:
                self._replace(sibling, described(status))

    def _hear(self, sibling: Process, report: Mapping[str, Any]) -> None:
        with self._changed:
            if "ready" in report:
                sibling.is_ready = True
                if self._starting:
                    self._starting.discard(sibling.number)
                    if not self._starting:
                        self._announce(report["ready"])
                else:
                    log.info("process %d is ready", sibling.number)
            elif "failed" in report:
                self._reason = report["failed"]
            elif "leaves" in report:
                if not sibling.leaves and not self._stopping:  # race 3
                    sibling.leaves = True
                    log.info("process %d stops, and is replaced", sibling.number)
                    try:
                        self._start(sibling.number)
                    except (OSError, NoThread) as error:
                        sibling.leaves = False  # its end brings the next one
                        log.error("process %d cannot be replaced yet: %s", sibling.number, error)
            elif self._stopping:
                for what, clients in report.items():
                    self._told[what] += clients

    # The caller of the methods below holds the mutex of _changed.

    def _start(self, number: int) -> None:
        """Start a sibling, and a thread that follows it. Raises OSError and NoThread."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = self._popen(number, theirs.fileno())
            sibling = Process(number, process, ours)
            try:
                thread = go(lambda: self._follow(sibling), f"sibling-{number}")
            except NoThread:  # nobody would notice its end
                process.kill()
                process.wait()
                raise
        except BaseException:
            ours.close()
            raise
        self._running.append(sibling)
        self._threads = [*(thread for thread in self._threads if thread.is_alive()), thread]

    def _popen(self, number: int, reports: int) -> subprocess.Popen[bytes]:
        descriptors = (self._listener.fileno(), reports)
        port = self._listener.getsockname()[1]
        place = Place(number, self._count, self._host, port, str(self._folder), *descriptors, self._kept)
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            env=self._environment | place.environment,
            pass_fds=descriptors,
            process_group=0,  # Ctrl-C is for this process, which passes it on
        )

    def _replace(self, sibling: Process, ending: str) -> None:
        """Start another one in the place of one that has ended by itself, or give them all up."""
        remove(self._folder / "table", sibling.number)
        failed = not sibling.is_ready or time.monotonic() < sibling.began + YOUNG
        self._failures = self._failures + 1 if failed else 0
        log.error("process %d has ended, and is replaced: %s", sibling.number, ending)
        if self._failures >= self._count and not any(each.is_settled for each in self._running):
            self._give_up(CannotServe(self._reason or f"the processes end as soon as they start: {ending}"))
            return
        while not self._changed.wait_for(lambda: self._stopping, PAUSES[min(self._failures, len(PAUSES) - 1)]):
            try:
                return self._start(sibling.number)
            except (OSError, NoThread) as error:
                self._failures += 1
                log.error("process %d cannot be started: %s", sibling.number, error)

    def _announce(self, welcome: str) -> None:
        try:
            say(f"{welcome}\n{self._count} processes serve it.")
            tell("READY=1")
        except OSError as error:
            self._give_up(error)

    def _give_up(self, problem: OSError) -> None:
        """Have the main thread, which waits for a signal, stop all of them and raise `problem`."""
        if self.problem is None:
            self.problem = problem
            os.kill(os.getpid(), signal.SIGTERM)


def described(status: int) -> str:
    """How a process has ended, in words: exit status 2, killed by SIGKILL."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
