"""A supervisor that listens for the server, and is told when it is ready: systemd, or one that does the same."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import LIMIT, THREADCHAT, V1, Peer, Process, ask, go
from websockets.exceptions import ConnectionClosed

from threadchat.runtime import supervisor
from threadchat.runtime.supervisor import CannotTake, socket_handed_over, tell
from threadchat.web.app import create_app
from threadchat.web.server import Server

EXAMPLES = Path(__file__).parent / "examples"
UNITS = [EXAMPLES / "threadchat.service", EXAMPLES / "threadchat.socket"]
KEEP_LISTENING = [sys.executable, str(EXAMPLES / "keep_listening.py"), "127.0.0.1", "0"]

# Hands sockets over to what its arguments say, as systemd does: one for each port that is given.
HAND_OVER = """
import os, socket, sys
ports, command = sys.argv[1].split(","), sys.argv[2:]
listeners = [socket.create_server(("127.0.0.1", int(port))) for port in ports]
for number, listener in enumerate(listeners, 3):
    os.dup2(listener.fileno(), number + 10)
for number in range(3, 3 + len(ports)):
    os.dup2(number + 10, number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(ports)))
os.execv(command[0], command)
"""


def unit(path: Path) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path)
    return parser


def command_of_the_unit() -> list[str]:
    """What systemd would execute, with this Python."""
    _, *arguments = shlex.split(unit(UNITS[0])["Service"]["ExecStart"])
    return [*THREADCHAT, *arguments]


@contextmanager
def terminated(process: Process) -> Iterator[None]:
    """Tell it to end at the end of the block: what it has started would outlive a `kill`."""
    try:
        yield
    finally:
        if not process.ended:
            process.end()


# What is handed over


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that was handed over to this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(supervisor, "FIRST", os.dup(listener.fileno()))
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_FDNAMES", "threadchat.socket")
        yield listener


def test_a_socket_that_is_handed_over_is_taken_once_and_not_passed_on(handed: socket.socket) -> None:
    taken = socket_handed_over()
    assert taken is not None
    with taken:
        assert taken.getsockname() == handed.getsockname()
        assert (taken.get_inheritable(), taken.getblocking()) == (False, False)
    assert not [name for name in os.environ if name.startswith("LISTEN_")]
    assert socket_handed_over() is None


@pytest.mark.parametrize(("name", "value"), [("LISTEN_PID", "1"), ("LISTEN_FDS", "0"), ("LISTEN_FDS", "")])
def test_what_is_for_another_process_is_left_alone(
    handed: socket.socket, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert socket_handed_over() is None
    os.close(supervisor.FIRST)


def test_what_is_no_tcp_socket_that_listens_is_refused_with_a_sentence(
    handed: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.close(supervisor.FIRST)
    read, write = os.pipe()
    os.close(write)
    for number, sentence in (
        (read, "is no socket: Socket operation on non-socket"),
        (socket.socket(socket.AF_UNIX).detach(), "does not listen for TCP connections"),
        (socket.socket().detach(), "does not listen for TCP connections"),
    ):
        monkeypatch.setattr(supervisor, "FIRST", number)
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        with pytest.raises(CannotTake, match=sentence):
            socket_handed_over()
    os.close(read)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no socket for both IPv4 and IPv6 here")
@pytest.mark.parametrize("both", [True, False], ids=["IPv4 too", "IPv6 alone"])
def test_a_server_knows_whether_its_socket_is_for_ipv4_too(both: bool) -> None:
    listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=both)
    listener.setblocking(False)
    app = create_app()
    server = Server(app, "::", listener.getsockname()[1], listener=listener)
    server.start()
    try:
        assert server.local_address == ("127.0.0.1" if both else "::1", server.port)
        with Peer(server.port, host=server.local_address[0]) as peer:
            peer.talk("hello")
    finally:
        server.stop()


def test_several_sockets_are_refused_with_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HAND_OVER, "0,0", *THREADCHAT, "serve"]
    with Process(tmp_path, command) as process:
        assert process.process.wait(LIMIT) == 2
        assert process.err == "threadchat serve: the server was handed 2 sockets to listen on, and takes one\n"


# What it is told


@pytest.mark.parametrize("abstract", [False, True], ids=["a path", "an abstract address"])
def test_the_supervisor_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    address = f"@{tmp_path.name}-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervising:
        supervising.bind(address.replace("@", "\0", 1))
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        tell("READY=1")
        assert supervising.recv(100) == b"READY=1"
    tell("STOPPING=1")  # nobody listens any more
    monkeypatch.delenv("NOTIFY_SOCKET")
    tell("READY=1")


# The units, and a program that does what systemd does


def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing")
    for path in UNITS:
        text = path.read_text().replace("/opt/threadchat/bin/threadchat", sys.executable)
        (tmp_path / path.name).write_text(text)
    command = ["systemd-analyze", "verify", *(str(tmp_path / path.name) for path in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_units_leave_time_for_the_drain_and_room_for_the_threads() -> None:
    service = unit(UNITS[0])["Service"]
    (drain,) = re.findall(r"--drain (\d+)", service["ExecStart"])
    assert int(service["TimeoutStopSec"]) >= int(drain) + 10
    assert int(service["TasksMax"]) >= 2 * 10_000  # --max-clients
    assert service["KillMode"] == "mixed"  # with --processes, the first one tells the others
    assert unit(UNITS[1])["Socket"]["ListenStream"] == "8080"


def test_the_command_of_the_unit_serves_on_the_socket_that_it_is_handed(tmp_path: Path) -> None:
    notify = tmp_path / "notify"
    command = [sys.executable, "-c", HAND_OVER, "0", *command_of_the_unit(), "--host", "192.0.2.7", "--inspect"]
    command += ["--drain", "60"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervising:
        supervising.bind(str(notify))
        supervising.settimeout(LIMIT)
        with Process(tmp_path, command, env={**os.environ, "NOTIFY_SOCKET": str(notify)}) as process:
            assert supervising.recv(100) == b"READY=1"
            assert ask(process, "GET", "/readyz", {"Host": "localhost"}).status == 200
            assert ask(process, "GET", "/inspect").status == 200
            assert ask(process, "GET", "/", {"Host": "chat.example.org"}).status == 421  # as on any loopback address
            with Peer(process.port) as peer:
                peer.talk("hello")
            assert process.end() == 0  # at once, because nobody is left
            assert supervising.recv(100) == b"STOPPING=1"
            took = re.search(r"drained: 0 clients told in (\d+\.\d) seconds", process.out)
            assert took
            assert float(took[1]) < 30


def test_while_the_server_is_replaced_nobody_is_refused(tmp_path: Path) -> None:
    """keep_listening.py holds the socket. Somebody connects all the time, and a client of threadchat.v1 comes back."""
    command = [*KEEP_LISTENING, *THREADCHAT, "serve", "--drain", "0.5"]
    with Process(tmp_path, command) as process, terminated(process):
        port, over = process.port, False

        def connect_all_the_time() -> int:
            answered = 0
            while not over:
                with socket.create_connection(("127.0.0.1", port), LIMIT) as asking:  # raises, if it is refused
                    asking.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    answered += asking.recv(15).startswith(b"HTTP/1.1 200")
            return answered

        connecting = go(connect_all_the_time)
        with V1(port, name="Ann") as ann:
            process.process.send_signal(signal.SIGHUP)
            with pytest.raises(ConnectionClosed, match="1012"):
                ann.until(type="never")
        with V1(port, name="Ann", session=ann.session) as again:  # waits for the next server
            assert again.hello["name"] == "Ann"
        over = True
        assert connecting.result(LIMIT) > 1
        assert "drained: 1 client told" in process.out
        killed = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        os.kill(killed, signal.SIGKILL)
        with Peer(port) as peer:  # waits for the one after that
            peer.talk("hello")
        assert process.end() == 0


def test_a_server_that_cannot_start_is_not_started_for_ever(tmp_path: Path) -> None:
    with Process(tmp_path, [*KEEP_LISTENING, "sh", "-c", "exit 3"]) as process:
        assert process.process.wait(LIMIT) == 3
