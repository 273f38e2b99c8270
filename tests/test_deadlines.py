"""The time limits of plain requests, and the limit on the connections that wait to be read."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from helpers import LIMIT, Clock, Peer, Serve, drip, go, read_all, until

from threadchat.web import deadlines
from threadchat.web.deadlines import PendingRequests


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(deadlines, "time", clock)
    return clock


@pytest.fixture
def pairs() -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    """Makes a server's socket and its peer's."""
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


def test_a_request_has_the_wait_to_be_read_and_the_same_to_be_answered(clock: Clock, pairs: Pairs) -> None:
    requests = PendingRequests(wait=10.0, most_unread=9)
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
    requests = PendingRequests(wait=10.0, most_unread=9)
    connection, peer = pairs()
    requests.add(connection)
    requests.was_read(connection)
    connection.setblocking(False)
    clock.now += 10.0
    requests.drop_overdue()
    assert not dropped(peer)
    assert not requests._deadlines


def test_one_unread_connection_too_many_costs_the_oldest_its_place(clock: Clock, pairs: Pairs) -> None:
    requests = PendingRequests(wait=10.0, most_unread=2)
    (first, a), (second, b), (third, c) = pairs(), pairs(), pairs()
    requests.add(first)
    requests.add(second)
    clock.now += deadlines.LEAST_WAIT
    requests.add(third)
    assert [dropped(peer) for peer in (a, b, c)] == [True, False, False]


def test_a_request_that_was_read_does_not_count_as_unread(clock: Clock, pairs: Pairs) -> None:
    requests = PendingRequests(wait=10.0, most_unread=1)
    (first, a), (second, b) = pairs(), pairs()
    requests.add(first)
    requests.was_read(first)
    clock.now += deadlines.LEAST_WAIT
    requests.add(second)
    assert [dropped(peer) for peer in (a, b)] == [False, False]


def test_add_waits_for_a_connection_that_has_only_just_been_accepted(
    monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    """When a crowd arrives at once, the server may be too busy to read all requests: none of the peers is at fault."""
    monkeypatch.setattr(deadlines, "LEAST_WAIT", LIMIT)
    requests = PendingRequests(wait=10.0, most_unread=1)
    (first, a), (second, b) = pairs(), pairs()
    requests.add(first)
    adding = go(requests.add, second)
    until(lambda: requests._changed._waiters)  # type: ignore[attr-defined]
    requests.was_read(first)
    adding.result(LIMIT / 2)
    assert [dropped(peer) for peer in (a, b)] == [False, False]


def test_a_request_that_the_server_has_not_read_costs_no_peer_its_place(
    monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    """However long that takes: it is the server that is busy, as when thousands come back at once."""
    monkeypatch.setattr(deadlines, "LEAST_WAIT", 0.0)
    monkeypatch.setattr(deadlines, "LOOK_AGAIN", 0.001)
    requests = PendingRequests(wait=10.0, most_unread=1)
    (first, a), (second, b) = pairs(), pairs()
    a.send(b"GET")
    requests.add(first)
    looks = Looks(monkeypatch)
    adding = go(requests.add, second)
    until(lambda: len(looks.found) > 2)
    assert set(looks.found) == {True}
    first.recv(3)  # of a request that does not go on, the peer is at fault
    adding.result(LIMIT)
    assert [dropped(peer) for peer in (a, b)] == [True, False]
    first.close()  # by its thread, which has not said so yet
    assert deadlines._has_come(first)


class Looks:
    """Notes what is found of the connections that are looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: list[bool] = []
        self._look = deadlines._has_come
        monkeypatch.setattr(deadlines, "_has_come", self)

    def __call__(self, connection: socket.socket) -> bool:
        self.found.append(self._look(connection))
        return self.found[-1]


def test_silent_connections_keep_no_client_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "LEAST_WAIT", 0.0)
    server = serve(max_unread_requests=5, request_wait=LIMIT * 2)
    with ExitStack() as stack:
        for _ in range(4):
            silent = [
                stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port), LIMIT)))
                for _ in range(5)
            ]
            with Peer(server.port) as peer:
                peer.talk("let in")
            assert silent[0].recv(1) == b""
        until(lambda: len(server.server._server._connections) == 4, "the end of the connections that were dropped")


def test_a_request_sent_a_byte_at_a_time_has_the_same_deadline(serve: Serve) -> None:
    server = serve(request_wait=0.3)
    with closing(socket.create_connection(("127.0.0.1", server.port), LIMIT)) as dawdler:
        endless = b"GET /ws HTTP/1.1\r\nX: " + b"x" * 2000
        assert not drip(dawdler, endless, lambda: select.select([dawdler], [], [], 0.01))
    until(lambda: not server.server._server._connections, "the end of its thread")


def test_a_body_that_is_not_wanted_has_the_same_deadline(serve: Serve) -> None:
    server = serve(request_wait=0.3)
    with closing(socket.create_connection(("127.0.0.1", server.port), LIMIT)) as dawdler:
        dawdler.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nhalf a body")
        assert read_all(dawdler).startswith(b"HTTP/1.1 405 ")
    until(lambda: not server.server._server._connections, "the end of its thread")
