"""The run queue: who of many ready threads may run. Go's scheduler in small, for threads that share Python's one lock.

The convoy. A broadcast to 1,000 clients makes 1,000 write pumps ready. Woken all at once, they all ask for the global
interpreter lock, one gets it, and each of the others wakes every 5 ms (`sys.getswitchinterval`) to ask again. The
machine is busy with asking:

    hub ──wake──► pump 1   ┐
        ──wake──► pump 2   │  999 threads wake 200 times a second,
        ...                │  and none of them may run
        ──wake──► pump 1000┘

Go's hub makes 1,000 goroutines ready too, but ready is not awake: they stand in a run queue, and as many run as there
are processors. So here: a pump that has been handed a message stands in the queue until it is given a turn, and there
are no more turns than threads that can run at once. Before it does what may block, it gives its turn to the next:

    hub ──ready──► [ 1000 ... 4 3 2 ]   pump 1: takes its messages, ──turn──► pump 2: takes its messages, ──turn──► ...
                                                then writes them              then writes them

Go's scheduler has a place for the goroutine that shall run next, before all others in the line (`runnext`). Here it is
a second line, for pumps that are urgent: those of clients that have just spoken. Who waits for their own words before
they say more has them soon; and what they say then still reaches the pumps in the ordinary line before those have their
turn, so that each writes more at once. While others wait, at most every other turn is an urgent one.

No thread holds a turn while it is blocked, so a stuck client holds nobody up. The hub and the read pumps need no turn:
they run when they have something to do. While a pump stands in the queue, more messages may come for it; it then takes
them all at once. Only when buffers are full does the hub stand in the line too, behind all those that will empty them.

What is left to pay is a thread's waking for each frame, and some words to the system make that cheaper: see `system`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class RunQueue:
    """A number of turns, and two lines of those who wait for one. Any thread may call all; only gosched blocks."""

    def __init__(self, turns: int = 1) -> None:
        self._mutex = threading.Lock()  # guards the rest
        self._free = turns
        self._line: deque[Callable[[], None]] = deque()
        self._urgent: deque[Callable[[], None]] = deque()
        self._urgent_is_next = True

    def ready(self, wake: Callable[[], None], urgent: bool = False) -> None:
        """Have `wake` called, which must not block, once there is a turn for whom it wakes: Go's goready."""
        with self._mutex:
            if not self._free:
                (self._urgent if urgent else self._line).append(wake)
                return
            self._free -= 1
        wake()

    def gosched(self) -> None:
        """Stand in the line until all before have had their turn: Go's runtime.Gosched. For a thread without a turn."""
        turn = threading.Lock()
        turn.acquire()
        self.ready(turn.release)
        turn.acquire()
        self.next()

    def next(self) -> None:
        """Give the turn back, to the next in line if there is one. The caller has one, and is about to block."""
        with self._mutex:
            line = self._urgent if self._urgent and (self._urgent_is_next or not self._line) else self._line
            if not line:
                self._free += 1
                return
            self._urgent_is_next = line is self._line
            wake = line.popleft()
        wake()
