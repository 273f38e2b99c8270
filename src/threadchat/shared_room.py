"""A room that several processes have: its log is in a store that they share, and each keeps a copy of it in memory.

    read pump -> said -> log writer: accept (moderation) -> the store, which numbers and decides who comes and goes
                         log reader: arrived (the log in memory, who is here, orders) -> hub -> clients

What is said in this process comes back by the log reader, as what is said in the others, so that all have one order.

The races, each forced by a test of the same number in tests/test_shared_room.py:
1. What somebody waits for comes back before the writer has heard that it was taken.
2. Two processes give one name to two people.
3. A process is taken to be dead, and is not: those who are in it were said to have left.
4. Somebody speaks while the log turns out to be another one.
5. Somebody comes from a process whose log reader was faster, and has seen what this one has not read yet.
6. The log turns out to be another one, and somebody who comes in then ends what is left of this room.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from threadchat.channel import Closed, WouldBlock
from threadchat.client import Client
from threadchat.hub import Hub
from threadchat.log import Addition, Arrivals, Point, Stored
from threadchat.log.writer import LogWriter
from threadchat.messages import CLEAR, JOIN, KICK, LEAVE, MESSAGE, NAME, Entry, Order, event
from threadchat.options import Options
from threadchat.people import Person
from threadchat.room import TRY_AGAIN, Post
from threadchat.runtime.threads import NoThread, go
from threadchat.runtime.timers import Timers
from threadchat.stored_room import FAR_BEHIND, StoredRoom
from threadchat.tally import Tally

AHEAD_WAIT = 5.0  # seconds that somebody who has seen more than this process waits until it has read that too
REPLACED = (1012, "the room's log was replaced")  # the close code and the reason: come back at once


class SharedRoom(StoredRoom):
    """See `Room`. The log writer calls what `LoggedRoom` says, and the log reader what `FollowedRoom` says."""

    def __init__(self, name: str, options: Options, timers: Timers, hub: Hub, tally: Tally, writer: LogWriter) -> None:
        super().__init__(name, options, timers, hub, tally, writer)
        self._shown = self._here  # both are what the log says
        self._awaited: list[tuple[int, Post]] = []  # by their ids, posts that were taken and are on their way back
        self._cleared = 0  # the id of the newest order to do so; the log reader's own
        self._lost = False  # whether the log is another one now; guarded by the mutex

    @property
    def failed(self) -> bool:
        """See `Room.failed`. A room that has lost its log is replaced in the same way."""
        return self._lost or super().failed

    @property
    def ended(self) -> bool:
        """See `FollowedRoom.ended`."""
        return self._ended

    @property
    def is_far_behind(self) -> bool:
        """See `FollowedRoom.is_far_behind`."""
        return len(self._fresh) >= FAR_BEHIND

    @property
    def reached(self) -> tuple[str, int]:
        """See `FollowedRoom.reached`."""
        return self.log.epoch, self.log.top

    @property
    def point(self) -> Point:
        """See `FollowedRoom.point`."""
        epoch, top = self.reached
        return Point(self.name, epoch, top, self.log.token(top), self._cleared)

    def load(self, kept: Stored) -> None:
        """See `StoredRoom.load`. Of those who are here, the store knows by which processes."""
        super().load(kept)
        cleared = [each.id for each in kept.entries if isinstance(each, Order) and each.order == CLEAR]
        self._cleared = max(cleared, default=0)  # a process that ended at once has not dropped anything
        if self._writer.reader is not None:
            self._writer.reader.follow(self)

    def announce(self, person: Person) -> None:
        """See `Room.announce`. The store is told in any case: it knows who is connected to which process."""
        self.say(event(JOIN, person.by, person.name))

    def reaches(self, since: str) -> bool:
        """See `Room.reaches`: race 5. What does not come lies in a tail that the store has lost: that is a gap."""
        if number := self.log.ahead(since):
            with self._mutex:
                self._recorded.wait_for(lambda: self._ended or self.log.top >= number, AHEAD_WAIT)
            return self.log.top >= number or self._writer.is_up
        return True

    def accept(self, said: Sequence[Entry]) -> Addition:
        """See `LoggedRoom.accept`: the store gives the numbers."""
        self._wait_for_hub(FAR_BEHIND)
        with self._mutex:
            accepted, organisers = self._accepted(said), self.moderation.organisers
        return Addition(self.name, accepted, *self.log.start, self.log.epoch, self.log.top, organisers)

    def taken(self, said: Sequence[Entry], accepted: Sequence[Entry]) -> None:
        """See `LoggedRoom.taken`. What was taken is settled when it comes back; the rest now."""
        self._count_messages([entry for entry in accepted if hasattr(entry, "id")])  # the others are repeats
        with self._mutex:
            for entry in said if self._posts else ():
                if post := self._posts.get(id(entry)):
                    self._awaited.append((getattr(entry, "id", 0), post))
            for entry in said:  # of a session that has never been here, as the store sees it, nothing more comes
                if entry.kind == LEAVE and not hasattr(entry, "id") and entry.by not in self._here:
                    self.people.forget_if_gone(entry.by)
            self._settle_what_came()  # race 1

    def arrived(self, arrivals: Arrivals) -> None:
        """See `FollowedRoom.arrived`."""
        with self._mutex:
            self._pass_on(arrivals.entries)
            for entry in arrivals.entries:
                if entry.kind == MESSAGE:
                    self.moderation.heard(entry.by)
                elif isinstance(entry, Order):
                    self._obey(entry)
                elif entry.kind == LEAVE:
                    self._left(entry)
                else:
                    self._joined(entry, entry.id in arrivals.foreign)
            self._settle_what_came()

    def lose(self) -> None:
        """See `FollowedRoom.lose`. All are told to come back: to another room, which has the log as it is now."""
        self._send_away()  # before anybody sees that the room has ended: they would hear that the server is stopping
        with self._mutex:  # race 6
            self._lost = self._ended = True
            self._recorded.notify_all()  # race 4
        self._send_away()  # those who have come since
        self.end()

    def _send_away(self) -> None:
        with self._mutex:
            connections = set(self._arriving)
        connections.update(each.connection for each in set(self.hub.clients) if isinstance(each, Client))
        for connection in connections:
            connection.end(*REPLACED)

    # The caller of the methods below holds the mutex.

    def _is_news(self, entry: Entry) -> bool:
        """Whether the store is to decide about an entry that is no message: it knows who is here in all processes."""
        if isinstance(entry, Order):
            self.moderation.mark(entry)
        elif entry.kind == LEAVE:
            return not self.people.is_connected(entry.by)
        else:
            entry.name = self.people.name_of(entry.by) or entry.name  # as in Room
        return True

    def _obey(self, entry: Order) -> None:
        self.moderation.obey(entry)
        if entry.order == CLEAR:
            self.log.clear(entry.id)
            self._cleared = entry.id
        elif entry.order == KICK:
            with suppress(NoThread):  # in a thread of its own, since hub and peers may be slow
                go(self._put_out, "putOut")

    def _joined(self, entry: Entry, foreign: bool) -> None:
        name = str(entry.name)
        loser = self.people.hear(entry.by, name, self._here) if foreign else None
        self._here[entry.by] = name
        self.moderation.know(entry.by, name)
        if loser is not None:  # race 2
            self._say_soon(event(NAME, loser.by, loser.name))

    def _left(self, entry: Entry) -> None:
        self._here.pop(entry.by, None)
        if not self.people.forget_if_gone(entry.by):  # race 3
            self._say_soon(event(JOIN, entry.by, str(entry.name)))

    def _settle_what_came(self) -> None:
        """Free those who wait for what the log has, or for what was not taken."""
        if self._awaited:
            top = self.log.top
            for number, post in self._awaited:
                post.recorded |= number <= top
            self._awaited = [each for each in self._awaited if each[0] > top]
            self._recorded.notify_all()

    def _say_soon(self, entry: Entry) -> None:
        """Say it without waiting, now or a little later."""
        try:
            self._say_nowait(entry)
        except WouldBlock:
            self._timers.after(TRY_AGAIN, lambda: self._say_soon(entry))
        except Closed:
            pass
