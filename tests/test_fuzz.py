"""Random bytes into the handshake and into an open connection, while another client uses the same server.

In the suite the examples are few, and always the same. `scripts/fuzz` runs these tests with new examples for as long as
it is asked to. The server's answers are read by the `websockets` package. `judge` says what the right answer is: it is
a second implementation of RFC 6455, which shares no code with the server.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
import socket
import struct
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FAR,
    HANDSHAKE,
    LIMIT,
    PING,
    PONG,
    TEXT,
    Peer,
    Running,
    frame,
    pump_names,
    read_all,
    until,
)
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.http11 import Response
from websockets.protocol import State
from websockets.streams import StreamReader
from websockets.uri import parse_uri
from wsproto.frame_protocol import FrameProtocol

from threadchat.websocket.wire import Close, Event, Fault, Wire

MESSAGE_SIZE = 60  # bytes; small, so that random messages are too long at times
WIRE_MESSAGE_SIZE = 150  # the same where a frame's two kinds of header matter


class Witness(logging.Handler):
    """A server, an innocent client of it, and the errors in its log."""

    def __init__(self, server: Running) -> None:
        super().__init__(logging.ERROR)
        self.server = server
        self.innocent = Peer(server.port)
        self.errors: list[str] = []
        self._numbers = itertools.count()
        until(lambda: len(pump_names()) == 2)

    def emit(self, record: logging.LogRecord) -> None:
        self.errors.append(self.format(record))

    def heard(self) -> list[str]:
        """The other client's messages that the innocent one received.

        Checks that the other client has left, and that the server has logged no error.
        """
        marker = f"number {next(self._numbers)} of the innocent client"
        self.innocent.send(TEXT, marker)
        lines: list[str] = []
        while marker not in lines:
            lines += self.innocent.receive().payload.decode().split("\n")
        assert lines.pop() == marker
        until(lambda: len(pump_names()) == 2, "the end of the other client's threads")
        assert len(self.server.clients) == 1
        assert self.errors == []
        return lines


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    with Running(message_size=MESSAGE_SIZE, pong_wait=FAR) as server:
        witness = Witness(server)
        logging.getLogger().addHandler(witness)
        yield witness
        logging.getLogger().removeHandler(witness)
        witness.innocent.close()


# What RFC 6455 makes of a peer's bytes

C = rb"[\x80-\xbf]"
UTF_8 = re.compile(  # RFC 3629, section 4: any number of characters, and the beginning of another
    rb"((?:[\0-\x7f]|[\xc2-\xdf]C|\xe0[\xa0-\xbf]C|[\xe1-\xec\xee\xef]CC|\xed[\x80-\x9f]C|"
    rb"\xf0[\x90-\xbf]CC|[\xf1-\xf3]CCC|\xf4[\x80-\x8f]CC)*)"
    rb"((?:\xe0[\xa0-\xbf]|[\xe1-\xec\xee\xef]C|\xed[\x80-\x9f]|"
    rb"\xf0[\x90-\xbf]C?|[\xf1-\xf3]CC?|\xf4[\x80-\x8f]C?|[\xc2-\xf4])?)".replace(b"C", C)
)


@dataclass
class Verdict:
    """What a peer's bytes must lead to: its messages, the pongs for its pings, and how the connection may end.

    `endings` has the close codes that are right, which may be several. None in it stands for an end without a close
    frame, which is right if the peer ends its side of the connection without one. `reply` is the answer to the peer's
    close frame.
    """

    messages: list[str] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    endings: set[int | None] = field(default_factory=set)
    reply: bytes | None = None


def judge(data: bytes) -> Verdict:
    verdict = Verdict()
    message: bytes | None = None  # the text of the message that has begun
    while not verdict.endings:
        if len(data) < 2:
            verdict.endings = {None}
            break
        fin, reserved, opcode = data[0] & 0x80, data[0] & 0x70, data[0] & 0x0F
        masked, size = data[1] & 0x80, data[1] & 0x7F
        control = opcode >= CLOSE
        wrong = bool(reserved) or not masked or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
        wrong |= control and (not fin or size > 125)
        wide = {126: 2, 127: 8}.get(size, 0)
        head = 2 + wide
        if wide:
            size = int.from_bytes(data[2:head], "big")
            wrong |= len(data) >= head and (size < 126 or (wide == 8 and (size < 65536 or bool(size >> 63))))
        if not control:
            wrong |= (message is None) == (opcode == CONTINUATION)
        mask, payload = data[head : head + 4], data[head + 4 : head + 4 + size]
        complete = len(data) >= head + 4 + size
        if wrong:  # to be seen from the header, or from the first byte behind it at the latest
            verdict.endings = {1002} if complete or payload else {1002, None}
            break
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        if opcode == BINARY:
            verdict.endings = {1003} if complete or payload else {None}
        elif not control:
            message = (message or b"") + payload
            verdict.endings = judge_text(message, finished=complete and bool(fin))
            if complete and fin and not verdict.endings:
                line = message.decode().replace("\n", " ").strip()
                verdict.messages += [line] if line else []
                message = None
        elif complete and opcode == PING:
            verdict.pongs.append(payload)
        elif complete and opcode == CLOSE:
            ending, right = judge_close(payload)
            verdict.endings = {ending}
            verdict.reply = payload if right else None
        if not complete and not verdict.endings:
            verdict.endings = {None}
        data = data[head + 4 + size :]
    return verdict


def judge_text(text: bytes, finished: bool) -> set[int | None]:
    """How the connection may end because of this message; empty if it goes on."""
    found = UTF_8.match(text)
    assert found
    endings: set[int | None] = {1009} if len(found[1]) > MESSAGE_SIZE else set()
    if found.end() < len(text) or (finished and found[2]):
        endings.add(1007)  # whichever of the two is noticed first
    return endings


def judge_close(payload: bytes) -> tuple[int, bool]:
    """The code that the connection ends with, and whether this close frame is right."""
    if not payload:
        return 1005, True
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in {*range(1000, 1004), *range(1007, 1014)} or 3000 <= code < 5000):
        return 1002, False
    found = UTF_8.fullmatch(payload[2:])
    return (code, True) if found and not found[2] else (1007, False)


# What the server answers


def frames_of(data: bytes) -> list[Frame]:
    """The server's frames, parsed by another library. Raises if they are not what RFC 6455 allows a server to send."""
    protocol = ClientProtocol(parse_uri("ws://127.0.0.1/"), state=State.OPEN, max_size=None)
    protocol.receive_data(data)
    protocol.receive_eof()
    if protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError):
        raise protocol.parser_exc
    frames = [each for each in protocol.events_received() if isinstance(each, Frame)]
    assert b"".join(each.serialize(mask=False) for each in frames) == data, (
        "a frame was cut off, or some bytes are not a frame"
    )
    return frames


def check_answer(frames: list[Frame], verdict: Verdict) -> None:
    """Check that the frames are what the verdict asks for."""
    assert [each.data for each in frames if each.opcode == PONG] == verdict.pongs
    lines = b"\n".join(each.data for each in frames if each.opcode == TEXT).decode().split("\n")
    lines = lines if lines != [""] else []
    closes = [each.data for each in frames if each.opcode == CLOSE]
    assert len(frames) == sum(each.opcode in (PONG, TEXT, CLOSE) for each in frames)
    assert closes == [each.data for each in frames[len(frames) - len(closes) :]]
    codes: list[int | None] = [int.from_bytes(each[:2], "big") or 1005 for each in closes]
    codes = codes or [None]
    assert len(codes) == 1
    assert codes[0] in verdict.endings
    if verdict.reply is not None:
        assert closes == [verdict.reply]
        assert lines == verdict.messages[: len(lines)], "the rest is not owed to a peer that has closed"
    else:
        assert lines == verdict.messages


# Into an open connection

BAD_TEXT = [b"\xed\xa0", b"\xed\xa0\x80", b"\xf4\x90", b"\xc0\xaf", b"\xe2\x82", b"\xff", b"\xf0\x9f\x98"]
BAD_HEADS = [b"\x81\xfe\0\x05", b"\x81\xff" + bytes(7) + b"\x05", b"\x81\xff" + b"\xff" * 8, b"\x89\xfe", b"\x88\xff"]
CODES = [0, 999, 1000, 1001, 1004, 1005, 1006, 1007, 1011, 1013, 1015, 1016, 2999, 3000, 4999, 5000, 65535]

wire = partial(frame, mask=b"\x0f\xa5\x5a\xf1")  # an example is to be the same each time
payloads = (
    st.text(max_size=12).map(str.encode)
    | st.binary(max_size=12)
    | st.sampled_from([*BAD_TEXT, b"a\nb", b" a\n"])
    | st.sampled_from([MESSAGE_SIZE - 1, MESSAGE_SIZE, MESSAGE_SIZE + 1, 125, 126, WIRE_MESSAGE_SIZE, 200]).map(
        lambda size: b"x" * size
    )
)
control_frames = st.builds(wire, st.sampled_from([PING, PONG]), st.binary(max_size=125))
close_frames = st.builds(
    lambda code, reason: wire(CLOSE, struct.pack("!H", code) + reason[:123]), st.sampled_from(CODES), payloads
)
any_frames = st.builds(wire, st.sampled_from([TEXT, CONTINUATION, BINARY, CLOSE]), payloads, fin=st.booleans())


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A text message in fragments that may cut its characters, with control frames in between."""
    data = draw(st.text(max_size=MESSAGE_SIZE // 3)).encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    parts = [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]
    sent = b""
    for number, part in enumerate(parts):
        sent += wire(CONTINUATION if number else TEXT, part, fin=number == len(cuts))
        sent += draw(st.just(b"") | control_frames)
    return sent


@st.composite
def broken_frames(draw: st.DrawFn) -> bytes:
    """A frame with one byte of its header changed."""
    whole = bytearray(draw(control_frames | close_frames | any_frames))
    whole[draw(st.integers(0, 1))] = draw(st.integers(0, 255))
    return bytes(whole)


@st.composite
def segments(draw: st.DrawFn, data: st.SearchStrategy[bytes]) -> list[bytes]:
    """Data cut into the parts that are sent one by one."""
    whole = draw(data)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    return [whole[start:end] for start, end in pairwise([0, *cuts, len(whole)])]


streams = st.lists(
    messages() | messages() | control_frames | close_frames | any_frames | broken_frames() | st.sampled_from(BAD_HEADS),
    max_size=8,
).map(b"".join)
cut_streams = st.builds(lambda whole, size: whole[: max(0, len(whole) - size)], streams, st.integers(0, 20))


def send_segments(peer: socket.socket, parts: list[bytes]) -> bytes:
    """Send each part by itself, then the end of the file. Returns all that the server answers."""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for part in parts:
        peer.sendall(part)
    peer.shutdown(socket.SHUT_WR)
    return read_all(peer)


class LongWay(Wire):
    """Leaves every frame to wsproto."""

    def _take_whole_texts(self, events: list[Event]) -> None:
        pass


def received(wire_type: type[Wire], parts: list[bytes]) -> list[Event]:
    """The events of these bytes, up to the end of the connection."""
    wire = wire_type(FrameProtocol(client=False, extensions=[]), WIRE_MESSAGE_SIZE)
    events: list[Event] = []
    for part in parts:
        events += wire.receive(part)
        if events and isinstance(events[-1], (Close, Fault)):
            break
    wire.close()
    return events


@given(segments(streams | cut_streams))
@example([wire(TEXT), wire(TEXT, b"x" * 125) + wire(TEXT, b"x" * WIRE_MESSAGE_SIZE) + wire(TEXT, b"x" * 151)])
@example([wire(TEXT, b"x" * 126)[:7], wire(TEXT, b"x" * 126)[7:] + wire(TEXT)])
@example([b"\x81\xfe\0\x05mask", b"x" * 9])
@example([b"\x82\x81maskx"])
@example([wire(TEXT, b"x")[:6], wire(TEXT, b"x")[6:]])
@example([wire(TEXT, b"\xff")])
@example([wire(TEXT, b"x", fin=False) + wire(TEXT, b"x")])
@example([wire(CLOSE) + wire(TEXT, b"late")])
def test_whole_messages_give_the_events_that_wsproto_would_give(parts: list[bytes]) -> None:
    assert received(Wire, parts) == received(LongWay, parts)


@given(segments(streams | cut_streams))
@example([b""])
@example([wire(TEXT, b"x" * MESSAGE_SIZE) + wire(TEXT, b"a\nb") + wire(TEXT, b"x" * (MESSAGE_SIZE + 1))])
@example([wire(TEXT, b"\xed\xa0", fin=False)])
def test_any_frames_are_answered_rightly_and_the_other_client_gets_the_messages_in_them(
    witness: Witness, parts: list[bytes]
) -> None:
    verdict = judge(b"".join(parts))
    with Peer(witness.server.port, behind=parts[0]) as peer:
        answer = send_segments(peer.socket, parts[1:])
    assert witness.heard() == verdict.messages
    check_answer(frames_of(peer._buffer + answer), verdict)


# Into the handshake

KEY = HANDSHAKE["Sec-WebSocket-Key"].encode()
HEAD = [b"GET /ws HTTP/1.1", b"Host: 127.0.0.1", *(f"{name}: {value}".encode() for name, value in HANDSHAKE.items())]
MORE_LINES = [
    b"GET / HTTP/1.1",
    b"GET /static/%00 HTTP/1.0",
    b"HEAD /limits HTTP/1.1",
    b"POST /ws HTTP/1.1",
    b"GET /ws HTTP/2.0",
    b"Connection: close",
    b"Content-Length: 5",
    b"Expect: 100-continue",
    b"Origin: null",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99",
    b"Sec-WebSocket-Protocol: chat, \xe9",
    b"Transfer-Encoding: chunked",
    b" folded",
    b"",
]


ODD_BYTES = [b"\0", b"\t", b" ", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b":", b",", b";", b'"', b"\x85", b"\xa0", b"%0d"]


@st.composite
def mutated_requests(draw: st.DrawFn) -> bytes:
    """A handshake in which lines were dropped, repeated, moved or added, and bytes changed."""
    lines = draw(st.lists(st.sampled_from(HEAD), max_size=3)) if draw(st.integers(0, 9)) == 0 else list(HEAD)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(lines)))
        lines[at : at + draw(st.integers(0, 1))] = draw(st.lists(st.sampled_from(HEAD + MORE_LINES), max_size=2))
    ends = st.sampled_from([b"\r\n"] * 15 + [b"\n", b"\r", b"\r\r\n"])
    data = bytearray(b"".join(line + draw(ends) for line in [*lines, b""]))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.binary(max_size=3) | st.text("\0\t \r\n:,;\xa0").map(str.encode)
        )
    return bytes(data) + draw(st.just(b"") | streams)


def responses_to(data: bytes) -> tuple[list[Response], bytes]:
    """The server's answer, parsed by another library, and the bytes after it. Raises if the answer is not HTTP."""
    responses: list[Response] = []
    while data and not (responses and responses[-1].status_code == 101):
        head, _, rest = data.partition(b"\r\n\r\n")
        reader = StreamReader()
        reader.feed_data(head + b"\r\n\r\n")
        with pytest.raises(StopIteration) as parsed:
            next(Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof, proxy=True))
        responses.append(parsed.value.value)
        size = int(responses[-1].headers.get("Content-Length", 0))
        assert len(rest) in (size, 0) or responses[-1].status_code < 200, "0 is for HEAD"
        data = rest[size:]
    return responses, data


def accept_of(key: bytes) -> str:
    """RFC 6455, section 4.2.2."""
    return b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


REFUSALS = {308, 400, 403, 404, 405, 414, 426, 431, 501, 505}


@given(segments(st.binary(max_size=300) | mutated_requests() | mutated_requests() | mutated_requests()))
@example([b"\r\n".join([*HEAD, b"", b""])])
@example([b"\r\n".join([*HEAD, b"Sec-WebSocket-Protocol: \xe9", b"", b""])])
def test_any_request_is_answered_in_http_and_the_other_client_notices_nothing(
    witness: Witness, parts: list[bytes]
) -> None:
    sent = b"".join(parts)
    with socket.create_connection(("127.0.0.1", witness.server.port), LIMIT) as peer:
        answer = send_segments(peer, parts)
    witness.heard()
    responses, rest = responses_to(answer)
    *before, last = [each.status_code for each in responses] or [0]
    assert set(before) <= {100}
    if last == 101:
        keys = re.findall(rb"[A-Za-z0-9+/]{22}==", sent)
        assert responses[-1].headers["Sec-WebSocket-Accept"] in map(accept_of, keys)
        frames_of(rest)
    elif last == 0:
        assert not sent.partition(b"\n")[0].decode("latin-1").split(), "only an empty request is not answered"
    else:
        assert last in REFUSALS | {200}
