"""An interpreter, in Go or in Python, as a process that is given programs."""

from __future__ import annotations

import json
import select
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from parity.language import Program

TESTS = Path(__file__).parents[1]
LIMIT = 60.0  # seconds; bounds a failure, nothing waits for it to pass


class Interpreter:
    """Runs programs in a process. After `programs_each` programs a new process is started.

    A goroutine that is blocked at a nil channel stays until its process ends.
    """

    def __init__(self, command: Sequence[str | Path], programs_each: int) -> None:
        self.command = command
        self.programs_each = programs_each
        self._process: subprocess.Popen[bytes] | None = None
        self._ran = 0

    def __enter__(self) -> Interpreter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self, program: Program, runs: int) -> Counter[str]:
        """Run a program so many times. Returns how often each outcome was seen."""
        if self._process is None or self._ran == self.programs_each:
            self._stop()
            self._process = subprocess.Popen(self.command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._ran = 0
        self._ran += 1
        process = self._process
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps({**program, "runs": runs}).encode() + b"\n")
        process.stdin.flush()
        readable, _, _ = select.select([process.stdout], [], [], LIMIT)
        answer = process.stdout.readline() if readable else b""
        assert answer, f"no answer to {json.dumps(program)}"
        return Counter(json.loads(answer))

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
