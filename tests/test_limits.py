"""The limits one by one: who is admitted, which request is dropped, what is complained of."""

from __future__ import annotations

import http.client
import logging
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from helpers import (
    HANDSHAKE,
    LIMIT,
    TEXT,
    Peer,
    Running,
    Serve,
    all_gone,
    drip,
    go,
    until,
)

import threadchat.web.server
import threadchat.websocket.connection
from threadchat.web import limits
from threadchat.web.limits import Admission, Complaints, Full, Requests


class Clock:
    """Stands where the module has `time`: it goes only when told. A sleep makes it go."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


# Admission


def admitted(admission: Admission, stack: ExitStack, address: str) -> bool:
    try:
        stack.enter_context(admission.admit(address))
    except Full:
        return False
    return True


def test_so_many_clients_are_admitted_and_no_more_until_one_has_gone() -> None:
    admission = Admission(most=2, most_per_address=2)
    with ExitStack() as stack:
        with admission.admit("192.0.2.1"):
            assert admitted(admission, stack, "192.0.2.2")
            with pytest.raises(Full, match="the server is full"), admission.admit("192.0.2.3"):
                pass
        assert admitted(admission, stack, "192.0.2.3")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::1", True),
        ("127.0.0.1", "127.0.0.1", False),
        ("::1", "::1", False),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", False),
        ("", "", False),
        ("<local>", "<local>", False),
    ],
)
def test_each_address_has_its_share_but_this_machine_has_all(first: str, second: str, same: bool) -> None:
    admission = Admission(most=9, most_per_address=1)
    with ExitStack() as stack:
        assert admitted(admission, stack, first)
        assert admitted(admission, stack, second) is not same
    with ExitStack() as stack:
        assert admitted(admission, stack, second)


def test_addresses_are_forgotten_with_their_clients() -> None:
    admission = Admission(most=9, most_per_address=2)
    with admission.admit("192.0.2.1"), admission.admit("192.0.2.1"), admission.admit("192.0.2.2"):
        assert len(admission._from) == 2
    assert not admission._from


def test_who_waits_for_the_last_client_to_leave_waits_no_longer() -> None:
    admission = Admission(most=9, most_per_address=9)
    with admission.admit("192.0.2.1"):
        with admission.admit("192.0.2.2"):
            waiting = go(admission.wait_until_empty)
        until(lambda: admission._changed._waiters)  # type: ignore[attr-defined]
        assert not waiting.done()
    waiting.result(LIMIT)


def handshake(server: Running) -> tuple[int, str | None, bytes]:
    """The status of a handshake's answer, its Retry-After and its body; the connection is closed at once."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)) as connection:
        connection.request("GET", "/ws", headers=HANDSHAKE)
        answer = connection.getresponse()
        return answer.status, answer.headers["Retry-After"], answer.read()


def test_where_the_server_is_full_the_next_handshake_is_answered_with_503(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(max_clients=2)
    with Peer(server.port) as first, Peer(server.port):
        for _ in range(3):
            status, retry_after, body = handshake(server)
            assert (status, retry_after) == (503, "10")
            assert b"the server is full" in body
        first.send(TEXT, "the others stay")
        assert first.lines(1) == ["the others stay"]
        first.close()
        until(lambda: len(server.clients) == 1)
        until(lambda: handshake(server)[0] == 101, "room for one more")
    all_gone(server)
    complaints = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert complaints == ["refused a client from 127.0.0.1: the server is full"]


def test_where_an_address_has_too_many_clients_its_next_handshake_is_answered_with_503(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"]
    environ = threadchat.web.server._RequestHandler.make_environ

    def from_elsewhere(handler: threadchat.web.server._RequestHandler) -> dict[str, object]:
        return {**environ(handler), "REMOTE_ADDR": addresses.pop(0)}

    monkeypatch.setattr(threadchat.web.server._RequestHandler, "make_environ", from_elsewhere)
    server = serve(max_clients_per_address=1)
    with Peer(server.port) as first:
        status, retry_after, body = handshake(server)
        assert (status, retry_after) == (503, "10")
        assert b"too many clients from this address" in body
        with Peer(server.port) as other:
            other.send(TEXT, "another address")
            assert other.lines(1) == ["another address"]
        first.close()
        until(lambda: not server.app._admission._from)
        with Peer(server.port) as again:
            again.send(TEXT, "back")
            assert again.lines(1) == ["back"]


# Requests


@pytest.fixture
def pairs() -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    """Makes a connection and its peer."""
    with ExitStack() as stack:

        def make() -> tuple[socket.socket, socket.socket]:
            one, other = socket.socketpair()
            other.setblocking(False)
            return stack.enter_context(closing(one)), stack.enter_context(closing(other))

        yield make


Pairs = Callable[[], tuple[socket.socket, socket.socket]]


def dropped(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_request_has_its_time_to_be_read_and_as_much_to_be_answered(clock: Clock, pairs: Pairs) -> None:
    requests = Requests(wait=10.0, most_unread=9)
    (unread, silent), (read, busy), (gone, _) = pairs(), pairs(), pairs()
    for connection in (unread, read, gone):
        requests.add(connection)
    clock.now += 9.0
    requests.was_read(read)
    requests.forget(gone)
    requests.drop_overdue()
    assert not dropped(silent)
    clock.now += 1.0
    requests.drop_overdue()
    assert dropped(silent)
    assert not dropped(busy)
    clock.now += 9.0
    requests.drop_overdue()
    assert dropped(busy)
    requests.forget(unread)
    requests.forget(read)
    assert not requests._deadlines
    assert not requests._unread


def test_a_websocket_has_no_deadline(clock: Clock, pairs: Pairs) -> None:
    requests = Requests(wait=10.0, most_unread=9)
    connection, peer = pairs()
    requests.add(connection)
    requests.was_read(connection)
    connection.setblocking(False)
    clock.now += 10.0
    requests.drop_overdue()
    assert not dropped(peer)
    assert not requests._deadlines


def test_one_unread_request_too_many_costs_the_oldest_its_place(clock: Clock, pairs: Pairs) -> None:
    requests = Requests(wait=10.0, most_unread=2)
    (first, a), (second, b), (third, c) = pairs(), pairs(), pairs()
    requests.add(first)
    requests.add(second)
    clock.now += limits.LEAST_WAIT
    requests.add(third)
    assert [dropped(peer) for peer in (a, b, c)] == [True, False, False]


def test_a_request_that_was_read_takes_no_place_among_the_unread(clock: Clock, pairs: Pairs) -> None:
    requests = Requests(wait=10.0, most_unread=1)
    (first, a), (second, b) = pairs(), pairs()
    requests.add(first)
    requests.was_read(first)
    clock.now += limits.LEAST_WAIT
    requests.add(second)
    assert [dropped(peer) for peer in (a, b)] == [False, False]


def test_a_request_that_has_only_just_come_is_not_dropped_but_waited_for(
    monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    """A crowd arrives at once, and the server is too busy to read all their requests: nobody is at fault."""
    monkeypatch.setattr(limits, "LEAST_WAIT", LIMIT)
    requests = Requests(wait=10.0, most_unread=1)
    (first, a), (second, b) = pairs(), pairs()
    requests.add(first)
    adding = go(requests.add, second)
    until(lambda: requests._changed._waiters)  # type: ignore[attr-defined]
    requests.was_read(first)
    adding.result(LIMIT / 2)
    assert [dropped(peer) for peer in (a, b)] == [False, False]


def test_silent_connections_lock_nobody_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEAST_WAIT", 0.0)
    server = serve(max_unread_requests=5, request_wait=LIMIT * 2)
    with ExitStack() as stack:
        for _ in range(4):
            silent = [
                stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port), LIMIT)))
                for _ in range(5)
            ]
            with Peer(server.port) as peer:
                peer.send(TEXT, "let in")
                assert peer.lines(1) == ["let in"]
            assert silent[0].recv(1) == b""
        until(lambda: len(server.server._server._connections) == 4, "the end of those who were dropped")


def test_a_request_that_comes_a_byte_at_a_time_has_no_more_time_than_another(serve: Serve) -> None:
    server = serve(request_wait=0.3)
    with closing(socket.create_connection(("127.0.0.1", server.port), LIMIT)) as dawdler:
        endless = b"GET /ws HTTP/1.1\r\nX: " + b"x" * 2000
        assert not drip(dawdler, endless, lambda: select.select([dawdler], [], [], 0.01))
    until(lambda: not server.server._server._connections, "the end of its thread")


def test_a_body_that_nobody_wants_has_no_more_time_either(serve: Serve) -> None:
    server = serve(request_wait=0.3)
    with closing(socket.create_connection(("127.0.0.1", server.port), LIMIT)) as dawdler:
        dawdler.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nhalf a body")
        answer = b""
        while more := dawdler.recv(65536):
            answer += more
        assert answer.startswith(b"HTTP/1.1 405 ")
    until(lambda: not server.server._server._connections, "the end of its thread")


# Complaints


def test_a_complaint_is_written_once_and_then_once_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints(logging.getLogger("threadchat"))
    for number in range(1000):
        complaints.say("no room for %s", number)
    complaints.say("no time")
    clock.now += limits.QUIET
    complaints.say("no room for %s", "the last")
    complaints.say("no time")
    assert [record.getMessage() for record in caplog.records] == [
        "no room for 0",
        "no time",
        "no room for the last (and 999 times before)",
        "no time",
    ]
    assert {record.levelname for record in caplog.records} == {"ERROR"}
