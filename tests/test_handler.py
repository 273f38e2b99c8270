"""One request of a connection: malformed HTTP, and how a connection ends."""

from __future__ import annotations

from contextlib import closing

import pytest
from helpers import CLOSE, Peer, Running, errors, exchange, open_socket, received, request_threads, until

from threadchat.web import handler


@pytest.mark.parametrize(
    ("status", "request_bytes"),
    [
        (400, b"nonsense\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),  # a browser that tries TLS
        (400, b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (400, b"GET / HTTP/x\r\n\r\n"),
        (404, b"GET /\xff\x1b[31m HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (414, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n"),
        (431, b"GET / HTTP/1.1\r\na: " + b"b" * 100_000 + b"\r\n\r\n"),
        (505, b"GET / HTTP/9.9\r\n\r\n"),
    ],
    ids=["nonsense", "TLS", "an invalid address", "no version", "not ASCII", "a long line", "many headers",
         "a long header", "another version"],
)  # fmt: skip
def test_malformed_http_costs_the_sender_alone(
    server: Running,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    status: int,
    request_bytes: bytes,
) -> None:
    answer = exchange(server.port, request_bytes).decode("latin-1")
    assert answer.startswith(f"HTTP/1.1 {status} ")
    until(lambda: not request_threads(), "the end of the request's thread")
    assert errors(caplog) == []
    assert capfd.readouterr().err == ""
    with Peer(server.port) as other:
        other.talk("and the chat goes on")


def test_a_peer_that_does_not_close_its_side_after_the_answer_is_disconnected(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "LINGER", 0.1)
    with closing(open_socket(server, b"GET / HTTP/1.0\r\n\r\n")) as peer:
        assert received(peer).startswith(b"HTTP/1.1 200 ")
        until(lambda: not request_threads(), "the end of the request's thread")


def test_a_peer_that_resets_the_connection_is_no_error(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    peer = Peer(server.port)
    until(lambda: server.clients)
    peer.reset()
    until(lambda: not server.clients and not request_threads(), "the client's end")
    assert errors(caplog) == []


def test_no_http_follows_the_end_of_a_websocket(server: Running) -> None:
    with Peer(server.port) as peer:
        peer.leave()
        peer.socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answers = peer.receive_all()
    assert [(answer.opcode, answer.close_code) for answer in answers] == [(CLOSE, 1000)]
    until(lambda: not request_threads(), "the end of the client's thread")
