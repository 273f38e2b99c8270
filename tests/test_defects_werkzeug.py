"""Defects of werkzeug, and of socketserver and http.server under it, that threadchat works round.

One test shows a defect in werkzeug alone, used as its documentation shows. The next shows that threadchat does not have
it. If a test of the first kind fails because werkzeug has become better, the code that works round it can go.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import simple_websocket
from helpers import (
    CLOSE,
    HANDSHAKE,
    LIMIT,
    PING,
    TEXT,
    Frame,
    Peer,
    Running,
    Serve,
    all_gone,
    frame,
    handshake,
    join,
    no_collector,
    read_all,
    run,
    until,
)
from helpers import ask as request
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Response

from threadchat.web import handler
from threadchat.web import server as threadchat_server
from threadchat.web.app import create_app

REQUEST = b"GET /again HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


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


# Its requests

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
def test_werkzeug_answers_malformed_requests(werkzeug: Callable[[Any], BaseWSGIServer], request_bytes: bytes) -> None:
    assert b" 200 " in ask(werkzeug(Response("")).port, request_bytes)


@pytest.mark.parametrize("request_bytes", BAD_REQUESTS)
def test_threadchat_refuses_malformed_requests(server: Running, request_bytes: bytes) -> None:
    assert ask(server.port, request_bytes).startswith(b"HTTP/1.1 400 ")


def test_werkzeug_answers_a_line_that_is_not_http_without_a_status_line(
    werkzeug: Callable[[Any], BaseWSGIServer],
) -> None:
    assert not ask(werkzeug(Response("")).port, b"nonsense\r\n\r\n").startswith(b"HTTP/")


def test_threadchat_answers_a_line_that_is_not_http_with_a_status_line(server: Running) -> None:
    assert ask(server.port, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def endless(function: Callable[[bytes], object], argument: bytes) -> None:
    while True:
        function(argument)


def polls() -> int:
    """How many descriptors for epoll this process has."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            found += os.readlink(each) == "anon_inode:[eventpoll]"
    return found


def ask_and_reset(port: int) -> None:
    """Send more than a request, and reset the connection when the answer has come."""
    with socket.create_connection(("127.0.0.1", port), LIMIT) as plain:
        plain.sendall(b"GET /limits HTTP/1.1\r\nHost: localhost\r\n\r\nand more")
        while b"\r\n\r\n" not in plain.recv(1024, socket.MSG_PEEK):
            pass
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


linux = pytest.mark.skipif(not hasattr(select, "epoll"), reason="only Linux has epoll")


@linux
def test_werkzeug_leaves_a_descriptor_open_where_the_peer_resets(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    server, before, threads = werkzeug(Response("")), polls(), threading.active_count()

    def one_is_left() -> bool:
        """It is, unless the reset came more than 10 ms after the answer: then werkzeug did not wait any more."""
        ask_and_reset(server.port)
        until(lambda: threading.active_count() <= threads, "the end of the connection's thread")
        return polls() > before

    with no_collector():
        until(one_is_left)


@linux
def test_threadchat_leaves_no_descriptor_open_where_the_peer_resets(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, finished = polls(), threading.Event()
    finish = handler.RequestHandler.finish

    def finish_and_say_so(self: handler.RequestHandler) -> None:
        finish(self)
        finished.set()

    monkeypatch.setattr(handler.RequestHandler, "finish", finish_and_say_so)
    with no_collector():
        ask_and_reset(server.port)
        assert finished.wait(LIMIT)
        assert polls() == before


def test_werkzeug_resets_a_connection_whose_peer_still_sends(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    with socket.create_connection(("127.0.0.1", werkzeug(Response("")).port), LIMIT) as plain:
        plain.sendall(b"nonsense\r\n")
        read_all(plain)
        with pytest.raises(ConnectionError):
            endless(plain.sendall, b"more")


def test_threadchat_does_not_reset_a_connection_whose_peer_still_sends(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_werkzeug_keeps_white_space_after_a_header(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    values: list[str] = []

    def application(environ: Any, start_response: Any) -> Any:
        values.append(environ["HTTP_A"])
        return Response("")(environ, start_response)

    ask(werkzeug(application).port, b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b \t\r\n\r\n")
    assert values == ["b \t"]


def test_threadchat_ignores_white_space_after_a_header(server: Running) -> None:
    head = "".join(f"{name}: {value} \t\r\n" for name, value in {"Host": "x", **HANDSHAKE}.items())
    answer = ask(server.port, f"GET /ws HTTP/1.1\r\n{head}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 101 ")


# Its sockets


def test_werkzeug_leaves_nagles_algorithm_on(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    options: list[int] = []

    def application(environ: Any, start_response: Any) -> Any:
        options.append(environ["werkzeug.socket"].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return Response("")(environ, start_response)

    with socket.create_connection(("127.0.0.1", werkzeug(application).port), LIMIT) as plain:
        plain.sendall(REQUEST)
        read_all(plain)
    assert options == [0]


def test_threadchat_turns_nagles_algorithm_off(server: Running) -> None:
    with Peer(server.port) as peer:
        peer.send(TEXT, "hello")
        assert peer.lines(1) == ["hello"]  # from here on the connection is set up
        (client,) = server.clients
        assert client.connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    all_gone(server)


def longest_listen_queue(listener: socket.socket) -> int:
    """What Linux keeps in tcpi_sacked of struct tcp_info for a listening socket."""
    return int.from_bytes(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[28:32], sys.byteorder)


def test_werkzeugs_listen_queue_is_short(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    assert longest_listen_queue(werkzeug(Response("")).socket) == 128


def test_threadchats_listen_queue_is_as_long_as_the_system_allows(serve: Serve) -> None:
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


def test_werkzeugs_time_limit_for_a_request_applies_to_the_websocket_too(
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
    with Peer(serve(request_wait=1.0, pong_wait=LIMIT, ping_period=0.5).port) as peer:
        assert [peer.receive() for _ in range(3)] == [Frame(PING, b"")] * 3
        peer.send(TEXT, "still here")
        while (received := peer.receive()).opcode == PING:
            pass
        assert received == Frame(TEXT, b"still here")


def test_werkzeug_sends_its_version_and_pythons(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
    with socket.create_connection(("127.0.0.1", werkzeug(Response("")).port), LIMIT) as plain:
        plain.sendall(REQUEST)
        assert re.search(rb"Server: Werkzeug/\d\S+ Python/\d", read_all(plain))


def test_threadchat_sends_only_its_name(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port), LIMIT) as plain:
        plain.sendall(REQUEST)
        assert b"\r\nServer: threadchat\r\n" in read_all(plain)


def test_werkzeug_calls_accept_in_a_busy_loop_when_there_are_no_descriptors(
    werkzeug: Callable[[Any], BaseWSGIServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop is socketserver's. threadchat pauses: see test_trouble.py."""
    server = werkzeug(lambda environ, start_response: Response("")(environ, start_response))
    tries: list[None] = []

    def no_descriptors() -> Any:
        tries.append(None)
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(server, "get_request", no_descriptors)
        with socket.create_connection(("127.0.0.1", server.port), LIMIT):
            until(lambda: len(tries) > 1000, "one try after another")


def test_werkzeug_writes_a_traceback_for_each_connection_that_gets_no_thread(
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


# After the WebSocket


def websocket_application(after: Callable[[], Any]) -> Any:
    """An application that echoes over a WebSocket, then calls `after` and returns what that returns."""

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


def test_werkzeug_writes_a_returned_response_among_the_frames(werkzeug: Callable[[Any], BaseWSGIServer]) -> None:
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


# The stop


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
        assert not select.select([peer.socket], [], [], 0)[0], "and the peer is told nothing"
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


# Its answers


def dates(answer: bytes) -> list[bytes]:
    """The values of the header Date in an answer; each is one (RFC 9110, section 5.6.7)."""
    head, _, _ = answer.partition(b"\r\n\r\n")
    found = re.findall(rb"(?im)^date: *(.*?)\r?$", head)
    assert all(parsedate_to_datetime(date.decode()) for date in found)
    return found


def test_werkzeugs_server_adds_a_date_to_the_one_of_its_conditional_response(
    werkzeug: Callable[[Any], BaseWSGIServer],
) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        return Response("x").make_conditional(environ)(environ, start_response)

    assert len(dates(ask(werkzeug(application).port, REQUEST))) == 2


LINES = {  # beside Host
    "GET / HTTP/1.1": (200, ""),
    "HEAD / HTTP/1.1": (200, ""),
    "GET / HTTP/1.0": (200, ""),
    "GET /r/den HTTP/1.1": (200, ""),
    "GET /static/chat/chat.js HTTP/1.1": (200, ""),
    "GET /static/base.css HTTP/1.1": (206, "Range: bytes=0-9"),
    "GET /icon.svg HTTP/1.1": (404, ""),
    "GET /guide HTTP/1.1": (200, ""),
    "GET /limits HTTP/1.1": (200, ""),
    "GET /log.txt HTTP/1.1": (200, ""),
    "GET /r/DEN HTTP/1.1": (308, ""),
    "OPTIONS / HTTP/1.1": (204, ""),
    "PUT / HTTP/1.1": (405, ""),
    "POST /say HTTP/1.1": (201, "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"),
    "POST /say?name=admin HTTP/1.1": (400, "Content-Length: 2\r\n\r\nhi"),
    "GET /ws HTTP/1.1": (426, ""),
    "GET /readyz HTTP/1.1": (200, ""),
    "GET /livez HTTP/1.1": (400, "no header"),
}


@pytest.mark.parametrize("line", LINES)
def test_each_of_threadchats_answers_has_one_date(server: Running, line: str) -> None:
    status, more = LINES[line]
    answer = ask(server.port, f"{line}\r\nHost: localhost\r\n{more}\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert len(dates(answer)) == 1


def test_what_has_not_changed_a_foreign_host_and_a_full_chat_are_answered_with_one_date_too(serve: Serve) -> None:
    server = serve(max_clients=1, allow_hosts=("127.0.0.1",))
    etag = request(server, "GET", "/").headers["ETag"]
    with Peer(server.port):
        for headers, path, status in [
            ({"If-None-Match": etag}, "/", 304),
            ({"Host": "evil.example"}, "/", 421),
            (HANDSHAKE, "/ws", 503),
            ({**HANDSHAKE, "Origin": "http://evil.example"}, "/ws", 403),
        ]:
            answer = request(server, "GET", path, headers)
            assert (answer.status, len(answer.headers.get_all("Date", []))) == (status, 1)


def test_a_handshakes_answer_has_no_date(server: Running) -> None:
    """None is needed in 1xx (RFC 9110, section 6.6.1), and wsproto sends none."""
    assert "Date" not in handshake(server).headers
