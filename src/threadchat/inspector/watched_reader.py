"""The watched log reader of a server whose store is shared: how far it is behind, and what comes back by it.

    the store -> log reader -> the room's log -> hub

What was written here comes back as other entries. One that is followed is known again by what it says: it may be back
before the writer has heard its id. Like the writer (see `watched_writer`), the reader is one that runs already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from threadchat.inspector.journey import Followed, place
from threadchat.inspector.watched_writer import WatchedWriter, watch_of
from threadchat.log import Arrivals, SharedStore
from threadchat.log.reader import LogReader
from threadchat.room import Room

After = Mapping[str, tuple[str, int]]
Read = Callable[[After], dict[str, Arrivals]]


class WatchedReader(LogReader):
    """A log reader that counts, and notes the followed messages that come back. Its counter is its thread's own."""

    entries: int  # that it has brought, of all rooms
    ident: int  # of its thread
    _writer: WatchedWriter

    @classmethod
    def of(cls, reader: LogReader, writer: WatchedWriter) -> WatchedReader:
        """The same reader, watched from now on."""
        store: SharedStore = reader._store
        reader.__class__ = cls
        assert isinstance(reader, cls)
        reader._writer, reader.entries, reader.ident = writer, 0, reader._thread.ident or 0
        store.read = partial(reader._bring, store.read)  # type: ignore[method-assign]
        return reader

    def behind(self, room: Room) -> int:
        """How many entries of the room, up to the newest one written here, have not come back."""
        epoch, top = self._writer.written.get(room.name, ("", 0))
        return max(0, top - room.log.top) if epoch == room.log.epoch else 0

    def _bring(self, read: Read, after: After) -> dict[str, Arrivals]:
        arrived = read(after)
        for name, arrivals in arrived.items():
            self.entries += len(arrivals.entries)
            for entry in arrivals.entries if self._writer.awaited else ():
                if journey := self._writer.awaited.pop((name, entry.by, entry.n, entry.text), None):
                    Followed.on(journey, entry)
                    journey.step("returned", self._writer.now(), place(self._thread.name))
        return arrived

    def _tell(self, up: bool) -> None:
        super()._tell(up)
        text = "the store can be read again" if up else "the store cannot be read: nobody sees anything new"
        for room in self._followed().values():
            watch_of(room).note("store", text=text)
