"""The WebSocket protocol, server side (RFC 6455): the handshake, the peer's bytes as events, and frames as bytes.

Nothing here waits for the peer: that is `connection`. This is the only module of the server that imports
simple-websocket and wsproto. simple-websocket answers the handshake. Of what it makes, only wsproto's `FrameProtocol`
is kept, which finds the frames in bytes and checks them. simple-websocket's own `send` and `close` are never called:
they write without a lock, ignore how much the socket took, and free no thread that is blocked.

Each defect of these libraries that is worked around is named where that is done. tests/test_defects_websocket.py shows
each defect in the library alone, and that threadchat does not have it.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import simple_websocket
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, Frame, FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits
from wsproto.utilities import RemoteProtocolError

__all__ = [
    "Close",
    "CloseReason",
    "Event",
    "Fault",
    "Fragment",
    "HandshakeFailed",
    "Ping",
    "Pong",
    "Wire",
    "answer_handshake",
    "close_frame",
    "ping_frame",
    "pong_frame",
    "text_frames",
]

WHOLE_TEXT = 0x8180  # FIN, opcode 1, MASK and length 0: the first two bytes of a whole text message (section 5.2)
TWO_BYTES_AND_MASK = struct.Struct("!HI")  # the mask, and before it the first two bytes or the length of 16 bits
LONGEST_REASON = 123  # bytes of a close frame's reason (section 5.5: 125, two of them for the code)


# What a peer may offer (section 9.1), and those offers of compression that can be taken (RFC 7692, section 7.1; zlib
# has no window of 8 bits).
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
EXTENSION = re.compile(rf'{TOKEN}(?:\s*;\s*{TOKEN}(?:\s*=\s*(?:{TOKEN}|"{TOKEN}"))?)*')
BITS = r'\s*=\s*(?:9|1[0-5]|"9"|"1[0-5]")'
DEFLATE = re.compile(
    r"permessage-deflate(?:\s*;\s*(?:(?:client|server)_no_context_takeover|"
    rf"client_max_window_bits(?:{BITS})?|server_max_window_bits{BITS}))*"
)


class HandshakeFailed(Exception):
    """The request is not a WebSocket handshake; str() says why. Nothing was answered."""


# Events. A text message is an event too: a str.


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping, to be answered by a pong with the same payload (section 5.5.2)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A pong (section 5.5.3)."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A frame of a text message that goes on in another frame (section 5.4). The whole text follows as a str."""


@dataclass(frozen=True, slots=True)
class Close:
    """The peer's close frame (section 5.5.1). The code is NO_STATUS_RCVD where the frame has none."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """What the peer did wrong: the close code to answer with (section 7.4.1), and a reason for people."""

    code: int
    reason: str


Event = str | Ping | Pong | Fragment | Close | Fault


# Frames from the server, which are not masked (section 5.1)


@lru_cache(maxsize=32)  # more than the pages of a history
def text_frames(lines: tuple[str, ...], most: int) -> bytes:
    """The frames of text messages with these lines, not compressed: mostly one. Any thread may call it.

    A frame has at most `most` bytes of text, or one line. Empty lines are left out; if no others are there, there is
    no frame (b""). The last few results are remembered, because a broadcast sends the same one to each client.
    """
    text = "\n".join(filter(None, lines)).encode(errors="replace")
    if not text:
        return b""
    if len(text) <= most:
        return _frame(Opcode.TEXT, text)
    return b"".join(piece for part in _parts(text, most) for piece in (_header(Opcode.TEXT, len(part)), part))


def _parts(text: bytes, most: int) -> Iterator[memoryview]:
    """Part a text at newlines, into as many lines at a time as `most` bytes can hold, at least one."""
    start, whole = 0, memoryview(text)  # a part of a view is not a copy
    while len(text) - start > most:
        end = text.rfind(b"\n", start, start + most + 1)
        if end < 0:  # the line is longer
            end = text.find(b"\n", start + most + 1)
        if end < 0:  # and the last one
            break
        yield whole[start:end]
        start = end + 1
    yield whole[start:]


def ping_frame() -> bytes:
    """A ping without a payload."""
    return _frame(Opcode.PING, b"")


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping with this payload."""
    return _frame(Opcode.PONG, payload)


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; NO_STATUS_RCVD stands for one without a code. A reason that is too long is cut."""
    if code == CloseReason.NO_STATUS_RCVD:
        return _frame(Opcode.CLOSE, b"")
    cut = reason.encode()[:LONGEST_REASON].decode(errors="ignore")  # not within a character
    return _frame(Opcode.CLOSE, struct.pack("!H", code) + cut.encode())


def _frame(opcode: Opcode, payload: bytes) -> bytes:
    """A whole frame (section 5.2)."""
    return _header(opcode, len(payload)) + payload


def _header(opcode: Opcode, size: int) -> bytes:
    """What stands before the payload of a whole frame."""
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size)
    if size < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size)
    return struct.pack("!BBQ", 0x80 | opcode, 127, size)


class Wire:
    """What goes over one WebSocket. One thread, the reader, calls `receive`; another, the writer, `compressed_frames`.

    `message_size` is the most bytes that a message may have, in UTF-8 and decompressed.
    """

    __slots__ = ("_buffer", "_decoder", "_frames", "_message", "_message_size", "_parts", "_size")

    def __init__(self, frames: FrameProtocol, message_size: int) -> None:
        self._frames = frames
        self._decoder: FrameDecoder = frames._frame_decoder
        self._message = frames._message_decoder
        self._buffer: bytearray = self._decoder.buffer.buffer  # what has arrived and was not parsed yet
        self._message_size = message_size
        self._parts: list[str] = []  # the text so far of the message that is arriving
        self._size = 0  # its bytes
        for extension in frames.extensions:
            extension.__class__ = _Deflate  # simple-websocket makes it by itself

    @property
    def compresses(self) -> bool:
        """Whether permessage-deflate was agreed on (RFC 7692)."""
        return bool(self._frames.extensions)

    def compressed_frames(self, lines: Sequence[str], most: int) -> bytes:
        """As `text_frames`, compressed; `most` is of the text. They must be sent: those that follow build on them."""
        text = "\n".join(filter(None, lines)).encode(errors="replace")
        if not text:
            return b""
        return b"".join(self._frames.send_data(str(part, "utf-8")) for part in _parts(text, most))

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer; return the events that they complete, in order.

        A Close or a Fault is the last event. Nothing may be received after it.
        """
        events: list[Event] = []
        self._buffer += data
        self._take_whole_texts(events)
        if self._buffer:
            try:
                for frame in self._frames.received_frames():
                    self._take(frame, events)
                    if frame.opcode is Opcode.CLOSE:
                        break
                    self._take_whole_texts(events)
            except ParseFailed as error:
                events.append(Fault(int(error.code), str(error)))
        return events

    def close(self) -> None:
        """Free the memory. Nothing may be received after it.

        Defect: wsproto's protocol and its parser refer to each other. Unless a close frame has ended the parser, only
        the garbage collector would free them.
        """
        del self._frames._parse_more

    def _take_whole_texts(self, events: list[Event]) -> None:
        """Take the text messages with which the buffer begins, as long as each is whole, right and in one frame.

        Defect: wsproto takes seven times as many instructions of the interpreter for one. It still gets all other
        frames, among them those with a length of 64 bits, and every frame where compression was agreed on.
        """
        if self._decoder.header is not None or self._message.opcode is not None or self._decoder.extensions:
            return  # within a frame or a message
        data = bytes(self._buffer)  # whose slices cost half as much as a bytearray's
        start, arrived = 0, len(data)
        while (body := start + 6) <= arrived:
            head, mask = TWO_BYTES_AND_MASK.unpack_from(data, start)
            size = head - WHOLE_TEXT
            if size == 126:  # the length is in the next two bytes
                body = start + 8
                if body > arrived:
                    break
                size, mask = TWO_BYTES_AND_MASK.unpack_from(data, start + 2)
                if size < 126:
                    break
            elif not 0 <= size < 126:
                break
            end = body + size
            if size > self._message_size or end > arrived:
                break
            words = (size + 3) // 4
            key = mask * _once_a_word(words) >> 8 * (4 * words - size)
            payload = (int.from_bytes(data[body:end]) ^ key).to_bytes(size)  # section 5.3
            try:
                events.append(payload.decode())
            except UnicodeDecodeError:
                break
            start = end
        del self._buffer[:start]

    def _take(self, frame: Frame, events: list[Event]) -> None:
        """Add the event of a frame, or of a part of one. Raises ParseFailed."""
        match frame.opcode, frame.payload:
            case Opcode.TEXT, str(text):
                self._take_text(text)
                if frame.message_finished:
                    events.append("".join(self._parts))
                    self._parts, self._size = [], 0
                elif frame.frame_finished:
                    events.append(Fragment())
            case Opcode.BINARY, _:
                raise ParseFailed("text messages only", CloseReason.UNSUPPORTED_DATA)
            case Opcode.PING, bytes(payload):
                events.append(Ping(payload))
            case Opcode.PONG, _:
                events.append(Pong())
            case Opcode.CLOSE, (int(code), str(reason)):
                events.append(Close(int(code), reason))

    def _take_text(self, text: str) -> None:
        """Add a part of a message. Raises ParseFailed where the message is too long, or is not UTF-8."""
        if self._surrogate_begins():
            raise ParseFailed("surrogates are not UTF-8", CloseReason.INVALID_FRAME_PAYLOAD_DATA)
        self._size += len(text.encode())
        if self._size > self._message_size:
            raise ParseFailed(f"a message has at most {self._message_size} bytes", CloseReason.MESSAGE_TOO_BIG)
        if text:  # a peer may send empty fragments without end
            self._parts.append(text)

    def _surrogate_begins(self) -> bool:
        """Whether the text so far ends in ED A0 to ED BF, with which no character begins (RFC 3629, section 4).

        Defect: wsproto decodes by Python's incremental decoder, which refuses these two bytes only with the third.
        """
        decoder = self._message.decoder
        return decoder is not None and b"\xed\xa0" <= decoder.getstate()[0] < b"\xee"


@lru_cache(maxsize=256)
def _once_a_word(words: int) -> int:
    """A number with a 1 in each word of 4 bytes: a mask times this is the mask so many times."""
    return int.from_bytes(b"\0\0\0\1" * words)


# The handshake


def answer_handshake(
    environ: dict[str, Any],
    *,
    compression: bool,
    message_size: int,
    subprotocol: str | None = None,
) -> tuple[socket.socket, Wire, bytes]:
    """Answer the handshake of a WSGI request (section 4.2) on its socket, which from then on does not block.

    Returns the socket, the Wire, and what the peer has sent already behind its request. `compression` is whether
    permessage-deflate may be agreed on; `subprotocol` is agreed on where the peer has offered it. Raises
    HandshakeFailed, or OSError when the peer has gone.
    """
    environ = _environ_for_simple_websocket(environ, compression)
    sockets = [environ[name] for name in ("werkzeug.socket", "gunicorn.socket") if name in environ]
    try:
        for each in sockets:
            each.setblocking(False)  # before the answer: the hub already knows this client
        server: Any = simple_websocket.Server(environ, subprotocol, thread_class=_NoThread)
    except (RemoteProtocolError, ValueError) as error:
        # Defect: simple-websocket lets wsproto's errors through, and wsproto lets ValueError through for some headers.
        for each in sockets:
            each.setblocking(True)  # for the HTTP answer
        raise HandshakeFailed(str(error)) from error
    frames: FrameProtocol = server.ws.connection._proto  # the rest of server.ws takes several KB, and is done
    return server.sock, Wire(frames, message_size), _read_ahead(environ)


def _environ_for_simple_websocket(environ: dict[str, Any], compression: bool) -> dict[str, Any]:
    """The request as simple-websocket is to see it. Raises HandshakeFailed."""
    environ = dict(environ)
    # Defect: simple-websocket accepts compression unasked.
    offers = environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", "")
    if compression and (offer := _compression_to_accept(offers)):
        environ["HTTP_SEC_WEBSOCKET_EXTENSIONS"] = offer
    # Defect: wsproto refuses a peer that offers other protocols beside websocket.
    if "websocket" in [each.strip().lower() for each in environ.get("HTTP_UPGRADE", "").split(",")]:
        environ["HTTP_UPGRADE"] = "websocket"
    return environ


def _compression_to_accept(offers: str) -> str | None:
    """The first offer of compression that can be accepted. Raises HandshakeFailed if the header is malformed.

    Defect: wsproto lets a ValueError through for some offers that it should decline, accepts others that nobody may
    accept, and mixes up several.
    """
    extensions = [each.strip() for each in offers.split(",") if each.strip()]
    if not all(map(EXTENSION.fullmatch, extensions)):
        raise HandshakeFailed("Sec-WebSocket-Extensions is malformed")
    for extension in filter(DEFLATE.fullmatch, extensions):
        names = re.findall(r"\w+_\w+", extension)
        if len(set(names)) == len(names):
            return extension.replace('"', "")
    return None


def _read_ahead(environ: dict[str, Any]) -> bytes:
    """What the peer sent behind its request. Raises OSError.

    Defect: it may stand in the buffered reader of the WSGI server already, and simple-websocket reads the socket.
    """
    reader = environ["wsgi.input"]
    try:
        return bytes(reader.read(len(reader.peek()))) if hasattr(reader, "peek") else b""
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):  # where a plain socket's reader says that nothing has come
        return b""


class _NoThread:
    """Stands where simple-websocket keeps its thread.

    Defect: it starts a thread for each connection, which reads ahead without a bound.
    """

    name = ""

    def __init__(self, target: Callable[[], None]) -> None:
        pass

    def start(self) -> None:
        pass


class _Deflate(PerMessageDeflate):
    """permessage-deflate as wsproto has it, except that a control frame changes nothing.

    Defect: wsproto takes the rest of a compressed message for uncompressed when a control frame stands within it.
    """

    _compressed_so_far: bool | None

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._compressed_so_far = self._inbound_compressed
        return super().frame_inbound_header(proto, opcode, rsv, payload_length)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        data = super().frame_inbound_complete(proto, fin)
        if not self._inbound_is_compressible:
            self._inbound_compressed = self._compressed_so_far
        return data
