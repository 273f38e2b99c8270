"""wire.py: events from bytes, frames as bytes, and the handshake; the limits of a message, against a real server.

What RFC 6455 says of each frame and each handshake is in test_protocol.py.
"""

from __future__ import annotations

import errno
import logging
import re
import socket
import struct
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LIMIT,
    PING,
    PONG,
    TEXT,
    Frame,
    Peer,
    Running,
    Serve,
    Tap,
    all_gone,
    deflate,
    frame,
    handshake_environ,
    join,
    run,
    tcp_pair,
    until,
    websocket,
)
from hypothesis import given
from hypothesis.strategies import characters, integers, lists, text
from werkzeug.test import create_environ
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol

from threadchat.options import Options
from threadchat.websocket.connection import Connection, ConnectionClosed, HandshakeFailed
from threadchat.websocket.wire import (
    Close,
    CloseReason,
    Event,
    Fault,
    Fragment,
    Ping,
    Pong,
    Wire,
    close_frame,
    ping_frame,
    pong_frame,
    text_frames,
)

MESSAGE_SIZE = 200
BIG = 1_000_000  # bytes that a frame may have


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A Wire without compression whose messages have at most MESSAGE_SIZE bytes."""
    made = Wire(FrameProtocol(client=False, extensions=[]), MESSAGE_SIZE)
    yield made
    made.close()


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\0\0\0\1", b"\xff\xfe\xfd\xfc"])
def test_a_message_of_any_length_arrives_as_it_was_sent_whatever_its_mask(mask: bytes) -> None:
    sizes = [*range(135), *range(510, 520), 1023, 3001, 65_535]
    texts = ["".join(chr(97 + number % 26) for number in range(size)) for size in sizes]
    wire = Wire(FrameProtocol(client=False, extensions=[]), BIG)
    assert wire.receive(b"".join(frame(TEXT, text, mask=mask) for text in texts)) == texts
    wire.close()


# Events

EVENTS: dict[str, tuple[bytes, list[Event]]] = {
    "a message": (frame(TEXT, "hello"), ["hello"]),
    "an empty message": (frame(TEXT), [""]),
    "messages": (frame(TEXT, "a") + frame(TEXT, "é") + frame(TEXT, "€"), ["a", "é", "€"]),
    "the longest message with a length of 7 bits": (frame(TEXT, "x" * 125), ["x" * 125]),
    "the shortest message with a length of 16 bits": (frame(TEXT, "x" * 126), ["x" * 126]),
    "messages with lengths of 7 and 16 bits": (
        frame(TEXT, "a") + frame(TEXT, "x" * 126) + frame(TEXT, "b"),
        ["a", "x" * 126, "b"],
    ),
    "a message in fragments": (
        frame(TEXT, "a", fin=False) + frame(CONTINUATION, "b", fin=False) + frame(CONTINUATION, "c") + frame(TEXT, "d"),
        [Fragment(), Fragment(), "abc", "d"],
    ),
    "a character in fragments": (
        frame(TEXT, "€".encode()[:1], fin=False) + frame(CONTINUATION, "€".encode()[1:]),
        [Fragment(), "€"],
    ),
    "a ping between messages": (frame(TEXT, "a") + frame(PING, "p") + frame(TEXT, "b"), ["a", Ping(b"p"), "b"]),
    "a ping between fragments": (
        frame(TEXT, "a", fin=False) + frame(PING, "p") + frame(CONTINUATION, "b"),
        [Fragment(), Ping(b"p"), "ab"],
    ),
    "a pong": (frame(PONG, "p"), [Pong()]),
    "a close frame": (frame(CLOSE, b"\x03\xe8bye"), [Close(1000, "bye")]),
    "a close frame without a code": (frame(CLOSE), [Close(1005)]),
    "messages around a close frame": (frame(TEXT, "a") + frame(CLOSE) + frame(TEXT, "late"), ["a", Close(1005)]),
}


@pytest.mark.parametrize(("data", "events"), EVENTS.values(), ids=EVENTS)
def test_bytes_become_events_however_they_are_cut(data: bytes, events: list[Event]) -> None:
    for size in range(1, len(data) + 1):
        wire = Wire(FrameProtocol(client=False, extensions=[]), MESSAGE_SIZE)
        got: list[Event] = []
        for start in range(0, len(data), size):
            got += wire.receive(data[start : start + size])
            if got and isinstance(got[-1], Close):
                break
        wire.close()
        assert got == events


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, "x", masked=False), 1002),
        (frame(BINARY, "x"), 1003),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"\xed\xa0", fin=False), 1007),
        (frame(TEXT, "x" * (MESSAGE_SIZE + 1)), 1009),
        (frame(TEXT, "€" * (MESSAGE_SIZE // 3 + 1)), 1009),
    ],
)
def test_a_fault_is_the_last_event_and_comes_after_what_was_right(wire: Wire, data: bytes, code: int) -> None:
    before, fault = wire.receive(frame(TEXT, "right") + data + frame(TEXT, "late"))
    assert before == "right"
    assert isinstance(fault, Fault)
    assert fault.code == code
    assert fault.reason


def test_a_frame_that_is_not_complete_is_kept_for_the_next_call(wire: Wire) -> None:
    data = frame(TEXT, "a") + frame(TEXT, "b")
    assert wire.receive(data[:-1]) == ["a"]
    assert wire.receive(data[-1:]) == ["b"]
    assert wire.receive(b"") == []


def test_empty_fragments_without_end_take_no_memory(wire: Wire) -> None:
    empty = b"".join(frame(CONTINUATION, fin=False) for _ in range(1000))
    wire.receive(frame(TEXT, fin=False))
    tracemalloc.start()
    try:
        wire.receive(empty)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(40):
            assert wire.receive(empty) == [Fragment()] * 1000
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert wire.receive(frame(CONTINUATION, "end")) == ["end"]
    assert grown < 10_000, "they are kept"


# Frames


@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536])
def test_a_text_frame_has_the_header_of_its_length(size: int) -> None:
    assert text_frames(("x" * size,), BIG) == frame(TEXT, "x" * size, masked=False)


def test_empty_lines_are_left_out_and_without_others_there_is_no_frame() -> None:
    assert text_frames(("", "one", "", "two"), BIG) == frame(TEXT, "one\ntwo", masked=False)
    assert text_frames(("", ""), BIG) == text_frames((), BIG) == b""


def test_a_text_frame_has_a_line_for_each_message_and_is_made_once() -> None:
    made = text_frames(("one", "zwei, drei", "€"), BIG)
    assert made == frame(TEXT, "one\nzwei, drei\n€", masked=False)
    assert text_frames(("one", "zwei, drei", "€"), BIG) is made


def unframed(data: bytes) -> list[tuple[int, bytes]]:
    """The first byte and the payload of each frame."""
    frames, start = [], 0
    while start < len(data):
        head, size = data[start], data[start + 1]
        start += 2
        if size >= 126:
            length = 2 if size == 126 else 8
            size = int.from_bytes(data[start : start + length])
            start += length
        frames.append((head, data[start : start + size]))
        start += size
    assert start == len(data)
    return frames


def inflated(frames: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The same frames, whose payloads were compressed one after the other (RFC 7692, section 7.2.2)."""
    inflate = zlib.decompressobj(wbits=-15)
    return [(head & ~0x40, inflate.decompress(payload + b"\x00\x00\xff\xff")) for head, payload in frames]


def framed(lines: Sequence[str], most: int, compressed: bool) -> list[tuple[int, bytes]]:
    if not compressed:
        return unframed(text_frames(tuple(lines), most))
    deflate = PerMessageDeflate()
    deflate.accept("permessage-deflate")
    wire = Wire(FrameProtocol(client=False, extensions=[deflate]), MESSAGE_SIZE)
    frames = inflated(unframed(wire.compressed_frames(lines, most)))
    wire.close()
    return frames


COMPRESSED = pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])


@COMPRESSED
def test_the_largest_batch_is_sent_in_frames_of_at_most_the_frame_size(compressed: bool) -> None:
    options = Options()
    lines = [f"{number:03}".ljust(options.message_size, "x") for number in range(options.send_buffer)]
    frames = framed(lines, options.frame_size, compressed)
    assert {head for head, _ in frames} == {0x80 | TEXT}
    assert [line for _, part in frames for line in part.decode().split("\n")] == lines
    assert len(frames) == 18  # of 15 lines each, with their newlines
    assert max(len(part) for _, part in frames) <= 8192


@COMPRESSED
@pytest.mark.parametrize(
    ("lines", "frames"),
    [
        (["12345678"], ["12345678"]),
        (["123456789"], ["123456789"]),
        (["1234", "567"], ["1234\n567"]),
        (["1234", "5678"], ["1234", "5678"]),
        (["€€", "a", "€€€"], ["€€\na", "€€€"]),
        (["a", "123456789", "b"], ["a", "123456789", "b"]),
        (["a", "123456789"], ["a", "123456789"]),
        (["", "123456789", ""], ["123456789"]),
        (["a", "b", "c", "d", "e"], ["a\nb\nc\nd", "e"]),
    ],
)
def test_lines_are_parted_into_frames_of_8_bytes(lines: list[str], frames: list[str], compressed: bool) -> None:
    assert [part.decode() for _, part in framed(lines, 8, compressed)] == frames


@COMPRESSED
@given(lists(text(characters(exclude_characters="\n", codec="utf-8")), min_size=1), integers(1, 50))
def test_frames_hold_the_same_lines_and_are_within_the_bound_or_one_line(
    compressed: bool, lines: list[str], most: int
) -> None:
    frames = [part.decode() for _, part in framed(lines, most, compressed)]
    assert [line for each in frames for line in each.split("\n")] == [line for line in lines if line]
    assert all(len(each.encode()) <= most or "\n" not in each for each in frames)
    for one, other in pairwise(frames):
        assert len(f"{one}\n{other.partition(chr(10))[0]}".encode()) > most, "the next line would have fitted"


def say(server: Running, lines: list[str]) -> None:
    for line in lines:
        server.app.hub.broadcast.send(line)


@pytest.mark.parametrize("compression", [False, True])
def test_a_client_that_takes_8_kb_at_a_time_gets_a_burst(serve: Serve, compression: bool) -> None:
    """As Tomcat's clients do by default. The burst piles up while one write is under way."""
    running = serve(compression=compression, message_rate=0)
    said = [f"{number:05}".ljust(512, "x") for number in range(2000)]
    deflate = "deflate" if compression else None
    with websocket(running.ws_url, compression=deflate, max_size=8192) as peer:
        until(lambda: len(running.clients) == 1)
        talking = run(lambda: say(running, said))
        heard: list[str] = []
        sizes = []
        while len(heard) < len(said):
            message = peer.recv(LIMIT)
            assert isinstance(message, str)
            sizes.append(len(message))
            heard += message.split("\n")
        assert heard == said
        assert max(sizes) > 4096, "nothing was sent together"
        join(talking)
    all_gone(running)


def test_control_frames() -> None:
    assert ping_frame() == frame(PING, masked=False)
    assert pong_frame(b"\xff" * 125) == frame(PONG, b"\xff" * 125, masked=False)
    assert close_frame(1000, "bye") == frame(CLOSE, b"\x03\xe8bye", masked=False)
    assert close_frame(CloseReason.NO_STATUS_RCVD, "") == frame(CLOSE, masked=False)


def test_a_reason_that_is_too_long_is_cut_between_characters() -> None:
    assert close_frame(1000, "x" * 200) == frame(CLOSE, b"\x03\xe8" + b"x" * 123, masked=False)
    assert close_frame(1000, "x" + "é" * 100) == frame(CLOSE, b"\x03\xe8x" + "é".encode() * 61, masked=False)


# Messages that are too long, to a server


def answer_to(server: Running, data: bytes) -> Frame:
    """The close frame with which the server answers the data."""
    with Peer(server.port) as peer:
        peer.socket.sendall(data)
        (answer,) = peer.receive_all()
    all_gone(server)
    assert answer.payload[2:].decode(), "no reason was given"
    return answer


@pytest.fixture(scope="module")
def strict() -> Iterator[Running]:
    """A server whose messages have at most 12 bytes."""
    with Running(message_size=12) as running:
        yield running


FITTING = [
    [b"x" * 12],
    ["€".encode() * 4],
    [b"x" * 6, b"x" * 6],
    ["€".encode()[:1], "€".encode()[1:], b"x" * 9],
    [b"x" * 12, b""],
]


@pytest.mark.parametrize("parts", FITTING)
def test_a_message_of_exactly_the_message_size_passes(strict: Running, parts: list[bytes]) -> None:
    with Peer(strict.port) as peer:
        for _ in range(2):  # the count begins anew with each message
            for number, part in enumerate(parts):
                peer.send(CONTINUATION if number else TEXT, part, fin=number == len(parts) - 1)
            assert peer.lines(1) == [b"".join(parts).decode()]


@pytest.mark.parametrize("parts", FITTING)
def test_a_message_of_one_byte_more_is_answered_with_1009(strict: Running, parts: list[bytes]) -> None:
    parts = [*parts, b"x"]
    data = [
        frame(CONTINUATION if number else TEXT, part, fin=number == len(parts) - 1) for number, part in enumerate(parts)
    ]
    assert answer_to(strict, b"".join(data)).close_code == 1009


def test_white_space_around_a_message_counts(strict: Running) -> None:
    assert answer_to(strict, frame(TEXT, "x".center(13))).close_code == 1009


def test_a_message_is_too_long_before_it_is_finished(strict: Running) -> None:
    assert answer_to(strict, frame(TEXT, "x" * 13, fin=False)).close_code == 1009


def test_a_frame_is_too_long_before_all_of_it_has_come(strict: Running) -> None:
    announced = b"\x81\xff" + struct.pack("!Q", 1 << 62) + b"mask"
    assert answer_to(strict, announced + b"x" * 13).close_code == 1009


# Frames that arrive with the handshake


@pytest.mark.parametrize("count", [1, 5, 1000])
def test_frames_that_arrive_with_the_handshake_are_not_lost(serve: Serve, count: int) -> None:
    running = serve(send_buffer=1000, message_rate=0)
    messages = [f"early {number} {'x' * 20}" for number in range(count)]
    with Peer(running.port, behind=b"".join(frame(TEXT, message) for message in messages)) as peer:
        assert peer.lines(count) == messages


def test_half_a_frame_that_arrives_with_the_handshake_is_not_lost(server: Running) -> None:
    data = frame(TEXT, "half and half")
    with Peer(server.port, behind=data[:9]) as peer:
        peer.socket.sendall(data[9:])
        assert peer.lines(1) == ["half and half"]


# The handshake


def test_a_request_that_is_not_a_handshake_raises_and_is_not_answered() -> None:
    server, end = socket.socketpair()
    with server, end, server.makefile("rb") as reader:
        environ = {"HTTP_HOST": "127.0.0.1", "werkzeug.socket": server, "wsgi.input": reader}
        with pytest.raises(HandshakeFailed, match="Upgrade"):
            Connection(environ, Options()).accept()
        end.setblocking(False)
        with pytest.raises(BlockingIOError):
            end.recv(1)


@pytest.mark.parametrize(
    "header",
    [
        "Connection: Upgrade, \N{LATIN SMALL LETTER E WITH ACUTE}",
        "Sec-WebSocket-Protocol: \N{LATIN SMALL LETTER E WITH ACUTE}",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=",
        "Sec-WebSocket-Extensions: permessage-deflate; a b",
        "Sec-WebSocket-Extensions: permessage-deflate; =10",
        "Sec-WebSocket-Extensions: permessage-deflate;",
        "Sec-WebSocket-Extensions: \N{LATIN SMALL LETTER E WITH ACUTE}",
    ],
)
def test_a_malformed_header_is_answered_with_400_and_logged_as_no_error(
    serve: Serve, caplog: pytest.LogCaptureFixture, header: str
) -> None:
    running = serve(compression=True)
    with Peer(running.port, headers=header + "\r\n") as peer:
        assert peer.answer.startswith(b"HTTP/1.1 400 ")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    all_gone(running)


def test_a_peer_that_has_gone_before_its_handshake_is_answered_raises() -> None:
    server, end = socket.socketpair()
    end.close()
    with server, server.makefile("rb") as reader:
        chat = Connection(handshake_environ(server, reader), Options())
        with pytest.raises(ConnectionClosed):
            chat.accept()


def test_a_peer_that_resets_just_after_its_handshake_is_answered_raises() -> None:
    server, end = tcp_pair()

    class Reset:
        def peek(self) -> bytes:
            raise ConnectionResetError

        def read(self, size: int) -> bytes:
            return b""

    with server, end:
        chat = Connection(handshake_environ(server, Reset()), Options())
        with pytest.raises(ConnectionClosed):
            chat.accept()


def test_a_peer_that_has_gone_when_its_socket_is_set_up_raises() -> None:
    """Where the kernel refuses options for a socket that was reset, as that of macOS does."""
    server, end = tcp_pair()

    class Refusing(Tap):
        def setsockopt(self, *arguments: object) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    with server, end, server.makefile("rb") as reader:
        chat = Connection(handshake_environ(Refusing(server), reader), Options())
        with pytest.raises(ConnectionClosed):
            chat.accept()


def test_a_peer_that_has_gone_before_its_handshake_is_answered_is_not_an_application_error(server: Running) -> None:
    end, peer = socket.socketpair()
    peer.close()
    with end, end.makefile("rb") as reader:
        environ = create_environ("/ws", multithread=True) | handshake_environ(end, reader)
        with pytest.raises(ConnectionError):  # which a WSGI server does not log
            server.app(environ, lambda *_: pytest.fail("something was answered"))
    all_gone(server)


# Compression


def compression_agreed_on(server: Running, *offers: str) -> str | None:
    """What the server answers to the offers, which come with permessage-deflate before each."""
    header = ", ".join(f"permessage-deflate{offer}" for offer in offers)
    with Peer(server.port, headers=f"Sec-WebSocket-Extensions: {header}\r\n") as peer:
        assert peer.status == 101
        peer.talk("the chat goes on") if b"xtensions" not in peer.answer else None
        agreed = re.search(rb"(?i)sec-websocket-extensions: *(.*)", peer.answer)
    return agreed[1].strip().decode() if agreed else None


@pytest.fixture(scope="module")
def compressing() -> Iterator[Running]:
    with Running(compression=True) as running:
        yield running


@pytest.mark.parametrize(
    "offer",
    [
        "; server_max_window_bits=8",
        "; client_max_window_bits=8",
        "; server_max_window_bits=16",
        "; client_max_window_bits=7",
        "; server_max_window_bits=abc",
        "; client_max_window_bits=-1",
        '; client_max_window_bits="abc"',
        "; server_max_window_bits=010",
        "; server_max_window_bits",
        "; client_no_context_takeover=1",
        "; client_max_window_bits; client_max_window_bits=10",
        "; server_max_window_bits_=10",
        "; unheard_of=1",
        "d",
    ],
)
def test_an_offer_of_compression_that_cannot_be_accepted_is_declined(compressing: Running, offer: str) -> None:
    assert compression_agreed_on(compressing, offer) is None
    assert compression_agreed_on(compressing, offer, "") == "permessage-deflate"
    all_gone(compressing)


@pytest.mark.parametrize(
    ("offers", "agreed"),
    [
        ([""], ""),
        (["; client_max_window_bits"], "; client_max_window_bits=15"),
        (["; client_max_window_bits=9"], "; client_max_window_bits=9"),
        (['; server_max_window_bits="10"'], "; server_max_window_bits=10"),
        ([";server_max_window_bits = 15 ;  client_max_window_bits"],
         "; client_max_window_bits=15; server_max_window_bits=15"),
        (["; server_no_context_takeover; client_no_context_takeover"],
         "; client_no_context_takeover; server_no_context_takeover"),
        (["; client_max_window_bits=10", ""], "; client_max_window_bits=10"),
        (["", "; server_max_window_bits=10"], ""),
    ],
)  # fmt: skip
def test_the_first_offer_of_compression_that_can_be_accepted_is_accepted(
    compressing: Running, offers: list[str], agreed: str
) -> None:
    assert compression_agreed_on(compressing, *offers) == f"permessage-deflate{agreed}"
    all_gone(compressing)


def test_without_the_option_compression_is_not_accepted_from_a_peer_that_offers_it(server: Running) -> None:
    with Peer(server.port, headers="Sec-WebSocket-Extensions: permessage-deflate\r\n") as peer:
        assert b"sec-websocket-extensions" not in peer.answer.lower()
        peer.send(TEXT, "x" * 100)
        assert peer.receive() == Frame(TEXT, b"x" * 100)


def test_with_the_option_a_peer_that_does_not_offer_compression_gets_none(serve: Serve) -> None:
    running = serve(compression=True)
    with Peer(running.port) as peer:
        assert b"sec-websocket-extensions" not in peer.answer.lower()
        peer.send(TEXT, "x" * 100)
        assert peer.receive() == Frame(TEXT, b"x" * 100)


def test_with_the_option_messages_are_compressed_both_ways(serve: Serve) -> None:
    running = serve(compression=True)
    with Peer(running.port, headers="Sec-WebSocket-Extensions: permessage-deflate\r\n") as peer:
        assert re.search(rb"(?i)sec-websocket-extensions: *permessage-deflate", peer.answer)
        peer.send(0x40 | TEXT, deflate("x" * 400))
        head, size = peer._exactly(2)
        assert head == 0x80 | 0x40 | TEXT
        assert size < 100
        data = zlib.decompressobj(wbits=-15).decompress(peer._exactly(size) + b"\x00\x00\xff\xff")
        assert data == b"x" * 400


def test_the_message_size_is_that_of_the_decompressed_message(serve: Serve) -> None:
    running = serve(compression=True)
    with Peer(running.port, headers="Sec-WebSocket-Extensions: permessage-deflate\r\n") as peer:
        peer.send(0x40 | TEXT, deflate("x" * 1_000_000))
        (answer,) = peer.receive_all()
    assert answer.close_code == 1009


@pytest.mark.parametrize("compression", [True, False])
def test_a_client_of_another_library_talks_with_and_without_compression(serve: Serve, compression: bool) -> None:
    running = serve(compression=compression)
    with websocket(running.ws_url, compression="deflate") as peer:
        assert peer.response is not None
        assert ("Sec-WebSocket-Extensions" in peer.response.headers) == compression
        for number in range(20):
            message = f"message {number} " * 10
            peer.send(message)
            assert peer.recv(LIMIT) == message.strip()
    all_gone(running)
