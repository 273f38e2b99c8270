"""One WebSocket over a socket that a WSGI server hands over. The only module that knows simple-websocket.

simple-websocket does the handshake, and the protocol object it makes (wsproto's) turns bytes into events and back. Its
reading thread is never started, and its `send` and `close` are never called, for the reasons that stand here with the
code that does it instead; each has a test in tests/test_defects.py that shows the defect:

- It starts a thread for each connection and reads ahead without a bound. Here the read pump reads, when it is asked.
- It writes pongs and close replies unlocked, into the middle of a message. Here a lock makes one writer of two threads.
- It ignores how much `sock.send` took. Here a frame is written whole, or the connection is broken and nothing follows.
- Its `close` frees nobody who is blocked. Here `end` wakes a blocked writer.
- It counts characters and accepts compression unasked. Here bytes are counted, and the offer is taken out.
- A frame that arrives with the handshake stays in werkzeug's buffer. Here it is taken from there.
- It refuses a peer that offers other protocols beside websocket. Here it is not told of them.
- It takes a message for uncompressed from the first ping within it on. Here the ping changes nothing.
- Its decoder takes 700 instructions of the interpreter for a small frame. Here a short way takes a fifth of them.
- It finds a surrogate in UTF-8 a byte later than it could. Here the byte before is looked at.
- Its protocol and its parser refer to each other until the collector comes, if no close frame did. Here they part.

The socket does not block: a thread that can't go on waits in poll() until it can or its deadline has passed, as Go's
network poller has it. How a connection ends is decided once, by the first call of `end`:

    | who notices                        | close code sent        |
    | ---------------------------------- | ---------------------- |
    | the peer sends a close frame       | the peer's own         |
    | the peer's side is closed or reset | none                   |
    | the peer breaks the protocol       | 1002, 1003, 1007, 1009 |
    | no pong came within the pong wait  | 1008                   |
    | the hub evicts                     | 1008                   |
    | the hub stops                      | 1001                   |
    | a write fails, or takes too long   | none                   |

From then on no write waits for the peer: a frame that is being written, and the close frame, go into the kernel's
buffer as far as they fit, and the peer has CLOSE_WAIT to read them and to close its side.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import simple_websocket
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, Frame, FrameDecoder, FrameProtocol, Opcode
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from threadchat.options import Options
from threadchat.web.limits import TokenBucket

CLOSE_WAIT = 2.0  # seconds for the peer to answer a close frame, or to close its side of the connection
STUCK_AFTER = 0.25  # seconds that a frame may wait for a peer before the peer counts as one that does not read
RECEIVE_BYTES = 4096

# What the kernel holds for a peer that does not read, in bytes. While the connection lives it is small, so that a stuck
# peer is found soon and costs little; when it ends, the rest of a frame and the close frame behind it find room.
SEND_BUFFER = 65_536
LAST_SEND_BUFFER = 1_048_576
# And what it holds of a peer that sends faster than it is read.
RECEIVE_BUFFER = 65_536


class HandshakeFailed(Exception):
    """The request is not a WebSocket handshake; str() says why. Nothing was answered."""


class ConnectionClosed(Exception):
    """The connection takes no more frames."""


class Connection:
    """A WebSocket connection, server side (RFC 6455).

    One thread, the reader, calls `accept`, iterates and calls `close`. Another, the writer, calls the `send_*` methods.
    Any thread may call `end` and `abort`, neither of which blocks.

    `on_stuck` is called, in the reader or writer, when a frame has waited for the peer for STUCK_AFTER, `on_unstuck`
    when that wait is over. `blocked` is True while the kernel takes no more bytes for the peer. `received` counts the
    peer's messages.
    """

    __slots__ = (
        "_bucket",
        "_ending",
        "_environ",
        "_options",
        "_pong_deadline",
        "_protocol",
        "_readable",
        "_socket",
        "_state",
        "_whole",
        "_writable",
        "_writing",
        "blocked",
        "on_stuck",
        "on_unstuck",
        "peer",
        "received",
    )

    def __init__(self, environ: dict[str, Any], options: Options) -> None:
        self.peer = ascii(":".join(str(environ[key]) for key in ("REMOTE_ADDR", "REMOTE_PORT") if key in environ))[1:-1]
        self.received = 0
        self.blocked = False
        self.on_stuck: Callable[[], object] = lambda: None
        self.on_unstuck: Callable[[], object] = lambda: None
        self._environ = environ
        self._options = options
        self._bucket = TokenBucket(options.message_rate) if options.message_rate else None
        self._writing = threading.Lock()  # held while a frame is written
        self._whole = True  # False once a frame was cut off: no other may follow it. Guarded by _writing.
        self._state = threading.Lock()  # guards _ending and blocked
        self._ending: CloseConnection | None = None

    @property
    def ending(self) -> str:
        """How the connection ended, for people: the close code and the reason."""
        ending = self._ending or CloseConnection(CloseReason.ABNORMAL_CLOSURE)
        return f"{int(ending.code)} {repr(ending.reason or '')[1:-1]}".rstrip()

    def accept(self) -> None:
        """Answer the handshake. Raises HandshakeFailed or, when the peer has gone, ConnectionClosed."""
        environ = dict(self._environ)
        del self._environ
        if not self._options.compression:
            environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        if "websocket" in [each.strip().lower() for each in environ.get("HTTP_UPGRADE", "").split(",")]:
            environ["HTTP_UPGRADE"] = "websocket"
        sockets = [environ[name] for name in ("werkzeug.socket", "gunicorn.socket") if name in environ]
        try:
            for each in sockets:
                each.setblocking(False)  # before the answer: the hub already knows this client
            server = simple_websocket.Server(environ, thread_class=_NoThread)
        except (RemoteProtocolError, ValueError) as error:  # ValueError: a header that wsproto could not read
            for each in sockets:
                each.setblocking(True)  # for the server's answer
            raise HandshakeFailed(str(error)) from error
        except OSError as error:
            raise ConnectionClosed from error
        self._protocol = server.ws.connection  # the handshake's part of server.ws takes several KB, and is done
        self._protocol._proto._frame_decoder.__class__ = _Decoder  # wsproto makes it by itself
        for extension in self._protocol._proto.extensions:
            extension.__class__ = _Deflate  # simple-websocket makes it by itself
        self._socket: socket.socket = server.sock
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        with suppress(OSError):  # not TCP
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(self._socket, select.POLLOUT)
        self._pong_deadline = time.monotonic() + self._options.pong_wait
        try:
            self._protocol.receive_data(_read_ahead(environ))
        except OSError as error:
            raise ConnectionClosed from error

    def __iter__(self) -> Iterator[str]:
        """The peer's text messages, whole, until the connection ends."""
        message: list[str] = []
        size = 0
        while self._ending is None:
            for event in self._protocol.events():
                if self._bucket is not None and not self._keep_to_rate(self._bucket, event):
                    return
                match event:
                    case TextMessage():
                        if self._surrogate_begins():
                            self.end(CloseReason.INVALID_FRAME_PAYLOAD_DATA, "surrogates are not UTF-8")
                            return
                        size += len(event.data.encode())
                        if size > self._options.message_size:
                            self.end(1009, f"a message has at most {self._options.message_size} bytes")
                            return
                        if event.data:  # a peer may send empty fragments without end
                            message.append(event.data)
                        if event.message_finished:
                            self.received += 1
                            yield "".join(message)
                            message, size = [], 0
                    case BytesMessage():
                        self.end(1003, "text messages only")
                        return
                    case Ping():
                        with suppress(ConnectionClosed):
                            self._send(event.response())
                    case Pong():
                        self._pong_deadline = time.monotonic() + self._options.pong_wait
                    case CloseConnection():  # the peer's, or wsproto's word on what is wrong with its frames
                        self.end(event.code, event.reason)
                        return
            self._receive()

    def _surrogate_begins(self) -> bool:
        """Whether the text so far ends in ED A0 to ED BF. Python's decoder waits for one more byte to refuse it."""
        decoder = self._protocol._proto._message_decoder.decoder
        return decoder is not None and b"\xed\xa0" <= decoder.getstate()[0] < b"\xee"

    def encode(self, lines: Sequence[str]) -> bytes:
        """The frame of a text message with these lines, encoded once for all connections that send the same about now.

        For the writer, and to be sent by `send`. Raises ConnectionClosed.
        """
        if self._options.compression:  # each connection has a compressor, whose state its frames share
            return self._encode(TextMessage("\n".join(lines)))
        return _encode_text(tuple(lines))

    def send(self, frame: bytes) -> None:
        """Send one frame. Raises ConnectionClosed; blocks for the write wait at most."""
        with self._writing:
            if self._ending is not None and self._protocol.state is not ConnectionState.OPEN:
                raise ConnectionClosed  # a close frame was sent, or received
            self._write(frame)

    def send_ping(self) -> None:
        """Send a ping. Raises ConnectionClosed; blocks for the write wait at most."""
        self._send(Ping())

    def send_close(self) -> None:
        """Send the close frame, unless a frame was cut off or the peer has gone, and then no more."""
        ending = self._ending or CloseConnection(CloseReason.GOING_AWAY)
        with suppress(ConnectionClosed):
            if ending.code != CloseReason.ABNORMAL_CLOSURE:
                self._send(ending)
        with self._writing, suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR if self._whole else socket.SHUT_RDWR)

    def end(self, code: int, reason: str | None = None) -> None:
        """Decide how the connection ends, if nobody has before. A writer that is blocked is freed at once."""
        with self._state:
            if self._ending is None:
                self._ending = CloseConnection(code, reason)
            if self.blocked:
                with suppress(OSError):
                    self._make_room()

    def _make_room(self) -> None:
        """Wake the writer that waits for room. Where more room doesn't (Linux does), only a shutdown is left.

        A shutdown of the reading side alone would wake it too, but what the peer sends from then on would be answered
        by a reset, which takes the close frame with it.
        """
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LAST_SEND_BUFFER)
        writable = select.poll()
        writable.register(self._socket, select.POLLOUT)
        if not writable.poll(0):
            self._socket.shutdown(socket.SHUT_RDWR)

    def abort(self) -> None:
        """End the connection in both directions, now: whoever reads or writes is freed."""
        self.end(CloseReason.ABNORMAL_CLOSURE)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket up: wait for the peer to close its side, then shut it. Called last, when no writer is left.

        Closing a socket with unread bytes resets the connection, and the peer may lose the close frame to the reset
        (RFC 6455, section 7.1.1): so what it still sends is read, and thrown away.
        """
        deadline = time.monotonic() + CLOSE_WAIT
        with suppress(OSError, TimeoutError):
            while _wait(self._readable, deadline) and self._socket.recv(RECEIVE_BYTES):
                pass
        self.abort()
        _part(self._protocol._proto)

    def _keep_to_rate(self, bucket: TokenBucket, event: Event) -> bool:
        """Wait until the peer may send this frame; False if the connection has ended meanwhile.

        Nothing is read during the wait, and TCP slows the peer down. What it has sent stands in line, its pong too.
        """
        pause = bucket.take() if getattr(event, "frame_finished", True) else 0.0  # events may have less than a frame
        if pause:
            time.sleep(pause)  # a second at most
            self._pong_deadline += pause
        return not pause or self._ending is None

    def _receive(self) -> None:
        """Wait for bytes from the peer and pass them to the protocol."""
        try:
            # The pong may be there already, behind what else the peer has sent: that is read first, but not for ever.
            overdue = self._pong_deadline + self._options.write_wait
            if _wait(self._readable, self._pong_deadline) or (time.monotonic() < overdue and self._readable.poll(0)):
                data = self._socket.recv(RECEIVE_BYTES)
                if data:
                    self._protocol.receive_data(data)
                else:
                    self.end(CloseReason.ABNORMAL_CLOSURE, "the peer has gone")
            else:
                self.end(1008, "no pong within the pong wait")
        except BlockingIOError:
            pass  # what made the socket readable was taken back
        except OSError as error:
            self.end(CloseReason.ABNORMAL_CLOSURE, error.strerror)

    def _send(self, event: Event) -> None:
        """Send a control frame. Raises ConnectionClosed."""
        with self._writing:
            self._write(self._encode(event))

    def _encode(self, event: Event) -> bytes:
        try:
            return bytes(self._protocol.send(event))
        except LocalProtocolError as error:  # a close frame was sent, or received
            raise ConnectionClosed from error

    def _write(self, frame: bytes) -> None:
        """Write all of the frame. Raises ConnectionClosed, and then none may follow it. The caller holds _writing."""
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
        """Write what the kernel did not take at once, or raise OSError."""
        now = time.monotonic()
        while rest and self._wait_for_room(now + STUCK_AFTER, now + self._options.write_wait):
            with suppress(BlockingIOError):
                rest = rest[self._socket.send(rest) :]
        if rest:  # the connection ends: one last try, with more room, that does not wait
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LAST_SEND_BUFFER)
            if self._socket.send(rest) < len(rest):
                raise BlockingIOError("the last frame was cut off")

    def _wait_for_room(self, stuck: float, deadline: float) -> bool:
        """Wait until the kernel takes bytes again; False, at once, when the connection ends. Raises TimeoutError.

        Between the time `stuck` and the deadline the peer counts as one that does not read.
        """
        with self._state:
            if self._ending is not None:
                return False
            self.blocked = True
        in_time = _wait(self._writable, min(stuck, deadline))
        if not in_time:
            self.on_stuck()
            in_time = _wait(self._writable, deadline)
            self.on_unstuck()
        with self._state:
            self.blocked = False
        if not in_time:
            raise TimeoutError("writing took longer than the write wait")
        return True


@lru_cache(maxsize=8)
def _encode_text(lines: tuple[str, ...]) -> bytes:
    """The frame of a text message, not compressed. A broadcast wants the same one for each client."""
    protocol = FrameProtocol(client=False, extensions=[])
    frame = bytes(protocol.send_data("\n".join(lines)))
    _part(protocol)
    return frame


def _part(protocol: FrameProtocol) -> None:
    """Part a protocol that parses no more from its parser: each would keep the other until the collector comes."""
    del protocol._parse_more


class _Decoder(FrameDecoder):
    """wsproto's decoder, with a short way for nearly all that comes to a chat: small frames of text that are whole.

    Without it 10 clients at full load are delivered a third less. All else, faults included, goes the long way.
    """

    def process_buffer(self) -> Frame | None:
        """The next frame (RFC 6455, section 5.2), None until it is there."""
        data = self.buffer.buffer
        if self.header is None and not self.extensions and len(data) > 5 and data[0] == 0x81 and 0x80 <= data[1] < 0xFE:
            size = data[1] - 0x80
            if len(data) >= 6 + size:
                key = (data[2:6] * (size // 4 + 1))[:size]
                payload = int.from_bytes(data[6 : 6 + size]) ^ int.from_bytes(key)
                del data[: 6 + size]
                return Frame(Opcode.TEXT, payload.to_bytes(size), frame_finished=True, message_finished=True)
        return super().process_buffer()


class _Deflate(PerMessageDeflate):
    """permessage-deflate as wsproto has it, but for control frames: they are no part of the message around them."""

    def frame_inbound_header(self, *frame: Any) -> Any:
        self._compressed_so_far = self._inbound_compressed
        return super().frame_inbound_header(*frame)

    def frame_inbound_complete(self, *frame: Any) -> Any:
        data = super().frame_inbound_complete(*frame)
        if not self._inbound_is_compressible:
            self._inbound_compressed = self._compressed_so_far
        return data


class _NoThread:
    """Stands where simple-websocket keeps the thread that would read ahead."""

    name = ""

    def __init__(self, target: Callable[[], None]) -> None:
        pass

    def start(self) -> None:
        pass


def _wait(poller: select.poll, deadline: float) -> bool:
    """Wait for the event that `poller` is registered for; False when the deadline (of time.monotonic) has passed."""
    remaining = deadline - time.monotonic()
    return remaining > 0 and bool(poller.poll(remaining * 1000))


def _read_ahead(environ: dict[str, Any]) -> bytes:
    """What the peer sent behind its request, where werkzeug's buffered reader holds it already."""
    reader = environ["wsgi.input"]
    return bytes(reader.read(len(reader.peek()))) if hasattr(reader, "peek") else b""
