"""The run queue: which of many ready threads may run. Go's scheduler in small, for threads that share the GIL.

The convoy. A broadcast to 1,000 clients makes 1,000 write pumps ready. If the hub wakes them all at once, they all ask
for the global interpreter lock. One thread gets it, and each of the others wakes every 5 ms (`sys.getswitchinterval`)
to ask again. The machine is busy with asking:

    hub ──wake──► pump 1   ┐
        ──wake──► pump 2   │  999 threads wake 200 times a second,
        ...                │  and none of them may run
        ──wake──► pump 1000┘

Go's hub makes 1,000 goroutines ready too, but a ready goroutine is not awake: it stands in a run queue, and only as
many goroutines run as there are processors. The same is done here. A pump for which there is a message stands in the
queue until it is given a turn, and there are no more turns than threads that can run at once. Before the pump does
something that may block, it gives its turn to the next:

    hub ──ready──► [ 1000 ... 4 3 2 ]   pump 1: takes its messages, ──turn──► pump 2: takes its messages, ──turn──► ...
                                                then writes them              then writes them

Go's scheduler keeps a place for the goroutine that is to run next, before all others in the line (`runnext`). Here it
is a second line, for urgent pumps: those of clients that have just spoken. A client that waits for its own words before
it says more gets them soon, and what it says then still reaches the pumps in the ordinary line before their turns, so
that each of them writes more at once. While ordinary pumps wait, at most every other turn is an urgent one.

No thread holds a turn while it is blocked, so a stuck client holds nobody up. The hub and the read pumps need no turn:
they run when they have something to do. While a pump stands in the queue, more messages may come for it; in its turn
it takes them all. Only when buffers are full does the hub stand in the line too, behind the pumps that will empty them.

What remains is the cost of waking a thread for each frame. Some settings of the process make it cheaper: see `system`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RunQueueStatistics:
    """A run queue at one instant: how many turns there are, how many of them are free, and how many threads wait."""

    turns: int
    free: int
    waiting: int


class RunQueue:
    """A number of turns, and two lines of threads that wait for one. Any thread may call its methods.

    Only `gosched` blocks.
    """

    def __init__(self, turns: int = 1) -> None:
        if turns < 1:
            raise ValueError("a run queue has at least one turn")
        self.turns = turns
        # The mutex must be held to read or change any of the next four fields.
        self._mutex = threading.Lock()
        self._free = turns
        self._line: deque[Callable[[], None]] = deque()
        self._urgent: deque[Callable[[], None]] = deque()
        self._urgent_is_next = True

    def ready(self, wake: Callable[[], None], urgent: bool = False) -> None:
        """Call `wake` as soon as a turn is free for the thread that it wakes (Go's goready). `wake` must not block.

        That thread then holds the turn, and must give it back with `next`.
        """
        with self._mutex:
            if not self._free:
                (self._urgent if urgent else self._line).append(wake)
                return
            self._free -= 1
        wake()

    def next(self) -> None:
        """Give a turn back: the next thread in line gets it. For a thread that holds a turn and is about to block."""
        with self._mutex:
            line = self._urgent if self._urgent and (self._urgent_is_next or not self._line) else self._line
            if not line:
                self._free += 1
                return
            self._urgent_is_next = line is self._line
            wake = line.popleft()
        wake()

    def gosched(self) -> None:
        """Wait until the threads in the ordinary line have had their turn: Go's `runtime.Gosched`.

        Of the urgent ones, only every other turn comes before this thread's. For a thread that holds no turn.
        """
        turn = threading.Lock()
        turn.acquire()
        self.ready(turn.release)
        turn.acquire()
        self.next()

    def statistics(self) -> RunQueueStatistics:
        """The queue at this instant. It may have changed by the time the caller looks at the result."""
        with self._mutex:
            return RunQueueStatistics(self.turns, self._free, len(self._line) + len(self._urgent))


RUN_QUEUE = RunQueue()  # the process's own: all threads share one interpreter lock, so all hubs share one run queue
