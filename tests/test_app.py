"""The WSGI application over HTTP: the pages and their files, the limits, and the end of the chat."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest
from helpers import HANDSHAKE, Running, Serve, ask, exchange, handshake

from threadchat.web import www
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
        ("base.css", "text/css"),
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
    """The addresses in a page, and what its content security policy forbids."""

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
def test_every_address_in_a_page_exists_and_is_relative(server: Running, path: str, some: str) -> None:
    addresses = page_references(ask(server, "GET", path).body.decode()).addresses
    assert some in addresses
    for address in addresses:
        if address.startswith("https://"):
            continue  # another site
        assert not address.startswith("/")  # or it would not be found where the chat is mounted below a path
        assert ask(server, "GET", urljoin(path, address)).status == 200


@pytest.mark.parametrize("path", ["/", "/guide", "/static/chat/chat.js", "/limits", "/ws"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(server: Running, method: str, path: str) -> None:
    answer = ask(server, method, path, HANDSHAKE if path == "/ws" else {})
    assert answer.status == 405
    assert "GET" in re.split(", *", answer.headers["Allow"])


@pytest.mark.parametrize("path", ["/", "/guide", "/static/chat/chat.js", "/limits", "/ws", "*"])
def test_options_tells_the_methods_and_grants_nothing_to_other_sites(server: Running, path: str) -> None:
    answer = ask(server, "OPTIONS", path, {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"})
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_options_for_what_is_not_there_is_not_found(server: Running) -> None:
    assert ask(server, "OPTIONS", "/nothing").status == 404
    assert ask(server, "OPTIONS", "/static/").status == 404


@pytest.mark.parametrize("request_", [b"OPTIONS / HTTP/1.0\r\n\r\n", b"HEAD / HTTP/1.0\r\n\r\n"])
def test_a_load_balancers_check_finds_the_server_up(server: Running, request_: bytes) -> None:
    """HAProxy's default is OPTIONS / without a Host header."""
    assert exchange(server.port, request_).startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 204 "))


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
    if (
        answer.status == 308
    ):  # slashes were merged: the address that it redirects to must be on this server, and not be found either
        here = f"http://127.0.0.1:{server.port}/"
        assert answer.headers["Location"].startswith(here)
        answer = ask(server, "GET", answer.headers["Location"].removeprefix(here[:-1]))
    assert answer.status == 404
    assert b"root:" not in answer.body
    assert b"[metadata]" not in answer.body


@pytest.mark.parametrize("path", ["/", "/guide", "/static/chat/chat.js"])
def test_what_the_browser_has_is_not_sent_again(server: Running, path: str) -> None:
    first = ask(server, "GET", path)
    assert first.headers["Cache-Control"] == "no-cache"  # that is: ask each time
    again = ask(server, "GET", path, {"If-None-Match": first.headers["ETag"]})
    assert again.status == 304
    assert again.body == b""
    assert ask(server, "GET", path, {"If-None-Match": '"another"'}).status == 200


def test_a_file_that_changed_is_sent_though_its_size_and_time_are_the_same(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages are built with a fixed date, so an upgrade may keep a file's time, and by chance its size."""
    monkeypatch.setattr(www, "WWW", tmp_path)
    file = tmp_path / "a.css"
    etags: list[str] = []
    for content in ("old", "new"):
        file.write_text(content)
        os.utime(file, (0, 0))
        has = {"If-None-Match": etags[-1]} if etags else {}
        answer = ask(server, "GET", "/static/a.css", {**has, "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"})
        assert (answer.status, answer.body.decode()) == (200, content)
        etags.append(answer.headers["ETag"])
    assert ask(server, "GET", "/static/a.css", {"If-None-Match": etags[-1]}).status == 304


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


def test_a_closed_app_refuses_clients_and_still_serves_pages(serve: Serve) -> None:
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
