"""The watched log writer of a server with a store: what waits for it, what it has in hand, and how well it does.

    read pump -> said -> log writer -> the store -> the room's log -> hub

It is made of a writer that runs already, and so is its channel: the objects change their classes. In all else they
behave like the plain ones. There is one writer for all rooms, so each room's own watch notes the room's messages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any
from weakref import WeakSet

from threadchat.channel import Channel
from threadchat.inspector.journey import KEPT, Followed, Journey, followed, place
from threadchat.inspector.notes import Watch
from threadchat.inspector.watch import WatchedHub
from threadchat.inspector.watched_channels import Watchable, begun
from threadchat.log import Addition
from threadchat.log.writer import LoggedRoom, LogWriter
from threadchat.messages import Entry
from threadchat.room import Room
from threadchat.stored_room import StoredRoom

Write = Callable[[Sequence[Addition]], Collection[str]]


class SaidChannel(Watchable, Channel[tuple[LoggedRoom, Entry | None]]):
    """The log writer's channel, with a name."""

    __slots__ = ()

    name = "said"


class ChoosingSaidChannel(SaidChannel):
    """The class of the channel while the next message of some room may be followed."""

    __slots__ = ()

    def send(self, item: tuple[LoggedRoom, Entry | None]) -> None:
        room, entry = item
        watch = watch_of(room)
        journey = begun(watch, entry)
        Channel.send(self, item)  # not super(): by now another thread may have made it a plain one again
        if journey is not None:
            journey.step("said", watch.now(), place(threading.current_thread().name))


class WatchedWriter(LogWriter):
    """A log writer that counts, and notes the followed messages that it writes. Its counters are its thread's own."""

    said: SaidChannel
    choosing: WeakSet[Watch]  # of the rooms whose next message may be followed
    now: Callable[[], float]
    in_hand: int  # entries, and rooms to open, that it has taken from `said` and is not done with
    appends: int  # to the store, those that were done
    append_seconds: float  # that all of them took
    ident: int  # of its thread
    # Of each room, the epoch and the id of the newest entry that the store has taken from here.
    written: dict[str, tuple[str, int]]
    # Of the followed messages that are to come back by a log reader: by room, session, number and text.
    awaited: dict[tuple[str, str, int | None, str], Journey]
    _carried: list[Journey]  # of the followed messages that it has in hand

    @classmethod
    def of(cls, writer: LogWriter, now: Callable[[], float]) -> WatchedWriter:
        """The same writer, watched from now on. `now` is the watches' clock."""
        store = writer._store
        writer.__class__ = cls
        assert isinstance(writer, cls)
        writer.choosing, writer.now, writer._carried = WeakSet(), now, []
        writer.in_hand, writer.appends, writer.append_seconds = 0, 0, 0.0
        writer.written, writer.awaited = {}, {}
        writer.ident = writer._thread.ident or 0
        store.write = partial(writer._append, store.write)  # type: ignore[method-assign]
        writer.said.__class__ = SaidChannel
        return writer

    def follow(self, hub: WatchedHub) -> None:
        """Follow messages of the hub's room, which come to it through this writer."""
        hub.broadcast.choose(False)
        hub.watch.journeys.on_choosing = partial(self._choose, hub.watch)
        self._choose(hub.watch, hub.watch.looked_at)

    def behind(self, room: Room) -> int:
        """How many entries the room's log has that its hub has not passed on."""
        assert isinstance(room, StoredRoom)
        return len(room._fresh)

    def _choose(self, watch: Watch, choosing: bool) -> None:
        """Start or stop choosing messages of a room to follow. Any thread may call this."""
        if choosing:
            self.choosing.add(watch)
        else:
            self.choosing.discard(watch)
        if not self.choosing:
            self.said.__class__ = SaidChannel
        if self.choosing:  # also where another thread has added one meanwhile
            self.said.__class__ = ChoosingSaidChannel

    def _write(self, said: Iterable[tuple[LoggedRoom, Entry | None]]) -> None:
        said = list(said)
        self.in_hand = len(said)
        seen = [(room, entry) for room, entry in said if type(entry) is Followed]
        self._carried = followed(entry for _, entry in seen)
        for journey in self._carried:
            journey.group = len(said)
            journey.step("grouped", self.now(), place(self._thread.name))
        if self.reader is not None:
            self._await(seen)
        super()._write(said)
        self.in_hand = 0
        for room, entry in seen:
            if not hasattr(entry, "id"):  # the room has refused it: the hub will not get it
                watch_of(room).journeys.coming.difference_update(journey.number for journey in followed([entry]))

    def _await(self, seen: Sequence[tuple[LoggedRoom, Entry]]) -> None:
        """Expect the followed messages back. Those of which nobody knows any more, as they were lost, are forgotten."""
        for key, journey in list(self.awaited.items()):
            if journey.read < self.now() - KEPT:
                self.awaited.pop(key, None)
        for room, entry in seen:
            for journey in followed([entry]):
                self.awaited[room.name, entry.by, entry.n, entry.text] = journey

    def _append(self, write: Write, additions: Sequence[Addition]) -> Collection[str]:
        began = time.perf_counter()
        lost = write(additions)
        self.append_seconds += time.perf_counter() - began
        self.appends += 1
        for addition in additions:
            for entry in reversed(addition.entries):
                if hasattr(entry, "id"):
                    self.written[addition.room] = entry.epoch, entry.id
                    break
        if self._carried:
            for journey in followed(entry for addition in additions for entry in addition.entries):
                journey.step("stored", self.now(), place(self._thread.name))
        return lost

    def _tell(self, up: bool) -> None:
        super()._tell(up)
        text = "the store is up again" if up else "the store is down: what is said waits"
        for room in list(self._rooms.values()):
            watch_of(room).note("store", text=text)


def watch_of(room: Any) -> Watch:
    """What is noted of the room, whose hub is watched."""
    assert isinstance(room.hub, WatchedHub)
    return room.hub.watch
