"""One WebSocket over a socket that a WSGI server hands over: its deadlines, its one writer, and how it ends.

The protocol itself (which bytes mean what) is `wire`.

The socket does not block. A thread that cannot go on waits (`ready`) until it can or its deadline has passed, as in
Go's network poller. A lock makes one writer of the two threads that write: the write pump sends messages and pings, and
the read pump answers pings. A frame is written whole, or the connection is broken and no other frame follows.

How a connection ends is decided once, by the first call of `end` (tests/test_connection.py makes each row happen):

    | what happens                       | close code sent        |
    | ---------------------------------- | ---------------------- |
    | the peer sends a close frame       | the peer's own         |
    | the peer's side is closed or reset | none                   |
    | the peer breaks the protocol       | 1002, 1003, 1007, 1009 |
    | no pong came within the pong wait  | 1008                   |
    | the hub evicts                     | 1008                   |
    | the hub stops                      | 1001                   |
    | a write fails, or takes too long   | none                   |

From then on no write waits for the peer. The frame that is being written, and the close frame, go into the kernel's
buffer as far as they fit; the peer has CLOSE_WAIT to read them and to close its side.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from threadchat.options import Options
from threadchat.websocket.pongs import PongWait
from threadchat.websocket.rate import TokenBucket
from threadchat.websocket.ready import OVERSLEPT, Readiness, readable, wait_until, writable
from threadchat.websocket.tls import TlsSocket
from threadchat.websocket.wire import (
    Close,
    CloseReason,
    Fault,
    HandshakeFailed,
    Ping,
    Pong,
    Wire,
    answer_handshake,
    close_frame,
    ping_frame,
    pong_frame,
    text_frames,
)

__all__ = ["CLOSE_WAIT", "STUCK_AFTER", "Connection", "ConnectionClosed", "HandshakeFailed"]

CLOSE_WAIT = 2.0  # seconds for the peer to answer a close frame, or to close its side of the connection
STUCK_AFTER = 0.25  # seconds that a frame may wait for a peer before the peer counts as one that does not read
RECEIVE_BYTES = 4096  # the most that is read at once

# What the kernel may hold for a peer that does not read, in bytes. While the connection lives it is small, so that a
# stuck peer is found soon and costs little. When it ends, the rest of a frame and the close frame behind it must fit.
SEND_BUFFER = 65_536
LAST_SEND_BUFFER = 1_048_576
# What the kernel may hold from a peer that sends faster than it is read, in bytes.
RECEIVE_BUFFER = 65_536


class ConnectionClosed(Exception):
    """The connection takes no more frames."""


class Connection:
    """A WebSocket connection, server side (RFC 6455), made from the environ of a WSGI request.

    One thread, the reader, calls `accept`, iterates, and calls `close`. Another, the writer, calls `encode`, `send`,
    `send_ping` and, once and last, `send_close`. Any thread may call `end`, `abort` and `reply_nowait`: none of them
    blocks.
    """

    __slots__ = (
        "__weakref__",
        "_bucket",
        "_closing",
        "_early",
        "_ending",
        "_environ",
        "_options",
        "_pong_wait",
        "_readable",
        "_socket",
        "_state",
        "_whole",
        "_wire",
        "_writable",
        "_writing",
        "accepted",
        "blocked",
        "by_peer",
        "compresses",
        "form",
        "kernel_buffer",
        "message_size",
        "on_reading",
        "on_stuck",
        "on_unstuck",
        "peer",
        "received",
        "subprotocol",
    )

    # Made by `accept`. The socket is read by the reader, and written by the thread that holds _writing.
    _socket: socket.socket | TlsSocket
    _wire: Wire
    _early: bytes  # what the peer sent behind its request; the reader's
    _readable: Readiness  # of the socket; the reader's
    _writable: Readiness  # of the socket; of the thread that holds _writing
    _pong_wait: PongWait

    def __init__(self, environ: dict[str, Any], options: Options) -> None:
        # The peer, for people: "address:port", printable.
        self.peer = ascii(":".join(str(environ[key]) for key in ("REMOTE_ADDR", "REMOTE_PORT") if key in environ))[1:-1]
        self.received = 0  # the peer's messages so far; written by the reader
        # What `accept` agrees to: one of the protocols that the peer has offered (RFC 6455, section 1.9), or none; how
        # many bytes a message may have; and how many bytes the kernel may hold for the peer.
        self.subprotocol: str | None = None
        self.message_size = options.message_size
        self.kernel_buffer = SEND_BUFFER
        self.accepted = False  # whether the handshake was answered; written by the reader
        # What turns the items that `encode` is given into lines. None: they are lines.
        self.form: Callable[[Sequence[Any]], Sequence[str]] | None = None
        self.compresses = False  # whether permessage-deflate was agreed on; set by `accept`
        self.on_reading: Callable[[], object] = lambda: None  # called by the reader when it begins
        # Called by the thread that writes: when a frame has waited for the peer for STUCK_AFTER, and when it no longer
        # waits.
        self.on_stuck: Callable[[], object] = lambda: None
        self.on_unstuck: Callable[[], object] = lambda: None
        self._environ = environ
        self._options = options
        self._bucket = TokenBucket(options.message_rate) if options.message_rate else None  # the reader's
        self._writing = threading.Lock()  # held while a frame is written; guards the next two
        self._whole = True  # False once a frame was cut off: no other may follow it
        self._closing = False  # a close frame was sent, or received (the reader says that without the lock)
        self._state = threading.Lock()  # guards the next three
        self._ending: Close | None = None  # how the connection ends, once that is decided
        self.by_peer = False  # whether the peer's close frame has decided how the connection ends
        self.blocked = False  # the kernel takes no more bytes for the peer, and a thread waits until it does

    @property
    def is_ending(self) -> bool:
        """Whether it is decided how the connection ends."""
        return self._ending is not None

    @property
    def ending(self) -> str:
        """How the connection ended, for people: the close code and the reason."""
        reason = self._ending.reason if self._ending else ""
        return f"{self.code} {repr(reason)[1:-1]}".rstrip()

    @property
    def code(self) -> int:
        """The close code with which the connection ended; 1006 if nobody has ended it."""
        return int(self._ending.code if self._ending else CloseReason.ABNORMAL_CLOSURE)

    def accept(self) -> None:
        """Answer the handshake.

        Raises HandshakeFailed, before anything is answered, if the request is not a handshake; and ConnectionClosed if
        the peer has gone, which may show only after the answer.
        """
        options = self._options
        try:
            connected, self._wire, self._early = answer_handshake(
                self._environ,
                compression=options.compression,
                message_size=self.message_size,
                subprotocol=self.subprotocol,
            )
            if isinstance(connected, ssl.SSLSocket):
                self._socket = tls = TlsSocket(connected)
                self._readable, self._writable = tls.to_read, tls.to_write
            else:
                self._socket = connected
                self._readable, self._writable = readable(connected), writable(connected)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.kernel_buffer)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        except OSError as error:
            raise ConnectionClosed from error
        with suppress(OSError):  # not TCP
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        del self._environ
        self.compresses = self._wire.compresses
        self._pong_wait = PongWait(options.pong_wait, options.ping_every)
        self.accepted = True

    def __iter__(self) -> Iterator[str]:
        """The peer's text messages, until the connection ends. Pings are answered, and faults end the connection.

        While the caller does not ask for more, nothing is read, and TCP slows the peer down.
        """
        self.on_reading()
        data, self._early = self._early, b""
        while self._ending is None:
            for event in self._wire.receive(data):  # one for each frame, as the rate limit counts them
                if self._bucket is not None and (pause := self._bucket.take()) and not self._pause(pause):
                    return
                match event:
                    case str():
                        self.received += 1
                        yield event
                    case Ping(payload):
                        with suppress(ConnectionClosed):
                            self._send(pong_frame(payload))
                    case Pong():
                        self._pong_wait.begin_anew()
                    case Close(code, reason):
                        # First, since a writer that is refused sends the close frame.
                        self.end(code, reason, by_peer=True)
                        self._closing = True
                        return
                    case Fault(code, reason):
                        self.end(code, reason)
                        return
            data = self._receive()

    def encode(self, items: Sequence[Any]) -> bytes:
        """Return a text message with the lines of these items as a frame for `send`.

        There are several frames if one would be too big, and none (b"") if there are no lines.

        The result must be sent: with compression, the frames that follow refer to it.
        """
        lines = items if self.form is None else self.form(items)
        if self.compresses:  # each connection has a compressor of its own
            return self._wire.compressed_frames(lines, self._options.frame_size)
        return text_frames(tuple(lines), self._options.frame_size)

    def send(self, frames: bytes) -> None:
        """Send what `encode` returned. Blocks for the write wait at most. Raises ConnectionClosed."""
        with self._writing:
            if self._closing:
                raise ConnectionClosed
            self._write(frames)

    def reply(self, line: str) -> None:
        """Send one line at once, past the write pump. For the reader. Blocks and raises as `send` does."""
        self._send(text_frames((line,), self._options.frame_size))  # not compressed: the compressor is the writer's

    def reply_nowait(self, line: str) -> bool:
        """The same, from any thread and for a short line, if it can be sent at once; False if it was not.

        Raises ConnectionClosed.
        """
        if not self._writing.acquire(blocking=False):
            return False
        try:
            if self._closing:
                raise ConnectionClosed
            if not self._writable.wait(0):
                return False
            self._write(text_frames((line,), self._options.frame_size))
            return True
        finally:
            self._writing.release()

    def send_ping(self) -> None:
        """Send a ping. Blocks for the write wait at most. Raises ConnectionClosed."""
        unanswered = self._pong_wait.unanswered  # before the peer can answer
        self._send(ping_frame())
        unanswered.append(time.monotonic())

    def send_close(self) -> None:
        """Send the close frame, then end the writing side. No frame is sent if the peer has gone, or one was cut off.

        Where nothing has ended the connection yet, the code is 1001.
        """
        ending = self._ending or Close(CloseReason.GOING_AWAY)
        if ending.code != CloseReason.ABNORMAL_CLOSURE:
            with suppress(ConnectionClosed):
                self._send(close_frame(ending.code, ending.reason), closing=True)
        with self._writing, suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR if self._whole else socket.SHUT_RDWR)

    def end(self, code: int, reason: str | None = None, by_peer: bool = False) -> None:
        """Decide how the connection ends, unless that is decided. A writer that is blocked is freed at once.

        The code is sent in the close frame, except 1006, which stands for none (RFC 6455, section 7.4.1).
        """
        with self._state:
            if self._ending is None:
                self._ending, self.by_peer = Close(code, reason or ""), by_peer
            if self.blocked:
                with suppress(OSError):
                    self._make_room()

    def _make_room(self) -> None:
        """Wake the writer that waits for room: give it more room or, where that is not enough, shut the socket down.

        (On Linux it is enough.) A shutdown of the reading side alone would wake the writer too. But what the peer sends
        from then on would be answered by a reset, and the close frame would be lost to it.
        """
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LAST_SEND_BUFFER)
        if not writable(self._socket).wait(0):
            self._socket.shutdown(socket.SHUT_RDWR)

    def abort(self) -> None:
        """End the connection in both directions at once. A thread that reads or writes is freed."""
        self.end(CloseReason.ABNORMAL_CLOSURE)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Wait for the peer to close its side, CLOSE_WAIT at most, then shut the socket down.

        Called last, when there is no writer any more. What the peer still sends is read and thrown away: a socket that
        is closed with unread bytes resets the connection, and the peer may lose the close frame to the reset (RFC 6455,
        section 7.1.1).
        """
        deadline, open_ = time.monotonic() + CLOSE_WAIT, True
        with suppress(OSError):
            while open_ and wait_until(self._readable, deadline) and time.monotonic() < deadline:
                with suppress(BlockingIOError):
                    open_ = bool(self._socket.recv(RECEIVE_BYTES))
        self.abort()
        self._wire.close()
        self.form = None  # breaks the reference cycle with a protocol that knows its connection

    def _pause(self, seconds: float) -> bool:
        """Keep a peer that sends too fast waiting; False if the connection has ended meanwhile.

        Nothing is read during the pause, and TCP slows the peer down.
        """
        time.sleep(seconds)  # a second at most
        return self._ending is None

    def _receive(self) -> bytes:
        """Wait for bytes from the peer and return them; b"" if none have come yet, or the connection has ended."""
        began = time.monotonic()
        try:
            found = self._readable.wait(self._pong_wait.left)
            self._pong_wait.listened(time.monotonic() - began)
            if found:
                data = self._socket.recv(RECEIVE_BYTES)
                if not data:
                    self.end(CloseReason.ABNORMAL_CLOSURE, "the peer has gone")
                return data
            if self._pong_wait.is_over():
                self.end(CloseReason.POLICY_VIOLATION, "no pong within the pong wait")
        except BlockingIOError:
            pass  # readable, and yet nothing to read: a segment was damaged, or a TLS record is not complete
        except OSError as error:
            self.end(CloseReason.ABNORMAL_CLOSURE, error.strerror)
        return b""

    def _send(self, frame: bytes, closing: bool = False) -> None:
        """Send a control frame; `closing` if it is the close frame. Raises ConnectionClosed."""
        with self._writing:
            if self._closing and not closing:
                raise ConnectionClosed
            self._closing |= closing
            self._write(frame)

    def _write(self, frame: bytes) -> None:
        """Write the whole frame. Raises ConnectionClosed, and then no frame may follow. The caller holds _writing."""
        if not self._whole:
            raise ConnectionClosed
        try:
            try:
                sent = self._socket.send(frame)
            except BlockingIOError:
                sent = 0
            if sent < len(frame):
                self._write_rest(memoryview(frame)[sent:])
        except OSError as error:
            self._whole = False
            self.end(CloseReason.ABNORMAL_CLOSURE, error.strerror or str(error))
            raise ConnectionClosed from error

    def _write_rest(self, rest: memoryview) -> None:
        """Write what the kernel did not take at once. Raises OSError (TimeoutError after the write wait)."""
        now = time.monotonic()
        stuck, deadline = now + STUCK_AFTER, now + self._options.write_wait
        while rest and self._wait_for_room(stuck, deadline):
            with suppress(BlockingIOError):
                rest = rest[self._socket.send(rest) :]
            now = time.monotonic()
            if rest and now >= deadline:
                if now < deadline + OVERSLEPT:
                    raise TimeoutError("writing took longer than the write wait")
                deadline = now + self._options.write_wait
        if rest:  # the connection ends: one last try, with more room, that does not wait
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LAST_SEND_BUFFER)
            if self._socket.send(rest) < len(rest):
                raise BlockingIOError("the last frame was cut off")

    def _wait_for_room(self, stuck: float, deadline: float) -> bool:
        """Wait until the kernel takes bytes again, or the deadline has passed; False if the connection has ended.

        From the time `stuck` on the peer counts as one that does not read. Both times are of time.monotonic().
        """
        with self._state:
            if self._ending is not None:
                return False
            self.blocked = True
        if not wait_until(self._writable, min(stuck, deadline)):
            self.on_stuck()
            wait_until(self._writable, deadline)
            self.on_unstuck()
        with self._state:
            self.blocked = False
        return True
