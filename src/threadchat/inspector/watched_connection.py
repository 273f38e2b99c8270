"""The watched connection of a client: it counts what it sends, and notes the followed messages that it sends."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from threadchat.channel import Channel
from threadchat.inspector.evictions import Wait
from threadchat.inspector.journey import Journey, followed, place
from threadchat.inspector.kernel import Held, unacknowledged
from threadchat.inspector.notes import Shared, Watch
from threadchat.inspector.watched_channels import WatchedOutbox
from threadchat.options import Options
from threadchat.subprotocol import LINES, Subprotocol
from threadchat.websocket.connection import Connection


class WatchedConnection(Connection):
    """A connection that counts what it sends.

    While `drawn` is set, it records the steps of the followed messages that it sends.
    """

    __slots__ = (
        "_carried",
        "_found",
        "_name",
        "_shared",
        "_vain",
        "drawn",
        "ended",
        "evicted",
        "frames_out",
        "messages_out",
        "number",
        "on_departure",
        "outbound",
        "protocol",
        "wait",
        "watch",
    )

    # Set when the client is about to be registered.
    number: int  # its client's; 0 before
    outbound: WatchedOutbox  # its client's
    watch: Watch  # its room's

    def __init__(self, shared: Shared, environ: dict[str, Any], options: Options) -> None:
        super().__init__(environ, options)
        self.number = 0
        self.protocol: Subprotocol = LINES  # its client's; LINES before, and when it has departed
        # Called once the threads are done with it, if the client was known.
        self.on_departure: Callable[[], object] = lambda: None
        self.evicted = False
        self.ended = False  # whether it is decided how the connection ends
        self.messages_out = 0
        self.frames_out = 0
        self.wait: Wait | None = None  # the latest frame that had to wait for the peer; the writing thread's
        self.drawn = False
        self._shared = shared
        self._name = shared.names.pop(self.peer, "")  # a bot's
        self._found = 0  # how many of the channel's `followed` messages were found in frames
        self._vain = 0  # frames in a row that were searched without finding one
        self._carried: Sequence[Journey] = ()  # of the followed messages in the frame that the write pump sends next

    @property
    def name(self) -> str:
        """What people call the client at this moment: a bot's name, its person's, or the peer's address."""
        return self._name or self.protocol.name or self.peer

    def accept(self) -> None:
        super().accept()
        if self._shared.kernel_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._shared.kernel_buffer)
        if self.number:
            self.note_joined()

    def note_joined(self) -> None:
        """Called once the handshake has been answered and the client is known, whichever comes last."""
        self.watch.note("joined", client=self.number, name=self.name, reason="")

    def end(self, code: int, reason: str | None = None, by_peer: bool = False) -> None:
        super().end(code, reason, by_peer)
        self.ended = True

    def _write_rest(self, rest: memoryview) -> None:
        self.wait = wait = Wait(self._socket)
        try:
            super()._write_rest(rest)
        finally:
            wait.until = time.monotonic()

    def held(self) -> Held | None:
        """What the kernel holds for the peer; None before the handshake has been answered, or if it does not tell."""
        return unacknowledged(self._socket) if self.accepted else None

    def close(self) -> None:
        super().close()
        if self.number in self._shared.present and not self.evicted:
            kind = "stopped" if self.watch.stopping else "left"
            self.watch.note(kind, client=self.number, name=self.name, reason=self.ending)
        self.depart()

    def depart(self) -> None:
        """Called when the threads are done with it, or will not begin."""
        self.on_departure()
        self.on_departure, self.protocol = lambda: None, LINES  # breaks reference cycles: both know the connection

    def encode(self, lines: Sequence[str]) -> bytes:
        self.messages_out += len(lines)
        self.frames_out += 1
        if self.drawn and self._found != self.outbound.followed:  # not all have been found: they may be in this frame
            self._note_coalesced(lines)
        return Connection.encode(self, lines)

    def _note_coalesced(self, lines: Sequence[str]) -> None:
        self._carried = followed(lines)
        if not self._carried:
            self._vain += 1
            # A frame takes all that is in the channel. So after two of them the missing messages are not in the channel
            # any more: they were taken while the client was not drawn.
            if self._vain == 2:
                self._found, self._vain = self.outbound.followed, 0
            return
        self._vain = 0
        self._found += len(self._carried)
        for journey in self._carried:
            part = journey.delivery(self.number, self.name)
            part.coalesced = self.watch.now()
            part.messages = len(lines)
            part.places["coalesced"] = place(f"writePump-{self.number}")
        self.__class__ = CarryingConnection  # for this frame


class CarryingConnection(WatchedConnection):
    """The class of a connection while its write pump has a frame with followed messages."""

    __slots__ = ()

    def send(self, frame: bytes) -> None:
        self.__class__ = WatchedConnection  # type: ignore[assignment]
        self.send(frame)
        for journey in self._carried:
            part = journey.delivery(self.number, self.name)
            part.written = self.watch.now()
            part.places["written"] = place(f"writePump-{self.number}")


@dataclass(eq=False)
class WatchedClient:
    """The watched parts of one client, and the idents of its threads. The sampler finds the write pump's ident."""

    number: int
    connection: WatchedConnection
    send: WatchedOutbox
    stuck: Channel[None]
    reader: int
    writer: int | None = None

    @property
    def away(self) -> bool:
        """Whether no thread takes messages from its channel `send` at present."""
        return bool(self.stuck._buffer) or self.connection.evicted

    @property
    def waits(self) -> float:
        """For how many seconds a frame has been waiting for the peer; 0.0 if none is."""
        wait = self.connection.wait
        return wait.seconds if wait is not None and wait.until is None else 0.0

    def draw(self, drawn: bool, buffered: bool) -> None:
        """Set whether the client is drawn, and whether at least the hub's sends to it are recorded."""
        self.connection.drawn = drawn
        self.send.noted = drawn or buffered
