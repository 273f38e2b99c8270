"""Defects of simple-websocket and wsproto that threadchat works round.

One test shows a defect in the library alone, used as its documentation shows. The next shows that threadchat does not
have it. If a test of the first kind fails because the library has become better, the code that works round it can go.
"""

from __future__ import annotations

import gc
import re
import select
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import simple_websocket
from helpers import (
    CLOSE,
    CONTINUATION,
    LIMIT,
    PING,
    PONG,
    TEXT,
    CountingReadiness,
    Frame,
    Observed,
    OtherEnd,
    Running,
    Tap,
    deflate,
    frame,
    handshake_environ,
    instructions,
    join,
    read_all,
    run,
    until,
)
from wsproto.frame_protocol import FrameProtocol
from wsproto.utilities import RemoteProtocolError

from threadchat.options import Options
from threadchat.websocket import wire
from threadchat.websocket.connection import Connection, ConnectionClosed, HandshakeFailed

GONE = (OSError, simple_websocket.ConnectionClosed)  # what the library raises where the connection has ended


class Pair:
    """The two ends of a connection, and the environ in which a WSGI server hands the first over."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            end = socket.create_connection(listener.getsockname())
            self.socket = listener.accept()[0]
        self.reader = self.socket.makefile("rb")  # as http.server has it
        self.tap = Tap(self.socket)
        self.peer = OtherEnd(end)
        self.environ = handshake_environ(self.tap, self.reader)

    def library(self, **options: Any) -> Any:
        """simple-websocket's own WebSocket, with the handshake done."""
        websocket = simple_websocket.Server.accept(self.environ, **options)
        self.peer.read_answer()
        return websocket

    def threadchat(self, **options: Any) -> Connection:
        """The same of threadchat."""
        connection = Connection(self.environ, Options(**options))
        connection.accept()
        self.peer.read_answer()
        return connection

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # frees simple-websocket's thread
        self.reader.close()
        self.socket.close()
        self.peer.close()


@pytest.fixture
def make_pair() -> Iterator[Callable[[], Pair]]:
    pairs: list[Pair] = []

    def make() -> Pair:
        pairs.append(Pair())
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


@pytest.fixture
def pair(make_pair: Callable[[], Pair]) -> Pair:
    return make_pair()


def nothing_to_read(end: socket.socket) -> bool:
    """Whether the connection is open and nothing has arrived."""
    poller = select.poll()
    poller.register(end, select.POLLIN)
    return not poller.poll(0)


# Threads and memory

MANY = 20_000
FLOOD = frame(TEXT, "x" * 500) * MANY  # more than the kernel's buffers hold


def test_simple_websocket_starts_a_thread_that_reads_ahead_without_a_bound(pair: Pair) -> None:
    before = set(threading.enumerate())
    websocket = pair.library()
    assert len(set(threading.enumerate()) - before) == 1
    pair.peer.socket.sendall(FLOOD)
    until(lambda: len(websocket.input_buffer) == MANY, "all messages, none of which was asked for")


def test_threadchat_starts_no_thread_and_leaves_with_the_peer_what_it_has_not_read(pair: Pair) -> None:
    before = set(threading.enumerate())
    connection = pair.threadchat()
    assert set(threading.enumerate()) <= before
    pair.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    pair.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    pair.peer.socket.setblocking(False)
    taken = 0
    with suppress(BlockingIOError):
        while taken < len(FLOOD):
            taken += pair.peer.socket.send(FLOOD[taken : taken + 10_000])
    assert taken < len(FLOOD)
    assert next(iter(connection)) == "x" * 500


# Writing


def test_simple_websocket_writes_a_pong_into_the_middle_of_a_message(pair: Pair) -> None:
    websocket = pair.library()
    half_written, pong_written = threading.Event(), threading.Event()

    def slow(data: bytes) -> int:  # as the kernel's is while the peer does not read: all of the frame, but not at once
        if data[0] != 0x80 | TEXT:
            sent = pair.socket.send(data)
            pong_written.set()
            return sent
        pair.socket.sendall(data[:50])
        half_written.set()
        pong_written.wait(LIMIT)
        pair.socket.sendall(data[50:])
        return len(data)

    pair.tap.on_send = slow
    writer = run(lambda: websocket.send("x" * 98))
    half_written.wait(LIMIT)
    pair.peer.send(PING)
    join(writer)
    assert pair.peer._exactly(102) == b"\x81\x62" + b"x" * 48 + b"\x8a\x00" + b"x" * 50


def test_threadchat_writes_the_pong_after_the_message(pair: Pair) -> None:
    connection = pair.threadchat()
    connection._writing = lock = Observed()  # type: ignore[assignment]
    half_written, pong_written = threading.Event(), threading.Event()

    def slow(data: bytes) -> int:
        if data[0] == 0x80 | TEXT:
            half_written.set()
            until(lambda: lock.waited_for.is_set() or pong_written.is_set(), "the pong")
            return pair.socket.send(data[:50])
        if data[0] == 0x80 | PONG:
            pong_written.set()
        return pair.socket.send(data)

    pair.tap.on_send = slow
    reader = run(lambda: list(connection))
    writer = run(lambda: connection.send(connection.encode(["x" * 98])))
    half_written.wait(LIMIT)
    pair.peer.send(PING)
    join(writer)
    assert pair.peer.receive() == Frame(TEXT, b"x" * 98)
    assert pair.peer.receive() == Frame(PONG, b"")
    pair.peer.send(CLOSE)
    join(reader)


def test_simple_websocket_does_not_notice_that_half_a_frame_was_not_written(pair: Pair) -> None:
    websocket = pair.library()
    pair.tap.on_send = lambda data: pair.socket.send(data[:50])
    websocket.send("x" * 98)
    websocket.send("more")
    assert pair.peer._exactly(56) == b"\x81\x62" + b"x" * 48 + b"\x81\x04more"


def test_threadchat_writes_the_rest_of_the_frame(pair: Pair) -> None:
    connection = pair.threadchat()
    pair.tap.on_send = lambda data: pair.socket.send(data[:50])
    connection.send(connection.encode(["x" * 98]))
    connection.send(connection.encode(["more"]))
    assert pair.peer.receive() == Frame(TEXT, b"x" * 98)
    assert pair.peer.receive() == Frame(TEXT, b"more")


def test_threadchat_writes_nothing_after_a_frame_that_was_cut_off(pair: Pair) -> None:
    connection = pair.threadchat(write_wait=0.1)
    sent = 0

    def stuck(data: bytes) -> int:
        nonlocal sent
        if sent == 50:
            raise BlockingIOError
        sent += pair.socket.send(data[: 50 - sent])
        return sent

    pair.tap.on_send = stuck
    with pytest.raises(ConnectionClosed):
        connection.send(connection.encode(["x" * 98]))
    pair.tap.on_send = pair.socket.send
    with pytest.raises(ConnectionClosed):
        connection.send(connection.encode(["more"]))
    connection.send_close()
    assert read_all(pair.peer.socket) == b"\x81\x62" + b"x" * 48


class WaitedFor(threading.Event):
    """An event that tells when a thread waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waiter = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.waiter.set()
        return super().wait(timeout)


def test_simple_websockets_close_frees_neither_a_blocked_send_nor_a_blocked_receive_but_a_shutdown_does(
    pair: Pair,
) -> None:
    websocket = pair.library(event_class=WaitedFor)
    in_send, freed = threading.Event(), threading.Event()

    def blocked(data: bytes) -> int:
        if data[0] == 0x80 | TEXT:
            in_send.set()
            freed.wait(LIMIT)  # as in the kernel, until the peer reads or somebody shuts the socket down
        return pair.socket.send(data)

    pair.tap.on_send = blocked
    receiver = run(websocket.receive, harmless=GONE)
    sender = run(lambda: websocket.send("x"), harmless=GONE)
    assert in_send.wait(LIMIT)
    assert websocket.event.waiter.wait(LIMIT)
    pair.tap.calls.clear()
    websocket.close()
    assert pair.tap.calls == ["send"], "it writes, which may block, and does nothing that frees a thread"
    assert not websocket.event.is_set()
    assert sender.is_alive()
    assert receiver.is_alive()
    pair.socket.shutdown(socket.SHUT_RDWR)
    freed.set()
    join(sender, receiver)


def test_simple_websockets_close_blocks_like_the_send_that_it_does_not_free(pair: Pair) -> None:
    websocket = pair.library()
    sender = run(lambda: websocket.send("x" * 30_000_000), harmless=GONE)  # the peer does not read
    until(lambda: pair.tap.calls[-1:] == ["send"])
    full = select.poll()
    full.register(pair.socket, select.POLLOUT)
    until(lambda: not full.poll(0), "a full socket")
    pair.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        websocket.close()
    assert sender.is_alive()
    pair.socket.shutdown(socket.SHUT_RDWR)
    join(sender)


def test_threadchats_end_does_not_block_and_frees_a_blocked_send(pair: Pair) -> None:
    connection = pair.threadchat(write_wait=60)
    sender = run(lambda: connection.send(connection.encode(["x" * 30_000_000])))
    until(lambda: connection.blocked)
    connection.end(1008)
    join(sender)


def test_threadchats_abort_frees_a_blocked_reader(pair: Pair) -> None:
    connection = pair.threadchat()
    connection._readable = counting = CountingReadiness(connection._readable)
    reader = run(lambda: list(connection))
    until(lambda: counting.waits)
    connection.abort()
    join(reader)


# The protocol

OFFER = {"HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate; client_max_window_bits"}  # as browsers do


def test_simple_websocket_accepts_compression_unasked(pair: Pair) -> None:
    pair.environ |= OFFER
    pair.library()
    assert re.search(rb"(?i)sec-websocket-extensions: permessage-deflate", pair.peer.answer)


def test_threadchat_accepts_compression_when_asked_to(make_pair: Callable[[], Pair]) -> None:
    for compression in (True, False):
        pair = make_pair()
        pair.environ |= OFFER
        pair.threadchat(compression=compression)
        assert (b"sec-websocket-extensions" in pair.peer.answer.lower()) == compression


def offering(*offers: str) -> dict[str, str]:
    return {"HTTP_SEC_WEBSOCKET_EXTENSIONS": ", ".join(f"permessage-deflate{offer}" for offer in offers)}


def test_wsproto_lets_a_value_error_through_for_window_bits_that_are_no_number(pair: Pair) -> None:
    pair.environ |= offering("; server_max_window_bits=abc")
    with pytest.raises(ValueError, match="abc"):
        pair.library()


def test_wsproto_accepts_an_offer_that_nobody_may_accept(pair: Pair) -> None:
    pair.environ |= offering("; unheard_of=1")
    pair.library()
    assert b"permessage-deflate\r\n" in pair.peer.answer + b"\r\n"


def test_wsproto_answers_the_last_of_several_offers_and_reads_by_the_first(pair: Pair) -> None:
    pair.environ |= offering("; client_max_window_bits=9", "")
    websocket = pair.library()
    assert b"client_max_window_bits" not in pair.peer.answer
    assert websocket.ws.connection._proto.extensions[0].client_max_window_bits == 9


def test_threadchat_takes_the_first_offer_that_it_may_take(make_pair: Callable[[], Pair]) -> None:
    for bad in ("; server_max_window_bits=abc", "; unheard_of=1"):
        pair = make_pair()
        pair.environ |= offering(bad, "; client_max_window_bits=9", "")
        pair.threadchat(compression=True)
        assert b"permessage-deflate; client_max_window_bits=9\r\n" in pair.peer.answer + b"\r\n"


def compressed_message_around_a_ping(text: str) -> bytes:
    data = deflate(text)
    return frame(0x40 | TEXT, data[:4], fin=False) + frame(PING) + frame(CONTINUATION, data[4:])


def test_wsproto_takes_the_rest_of_a_compressed_message_after_a_ping_for_uncompressed(pair: Pair) -> None:
    pair.environ |= OFFER
    websocket = pair.library()
    pair.peer.socket.sendall(compressed_message_around_a_ping("ping pong " * 9))
    with suppress(simple_websocket.ConnectionClosed):  # where it takes them for invalid UTF-8
        assert websocket.receive(LIMIT) != "ping pong " * 9


def test_threadchat_takes_a_compressed_message_around_a_ping(pair: Pair) -> None:
    pair.environ |= OFFER
    connection = pair.threadchat(compression=True)
    data = frame(PING) + compressed_message_around_a_ping("ping pong " * 9) + frame(PING) + frame(TEXT, "plain")
    pair.peer.socket.sendall(data + compressed_message_around_a_ping("pong ping") + frame(CLOSE))
    assert list(connection) == ["ping pong " * 9, "plain", "pong ping"]


def test_simple_websocket_counts_characters_where_its_documentation_says_bytes(pair: Pair) -> None:
    websocket = pair.library(max_message_size=10)
    pair.peer.send(TEXT, "€" * 10)
    assert websocket.receive(LIMIT) == "€" * 10


def test_threadchat_counts_bytes(pair: Pair) -> None:
    connection = pair.threadchat(message_size=10)
    pair.peer.send(TEXT, "€" * 10)
    assert list(connection) == []
    assert connection.ending.startswith("1009 ")


def test_simple_websocket_lets_wsprotos_error_through_for_a_plain_request(pair: Pair) -> None:
    pair.environ = {key: value for key, value in pair.environ.items() if key != "HTTP_UPGRADE"}
    with pytest.raises(RemoteProtocolError) as caught:
        simple_websocket.Server.accept(pair.environ)
    assert not isinstance(caught.value, simple_websocket.errors.SimpleWebsocketError)
    assert nothing_to_read(pair.peer.socket)


def test_threadchat_raises_its_own_error_and_answers_a_plain_request(pair: Pair, server: Running) -> None:
    pair.environ = {key: value for key, value in pair.environ.items() if key != "HTTP_UPGRADE"}
    with pytest.raises(HandshakeFailed):
        Connection(pair.environ, Options()).accept()
    with socket.create_connection(("127.0.0.1", server.port), LIMIT) as plain:
        plain.sendall(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert read_all(plain).startswith(b"HTTP/1.1 426 ")


def test_simple_websocket_lets_an_echo_overtake_the_pong_of_an_earlier_ping(pair: Pair) -> None:
    echoed = threading.Event()

    class Early(threading.Event):
        def set(self) -> None:
            super().set()
            echoed.wait(LIMIT)  # the application's thread has its turn before the library's goes on

    websocket = pair.library(event_class=Early)

    def echo() -> None:
        websocket.send(websocket.receive())
        echoed.set()

    echoing = run(echo)
    pair.peer.socket.sendall(frame(PING) + frame(TEXT, "later"))
    assert [pair.peer.receive() for _ in range(2)] == [Frame(TEXT, b"later"), Frame(PONG, b"")]
    join(echoing)


def test_threadchat_writes_the_pong_before_it_hands_over_the_later_message(pair: Pair) -> None:
    connection = pair.threadchat()
    pair.peer.socket.sendall(frame(PING) + frame(TEXT, "later"))
    assert next(iter(connection)) == "later"
    assert pair.peer.receive() == Frame(PONG, b"")


def test_simple_websocket_has_closed_before_a_message_ahead_of_a_protocol_error_can_be_answered(pair: Pair) -> None:
    websocket = pair.library()
    pair.peer.socket.sendall(frame(TEXT, "before") + frame(3))
    until(lambda: not websocket.connected)
    assert websocket.receive() == "before"
    with pytest.raises(simple_websocket.ConnectionClosed):
        websocket.send("its echo")
    assert pair.peer.receive().close_code == 1002


def test_threadchat_answers_a_message_ahead_of_a_protocol_error(pair: Pair) -> None:
    connection = pair.threadchat()
    pair.peer.socket.sendall(frame(TEXT, "before") + frame(3))
    for message in connection:
        assert message == "before"
        connection.send(connection.encode(["its echo"]))
    connection.send_close()
    assert pair.peer.receive() == Frame(TEXT, b"its echo")
    assert pair.peer.receive().close_code == 1002


def test_simple_websocket_does_not_close_a_socket_whose_reader_the_server_holds(pair: Pair) -> None:
    websocket = pair.library()
    pair.peer.send(CLOSE)
    until(lambda: not websocket.thread.is_alive())
    assert "close" in pair.tap.calls
    assert pair.peer.receive() == Frame(CLOSE, b"")
    assert nothing_to_read(pair.peer.socket)  # not even the end of the file
    pair.peer.send(TEXT, "late")
    assert pair.reader.peek()


def test_threadchat_ends_the_connection_though_the_server_holds_its_reader(pair: Pair) -> None:
    connection = pair.threadchat()
    pair.peer.send(CLOSE)
    assert list(connection) == []
    connection.send_close()
    assert pair.peer.receive_all() == [Frame(CLOSE, b"")]


def test_wsproto_refuses_a_peer_that_offers_other_protocols_beside_websocket(pair: Pair) -> None:
    pair.environ["HTTP_UPGRADE"] = "example/1, websocket"
    with pytest.raises(RemoteProtocolError, match="Upgrade"):
        pair.library()


def test_threadchat_accepts_a_peer_that_offers_other_protocols_beside_websocket(pair: Pair) -> None:
    pair.environ["HTTP_UPGRADE"] = "example/1, WebSocket"
    pair.threadchat()
    assert pair.peer.answer.startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("size", [40, 400])
def test_wsproto_takes_many_instructions_to_read_a_message_and_threadchat_a_fifth(
    make_pair: Callable[[], Pair], size: int
) -> None:
    data = frame(TEXT, "x" * size)
    pair = make_pair()
    websocket = pair.library()
    pair.peer.close()
    join(websocket.thread)  # from here on no other thread uses the protocol

    def library() -> list[str]:
        websocket.ws.connection._proto.receive_bytes(data)
        return [each.payload for each in websocket.ws.connection._proto.received_frames()]

    wire = make_pair().threadchat()._wire
    assert library() == wire.receive(data)
    assert instructions(lambda: wire.receive(data)) * 5 < instructions(library)


def test_wsproto_takes_many_instructions_to_make_a_frame_and_threadchat_a_third() -> None:
    lines = "one line", "another"

    def library() -> bytes:
        return bytes(FrameProtocol(client=False, extensions=[]).send_data("\n".join(lines)))

    threadchat = wire.text_frames.__wrapped__  # the function, without what it remembers
    assert library() == threadchat(lines, 8192)
    assert instructions(lambda: threadchat(lines, 8192)) * 3 < instructions(library)


SURROGATE_BEGINS = frame(TEXT, b"\xed\xa0", fin=False)  # invalid UTF-8, whatever follows


def test_wsproto_waits_for_the_last_byte_of_a_surrogate(pair: Pair) -> None:
    pair.library()
    pair.peer.socket.sendall(SURROGATE_BEGINS + frame(PING))
    assert pair.peer.receive() == Frame(PONG, b"")
    pair.peer.send(CONTINUATION, b"\x80")
    assert pair.peer.receive().close_code == 1007


def test_threadchat_refuses_a_surrogate_at_its_second_byte(pair: Pair) -> None:
    connection = pair.threadchat()
    pair.peer.socket.sendall(SURROGATE_BEGINS + frame(PING))
    assert list(connection) == []
    assert connection.ending.startswith("1007 ")


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_wsprotos_protocol_is_freed_only_by_the_garbage_collector(pair: Pair, no_collector: None) -> None:
    websocket = pair.library()
    protocol = weakref.ref(websocket.ws.connection._proto)
    pair.peer.close()  # after a close frame the parser would be at its end
    join(websocket.thread)
    del websocket
    assert protocol() is not None
    gc.collect()
    assert protocol() is None


def test_threadchat_frees_wsprotos_protocol_at_once(pair: Pair, no_collector: None) -> None:
    connection = pair.threadchat()
    protocol = weakref.ref(connection._wire._frames)
    pair.peer.close()
    assert list(connection) == []
    connection.close()
    del connection
    assert protocol() is None
