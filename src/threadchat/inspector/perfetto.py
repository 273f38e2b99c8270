"""The last minute as a trace file for Perfetto (ui.perfetto.dev) and chrome://tracing.

The format is Chrome's "Trace Event Format" in JSON. Each event has a time in microseconds, a process and a thread. The
trace uses two processes as groups:

- THREADS has a track for each thread that was drawn, with its states, and a counter for each channel. These were
  sampled: a state lasts from the first sample that saw it to the first that did not.
- MESSAGES has the steps of the followed messages, with exact times, and arrows from step to step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from threadchat.inspector.camera import Moment
from threadchat.inspector.journey import WAY, Journey

THREADS, MESSAGES = 1, 2  # the two processes

Event = dict[str, Any]


def trace(moments: Sequence[Moment], journeys: Iterable[Journey]) -> dict[str, Any]:
    """The contents of the file, for json.dumps."""
    tracks = _Tracks()
    events = [*_states(moments, tracks), *_fills(moments), *_steps(journeys, tracks)]
    return {"traceEvents": [*tracks.named(), *events], "displayTimeUnit": "ms"}


class _Tracks:
    """Numbers the threads, which the format identifies by integers."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, str], int] = {}

    def number(self, process: int, thread: str) -> int:
        # Starts above the numbers of the processes: a thread with its process's number would be its main thread.
        return self._numbers.setdefault((process, thread), len(self._numbers) + MESSAGES + 1)

    def named(self) -> list[Event]:
        processes = ((THREADS, "threads and channels (sampled)"), (MESSAGES, "followed messages"))
        return [
            *(
                {"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": name}}
                for process, name in processes
            ),
            *(
                {"ph": "M", "name": "thread_name", "pid": process, "tid": number, "args": {"name": thread}}
                for (process, thread), number in self._numbers.items()
            ),
        ]


def _states(moments: Sequence[Moment], tracks: _Tracks) -> list[Event]:
    """A slice for each period in which all samples saw a thread in the same state."""
    slices: list[Event] = []
    latest: dict[str, Event] = {}
    for moment, following in pairwise(moments):
        start, end = _microseconds(moment.t), _microseconds(following.t)
        for thread, (state, on) in moment.states.items():
            arguments = {"state": state, "on": on}
            slice = latest.get(thread)
            if slice is None or slice["args"] != arguments or slice["ts"] + slice["dur"] != start:
                slice = latest[thread] = {
                    "ph": "X",
                    "name": f"{state} {on}".rstrip(),
                    "cat": "state",
                    "pid": THREADS,
                    "tid": tracks.number(THREADS, thread),
                    "ts": start,
                    "args": arguments,
                }
                slices.append(slice)
            slice["dur"] = end - slice["ts"]
    return slices


def _fills(moments: Sequence[Moment]) -> list[Event]:
    return [
        {
            "ph": "C",
            "name": f"channel {channel}",
            "pid": THREADS,
            "tid": 0,
            "ts": _microseconds(moment.t),
            "args": {"messages": fill},
        }
        for moment in moments
        for channel, fill in moment.fills.items()
    ]


def _steps(journeys: Iterable[Journey], tracks: _Tracks) -> list[Event]:
    """A slice of one microsecond for each step, and the arrows between them: one flow for each delivery."""
    events: list[Event] = []
    flows = itertools.count(1)  # Perfetto takes only numbers as the ids of flows
    for journey in journeys:
        told = journey.as_json()
        way = [(step["step"], step["t"], step["thread"]) for step in told["steps"] if step["step"] in WAY]
        for name, t, thread in way:
            events.append(_step(journey, name, t, tracks.number(MESSAGES, thread)))
        for part in told["deliveries"]:
            pump = f"writePump-{part['client']}"
            rest = [("buffered", part["buffered"], journey.hub_thread)]
            rest += [(name, part[name], pump) for name in ("coalesced", "written")]
            rest = [step for step in rest if step[1] is not None]
            for name, t, thread in rest:
                events.append(_step(journey, name, t, tracks.number(MESSAGES, thread)))
            events += _flow(next(flows), [*way, *rest], tracks)
    return events


def _step(journey: Journey, name: str, t: float, track: int) -> Event:
    return {
        "ph": "X",
        "name": f"{name}: message {journey.number}",
        "cat": "message",
        "pid": MESSAGES,
        "tid": track,
        "ts": _microseconds(t),
        "dur": 1,
        "args": {"text": journey.text, "from client": journey.client},
    }


def _flow(number: int, way: list[tuple[str, float, str]], tracks: _Tracks) -> list[Event]:
    if len(way) < 2:
        return []
    flow: list[Event] = []
    for place, (_, t, thread) in enumerate(way):
        phase = "s" if place == 0 else "f" if place == len(way) - 1 else "t"
        event = {
            "ph": phase,
            "name": "message",
            "cat": "message",
            "id": number,
            "pid": MESSAGES,
            "tid": tracks.number(MESSAGES, thread),
            "ts": _microseconds(t),
        }
        if phase == "f":
            event["bp"] = "e"  # the arrow ends at the slice that encloses its time, not at the next one
        flow.append(event)
    return flow


def _microseconds(t: float) -> int:
    return round(t * 1e6)
