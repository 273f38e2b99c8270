"""A WebSocket client that is a socket and nothing else, and frames as bytes."""

from __future__ import annotations

import base64
import os
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed as PeerConnectionClosed
from websockets.frames import Close
from websockets.sync.client import ClientConnection, connect

from helpers.requests import read_all
from helpers.waiting import LIMIT

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


@dataclass
class Frame:
    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2], "big")

    @property
    def close_reason(self) -> str:
        assert self.opcode == CLOSE
        return self.payload[2:].decode()


def frame(
    opcode: int, payload: bytes | str = b"", *, fin: bool = True, masked: bool = True, mask: bytes | None = None
) -> bytes:
    """A client's frame as it goes over the wire (RFC 6455, section 5.2), with a random mask unless one is given."""
    if isinstance(payload, str):
        payload = payload.encode()
    size = len(payload)
    if size < 126:
        length = bytes([masked << 7 | size])
    elif size < 65536:
        length = struct.pack("!BH", masked << 7 | 126, size)
    else:
        length = struct.pack("!BQ", masked << 7 | 127, size)
    mask = (mask or os.urandom(4)) if masked else b""
    if masked:
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([fin << 7 | opcode]) + length + mask + payload


def deflate(text: str) -> bytes:
    """The payload of a compressed message (RFC 7692, section 7.2.1)."""
    squeeze = zlib.compressobj(wbits=-15)
    return (squeeze.compress(text.encode()) + squeeze.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


class Peer:
    """A WebSocket client made of a socket and nothing else: it reads only when told, and can send any bytes.

    The constructor returns when the handshake was answered, with `answer` as the head of the answer, whatever its
    status. `over` is a connected socket to use; `behind` is sent in one piece with the handshake.
    """

    def __init__(
        self,
        port: int,
        path: str = "/ws",
        *,
        host: str = "127.0.0.1",
        over: socket.socket | None = None,
        behind: bytes = b"",
        headers: str = "",
        receive_buffer: int | None = None,
    ) -> None:
        self.socket = over or socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.settimeout(LIMIT)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if over is None:
                self.socket.connect((host, port))
            self.socket.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
                + behind
            )
            self.read_answer()
        except BaseException:
            self.close()
            raise

    @property
    def status(self) -> int:
        """The status of the answer to the handshake."""
        return int(self.answer.split()[1])

    def read_answer(self) -> None:
        """Read the head of the answer to the handshake. Raises EOFError if there is none."""
        while b"\r\n\r\n" not in self._buffer:
            self._more(at_boundary=not self._buffer)
        self.answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")

    def send(self, opcode: int, payload: bytes | str = b"", *, fin: bool = True) -> None:
        self.socket.sendall(frame(opcode, payload, fin=fin))

    def receive(self) -> Frame:
        """The next frame. Raises EOFError if the server ended the connection between frames."""
        head = self._exactly(2)
        assert not head[1] & 0x80, "a server's frame is not masked"
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._exactly(8))
        return Frame(head[0] & 0x0F, self._exactly(size), bool(head[0] & 0x80))

    def receive_all(self) -> list[Frame]:
        """All frames until the end of the connection."""
        frames = []
        try:
            while True:
                frames.append(self.receive())
        except EOFError:
            return frames

    def rest(self) -> bytes:
        """All bytes until the end of the connection."""
        return self._buffer + read_all(self.socket)

    def lines(self, count: int) -> list[str]:
        """The next `count` chat messages, in however many text frames."""
        lines: list[str] = []
        while len(lines) < count:
            got = self.receive()
            assert got.opcode == TEXT, got
            lines += got.payload.decode().split("\n")
        assert len(lines) == count, lines
        return lines

    def talk(self, line: str) -> None:
        """Say a line, and hear it as the next one: the chat goes on."""
        self.send(TEXT, line)
        assert self.lines(1) == [line]

    def leave(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame."""
        self.send(CLOSE, struct.pack("!H", code) + reason.encode())

    def goodbye(self) -> tuple[int, str]:
        """The code and the reason of the close frame, which must be the next frame."""
        frame = self.receive()
        return frame.close_code, frame.close_reason

    def read_a_byte(self) -> None:
        """Read one byte from the socket, and keep it for `receive`."""
        self._buffer += self.socket.recv(1)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """End the connection by a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more(at_boundary=not self._buffer and size == 2)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _more(self, at_boundary: bool = False) -> None:
        data = self.socket.recv(65536)
        if not data:
            assert at_boundary, f"the connection ended inside a frame, after {self._buffer!r}"
            raise EOFError
        self._buffer += data


def drip(peer: socket.socket, data: bytes, pause: Callable[[], object]) -> bool:
    """Send the data a byte at a time, with a pause after each; False if the other end gave up before the last."""
    peer.setblocking(False)
    for byte in data:
        try:
            peer.send(bytes([byte]))
            if not peer.recv(1):
                return False
        except BlockingIOError:
            pass
        except ConnectionError:
            return False
        pause()
    return True


class OtherEnd(Peer):
    """The peer of a WebSocket that was made without a server."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.socket.settimeout(LIMIT)
        self._buffer = b""


def websocket(url: str, **options: Any) -> ClientConnection:
    """A client of the websockets library, which has patience with a server that is busy.

    With more than 16 frames unread, that library would take ten seconds to close, unless its queue has no bound.
    """
    client: ClientConnection = connect(url, open_timeout=LIMIT, ping_interval=None, max_queue=None, **options)
    return client


def close_frame(client: ClientConnection) -> Close:
    """The close frame that a client of the websockets library gets next."""
    with pytest.raises(PeerConnectionClosed) as closed:
        client.recv(LIMIT)
    assert closed.value.rcvd is not None, "the connection ended without a close frame"
    return closed.value.rcvd
