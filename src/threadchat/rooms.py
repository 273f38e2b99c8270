"""Rooms: each has a hub in a thread of its own, a log, and people. A room is made at its first join.

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from threadchat.channel import Closed, WouldBlock
from threadchat.hub import Hub
from threadchat.log import Log
from threadchat.log.memory import LEAST, MemoryLog
from threadchat.messages import JOIN, LEAVE, MESSAGE, NAME, Entry, event, message
from threadchat.options import Options
from threadchat.people import People, Person
from threadchat.runtime.threads import NoThread, go
from threadchat.runtime.timers import Timers
from threadchat.websocket.connection import Connection

LOBBY = "lobby"
SERVER = "server"  # the tag of what the application itself says
LEAVE_WAIT = 5.0  # seconds for which somebody who has gone is still there: a page that is loaded again returns sooner
TRY_AGAIN = 0.5  # seconds until the next try, where the hub has no room for "left"


class NoRoom(Exception):
    """There are too many rooms, or no thread for another one."""


@dataclass(frozen=True)
class Snapshot:
    """A room at one instant: the log's newest id, and who is here as of that entry (names by tag, oldest first)."""

    top: int
    here: dict[str, str]


class Room:
    """One room. Any thread may call the methods, but only the hub's thread calls `record`."""

    def __init__(self, name: str, options: Options, timers: Timers, hub: Hub) -> None:
        self.name = name
        self.options = options
        self.hub = hub
        # An eviction alone discards one send buffer.
        self.log: Log = MemoryLog(options.keep, max(LEAST, 4 * options.send_buffer))
        self.people = People()
        self._timers = timers
        self._mutex = threading.Lock()  # guards the rest
        self._here: dict[str, str] = {}  # what the log's joins, leaves and changes of names come to
        self._arriving: set[Connection] = set()  # what `stop` must end, because the hub does not know them yet
        self._stopped = False
        hub.record = self.record
        self._hub_thread = go(self._run_hub, "hub" if name == LOBBY else f"hub-{name}")

    @property
    def failed(self) -> bool:
        """Whether the hub has ended without being told to."""
        return not self._hub_thread.is_alive()

    def record(self, items: Sequence[str]) -> Sequence[Entry]:
        """Write down what the hub is about to pass on. Returns the entries that are new: those to pass on."""
        entries = [item if isinstance(item, Entry) else message(item, SERVER) for item in items]
        with self._mutex:
            return self.log.append([entry for entry in entries if entry.kind == MESSAGE or self._counts(entry)])

    def snapshot(self) -> Snapshot:
        """The room at this instant."""
        with self._mutex:
            return Snapshot(self.log.top, dict(self._here))

    def say(self, entry: Entry) -> None:
        """Have the hub pass an entry on. Blocks while the hub's buffer is full. Raises Closed if the room has ended."""
        self.hub.broadcast.send(entry)

    @contextmanager
    def arriving(self, connection: Connection) -> Iterator[None]:
        """While the block runs, `stop` ends the connection: the hub does not know it yet. Raises Closed."""
        with self._mutex:
            if self._stopped:
                raise Closed(self.hub.register)
            self._arriving.add(connection)
        try:
            yield
        finally:
            with self._mutex:
                self._arriving.discard(connection)

    def depart(self, person: Person) -> None:
        """Count one connection of the person less. If it was the last one, "left" follows after LEAVE_WAIT."""
        if self.people.depart(person):
            departures = person.departures
            self._timers.after(LEAVE_WAIT, lambda: self._leave(person, departures))

    def stop(self) -> None:
        """End the hub and part with all clients. Returns when the hub's thread has ended. May be called again."""
        with self._mutex:
            self._stopped = True
            for connection in self._arriving:
                connection.end(1001, "the server is stopping")
        self.end().join()

    def end(self) -> threading.Thread:
        """Tell the hub to stop. Does not wait for it: returns its thread."""
        self.hub.stop()
        return self._hub_thread

    def _run_hub(self) -> None:
        try:
            self.hub.run()
        finally:
            self.hub.record = _nothing  # breaks the reference cycle: the log is freed as soon as nobody reads it

    def _leave(self, person: Person, departures: int) -> None:
        if person.departures != departures:
            return  # the person has come back, and left again: for that there is another timer
        try:
            self.hub.broadcast.send_nowait(event(LEAVE, person.by, person.name))
        except WouldBlock:
            self._timers.after(TRY_AGAIN, lambda: self._leave(person, departures))
        except Closed:
            pass

    def _counts(self, entry: Entry) -> bool:
        """Whether the entry says something new. Called by the hub's thread, which holds the mutex.

        Two connections of one session join once, and a session that comes back with another name has changed it.
        Somebody who has come back by now did not leave.
        """
        known = self._here.get(entry.by)
        if entry.kind == LEAVE:
            gone = self.people.forget_if_gone(entry.by) and known is not None
            if gone:
                del self._here[entry.by]
            return gone
        # The name that the session has now: of two read pumps that change it, one may overtake the other on the way.
        name = self.people.name_of(entry.by) or str(entry.name)
        if known == name:
            return False
        entry.kind, entry.name = JOIN if known is None else NAME, name
        self._here[entry.by] = name
        return True


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


def _nothing(items: Sequence[str]) -> Sequence[str]:
    """What a hub passes on that has no log any more."""
    return ()
