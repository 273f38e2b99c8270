"""The lessons in the page: each is run as `threadchat lesson NAME --json`, in a process of its own.

What a lesson breaks on purpose, it thereby breaks elsewhere: the server only waits for what it prints.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

COMMAND = (sys.executable, "-m", "threadchat", "lesson", "--json")
LONGEST = 120.0  # seconds that a lesson may take


class NoLesson(Exception):
    """It could not be had; str() says why."""


class Lessons:
    """Runs lessons, one at a time. Any thread may call; `stop` ends the one that is running."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()  # guards the next two
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._list: Any = None  # once it is known

    def all(self) -> Any:
        """The list of the lessons, as the page takes it. Raises NoLesson."""
        if self._list is None:
            self._list = self._run()
        return self._list

    def run(self, name: str) -> Any:
        """What came of a lesson, as the page takes it; blocks until it is over. Raises NoLesson."""
        if not re.fullmatch("[a-z][a-z-]*", name):
            raise NoLesson("that is no lesson's name")
        return self._run(name)

    def stop(self) -> None:
        """Let no more lessons run."""
        with self._mutex:
            self._stopped = True
            if self._running is not None:
                _kill(self._running)

    def _run(self, *arguments: str) -> Any:
        with self._mutex:
            if self._running is not None:
                raise NoLesson("a lesson is being run; one at a time")
            if self._stopped:
                raise NoLesson("the server is stopping")
            self._running = process = subprocess.Popen(
                [*COMMAND, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # so that all that it has started can be ended with it
            )
        with suppress(AttributeError, OSError):  # the server may have kept itself to one processor; a lesson does not
            os.sched_setaffinity(process.pid, range(os.cpu_count() or 1))
        try:
            printed, complaint = process.communicate(timeout=LONGEST)
            return json.loads(printed)
        except subprocess.TimeoutExpired as error:
            raise NoLesson(f"it took longer than {LONGEST:g} seconds") from error
        except ValueError as error:
            said = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise NoLesson(said or f"it ended with status {process.returncode}") from error
        finally:
            _kill(process)
            process.communicate()
            with self._mutex:
                self._running = None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process, and the lesson's part that it may be waiting for."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
