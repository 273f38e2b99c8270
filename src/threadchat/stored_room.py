"""A room whose log outlives the process: the log writer stands between those who speak and the hub.

The room's log in memory holds what the store holds, so that whoever joins or comes back is served from memory.

    read pump -> said -> log writer: accept (numbers, moderation), the store, taken (the log in memory)
                                                                        |
                                                           hub: record -> what is new -> clients

The writer nudges the hub, and does not wait until the hub receives: the hub fetches what is new. So that the log does
not run away from a slow hub, those who speak wait for the hub, and beyond that the writer does.

The races, each forced by a test of the same number in tests/test_stored_room.py:
1. The hub ends while the writer, or somebody who speaks, waits for it to catch up.
2. A client joins while the log has entries that the hub has not passed on yet.
3. The log is cleared while it has entries that the hub has not passed on yet.
4. The store is up again while clients are still being told that it is down.
5. Somebody comes in while the store goes down or is up again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from weakref import WeakKeyDictionary, ref

from threadchat.channel import Closed, Send, WouldBlock, select
from threadchat.hub import BROADCAST_BUFFER, Hub
from threadchat.log import RETURN_WAIT, Addition, Stored, StoreDown
from threadchat.log.writer import LogWriter
from threadchat.messages import JOIN, LEAVE, LOG_DOWN, LOG_UP, MESSAGE, NAME, Entry
from threadchat.options import Options
from threadchat.people import Person
from threadchat.room import TRY_AGAIN, Room
from threadchat.runtime.timers import Timers
from threadchat.tally import Tally
from threadchat.websocket.connection import Connection, ConnectionClosed

OPEN_WAIT = 5.0  # seconds that somebody waits until the store has told what it has of a room
NUDGE = ""  # what the hub receives when there is something new
BEHIND = BROADCAST_BUFFER  # entries that a hub may be behind its log before those who speak wait for it
FAR_BEHIND = 2 * BEHIND  # the same for the writer


class StoredRoom(Room):
    """See `Room`. The log writer calls `load`, `accept`, `taken`, `tell` and `fail` (see `LoggedRoom`)."""

    def __init__(self, name: str, options: Options, timers: Timers, hub: Hub, tally: Tally, writer: LogWriter) -> None:
        self._writer = writer
        self._asked = False  # whether the writer was asked to load the room; guarded by the room's mutex, as the next
        self._loaded = False
        self._fresh: list[Entry] = []  # what the log has and the hub has not passed on; guarded by the mutex too
        # Those that are told when the store goes down, and whether they believe that it is up; guarded by the mutex.
        self._believe_up: WeakKeyDictionary[Connection, bool] = WeakKeyDictionary()
        self._tell_is_due = False  # whether a timer is about to look whom to tell; guarded too
        self._retry_is_due = False  # the same for those who could not be told; the timers' thread's own
        super().__init__(name, options, timers, hub, tally)
        self._shown = {}

    def open(self) -> None:
        """Wait until the room has what the store has of it. Raises Closed if the chat stops before, and StoreDown."""
        with self._mutex:
            first, self._asked = not self._asked, True
        if first:
            try:
                select(Send(self._writer.said, (self, None)), timeout=OPEN_WAIT)
            except TimeoutError as error:
                with self._mutex:
                    self._asked = False  # the next one who enters asks
                raise StoreDown("it takes nothing") from error
        with self._mutex:
            if not self._recorded.wait_for(lambda: self._loaded or self._ended, OPEN_WAIT):
                raise StoreDown("it does not answer")
            if not self._loaded:
                raise Closed(self.hub.broadcast)

    def record(self, items: Sequence[str]) -> Sequence[Entry]:
        """What is new in the log since the last time, cleared or not (race 3). `items` are nudges."""
        with self._mutex:
            entries, self._fresh = self._fresh, []
            self._recorded.notify_all()
        self._passed.deliveries += [entry.kind for entry in entries].count(MESSAGE) * len(self.hub.clients)
        return entries

    @property
    def log_is_up(self) -> bool:
        """See `Room.log_is_up`."""
        return self._writer.is_up

    def say(self, entry: Entry, patience: float | None = None) -> None:
        """See `Room.say`. Gives the entry to the log writer; blocks while that has much to do."""
        self._wait_for_hub(BEHIND)
        if self._ended:
            raise Closed(self.hub.broadcast)
        if patience is None:
            self._writer.said.send((self, entry))
            return
        while True:
            try:
                select(Send(self._writer.said, (self, entry)), timeout=patience)
                return
            except TimeoutError as error:
                if not self.log_is_up:
                    raise StoreDown("it takes nothing") from error

    def read(self, entry: Entry) -> None:
        """See `Room.read`: the hub hears of it from the log writer."""
        self.say(entry)

    def listen(self, connection: Connection) -> None:
        """Tell the connection when the store goes down or is up again, and now if it is down."""
        with self._mutex:
            self._believe_up[connection] = True
        if not self._writer.is_up:
            self.tell(False)  # not by this thread: it might be up meanwhile, and others know already (race 5)

    def load(self, kept: Stored) -> None:
        """Become what the store has of the room. Those who were here have some time to come back."""
        self.log.restore(kept.epoch, kept.before, kept.check, kept.newest)
        self.log.retain(kept.entries)
        for by in dict.fromkeys([*(each.by for each in kept.newest), *(each.by for each in kept.entries), *kept.here]):
            self.moderation.know(by, None)
        with self._mutex:
            for order in kept.orders:
                self.moderation.obey(order)
            self._here.update(kept.here)
            self._shown.update(kept.here)
            self._loaded = True
            self._recorded.notify_all()
        there = [self.people.arrive(by, name) for by, name in kept.here.items()]
        for person in there:
            self.people.depart(person)
        if there:  # the timer keeps no room alive that ends meanwhile
            self._timers.after(RETURN_WAIT, partial(_part_with, ref(self), [(each, each.departures) for each in there]))

    def accept(self, said: Sequence[Entry]) -> Addition:
        """See `LoggedRoom.accept`."""
        self._wait_for_hub(FAR_BEHIND)
        with self._mutex:
            top = self.log.top
            return Addition(self.name, self.log.number(self._accepted(said)), *self.log.start, self.log.epoch, top)

    def taken(self, said: Sequence[Entry], accepted: Sequence[Entry]) -> None:
        """See `LoggedRoom.taken`."""
        self._count_messages(accepted)
        with self._mutex:
            self._pass_on(accepted)
            for entry in accepted:
                if entry.kind in (JOIN, NAME):
                    self._shown[entry.by] = str(entry.name)
                elif entry.kind == LEAVE:
                    self._shown.pop(entry.by, None)
            self._settle(said)

    def tell(self, up: bool) -> None:
        """See `LoggedRoom.tell`. The clients are told what is true when they are told, a moment later."""
        with self._mutex:
            due, self._tell_is_due = self._tell_is_due, True
        if not due:
            self._timers.after(0.0, self._tell_listeners)

    def fail(self) -> None:
        """See `LoggedRoom.fail`: it is as if the room had ended."""
        with self._mutex:
            self._ended = True
            self._recorded.notify_all()

    def lose(self) -> None:
        """See `LoggedRoom.lose`: it is as if the room had ended. (A store for one process never loses a log.)"""
        self.fail()

    def _tell_listeners(self) -> None:
        """Tell those who believe otherwise whether the store is up, without waiting for any of them.

        The timers' thread alone does this, so that nobody hears an older state after a newer one (race 4). Whoever
        cannot be told now, because the peer does not read or is sent something, is told a little later.
        """
        with self._mutex:
            self._tell_is_due = False
            up = self._writer.is_up
            to_tell = [connection for connection, believes_up in self._believe_up.items() if believes_up != up]
        for connection in to_tell:
            with suppress(ConnectionClosed):
                if connection.reply_nowait(LOG_UP if up else LOG_DOWN):
                    with self._mutex:
                        self._believe_up[connection] = up
                elif not self._retry_is_due:
                    self._retry_is_due = True
                    self._timers.after(TRY_AGAIN, self._retry)

    def _retry(self) -> None:
        self._retry_is_due = False
        self._tell_listeners()

    def _count_messages(self, taken: Sequence[Entry]) -> None:
        """The log has taken these, and they were said in this process. The log writer's thread calls this."""
        self._passed.messages += [entry.kind for entry in taken].count(MESSAGE)

    def _pass_on(self, entries: Sequence[Entry]) -> None:
        """The log has these. The caller holds the mutex."""
        self.log.retain(entries)
        self._fresh += entries
        if entries:  # else the hub would look through all its clients for nothing
            with suppress(WouldBlock, Closed):  # WouldBlock: so many nudges are there already
                self.hub.broadcast.send_nowait(NUDGE)

    def _say_nowait(self, entry: Entry) -> None:
        self._writer.said.send_nowait((self, entry))

    def _wait_for_hub(self, behind: int) -> None:
        """Wait until the hub is less than so many entries behind the log, or has ended (race 1)."""
        if len(self._fresh) >= behind:
            with self._mutex:
                self._recorded.wait_for(lambda: len(self._fresh) < behind or self._ended)


def _part_with(kept: ref[StoredRoom], there: Iterable[tuple[Person, int]]) -> None:
    """Let those leave who were here before a restart and have not come back since."""
    if (room := kept()) is not None:
        for person, departures in there:
            room._leave(person, departures)
