"""The WSGI application over HTTP: the page, its files, and who may open a WebSocket."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from helpers import HANDSHAKE, LIMIT, Running, Serve, all_gone, ask, handshake
from websockets.sync.client import connect

from threadchat.web.app import SECURITY_HEADERS

PAGES = ["/", "/guide"]


@pytest.mark.parametrize(("path", "title"), [("/", b"threadchat"), ("/guide", b"threadchat: the guide")])
def test_get_gives_the_page(server: Running, path: str, title: bytes) -> None:
    answer = ask(server, "GET", path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"<title>%b</title>" % title in answer.body


@pytest.mark.parametrize("path", PAGES)
def test_head_gives_the_headers_of_the_page_and_nothing_else(server: Running, path: str) -> None:
    got, head = ask(server, "GET", path), ask(server, "HEAD", path)
    assert head.status == 200
    assert head.headers["Content-Type"] == "text/html; charset=utf-8"
    assert head.headers["Content-Length"] == str(len(got.body))
    assert head.body == b""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("chat/chat.js", "text/javascript"),
        ("cloth.css", "text/css"),
        ("guide/guide.css", "text/css"),
        ("chat/chat.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
        ("chat/index.html", "text/html"),
    ],
)
def test_the_pages_files_have_their_types(server: Running, name: str, kind: str) -> None:
    answer = ask(server, "GET", f"/static/{name}")
    assert answer.status == 200
    assert answer.headers.get_content_type() == kind
    assert answer.body


class References(HTMLParser):
    """What the page refers to, and what its content security policy would not run."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.forbidden: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        for name, value in attrs:
            if name in ("src", "href"):
                self.addresses.append(value or "")
            if name == "style" or name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.forbidden.append(f"<{tag} {name}={value!r}>")

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style") and data.strip():
            self.forbidden.append(f"<{self._inside}>{data}")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def page_references(html: str) -> References:
    references = References()
    references.feed(html)
    references.close()
    return references


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_nothing_that_its_content_security_policy_forbids(server: Running, path: str) -> None:
    assert page_references(ask(server, "GET", path).body.decode()).forbidden == []


@pytest.mark.parametrize(
    "html",
    [
        "<script>f()</script>",
        "<style>a {}</style>",
        "<p style='x'>",
        "<p onclick='f()'>",
        "<a href='javascript:f()'>",
    ],
)
def test_the_check_of_the_page_finds_what_is_forbidden(html: str) -> None:
    assert len(page_references(html).forbidden) == 1


@pytest.mark.parametrize(("path", "some"), [("/", "static/chat/chat.js"), ("/guide", "static/guide/guide.css")])
def test_all_that_a_page_refers_to_is_there_and_relative(server: Running, path: str, some: str) -> None:
    addresses = page_references(ask(server, "GET", path).body.decode()).addresses
    assert some in addresses
    for address in addresses:
        if address.startswith("https://"):
            continue  # another's page
        assert not address.startswith("/")  # or it would not be found where the chat is mounted below a path
        assert ask(server, "GET", urljoin(path, address)).status == 200


@pytest.mark.parametrize("path", ["/", "/guide", "/static/chat/chat.js", "/limits", "/ws"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(server: Running, method: str, path: str) -> None:
    answer = ask(server, method, path, HANDSHAKE if path == "/ws" else {})
    assert answer.status == 405
    assert "GET" in re.split(", *", answer.headers["Allow"])


@pytest.mark.parametrize(
    "path", ["/nothing", "/ws/", "/guide/", "/limits/", "/static", "/static/", "/static/nothing.js", "*"]
)
def test_other_paths_are_not_found(server: Running, path: str) -> None:
    assert ask(server, "GET", path).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/../setup.cfg",
        "/static/../../setup.cfg",
        "/static/../src/threadchat/web/app.py",
        "/static/%2e%2e/setup.cfg",
        "/static/..%2fsetup.cfg",
        "/static/%2e%2e%2fsetup.cfg",
        "/static/..%5csetup.cfg",
        "/static/..\\setup.cfg",
        "/static/./chat/chat.js/../../setup.cfg",
        "/static/%2e%2e%2f%2e%2e%2fsetup.cfg",
        "/static/%252e%252e%252fsetup.cfg",
        "/static/%c0%ae%c0%ae/setup.cfg",
        "/static/%ef%bc%8e%ef%bc%8e/setup.cfg",
        "/static/....//setup.cfg",
        "/static/..;/setup.cfg",
        "/static/%5c%5cserver%5cshare",
        "/static/C:%5cwindows",
        "/static/file:///etc/passwd",
        "/static/~root",
        "/static/",
        "/static/.",
        "/static/..",
        "/static/%2e%2e",
        "/static/%0a",
        "/static/%2fetc/passwd",
        "/static//etc/passwd",
        "/static/%00",
        "/static/chat/chat.js%00.html",
        "/static/%ff",
        "/static/" + "a" * 5000,
        "//etc/passwd",
        "/../../etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_pages_folder(server: Running, path: str) -> None:
    answer = ask(server, "GET", path)
    if answer.status == 308:  # slashes are merged; where that leads must not be there either, nor elsewhere
        here = f"http://127.0.0.1:{server.port}/"
        assert answer.headers["Location"].startswith(here)
        answer = ask(server, "GET", answer.headers["Location"].removeprefix(here[:-1]))
    assert answer.status == 404
    assert b"root:" not in answer.body
    assert b"[metadata]" not in answer.body


@pytest.mark.parametrize("path", ["/", "/guide", "/static/chat/chat.js"])
def test_what_the_browser_has_already_is_not_sent_again(server: Running, path: str) -> None:
    first = ask(server, "GET", path)
    assert first.headers["Cache-Control"] == "no-cache"  # that is: ask each time
    again = ask(server, "GET", path, {"If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    assert again.body == b""
    assert ask(server, "GET", path, {"If-None-Match": '"another"'}).status == 200


@pytest.mark.parametrize("size", [512, 100])
def test_limits_tells_the_page_how_long_a_message_may_be(serve: Serve, size: int) -> None:
    answer = ask(serve(message_size=size), "GET", "/limits")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert json.loads(answer.body) == {"message_size": size}


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [
        (200, "GET", "/", {}),
        (200, "HEAD", "/", {}),
        (200, "GET", "/static/chat/chat.js", {}),
        (200, "GET", "/guide", {}),
        (200, "GET", "/limits", {}),
        (404, "GET", "/static//chat.js", {}),
        (400, "GET", "/ws", {"Sec-WebSocket-Key": ""}),
        (403, "GET", "/ws", {"Origin": "http://example.org"}),
        (404, "GET", "/nothing", {}),
        (405, "POST", "/", {}),
        (416, "GET", "/", {"Range": "bytes=1000000-"}),
        (426, "GET", "/ws", {"Upgrade": ""}),
    ],
)
def test_every_answer_has_the_security_headers(
    server: Running, status: int, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = ask(server, method, path, {**HANDSHAKE, **headers} if path == "/ws" else headers)
    assert answer.status == status
    assert {name: answer.headers.get_all(name) for name in SECURITY_HEADERS} == {
        name: [value] for name, value in SECURITY_HEADERS.items()
    }


def test_a_304_has_the_security_headers_too(server: Running) -> None:
    answer = ask(server, "GET", "/", {"If-None-Match": ask(server, "GET", "/").headers["ETag"]})
    assert answer.status == 304
    assert answer.headers["Content-Security-Policy"] == SECURITY_HEADERS["Content-Security-Policy"]


def test_the_policy_allows_no_inline_scripts_and_no_other_hosts(server: Running) -> None:
    policy = ask(server, "GET", "/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy


def test_a_plain_visit_of_ws_with_a_browser_says_what_it_is_for(server: Running) -> None:
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
    with connect(server.ws_url, compression=None) as ws:  # and the chat goes on
        ws.send("still here")
        assert ws.recv(LIMIT) == "still here"


def test_no_client_comes_in_once_the_app_is_closed(serve: Serve) -> None:
    server = serve()
    server.app.close()
    answer = handshake(server)
    assert answer.status == 503
    assert b"stopping" in answer.body
    assert answer.headers["Content-Security-Policy"] == SECURITY_HEADERS["Content-Security-Policy"]
    assert server.deserted
    assert ask(server, "GET", "/").status == 200


def test_an_app_can_be_closed_twice(serve: Serve) -> None:
    server = serve()
    server.app.close()
    server.app.close()
    assert handshake(server).status == 503
