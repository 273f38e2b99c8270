"""The chat behind real nginx, with the configuration and the command of examples/nginx.conf, TLS included."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT, PING, THREADCHAT, Process, close_frame, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from threadchat.web.app import SECURITY_HEADERS

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(
    NGINX is None and not (shutil.which("apt-get") and os.getuid() == 0),
    reason="nginx is not installed; scripts/test can do it only as root and with apt-get",
)

EXAMPLE = (Path(__file__).parent / "examples" / "nginx.conf").read_text()
HOST = "chat.example.org"
PROXY, CLIENT = "127.0.0.1", "127.0.0.2"  # where nginx listens, and where the clients come from


@dataclass
class Site:
    port: int
    chat: Process
    nginx: Process
    trust: ssl.SSLContext

    @property
    def origin(self) -> str:
        return f"https://{HOST}:{self.port}"

    def dial(self) -> socket.socket:
        return socket.create_connection((PROXY, self.port), LIMIT, source_address=(CLIENT, 0))

    def join(self, **options: Any) -> ClientConnection:
        """A client, of another library, whose page came from this site unless it says otherwise."""
        options = {"origin": Origin(self.origin), "compression": None, "open_timeout": LIMIT, **options}
        client: ClientConnection = connect(f"wss://{HOST}:{self.port}/ws", sock=self.dial(), ssl=self.trust, **options)
        return client

    def get(self, path: str, host: str = "") -> tuple[int, dict[str, str], bytes]:
        connection = HTTPSConnection(HOST, self.port)
        connection.sock = self.trust.wrap_socket(self.dial(), server_hostname=HOST)
        try:
            connection.request("GET", path, headers={"Host": host or f"{HOST}:{self.port}"})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def exchange(self, request: str) -> list[int]:
        """Send the bytes as they are, and return the status of each answer."""
        with self.trust.wrap_socket(self.dial(), server_hostname=HOST) as connection:
            connection.sendall(request.encode())
            answers = b"".join(iter(lambda: connection.recv(65536), b""))
        return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", answers, re.MULTILINE)]


def example(folder: Path, changes: dict[str, str]) -> Path:
    """A configuration of nginx, in the foreground, with the example in which some words are others."""
    server = EXAMPLE
    for old, new in changes.items():
        assert server.count(old) >= 1, f"{old} is not in the example"
        server = server.replace(old, new)
    temporary = "".join(f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy"))
    configuration = folder / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""  # its worker must get at the test's folder
    configuration.write_text(
        f"daemon off; {user} pid {folder}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{server}}}\n"
    )
    return configuration


@contextmanager
def behind_nginx(folder: Path, *arguments: str, read_timeout: str = "75s") -> Iterator[Site]:
    """The example's command, with more arguments, on a free port, and nginx before it on another."""
    assert NGINX, "scripts/test installs nginx"
    certificate = folder / HOST
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={HOST} "
    command += f"-addext subjectAltName=DNS:{HOST} -keyout {certificate}.key -out {certificate}.pem"
    subprocess.run(shlex.split(command), check=True, capture_output=True, timeout=LIMIT)
    line = re.search(r"^# +threadchat (serve --port) 8080( .*)$", EXAMPLE, re.MULTILINE)
    assert line, "the example says how the chat is started"
    for name in ("chat", "nginx"):
        (folder / name).mkdir()
    with ExitStack() as stack:
        command = f"{line[1]} 0{line[2]}"
        chat = stack.enter_context(Process(folder / "chat", [*THREADCHAT, *shlex.split(command), *arguments]))
        listener = stack.enter_context(socket.create_server((PROXY, 0), backlog=128))
        port = listener.getsockname()[1]
        changes = {
            "listen 443 ssl": f"listen {PROXY}:{port} ssl",
            f"/etc/ssl/{HOST}": str(certificate),
            "127.0.0.1:8080": f"127.0.0.1:{chat.port}",
            "proxy_read_timeout 75s": f"proxy_read_timeout {read_timeout}",
        }
        number = listener.fileno()  # nginx takes over a socket that it is told of, so no other can take its port
        nginx = Process(
            folder / "nginx",
            [NGINX, "-e", "stderr", "-p", str(folder), "-c", str(example(folder, changes))],
            env={"NGINX": f"{number};"},
            pass_fds=[number],
        )
        stack.enter_context(nginx)
        stack.callback(nginx.end)  # its worker too
        listener.close()
        yield Site(port, chat, nginx, ssl.create_default_context(cafile=f"{certificate}.pem"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with behind_nginx(tmp_path_factory.mktemp("site"), "--log-level", "debug") as site:
        yield site


def test_the_page_and_its_files_come_through(site: Site) -> None:
    status, headers, body = site.get("/")
    assert status == 200
    assert b"<title>threadchat</title>" in body
    assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert site.get("/static/chat.js")[0] == 200
    assert b"message_size" in site.get("/limits")[2]
    assert site.get("/ws")[0] == 426
    assert site.get("/static/%2e%2e%2fsetup.cfg")[0] in (400, 404)


def test_messages_pass_both_ways(site: Site) -> None:
    with site.join() as one, site.join() as two:
        one.send("hello through nginx")
        assert [one.recv(LIMIT), two.recv(LIMIT)] == ["hello through nginx"] * 2
        two.send("\u00e4" * 256)  # as long as a message may be
        assert [one.recv(LIMIT), two.recv(LIMIT)] == ["\u00e4" * 256] * 2


def test_the_log_has_the_clients_address_whatever_it_says_of_itself(site: Site) -> None:
    forged = {"X-Forwarded-For": "192.0.2.7", "X_Forwarded_For": "192.0.2.7", "X-Real-IP": "192.0.2.7"}
    with site.join(additional_headers=forged) as ws:
        ws.close(4000, "the forger")
    number = re.search(r"client (\d+) left: 4000", site.chat.wait_for("left: 4000 the forger"))
    assert number
    assert site.chat.wait_for(f"client {number[1]} joined").endswith(f"joined from {CLIENT}")
    assert "192.0.2.7" not in site.chat.err


@pytest.mark.parametrize(
    ("origin", "headers"),
    [
        ("https://evil.example", {}),
        (f"https://{HOST}", {}),  # another port is another origin
        ("https://evil.example", {"X-Forwarded-Host": "evil.example"}),
        ("null", {}),
    ],
)
def test_a_page_elsewhere_cannot_join(site: Site, origin: str, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        site.join(origin=Origin(origin), additional_headers=headers)
    assert refused.value.response.status_code == 403


def test_another_host_is_not_answered(site: Site) -> None:
    assert site.get("/", host="evil.example")[0] == 421


def test_the_clients_close_code_comes_through(site: Site) -> None:
    with site.join() as ws:
        ws.close(4321, "enough")
        assert ws.close_code == 4321
    assert site.chat.wait_for("left: 4321 enough")


@pytest.mark.parametrize(("message", "code"), [("x" * 513, 1009), (b"binary", 1003)])
def test_the_servers_close_code_comes_through(site: Site, message: str | bytes, code: int) -> None:
    with site.join() as ws:
        ws.send(message)
        assert close_frame(ws).code == code


def test_no_request_comes_past_nginx(site: Site) -> None:
    """A proxy that took every Upgrade for a success would pass on, unseen, what follows a refused handshake."""
    host = f"Host: {HOST}:{site.port}\r\n"
    handshake = (
        f"GET /ws HTTP/1.1\r\n{host}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n"
    )
    behind = f"GET /behind HTTP/1.1\r\n{host}X-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n\r\n"
    assert site.exchange(handshake + behind) == [426, 404]
    assert f"DEBUG {CLIENT}: " in site.chat.wait_for("/behind")


def test_nginx_refuses_what_has_two_lengths(site: Site) -> None:
    request = f"GET /two-lengths HTTP/1.1\r\nHost: {HOST}:{site.port}\r\nContent-Length: 5\r\n"
    assert site.exchange(request + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == [400]
    assert "two-lengths" not in site.chat.err


class CountingPings(ClientConnection):
    pings = 0

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and event.opcode == PING:
            self.pings += 1
        super().process_event(event)


def test_pings_keep_an_idle_client_connected(tmp_path: Path) -> None:
    with behind_nginx(tmp_path, "--ping-period", "0.2", read_timeout="1500ms") as site:
        with site.join(create_connection=CountingPings) as ws:
            assert isinstance(ws, CountingPings)
            until(lambda: ws.pings >= 9)  # that is, after more than the time that nginx waits
            ws.send("still here")
            assert ws.recv(LIMIT) == "still here"
        assert site.chat.wait_for("client 1 left: 1000")


def test_without_pings_nginx_parts_with_an_idle_client(tmp_path: Path) -> None:
    with behind_nginx(tmp_path, read_timeout="1s") as site, site.join() as ws:
        with pytest.raises(ConnectionClosed) as ended:
            ws.recv(LIMIT)
        assert ended.value.rcvd is None  # nginx knows nothing of close frames
        assert site.chat.wait_for("client 1 left: 1006 the peer has gone")


def test_a_stop_takes_leave_of_the_clients_behind_nginx(tmp_path: Path) -> None:
    with behind_nginx(tmp_path) as site, ExitStack() as stack:
        clients = [stack.enter_context(site.join()) for _ in range(3)]
        site.chat.wait_for("client 3 joined")
        site.chat.process.terminate()
        for client in clients:
            goodbye = close_frame(client)
            assert (goodbye.code, goodbye.reason) == (1001, "the server is stopping")
        assert site.chat.process.wait(LIMIT) == 0
        assert site.get("/")[0] == 502
    assert len(re.findall("left: 1001", site.chat.err)) == len(clients)
