"""Attacks on `threadchat serve`: pages of other sites, forged headers, strings that inject, request smuggling."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from helpers import (
    CLOSE,
    HANDSHAKE,
    LIMIT,
    THREADCHAT,
    V1,
    Peer,
    Process,
    Running,
    Serve,
    all_gone,
    ask,
    exchange,
    go,
    handshake,
    until,
)
from playwright.sync_api import Browser, Page

from threadchat import serving
from threadchat.options import Options
from threadchat.runtime.signals import StopSignals
from threadchat.web.app import SECURITY_HEADERS
from threadchat.web.hosts import LOOPBACK
from threadchat.web.server import Server
from threadchat.websocket.connection import Connection

# Every ASCII control character that a line can have; then NEL, line and paragraph separators, marks that change the
# direction of writing, a byte order mark, and the escape sequence that colours a word in a terminal.
TRICKS = (
    "".join(chr(code) for code in (*range(1, 10), *range(11, 13), *range(14, 32), 127))
    + "\x85\x9b31m\u2028\u2029\u200e\u202e\u2066\u2069\ufeff\x1b[31mred"
)
MARKUP = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """`threadchat serve` on a loopback address; its log has the requests as well."""
    command = [*THREADCHAT, "serve", "--port", "0", "--log-level", "debug"]
    with Process(tmp_path_factory.mktemp("serve"), command) as process:
        assert process.port
        yield process


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", answer, re.MULTILINE)]


# DNS rebinding: the Host header


@pytest.mark.parametrize("path", ["/", "/static/chat/chat.js", "/limits", "/ws", "/nothing", "", "*"])
def test_a_request_for_a_strangers_host_is_refused(process: Process, path: str) -> None:
    host = f"evil.example:{process.port}"
    headers = {**HANDSHAKE, "Origin": f"http://{host}"} if path == "/ws" else {}
    answer = ask(process, "GET", path, {"Host": host, **headers})
    assert answer.status == 421
    assert b"--allow-host" in answer.body
    assert b"evil" not in answer.body
    assert answer.headers["Content-Security-Policy"] == SECURITY_HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_this_machines_browsers_are_answered(process: Process, host: str) -> None:
    authority = f"{host}:{process.port}"
    assert ask(process, "GET", "/", {"Host": authority}).status == 200
    assert handshake(process, Host=authority, Origin=f"http://{authority}").status == 101


def test_the_host_in_the_request_line_overrides_the_host_header(process: Process) -> None:
    """RFC 9112, section 3.2.2."""
    assert statuses(exchange(process.port, b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n")) == [421]
    assert statuses(exchange(process.port, b"GET http://localhost/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")) == [200]


def test_a_request_with_two_hosts_is_refused(process: Process) -> None:
    answer = exchange(process.port, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert statuses(answer) in ([400], [421])


def test_a_request_without_a_host_does_not_come_from_a_browser_and_is_answered(process: Process) -> None:
    assert statuses(exchange(process.port, b"GET / HTTP/1.0\r\n\r\n")) == [200]
    assert statuses(exchange(process.port, b"GET / HTTP/1.1\r\nHost:\r\n\r\n")) in ([400], [421])


@pytest.mark.parametrize(
    ("given", "host", "status"),
    [
        ((), "evil.example", 421),
        ((), "192.168.1.20", 421),
        (("chat.example.org",), "chat.example.org", 200),
        (("chat.example.org",), "localhost", 200),
        (("chat.example.org",), "evil.example", 421),
        (("*",), "evil.example", 200),
    ],
)
def test_the_command_answers_to_the_hosts_of_its_address_and_those_allowed(
    monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], host: str, status: int
) -> None:
    listening: list[Server] = []
    got: list[int] = []

    class Noted(Server):
        def start(self) -> None:
            super().start()
            listening.append(self)

    def signal_comes(_: object) -> int:
        got.append(ask(listening[0], "GET", "/", {"Host": host}).status)
        return signal.SIGTERM

    monkeypatch.setattr(serving, "Server", Noted)
    monkeypatch.setattr(StopSignals, "wait", signal_comes)
    assert serving.serve(Options(allow_hosts=given), "127.0.0.1", 0) == 0
    assert got == [status]


def test_an_app_answers_to_every_host_unless_told(serve: Serve) -> None:
    assert ask(serve(), "GET", "/", {"Host": "any.example"}).status == 200
    choosy = serve(allow_hosts=("chat.example.org",))
    assert ask(choosy, "GET", "/", {"Host": "any.example"}).status == 421
    assert ask(choosy, "GET", "/", {"Host": "chat.example.org"}).status == 200


# Pages of other sites, in a real browser


class Blank(BaseHTTPRequestHandler):
    """Another site's server, with an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def stranger(browser: Browser) -> Iterator[Page]:
    """A browser at the page http://evil.example/, on some port. That page's server, on this machine too, has ended."""
    page = browser.new_page()
    with HTTPServer(("127.0.0.1", 0), Blank) as server:
        answering = go(server.serve_forever, 0.01)
        page.goto(f"http://evil.example:{server.server_port}/")
        server.shutdown()
        answering.result(LIMIT)
    yield page
    page.close()


JOIN = """address => new Promise(resolve => {
    const socket = new WebSocket(address);
    socket.onopen = () => resolve("joined");
    socket.onerror = () => resolve("refused");
})"""


@pytest.mark.parametrize(("allowed", "outcome"), [((), "refused"), (("*",), "joined")])
def test_a_page_of_another_site_cannot_join(
    serve: Serve, stranger: Page, allowed: tuple[str, ...], outcome: str
) -> None:
    server = serve(allow_origins=allowed)
    assert stranger.evaluate(JOIN, server.ws_url) == outcome
    stranger.goto("about:blank")
    all_gone(server)


@pytest.mark.parametrize(("allowed", "outcome"), [(LOOPBACK, "refused"), ((), "joined")])
def test_a_page_whose_name_was_pointed_here_cannot_join(
    serve: Serve, stranger: Page, allowed: tuple[str, ...], outcome: str
) -> None:
    """DNS rebinding: at the page's own name and port there is now this server."""
    server = serve(urlsplit(stranger.url).port or 0, allow_hosts=allowed)
    assert stranger.evaluate(JOIN, stranger.url.replace("http:", "ws:") + "ws") == outcome
    stranger.goto("about:blank")
    all_gone(server)


# Proxies: whose headers count


FORGED = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "chat.example.org"}


def joined_from(server: Running, caplog: pytest.LogCaptureFixture, headers: dict[str, str]) -> str:
    """The address in the log line of a client of the lobby that came with these headers."""
    with caplog.at_level(logging.INFO, "threadchat"):
        with Peer(server.port, headers="".join(f"{name}: {value}\r\n" for name, value in headers.items())):
            until(lambda: "joined" in caplog.text)
        all_gone(server)
    return caplog.text.partition('joined room "lobby" from ')[2].split("\n")[0]


def test_without_trusted_proxies_a_clients_forwarded_headers_do_not_count(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    assert joined_from(server, caplog, FORGED).startswith("127.0.0.1:")
    assert handshake(server, Origin="https://chat.example.org", **FORGED).status == 403
    assert handshake(server, Host="chat.example.org", Origin="https://chat.example.org", **FORGED).status == 101
    all_gone(server)


@pytest.mark.parametrize(
    ("proxies", "value", "address"),
    [
        (1, "192.0.2.7", "192.0.2.7"),
        (1, "198.51.100.1, 192.0.2.7", "192.0.2.7"),  # the first value is the client's own, the second the proxy's
        (2, "203.0.113.5, 198.51.100.1, 192.0.2.7", "198.51.100.1"),
        (1, "2001:DB8::0:7", "2001:db8::7"),
    ],
)
def test_behind_trusted_proxies_a_clients_address_is_the_one_that_they_give(
    serve: Serve, caplog: pytest.LogCaptureFixture, proxies: int, value: str, address: str
) -> None:
    server = serve(trusted_proxies=proxies)
    assert joined_from(server, caplog, {"X-Forwarded-For": value}) == address


def test_behind_a_trusted_proxy_the_log_of_requests_names_the_client(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(trusted_proxies=1)
    with caplog.at_level(logging.DEBUG, "threadchat"):
        assert ask(server, "GET", "/", FORGED).status == 200
        server.stop()
    assert "192.0.2.7: 'GET / HTTP/1.1' 200" in caplog.text


@pytest.mark.parametrize(
    ("proxies", "headers"),
    [
        (1, {}),
        (2, {"X-Forwarded-For": "192.0.2.7"}),  # the request did not pass both proxies
        (1, {"X_Forwarded_For": "192.0.2.7"}),
        (1, {"Forwarded": "for=192.0.2.7"}),
        (1, {"X-Real-IP": "192.0.2.7"}),
        (1, {"X-Forwarded-For": "unknown"}),
        (1, {"X-Forwarded-For": "\x1b[31m192.0.2.7"}),
        (1, {"X-Forwarded-For": ","}),
    ],
)
def test_without_a_valid_address_from_the_proxies_it_is_the_last_proxys(
    serve: Serve, caplog: pytest.LogCaptureFixture, proxies: int, headers: dict[str, str]
) -> None:
    assert joined_from(serve(trusted_proxies=proxies), caplog, headers).partition(":")[0] == "127.0.0.1"
    assert "\x1b" not in caplog.text


def test_behind_a_trusted_proxy_the_origin_is_compared_with_the_host_that_the_client_asked_for(serve: Serve) -> None:
    server = serve(trusted_proxies=1, allow_hosts=("chat.example.org",))
    assert handshake(server, Origin="https://chat.example.org", **FORGED).status == 101
    assert handshake(server, Origin="https://evil.example", **FORGED).status == 403
    assert handshake(server, Origin="http://127.0.0.1", **FORGED).status == 403
    assert handshake(server, Origin="http://chat.example.org", **FORGED).status == 403
    forged = {**FORGED, "X-Forwarded-Proto": "http"}
    assert handshake(server, Origin="http://chat.example.org", **forged).status == 101
    forged = {**FORGED, "X-Forwarded-Host": "evil.example"}
    assert handshake(server, Origin="https://evil.example", **forged).status == 421
    all_gone(server)


def test_a_proxys_other_headers_change_no_redirect(serve: Serve) -> None:
    server = serve(trusted_proxies=1)
    headers = {"X-Forwarded-Prefix": "//evil.example", "X-Forwarded-Proto": "javascript", "X-Forwarded-Port": "1"}
    answer = exchange(server.port, b"GET http://localhost HTTP/1.1\r\n" + head({"Host": "localhost", **headers}))
    assert statuses(answer) == [308]
    assert b"\r\nLocation: /\r\n" in answer
    assert ask(server, "GET", "/", headers).status == 200


def head(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n"


# Injection: into the log, and into answers


LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING) .*")


@pytest.mark.parametrize("proxies", [0, 1])
def test_no_string_from_a_peer_writes_more_than_one_line_of_the_log(tmp_path: Path, proxies: int) -> None:
    command = [*THREADCHAT, "serve", "--port", "0", "--log-level", "debug", "--trusted-proxies", str(proxies)]
    bare_return = "\r2000-01-01 00:00:00,000 INFO client 7 joined"
    with Process(tmp_path, command) as process:
        own = {"Host": f"localhost:{process.port}"}
        handshakes = [{"Origin": f"http://{TRICKS}"}, {"Host": TRICKS}]
        handshakes += [{name: TRICKS} for name in ("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Upgrade")]
        handshakes += [{name: TRICKS} for name in ("Connection", "User-Agent", "Referer", "Cookie")]
        handshakes += [{name: TRICKS} for name in ("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions")]
        handshakes += [{name: TRICKS} for name in FORGED]
        handshakes += [{"Origin": "http://a\r\n b\r\n\tc"}, {"Origin": f"x{bare_return}"}, {TRICKS: "x"}]
        requests = [b"GET /ws HTTP/1.1\r\n" + head({**HANDSHAKE, **own, **headers}) for headers in handshakes]
        for line in (f"GET /{TRICKS} HTTP/1.1", f"{TRICKS} / HTTP/1.1", f"GET / {TRICKS}", TRICKS, f"GET {TRICKS}",
                     f"GET /{bare_return} HTTP/1.1", "GET /%0d%0a%1b[31m%e2%80%a8%c2%85 HTTP/1.1",
                     f"GET http://{TRICKS}/ HTTP/1.1", f"GET / HTTP/{TRICKS}", f"GET / HTTP/1.1 {TRICKS}"):  # fmt: skip
            requests.append(line.encode() + b"\r\n" + head(own))
        for request in requests:
            exchange(process.port, request)
        with Peer(process.port) as peer:
            peer.send(CLOSE, b"\x03\xe8" + (TRICKS[5:] + "\r\n").encode())
            assert peer.receive().close_code == 1000
        process.wait_for(r'left room "lobby": 1000 .*\\r\\n')
        assert process.end() == 0
        log = process.err
    lines = log.splitlines()  # at every character that is taken for the end of a line
    assert lines == log.split("\n")[:-1]
    assert [line for line in lines if not (LINE.fullmatch(line) and line.isprintable())] == []
    assert len([line for line in lines if "refused a page" in line]) >= 2
    assert len([line for line in lines if "refused a request" in line]) >= 1
    assert len([line for line in lines if "\\x1b[31mred" in line]) >= 6


def test_nor_does_the_name_of_a_person_or_a_room_and_a_line_has_the_name_of_its_moment(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(send_buffer=1)
    with caplog.at_level(logging.INFO, "threadchat"):
        with V1(server.port, room='a" as "b\u2028\\', name='Eve\n" from\u202e\u05d0') as eve:
            eve.send(type="name", name="Bob\u2067: 1000")
            eve.until(type="name")
        until(lambda: len(caplog.messages) == 2, "the line that she has left")
        with Peer(server.port, "/r/q/ws?name=Ann"):
            room = server.app.rooms.find("q")
            assert room is not None
            (client,) = room.hub.clients
            room.hub.broadcast.send("x" * 1_000_000)
            until(lambda: len(client.stuck), "a frame that has waited for long")
            for _ in range(3):
                room.hub.broadcast.send("more")
            until(lambda: not room.hub.clients, "the eviction")
        all_gone(server)
        until(lambda: len(caplog.messages) == 4, "the last line of the log")
    assert [re.sub(r"from 127[.0]+1:\d+$", "from here", line) for line in caplog.messages] == [
        'client 1 joined room "a\\" as \\"b \\\\" as "Eve \\" from\u05d0" from here',
        r'client 1 left room "a\" as \"b \\" as "Bob: 1000": 1000',
        'client 2 joined room "q" as "Ann" from here',
        'client 2 left room "q" as "Ann": 1008 evicted: not reading fast enough',
    ]


def test_nor_does_an_address_that_other_middleware_took_from_a_header() -> None:
    address = Connection({"REMOTE_ADDR": f"192.0.2.7{TRICKS}\n", "REMOTE_PORT": 4711}, Options()).peer
    assert address.isprintable()
    assert address.startswith("192.0.2.7")
    assert address.endswith(r"\n:4711")


@pytest.mark.parametrize(
    ("status", "request_line", "headers"),
    [
        (404, f"GET /{MARKUP} HTTP/1.1", {}),
        (404, f"GET /static/{MARKUP} HTTP/1.1", {}),
        (404, "GET /%3Cscript%3Ealert(1)%3C/script%3E HTTP/1.1", {}),
        (405, f"{MARKUP} / HTTP/1.1", {}),
        (400, f"GET / {MARKUP}", {}),
        (400, f"{MARKUP}", {}),
        (421, "GET / HTTP/1.1", {"Host": MARKUP}),
        (403, "GET /ws HTTP/1.1", {**HANDSHAKE, "Origin": f"http://{MARKUP}"}),
        (400, "GET /ws HTTP/1.1", {**HANDSHAKE, "Sec-WebSocket-Key": MARKUP}),
        (426, "GET /ws HTTP/1.1", {**HANDSHAKE, "Sec-WebSocket-Version": MARKUP}),
        (426, "GET /ws HTTP/1.1", {**HANDSHAKE, "Upgrade": MARKUP}),
        (400, "GET /ws HTTP/1.1", {**HANDSHAKE, "Connection": MARKUP}),
        (416, "GET / HTTP/1.1", {"Range": f"bytes=9999999-{MARKUP}"}),
    ],
)
def test_no_answer_quotes_markup(process: Process, status: int, request_line: str, headers: dict[str, str]) -> None:
    request = f"{request_line}\r\n".encode() + head({"Host": "localhost", **headers})
    answer = exchange(process.port, request)
    assert b"<script" not in answer
    assert f"{status} ".encode() in answer or f"Error code: {status}".encode() in answer


@pytest.mark.parametrize("path", ["/%0d%0aSet-Cookie:%20a=b", "/static/%0d%0aSet-Cookie:%20a=b", "/ws%0d%0aX:%20y"])
def test_no_path_writes_a_header(process: Process, path: str) -> None:
    answer = ask(process, "GET", path)
    assert answer.status == 404
    assert answer.headers["Set-Cookie"] is None
    assert answer.headers["X"] is None


# What answers say of the server


@pytest.mark.parametrize(
    ("status", "request_bytes"),
    [
        (200, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (400, b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (404, b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (405, b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (421, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        (426, b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ],
)
def test_no_answer_names_a_library_or_a_version(process: Process, status: int, request_bytes: bytes) -> None:
    answer = exchange(process.port, request_bytes)
    assert statuses(answer) == [status]
    assert re.findall(rb"(?im)^server: *(.*?)\r$", answer) == [b"threadchat"]
    assert not re.search(rb"(?i)werkzeug|python|wsproto", answer)


def test_browsers_are_told_to_keep_answers_to_this_site(process: Process) -> None:
    headers = ask(process, "GET", "/").headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Access-Control-Allow-Origin"] is None


def test_malformed_http_is_answered_in_plain_text(process: Process) -> None:
    answer = exchange(process.port, b"GET http://[ HTTP/1.1\r\n\r\n")
    assert re.findall(rb"(?im)^content-type: *(.*?)\r$", answer) == [b"text/plain; charset=utf-8"]
    assert b"Error code: 400\n" in answer
    assert b"<" not in answer


# One request, one answer


SMUGGLED = b"GET /limits HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        "",
        "Connection: keep-alive\r\n",
        "Content-Length: 0\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: x\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ],
)
@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "POST / HTTP/1.1", "GET /ws HTTP/1.1", "HEAD / HTTP/1.1"])
def test_what_follows_a_request_is_not_taken_for_another(process: Process, line: str, headers: str) -> None:
    """RFC 9112, section 11.2: every connection ends with its answer, so that request smuggling has no effect."""
    request = f"{line}\r\nHost: localhost\r\n{headers}\r\n".encode()
    answer = exchange(process.port, request + b"0\r\n\r\n" + SMUGGLED)
    assert len(statuses(answer)) == 1
    assert b"message_size" not in answer
    assert re.search(rb"(?im)^connection: .*close", answer)


@pytest.mark.parametrize("path", ["/", "/static/chat/chat.js", "/limits", "/ws"])
@pytest.mark.parametrize("method", ["TRACE", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
def test_every_address_is_read_only(process: Process, method: str, path: str) -> None:
    answer = ask(process, method, path, {"X-Private": "a cookie, perhaps"})
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}
    assert b"perhaps" not in answer.body  # RFC 9110, section 9.3.8: TRACE would send the request back


@pytest.mark.parametrize("line", ["CONNECT evil.example:443 HTTP/1.1", "GET evil HTTP/1.1"])
def test_it_is_not_a_proxy(process: Process, line: str) -> None:
    answer = exchange(process.port, f"{line}\r\nHost: localhost\r\n\r\n".encode())
    assert statuses(answer)[0] in (400, 404, 405)
