"""Runs the lessons for the page: each as `threadchat lesson NAME --json`, in a process of its own.

A lesson breaks a part of the chat on purpose. In its own process it cannot harm the server, which only waits for what
the process prints.
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
    """The lesson could not be run; str() says why."""


class Lessons:
    """Runs lessons, one at a time. Any thread may call its methods; `stop` ends the lesson that is running."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()  # guards the next two
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._list: Any = None  # of all lessons, once it has been asked for
        self._results: dict[str, Any] = {}  # the latest of each lesson that has run

    def all(self) -> Any:
        """The list of the lessons, in the form that the page reads. Raises NoLesson and OSError."""
        if self._list is None:
            self._list = self._run()
        return self._list

    def run(self, name: str) -> Any:
        """Run a lesson. Returns its result, in the form that the page reads; blocks until the lesson has ended.

        Raises NoLesson, and OSError if the process cannot be started.
        """
        if not re.fullmatch("[a-z][a-z-]*", name):
            raise NoLesson("that is not the name of a lesson")
        result = self._results[name] = self._run(name)
        return result

    def result(self, name: str) -> Any:
        """The latest result of the lesson; None if it has not run."""
        return self._results.get(name)

    def stop(self) -> None:
        """End the lesson that is running, and refuse all further ones."""
        with self._mutex:
            self._stopped = True
            if self._running is not None:
                _kill(self._running)

    def _run(self, *arguments: str) -> Any:
        with self._mutex:
            if self._running is not None:
                raise NoLesson("another lesson is running; try again when it has ended")
            if self._stopped:
                raise NoLesson("the server is stopping")
            self._running = process = subprocess.Popen(
                [*COMMAND, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # so that `_kill` also ends the processes that it starts
            )
        # The server may run on one processor only (see `system`), and the process inherits that. A lesson uses all.
        with suppress(AttributeError, OSError):
            os.sched_setaffinity(process.pid, range(os.cpu_count() or 1))
        try:
            printed, complaint = process.communicate(timeout=LONGEST)
            return json.loads(printed)
        except subprocess.TimeoutExpired as error:
            raise NoLesson(f"the lesson took longer than {LONGEST:g} seconds") from error
        except ValueError as error:
            said = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise NoLesson(said or f"the lesson ended with status {process.returncode}") from error
        finally:
            _kill(process)
            process.communicate()
            with self._mutex:
                self._running = None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and the processes of the lesson's parts that it has started."""
    if not hasattr(os, "killpg"):  # Windows, where no lesson runs
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
