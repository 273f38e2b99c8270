"""The camera: it takes the pictures of one room, and keeps what the trace needs of the last minute."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

from threadchat.inspector import room_log
from threadchat.inspector.journey import A_SECOND, KEPT
from threadchat.inspector.kernel import Held, unread
from threadchat.inspector.own_hub import LearnersHub
from threadchat.inspector.states import State, stack_of, state_of_hub, state_of_pump, state_of_reader, state_of_writer
from threadchat.inspector.survey import Figures, Survey
from threadchat.inspector.watch import WatchedHub
from threadchat.inspector.watched_channels import WatchedChannel, WatchedOutbox
from threadchat.inspector.watched_connection import WatchedClient
from threadchat.inspector.watched_reader import WatchedReader
from threadchat.inspector.watched_writer import SaidChannel, WatchedWriter
from threadchat.room import Room

LOOK_BACK = 1.0  # seconds over which the rates are measured
SHORTEST = 0.1  # seconds over which they are measured at least


@dataclass(frozen=True)
class Moment:
    """What is kept of a picture for the trace: the state of each drawn thread, and the fill of each drawn channel."""

    t: float
    states: dict[str, State]
    fills: dict[str, int]


class Camera:
    """Takes the pictures of a room whose hub is watched. Only the sampler's thread calls the methods, except `moments`.

    From then on the room is looked at, until `close`.
    """

    def __init__(self, room: Room, writer: WatchedWriter | None) -> None:
        assert isinstance(room.hub, WatchedHub)
        self.room = room
        self.hub = room.hub
        self.watch = room.hub.watch
        self.wanted_until = 0.0  # when nobody will have looked at the room for long; for the sampler
        self._moments: deque[Moment] = deque()
        self._writer = writer
        self._survey = Survey()
        self._own_figures = Figures()  # of the hub's thread and the log writer's
        self._marks: deque[tuple[float, ...]] = deque()
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
        drawn, crowd = self._survey.look(t, clients, frames, pinned)
        self._note_for(drawn, clients)
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
            "log_writer": self._log_writer(t, frames, moment),
            "log_reader": self._log_reader(t, frames, moment),
            "run_queue": asdict(hub.run_queue.statistics()),
            "clients": [self._client(t, client, frames, client.number in pinned, moment) for client in drawn],
            "crowd": crowd,
            "rates": self._rates(t, frames_out),
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

    def _note_for(self, drawn: list[WatchedClient], clients: list[WatchedClient]) -> None:
        """Have the steps of followed messages recorded for those that are drawn, and at both ends of a batch.

        The hub serves its first and its last client at these ends: they tell how long it took to serve all.
        """
        numbers, served = {client.number for client in drawn}, list(self.hub.clients)
        ends = [member.send for member in (served[:1] + served[-1:])]
        for client in clients:
            client.draw(client.number in numbers, client.send in ends)

    def _client(
        self, t: float, client: WatchedClient, frames: dict[int, FrameType], pinned: bool, moment: Moment
    ) -> dict[str, Any]:
        connection, send = client.connection, client.send
        figures = self._survey.figures[client.number]
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
        since = _since(self._own_figures, "hub", state, self.hub.batches, t)
        thread = _thread(self.hub.thread_name, frame, state, t - since, moment)
        return thread | own.place(frame) if own else thread

    def _log_writer(self, t: float, frames: dict[int, FrameType], moment: Moment) -> dict[str, Any] | None:
        """The log writer, which all rooms share, and how far the hub is behind it; None for a room in memory."""
        writer = self._writer
        if writer is None:
            return None
        frame = frames.get(writer.ident)
        state = state_of_writer(frame, writer)
        since = _since(self._own_figures, "logWriter", state, writer.groups + writer.failures, t)
        said = _channel(writer.said)
        moment.fills[said["name"]] = said["pending"]
        return {
            "thread": _thread("logWriter", frame, state, t - since, moment),
            "said": said,
            "down": writer.is_down,
            "in_hand": writer.in_hand,
            "behind": writer.behind(self.room),
            "groups": writer.groups,
            "entries": writer.entries,
            "failures": writer.failures,
        }

    def _log_reader(self, t: float, frames: dict[int, FrameType], moment: Moment) -> dict[str, Any] | None:
        """The log reader, and how far it is behind what was written here; None where the store is not shared."""
        reader = self._writer and self._writer.reader
        if not isinstance(reader, WatchedReader):
            return None
        frame = frames.get(reader.ident)
        state = state_of_reader(frame, reader)
        since = _since(self._own_figures, "logReader", state, reader.entries, t)
        return {
            "thread": _thread("logReader", frame, state, t - since, moment),
            "down": reader.is_down,
            "behind": reader.behind(self.room),
            "entries": reader.entries,
        }

    def _rates(self, t: float, frames_out: int) -> dict[str, float]:
        """The rates per second, measured over about LOOK_BACK. Of the log writer, what comes to a group."""
        hub, writer, marks = self.hub, self._writer, self._marks
        written = (writer.entries, writer.appends, writer.append_seconds) if writer else (0, 0, 0.0)
        now = (t, hub.messages, hub.deliveries, frames_out, *written)
        marks.append(now)
        while len(marks) > 2 and marks[1][0] <= t - LOOK_BACK:
            marks.popleft()
        seconds, messages, deliveries, frames, entries, appends, appending = (
            this - before for this, before in zip(now, marks[0], strict=True)
        )
        seconds = max(seconds, SHORTEST)
        return {
            "messages": round(messages / seconds, 1),
            "deliveries": round(deliveries / seconds, 1),
            "frames": round(frames / seconds, 1),
            "messages_a_frame": round(deliveries / frames, 2) if frames else 0.0,
            "groups": round(appends / seconds, 1),
            "entries_a_group": round(entries / appends, 1) if appends else 0.0,
            "append": round(appending / appends, 6) if appends else 0.0,
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


def _channel(channel: WatchedChannel[Any] | WatchedOutbox | SaidChannel) -> dict[str, Any]:
    now = channel.statistics()
    return {
        "name": channel.name,
        "pending": now.pending,
        "capacity": now.capacity,
        "senders": now.waiting_senders,
        "receivers": now.waiting_receivers,
        "closed": now.closed,
    }
