"""Which requests become WebSockets, and what the others are answered. The table of RFC 6455 is in test_protocol.py."""

from __future__ import annotations

import pytest
from helpers import HANDSHAKE, Peer, Running, Serve, all_gone, ask, errors, exchange, handshake
from playwright.sync_api import Browser


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
        (("*",), "no origin at all", 101),
        (("capacitor://localhost",), "capacitor://localhost", 101),
        (("capacitor://localhost",), "ionic://localhost", 403),
        (("file://",), "file://", 101),
        (("file://",), "null", 403),
        (("https://example.org:443/",), "https://example.org", 101),
        (("https://ex\u00e4mple.org",), "https://xn--exmple-cua.org", 101),
    ],
)
def test_origins_can_be_allowed(serve: Serve, allowed: tuple[str, ...], origin: str, status: int) -> None:
    assert handshake(serve(allow_origins=allowed), Host="chat.example.org", Origin=origin).status == status


def test_the_log_names_both_origins(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    assert handshake(server, Host="127.0.0.1:8080", Origin="https://chat.example.org").status == 403
    (line,) = errors(caplog)
    assert "refused a page of origin 'https://chat.example.org': this server is 'http://127.0.0.1:8080'" in line
    assert "a proxy before this server has to pass on the header Host" in line


def test_this_hosts_own_pages_may_connect_where_others_are_allowed_as_well(serve: Serve) -> None:
    server = serve(allow_origins=("https://example.org",))
    assert handshake(server, Host="chat.example.org", Origin="http://chat.example.org").status == 101


def test_a_host_that_is_not_ascii_is_the_senders_mistake(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    assert handshake(server, Host="exa\xe9mple").status == 400
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("status", "version", "headers", "says"),
    [
        (426, "1.1", {"Upgrade": None, "Connection": "close"}, "needs the header Upgrade: websocket"),
        (426, "1.1", {"Upgrade": "", "Connection": "upgrade"}, "needs the header Upgrade: websocket"),
        (426, "1.0", {}, "needs HTTP/1.1 or later"),  # nginx by default
        (400, "1.1", {"Connection": "close"}, "needs the header Connection: Upgrade"),
        (400, "1.1", {"Connection": None}, "needs the header Connection: Upgrade"),
    ],
)
def test_a_proxy_that_does_not_pass_on_the_upgrade_leaves_one_line_that_says_what_to_configure(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    status: int,
    version: str,
    headers: dict[str, str | None],
    says: str,
) -> None:
    server = serve()
    lines = {"Host": "localhost", **HANDSHAKE, **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    for _ in range(3):
        answer = exchange(server.port, f"GET /ws HTTP/{version}\r\n{head}\r\n".encode()).decode()
        assert answer.startswith(f"HTTP/1.1 {status} ")
        assert says in answer
        assert "proxy_set_header Upgrade $http_upgrade" in answer
    (line,) = errors(caplog)
    assert "refused a WebSocket from 127.0.0.1" in line
    assert says in line
    assert "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade" in line


def test_a_browser_that_opens_the_address_as_a_page_leaves_no_line(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(server, "GET", "/ws", {"Connection": "keep-alive"}).status == 426
    assert errors(caplog) == []


@pytest.mark.parametrize("asked", ["chat", "chat, superchat", "graphql-ws"])
def test_a_subprotocol_that_is_not_known_is_answered_without_one(server: Running, asked: str) -> None:
    """RFC 6455, section 4.2.2: a server that agrees to none of them sends no such header."""
    answer = handshake(server, Sec_WebSocket_Protocol=asked)
    assert answer.status == 101
    assert "Sec-WebSocket-Protocol" not in answer.headers
    all_gone(server)


OPEN = """([address, ...protocols]) => new Promise(resolve => {
    const socket = new WebSocket(address, protocols);
    socket.onopen = () => { socket.onclose = null; socket.close(); resolve("open"); };
    socket.onclose = event => resolve(event.code);
})"""


def test_a_browser_that_asks_for_an_unknown_subprotocol_leaves_again(serve: Serve, browser: Browser) -> None:
    """The WebSockets standard of browsers ("establish a WebSocket connection") wants one of those it has asked for."""
    server = serve()
    page = browser.new_page()
    page.goto(server.url + "limits")
    assert page.evaluate(OPEN, [server.ws_url]) == "open"
    assert page.evaluate(OPEN, [server.ws_url, "unknown"]) == 1006
    page.close()
    all_gone(server)


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
