"""The rooms of a chat. A room is made at its first join.

When the last client has left, the room stays for the linger time, with its log, and is then ended. The lobby stays.

The races, each forced by a test of the same number in tests/test_rooms.py:
1. Somebody enters a room at the moment when its linger time has passed.
2. Two threads make the same room.
3. The rooms are stopped while somebody enters one, or reads its log.
4. A room's hub has failed, or its log is another one now, and somebody enters.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from threadchat.channel import Closed
from threadchat.hub import Hub
from threadchat.log import Store, StoreDown
from threadchat.log.writer import LogWriter
from threadchat.options import Options
from threadchat.room import LOBBY, Room
from threadchat.runtime.threads import NoThread
from threadchat.runtime.timers import Timers
from threadchat.shared_room import SharedRoom
from threadchat.stored_room import StoredRoom
from threadchat.tally import Tally

SWEEP_EVERY = 3_600.0  # seconds


class NoRoom(Exception):
    """There are too many rooms, or no thread for another one."""


class LogDown(NoRoom):
    """The store does not answer, so that nobody can enter a room that is not there yet, or say anything and wait."""

    def __init__(self) -> None:
        super().__init__("the log is down")


class Draining(NoRoom):
    """The server lets nobody new in: it is about to restart, in so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__("the server is about to restart")
        self.seconds = seconds


class Rooms:
    """All rooms of a chat. Any thread may call the methods.

    `make_hub` makes the hub of a room with the given name. Raises what it raises. With a store, the rooms' logs outlive
    the process; `stop` closes it.
    """

    def __init__(self, options: Options, make_hub: Callable[[str], Hub], store: Store | None = None) -> None:
        self.tally = Tally()
        self.drains_until: float | None = None  # when the drain ends, by time.monotonic(), once it has begun
        self._options = options
        self._make_hub = make_hub
        self._timers = Timers()
        self._writer = None if store is None else LogWriter(store, options.keep_seconds)
        self._changed = threading.Lock()  # guards the rest
        self._rooms: dict[str, Room] = {}
        self._inside: dict[str, int] = {}  # how many are in each room, or on their way; no entry for none
        self._empty_since: dict[str, float] = {}  # of time.monotonic(), for each room that nobody is in; oldest first
        self._timed: set[str] = set()  # rooms for which a timer is set, one each
        self._ending: list[threading.Thread] = []  # hubs of rooms that have been taken out, and are about to end
        self._stopped = False
        self._rooms[LOBBY] = self._new_room(LOBBY)
        try:
            self.lobby.open()
        except StoreDown:
            self.stop()
            raise
        if options.keep_days or store is not None:
            self._timers.after(SWEEP_EVERY, self._sweep)

    @property
    def lobby(self) -> Room:
        """The room that is always there."""
        return self._rooms[LOBBY]

    @property
    def writer(self) -> LogWriter | None:
        """The log writer; None where the logs are in memory alone."""
        return self._writer

    @property
    def log_is_up(self) -> bool:
        """Whether what is said can be logged at this instant."""
        return self._writer is None or self._writer.is_up

    @property
    def all(self) -> list[Room]:
        """The rooms at this instant."""
        with self._changed:
            return list(self._rooms.values())

    @property
    def hubs(self) -> list[Hub]:
        """The hubs of the rooms at this instant."""
        return [room.hub for room in self.all]

    @property
    def stopped(self) -> bool:
        """Whether nobody may enter any more."""
        return self._stopped

    @contextmanager
    def enter(self, name: str, to_stay: bool = False) -> Iterator[Room]:
        """The room with this clean name. It stays for as long as the block runs.

        Raises NoRoom, and Closed after `stop`. During a drain nobody enters `to_stay`, and no room is made.
        """
        if to_stay:
            self._check_drain()
        room = self._enter(name)
        try:
            try:
                room.open()
            except StoreDown as error:
                raise LogDown from error
            yield room
        finally:
            self._exit(name)

    def find(self, name: str) -> Room | None:
        """The room with this clean name, if there is one. It may end at any time; its log can be read even then.

        One that only the store has, or has again (race 4), is entered, as `enter` does it. Raises NoRoom and Closed.
        """
        with self._changed:
            room = self._rooms.get(name)
        if (room is None or room.failed) and self._writer is not None and self._writer.knows(name):
            with self.enter(name) as room:
                return room
        return room

    def stop(self) -> None:
        """End all rooms. Nobody enters any more. Returns when their threads have ended. May be called again."""
        if self._writer is not None:
            self._writer.stop()  # first, so that the hubs pass on what has been said
        with self._changed:
            self._stopped = True
            rooms = list(self._rooms.values())
            ending = self._ending
        for room in rooms:
            room.end()  # all at once; then each is waited for
        for room in rooms:
            room.stop()
        self._timers.stop()
        for thread in ending:
            thread.join()
        if self._writer is not None:
            self._writer.join()

    def _enter(self, name: str) -> Room:
        with self._changed:
            if self._stopped:
                raise Closed(self._rooms[LOBBY].hub.register)
            room = self._rooms.get(name)
            if room is None or room.failed:  # race 4
                self._check_drain()
                if room is None and len(self._rooms) >= self._options.max_rooms:
                    self._end_the_longest_empty()
                if room is not None:
                    room.stop()  # for those who were just arriving; its thread has ended
                try:
                    room = self._rooms[name] = self._new_room(name)
                except NoThread as error:
                    raise NoRoom("the server has no thread for another room") from error
            self._inside[name] = self._inside.get(name, 0) + 1
            self._empty_since.pop(name, None)  # race 1: no timer ends the room from now on
            return room

    def _check_drain(self) -> None:
        if self.drains_until is not None:
            raise Draining(max(0.0, self.drains_until - time.monotonic()))

    def _exit(self, name: str) -> None:
        with self._changed:
            self._inside[name] -= 1
            if self._inside[name]:
                return
            del self._inside[name]
            if name == LOBBY or self._stopped:
                return
            self._empty_since[name] = time.monotonic()
            if name not in self._timed:
                self._timed.add(name)
                self._timers.after(self._options.room_linger, lambda: self._end_if_empty(name))

    def _end_if_empty(self, name: str) -> None:
        with self._changed:
            self._timed.discard(name)
            if name not in self._empty_since or self._stopped:
                return
            left = self._empty_since[name] + self._options.room_linger - time.monotonic()
            if left <= 0:
                self._take_out(name)
            else:  # somebody was there in between
                self._timed.add(name)
                self._timers.after(left, lambda: self._end_if_empty(name))

    def _sweep(self) -> None:
        """Drop what is too old, also where nobody says anything any more, and rooms that were only looked at."""
        with self._changed:
            rooms = list(self._rooms.values())
        for room in rooms:
            room.log.expire()
        if self._writer is not None:
            self._writer.sweep()
        self._timers.after(SWEEP_EVERY, self._sweep)

    # The caller of the methods below holds the mutex of _changed.

    def _end_the_longest_empty(self) -> None:
        if not self._empty_since:
            raise NoRoom("there are too many rooms")
        self._take_out(next(iter(self._empty_since)))

    def _take_out(self, name: str) -> None:
        """End a room that nobody is in. Does not wait for its hub: `stop` does."""
        room = self._rooms.pop(name)
        del self._empty_since[name]
        self._ending = [thread for thread in self._ending if thread.is_alive()] + [room.end()]

    def _new_room(self, name: str) -> Room:
        hub = self._make_hub(name)
        if self._writer is None:
            return Room(name, self._options, self._timers, hub, self.tally)
        kind = StoredRoom if self._writer.reader is None else SharedRoom
        return kind(name, self._options, self._timers, hub, self.tally, self._writer)
