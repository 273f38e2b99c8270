"""Admission: how many clients the server takes, in all and from each address."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from helpers import LIMIT, Peer, Serve, all_gone, errors, go, handshake, until

from threadchat.web.admission import Admission, Full
from threadchat.web.handler import RequestHandler


def admitted(admission: Admission, stack: ExitStack, address: str) -> bool:
    try:
        stack.enter_context(admission.admit(address))
    except Full:
        return False
    return True


def test_as_many_clients_as_the_limit_are_admitted_and_then_none_until_one_has_gone() -> None:
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
def test_the_limit_per_address_is_one_per_ipv6_network_and_none_for_this_machine(
    first: str, second: str, same: bool
) -> None:
    admission = Admission(most=9, most_per_address=1)
    with ExitStack() as stack:
        assert admitted(admission, stack, first)
        assert admitted(admission, stack, second) is not same
    with ExitStack() as stack:
        assert admitted(admission, stack, second)


def test_each_client_has_a_number_of_its_own() -> None:
    admission = Admission(most=2, most_per_address=2)
    with admission.admit("192.0.2.1") as first, admission.admit("192.0.2.2") as second:
        pass
    with admission.admit("192.0.2.1") as third:
        assert [first, second, third] == [1, 2, 3]


def test_an_address_is_forgotten_with_its_last_client() -> None:
    admission = Admission(most=9, most_per_address=2)
    with admission.admit("192.0.2.1"), admission.admit("192.0.2.1"), admission.admit("192.0.2.2"):
        assert len(admission._from) == 2
    assert not admission._from


def test_wait_until_empty_returns_when_the_last_client_has_gone() -> None:
    admission = Admission(most=9, most_per_address=9)
    with admission.admit("192.0.2.1"):
        with admission.admit("192.0.2.2"):
            waiting = go(admission.wait_until_empty)
        until(lambda: admission._changed._waiters)  # type: ignore[attr-defined]
        assert not waiting.done()
    waiting.result(LIMIT)


def test_where_the_server_is_full_the_next_handshake_is_answered_with_503(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(max_clients=2)
    with Peer(server.port) as first, Peer(server.port):
        for _ in range(3):
            answer = handshake(server)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
            assert b"the server is full" in answer.body
        first.talk("the others stay")
        first.close()
        until(lambda: len(server.clients) == 1)
        until(lambda: handshake(server).status == 101, "room for one more")
    all_gone(server)
    assert errors(caplog) == ['refused a client of room "lobby" from 127.0.0.1: the server is full']


def test_where_an_address_has_too_many_clients_its_next_handshake_is_answered_with_503(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"]
    environ = RequestHandler.make_environ

    def from_elsewhere(handler: RequestHandler) -> dict[str, object]:
        return {**environ(handler), "REMOTE_ADDR": addresses.pop(0)}

    monkeypatch.setattr(RequestHandler, "make_environ", from_elsewhere)
    server = serve(max_clients_per_address=1)
    with Peer(server.port) as first:
        answer = handshake(server)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
        assert b"too many clients from this address" in answer.body
        with Peer(server.port) as other:
            other.talk("another address")
        first.close()
        until(lambda: not server.app.admission._from)
        with Peer(server.port) as again:
            again.talk("back")
