"""The sampler: one thread that takes pictures of the server, for those who look and for the last minute's trace.

A picture costs processor time, which the server would rather have: after each one the sampler rests, so long that it
takes no more than SHARE of one processor. With a thousand clients only a few are drawn; of the others it counts what
they do. It never waits for a viewer: who is slow misses pictures.
"""

from __future__ import annotations

import heapq
import json
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from types import FrameType
from typing import Any

from threadchat.channel import Channel, Closed, WouldBlock
from threadchat.inspector.journey import A_SECOND, KEPT
from threadchat.inspector.states import State, stack_of, state_of_hub, state_of_pump
from threadchat.inspector.watch import WatchedChannel, WatchedClient, WatchedHub, WatchedOutbox

INTERVAL = 0.1  # seconds from picture to picture, where they cost little
SHARE = 0.003  # of one processor: what the pictures may cost
DRAWN = 24  # clients, besides those that a viewer has pinned
MOST_PINNED = 16  # clients, a viewer
BINS = 16  # of the histogram of the send channels
STAYS = 3.0  # seconds that a client remains as interesting as it was: what is drawn shall not flicker
LOOK_BACK = 1.0  # seconds over which the rates are taken
VIEWERS = 16
PICTURES = 4  # wait for a viewer at most; then it misses some
STUCK, FULL, TALKS, QUIET = 3, 2, 1, 0  # how interesting a client is


@dataclass(eq=False)
class Viewer:
    """Somebody who looks. `pinned` are the numbers of the clients that are drawn for it in any case."""

    pinned: frozenset[int]
    pictures: Channel[str] = field(default_factory=lambda: Channel(PICTURES))


@dataclass(frozen=True)
class Moment:
    """What a picture leaves for the trace: each drawn thread's state, and each channel's fill."""

    t: float
    states: dict[str, State]
    fills: dict[str, int]


@dataclass
class Figures:
    """What is known of a client between two pictures."""

    threads: dict[str, tuple[State, int, float]] = field(default_factory=dict)  # by role: state, progress, since when
    messages_in: int = 0
    interest: int = QUIET
    interest_until: float = 0.0


class TooManyViewers(Exception):
    """As many look as may."""


class Sampler:
    """Takes pictures of a hub from `start` to `stop`. Any thread may look."""

    def __init__(self, hub: WatchedHub, demo: bool) -> None:
        self.hub = hub
        self.watch = hub.watch
        self._demo = demo
        self._viewers: list[Viewer] = []
        self._viewers_mutex = threading.Lock()  # guards the list, and whether it has stopped
        self._stopped = threading.Event()
        self._moments: deque[Moment] = deque()
        self._figures: dict[int, Figures] = {}
        self._hub_figures = Figures()
        self._drawn: set[int] = set()
        self._frames_of_departed = 0
        self._marks: deque[tuple[float, int, int, int]] = deque()
        self._refilled = 0.0
        self._cost = 0.0
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take a last picture, and no more; who looks is told that there are no more (Closed)."""
        with self._viewers_mutex:
            self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        for viewer in list(self._viewers):
            with suppress(Closed):
                viewer.pictures.close()

    @contextmanager
    def viewing(self, pinned: frozenset[int]) -> Iterator[Iterator[str]]:
        """The pictures from now on, as JSON. Raises TooManyViewers, and Closed when the sampler has stopped."""
        viewer = Viewer(frozenset(sorted(pinned)[:MOST_PINNED]))
        with self._viewers_mutex:
            if self._stopped.is_set():
                raise Closed(viewer.pictures)
            if len(self._viewers) >= VIEWERS:
                raise TooManyViewers
            self._viewers.append(viewer)
        seen, _ = self.watch.events(after=sys.maxsize)
        try:
            yield self._with_events(viewer, seen)
        finally:
            with self._viewers_mutex:
                self._viewers.remove(viewer)

    def moments(self) -> list[Moment]:
        """The last minute, oldest first."""
        return list(self._moments)

    def _with_events(self, viewer: Viewer, seen: int) -> Iterator[str]:
        """The viewer's pictures, each with what has happened since the one before; `seen` is the last event before."""
        for picture in viewer.pictures:
            seen, events = self.watch.events(after=seen)
            yield f'{picture[:-1]}, "events": [{", ".join(events)}]}}'

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stopped.is_set()  # one more picture shows how it ended
            before = time.thread_time()
            picture = json.dumps(self.take())
            with self._viewers_mutex:
                viewers = list(self._viewers)
            for viewer in viewers:
                with suppress(WouldBlock):
                    viewer.pictures.send_nowait(picture)
            self._cost = time.thread_time() - before
            self._stopped.wait(max(INTERVAL, self._cost / SHARE - self._cost))

    def take(self) -> dict[str, Any]:
        """A picture, without the events. For the sampler's thread alone."""
        t = self.watch.now()
        self._follow_more(t)
        frames = sys._current_frames()
        clients = self._present_clients()
        self._find_write_pumps(clients)
        pinned = {number for viewer in list(self._viewers) for number in viewer.pinned}
        drawn, crowd = self._survey(t, clients, frames, pinned)
        frames_out = self._frames_of_departed + sum(client.connection.frames_out for client in clients)
        moment = Moment(t, {}, {})
        hub = self.hub
        channels = [_channel(channel) for channel in (hub.register, hub.unregister, hub.broadcast)]
        picture = {
            "t": round(t, 4),
            "cost_ms": round(self._cost * 1000, 3),
            "demo": self._demo,
            "pace": self.watch.pace,
            "hub": {
                "thread": self._hub_thread(t, frames, moment),
                "paused": hub.gate.shut,
                "clients": len(hub.clients),
                "messages": hub.messages,
                "batches": hub.batches,
                "evicted": hub.evictions,
            },
            "channels": {channel["name"]: channel for channel in channels},
            "run_queue": asdict(hub.run_queue.statistics()),
            "clients": [self._client(t, client, frames, client.number in pinned, moment) for client in drawn],
            "crowd": crowd,
            "rates": self._rates(t, hub.messages, hub.deliveries, frames_out),
        }
        for channel in channels:
            moment.fills[channel["name"]] = channel["pending"]
        self._remember(moment)
        return picture

    def _follow_more(self, t: float) -> None:
        self.watch.journeys.forget_old()
        while self._refilled + 1 / A_SECOND <= t:
            self._refilled = max(self._refilled + 1 / A_SECOND, t - 1)
            self.watch.journeys.refill()

    def _present_clients(self) -> list[WatchedClient]:
        """All clients whose threads are not done yet."""
        clients = []
        for number, client in list(self.watch.clients.items()):
            connection = client.connection
            if connection.departed:
                client.draw(False, False)
                self._frames_of_departed += connection.frames_out
                self._figures.pop(number, None)
                del self.watch.clients[number]  # at last, so that who sees it gone sees it counted
            else:
                clients.append(client)
        return clients

    def _find_write_pumps(self, clients: list[WatchedClient]) -> None:
        """Which thread it is, for clients that are new."""
        new = {f"writePump-{client.number}": client for client in clients if client.writer is None}
        if new:
            for thread in threading.enumerate():
                if thread.name in new:
                    new[thread.name].writer = thread.ident

    def _survey(
        self, t: float, clients: list[WatchedClient], frames: dict[int, FrameType], pinned: set[int]
    ) -> tuple[list[WatchedClient], dict[str, Any]]:
        """A quick look at every client: who is to be drawn, and what all of them do."""
        fill = [0] * BINS
        reading: Counter[str] = Counter()
        writing: Counter[str] = Counter()
        interesting = []
        for client in clients:
            connection, send = client.connection, client.send
            reading[state_of_pump(frames.get(client.reader), client)[0]] += 1
            writing[state_of_pump(frames.get(client.writer or 0), client)[0]] += 1
            waiting, capacity = send.fill, send.capacity
            fill[min(BINS - 1, waiting * BINS // capacity)] += 1
            figures = self._figures.get(client.number)
            if figures is None:
                figures = self._figures[client.number] = Figures()
            interest = QUIET
            if connection.blocked or client.away or connection.ended:
                interest = STUCK
            elif waiting * 2 >= capacity:
                interest = FULL
            elif connection.received != figures.messages_in:
                interest = TALKS
            figures.messages_in = connection.received
            if interest >= figures.interest or t > figures.interest_until:
                figures.interest, figures.interest_until = interest, t + STAYS
            interesting.append((-figures.interest, client.number not in self._drawn, client.number))
        chosen = {number for _, _, number in heapq.nsmallest(DRAWN, interesting)} | pinned
        served = list(self.hub.clients)
        ends = [member.send for member in (served[:1] + served[-1:])]  # they tell how long the hub took to serve all
        for client in clients:
            client.draw(client.number in chosen, client.send in ends)
        drawn_clients = [client for client in clients if client.number in chosen]
        self._drawn = chosen
        crowd = {
            "count": len(clients) - len(drawn_clients),
            "fill": fill,
            "reading": dict(reading),
            "writing": dict(writing),
        }
        return drawn_clients, crowd

    def _client(
        self, t: float, client: WatchedClient, frames: dict[int, FrameType], pinned: bool, moment: Moment
    ) -> dict[str, Any]:
        connection, send = client.connection, client.send
        figures = self._figures[client.number]
        threads = {}
        for role, ident, progress in (
            ("readPump", client.reader, connection.received),
            ("writePump", client.writer, connection.frames_out),
        ):
            frame = frames.get(ident or 0)
            state = state_of_pump(frame, client)
            since = _since(figures, role, state, progress, t)
            threads[role] = _thread(f"{role}-{client.number}", frame, state, t - since, moment)
        channel = _channel(send)
        moment.fills[send.name] = channel["pending"]
        return {
            "number": client.number,
            "name": connection.name,
            "read_pump": threads["readPump"],
            "write_pump": threads["writePump"],
            "send": channel,
            "away": client.away,
            "evicted": connection.evicted,
            "messages_in": connection.received,
            "messages_out": connection.messages_out,
            "frames_out": connection.frames_out,
            "pinned": pinned,
        }

    def _hub_thread(self, t: float, frames: dict[int, FrameType], moment: Moment) -> dict[str, Any]:
        frame = frames.get(self.hub.thread or 0)
        state = state_of_hub(frame, self.hub.register)
        since = _since(self._hub_figures, "hub", state, self.hub.batches, t)
        return _thread("hub", frame, state, t - since, moment)

    def _rates(self, t: float, messages: int, deliveries: int, frames: int) -> dict[str, float]:
        """Per second, over the last second or so."""
        marks = self._marks
        marks.append((t, messages, deliveries, frames))
        while len(marks) > 2 and marks[1][0] <= t - LOOK_BACK:
            marks.popleft()
        before = marks[0]
        seconds = max(t - before[0], INTERVAL)
        deliveries, frames = deliveries - before[2], frames - before[3]
        return {
            "messages": round((messages - before[1]) / seconds, 1),
            "deliveries": round(deliveries / seconds, 1),
            "frames": round(frames / seconds, 1),
            "messages_a_frame": round(deliveries / frames, 2) if frames else 0.0,
        }

    def _remember(self, moment: Moment) -> None:
        self._moments.append(moment)
        while self._moments[0].t < moment.t - KEPT:
            self._moments.popleft()


def _thread(name: str, frame: FrameType | None, state: State, seconds: float, moment: Moment) -> dict[str, Any]:
    stack = stack_of(frame)
    file, line, function = stack[-1] if stack else ("", 0, "")
    moment.states[name] = state
    return {
        "name": name,
        "state": state[0],
        "on": state[1],
        "for": round(seconds, 3),
        "file": file,
        "line": line,
        "function": function,
        "stack": stack,
    }


def _since(figures: Figures, role: str, state: State, progress: int, t: float) -> float:
    """Since when a thread has been in this state. Who has got on meanwhile was elsewhere, and has come back."""
    before = figures.threads.get(role)
    if before is not None and before[:2] == (state, progress):
        return before[2]
    figures.threads[role] = (state, progress, t)
    return t


def _channel(channel: WatchedChannel[Any] | WatchedOutbox) -> dict[str, Any]:
    now = channel.statistics()
    return {
        "name": channel.name,
        "pending": now.pending,
        "capacity": now.capacity,
        "senders": now.waiting_senders,
        "receivers": now.waiting_receivers,
        "closed": now.closed,
    }
