"""Checks a learner's file: starts the process that does it (see `child`), and ends it when it takes too long."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from threadchat.exercises.cards import Card
from threadchat.exercises.verdict import Finding, Result

LIMIT = 2.0  # seconds


def check(card: Card, file: Path) -> Result:
    """Check the file. Never hangs, whatever the file does."""
    command = [sys.executable, "-m", "threadchat.exercises.child", card.name, str(file), str(time.monotonic() + LIMIT)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, encoding="utf-8", errors="replace"
        )
    except subprocess.TimeoutExpired:
        return Result(Finding((f"After {LIMIT:g} seconds your code was still busy, and was ended. {STUCK}",)), 1)
    if done.returncode or not done.stdout:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return Result(Finding((f"The process in which your code ran has ended before the check was done: {last}",)), 1)
    found = json.loads(done.stdout)
    finding = found["finding"]
    if finding:
        finding = Finding(tuple(finding["paragraphs"]), finding["name"], tuple(finding["story"]))
    return Result(finding, found["runs"], found["printed"])


STUCK = (
    "It does something that takes long without a line of yours being reached, such as a huge computation or a wait "
    "outside channels."
)
