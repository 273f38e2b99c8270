"""The sampler: one thread that takes pictures of the rooms, for the viewers and for the trace of the last minute.

Pictures are taken of the lobby, and of each other room while somebody looks at it. They cost processor time that the
server would otherwise have. So the sampler rests after them, long enough to use no more than SHARE of one processor. It
never waits for a viewer: a slow viewer misses pictures.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from threadchat.channel import Channel, Closed, WouldBlock
from threadchat.inspector.camera import Camera, Moment
from threadchat.inspector.notes import Shared, Watch
from threadchat.inspector.watch import WatchedHub
from threadchat.inspector.watched_writer import WatchedWriter
from threadchat.room import LOBBY, Room
from threadchat.rooms import Rooms

INTERVAL = 0.1  # seconds between two pictures, at least
SHARE = 0.003  # of one processor: what the pictures may cost
LONGEST_PAUSE = 1.0  # seconds from a picture to the next, however much it cost: the first one reads the source
MOST_PINNED = 16  # clients that one viewer may pin
VIEWERS = 16  # at the same time
PICTURES = 4  # that may wait for a viewer; when there are more, the viewer misses some
LINGERS = 5.0  # seconds for which a room is still looked at when its last viewer has gone: a page is loaded again
MOST_TOLD = 100  # rooms that viewers are told of: the lobby and the fullest
TOLD_EVERY = 1.0  # seconds until they are told again, at least


@dataclass(eq=False)
class Viewer:
    """One open page. It looks at a room, which need not be there; `pinned` are clients that it wants drawn in any case.

    With each picture comes what is noted of the room, or None if there is no such room.
    """

    room: str
    pinned: frozenset[int]
    pictures: Channel[tuple[str, Watch | None]] = field(default_factory=lambda: Channel(PICTURES))


class TooManyViewers(Exception):
    """There are VIEWERS viewers already."""


class Sampler:
    """Takes pictures of rooms with watched hubs from `start` to `stop`. Any thread may call its public methods."""

    def __init__(self, rooms: Rooms, shared: Shared, demo: bool) -> None:
        self._rooms = rooms
        assert rooms.writer is None or isinstance(rooms.writer, WatchedWriter)
        self._writer = rooms.writer
        self._shared = shared
        self._demo = demo
        self._viewers: list[Viewer] = []
        self._viewers_mutex = threading.Lock()  # guards the list, and that no viewer joins after the stop
        self._stopped = threading.Event()
        self._cameras: dict[str, Camera] = {}  # by room; only the sampler's thread changes it
        self._told = "null"  # the rooms, as viewers are told of them
        self._tell_at = 0.0  # when to look again
        self._cost = 0.0
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take last pictures, end the thread, and close the viewers' channels. Returns when the thread has ended."""
        with self._viewers_mutex:
            self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        for viewer in list(self._viewers):
            with suppress(Closed):
                viewer.pictures.close()

    @contextmanager
    def viewing(self, pinned: frozenset[int], room: str = LOBBY) -> Iterator[Iterator[str]]:
        """For the length of a `with` block, the pictures of a room from now on, as JSON. They end with the sampler.

        A picture of a room that is not there only says so. Raises TooManyViewers, and Closed if the sampler has stopped
        already.
        """
        viewer = Viewer(room, frozenset(sorted(pinned)[:MOST_PINNED]))
        with self._viewers_mutex:
            if self._stopped.is_set():
                raise Closed(viewer.pictures)
            if len(self._viewers) >= VIEWERS:
                raise TooManyViewers
            self._viewers.append(viewer)
        there = self.room(room)
        watch, seen = None if there is None else _watch(there), 0
        if watch is not None:
            watch.look()
            seen, _ = watch.events(after=sys.maxsize)
        try:
            yield self._with_events(viewer, watch, seen)
        finally:
            with self._viewers_mutex:
                self._viewers.remove(viewer)

    def room(self, name: str) -> Room | None:
        """The room with this clean name, if it is there. To look at a room does not make it."""
        return next((room for room in self._rooms.all if room.name == name), None)

    def moments(self, room: str = LOBBY) -> list[Moment]:
        """The moments of the room's last minute, as far as there are pictures of it, oldest first."""
        camera = self._cameras.get(room)
        return [] if camera is None else camera.moments()

    def _with_events(self, viewer: Viewer, watch: Watch | None, seen: int) -> Iterator[str]:
        """The viewer's pictures, each with the events since the one before, and with the rooms if they have changed.

        Before the first picture, `watch` has what is noted of the room, and `seen` is the number of its last event.
        """
        told = ""
        for picture, noted in viewer.pictures:
            if noted is not watch:  # there is a new room of that name
                watch, seen = noted, 0
            events: list[str] = []
            if watch is not None:
                seen, events = watch.events(after=seen)
            rooms = self._told
            more = "" if rooms == told else f', "rooms": {rooms}'
            told = rooms
            yield f'{picture[:-1]}, "events": [{", ".join(events)}]{more}}}'

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stopped.is_set()  # before the pictures, so that the last ones show how it all ended
            before = time.thread_time()
            self._take()
            self._cost = time.thread_time() - before
            self._stopped.wait(min(max(INTERVAL, self._cost / SHARE - self._cost), LONGEST_PAUSE))

    def _take(self) -> None:
        """Take a picture of each room that is looked at, and give it to the viewers."""
        t = self._shared.now()
        with self._viewers_mutex:
            viewers = list(self._viewers)
        rooms = {room.name: room for room in self._rooms.all}
        if viewers and t >= self._tell_at:
            self._tell_at = t + TOLD_EVERY
            self._told = _tell(rooms)
        frames = sys._current_frames()
        for name in {LOBBY, *self._cameras, *(viewer.room for viewer in viewers)}:
            its = [viewer for viewer in viewers if viewer.room == name]
            camera = self._camera(name, rooms.get(name), t, bool(its))
            picture: dict[str, Any] = {"t": round(t, 4), "room": name, "gone": True}
            if camera is not None:
                pinned = {number for viewer in its for number in viewer.pinned}
                picture = camera.take(t, frames, pinned, with_log=bool(its))
                picture |= {"cost_ms": round(self._cost * 1000, 3), "demo": self._demo}
            if its:
                text = json.dumps(picture)
                for viewer in its:
                    with suppress(WouldBlock):
                        viewer.pictures.send_nowait((text, None if camera is None else camera.watch))

    def _camera(self, name: str, room: Room | None, t: float, viewed: bool) -> Camera | None:
        """The camera of the room; None where there is no room, or where nobody has looked for a while."""
        camera = self._cameras.get(name)
        if camera is not None and camera.room is not room:
            del self._cameras[name]
            camera = None
        if room is None:
            return None
        if viewed or name == LOBBY:
            if camera is None:
                camera = self._cameras[name] = Camera(room, self._writer)
            camera.watch.look()
            camera.wanted_until = t + LINGERS
        elif camera is not None and t > camera.wanted_until:
            del self._cameras[name]
            camera.close()
            camera = None
        return camera


def _tell(rooms: dict[str, Room]) -> str:
    """The rooms and how many clients each has, as JSON: the lobby, the fullest ones, and the number of all."""
    counted = [(name, len(room.hub.clients)) for name, room in rooms.items()]
    counted.sort(key=lambda room: (room[0] != LOBBY, -room[1], room[0]))
    told = [{"name": name, "clients": clients} for name, clients in counted[:MOST_TOLD]]
    return json.dumps({"count": len(rooms), "fullest": told})


def _watch(room: Room) -> Watch:
    """What is noted of a room."""
    assert isinstance(room.hub, WatchedHub)
    return room.hub.watch
