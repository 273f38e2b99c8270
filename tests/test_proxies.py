"""What proxies write into X-Forwarded-For and -Proto, and what the chat makes of it. Forged ones: test_security.py."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import Serve, all_gone, ask, errors, handshake
from werkzeug.test import create_environ, run_wsgi_app
from werkzeug.wrappers import Request, Response

from threadchat.web.proxies import behind_proxies

PROXY = "198.51.100.1"


def seen(count: int = 1, proxy: str = PROXY, **headers: str) -> Request:
    """The request that the application sees behind `count` proxies, of which the nearest has the address `proxy`."""
    environ = create_environ(
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        environ_base={"REMOTE_ADDR": proxy, "REMOTE_PORT": 4711},
    )
    requests = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        requests.append(Request(environ))
        return Response("")(environ, start_response)

    run_wsgi_app(behind_proxies(app, count), environ)
    return requests[0]


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),  # Azure, IIS, AWS with routing.http.xff_client_port
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:443", "fe80::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:4711", "203.0.113.9"),
        ("::ffff:cb00:7109", "203.0.113.9"),
        ("192.0.2.1, 203.0.113.9:4711", "203.0.113.9"),
        ("unknown, 203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_address_is_the_one_in_the_header_without_port_and_zone(
    value: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    request = seen(X_Forwarded_For=value)
    assert request.remote_addr == address
    assert "REMOTE_PORT" not in request.environ
    assert errors(caplog) == []


@pytest.mark.parametrize(
    "value",
    [
        "unknown",
        "_hidden",
        "_SEVKISEK:8080",
        "-",
        "localhost",
        "203.0.113",
        "203.0.113.9:",
        "203.0.113.9:http",
        "203.0.113.09",
        "[203.0.113.9]:80",
        "[2001:db8::1",
        "2001:db8::1]:443",
        "[2001:db8::1]443",
        "2001:db8::1::",
        "203.0.113.9%eth0",
        "[]",
        ":",
    ],
)
def test_what_is_no_address_leaves_the_proxys_and_one_line(value: str, caplog: pytest.LogCaptureFixture) -> None:
    request = seen(X_Forwarded_For=value)
    assert (request.remote_addr, request.environ["REMOTE_PORT"]) == (PROXY, 4711)
    assert errors(caplog) == [f"X-Forwarded-For has {value!r} where an address should be"]


def test_a_hundred_headers_without_an_address_leave_one_line(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(trusted_proxies=1)
    for _ in range(100):
        assert ask(server, "GET", "/limits", {"X-Forwarded-For": "unknown"}).status == 200
    assert len(errors(caplog)) == 1


def test_behind_a_proxy_that_adds_ports_each_address_has_a_limit_of_its_own(serve: Serve) -> None:
    server = serve(trusted_proxies=1, max_clients_per_address=1)
    for number in range(10):
        assert handshake(server, X_Forwarded_For=f"203.0.113.{number}:4711").status == 101
        assert handshake(server, X_Forwarded_For=f"[2001:db8:0:{number}::1]:4711").status == 101
    all_gone(server)


@pytest.mark.parametrize(
    ("count", "value", "scheme"),
    [
        (1, "https", "https"),
        (1, "http", "http"),
        (1, "wss", "https"),  # Traefik
        (1, "ws", "http"),
        (1, "HTTPS", "https"),
        (1, "http, https", "https"),  # the client's own word, and the proxy's
        (1, "https,http", "http"),
        (2, "https, http", "https"),
        (2, "http, wss, http", "https"),
        (2, "https", "https"),  # one of the two has replaced it, or passed it on
        (1, "", "http"),
        (1, ",", "http"),
    ],
)
def test_the_scheme_is_the_one_in_the_header(
    count: int, value: str, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert seen(count, X_Forwarded_Proto=value).scheme == scheme
    assert errors(caplog) == []


@pytest.mark.parametrize("value", ["javascript", "https://", "h2", "\x1b[31mhttps"])
def test_what_is_no_scheme_leaves_the_connections_own_and_one_line(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert seen(X_Forwarded_Proto=value).scheme == "http"
    assert errors(caplog) == [f"X-Forwarded-Proto has {value!r} where http or https should be"]


@pytest.mark.parametrize("proto", ["https", "wss", "WSS", "ws, wss"])
def test_a_page_without_tls_cannot_join_a_chat_with_tls(serve: Serve, proto: str) -> None:
    server = serve(trusted_proxies=1)
    own = {"Host": "chat.example.org", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": proto}
    assert handshake(server, Origin="http://chat.example.org", **own).status == 403
    assert handshake(server, Origin="https://chat.example.org", **own).status == 101
    all_gone(server)


@pytest.mark.parametrize(
    ("proxy", "headers", "lines"),
    [
        (PROXY, {"Upgrade": "websocket"}, 1),
        (PROXY, {"Upgrade": "websocket", "X-Forwarded-For": "192.0.2.7"}, 1),
        (PROXY, {"Upgrade": "websocket", "X-Forwarded-For": "192.0.2.7, 192.0.2.8"}, 0),
        (PROXY, {"Upgrade": "websocket", "X-Forwarded-For": f"192.0.2.7, {PROXY}"}, 0),
        (PROXY, {}, 0),  # a check of the proxy's own
        ("127.0.0.1", {"Upgrade": "websocket"}, 0),  # this machine's clients have no limit of their own
    ],
)
def test_proxies_that_forget_the_address_leave_a_line_that_says_what_to_configure(
    proxy: str, headers: dict[str, str], lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert seen(2, proxy, **headers).remote_addr in (proxy, "192.0.2.7")
    assert [line.partition(":")[0] for line in errors(caplog)] == [
        f"a WebSocket from {proxy} came without the client's address"
    ] * lines
