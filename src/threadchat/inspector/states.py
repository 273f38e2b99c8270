"""What a thread is doing at this moment, read from its stack.

The core does not report what its threads do; `sys._current_frames` gives their stacks. The innermost function on the
stack that STATES names decides the thread's state. This table and the private parts of channels that `watch` and
`own_channels` use are all that the inspector knows of the core's internals. tests/test_states.py forces each row in a
real server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, MappingProxyType
from typing import Any

import threadchat
from threadchat.channel import Channel, Send, select
from threadchat.client import Client, serve_ws
from threadchat.hub import Hub
from threadchat.inspector.watch import Gate
from threadchat.inspector.watched_channels import Watchable, WatchedChannel
from threadchat.inspector.watched_connection import WatchedClient
from threadchat.inspector.watched_writer import WatchedWriter
from threadchat.log.reader import LogReader
from threadchat.log.writer import LogWriter
from threadchat.outbox import Outbox
from threadchat.runtime.runqueue import RunQueue
from threadchat.shared_room import SharedRoom
from threadchat.stored_room import StoredRoom
from threadchat.websocket.connection import Connection

PACKAGE = str(Path(threadchat.__file__).parent)
OWN = str(Path(__file__).parent)
NO_FILES: Mapping[str, str] = MappingProxyType({})

SOCKET, STORE = "socket", "store"


@dataclass(frozen=True)
class Row:
    """While a thread is inside `function`, it is in `state`.

    `on` says what the thread uses: SOCKET, STORE, CHANNEL (the channel whose method `function` is), HUB (that of the
    room whose method it is) or nothing.
    """

    function: Callable[..., Any]
    state: str
    on: str = ""


CHANNEL, HUB = "channel", "hub"

STATES = (
    Row(Gate.wait, "paused"),
    Row(Outbox.receive_in_turn, "receiving"),  # or "ready", if the pump has been made ready and waits for its turn
    Row(Channel.send, "sending", CHANNEL),  # or "ready", if its item has been taken
    Row(select, "selecting"),  # or "sending", if one of its cases is a send; or "ready", if a case has been chosen
    Row(RunQueue.gosched, "ready"),
    Row(Connection._receive, "reading", SOCKET),
    Row(Connection._write, "writing", SOCKET),  # or "stuck", if the peer has kept a frame waiting for long
    Row(Connection._send, "writing", SOCKET),
    Row(Connection.send, "writing", SOCKET),
    Row(Connection.send_close, "leaving", SOCKET),
    Row(Connection.close, "leaving", SOCKET),
    Row(Connection.encode, "running"),
    Row(Client.write_pump, "running"),  # or "leaving", while the pump waits for the read pump to end
    Row(Client.read_pump, "running"),
    Row(Hub.run, "running"),
    Row(StoredRoom._wait_for_hub, "behind", HUB),
    Row(LogWriter._until_it_works, "storing", STORE),  # or "down", while the store is
    Row(LogWriter._write, "running"),
    Row(LogWriter._write_what_waits, "receiving"),  # or "running", once something was said
    Row(LogReader._read, "listening", STORE),
    Row(LogReader._look, "storing", STORE),
    Row(LogReader._step, "running"),  # or "down", while the store cannot be read
    Row(SharedRoom.arrived, "running"),
    Row(serve_ws, "running"),  # or "leaving", while the read pump's thread waits for the write pump to end
)
_ROWS: dict[CodeType, Row] = {row.function.__code__: row for row in STATES}

State = tuple[str, str]  # the state, and the name of the channel (or SOCKET) that the thread uses


def state_of_hub(frame: FrameType | None, register: WatchedChannel[Any]) -> State:
    """The state of the hub's thread. `frame` is its innermost frame, or None if the thread has ended."""
    row, frame = _find(frame)
    if row is None:
        return "gone", ""
    if row.function is select:
        for case in frame.f_locals["cases"] if frame else ():
            if isinstance(case, Send):  # the hub waits for a write pump
                return _sending(case.channel)
        # The hub stands in the lines of all its channels. Once any of them has served it, `register` does not count it.
        return ("selecting" if register.statistics().waiting_receivers else "ready"), ""
    return _with_channel(row, frame)


def state_of_pump(frame: FrameType | None, client: WatchedClient) -> State:
    """The state of one of a client's threads.

    `frame` is its innermost frame, or None if the thread has not begun or has ended.
    """
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


def state_of_writer(frame: FrameType | None, writer: WatchedWriter) -> State:
    """The state of the log writer's thread, whose innermost frame this is."""
    row, frame = _find(frame)
    if row is None:
        return "gone", ""
    if row.function is LogWriter._until_it_works:
        return ("down" if writer.is_down else row.state), STORE
    if row.function is LogWriter._write_what_waits:
        return (row.state, writer.said.name) if writer.said.has_parked_receiver else ("running", "")
    return _with_channel(row, frame)


def state_of_reader(frame: FrameType | None, reader: LogReader) -> State:
    """The state of the log reader's thread, whose innermost frame this is."""
    row, frame = _find(frame)
    if row is None:
        return "gone", ""
    if row.function is LogReader._step and reader.is_down:
        return "down", STORE
    return row.state, row.on


def stack_of(frame: FrameType | None, learners: Mapping[str, str] = NO_FILES) -> list[list[Any]]:
    """The thread's frames in the core, outermost first, each as file, line and function.

    And those in the learner's files; `learners` says what these are called.
    """
    stack = []
    while frame is not None:
        code = frame.f_code
        if code.co_filename in learners:
            stack.append([learners[code.co_filename], frame.f_lineno, code.co_qualname])
        elif code.co_filename.startswith(PACKAGE) and not code.co_filename.startswith(OWN):
            stack.append([code.co_filename[len(PACKAGE) + 1 :], frame.f_lineno, code.co_qualname])
        frame = frame.f_back
    return stack[::-1]


def find_row(frame: FrameType) -> Row | None:
    """The row of the innermost function on the stack that STATES names."""
    return _find(frame)[0]


def _find(frame: FrameType | None) -> tuple[Row | None, FrameType | None]:
    """The row of the innermost function that STATES names, and that function's frame."""
    while frame is not None:
        row = _ROWS.get(frame.f_code)
        if row is not None:
            return row, frame
        frame = frame.f_back
    return None, None


def _with_channel(row: Row, frame: FrameType | None) -> State:
    if row.on == HUB and frame is not None:
        return row.state, frame.f_locals["self"].hub.thread_name
    if row.on != CHANNEL or frame is None:
        return row.state, row.on
    return _sending(frame.f_locals["self"])


def _sending(channel: Any) -> State:
    """The state of a thread that is inside a send to this channel: "ready" once its item has been taken."""
    if not isinstance(channel, Watchable):
        return "sending", ""
    return ("sending" if channel.has_parked_sender else "ready"), channel.name
