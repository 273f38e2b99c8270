"""The rooms of a chat. A room is made at its first join.

When the last client has left, the room stays for the linger time, with its log, and is then ended. The lobby stays.

The races, each forced by a test of the same number in tests/test_rooms.py:
1. Somebody enters a room at the moment when its linger time has passed.
2. Two threads make the same room.
3. The rooms are stopped while somebody enters one, or reads its log.
4. A room's hub has failed, and somebody enters.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from threadchat.channel import Closed
from threadchat.hub import Hub
from threadchat.options import Options
from threadchat.room import LOBBY, Room
from threadchat.runtime.threads import NoThread
from threadchat.runtime.timers import Timers


class NoRoom(Exception):
    """There are too many rooms, or no thread for another one."""


class Rooms:
    """All rooms of a chat. Any thread may call the methods.

    `make_hub` makes the hub of a room with the given name. Raises what it raises.
    """

    def __init__(self, options: Options, make_hub: Callable[[str], Hub]) -> None:
        self._options = options
        self._make_hub = make_hub
        self._timers = Timers()
        self._changed = threading.Lock()  # guards the rest
        self._rooms: dict[str, Room] = {}
        self._inside: dict[str, int] = {}  # how many are in each room, or on their way; no entry for none
        self._empty_since: dict[str, float] = {}  # of time.monotonic(), for each room that nobody is in; oldest first
        self._timed: set[str] = set()  # rooms for which a timer is set, one each
        self._ending: list[threading.Thread] = []  # hubs of rooms that have been taken out, and are about to end
        self._stopped = False
        self._rooms[LOBBY] = self._new_room(LOBBY)

    @property
    def lobby(self) -> Room:
        """The room that is always there."""
        return self._rooms[LOBBY]

    @property
    def clients(self) -> int:
        """How many clients the hubs know at this instant."""
        with self._changed:
            return sum(len(room.hub.clients) for room in self._rooms.values())

    @property
    def all(self) -> list[Room]:
        """The rooms at this instant."""
        with self._changed:
            return list(self._rooms.values())

    @contextmanager
    def enter(self, name: str) -> Iterator[Room]:
        """The room with this clean name. It stays for as long as the block runs.

        Raises NoRoom, and Closed after `stop`.
        """
        room = self._enter(name)
        try:
            yield room
        finally:
            self._exit(name)

    def find(self, name: str) -> Room | None:
        """The room with this clean name, if there is one. It may end at any time; its log can be read even then."""
        with self._changed:
            return self._rooms.get(name)

    def stop(self) -> None:
        """End all rooms. Nobody enters any more. Returns when their threads have ended. May be called again."""
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

    def _enter(self, name: str) -> Room:
        with self._changed:
            if self._stopped:
                raise Closed(self._rooms[LOBBY].hub.register)
            room = self._rooms.get(name)
            if room is None or room.failed:  # race 4
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
        return Room(name, self._options, self._timers, self._make_hub(name))
