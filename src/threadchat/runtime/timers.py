"""Go's `time.AfterFunc`, for all that a chat does later: one thread, which sleeps until the next function is due."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from threadchat.channel import Channel, Closed, WouldBlock, select
from threadchat.runtime.threads import NoThread, go

log = logging.getLogger("threadchat")


class Timers:
    """Calls functions later, in a thread of its own, which it starts for the first of them.

    Any thread may call the methods. The functions must not block, and must not call `stop`.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()  # guards the next three
        self._due: list[tuple[float, int, Callable[[], object]]] = []  # a heap; the numbers decide between equal times
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        # Holds an item when the first function to come may have changed. Closed by `stop`.
        self._changed: Channel[None] = Channel(1)

    def after(self, seconds: float, function: Callable[[], object]) -> None:
        """Call the function once, `seconds` from now; never, if `stop` comes first.

        If the system has no thread for this, the next call tries again.
        """
        with self._mutex:
            due = time.monotonic() + seconds, next(self._numbers), function
            heapq.heappush(self._due, due)
            with suppress(Closed, NoThread):
                if self._thread is None or self._due[0] is due:  # else it wakes soon enough: thousands leave at once
                    with suppress(WouldBlock):
                        self._changed.send_nowait(None)
                if self._thread is None:
                    self._thread = go(self._run, "timers")

    def stop(self) -> None:
        """Call no more functions. Returns when the thread has ended. May be called again."""
        with suppress(Closed):
            self._changed.close()
        with self._mutex:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            now = time.monotonic()
            with self._mutex:
                ready = []
                while self._due and self._due[0][0] <= now:
                    ready.append(heapq.heappop(self._due)[2])
                timeout = self._due[0][0] - now if self._due else None
            for function in ready:
                try:
                    function()
                except Exception:
                    log.exception("a timer's function failed")
            try:
                select(self._changed, timeout=0 if ready else timeout)
            except TimeoutError:
                continue
            except Closed:
                return
