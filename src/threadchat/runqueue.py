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

No thread holds a turn while it is blocked, so a stuck client holds nobody up. The hub and the read pumps need no turn:
they run when they have something to do. While a pump stands in the queue, more messages may come for it; it then takes
them all at once.

What is left to pay is a thread's waking for each frame, and two words to the system make that cheaper:
`give_way_to_wakers` and `stay_on_one_processor`.
"""

from __future__ import annotations

import os
import random
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class RunQueue:
    """A number of turns, and a line of those who wait for one. Any thread may call all of it; nothing blocks."""

    def __init__(self, turns: int = 1) -> None:
        self._mutex = threading.Lock()  # guards both
        self._free = turns
        self._line: deque[Callable[[], None]] = deque()

    def ready(self, wake: Callable[[], None]) -> None:
        """Have `wake` called, which must not block, once there is a turn for whom it wakes: Go's goready."""
        with self._mutex:
            if not self._free:
                self._line.append(wake)
                return
            self._free -= 1
        wake()

    def next(self) -> None:
        """Give the turn back, to the next in line if there is one. The caller has one, and is about to block."""
        with self._mutex:
            if not self._line:
                self._free += 1
                return
            wake = self._line.popleft()
        wake()


def give_way_to_wakers() -> None:
    """Let the calling thread, when woken, wait until the one that woke it blocks (SCHED_BATCH, where there is it).

    Otherwise the system may run it at once, only to find that the other still holds the interpreter's lock: it goes to
    sleep again and has to be woken a second time.
    """
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def stay_on_one_processor() -> None:
    """Keep the calling thread, and those it starts from now on, on one of its processors (where the system can).

    As they share the interpreter's lock, hardly two of them ever run at once; and waking a thread on another processor,
    which may be asleep itself, takes longer than what the thread then does.
    """
    with suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})
