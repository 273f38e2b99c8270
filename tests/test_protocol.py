"""RFC 6455, server side, as tables: what a peer sends, and what a real server answers, byte for byte.

Where the server fails the connection, its close frame is compared except for the reason, which is free text.
Sections are those of RFC 6455 unless another RFC is named. Limits and codes of our own are
tested in test_connection.py and test_wire.py.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    LIMIT,
    PING,
    PONG,
    TEXT,
    Peer,
    Running,
    all_gone,
    frame,
    read_all,
)

param = pytest.param


def echo(text: bytes | str) -> bytes:
    """A message as the server sends it."""
    return frame(TEXT, text, masked=False)


def pong(payload: bytes | str = b"") -> bytes:
    return frame(PONG, payload, masked=False)


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason, masked=False)


def close(code: int, reason: bytes = b"") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def fragments(*parts: bytes | str, between: bytes = b"") -> bytes:
    """A text message, one frame for each part, with `between` after each frame but the last."""
    last = len(parts) - 1
    return between.join(
        frame(CONTINUATION if number else TEXT, part, fin=number == last) for number, part in enumerate(parts)
    )


def announced(size: int, payload: bytes) -> bytes:
    """The beginning of a text frame, whose header says `size` bytes."""
    return bytes([0x80 | TEXT, 0x80 | size]) + bytes(4) + payload


# The opening handshake


def opening(line: str = "GET /ws HTTP/1.1", **changes: str | list[str] | None) -> bytes:
    """A request with some headers changed: None leaves one out, a list repeats it."""
    headers: dict[str, str | list[str] | None] = {"Host": "127.0.0.1", **HANDSHAKE}
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [line]
    for name, value in headers.items():
        values = [value] if isinstance(value, str) else value or []
        lines += [f"{name}: {each}" for each in values]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


def answer_to_request(server: Running, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), LIMIT) as peer:
        peer.sendall(request)
        peer.shutdown(socket.SHUT_WR)
        return read_all(peer)


ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

OPENINGS = [
    param(opening(), id="the request of section 1.3"),
    param(opening(Upgrade="WebSocket"), id="the upgrade's name is in any case (4.2.1)"),
    param(opening(Upgrade="example/1, websocket"), id="the upgrade is one of several (4.2.1)"),
    param(opening(Upgrade=["example/1", "websocket"]), id="the upgrade is on one of two lines (4.2.1)"),
    param(opening(Connection="keep-alive, Upgrade"), id="the connection header has other tokens, as Firefox's (4.2.1)"),
    param(opening(Connection=["keep-alive", "UPGRADE"]), id="the connection header is on two lines (4.2.1)"),
    param(opening().replace(b"Sec-WebSocket-Key", b"sec-websocket-KEY"), id="header names are in any case (4.1)"),
    param(opening().replace(b": ", b":\t ").replace(b"\r\nS", b" \t\r\nS"), id="white space around (RFC 9112, 5.1)"),
    param(opening().replace(b": ", b":"), id="no white space behind a colon (RFC 9112, 5.1)"),
    param(opening("GET http://127.0.0.1/ws HTTP/1.1"), id="an address in absolute form (RFC 9112, 3.2.2)"),
    param(opening("GET /ws?a=b HTTP/1.1"), id="a query (3)"),
    param(opening("GET /ws HTTP/1.2"), id="a higher version of HTTP (4.1)"),
    param(opening(Host="127.0.0.1:8080"), id="a host with a port (4.1)"),
    param(opening(Content_Length="0"), id="a body of no bytes (RFC 9110, 8.6)"),
    param(opening(Unheard_Of="x", Cookie="a=b"), id="unknown headers (4.2.1)"),
    param(opening(Sec_WebSocket_Protocol="chat, superchat"), id="subprotocols, none of which is supported (4.2.2)"),
    param(opening(Sec_WebSocket_Protocol=["chat", "superchat"]), id="subprotocols on two lines (11.3.4)"),
    param(opening(Sec_WebSocket_Extensions="x-unheard-of; a=1"), id="an extension that is not supported (9.1)"),
    param(opening(Sec_WebSocket_Extensions="permessage-deflate"), id="an extension that is switched off (9.1)"),
    param(opening(Sec_WebSocket_Extensions=["a", "b; c"]), id="extensions on two lines (11.3.2)"),
]


@pytest.mark.parametrize("request_bytes", OPENINGS)
def test_a_handshake_is_answered_with_101(server: Running, request_bytes: bytes) -> None:
    assert answer_to_request(server, request_bytes) == ACCEPTED


UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}

WRONG_OPENINGS = [
    param(opening("POST /ws HTTP/1.1"), 405, {"Allow": "GET"}, id="the method is POST (4.2.1)"),
    param(opening("HEAD /ws HTTP/1.1"), 405, {"Allow": "GET"}, id="the method is HEAD (4.2.1)"),
    param(opening("get /ws HTTP/1.1"), 405, {"Allow": "GET"}, id="the method is get (RFC 9110, 9.1)"),
    param(opening("GET /ws HTTP/1.0"), 426, UPGRADE, id="HTTP/1.0 knows no upgrade (4.2.1; RFC 9110, 7.8)"),
    param(opening("GET /ws HTTP/0.9"), 400, {}, id="HTTP/0.9, which has no headers (RFC 9112, 2.3)"),
    param(opening("GET /ws"), 426, UPGRADE, id="no version of HTTP (4.2.1)"),
    param(opening("GET /ws HTTP/+1.1"), 400, {}, id="no proper version of HTTP (RFC 9112, 2.3)"),
    param(opening("GET /ws HTTP/2.0"), 505, {}, id="a version of HTTP that is another protocol (RFC 9110, 15.6.6)"),
    param(opening(Host=None), 400, {}, id="no host (RFC 9112, 3.2)"),
    param(opening(Host=["127.0.0.1", "127.0.0.1"]), 400, {}, id="two hosts (RFC 9112, 3.2)"),
    param(opening(Content_Length=["0", "0"]), 400, {}, id="two lengths of a body (RFC 9112, 6.3)"),
    param(opening(Upgrade=None), 426, UPGRADE, id="no upgrade header (RFC 9110, 15.5.22)"),
    param(opening(Upgrade=""), 426, UPGRADE, id="an empty upgrade header (RFC 9110, 15.5.22)"),
    param(opening(Upgrade="h2c"), 426, UPGRADE, id="an upgrade to something else (RFC 9110, 15.5.22)"),
    param(opening(Upgrade="websockets"), 426, UPGRADE, id="an upgrade that only begins alike (4.2.1)"),
    param(opening(Connection=None), 400, {}, id="no connection header (4.2.1)"),
    param(opening(Connection="keep-alive"), 400, {}, id="a connection header without the upgrade (4.2.1)"),
    param(opening(Connection="close"), 400, {}, id="a connection that is to be closed (4.2.1)"),
    param(opening(Connection="not-upgrade"), 400, {}, id="a connection header that only ends alike (4.2.1)"),
    param(opening(Sec_WebSocket_Version=None), 426, UPGRADE, id="no version (4.4)"),
    param(opening(Sec_WebSocket_Version=""), 426, UPGRADE, id="an empty version (4.4)"),
    param(opening(Sec_WebSocket_Version="8"), 426, UPGRADE, id="version 8 (4.4)"),
    param(opening(Sec_WebSocket_Version="14"), 426, UPGRADE, id="version 14 (4.4)"),
    param(opening(Sec_WebSocket_Version="013"), 426, UPGRADE, id="version 013 (4.1: no leading zero)"),
    param(opening(Sec_WebSocket_Version="13.0"), 426, UPGRADE, id="version 13.0 (4.4)"),
    param(opening(Sec_WebSocket_Version="x"), 426, UPGRADE, id="a version that is no number (4.4)"),
    param(opening(Sec_WebSocket_Version="8, 13"), 426, UPGRADE, id="two versions (11.3.5)"),
    param(opening(Sec_WebSocket_Version=["13", "13"]), 426, UPGRADE, id="the version twice (11.3.5)"),
    param(opening(Sec_WebSocket_Key=None), 400, {}, id="no key (4.2.1)"),
    param(opening(Sec_WebSocket_Key=""), 400, {}, id="an empty key (4.2.1)"),
    param(opening(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25j"), 400, {}, id="a key of 15 bytes (4.2.1)"),
    param(opening(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZSE="), 400, {}, id="a key of 17 bytes (4.2.1)"),
    param(opening(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ"), 400, {}, id="a key without its padding (4.2.1)"),
    param(opening(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub2!jZQ=="), 400, {}, id="a key that is not base64 (4.2.1)"),
    param(opening(Sec_WebSocket_Key=[HANDSHAKE["Sec-WebSocket-Key"]] * 2), 400, {}, id="the key twice (11.3.1)"),
    param(opening(Content_Length="1") + b"x", 400, {}, id="a body, which would be taken for frames (RFC 9110, 9.3.1)"),
    param(opening(Transfer_Encoding="chunked") + b"0\r\n\r\n", 400, {}, id="a chunked body (RFC 9110, 9.3.1)"),
    param(opening(Transfer_Encoding="x"), 400, {}, id="an unknown transfer coding (RFC 9112, 6.1)"),
    param(opening().replace(b"Upgrade:", b"Upgrade :", 1), 400, {}, id="white space before a colon (RFC 9112, 5.1)"),
    param(opening().replace(b"\r\n", b"\r\nno header\r\n", 1), 400, {}, id="a line without a colon (RFC 9112, 5)"),
    param(opening().replace(b"\r\n", b"\r\n: x\r\n", 1), 400, {}, id="a header without a name (RFC 9112, 5)"),
    param(opening(Sec_WebSocket_Protocol="\xe9"), 400, {}, id="a subprotocol that is no token (4.1)"),
]


@pytest.mark.parametrize(("request_bytes", "status", "headers"), WRONG_OPENINGS)
def test_a_wrong_handshake_is_answered_with_the_status_and_the_headers_that_the_rfc_names(
    server: Running, request_bytes: bytes, status: int, headers: dict[str, str]
) -> None:
    head, separator, _ = answer_to_request(server, request_bytes).partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    assert separator
    assert line.startswith(f"HTTP/1.1 {status} ")
    answered: dict[str, list[str]] = {}
    for each in lines:
        name, _, value = each.partition(": ")
        answered.setdefault(name, []).extend(value.split(", "))
    for name, value in headers.items():
        assert value in answered[name]
    assert "close" in answered["Connection"]


# Frames. Each row of the tables below is sent in each of these ways, and the answer is the same.

WAYS = ["at once", "each byte alone", "with the upgrade request"]


@contextmanager
def told(server: Running, data: bytes, way: str) -> Iterator[Peer]:
    """A peer that has sent the data after its handshake, in one of the WAYS."""
    with Peer(server.port, behind=data if way == "with the upgrade request" else b"") as peer:
        if way == "at once":
            peer.socket.sendall(data)
        elif way == "each byte alone":
            peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in data:
                peer.socket.sendall(bytes([byte]))
        yield peer
    all_gone(server)


def goes_on_after(server: Running, data: bytes, way: str, answer: bytes) -> None:
    """Check that the data has exactly this answer, and that the connection then still answers a close frame."""
    with told(server, data, way) as peer:
        assert peer._exactly(len(answer)) == answer
        peer.socket.sendall(close(1000))
        assert peer.rest() == closing(1000)


def fails_after(server: Running, data: bytes, way: str, code: int, before: bytes = b"") -> None:
    """Check that the data has the answer `before`, then a close frame with the code and a reason, then the end."""
    with told(server, data, way) as peer:
        answer = peer.rest()
    assert answer.startswith(before)
    last = answer.removeprefix(before)
    assert last[:1] + last[2:4] == closing(code)[:1] + closing(code)[2:]
    assert last[1] == len(last) - 2 > 2
    assert last[4:].decode(), "no reason was given"


def all_fragmentations(text: str) -> list[list[bytes]]:
    """The text's bytes, cut in every possible way."""
    data = text.encode()
    cuts = [[place for place in range(1, len(data)) if number >> place - 1 & 1] for number in range(1 << len(data) - 1)]
    return [[data[start:end] for start, end in zip([0, *cut], [*cut, None], strict=True)] for cut in cuts]


GOES_ON = [
    param(frame(TEXT, "x"), echo("x"), id="a message (5.6)"),
    param(frame(TEXT, "x" * 125), echo("x" * 125), id="the longest message with a length of 7 bits (5.2)"),
    param(frame(TEXT, "x" * 126), echo("x" * 126), id="the shortest message with a length of 16 bits (5.2)"),
    param(b"\x81\x81\0\0\0\0x", echo("x"), id="a mask of zeros (5.3)"),
    param(b"\x81\x81\xff\xff\xff\xff" + bytes([0xFF ^ 0x78]), echo("x"), id="a mask of ones (5.3)"),
    *(
        param(
            fragments(*parts, between=frame(PING, "p")),
            pong("p") * (len(parts) - 1) + echo("é€"),
            id=f"fragments of {'+'.join(str(len(part)) for part in parts)} bytes, pings in between (5.4, 8.1)",
        )
        for parts in all_fragmentations("é€")
    ),
    param(fragments("a", "b", "c"), echo("abc"), id="fragments with nothing in between (5.4)"),
    param(fragments("", "a", "", "b", ""), echo("ab"), id="fragments that are empty (5.4)"),
    param(fragments("a", "b", between=frame(PONG, "p")), echo("ab"), id="a pong between fragments (5.4)"),
    param(
        fragments("a", "b", "c", between=frame(PING, "1") + frame(PONG) + frame(PING, "2")),
        (pong("1") + pong("2")) * 2 + echo("abc"),
        id="several control frames between fragments (5.4)",
    ),
    param(
        frame(PING, "1") + fragments("a", "b", between=frame(PING, "2")),
        pong("1") + pong("2") + echo("ab"),
        id="pings before and within a message are answered before it (5.5.2)",
    ),
    param(frame(PONG), b"", id="an unsolicited pong (5.5.3)"),
    param(frame(PONG, b"x" * 125), b"", id="the longest pong (5.5)"),
    param(
        b"".join(frame(PING, b"\xff" * size) for size in range(126)),
        b"".join(pong(b"\xff" * size) for size in range(126)),
        id="pings of 0 to 125 bytes, all at once (5.5.2)",
    ),
    param(
        b"".join(frame(PING, str(number)) for number in range(500)),
        b"".join(pong(str(number)) for number in range(500)),
        id="500 pings (5.5.2)",
    ),
]

FAILS = [
    *(param(bytes([0x80 | bit | opcode, 0x80]), 1002, id=f"reserved bit {name} of a {kind} (5.2)")
      for bit, name in ((0x40, 1), (0x20, 2), (0x10, 3), (0x70, "1 to 3"))
      for opcode, kind in ((TEXT, "message"), (PING, "ping"), (CLOSE, "close frame"))),
    param(frame(TEXT, "x", fin=False) + b"\xc0\x80", 1002, id="a reserved bit of a fragment (5.2)"),
    *(param(bytes([0x80 | opcode, 0x80]), 1002, id=f"reserved opcode {opcode} (5.2)")
      for opcode in (*range(3, 8), *range(11, 16))),
    param(frame(TEXT, "x", fin=False) + bytes([0x83, 0x80]), 1002, id="a reserved opcode between fragments (5.2)"),
    param(b"\x81\x01", 1002, id="a message without a mask, before its payload (5.1)"),
    param(b"\x81\x00", 1002, id="an empty message without a mask (5.1)"),
    param(b"\x89\x00", 1002, id="a ping without a mask (5.1)"),
    param(b"\x88\x02\x03\xe8", 1002, id="a close frame without a mask (5.1)"),
    param(frame(TEXT, "x", fin=False) + b"\x80\x01", 1002, id="a fragment without a mask (5.1)"),
    *(param(bytes([opcode, 0x80]), 1002, id=f"a {kind} in fragments (5.5)")
      for opcode, kind in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close frame"))),
    *(param(bytes([0x80 | opcode, 0x80 | length]), 1002, id=f"a {kind} with a length of {bits} bits (5.5)")
      for opcode, kind in ((PING, "ping"), (PONG, "pong"), (CLOSE, "close frame"))
      for length, bits in ((126, 16), (127, 64))),
    param(frame(CONTINUATION), 1002, id="an empty continuation of nothing (5.4)"),
    param(frame(CONTINUATION, "x", fin=False), 1002, id="a continuation of nothing that goes on (5.4)"),
    param(frame(CONTINUATION, "x") + frame(TEXT, "x"), 1002, id="a continuation of nothing, then a message (5.4)"),
    param(frame(TEXT, "x", fin=False) + frame(TEXT, "x"), 1002, id="a message inside a message (5.4)"),
    param(frame(TEXT, "x", fin=False) + frame(TEXT), 1002, id="an empty message inside a message (5.4)"),
    param(frame(TEXT, "x", fin=False) + frame(BINARY, "x"), 1002, id="a binary message inside a text message (5.4)"),
    param(frame(TEXT, fin=False) + frame(TEXT, "x", fin=False), 1002, id="a message inside an empty fragment (5.4)"),
    *(param(b"\x81\xfe" + struct.pack("!H", size), 1002, id=f"{size} bytes with a length of 16 bits (5.2)")
      for size in (0, 1, 125)),
    *(param(b"\x81\xff" + struct.pack("!Q", size), 1002, id=f"{size} bytes with a length of 64 bits (5.2)")
      for size in (0, 125, 126, 65535)),
    *(param(b"\x81\xff" + struct.pack("!Q", size), 1002, id=f"a length of {size:#x} (5.2: the top bit is 0)")
      for size in (1 << 63, (1 << 64) - 1)),
    param(frame(BINARY, "x"), 1003, id="a binary message (7.4.1)"),
    param(frame(BINARY), 1003, id="an empty binary message (7.4.1)"),
    param(frame(BINARY, "x", fin=False), 1003, id="the first fragment of a binary message (7.4.1)"),
    param(frame(CLOSE, b"\x03"), 1002, id="half a close code (5.5.1)"),
    *(param(close(code), 1002, id=f"close code {code}, which must not be sent (7.4)")
      for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)),
    param(close(1014), 1002, id="close code 1014, which wsproto does not know (7.4.2)"),
    param(close(1005, b"x"), 1002, id="a reserved close code with a reason (7.4.1)"),
    param(close(1000, b"\xff"), 1007, id="a close reason that is not UTF-8 (5.5.1)"),
    param(close(1000, b"\xe2\x82"), 1007, id="a close reason that ends within a character (5.5.1)"),
    param(close(1000, b"\xed\xa0\x80"), 1007, id="a surrogate as the close reason (5.5.1)"),
    param(close(999, b"\xff"), 1002, id="a close code and a reason that are both wrong (7.4)"),
]  # fmt: skip

CLOSES = [
    param(frame(CLOSE), frame(CLOSE, masked=False), id="no close code (5.5.1)"),
    *(param(close(code), closing(code), id=f"close code {code} (7.4)")
      for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999)),
    param(close(1000, b"bye"), closing(1000, b"bye"), id="a close reason (5.5.1)"),
    param(close(4321, "schön wars".encode()), closing(4321, "schön wars".encode()), id="a reason in UTF-8 (5.5.1)"),
    param(close(3000, b"x" * 123), closing(3000, b"x" * 123), id="the longest close reason (5.5)"),
    param(frame(TEXT, "x", fin=False) + close(1000), closing(1000), id="a close within a message (5.4, 5.5.1)"),
    param(frame(PING) + close(1000), pong() + closing(1000), id="a ping before the close (5.5.2)"),
    param(close(1000) + close(1001), closing(1000), id="two close frames (5.5.1)"),
    param(close(1000) + frame(PING), closing(1000), id="a ping behind the close (5.5.1)"),
    param(close(1000) + frame(TEXT, "late"), closing(1000), id="a message behind the close (5.5.1)"),
    param(close(1000) + b"\xff" * 9, closing(1000), id="no frame behind the close (5.5.1)"),
    param(
        frame(TEXT, "a", fin=False) + close(1000) + frame(CONTINUATION, "b"),
        closing(1000),
        id="the rest of a message behind the close (5.5.1)",
    ),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("data", "answer"), GOES_ON)
def test_valid_frames_are_answered_and_the_connection_goes_on(
    server: Running, data: bytes, answer: bytes, way: str
) -> None:
    goes_on_after(server, data, way, answer)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("data", "code"), FAILS)
def test_an_invalid_frame_fails_the_connection(server: Running, data: bytes, code: int, way: str) -> None:
    fails_after(server, data, way, code)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("data", "answer"), CLOSES)
def test_a_close_frame_is_answered_and_ends_the_connection(
    server: Running, data: bytes, answer: bytes, way: str
) -> None:
    with told(server, data, way) as peer:
        assert peer.rest() == answer


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("data", "before"),
    [
        param(frame(PING, "1") + frame(PING, "2"), pong("1") + pong("2"), id="pings are answered"),
        param(frame(TEXT, "a"), echo("a"), id="a message is passed on"),
        param(frame(PING, "p") + frame(TEXT, "a"), pong("p") + echo("a"), id="a ping and a message are, in this order"),
    ],
)
def test_frames_before_a_fault_are_answered_before_the_close_frame(
    server: Running, data: bytes, before: bytes, way: str
) -> None:
    """Section 7.1.7 leaves this open. Here the frames before a fault still count."""
    fails_after(server, data + b"\x83\x80", way, 1002, before)


# Text: RFC 3629. The bytes are sent as a frame, and in frames of one byte each.

VALID_TEXT = [
    param("κόσμε", id="Greek"),
    param("\x00", id="the first character of one byte, U+0000"),
    param("x\x7fx", id="the last of one byte, U+007F"),
    param("x\x80x", id="the first of two bytes, U+0080"),
    param("\u07ff", id="the last of two bytes, U+07FF"),
    param("\u0800", id="the first of three bytes, U+0800"),
    param("\ud7ff", id="the last before the surrogates, U+D7FF"),
    param("\ue000", id="the first behind the surrogates, U+E000"),
    param("\ufeff", id="the byte order mark, U+FEFF, which is kept"),
    param("\ufffd", id="the replacement character, U+FFFD"),
    param("\ufffe\uffff", id="the non-characters U+FFFE and U+FFFF"),
    param("\U00010000", id="the first of four bytes, U+10000"),
    param("\U0010ffff", id="the last of all, U+10FFFF"),
]

# Invalid UTF-8, and how many of its bytes it takes to be certain.
INVALID_TEXT = [
    *(param(bytes([byte]) + b"\x80\x80\x80", 1, id=f"{byte:02X}, which no character begins with")
      for byte in (0x80, 0xBF, 0xC0, 0xC1, 0xF5, 0xF8, 0xFC, 0xFE, 0xFF)),
    param(b"\xc3(", 2, id="a character of two bytes that breaks off"),
    param(b"\xe2(\xa1", 2, id="a character of three bytes that breaks off after one"),
    param(b"\xe2\x82(", 3, id="a character of three bytes that breaks off after two"),
    param(b"\xf0\x9f\x98(", 4, id="a character of four bytes that breaks off after three"),
    param(b"\xe2\x82\xe2\x82\xac", 3, id="a character inside a character"),
    param(b"\xe0\x80\xaf", 2, id="a slash in three bytes"),
    param(b"\xe0\x9f\xbf", 2, id="the longest that is too long by one byte"),
    param(b"\xf0\x80\x80\xaf", 2, id="a slash in four bytes"),
    param(b"\xf0\x8f\xbf\xbf", 2, id="U+FFFF in four bytes"),
    param(b"\xed\xa0\x80", 2, id="the first surrogate, U+D800"),
    param(b"\xed\xaf\xbf", 2, id="the last high surrogate, U+DBFF"),
    param(b"\xed\xb0\x80", 2, id="the first low surrogate, U+DC00"),
    param(b"\xed\xbf\xbf", 2, id="the last surrogate, U+DFFF"),
    param(b"\xed\xa0\xbd\xed\xb8\x80", 2, id="a pair of surrogates"),
    param(b"\xf4\x90\x80\x80", 2, id="the first beyond Unicode, U+110000"),
    param("κόσμε".encode() + b"\xf4\x90\x80\x80x", 12, id="the first beyond Unicode behind text that is right"),
    param("κόσμε".encode() + b"\xed\xa0\x80x", 12, id="a surrogate behind text that is right"),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", VALID_TEXT)
def test_valid_text_is_passed_on_however_it_is_cut(server: Running, text: str, way: str) -> None:
    single = [bytes([byte]) for byte in text.encode()]
    goes_on_after(server, frame(TEXT, text), way, echo(text))
    goes_on_after(server, fragments(*single, between=frame(PING)), way, pong() * (len(single) - 1) + echo(text))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("data", "certain"), INVALID_TEXT)
def test_invalid_utf_8_fails_the_connection(server: Running, data: bytes, certain: int, way: str) -> None:
    """Section 8.1."""
    fails_after(server, frame(TEXT, data), way, 1007)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("data", "certain"), INVALID_TEXT)
def test_invalid_utf_8_fails_the_connection_before_the_rest_of_the_frame_has_come(
    server: Running, data: bytes, certain: int, way: str
) -> None:
    fails_after(server, announced(100, data[:certain]), way, 1007)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("data", "certain"), INVALID_TEXT)
def test_invalid_utf_8_fails_the_connection_by_the_first_fragment_that_makes_it_certain(
    server: Running, data: bytes, certain: int, way: str
) -> None:
    right, wrong = data[: certain - 1], data[certain - 1 : certain]
    sent = frame(TEXT, right, fin=False) + frame(PING, "still right") + frame(CONTINUATION, wrong, fin=False)
    fails_after(server, sent, way, 1007, pong("still right"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("data", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", "κόσμ".encode() + b"\xce"])
def test_text_that_ends_within_a_character_fails_the_connection(server: Running, data: bytes, way: str) -> None:
    fails_after(server, frame(TEXT, data), way, 1007)
    fails_after(server, fragments(data, ""), way, 1007)
