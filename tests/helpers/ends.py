"""The server's end of a connection, without a server: what a Connection is made of in its tests."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from helpers.requests import HANDSHAKE
from threadchat.websocket.ready import Readiness


def tcp_pair(receive_buffer: int | None = None) -> tuple[socket.socket, socket.socket]:
    """The server's and the peer's end of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.socket()
        if receive_buffer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        peer.connect(listener.getsockname())
        return listener.accept()[0], peer


def handshake_environ(end: object, reader: object) -> dict[str, Any]:
    """The environ of a handshake as werkzeug makes it: with the socket, and a reader of what was read ahead from it."""
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HANDSHAKE.items()}
    return {**headers, "HTTP_HOST": "127.0.0.1", "werkzeug.socket": end, "wsgi.input": reader}


class Tap:
    """A socket whose `send` can be replaced. It notes the calls of `send`, `shutdown` and `close`."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.calls: list[str] = []
        self.on_send: Callable[[Any], int] = real.send

    def send(self, data: Any) -> int:
        self.calls.append("send")
        return self.on_send(data)

    def shutdown(self, how: int) -> None:
        self.calls.append("shutdown")
        self.real.shutdown(how)

    def close(self) -> None:
        self.calls.append("close")
        self.real.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class CountingReadiness:
    """A Readiness that counts the calls."""

    def __init__(self, real: Readiness) -> None:
        self._real = real
        self.waits = 0

    def wait(self, seconds: float) -> bool:
        self.waits += 1
        return self._real.wait(seconds)
