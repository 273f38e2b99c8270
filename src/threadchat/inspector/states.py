"""What a thread does at this moment, read from its frames.

Nothing in the core says what it is doing; `sys._current_frames` does. Of all that a thread is inside of, the innermost
function named in STATES tells. This table, and the looks into channels in `watch`, are all that the inspector knows of
the core's inside; tests/test_states.py forces each row in a real server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import threadchat
from threadchat.channel import Channel, Send, select
from threadchat.client import Client, serve_ws
from threadchat.hub import Hub
from threadchat.inspector.watch import Gate, WatchedChannel, WatchedClient, WatchedOutbox
from threadchat.outbox import Turn
from threadchat.runtime.runqueue import RunQueue
from threadchat.websocket.connection import Connection

PACKAGE = str(Path(threadchat.__file__).parent)
OWN = str(Path(__file__).parent)

SOCKET = "socket"


@dataclass(frozen=True)
class Row:
    """In this function a thread is in this state: on its socket, on the channel whose method it is, or on nothing."""

    function: Callable[..., Any]
    state: str
    on: str = ""


CHANNEL = "channel"

STATES = (
    Row(Gate.wait, "paused"),
    Row(Turn.__enter__, "receiving"),  # or "ready": the pump has been made ready, and waits for its turn
    Row(Channel.send, "sending", CHANNEL),  # or "ready": its item has been taken
    Row(select, "selecting"),  # or "sending", if one of its cases is a send; or "ready"
    Row(RunQueue.gosched, "ready"),
    Row(Connection._receive, "reading", SOCKET),
    Row(Connection._write, "writing", SOCKET),  # or "stuck": the peer has not taken bytes for long
    Row(Connection._send, "writing", SOCKET),
    Row(Connection.send, "writing", SOCKET),
    Row(Connection.send_close, "leaving", SOCKET),
    Row(Connection.close, "leaving", SOCKET),
    Row(Client.write_pump, "running"),  # or "leaving": it waits for the read pump to be done
    Row(Client.read_pump, "running"),
    Row(Hub.run, "running"),
    Row(serve_ws, "running"),  # or "leaving": the read pump waits for the write pump to be done
)
_ROWS: dict[CodeType, Row] = {row.function.__code__: row for row in STATES}

State = tuple[str, str]  # the state, and the name of what it is about


def state_of_hub(frame: FrameType | None, register: WatchedChannel[Any]) -> State:
    """What the hub's thread does. `frame` is its innermost one, None when it has ended."""
    row, frame = _find(frame)
    if row is None:
        return "gone", ""
    if row.function is select:  # whoever hands it something takes it out of a line, and it leaves the others awake
        for case in frame.f_locals["cases"] if frame else ():
            if isinstance(case, Send):  # the hub waits for a write pump
                return _sending(case.channel)
        return ("selecting" if register.statistics().waiting_receivers else "ready"), ""
    return _with_channel(row, frame)


def state_of_pump(frame: FrameType | None, client: WatchedClient) -> State:
    """What one of a client's threads does. `frame` is its innermost one, None when it has not begun or has ended."""
    connection, send = client.connection, client.send
    row, frame = _find(frame)
    if row is None:
        return ("gone" if connection.ended else "ready"), ""
    state = row.state
    if state == "receiving":
        return ("receiving" if send.has_parked_receiver else "ready"), send.name
    if state == "reading":
        return state, SOCKET
    if state == "writing":
        return ("stuck" if connection.blocked and client.away else state), SOCKET
    if row.function in (Client.write_pump, serve_ws) and (connection.ended or send.statistics().closed):
        return "leaving", SOCKET
    return _with_channel(row, frame)


def stack_of(frame: FrameType | None) -> list[list[Any]]:
    """The core's frames, outermost first: file, line, function."""
    stack = []
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE) and not code.co_filename.startswith(OWN):
            stack.append([code.co_filename[len(PACKAGE) + 1 :], frame.f_lineno, code.co_qualname])
        frame = frame.f_back
    return stack[::-1]


def _find(frame: FrameType | None) -> tuple[Row | None, FrameType | None]:
    """The row that tells, and the frame that it is about."""
    while frame is not None:
        row = _ROWS.get(frame.f_code)
        if row is not None:
            return row, frame
        frame = frame.f_back
    return None, None


def _with_channel(row: Row, frame: FrameType | None) -> State:
    if row.on != CHANNEL or frame is None:
        return row.state, row.on
    return _sending(frame.f_locals["self"])


def _sending(channel: Any) -> State:
    """The state of a thread that is in a send to this channel."""
    if not isinstance(channel, (WatchedChannel, WatchedOutbox)):
        return "sending", ""
    return ("sending" if channel.has_parked_sender else "ready"), channel.name
