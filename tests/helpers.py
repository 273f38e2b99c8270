"""What the tests share: waiting for a condition, a peer that speaks raw bytes, and a socket that takes nothing."""

from __future__ import annotations

import base64
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LIMIT = 20.0  # seconds; bounds a failure, nothing waits for it to pass

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


def until(condition: Callable[[], object], what: str = "the condition", limit: float = LIMIT) -> None:
    """Return as soon as the condition holds; fail if it does not within the limit."""
    deadline = time.monotonic() + limit
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {limit:g} s"
        pause.wait(0.001)


def pump_names() -> list[str]:
    """The names of the pumps alive in this process, sorted."""
    return sorted(thread.name for thread in threading.enumerate() if "Pump-" in thread.name)


@dataclass
class Frame:
    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2], "big")


def frame(opcode: int, payload: bytes | str = b"", *, fin: bool = True, masked: bool = True) -> bytes:
    """A client's frame as it goes over the wire (RFC 6455, section 5.2)."""
    if isinstance(payload, str):
        payload = payload.encode()
    size = len(payload)
    if size < 126:
        length = bytes([masked << 7 | size])
    elif size < 65536:
        length = struct.pack("!BH", masked << 7 | 126, size)
    else:
        length = struct.pack("!BQ", masked << 7 | 127, size)
    mask = os.urandom(4) if masked else b""
    if masked:
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([fin << 7 | opcode]) + length + mask + payload


class Peer:
    """A WebSocket client made of a socket and nothing else: it reads only when told, and can send any bytes."""

    def __init__(self, port: int, *, behind: bytes = b"", headers: str = "", receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(LIMIT)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self._buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
            + behind
        )
        try:
            while b"\r\n\r\n" not in self._buffer:
                self._more(at_boundary=not self._buffer)
        except BaseException:
            self.close()
            raise
        self.answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")

    def send(self, opcode: int, payload: bytes | str = b"", *, fin: bool = True) -> None:
        self.socket.sendall(frame(opcode, payload, fin=fin))

    def receive(self) -> Frame:
        """The next frame. Raises EOFError where the server ended the connection between frames."""
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

    def lines(self, count: int) -> list[str]:
        """The next `count` chat messages, of however many text frames."""
        lines: list[str] = []
        while len(lines) < count:
            got = self.receive()
            assert got.opcode == TEXT, got
            lines += got.payload.decode().split("\n")
        assert len(lines) == count, lines
        return lines

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
