"""The log reader: one thread that reads what is new in the logs of all rooms, where several processes share a store.

    the store -> log reader -> the room's log -> hub -> send -> write pumps

What this process has written comes back the same way, so that all processes see one order. The reader waits for news:
the names of rooms to which something was written. It then asks for what comes after the newest entry that each of them
has, so that it misses nothing, however often the connection is lost. It never waits for a hub: a room whose hub is far
behind is left out for a while.

To wake a hub and all write pumps costs the same for one entry and for a hundred. So when more than one entry has come
at once, the reader waits for PACE before it reads on, and what comes meanwhile goes on together. After a single entry
it waits for nothing.

Every LOOK_EVERY seconds, and after each trouble, the reader looks whether the logs are still those that the rooms know,
and whether any of them has something of which the news was lost. It says that this process is alive, and buries those
that are not: whoever was here by way of them alone has left. People who were here before this process started have
RETURN_WAIT to come back.

The races, each forced by a test of the same number in tests/test_reader.py:
1. A room is opened while the reader waits for entries of the others.
2. The log of a room was replaced, or trimmed past its newest entry, while the connection was lost.
3. The store is back, and other processes have not had the time to say that they are alive.
4. The chat stops while something that it has written is on its way back.
5. The reader fails while others wait for what they have said.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Protocol
from weakref import WeakValueDictionary

from threadchat.log import RETURN_WAIT, Arrivals, Point, SharedStore, StoreDown
from threadchat.runtime.threads import go

log = logging.getLogger("threadchat")

LOOK_EVERY = 3.0  # seconds; a process may miss three of these before it is taken to be dead
AGAIN = 0.25  # seconds from one try to read to the next
SOON = 0.01  # the same for the second one
PACE = 0.003  # seconds from one reading to the next at least, while each time more than one entry has come
LAST_WORDS = 1.0  # seconds at most that a stop takes for what is on its way back


class FollowedRoom(Protocol):
    """What the log reader needs of a room. Only the reader's thread calls the methods."""

    @property
    def name(self) -> str:
        """By which the store knows the room."""

    @property
    def reached(self) -> tuple[str, int]:
        """The epoch of its log, and the newest id that this has."""

    @property
    def point(self) -> Point:
        """The same, and all that shows whether the log is still the same."""

    @property
    def ended(self) -> bool:
        """Whether nothing is wanted any more."""

    @property
    def is_far_behind(self) -> bool:
        """Whether its hub has not passed on so much that nothing more is wanted for the moment."""

    def arrived(self, arrivals: Arrivals) -> None:
        """Called with what comes next in the log."""

    def lose(self) -> None:
        """Called when the log is another one now, or does not reach back to the newest entry that the room has."""

    def tell(self, up: bool) -> None:
        """Called when the store cannot be read, or can be read again."""

    def fail(self) -> None:
        """Called when the reader has failed: nothing comes any more, and nobody may wait for it."""


class LogReader:
    """The reader of one process. It adds to `names` the rooms that other processes open."""

    def __init__(self, store: SharedStore, names: set[str]) -> None:
        self.is_down = False  # written by the reader's thread
        self._store = store
        self._names = names
        self._mutex = threading.Lock()  # guards the next one
        self._rooms: WeakValueDictionary[str, FollowedRoom] = WeakValueDictionary()  # as long as somebody has them
        self._due: set[str] = set()  # rooms that have something new; the reader's thread's own
        # These are the reader's thread's own, in seconds of time.monotonic().
        self._look_at = 0.0  # when to look next
        self._bury_at = 0.0  # when a process that is taken to be dead may be buried
        self._returned_at = time.monotonic() + RETURN_WAIT  # when those are back who were here before this process
        self._earlier: Collection[str] | None = None  # processes that were dead before this one
        self._troubled = False  # whether the last step did not work
        self._is_busy = False  # whether the last time that something came it was more than one entry
        self._stopping = threading.Event()
        self._thread = go(self._run, "logReader")

    @property
    def failed(self) -> bool:
        """Whether the thread has ended without being told to."""
        return not self._thread.is_alive() and not self._stopping.is_set()

    def follow(self, room: FollowedRoom) -> None:
        """Read the room's log from now on. Called by the log writer, as the next one."""
        with self._mutex:
            self._rooms[room.name] = room
        with suppress(StoreDown):  # then it finds the room all the same
            self._store.wake(room.name)  # race 1

    def stop(self, up: bool = True) -> None:
        """Read what is on its way (race 4), if the store is `up`, and end. Returns when the thread has ended."""
        self._stopping.set()
        if up and not self._troubled:
            with suppress(StoreDown):
                self._store.wake()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
            if not self._troubled:
                with suppress(StoreDown):
                    self._end()
        except Exception:
            log.exception("the log reader has failed")
            for room in self._followed().values():
                room.fail()  # race 5

    def _step(self) -> None:
        """Read once. Whatever goes wrong with the store, the next step begins with a look.

        A connection that is lost, and made again at once, is no news.
        """
        try:
            if time.monotonic() >= self._look_at:
                self._look()
                if self.is_down:
                    log.warning("the log can be read again")
                    self._tell(up=True)
                self._troubled = False
            self._read()
        except StoreDown as error:
            self._look_at = 0.0
            self._wait_for_others()
            if not self._troubled:
                self._troubled = True
                self._stopping.wait(SOON)
                return
            if not self.is_down:
                log.error("the log cannot be read, and nobody sees anything new: %s", error)
                self._tell(up=False)
            self._stopping.wait(AGAIN)

    def _look(self) -> None:
        rooms = self._followed()
        looked = self._store.look([room.point for room in rooms.values()])
        self._names |= looked.names
        self._due |= looked.behind
        self._lose([rooms[name] for name in looked.lost])  # race 2
        dead = self._store.lease()
        if self._earlier is None:
            self._earlier = set(dead)
        if self._store.process in dead:
            self._wait_for_others()
        elif time.monotonic() >= self._bury_at:
            for process, left in dead.items():
                if time.monotonic() >= self._returned_at or not (left or process in self._earlier):
                    self._store.bury(process)
        self._look_at = time.monotonic() + LOOK_EVERY

    def _wait_for_others(self) -> None:
        """Bury nobody for some time: others were cut off as well, and must have time to say so (race 3)."""
        self._bury_at = max(self._bury_at, time.monotonic() + 2 * LOOK_EVERY)

    def _read(self, wait: bool = True) -> bool:
        """Read what there is, or wait for it. Returns whether there was something."""
        if wait and self._is_busy and not self._due and self._stopping.wait(PACE):
            return False
        named = self._store.news(wait and not self._due)
        self._names |= named
        self._due |= named
        rooms = self._followed(self._due)
        self._due &= rooms.keys()
        after = {name: rooms[name].reached for name in self._due if not rooms[name].is_far_behind}
        arrived, lost = self._store.read(after) if after else {}, []
        for name in after:
            if (arrivals := arrived.get(name)) is None or not arrivals.more:
                self._due.discard(name)
            if arrivals is not None and arrivals.entries[0].id != after[name][1] + 1:
                lost.append(rooms[name])  # race 2
            elif arrivals is not None:
                rooms[name].arrived(arrivals)
        self._lose(lost)
        self._is_busy = sum(len(each.entries) for each in arrived.values()) > 1
        return bool(arrived)

    def _end(self) -> None:
        until = time.monotonic() + LAST_WORDS
        while self._read(wait=False) and time.monotonic() < until:
            pass
        self._store.leave(RETURN_WAIT)

    def _lose(self, rooms: Sequence[FollowedRoom]) -> None:
        if rooms:
            log.warning("the store has other logs than before, of %d rooms: those who are there come back", len(rooms))
        for room in rooms:
            room.lose()

    def _tell(self, up: bool) -> None:
        self.is_down = not up
        for room in self._followed().values():
            room.tell(up)

    def _followed(self, names: Collection[str] | None = None) -> dict[str, FollowedRoom]:
        """The rooms that are read, by name: all, or those of these names."""
        with self._mutex:
            rooms = [room for each in (self._rooms if names is None else names) if (room := self._rooms.get(each))]
            for room in rooms:
                if room.ended:
                    del self._rooms[room.name]
        return {room.name: room for room in rooms if not room.ended}
