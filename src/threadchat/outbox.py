"""A client's channel `send`: a channel whose receiver, the write pump, runs in turns.

In Go, `send` is a plain buffered channel, and the runtime's scheduler decides which of the goroutines that were made
ready runs next. Python has no such scheduler, so the outbox works with a run queue: a send makes the write pump ready,
and the pump takes what is pending when it gets its turn (see `runtime.runqueue` for the reason).

The races, each forced by a test of the same number in tests/test_outbox.py:
1. The pump's deadline passes at the moment when a send makes it ready.
2. The outbox is closed while its pump waits for its turn.
3. More is sent while the pump waits for its turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from threadchat.channel import Channel, ChannelStatistics, Closed
from threadchat.runtime.runqueue import RUN_QUEUE, RunQueue

T = TypeVar("T")
R = TypeVar("R")


class Outbox(Channel[T]):
    """A buffered channel with one receiver, which takes everything that is pending, one turn after the other.

    If `urgent` is set when the receiver is made ready, it stands in the run queue's urgent line. Any thread may set it;
    the turn resets it.
    """

    __slots__ = ("_idle", "_turn_granted", "run_queue", "urgent")

    def __init__(self, capacity: int, run_queue: RunQueue = RUN_QUEUE) -> None:
        if capacity < 1:
            raise ValueError("an outbox has room for at least one item")
        super().__init__(capacity)
        self.run_queue = run_queue
        self.urgent = False
        self._idle = False  # whether the receiver is parked and has not been made ready; guarded by the mutex
        self._turn_granted = threading.Lock()  # released by the run queue when it is the receiver's turn
        self._turn_granted.acquire()

    def receive_in_turn(self, work: Callable[[list[T]], R], until: float) -> R:
        """Receive all pending items, at least one, in this thread's turn, and return what `work` makes of them.

        The turn ends with `work`, which must not wait for anything. Raises what `work` raises; TimeoutError if `until`
        (of `time.monotonic`) has passed, even when items are pending, or passes before there are any; and Closed when
        the outbox is closed and empty. For one thread, and not the main thread, which Python may interrupt.
        """
        seconds = min(until - time.monotonic(), threading.TIMEOUT_MAX)
        if not seconds > 0:  # false for nan too
            raise TimeoutError
        with self._mutex:
            self._idle = True
            if self._buffer or self._closed:
                self._make_receiver_ready()
        if not self._turn_granted.acquire(timeout=seconds):
            with self._mutex:
                too_late, self._idle = self._idle, False
            if too_late:
                raise TimeoutError
            self._turn_granted.acquire()  # race 1: it has been made ready, and its turn will come
        try:
            with self._mutex:
                self.urgent = False
                items = self._take_all()
            if items:
                return work(items)
            if not self._closed:
                raise RuntimeError("an outbox has one receiver, and another thread has received what was pending")
            raise Closed(self)
        finally:
            self.run_queue.next()

    def send_what_fits(self, items: Sequence[T]) -> Sequence[T]:
        """See `Channel.send_what_fits`."""
        with self._mutex:
            rest = self._offer_what_fits(items)
            if self._idle and items:
                self._make_receiver_ready()
            return rest

    def close(self) -> None:
        """See `Channel.close`. The receiver learns of it in its turn: a stop closes thousands of outboxes at once."""
        super().close()
        with self._mutex:
            if self._idle:
                self._make_receiver_ready()

    def statistics(self) -> ChannelStatistics:
        """See `Channel.statistics`. A receiver that waits for its turn counts as waiting no more."""
        seen = super().statistics()
        return ChannelStatistics(
            seen.pending, seen.capacity, seen.waiting_senders, seen.waiting_receivers + self._idle, seen.closed
        )

    # The caller of the methods below holds the mutex.

    def _offer(self, item: T) -> bool:
        accepted = super()._offer(item)
        if self._idle:
            self._make_receiver_ready()
        return accepted

    def _make_receiver_ready(self) -> None:
        """Put the receiver into the run queue: Go's goready."""
        self._idle = False
        self.run_queue.ready(self._turn_granted.release, self.urgent)
