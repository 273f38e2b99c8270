"""Plain HTTP: requests as bytes or by header, and their answers."""

from __future__ import annotations

import http.client
import socket
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import Protocol

from helpers.waiting import LIMIT

HANDSHAKE = {  # RFC 6455, section 1.3
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def read_all(end: socket.socket) -> bytes:
    """All bytes until the other end has ended the connection."""
    data = b""
    while more := end.recv(65536):
        data += more
    return data


def received(end: socket.socket) -> bytes:
    """All bytes until the other end has ended the connection, in an orderly way or by a reset."""
    data = b""
    with suppress(ConnectionResetError):
        while more := end.recv(65536):
            data += more
    return data


def open_socket(server: Listening, data: bytes = b"") -> socket.socket:
    """A connection to the server, on which the data was sent."""
    opened = socket.create_connection(("127.0.0.1", server.port), LIMIT)
    opened.sendall(data)
    return opened


def exchange(port: int, request: bytes) -> bytes:
    """Send the bytes, end our side of the connection, and read all that comes until the server ends its side."""
    with socket.create_connection(("127.0.0.1", port), LIMIT) as peer:
        peer.sendall(request)
        peer.shutdown(socket.SHUT_WR)
        return read_all(peer)


class Listening(Protocol):
    """A server: Running or Process."""

    @property
    def port(self) -> int: ...


@dataclass
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes


def ask(
    server: Listening, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """Send one request, with the path as it is, and read the answer; of a 101 the head alone."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def handshake(server: Listening, **changes: str | None) -> Answer:
    """Ask for a WebSocket, with some headers changed or, if None, left out. The connection is closed at once."""
    changed = {name.replace("_", "-"): value for name, value in changes.items()}
    headers = {name: value for name, value in {**HANDSHAKE, **changed}.items() if value is not None}
    return ask(server, "GET", "/ws", headers)
