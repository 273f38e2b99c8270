"""The log writer: one thread that writes what is said in all rooms into a store, so that no hub waits for a disk.

    read pumps -> said (256) -> log writer -> the store -> the room's log -> hub -> send -> write pumps

What waits is written at once, as one group: the more is said, the fewer commits it takes for each message. Nobody sees
a message before the store has it. While the store cannot be written, the writer tries again, `said` fills up, the read
pumps stand still, and TCP slows the senders down: nothing is lost, and nothing queues without a bound.

The races, each forced by a test of the same number in tests/test_writer.py:
1. A room ends, and another one with its name is made, while something is still on its way from the first one.
2. The chat stops while the store is down.
3. The writer fails while others wait for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from threadchat.channel import Channel, Closed
from threadchat.log import Addition, SharedStore, Store, Stored, StoreDown
from threadchat.log.reader import LogReader
from threadchat.messages import Entry
from threadchat.runtime.threads import go

T = TypeVar("T")

log = logging.getLogger("threadchat")

SAID_BUFFER = 256  # entries that may wait for the writer while it is busy; it takes them all at once
AGAIN = 0.25  # seconds from one try to write to the next
GRACE = 2.0  # seconds that a stop gives to what is on its way, while the store is down


class LoggedRoom(Protocol):
    """What the log writer needs of a room. Only the writer's thread calls the methods."""

    @property
    def name(self) -> str:
        """By which the store knows the room."""

    def load(self, kept: Stored) -> None:
        """Called once, before anything else."""

    def accept(self, said: Sequence[Entry]) -> Addition:
        """Number what the room takes of what was said, and return it."""

    def taken(self, said: Sequence[Entry], accepted: Sequence[Entry]) -> None:
        """Called when the store has the entries that `accept` has returned."""

    def tell(self, up: bool) -> None:
        """Called when the store went down, or is up again."""

    def lose(self) -> None:
        """Called when the store's log of this room is another one now. Nothing is taken for this room any more."""

    def fail(self) -> None:
        """Called when the writer has failed: nothing is taken any more, and nobody may wait for it."""


class LogWriter:
    """The writer of one process. `said` takes entries with their rooms; None instead of an entry opens the room.

    Any thread may send to `said`, and call the methods. The writer closes the store at its end. What is older than
    `keep_for` seconds is dropped at once. Raises StoreDown, and then the store stays open.

    With a store that is shared with other processes there is also a `reader`: what was written comes back by it.
    """

    def __init__(self, store: Store, keep_for: float = inf) -> None:
        self.said: Channel[tuple[LoggedRoom, Entry | None]] = Channel(SAID_BUFFER)
        self.is_down = False  # written by the writer's thread, as the next four
        self.groups = 0  # that were written
        self.entries = 0  # in them
        self.seconds = 0.0  # that the store took for all that it did, without what failed
        self.failures = 0  # of the store
        self._store = store
        self._keep_for = keep_for  # seconds
        self._sweeping = False  # whether to drop what nobody needs any more before the next group
        if keep_for < inf:
            store.expire(time.time() - keep_for, ())
        self._names = store.names()  # of all rooms that the store may have; grows in the writer's thread
        # By name, the one that was opened last, as long as somebody has it. The writer's thread's own.
        self._rooms: WeakValueDictionary[str, LoggedRoom] = WeakValueDictionary()
        self._give_up = threading.Event()
        self.reader = LogReader(store, self._names) if isinstance(store, SharedStore) else None
        self._thread = go(self._run, "logWriter")

    @property
    def failed(self) -> bool:
        """Whether the thread has ended without being told to, or the reader's has."""
        if self.reader is not None and self.reader.failed:
            return True
        return not self._thread.is_alive() and not self._give_up.is_set()

    @property
    def is_up(self) -> bool:
        """Whether what is said can be logged at this instant, and is seen then."""
        return not (self.is_down or self.failed or (self.reader is not None and self.reader.is_down))

    def knows(self, name: str) -> bool:
        """Whether the store may have something of this room. Any thread may call this."""
        return name in self._names

    def stop(self) -> None:
        """Take nothing more, and write what has been said, for GRACE at most. May be called again.

        The thread may go on for a while, if it waits for a hub: it ends when that does.
        """
        with suppress(Closed):
            self.said.close()
        self._thread.join(GRACE)
        self._give_up.set()  # race 2

    def join(self) -> None:
        """Wait for the end of the thread, which closes the store. Called after `stop`, when all hubs have ended."""
        self._thread.join()

    def sweep(self) -> None:
        """Drop from the store what is too old, and rooms without anything, with the next group. For any thread."""
        self._sweeping = True

    def _run(self) -> None:
        try:
            while self._write_what_waits():
                pass
        except _GivenUp:
            pass
        except Exception:
            log.exception("the log writer has failed")
            with suppress(Closed):
                self.said.close()  # race 3: those who send are told, and those who wait for the writer are freed
            for room in {*self._rooms.values(), *(room for room, _ in self.said.take_pending())}:
                room.fail()
        finally:
            if self.reader is not None:
                self.reader.stop(up=not self.is_down)
            self._store.close()

    def _write_what_waits(self) -> bool:
        """Wait for something that is said, and write all that is there; False once `said` is closed.

        While it waits, no variable keeps a room alive that has ended. Raises _GivenUp.
        """
        try:
            said = [self.said.receive(), *self.said.take_pending()]
        except Closed:
            return False
        if self._sweeping:
            self._sweeping = False
            self._until_it_works(partial(self._store.expire, time.time() - self._keep_for, set(self._rooms)))
        self._write(said)
        return True

    def _write(self, said: Iterable[tuple[LoggedRoom, Entry | None]]) -> None:
        """Write a group, or several with rooms opened in between. Raises _GivenUp."""
        group: dict[LoggedRoom, list[Entry]] = {}
        for room, entry in said:
            if entry is not None:
                if self._rooms.get(room.name) is room:  # race 1: not what an older one says from now on
                    group.setdefault(room, []).append(entry)
                continue
            self._write_group(group)
            group = {}
            self._rooms[room.name] = room
            self._names.add(room.name)
            room.load(self._until_it_works(partial(self._store.load, room.name)))
        self._write_group(group)

    def _write_group(self, group: dict[LoggedRoom, list[Entry]]) -> None:
        additions = [room.accept(said) for room, said in group.items()]
        lost: Collection[str] = ()
        if any(addition.entries for addition in additions):
            lost = self._until_it_works(partial(self._store.write, additions))
            self.groups += 1
            self.entries += sum(len(addition.entries) for addition in additions)
        for (room, said), addition in zip(group.items(), additions, strict=True):
            if room.name in lost:
                room.lose()
            else:
                room.taken(said, addition.entries)

    def _until_it_works(self, action: Callable[[], T]) -> T:
        """Do it, again and again while the store is down. Raises _GivenUp after a stop."""
        while True:
            began = time.perf_counter()
            try:
                result = action()
            except StoreDown as error:
                self.failures += 1
                if not self.is_down:
                    log.error("the log is down, and nobody can say anything: %s", error)
                    self._tell(up=False)
                if self._give_up.wait(AGAIN):
                    log.error("what was on its way to the log is lost: %s", error)
                    raise _GivenUp from error
            else:
                if self.is_down:
                    log.warning("the log is up again")
                    self._tell(up=True)
                self.seconds += time.perf_counter() - began
                return result

    def _tell(self, up: bool) -> None:
        self.is_down = not up
        for room in list(self._rooms.values()):
            room.tell(up)


class _GivenUp(Exception):
    """The chat stops, and the store is down."""
