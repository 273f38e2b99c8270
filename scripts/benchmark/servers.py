"""The servers that can be measured: how each is started and stopped."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

PEERS = Path(__file__).parent / "peers"
ROOT = Path(__file__).parents[2]
GO_SOURCE = ROOT / "www" / "chat.go"  # the guide shows it too
NAMES = ("threadchat", "plain", "websockets", "aiohttp", "go", "socketify", "picows", "ws", "uwebsockets.js")
PYTHON_PEERS = {  # the packages that each imports
    "plain": ("simple_websocket",),
    "websockets": ("websockets",),
    "aiohttp": ("aiohttp",),
    "socketify": ("socketify",),
    "picows": ("picows", "uvloop"),
}
NODE_PEERS = {  # the package that each requires, and what npm calls its source
    "ws": ("ws", "ws@8"),
    "uwebsockets.js": ("uWebSockets.js", "github:uNetworking/uWebSockets.js#v20.51.0"),  # its authors' only place
}
NODE_FOLDER = Path(sys.prefix) / "node"  # where --install-node puts them
MOST = {"plain": 1000}  # clients that it bears, where there is a limit; and in the scenario crowd
MOST_IN_A_CROWD = {"plain": 1000, "aiohttp": 1000}
BAREST = "barest"  # the least that two threads a client can cost: see peers/barest_chat.py
INSPECTED = "inspected"  # threadchat with its inspector, whose live page is open
V1 = "v1"  # threadchat with clients that speak threadchat.v1
REDIS = "threadchat-redis"  # threadchat in several processes, over a Redis of their own
OTHERS = (BAREST, INSPECTED, V1, REDIS)  # are measured only if they are named
SERVE = (sys.executable, "-m", "threadchat", "serve", "--port", "{port}", "--log-level", "error", "--message-rate", "0")
PORTS = range(20_000, 32_000)  # below the ephemeral ports
PROCESSES = 2  # of threadchat over a Redis, unless told otherwise
START_SECONDS = 20
STOP_SECONDS = 10
GO_PACKAGES = ("golang-go", "golang-github-gorilla-websocket-dev")
GO_ENVIRONMENT = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}  # where Debian's packages put Go's sources


class Failed(Exception):
    """A server cannot be built, started or measured; str() says why in one line, `output` has what it printed."""

    def __init__(self, reason: str, output: str = "") -> None:
        super().__init__(reason)
        self.output = output


@dataclass(frozen=True)
class Server:
    """A server that can be started, and what it can bear."""

    name: str
    command: tuple[str, ...]  # {port} in it stands for the port
    most_clients: int = 1_000_000
    most_in_a_crowd: int = 1_000_000  # in the scenario crowd
    scenarios: tuple[str, ...] = ("saturation", "calm", "crowd")
    look: str = ""  # the path of a live page to keep open during the run
    v1: bool = False  # whether its clients speak threadchat.v1
    processes: int = 0  # of threadchat, over a Redis that is started for them; 0: the server is on its own

    def can(self, scenario: str, clients: int) -> bool:
        most = self.most_in_a_crowd if scenario == "crowd" else self.most_clients
        return scenario in self.scenarios and clients <= most


@dataclass
class Running:
    """A server's process."""

    port: int
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    killed: bool = False
    pictures: int = 0  # updates that its live page has sent

    def said(self) -> str:
        """Return its output so far, standard error included."""
        self.output.flush()
        self.output.seek(0)
        return self.output.read().decode(errors="replace").strip()


def known(name: str, go: Path | None) -> Server:
    """Return the server of this name: one of NAMES or of OTHERS. Raises Failed if it is not installed."""
    if name == "threadchat":
        return Server(name, SERVE)
    if name == INSPECTED:
        plain = known("threadchat", go)
        return replace(plain, name=name, command=(*plain.command, "--inspect"), look="/inspect/live")
    if name == V1:
        # Each is told of all who join, and the load reads nothing until all have.
        return replace(known("threadchat", go), name=name, v1=True, most_clients=1000, most_in_a_crowd=1000)
    if name == REDIS:
        if not (shutil.which("redis-server") or shutil.which("valkey-server")):
            raise Failed("there is no redis-server (Debian: apt-get install redis-server)")
        return Server(name, SERVE, processes=PROCESSES)
    if name == BAREST:
        return Server(name, (sys.executable, str(PEERS / "barest_chat.py"), "{port}"))
    if name == "go":
        if go is None:
            raise Failed("there is no Go server")
        return Server(name, (str(go), "-listen", "127.0.0.1:{port}"))
    if name in NODE_PEERS:
        return _node_peer(name)
    for package in PYTHON_PEERS[name]:
        if not _succeeds(sys.executable, "-c", f"import {package}"):
            raise Failed(f"{package} is not installed, or does not work here")
    command = (sys.executable, str(PEERS / f"{name}_chat.py"), "{port}")
    return Server(name, command, MOST.get(name, Server.most_clients), MOST_IN_A_CROWD.get(name, Server.most_in_a_crowd))


def _node_peer(name: str) -> Server:
    if shutil.which("node") is None:
        raise Failed("Node is not installed")
    package, _ = NODE_PEERS[name]
    paths = [str(NODE_FOLDER / "node_modules"), os.environ.get("NODE_PATH", "")]
    node = ("env", f"NODE_PATH={os.pathsep.join(filter(None, paths))}", "node")
    if not _succeeds(*node, "-e", f'require("{package}")'):
        raise Failed(f"Node's package {package} is not installed (see --install-node), or does not work here")
    return Server(name, (*node, str(PEERS / f"{name.removesuffix('.js')}_chat.js"), "{port}"))


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def other(text: str) -> Server:
    """Return the server that NAME=COMMAND describes. Raises ValueError if it does not."""
    name, found, command = text.partition("=")
    words = tuple(shlex.split(command))
    if not found or not name or not any("{port}" in word for word in words):
        raise ValueError(f"must be NAME=COMMAND with {{port}} in the command, not {text!r}")
    if name in (*NAMES, *OTHERS):
        raise ValueError(f"{name!r} is a name already taken")
    return Server(name, words)


def committed(name: str, commit: str, folder: Path) -> Server:
    """Return threadchat as this commit has it, put into the folder. Raises Failed.

    It runs on the libraries that are installed now.
    """
    into = folder / name
    into.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit, "src", "www"], capture_output=True)
    if archive.returncode:
        raise Failed(f"git has no {commit}: {archive.stderr.decode(errors='replace').strip()}")
    subprocess.run(["tar", "-x", "-C", str(into)], input=archive.stdout, check=True)
    return Server(name, ("env", f"PYTHONPATH={into / 'src'}", *SERVE))


def about(commit: str) -> str:
    """Return a line about the commit, or about this checkout for ""."""
    line = ["git", "-C", str(ROOT), "log", "-1", "--format=%h %s", commit or "HEAD", "--"]
    said = subprocess.run(line, capture_output=True, text=True).stdout.strip()
    return said if commit else f"the files of this checkout, on {said}"


def install_go() -> None:
    """Install Go and gorilla/websocket from Debian's packages. Raises Failed."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Failed("--install-go needs apt-get, as root")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *GO_PACKAGES]):
        done = subprocess.run(["apt-get", *command], env=environment, stdout=subprocess.DEVNULL)
        if done.returncode:
            raise Failed(f"apt-get {command[0]} ended with status {done.returncode}")


def install_node() -> None:
    """Install the packages of the Node servers beside the virtual environment. Raises Failed, after trying each."""
    if shutil.which("npm") is None:
        raise Failed("--install-node needs Node and its npm")
    NODE_FOLDER.mkdir(exist_ok=True)
    npm = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(NODE_FOLDER))
    missing = [source for _, source in NODE_PEERS.values() if not _succeeds(*npm, source)]
    if missing:
        raise Failed(f"npm cannot install {' and '.join(missing)}")


def build_go(folder: Path) -> Path:
    """Compile the Go server into the folder, and return the program's path. Raises Failed."""
    how = f"apt-get install {' '.join(GO_PACKAGES)}, or --install-go"
    if shutil.which("go") is None:
        raise Failed(f"Go is not installed; to measure it too: {how}")
    built = folder / "go_chat"
    done = subprocess.run(
        ["go", "build", "-o", str(built), GO_SOURCE.name],
        cwd=GO_SOURCE.parent,
        env=os.environ | GO_ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Failed(f"the Go server does not compile; it needs: {how}", done.stderr.strip())
    return built


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on. Raises Failed."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed("found no free port")


@contextmanager
def running(server: Server) -> Iterator[Running]:
    """Start the server in a new process, wait until it accepts connections, and stop it at the end. Raises Failed."""
    port = free_port()
    command: Sequence[str] = [word.replace("{port}", str(port)) for word in server.command]
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise Failed(f"cannot start {command[0]}: {error.strerror}") from error
        started = Running(port, process, output)
        try:
            _wait(started)
            if server.look:
                threading.Thread(target=_look, args=(started, server.look), name="viewer", daemon=True).start()
            yield started
            if server.look and not started.pictures:
                raise Failed(f"{server.look} sent nothing", started.said())
        finally:
            _stop(started)


def _wait(started: Running) -> None:
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit:
        if started.process.poll() is not None:
            raise Failed(f"the server ended at once, with status {started.process.returncode}", started.said())
        try:
            socket.create_connection(("127.0.0.1", started.port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failed(f"the server accepted no connection for {START_SECONDS} s", started.said())


def _look(started: Running, path: str) -> None:
    """Read the live page at this path until the server ends, and count its updates."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", started.port)) as viewer:
        viewer.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        while seen := viewer.recv(65_536):
            started.pictures += seen.count(b"event: picture")


def _stop(started: Running) -> None:
    process = started.process
    try:
        process.terminate()
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        started.killed = True
    finally:  # also after a second Ctrl-C
        if process.poll() is None:
            process.kill()
        process.wait()
