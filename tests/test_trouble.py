"""The server runs out of descriptors, threads or space for its log, or its code fails.

It must log the trouble once, refuse new connections, keep the others, and recover as soon as it can.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import (
    CLOSE,
    LIMIT,
    TEXT,
    Peer,
    Process,
    Serve,
    all_gone,
    ask,
    errors,
    pump_names,
    tcp_pair,
    until,
)
from innocents import INNOCENTS, Chat, Figures, all_descriptors

from threadchat.runtime.system import KEPT_FREE
from threadchat.web import server as server_module
from threadchat.websocket.connection import Connection

NEWCOMERS = 20


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    all_descriptors()
    with Chat(tmp_path) as chat:
        yield chat
        chat.innocents.close()
        assert chat.process.end() == 0


@contextmanager
def limited(pid: int, what: int, soft: int) -> Iterator[None]:
    """Set the soft limit of a resource of the process during a `with` block."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


def answer_to_a_newcomer(port: int) -> bytes:
    """The head of the server's answer to a handshake; empty if there is none."""
    with suppress(EOFError, ConnectionError), Peer(port) as peer:
        return peer.answer
    return b""


def complaints(chat: Chat) -> list[str]:
    """The lines of the server's log, except those at level INFO, which tell of clients that join and leave."""
    return [line for line in chat.process.err.splitlines() if "INFO" not in line]


# Descriptors


def test_without_descriptors_a_new_client_is_refused_with_503_and_the_others_stay(chat: Chat) -> None:
    before = chat.figures()
    most = before.descriptors + NEWCOMERS + KEPT_FREE
    with chat.undisturbed(), limited(chat.process.pid, resource.RLIMIT_NOFILE, most), ExitStack() as stack:
        newcomers = [stack.enter_context(Peer(chat.port)) for _ in range(NEWCOMERS)]
        assert all(peer.answer.startswith(b"HTTP/1.1 101 ") for peer in newcomers)
        for _ in range(50):
            answer = answer_to_a_newcomer(chat.port)
            assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\n")
        until(lambda: chat.figures().descriptors == before.descriptors + NEWCOMERS, "the others' sockets being closed")
        newcomers[0].close()
        until(lambda: answer_to_a_newcomer(chat.port).startswith(b"HTTP/1.1 101 "), "room for one")
    assert answer_to_a_newcomer(chat.port).startswith(b"HTTP/1.1 101 ")
    assert len(complaints(chat)) == 1
    assert "out of file descriptors (see ulimit -n): refused a connection" in complaints(chat)[0]


def test_without_even_spare_descriptors_new_connections_wait_until_the_server_can_accept(chat: Chat) -> None:
    with chat.undisturbed():
        with limited(chat.process.pid, resource.RLIMIT_NOFILE, INNOCENTS // 2):
            waiting = socket.create_connection(("127.0.0.1", chat.port), LIMIT)
            chat.process.wait_for("cannot accept connections: Too many open files")
            for _ in range(10):
                chat.next_round()
        with closing(waiting):
            waiting.sendall(b"GET /limits HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert waiting.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert len(complaints(chat)) == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_the_server_pauses_after_each_accept_that_fails_for_lack_of_a_resource(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """Without the pause socketserver's loop would use a whole processor, since it tries again at once."""
    calls: list[str] = []
    server = serve()
    accept = server.server._server.socket.accept

    def fail_three_times() -> Any:
        if calls.count("accept") == 3:
            return accept()
        calls.append("accept")
        raise OSError(number, os.strerror(number))

    clock = SimpleNamespace(sleep=lambda seconds: calls.append(f"pause of {seconds} s"), monotonic=lambda: 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(server_module, "time", clock)
        patch.setattr(server.server._server, "socket", SimpleNamespace(accept=fail_three_times))
        with Peer(server.port) as peer:
            peer.talk("in the end")
    all_gone(server)
    assert calls == ["accept", "pause of 0.1 s"] * 3
    assert errors(caplog) == [f"cannot accept connections: {os.strerror(number)}"]


# Threads


def test_without_threads_a_new_client_is_refused_with_503_and_the_log_says_so_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    start = threading.Thread.start

    def no_more_requests(thread: threading.Thread) -> None:
        if thread.name == "request":
            raise RuntimeError("can't start new thread")
        start(thread)

    with Peer(server.port) as first:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_more_requests)
            for _ in range(3):
                answer = answer_to_a_newcomer(server.port)
                assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\n")
            first.talk("the others stay")
        with Peer(server.port) as second:
            second.talk("it has recovered")
    all_gone(server)
    assert errors(caplog) == ["out of threads (see ulimit -u): refused a connection"]


def test_a_refused_peer_gets_its_answer_instead_of_a_reset() -> None:
    """A socket that is closed with unread bytes resets its connection, so the request is read first."""
    connection, peer = tcp_pair()
    with closing(peer):
        peer.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with closing(connection):
            until(lambda: select.select([connection], [], [], 0)[0], "the request's arrival")
            server_module._refuse(connection)
        assert peer.recv(65_536).startswith(b"HTTP/1.1 503 ")
        assert peer.recv(1) == b""


def threads_of_this_user() -> int:
    """The number of threads in all of this user's processes."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            count += Figures.of(int(process.name)).threads if process.stat().st_uid == os.getuid() else 0
    return count


@contextmanager
def control_group(pid: int, most: int) -> Iterator[None]:
    """Put the process into a control group of at most `most` threads during a `with` block. Raises OSError."""
    root = next((root for root in map(Path, ("/sys/fs/cgroup/pids", "/sys/fs/cgroup")) if root.is_dir()), Path("/"))
    group = root / f"threadchat-test-{pid}"
    group.mkdir()
    try:
        (group / "pids.max").write_text(f"{most}")
        (group / "cgroup.procs").write_text(f"{pid}")
        yield
    finally:
        (root / "cgroup.procs").write_text(f"{pid}")
        until(lambda: not (group / "cgroup.procs").read_text(), "the process being out of the group")
        group.rmdir()


@contextmanager
def few_threads(pid: int, most: int) -> Iterator[None]:
    """Limit the process to `most` threads during a `with` block. Skips the test if the system cannot do that."""
    with ExitStack() as stack:
        if os.getuid():
            others = threads_of_this_user() - Figures.of(pid).threads
            stack.enter_context(limited(pid, resource.RLIMIT_NPROC, others + most))
        else:  # RLIMIT_NPROC does not limit root
            try:
                stack.enter_context(control_group(pid, most))
            except OSError as error:
                pytest.skip(f"root's threads are only limited by a control group, and there is none here: {error}")
        yield


def test_when_the_system_has_no_more_threads_the_other_clients_stay(chat: Chat) -> None:
    """A new client that gets no thread at all is refused with 503, one that gets no second thread with 1013."""
    before = chat.figures()
    with chat.undisturbed(), few_threads(chat.process.pid, before.threads + 5), ExitStack() as stack:
        for _ in range(2):
            peer = stack.enter_context(Peer(chat.port))
            assert peer.answer.startswith(b"HTTP/1.1 101 ")
            line = f"joined on port {peer.socket.getsockname()[1]}"
            peer.send(TEXT, line)
            chat.hears(line)
        assert chat.figures().threads == before.threads + 4
        halfway = stack.enter_context(Peer(chat.port))
        while (got := halfway.receive()).opcode != CLOSE:
            pass
        assert got.close_code == 1013
        until(lambda: chat.figures().threads == before.threads + 4, "the end of its only thread")
        with closing(socket.create_connection(("127.0.0.1", chat.port), LIMIT)):  # takes the last thread
            until(lambda: chat.figures().threads == before.threads + 5, "its thread")
            for _ in range(50):
                assert answer_to_a_newcomer(chat.port).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer_to_a_newcomer(chat.port).startswith(b"HTTP/1.1 101 ")
    said = complaints(chat)
    assert sum("out of threads (see ulimit -u): refused a connection" in line for line in said) == 1
    assert sum("has no write pump: can't start new thread" in line for line in said) == 1
    assert len(said) == 2


# The log


def test_when_the_disk_is_full_the_log_misses_lines_and_the_chat_misses_nothing(chat: Chat) -> None:
    until(lambda: chat.process.err.count("joined") == INNOCENTS, "the log having a line for each client")
    threads, size = chat.figures().threads, len(chat.process.err)
    with chat.undisturbed(), limited(chat.process.pid, resource.RLIMIT_FSIZE, size):
        for _ in range(50):
            answer_to_a_newcomer(chat.port)
        until(lambda: chat.figures().threads == threads, "the end of them all")
        assert len(chat.process.err) == size
    answer_to_a_newcomer(chat.port)
    chat.process.wait_for(f"client {INNOCENTS + 51} left")
    assert "Traceback" not in chat.process.err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_the_server_serves_and_stops_as_usual_when_it_cannot_log(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "threadchat", "serve", "--port", "0"]
    with Process(tmp_path, ["sh", "-c", 'exec "$@" 2>/dev/full', "sh", *command]) as process:
        for _ in range(50):
            with Peer(process.port) as peer:
                peer.talk("unheard of")
        assert process.end() == 0


# Code that fails


def fails(*_: object) -> Any:
    raise ZeroDivisionError("on purpose")


def test_an_exception_in_the_application_is_answered_with_500_and_logged(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    with Peer(server.port) as peer:
        with monkeypatch.context() as patch:
            patch.setattr(server.app, "_respond", fails)
            assert ask(server, "GET", "/").status == 500
        assert ask(server, "GET", "/").status == 200
        peer.talk("the others go on")
    all_gone(server)
    until(lambda: not server.server._server._connections, "the end of its thread")
    (error,) = errors(caplog)
    assert "ZeroDivisionError: on purpose" in error


def test_an_exception_in_a_read_pump_ends_only_its_client_with_1011(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    messages = Connection.__iter__

    def some_fail(connection: Connection) -> Iterator[str]:
        for message in messages(connection):
            yield fails() if message == "fail" else message

    monkeypatch.setattr(Connection, "__iter__", some_fail)
    with Peer(server.port) as unlucky, Peer(server.port) as other:
        until(lambda: len(server.clients) == 2)
        unlucky.send(TEXT, "fail")
        (last,) = unlucky.receive_all()
        assert last.close_code == 1011
        other.talk("the others go on")
    all_gone(server)
    until(lambda: not server.server._server._connections, "the end of its thread")
    (error,) = errors(caplog)
    assert "ZeroDivisionError: on purpose" in error


def test_an_exception_in_a_write_pump_ends_only_its_client(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda hook: raised.append((hook.thread.name, hook.exc_type)))
    doomed: set[Connection] = set()
    real = Connection.encode
    # Before the clients join: a write pump that waits for messages has looked the method up.
    monkeypatch.setattr(Connection, "encode", lambda self, lines: (fails if self in doomed else real)(self, lines))
    with Peer(server.port) as unlucky, Peer(server.port) as other:
        until(lambda: len(server.clients) == 2)
        doomed.update(client.connection for client in server.clients if client.number == 1)
        other.talk("one message, and another")
        (last,) = unlucky.receive_all()
        assert last.close_code == 1011
        unlucky.close()
        until(lambda: pump_names() == ["readPump-2", "writePump-2"], "the end of its pumps")
        other.talk("and the others go on")
    all_gone(server)
    assert raised == [("writePump-1", ZeroDivisionError)]
