"""The chat behind a real nginx with TLS, with the configuration and the command of examples/nginx.conf."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from helpers import BINARY, LIMIT, PING, PONG, TEXT, THREADCHAT, Peer, Process, read_all

from threadchat.web.app import SECURITY_HEADERS

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(
    NGINX is None and not (shutil.which("apt-get") and os.getuid() == 0),
    reason="nginx is not installed; scripts/test can do it only as root and with apt-get",
)

EXAMPLE = (Path(__file__).parent / "examples" / "nginx.conf").read_text()
HOST = "chat.example.org"
PROXY, CLIENT = "127.0.0.1", "127.0.0.2"  # where nginx listens, and where the clients come from
NO_HEADERS: Mapping[str, str] = {}


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

    def dial_tls(self) -> ssl.SSLSocket:
        return self.trust.wrap_socket(self.dial(), server_hostname=HOST)

    def join(self, origin: str = "", headers: Mapping[str, str] = NO_HEADERS) -> Peer:
        """A client whose page is from this site unless another origin is given."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in {"Origin": origin or self.origin, **headers}.items())
        return Peer(self.port, host=HOST, over=self.dial_tls(), headers=lines)

    def get(self, path: str, host: str = "") -> tuple[int, dict[str, str], bytes]:
        connection = HTTPSConnection(HOST, self.port)
        connection.sock = self.dial_tls()
        try:
            connection.request("GET", path, headers={"Host": host or f"{HOST}:{self.port}"})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def exchange(self, request: str) -> list[int]:
        """Send the bytes as they are. Returns the status of each answer."""
        with self.dial_tls() as connection:
            connection.sendall(request.encode())
            answers = read_all(connection)
        return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", answers, re.MULTILINE)]


def example(folder: Path, changes: dict[str, str]) -> Path:
    """Write a configuration that runs nginx in the foreground with the example, in which some words are replaced."""
    server = EXAMPLE
    for old, new in changes.items():
        assert server.count(old) >= 1, f"{old} is not in the example"
        server = server.replace(old, new)
    temporary = "".join(f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy"))
    configuration = folder / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""  # so that its worker can read the test's folder
    configuration.write_text(
        f"daemon off; {user} pid {folder}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{server}}}\n"
    )
    return configuration


@contextmanager
def behind_nginx(
    folder: Path, *arguments: str, read_timeout: str = "75s", without: tuple[str, ...] = ()
) -> Iterator[Site]:
    """Run the example's command, with more arguments, on a free port, and nginx in front of it on another.

    `without` are settings of the example that somebody has forgotten.
    """
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
            **dict.fromkeys(without, ""),
        }
        number = listener.fileno()  # nginx inherits the listening socket, so that nobody else can take its port
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
    assert site.get("/static/chat/chat.js")[0] == 200
    assert b"message_size" in site.get("/limits")[2]
    assert site.get("/ws")[0] == 426
    assert site.get("/static/%2e%2e%2fsetup.cfg")[0] in (400, 404)


def test_messages_pass_both_ways(site: Site) -> None:
    with site.join() as one, site.join() as two:
        one.talk("hello through nginx")
        assert two.lines(1) == ["hello through nginx"]
        longest = "\u00e4" * 256  # 512 bytes: as long as a message may be
        two.talk(longest)
        assert one.lines(1) == [longest]


def test_the_log_has_the_clients_address_whatever_headers_it_sends(site: Site) -> None:
    forged = {"X-Forwarded-For": "192.0.2.7", "X_Forwarded_For": "192.0.2.7", "X-Real-IP": "192.0.2.7"}
    with site.join(headers=forged) as peer:
        peer.leave(4000, "the forger")
        assert peer.goodbye()[0] == 4000
    number = re.search(r"client (\d+) left", site.chat.wait_for(": 4000 the forger"))
    assert number
    assert site.chat.wait_for(f"client {number[1]} joined").endswith(f'joined room "lobby" from {CLIENT}')
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
    with site.join(origin, headers) as peer:
        assert peer.status == 403


def test_another_host_is_not_answered(site: Site) -> None:
    assert site.get("/", host="evil.example")[0] == 421


def test_the_clients_close_code_comes_through(site: Site) -> None:
    with site.join() as peer:
        peer.leave(4321, "enough")
        assert peer.goodbye()[0] == 4321
    assert site.chat.wait_for('left room "lobby": 4321 enough')


@pytest.mark.parametrize(("opcode", "message", "code"), [(TEXT, "x" * 513, 1009), (BINARY, "binary", 1003)])
def test_the_servers_close_code_comes_through(site: Site, opcode: int, message: str, code: int) -> None:
    with site.join() as peer:
        peer.send(opcode, message)
        assert peer.goodbye()[0] == code


def test_no_request_is_smuggled_past_nginx(site: Site) -> None:
    """A proxy that takes every Upgrade for a success would pass on what follows a refused handshake, unread."""
    host = f"Host: {HOST}:{site.port}\r\n"
    handshake = (
        f"GET /ws HTTP/1.1\r\n{host}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n"
    )
    behind = f"GET /behind HTTP/1.1\r\n{host}X-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n\r\n"
    assert site.exchange(handshake + behind) == [426, 404]
    assert f"DEBUG {CLIENT}: " in site.chat.wait_for("/behind")


def test_nginx_refuses_a_request_with_two_lengths(site: Site) -> None:
    request = f"GET /two-lengths HTTP/1.1\r\nHost: {HOST}:{site.port}\r\nContent-Length: 5\r\n"
    assert site.exchange(request + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == [400]
    assert "two-lengths" not in site.chat.err


def test_pings_keep_an_idle_client_connected(tmp_path: Path) -> None:
    with behind_nginx(tmp_path, "--ping-period", "0.5", read_timeout="4s") as site, site.join() as peer:
        for _ in range(9):  # so that more time passes than nginx waits
            ping = peer.receive()
            assert ping.opcode == PING
            peer.send(PONG, ping.payload)
        peer.send(TEXT, "still here")
        while (got := peer.receive()).opcode == PING:
            pass
        assert got.payload == b"still here"


def test_without_pings_nginx_disconnects_an_idle_client(tmp_path: Path) -> None:
    with behind_nginx(tmp_path, read_timeout="1s") as site, site.join() as peer:
        assert peer.receive_all() == []  # not even a close frame: nginx does not know of them
        assert site.chat.wait_for('client 1 left room "lobby": 1006 the peer has gone')


UPGRADE = "proxy_set_header Upgrade           $http_upgrade;"
CONNECTION = "proxy_set_header Connection        $connection_upgrade;"


@pytest.mark.parametrize(
    ("without", "status", "says"),
    [
        ((UPGRADE, CONNECTION), 426, "needs the header Upgrade: websocket"),
        ((UPGRADE,), 426, "needs the header Upgrade: websocket"),
        ((CONNECTION,), 400, "needs the header Connection: Upgrade"),
    ],
)
def test_the_log_says_what_was_forgotten_in_the_configuration(
    tmp_path: Path, without: tuple[str, ...], status: int, says: str
) -> None:
    with behind_nginx(tmp_path, without=without) as site:
        for _ in range(3):
            with site.join() as peer:
                assert peer.status == status
        assert says in site.chat.wait_for("refused a WebSocket")
        assert site.chat.err.count("proxy_set_header Upgrade $http_upgrade") == 1


def test_a_stop_tells_the_clients_behind_nginx_1001(tmp_path: Path) -> None:
    with behind_nginx(tmp_path) as site, ExitStack() as stack:
        clients = [stack.enter_context(site.join()) for _ in range(3)]
        site.chat.wait_for("client 3 joined")
        site.chat.process.terminate()
        for client in clients:
            assert client.goodbye() == (1001, "the server is stopping")
            client.close()
        assert site.chat.process.wait(LIMIT) == 0
        assert site.get("/")[0] == 502
    assert len(re.findall('left room "lobby": 1001', site.chat.err)) == len(clients)
