"""What threadchat works round: each test shows a defect of a library alone, and that threadchat does not have it.

The libraries are used as their documentation shows. Where a test fails because a library has become better, the code
that works round it can go.
"""

from __future__ import annotations

import errno
import gc
import importlib.metadata
import logging
import queue
import re
import select
import socket
import sys
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
    HANDSHAKE,
    LIMIT,
    PING,
    PONG,
    TEXT,
    CountingPoller,
    Frame,
    Observed,
    OtherEnd,
    Peer,
    Running,
    Serve,
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
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Response
from wsproto.frame_protocol import FrameDecoder
from wsproto.utilities import RemoteProtocolError

from threadchat.channel import Channel, Closed
from threadchat.options import Options
from threadchat.web import handler
from threadchat.web import server as threadchat_server
from threadchat.web.app import create_app
from threadchat.websocket.connection import Connection, ConnectionClosed, HandshakeFailed

GONE = (OSError, simple_websocket.ConnectionClosed)  # what the library raises where the connection has ended
REQUEST = b"GET /again HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


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


@pytest.fixture
def werkzeug(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[Any], BaseWSGIServer]]:
    """Starts a plain threaded werkzeug server: `werkzeug(application)`."""
    caplog.set_level(logging.INFO, "werkzeug")
    started: list[tuple[BaseWSGIServer, threading.Thread]] = []

    def start(application: Any) -> BaseWSGIServer:
        server = make_server("127.0.0.1", 0, application, threaded=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()


def nothing_to_read(end: socket.socket) -> bool:
    """Whether the connection is open and nothing has arrived."""
    poller = select.poll()
    poller.register(end, select.POLLIN)
    return not poller.poll(0)


# simple-websocket: threads and memory

MANY = 20_000
FLOOD = frame(TEXT, "x" * 500) * MANY  # more than the kernel's buffers hold


def test_simple_websocket_has_a_thread_of_its_own_that_reads_ahead_without_a_bound(pair: Pair) -> None:
    before = threading.active_count()
    websocket = pair.library()
    assert threading.active_count() == before + 1
    pair.peer.socket.sendall(FLOOD)
    until(lambda: len(websocket.input_buffer) == MANY, "the pile of messages that nobody has asked for")


def test_threadchat_has_no_such_thread_and_leaves_the_rest_with_the_peer(pair: Pair) -> None:
    before = threading.active_count()
    connection = pair.threadchat()
    assert threading.active_count() == before
    pair.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    pair.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    pair.peer.socket.setblocking(False)
    taken = 0
    with suppress(BlockingIOError):
        while taken < len(FLOOD):
            taken += pair.peer.socket.send(FLOOD[taken : taken + 10_000])
    assert taken < len(FLOOD)
    assert next(iter(connection)) == "x" * 500


# simple-websocket: writing


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


def test_threadchat_writes_the_pong_behind_the_message(pair: Pair) -> None:
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


def test_threadchat_writes_the_other_half(pair: Pair) -> None:
    connection = pair.threadchat()
    pair.tap.on_send = lambda data: pair.socket.send(data[:50])
    connection.send(connection.encode(["x" * 98]))
    connection.send(connection.encode(["more"]))
    assert pair.peer.receive() == Frame(TEXT, b"x" * 98)
    assert pair.peer.receive() == Frame(TEXT, b"more")


def test_threadchat_writes_nothing_behind_a_half_that_could_not_be_completed(pair: Pair) -> None:
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
    connection._readable = counting = CountingPoller(connection._readable)  # type: ignore[assignment]
    reader = run(lambda: list(connection))
    until(lambda: counting.polls)
    connection.abort()
    join(reader)


# simple-websocket: the protocol

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


def compressed_message_around_a_ping(text: str) -> bytes:
    data = deflate(text)
    return frame(0x40 | TEXT, data[:4], fin=False) + frame(PING) + frame(CONTINUATION, data[4:])


def test_simple_websocket_forgets_at_a_ping_that_the_message_around_it_is_compressed(pair: Pair) -> None:
    pair.environ |= OFFER
    websocket = pair.library()
    pair.peer.socket.sendall(compressed_message_around_a_ping("ping pong " * 9))
    with suppress(simple_websocket.ConnectionClosed):  # where what it makes of it is no UTF-8
        assert websocket.receive(LIMIT) != "ping pong " * 9


def test_threadchat_does_not_forget_it(pair: Pair) -> None:
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


def test_simple_websocket_raises_another_librarys_error_for_a_plain_request(pair: Pair) -> None:
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


def test_simple_websocket_refuses_a_peer_that_offers_other_protocols_beside_websocket(pair: Pair) -> None:
    pair.environ["HTTP_UPGRADE"] = "example/1, websocket"
    with pytest.raises(RemoteProtocolError, match="Upgrade"):
        pair.library()


def test_threadchat_takes_the_one_that_it_speaks(pair: Pair) -> None:
    pair.environ["HTTP_UPGRADE"] = "example/1, WebSocket"
    pair.threadchat()
    assert pair.peer.answer.startswith(b"HTTP/1.1 101 ")


def instructions_of_a_small_frame(decoder: FrameDecoder) -> int:
    """When the whole of it is there."""
    decoder.receive_bytes(frame(TEXT, "a message of some forty characters or so"))
    return instructions(decoder.process_buffer)


def test_simple_websockets_decoder_is_slow(pair: Pair) -> None:
    websocket = pair.library()
    pair.peer.close()
    join(websocket.thread)
    assert instructions_of_a_small_frame(websocket.ws.connection._proto._frame_decoder) > 600


def test_threadchats_is_not(pair: Pair) -> None:
    assert instructions_of_a_small_frame(pair.threadchat()._protocol._proto._frame_decoder) < 150


SURROGATE_BEGINS = frame(TEXT, b"\xed\xa0", fin=False)  # no UTF-8, whatever follows


def test_simple_websocket_waits_for_the_last_byte_of_a_surrogate(pair: Pair) -> None:
    pair.library()
    pair.peer.socket.sendall(SURROGATE_BEGINS + frame(PING))
    assert pair.peer.receive() == Frame(PONG, b"")
    pair.peer.send(CONTINUATION, b"\x80")
    assert pair.peer.receive().close_code == 1007


def test_threadchat_does_not(pair: Pair) -> None:
    connection = pair.threadchat()
    pair.peer.socket.sendall(SURROGATE_BEGINS + frame(PING))
    assert list(connection) == []
    assert connection.ending.startswith("1007 ")


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_simple_websockets_protocol_waits_for_the_collector(pair: Pair, no_collector: None) -> None:
    websocket = pair.library()
    protocol = weakref.ref(websocket.ws.connection._proto)
    pair.peer.close()  # after a close frame the parser would be at its end
    join(websocket.thread)
    del websocket
    assert protocol() is not None
    gc.collect()
    assert protocol() is None


def test_threadchats_does_not(pair: Pair, no_collector: None) -> None:
    connection = pair.threadchat()
    protocol = weakref.ref(connection._protocol._proto)
    pair.peer.close()
    assert list(connection) == []
    connection.close()
    del connection
    assert protocol() is None


# werkzeug: its requests

BAD_REQUESTS = [  # by RFC 9112, sections 3.2 and 5.1
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade : y\r\n\r\n",
]


def ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), LIMIT) as plain:
        plain.sendall(request)
        plain.shutdown(socket.SHUT_WR)
        return read_all(plain)


@pytest.mark.parametrize("request_bytes", BAD_REQUESTS)
def test_werkzeug_answers_requests_that_http_wants_refused(
    werkzeug: Callable[[Any], BaseWSGIServer], request_bytes: bytes
) -> None:
    assert b" 200 " in ask(werkzeug(Response("")).port, request_bytes)


@pytest.mark.parametrize("request_bytes", BAD_REQUESTS)
def test_threadchat_refuses_them(server: Running, request_bytes: bytes) -> None:
    assert ask(server.port, request_bytes).startswith(b"HTTP/1.1 400 ")


def test_werkzeug_answers_a_line_that_is_no_http_without_a_status(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    assert not ask(werkzeug(Response("")).port, b"nonsense\r\n\r\n").startswith(b"HTTP/")


def test_threadchat_answers_it_with_one(server: Running) -> None:
    assert ask(server.port, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def endless(function: Callable[[bytes], object], argument: bytes) -> None:
    while True:
        function(argument)


def test_werkzeug_resets_a_connection_whose_peer_still_sends(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    with socket.create_connection(("127.0.0.1", werkzeug(Response("")).port), LIMIT) as plain:
        plain.sendall(b"nonsense\r\n")
        read_all(plain)
        with pytest.raises(ConnectionError):
            endless(plain.sendall, b"more")


def test_threadchat_does_not_reset_it(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "LINGER", LIMIT)
    running = serve()
    with socket.create_connection(("127.0.0.1", running.port), LIMIT) as plain:
        plain.sendall(b"nonsense\r\n")
        assert read_all(plain).startswith(b"HTTP/1.1 400 ")
        for _ in range(100):
            plain.sendall(b"more")
        plain.shutdown(socket.SHUT_WR)
        running.stop()  # returns when the thread of the connection has ended
        assert plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_werkzeug_hands_over_white_space_behind_a_header(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    values: list[str] = []

    def application(environ: Any, start_response: Any) -> Any:
        values.append(environ["HTTP_A"])
        return Response("")(environ, start_response)

    ask(werkzeug(application).port, b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b \t\r\n\r\n")
    assert values == ["b \t"]


def test_threadchat_does_not_mind_white_space_behind_a_header(server: Running) -> None:
    head = "".join(f"{name}: {value} \t\r\n" for name, value in {"Host": "x", **HANDSHAKE}.items())
    answer = ask(server.port, f"GET /ws HTTP/1.1\r\n{head}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 101 ")


# werkzeug: its sockets


def test_werkzeug_leaves_nagles_algorithm_on(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    options: list[int] = []

    def application(environ: Any, start_response: Any) -> Any:
        options.append(environ["werkzeug.socket"].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return Response("")(environ, start_response)

    with socket.create_connection(("127.0.0.1", werkzeug(application).port), LIMIT) as plain:
        plain.sendall(REQUEST)
        read_all(plain)
    assert options == [0]


def test_threadchat_turns_nagles_algorithm_off(pair: Pair) -> None:
    assert pair.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
    pair.threadchat()
    assert pair.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def longest_listen_queue(listener: socket.socket) -> int:
    """tcpi_sacked of Linux's struct tcp_info, where the kernel says it of a listening socket."""
    return int.from_bytes(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[28:32], sys.byteorder)


def test_werkzeugs_listen_queue_is_short(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    assert longest_listen_queue(werkzeug(Response("")).socket) == 128


def test_threadchats_listen_queue_is_as_long_as_it_asks_or_the_system_allows(serve: Serve) -> None:
    with open("/proc/sys/net/core/somaxconn") as limit:
        longest = min(threadchat_server.LISTEN_QUEUE, int(limit.read()))
    assert longest_listen_queue(serve().server._server.socket) == longest


def test_werkzeug_prints_and_exits_when_the_port_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit):
        make_server("127.0.0.1", taken.getsockname()[1], Response(""), threaded=True)
    assert "in use by another program" in capsys.readouterr().err


def test_threadchat_raises_when_the_port_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    app = create_app()
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match=r"(?i)in use"):
            threadchat_server.Server(app, "127.0.0.1", taken.getsockname()[1])
    finally:
        app.close()
    assert capsys.readouterr() == ("", "")


def test_werkzeug_waits_for_ever_for_a_request(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    limits: list[float | None] = []

    def application(environ: Any, start_response: Any) -> Any:
        limits.append(environ["werkzeug.socket"].gettimeout())
        return Response("")(environ, start_response)

    with socket.create_connection(("127.0.0.1", werkzeug(application).port), LIMIT) as plain:
        plain.sendall(REQUEST)
        read_all(plain)
    assert limits == [None]


@pytest.mark.parametrize("part", [b"", b"GET /ws HTTP/1.1\r\nHost: "], ids=["nothing", "half a request"])
def test_threadchat_ends_a_connection_without_a_request(serve: Serve, part: bytes) -> None:
    with socket.create_connection(("127.0.0.1", serve(request_wait=0.1).port), LIMIT) as idle:
        idle.sendall(part)
        assert read_all(idle) == b""


def test_werkzeugs_time_limit_for_a_request_is_one_for_the_websocket_too(
    werkzeug: Callable[[Any], BaseWSGIServer],
) -> None:
    limits: list[float | None] = []

    def application(environ: Any, start_response: Any) -> Any:
        websocket = simple_websocket.Server.accept(environ)
        limits.append(websocket.sock.gettimeout())
        websocket.close()
        raise ConnectionError

    server = werkzeug(application)
    server.RequestHandlerClass.timeout = 7.0  # type: ignore[attr-defined]
    try:
        with Peer(server.port) as peer:
            assert peer.receive().close_code == 1000
    finally:
        server.RequestHandlerClass.timeout = None  # type: ignore[attr-defined]
    assert limits == [7.0]


def test_threadchats_websocket_outlives_the_time_limit_for_a_request(serve: Serve) -> None:
    with Peer(serve(request_wait=0.1, pong_wait=LIMIT, ping_period=0.1).port) as peer:
        assert [peer.receive() for _ in range(3)] == [Frame(PING, b"")] * 3
        peer.send(TEXT, "still here")
        assert peer.receive() == Frame(TEXT, b"still here")


def test_werkzeug_tells_every_peer_its_version_and_pythons(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    with socket.create_connection(("127.0.0.1", werkzeug(Response("")).port), LIMIT) as plain:
        plain.sendall(REQUEST)
        assert re.search(rb"Server: Werkzeug/\d\S+ Python/\d", read_all(plain))


def test_threadchat_tells_its_name_alone(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), LIMIT) as plain:
        plain.sendall(REQUEST)
        assert b"\r\nServer: threadchat\r\n" in read_all(plain)


def test_werkzeug_tries_to_accept_without_a_pause_when_there_are_no_descriptors(
    werkzeug: Callable[[Any], BaseWSGIServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """socketserver's loop, that is; threadchat pauses: see test_trouble.py."""
    server = werkzeug(lambda environ, start_response: Response("")(environ, start_response))
    tries: list[None] = []

    def no_descriptors() -> Any:
        tries.append(None)
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(server, "get_request", no_descriptors)
        with socket.create_connection(("127.0.0.1", server.port), LIMIT):
            until(lambda: len(tries) > 1000, "one try after another")


def test_werkzeug_writes_a_traceback_for_each_connection_it_has_no_thread_for(
    werkzeug: Callable[[Any], BaseWSGIServer], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """threadchat writes a line, and answers 503: see test_trouble.py."""
    server = werkzeug(lambda environ, start_response: Response("")(environ, start_response))

    def no_threads(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_threads)
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", server.port), LIMIT) as refused:
                assert read_all(refused) == b""
    assert capfd.readouterr().err.count("Traceback") == 2


# werkzeug: after the WebSocket


def websocket_application(after: Callable[[], Any]) -> Any:
    """An application that echoes over a WebSocket, and then does what the caller says."""

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/again":
            return Response("another request was read")(environ, start_response)
        websocket = simple_websocket.Server.accept(environ)
        try:
            while True:
                websocket.send(websocket.receive())
        except simple_websocket.ConnectionClosed:
            pass
        answer = after()
        return answer(environ, start_response) if callable(answer) else answer

    return application


def test_werkzeug_writes_a_returned_response_into_the_stream(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    with Peer(werkzeug(websocket_application(lambda: Response("bye"))).port) as peer:
        peer.send(CLOSE)
        peer.socket.shutdown(socket.SHUT_WR)
        assert b"HTTP/1.1 200 " in read_all(peer.socket)  # before or behind the close frame


def test_werkzeug_logs_an_error_for_an_application_that_returns_nothing(
    werkzeug: Callable[[Any], BaseWSGIServer], caplog: pytest.LogCaptureFixture
) -> None:
    with Peer(werkzeug(websocket_application(list)).port) as peer:
        peer.send(CLOSE)
        peer.socket.shutdown(socket.SHUT_WR)
        read_all(peer.socket)
    until(lambda: "Error on request" in caplog.text)


def test_werkzeug_reads_another_request_after_a_connection_error(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    def fail() -> None:
        raise ConnectionError

    with Peer(werkzeug(websocket_application(fail)).port) as peer:
        peer.send(CLOSE)
        assert peer.receive() == Frame(CLOSE, b"")
        peer.socket.sendall(REQUEST)
        assert b"another request was read" in peer._buffer + read_all(peer.socket)


def test_threadchat_writes_nothing_after_the_close_frame_reads_no_request_and_logs_no_error(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    running = serve()
    with Peer(running.port) as peer:
        peer.send(CLOSE)
        peer.socket.sendall(REQUEST)
        assert peer.receive_all() == [Frame(CLOSE, b"")]
    running.stop()  # returns when the thread of the connection has ended
    assert [record.name for record in caplog.records] == ["threadchat"] * 2, "joined and left"


def test_a_frame_in_the_segment_of_the_handshake_is_lost_between_werkzeug_and_simple_websocket(
    werkzeug: Callable[[Any], BaseWSGIServer],
) -> None:
    def fail() -> None:
        raise ConnectionError

    with Peer(werkzeug(websocket_application(fail)).port, behind=frame(TEXT, "early")) as peer:
        peer.send(TEXT, "late")
        assert peer.receive() == Frame(TEXT, b"late")


def test_threadchat_takes_a_frame_in_the_segment_of_the_handshake(server: Running) -> None:
    with Peer(server.port, behind=frame(TEXT, "early")) as peer:
        peer.send(TEXT, "late")
        assert peer.lines(2) == ["early", "late"]


# werkzeug: the stop


def test_werkzeugs_shutdown_leaves_the_threads_of_websockets_alive(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    threads: list[threading.Thread] = []

    def application(environ: Any, start_response: Any) -> Any:
        websocket = simple_websocket.Server.accept(environ)
        threads.append(threading.current_thread())
        websocket.send("hello")
        websocket.receive()

    server = werkzeug(application)
    with Peer(server.port) as peer:
        peer.receive()
        server.shutdown()
        server.server_close()
        assert threads[0].is_alive()
        assert nothing_to_read(peer.socket)
    threads[0].join(LIMIT)


def test_threadchats_stop_returns_when_all_threads_have_ended(serve: Serve) -> None:
    before = set(threading.enumerate())
    running = serve()
    with Peer(running.port) as peer, socket.create_connection(("127.0.0.1", running.port)) as idle:
        until(lambda: len(running.clients) == 1)
        until(lambda: "request" in [thread.name for thread in threading.enumerate()], "the idle connection's thread")
        peer.send(TEXT, "hello")
        peer.receive()
        peer_reads = run(peer.receive_all, harmless=(OSError,))
        stopping = running.stop_in_thread()
        peer_reads.join(LIMIT)
        peer.close()
        join(stopping)
        assert set(threading.enumerate()) <= before
        assert idle.recv(1) == b""


# Python


def test_the_oldest_python_that_threadchat_runs_on_has_queues_that_cannot_be_closed() -> None:
    assert hasattr(queue.Queue, "shutdown") == (sys.version_info >= (3, 13))
    assert importlib.metadata.metadata("threadchat")["Requires-Python"] == ">=3.11"


def test_threadchats_channels_can_be_closed_on_every_python() -> None:
    channel: Channel[str] = Channel(1)
    channel.send("before")
    channel.close()
    assert channel.receive() == "before"
    with pytest.raises(Closed):
        channel.receive()
    with pytest.raises(Closed):
        channel.send("after")
