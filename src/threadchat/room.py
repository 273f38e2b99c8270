"""One room: a hub in a thread of its own, a log, people, and what the organisers have ordered.

The races, each forced by a test of the same number in tests/test_room.py:
1. The hub ends, by a stop or by a failure, while somebody waits until the log has taken a message.
2. Somebody is put out while coming in: the hub does not know the client yet.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice

from threadchat.channel import Closed, WouldBlock
from threadchat.client import Client
from threadchat.hub import Hub
from threadchat.log import OnItsWay
from threadchat.log.memory import LEAST, MemoryLog
from threadchat.messages import CLEAR, JOIN, KICK, LEAVE, MESSAGE, NAME, Entry, Order, event, message
from threadchat.moderation import FOR_OTHERS, PUT_OUT, Moderation, Refusal, Visitor
from threadchat.names import quoted
from threadchat.options import Options
from threadchat.people import People, Person
from threadchat.runtime.threads import go
from threadchat.runtime.timers import Timers
from threadchat.tally import Passed, Tally
from threadchat.websocket.connection import Connection

LOBBY = "lobby"  # the name of the room that is always there
SERVER = "server"  # the tag of what the application itself says
LEAVE_WAIT = 5.0  # seconds for which somebody who has gone is still there: a page that is loaded again returns sooner
TRY_AGAIN = 0.5  # seconds until the next try, where the hub has no room for "left"


@dataclass(frozen=True)
class Snapshot:
    """A room at one instant: the log's newest id, and the people who are here as of that entry.

    `count` is how many people these are. `here` has a pair of tag and name for each, oldest first, but not for more
    people than were asked for.
    """

    top: int
    count: int
    here: tuple[tuple[str, str], ...]


class Post:
    """An entry on its way to the log, for the thread that waits for it. The room's mutex guards it."""

    __slots__ = ("recorded", "refusal", "visitor")

    def __init__(self, visitor: Visitor | None) -> None:
        self.visitor = visitor
        self.recorded = False
        self.refusal: Refusal | None = None  # why it was not taken


class Room:
    """One room. Any thread may call the methods, but only the hub's thread calls `record`."""

    def __init__(self, name: str, options: Options, timers: Timers, hub: Hub, tally: Tally) -> None:
        self.name = name
        self.options = options
        self.hub = hub
        self.tally = tally  # of all rooms
        self._passed = Passed()
        self._events = 0  # how many entries were accepted that are no messages
        # An eviction alone discards one send buffer.
        self.log = MemoryLog(options.keep, max(LEAST, 4 * options.send_buffer), options.keep_seconds)
        self.people = People()
        self._timers = timers
        self._mutex = threading.Lock()  # guards the rest
        self._here: dict[str, str] = {}  # what the joins, leaves and changes of names come to, of all that was accepted
        self._shown = self._here  # the same for what the log has
        self._arriving: set[Connection] = set()  # what `stop` must end, because the hub does not know them yet
        self._stopped = False
        self.moderation = Moderation(self._mutex)
        self._posts: dict[int, Post] = {}  # what somebody waits for, by the id() of its entry
        self._recorded = threading.Condition(self._mutex)  # notified while there are posts, and when the hub has ended
        self._ended = False  # whether the hub has ended
        self._judging = False  # whether `record` must look at each message
        self._clear: Order | None = None  # the order to drop what was said, once it has its id
        hub.record = self.record
        self._hub_thread = go(partial(_run_hub, self), "hub" if name == LOBBY else f"hub-{name}")

    @property
    def failed(self) -> bool:
        """Whether the hub has ended without being told to."""
        return not self._hub_thread.is_alive()

    def record(self, items: Sequence[str]) -> Sequence[Entry]:
        """Write down what the hub is about to pass on. Returns the entries that are new: those to pass on."""
        entries = [item if isinstance(item, Entry) else message(item, SERVER) for item in items]
        events = self._events
        with self._mutex:
            taken = self.log.append(self._accepted(entries))
            self._settle(entries)
        messages = len(taken) - self._events + events
        self._passed.messages += messages
        self._passed.deliveries += messages * len(self.hub.clients)
        return taken

    def open(self) -> None:
        """Called by each who enters, before anything else; may block. Raises Closed and StoreDown."""

    def called(self, person: Person | None) -> str:
        """The room, and the person's name in it at this instant if there is one, for a line of the log."""
        return f"room {quoted(self.name)}" + ("" if person is None else f" as {quoted(person.name)}")

    def snapshot(self, most: int) -> Snapshot:
        """The room at this instant, with `most` people at most."""
        with self._mutex:  # thousands may come in at once: a copy of all would keep the hub waiting each time
            return Snapshot(self.log.top, len(self._shown), tuple(islice(self._shown.items(), most)))

    def announce(self, person: Person) -> None:
        """Say that the person has come, who `people` has counted already. May block as `say`. Raises Closed.

        Nothing is said of one who is known to be here, as most are who come back at once after a restart: that is no
        news, and the hub would look through all its clients for it. Nor can it become news, since one who has a
        connection is not taken for gone.
        """
        with self._mutex:
            known = self._here.get(person.by) == person.name
        if not known:
            self.say(event(JOIN, person.by, person.name))

    def reaches(self, since: str) -> bool:
        """Wait for the entry of this token, where another process may have it already. False if nobody can know."""
        return True

    @property
    def log_is_up(self) -> bool:
        """Whether what is said can be logged at this instant. In memory it always can."""
        return True

    def say(self, entry: Entry, patience: float | None = None) -> None:
        """Have the hub pass an entry on. Blocks while the hub's buffer is full. Raises Closed if the room has ended.

        While the log is down, raises StoreDown if that takes longer than `patience` (seconds; None: for ever).
        """
        self.hub.broadcast.send(entry)

    def read(self, entry: Entry) -> Entry | None:
        """What the read pump, which has read this entry, is to send to the hub; None for nothing. Blocks as `say`."""
        return entry

    def listen(self, connection: Connection) -> None:
        """Tell the connection when the log goes down or is up again: this one never does."""

    def post(self, entry: Entry, visitor: Visitor | None = None, patience: float | None = None) -> bool:
        """The same as `say`, and wait until the log has taken the entry: it then has its id. Not for the hub's thread.

        Returns False if the log has taken it before (see `MemoryLog.append`). Raises Refusal if the visitor may not say
        it at that moment, and Closed if the room has ended before. With `patience` it looks every so many seconds
        whether the log is down, and then raises StoreDown, which is OnItsWay if the log will take the entry later.
        """
        post = Post(visitor)
        with self._mutex:
            self._posts[id(entry)] = post
        try:
            self.say(entry, patience)
            with self._mutex:
                while not self._recorded.wait_for(lambda: post.recorded or self._ended, patience):
                    if not self.log_is_up:
                        raise OnItsWay("it does not answer")
        finally:
            with self._mutex:
                del self._posts[id(entry)]
        if not post.recorded:  # race 1
            raise Closed(self.hub.broadcast)
        if post.refusal is not None:
            raise post.refusal
        return hasattr(entry, "id")

    def command(self, organiser: Visitor, name: str, said: dict[str, object]) -> None:
        """Do what an organiser orders. Returns when it is in force. Raises Refusal and Closed. May block as `say`."""
        entry = self.moderation.order(organiser, name, said, self.people)
        if not self.post(entry):  # a store that is shared knows the organisers in other processes
            raise Refusal(FOR_OTHERS)
        if entry.order == KICK:
            self._put_out()

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

    def _put_out(self) -> None:
        """Part with those who were put out.

        Each hears the order first, as the hub has passed it on, except one that is still coming in and has no write
        pump yet.
        """
        connections = self.moderation.put_out()
        for connection in connections:
            connection.end(*PUT_OUT)
        for client in set(self.hub.clients):  # a copy is made in one step; one that registers later sees the order
            if isinstance(client, Client) and client.connection in connections:
                client.unregister()

    def _leave(self, person: Person, departures: int) -> None:
        if person.departures != departures or person.connections:
            return  # the person has come back. If it has left again, or does, there is another timer for that
        try:
            self._say_nowait(event(LEAVE, person.by, person.name))
        except WouldBlock:
            self._timers.after(TRY_AGAIN, lambda: self._leave(person, departures))
        except Closed:
            pass

    def _say_nowait(self, entry: Entry) -> None:
        """The same as `say`, but raises WouldBlock instead of waiting."""
        self.hub.broadcast.send_nowait(entry)

    # The caller of the methods below holds the mutex. One thread calls them: the one that records.

    def _accepted(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those of the entries that the log is to take."""
        self._judging = self.moderation.in_force or bool(self._posts)
        return [entry for entry in entries if (entry.kind == MESSAGE and not self._judging) or self._counts(entry)]

    def _settle(self, entries: Sequence[Entry]) -> None:
        """Do what follows when the log has taken those of the entries that were accepted."""
        if self._clear is not None:
            self.log.clear(self._clear.id)
            self._clear = None
        if self._posts:
            for entry in entries:
                if post := self._posts.get(id(entry)):
                    post.recorded = True
            self._recorded.notify_all()

    def _counts(self, entry: Entry) -> bool:
        """Whether the entry is to be taken."""
        if entry.kind == MESSAGE:
            return self._may_be_said(entry)
        news = self._is_news(entry)
        self._events += news
        return news

    def _is_news(self, entry: Entry) -> bool:
        """Whether an entry that is no message says something new.

        Two connections of one session join once, and a session that comes back with another name has changed it.
        Somebody who has come back by now did not leave.
        """
        if isinstance(entry, Order):
            self.moderation.obey(entry)
            self._judging |= self.moderation.in_force
            if entry.order == CLEAR:
                self._clear = entry
            return True
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
        self.moderation.know(entry.by, name)
        return True

    def _may_be_said(self, entry: Entry) -> bool:
        post = self._posts.get(id(entry))
        try:
            self.moderation.check_message(entry, None if post is None else post.visitor)
        except Refusal as refusal:
            if post is not None:
                post.refusal = refusal
            return False
        return True


def _run_hub(room: Room) -> None:
    """The body of the hub's thread. When the hub has ended, nobody waits for it to record anything."""
    room.tally.begin(room._passed)
    try:
        room.hub.run()
    finally:
        with room._mutex:
            room._ended = True
            room._recorded.notify_all()
        room.tally.end(room._passed)
        room.hub.record = _nothing  # breaks the reference cycle: the log is freed as soon as nobody reads it


def _nothing(items: Sequence[str]) -> Sequence[str]:
    """What a hub passes on that has no log any more."""
    return ()
