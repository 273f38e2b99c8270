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
from collections.abc import Sequence
from typing import Generic, TypeVar

from threadchat.channel import Channel, ChannelStatistics, Closed
from threadchat.runtime.runqueue import RUN_QUEUE, RunQueue

T = TypeVar("T")


class Outbox(Channel[T]):
    """A buffered channel with one receiver, which takes everything that is pending, one `turn` after the other.

    While `urgent` is set, the receiver's next turn comes before those of receivers that are not urgent. Any thread may
    set it; the turn resets it.
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

    def turn(self, until: float) -> Turn[T]:
        """`with outbox.turn(until=deadline) as items:` receive all pending items, at least one, and hold a turn.

        The turn ends with the block, which must not wait for anything. Entering it raises TimeoutError when the time
        (of `time.monotonic`) is `until`, whether something is pending or not, and Closed when the outbox is closed and
        empty; then no turn is held. For one thread, which nothing interrupts (Python interrupts only the main thread).
        """
        return Turn(self, until)

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


class Turn(Generic[T]):
    """The receiver's turn, from `Outbox.turn`: to be used in a `with` statement, once."""

    __slots__ = ("_outbox", "_until")

    def __init__(self, outbox: Outbox[T], until: float) -> None:
        self._outbox = outbox
        self._until = until

    def __enter__(self) -> list[T]:
        outbox = self._outbox
        seconds = min(self._until - time.monotonic(), threading.TIMEOUT_MAX)
        if not seconds > 0:  # false for nan too
            raise TimeoutError
        with outbox._mutex:
            if outbox._buffer or outbox._closed:
                outbox._make_receiver_ready()
            else:
                outbox._idle = True
        if not outbox._turn_granted.acquire(timeout=seconds):
            with outbox._mutex:
                too_late, outbox._idle = outbox._idle, False
            if too_late:
                raise TimeoutError
            outbox._turn_granted.acquire()  # race 1: it has been made ready, and its turn will come
        with outbox._mutex:
            outbox.urgent = False
            items = outbox._take_all()
        if not items:  # closed and empty: nobody else receives
            outbox.run_queue.next()
            raise Closed(outbox)
        return items

    def __exit__(self, *exception: object) -> None:
        self._outbox.run_queue.next()
