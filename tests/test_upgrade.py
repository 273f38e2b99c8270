"""Which requests become WebSockets, and what the others are answered. The table of RFC 6455 is in test_protocol.py."""

from __future__ import annotations

import pytest
from helpers import Peer, Running, Serve, all_gone, ask, handshake


def test_a_browser_that_opens_the_address_as_a_page_is_told_what_it_is_for(server: Running) -> None:
    answer = ask(server, "GET", "/ws")
    assert answer.status == 426
    assert b"for WebSockets" in answer.body


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("chat.example.org", "http://chat.example.org"),
        ("chat.example.org", "https://chat.example.org"),  # behind a proxy that speaks TLS
        ("chat.example.org:80", "http://chat.example.org"),
        ("chat.example.org", "http://chat.example.org:80"),
        ("chat.example.org:443", "https://chat.example.org"),
        ("chat.example.org:8080", "http://chat.example.org:8080"),
        ("Chat.Example.ORG", "http://chat.example.org"),
        ("chat.example.org", "HTTP://CHAT.EXAMPLE.ORG"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("my_host:8080", "http://my_host:8080"),
        ("127.0.0.1:8080", None),
    ],
)
def test_pages_of_this_host_may_connect(server: Running, host: str, origin: str | None) -> None:
    assert handshake(server, Host=host, Origin=origin).status == 101


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("chat.example.org", "http://example.org"),
        ("chat.example.org", "http://evil.example"),
        ("chat.example.org", "http://chat.example.org.evil.example"),
        ("chat.example.org", "http://evilchat.example.org"),
        ("chat.example.org", "http://chat.example.org:8080"),
        ("chat.example.org:8080", "http://chat.example.org"),
        ("chat.example.org:8080", "http://chat.example.org:8081"),
        ("chat.example.org:443", "http://chat.example.org"),
        ("chat.example.org", "http://chat.example.org@evil.example"),
        ("chat.example.org", "file://chat.example.org"),
        ("chat.example.org", "null"),
        ("chat.example.org", ""),
        ("chat.example.org", "chat.example.org"),
        ("chat.example.org", "http://["),
        ("chat.example.org", "http://chat.example.org, http://evil.example"),
        ("my_host:8080", "null"),
        ("", "null"),
        ("", "http://"),
    ],
)
def test_pages_of_other_origins_may_not_connect(server: Running, host: str, origin: str) -> None:
    """RFC 6455, section 10.2."""
    answer = handshake(server, Host=host, Origin=origin)
    assert answer.status == 403
    assert b"--allow-origin" in answer.body


@pytest.mark.parametrize(
    ("allowed", "origin", "status"),
    [
        (("https://example.org",), "https://example.org", 101),
        (("https://example.org", "http://localhost:3000"), "http://localhost:3000", 101),
        (("https://example.org",), "http://example.org", 403),
        (("https://example.org",), "https://example.org.evil.example", 403),
        (("https://example.org",), "null", 403),
        (("null",), "null", 101),
        (("*",), "https://anything.example", 101),
        (("*",), "null", 101),
    ],
)
def test_origins_can_be_allowed(serve: Serve, allowed: tuple[str, ...], origin: str, status: int) -> None:
    assert handshake(serve(allow_origins=allowed), Host="chat.example.org", Origin=origin).status == status


def test_this_hosts_own_pages_may_connect_where_others_are_allowed_as_well(serve: Serve) -> None:
    server = serve(allow_origins=("https://example.org",))
    assert handshake(server, Host="chat.example.org", Origin="http://chat.example.org").status == 101


def test_a_host_that_is_not_ascii_is_the_senders_mistake(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    assert handshake(server, Host="exa\xe9mple").status == 400
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (400, {"Sec-WebSocket-Key": None}),
        (400, {"Connection": "close"}),
        (403, {"Origin": "http://evil.example"}),
        (426, {"Sec-WebSocket-Version": "8"}),
        (426, {"Upgrade": None}),
    ],
)
def test_a_refused_handshake_leaves_no_client_and_no_thread(
    server: Running, status: int, changes: dict[str, str | None]
) -> None:
    assert handshake(server, **changes).status == status
    all_gone(server)
    with Peer(server.port) as peer:
        peer.talk("the chat goes on")
