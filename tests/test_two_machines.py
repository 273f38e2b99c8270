"""One chat over one Redis beyond `--processes`: gunicorn with several workers, and two servers behind a real nginx."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from helpers import LIMIT, THREADCHAT, V1, Peer, Process, RedisServer, ask, exchange, until
from test_nginx import NGINX
from test_processes import children
from websockets.exceptions import ConnectionClosed

EXAMPLES = Path(__file__).parent / "examples"
CONFIGURATION = (EXAMPLES / "two_machines.conf").read_text()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def sockets(pid: int) -> int:
    """How many sockets a process has open."""
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            found += os.readlink(each).startswith("socket:")
    return found


def test_workers_of_gunicorn_that_share_a_store_are_one_chat(
    redis_server: RedisServer, tmp_path: Path, stack: ExitStack
) -> None:
    pytest.importorskip("gunicorn")
    (line,) = re.findall(r"^ +gunicorn (.*)$", (EXAMPLES / "chat_app.py").read_text(), re.MULTILINE)
    given = shlex.split(line.replace("--workers 4 --threads 1000", "--workers 2 --threads 50"))
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", *given]
    environment = {**os.environ, "STORE": redis_server.unix_url}
    with Process(tmp_path, command, cwd=EXAMPLES, env=environment) as process:
        until(lambda: process.port and ask(process, "GET", "/readyz").status == 200, "the chat")
        until(lambda: len(children(process)) == 2, "the other worker")
        before: dict[int, int] = {}
        clients: list[V1] = []

        def both_have_clients() -> bool:
            clients.append(stack.enter_context(V1(process.port)))
            for pid in children(process):
                before.setdefault(pid, sockets(pid))
            return sum(sockets(pid) > before[pid] for pid in before) == 2

        until(both_have_clients, "clients of both workers")
        clients[0].say("hello", n=1)
        clients[-1].say("hello yourself", n=1)
        heard = [client.texts(2) for client in clients]
        assert sorted(heard[0]) == ["hello", "hello yourself"]
        assert heard == [heard[0]] * len(clients)
        stack.close()
        assert process.end() == 0
        assert "Traceback" not in process.err


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
@pytest.mark.parametrize("processes", [1, 2])
def test_two_servers_behind_nginx_are_one_chat_and_one_can_be_replaced(
    redis_server: RedisServer, tmp_path: Path, stack: ExitStack, processes: int
) -> None:
    """The example's command for each machine, with a short drain, and its configuration without TLS."""
    (command,) = re.findall(r"^# +threadchat (serve (?:.|\n)*?-anywhere)$", CONFIGURATION, re.MULTILINE)
    command = re.sub(r" \\\n#", "", command)
    for old, new in (
        ("--host 0.0.0.0 --port 8080", "--port 0"),
        ("redis://redis.internal", redis_server.unix_url),
        ("--processes 4 ", f"--processes {processes} "),
        ("--drain 10", "--drain 0.5"),
    ):
        assert old in command
        command = command.replace(old, new)
    servers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        servers.append(stack.enter_context(Process(tmp_path / name, [*THREADCHAT, *shlex.split(command)])))
    port = nginx_in_front(tmp_path, [server.port for server in servers], stack)
    clients = [stack.enter_context(V1(port, name=f"client {number}")) for number in range(6)]
    for number, client in enumerate(clients):
        client.say(f"hello from {number}", n=1)
    heard = [client.texts(6) for client in clients]
    assert sorted(heard[0]) == [f"hello from {number}" for number in range(6)]
    assert heard == [heard[0]] * 6  # in one order
    joined = [set(re.findall(r'as "(client \d)" from 127\.0\.0\.1', server.err)) for server in servers]
    assert [len(names) for names in joined] == [3, 3]
    servers[0].process.send_signal(signal.SIGTERM)
    (first, *_) = (client for number, client in enumerate(clients) if f"client {number}" in joined[0])
    until(lambda: ask(servers[0], "GET", "/readyz").status == 503, "the drain")
    for _ in range(4):
        stack.enter_context(Peer(port))
    with pytest.raises(ConnectionClosed, match="1012"):
        first.until(type="never")
    again = stack.enter_context(V1(port, name="again", session=first.session))
    assert servers[0].process.wait(LIMIT) == 0
    again.say("still here", n=2)
    assert again.until(type="msg", text="still here")["name"]
    assert exchange(port, b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 404 ")


def nginx_in_front(folder: Path, ports: list[int], stack: ExitStack) -> int:
    """Run nginx with the example, in front of servers at these ports. Returns its port."""
    assert NGINX
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
    port: int = listener.getsockname()[1]
    text = re.sub(r"^ +ssl_.*\n", "", CONFIGURATION, flags=re.MULTILINE)
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    for machine, own in zip((11, 12), ports, strict=True):
        text = text.replace(f"192.0.2.{machine}:8080", f"127.0.0.1:{own}")
    temporary = "".join(f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy"))
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off; {user} pid {folder}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\n{text}}}\n"
    )
    (folder / "nginx").mkdir()
    number = listener.fileno()  # nginx inherits it, so that nobody else can take its port
    nginx = Process(
        folder / "nginx",
        [NGINX, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")],
        env={"NGINX": f"{number};"},
        pass_fds=[number],
    )
    stack.enter_context(nginx)
    stack.callback(nginx.end)  # its worker too
    listener.close()
    return port
