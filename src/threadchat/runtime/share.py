"""How several processes share the connections to one socket: the one with the fewest takes the next.

All processes of a chat wait for connections on the same socket (see processes.py). Left to the system, the process that
happens to wake first takes a connection, and the spread is uneven. So each process writes how many connections it has
into a table that all of them map, and gives way while another one has clearly fewer.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from pathlib import Path

ABSENT = 2**32 - 1  # in the table: a process that takes no connections
PATIENCE = 0.2  # seconds to give way for while no other process takes a connection: then they hang
NAP = 0.001  # seconds from one look at the table to the next


def make_table(path: Path, processes: int) -> None:
    """Make the table of so many processes, all of them absent."""
    path.write_bytes(b"\xff" * 4 * processes)


def remove(path: Path, number: int) -> None:
    """Say of a process that has died that it is absent."""
    with path.open("r+b") as file:
        file.seek(4 * (number - 1))
        file.write(b"\xff" * 4)


class Share:
    """A process's view of the table. `number` is its own place, from 1 on; `kept` is Place's.

    The accept thread calls `may_take`. The server's lock guards the calls of `count` and `leave`. Any thread may call
    the others.
    """

    def __init__(self, path: Path, number: int, kept: bool = False) -> None:
        self.kept = kept
        with path.open("r+b") as file:
            self._counts = memoryview(mmap.mmap(file.fileno(), 0)).cast("I")
        self._own = number - 1
        self._left = False
        self._hung: dict[int, int] = {}  # the counts of those that took nothing when they should have

    def count(self, connections: int) -> None:
        """Say how many connections this process has."""
        if not self._left:
            self._counts[self._own] = connections

    def leave(self) -> None:
        """Say that this process takes no more connections, but for those that nobody else takes, to refuse them.

        Another one may have its place from now on.
        """
        if not self._left:
            self._left = True
            self._counts[self._own] = ABSENT

    def others_take(self) -> bool:
        """Whether some process takes connections, after this one has left them to others."""
        return any(count != ABSENT for count in self._counts.tolist())

    def elsewhere(self) -> int:
        """How many connections the other processes have together."""
        counts = self._counts.tolist()
        return sum(count for place, count in enumerate(counts) if place != self._own and count != ABSENT)

    def may_take(self, is_waiting: Callable[[], bool]) -> bool:
        """Whether a connection that waits is for this process. Gives way while another one has fewer.

        `is_waiting` says whether the connection waits still.
        """
        if self._left and self.others_take():
            time.sleep(NAP)
            return False
        before: dict[int, int] = {}
        deadline = 0.0
        while fewer := self._those_with_fewer(self._counts.tolist()):
            # One of those that should take has taken. (That somebody leaves says nothing of one that hangs.)
            if any(count > before.get(place, -1) for place, count in fewer.items()):
                before, deadline = fewer, time.monotonic() + PATIENCE
            elif time.monotonic() >= deadline:
                self._hung.update(fewer)
            time.sleep(NAP)
            if not is_waiting():
                return False
        return True

    def _those_with_fewer(self, counts: list[int]) -> dict[int, int]:
        """The counts of the other processes that have clearly fewer. The slack lets each take several in a row."""
        own = counts[self._own]
        return {
            place: count
            for place, count in enumerate(counts)
            if own > count + count // 16 + 4 and self._hung.get(place) != count
        }
