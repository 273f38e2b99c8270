"""The camera: it takes the pictures of one room, and keeps what the trace needs of the last minute.

At most DRAWN clients, and those that viewers have pinned, are drawn; the others are only counted by what they do.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from types import FrameType
from typing import Any

from threadchat.inspector import room_log
from threadchat.inspector.journey import A_SECOND, KEPT
from threadchat.inspector.kernel import Held, unread
from threadchat.inspector.own_hub import LearnersHub
from threadchat.inspector.states import State, stack_of, state_of_hub, state_of_pump
from threadchat.inspector.watch import WatchedHub
from threadchat.inspector.watched_channels import WatchedChannel, WatchedOutbox
from threadchat.inspector.watched_connection import WatchedClient
from threadchat.room import Room

DRAWN = 24  # clients that are drawn, besides those that a viewer has pinned
BINS = 16  # in the histogram of how full the send channels are
STAYS = 3.0  # seconds that a client keeps its interest after its cause has gone, so that the drawing does not flicker
LOOK_BACK = 1.0  # seconds over which the rates are measured
SHORTEST = 0.1  # seconds over which they are measured at least
STUCK, FULL, TALKS, QUIET = 3, 2, 1, 0  # how interesting a client is


@dataclass(frozen=True)
class Moment:
    """What is kept of a picture for the trace: the state of each drawn thread, and the fill of each drawn channel."""

    t: float
    states: dict[str, State]
    fills: dict[str, int]


@dataclass
class Figures:
    """What the sampler remembers of a client (or of the hub) from one picture to the next."""

    # For each role: the thread's state, a counter that grows as the thread works, and since when both are the same.
    threads: dict[str, tuple[State, int, float]] = field(default_factory=dict)
    messages_in: int = 0
    interest: int = QUIET
    interest_until: float = 0.0


class Camera:
    """Takes the pictures of a room whose hub is watched. Only the sampler's thread calls the methods, except `moments`.

    From then on the room is looked at, until `close`.
    """

    def __init__(self, room: Room) -> None:
        assert isinstance(room.hub, WatchedHub)
        self.room = room
        self.hub = room.hub
        self.watch = room.hub.watch
        self.wanted_until = 0.0  # when nobody will have looked at the room for long; for the sampler
        self._moments: deque[Moment] = deque()
        self._figures: dict[int, Figures] = {}
        self._hub_figures = Figures()
        self._drawn: set[int] = set()
        self._marks: deque[tuple[float, int, int, int]] = deque()
        self._refilled = self.watch.now()
        self.watch.look()

    def close(self) -> None:
        """Nobody looks at the room any more."""
        self.hub.rest()

    def moments(self) -> list[Moment]:
        """The moments of the last minute, oldest first."""
        return list(self._moments)

    def take(self, t: float, frames: dict[int, FrameType], pinned: set[int], with_log: bool) -> dict[str, Any]:
        """Take a picture. `frames` has the innermost frame of each thread by its ident."""
        self._follow_more(t)
        clients, frames_out = self.hub.present()
        self._find_write_pumps(clients)
        drawn, crowd = self._survey(t, clients, frames, pinned)
        moment = Moment(t, {}, {})
        hub = self.hub
        channels = [_channel(channel) for channel in (hub.register, hub.unregister, hub.broadcast)]
        picture = {
            "t": round(t, 4),
            "room": self.room.name,
            "pace": self.watch.shared.paces.get(self.room.name, 0.0),
            "hub": {
                "thread": self._hub_thread(t, frames, moment),
                "paused": hub.gate.shut,
                "clients": len(hub.clients),
                "messages": hub.messages,
                "batches": hub.batches,
                "evicted": hub.evictions,
            },
            "channels": {channel["name"]: channel for channel in channels},
            "log": room_log.told(self.room) if with_log else None,
            "run_queue": asdict(hub.run_queue.statistics()),
            "clients": [self._client(t, client, frames, client.number in pinned, moment) for client in drawn],
            "crowd": crowd,
            "rates": self._rates(t, hub.messages, hub.deliveries, frames_out),
        }
        if isinstance(hub, LearnersHub):
            picture["own"] = hub.facts(frames)
        for channel in channels:
            moment.fills[channel["name"]] = channel["pending"]
        self._remember(moment)
        return picture

    def _follow_more(self, t: float) -> None:
        self.watch.journeys.forget_old()
        while self._refilled + 1 / A_SECOND <= t:
            self._refilled = max(self._refilled + 1 / A_SECOND, t - 1)
            self.watch.journeys.refill()

    def _find_write_pumps(self, clients: list[WatchedClient]) -> None:
        """Find the ident of the write pump of each client that is new."""
        new = {f"writePump-{client.number}": client for client in clients if client.writer is None}
        if new:
            for thread in threading.enumerate():
                if thread.name in new:
                    new[thread.name].writer = thread.ident

    def _survey(
        self, t: float, clients: list[WatchedClient], frames: dict[int, FrameType], pinned: set[int]
    ) -> tuple[list[WatchedClient], dict[str, Any]]:
        """Look at every client. Returns the clients to draw, and the counts of what all of them do, for JSON."""
        for gone in self._figures.keys() - {client.number for client in clients}:
            del self._figures[gone]
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
                if connection.wait:
                    connection.wait.look()
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
        # The hub serves its first and its last client at the ends of a batch: they tell how long it took to serve all.
        ends = [member.send for member in (served[:1] + served[-1:])]
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
        peer = self.watch.shared.peers.get(connection.peer)
        moment.fills[send.name] = channel["pending"]
        return {
            "number": client.number,
            "name": connection.name,
            "read_pump": threads["readPump"],
            "write_pump": threads["writePump"],
            "send": channel,
            "away": client.away,
            "waits": round(client.waits, 3),
            "kernel": _held(connection.held()),
            "unread": _held(unread(peer) if peer else None),
            "evicted": connection.evicted,
            "messages_in": connection.received,
            "messages_out": connection.messages_out,
            "frames_out": connection.frames_out,
            "pinned": pinned,
        }

    def _hub_thread(self, t: float, frames: dict[int, FrameType], moment: Moment) -> dict[str, Any]:
        frame = frames.get(self.hub.thread or 0)
        own = self.hub.version if isinstance(self.hub, LearnersHub) else None
        state = own.state(frame) if own else state_of_hub(frame, self.hub.register)
        since = _since(self._hub_figures, "hub", state, self.hub.batches, t)
        thread = _thread(self.hub.thread_name, frame, state, t - since, moment)
        return thread | own.place(frame) if own else thread

    def _rates(self, t: float, messages: int, deliveries: int, frames: int) -> dict[str, float]:
        """The rates per second, measured over about LOOK_BACK."""
        marks = self._marks
        marks.append((t, messages, deliveries, frames))
        while len(marks) > 2 and marks[1][0] <= t - LOOK_BACK:
            marks.popleft()
        before = marks[0]
        seconds = max(t - before[0], SHORTEST)
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


def _held(held: Held | None) -> dict[str, int] | None:
    return held._asdict() if held else None


def _since(figures: Figures, role: str, state: State, progress: int, t: float) -> float:
    """Since when a thread has been in this state.

    If `progress` has changed, the thread has left the state in the meantime and come back: then since now, `t`.
    """
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
