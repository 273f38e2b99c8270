"""The entrance: of a crowd that comes at the same moment, one comes in after the other.

After a restart thousands come back at once. If all of them came in at the same time, each would be a thread that wants
the interpreter's lock, and those who are in already, with a message to read or to write, would be one of thousands. One
after the other, they are all in just as soon.

The races, each forced by a test of the same number in tests/test_entrance.py:
1. A client's turn comes at the moment at which the client stops waiting for it.
2. A client that took too long, and was passed, gets in while another one is coming in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock

# Seconds that a client waits for each of those before it. To come in takes a twentieth of that, unless something
# blocks: a peer that does not read what it has missed, or a hub that passes on a message to thousands.
PATIENCE = 0.02


class Entrance:
    """Any thread may call its methods."""

    def __init__(self) -> None:
        self._mutex = Lock()  # guards the next two
        self._coming: Lock | None = None  # the turn of the client that is coming in
        self._line: deque[Lock] = deque()  # the turns of those that wait, oldest first; each is released when it comes

    @contextmanager
    def turn(self) -> Iterator[Callable[[], None]]:
        """Wait until those who came before are in, or have taken too long.

        Gives a function for the caller to call once it is in. The end of the block does the same.
        """
        turn = self._wait()
        try:
            yield partial(self._next, turn)
        finally:
            self._next(turn)

    def _wait(self) -> Lock:
        turn = Lock()
        with self._mutex:
            if self._coming is None:
                self._coming = turn
                return turn
            turn.acquire()
            self._line.append(turn)
            patience = PATIENCE * len(self._line)
        if not turn.acquire(timeout=patience):
            with self._mutex:
                if turn in self._line:  # race 1
                    self._line.remove(turn)
                    self._coming = turn
        return turn

    def _next(self, turn: Lock) -> None:
        with self._mutex:
            if self._coming is not turn:  # it has been in before, or was passed (race 2)
                return
            self._coming = self._line.popleft() if self._line else None
            if self._coming is not None:
                self._coming.release()
