"""Measure how soon all clients of a server are connected again that come back at the same moment.

The server has a store in which all of them are known, as after a restart; each comes with its session and with the
token of the last entry that it saw, and is sent what came since. Some clients are there already: one of them talks, and
the longest wait of any of them for a message is noted. Exit status 1 if a client was refused or did not come in.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import load
import servers

from threadchat.log import Addition
from threadchat.log.memory import MemoryLog
from threadchat.log.sqlite import SqliteStore
from threadchat.messages import JOIN, Entry, event, message
from threadchat.protocols.v1 import tag

HISTORY, MISSED = 200, 20  # messages in each room, and those of them that each client has not seen
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 300.0  # seconds for all to come in
PONG_WAIT = 2 * PATIENCE  # seconds; they answer no pings
LOW_ADDRESSES = 200  # of this machine, 127.0.0.1 and so on, from which the clients come: each has ports of its own


class Returning:
    """All clients that come back, in one thread. What they are sent beyond hello is thrown away."""

    def __init__(self, port: int, requests: Sequence[bytes], awaited: bytes = b'"hello"') -> None:
        self.ended = Counter[str]()  # connections that were refused, or ended by the server, by how
        self.answered: list[float] = []  # seconds until each handshake was answered
        self.greeted: list[float] = []  # and until each hello had come
        self.recovered = 0  # those that get what they have missed
        self._port, self._awaited = port, awaited
        self._requests = requests
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._unsent: dict[int, bytes] = {}
        self._heads: dict[int, bytes] = {}  # what has come, until hello has
        self._buffer = memoryview(bytearray(1 << 20))

    def come(self) -> float:
        """Connect all at once. Returns the seconds until the last one is in, or has been refused."""
        self._began = time.monotonic()
        for number, request in enumerate(self._requests):
            self._connect(number, request)
            if not number % 64:
                self._look(0)
        while self._heads and time.monotonic() < self._began + PATIENCE:
            self._look(1)
        if self._heads:
            self.ended["not connected"] += len(self._heads)
        return time.monotonic() - self._began

    def drain(self, seconds: float) -> None:
        """Read on, and throw away what comes."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._look(0.1)

    def leave(self) -> None:
        for each in self._sockets.values():
            each.close()
        self._poll.close()

    def _connect(self, number: int, request: bytes) -> None:
        new = socket.socket()
        new.setblocking(False)
        new.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        new.bind((f"127.0.0.{1 + number % LOW_ADDRESSES}", 0))
        new.connect_ex(("127.0.0.1", self._port))
        self._sockets[new.fileno()], self._heads[new.fileno()] = new, b""
        self._unsent[new.fileno()] = request
        self._poll.register(new, select.EPOLLIN | select.EPOLLOUT)

    def _look(self, timeout: float) -> None:
        for number, happened in self._poll.poll(timeout):
            if happened & select.EPOLLOUT and (request := self._unsent.pop(number, b"")):
                with suppress(OSError):
                    self._sockets[number].send(request)
                self._poll.modify(number, select.EPOLLIN)
            if happened & ~select.EPOLLOUT:
                self._read(number)

    def _read(self, number: int) -> None:
        try:
            size = self._sockets[number].recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(number, f"{error.strerror} by the server")
            return
        if not size:
            self._end(number, "closed by the server")
        elif number in self._heads:
            self._read_head(number, bytes(self._buffer[:size]))

    def _read_head(self, number: int, data: bytes) -> None:
        now, before = time.monotonic() - self._began, self._heads[number]
        head = before + data
        if not before:
            if b" 101 " not in head[:16]:
                self._end(number, f"answered {head[9:12].decode(errors='replace')}")
                return
            self.answered.append(now)
        self._heads[number] = head
        if self._awaited in head:
            self.greeted.append(now)
            self.recovered += b'"recovered": true' in head
            del self._heads[number]

    def _end(self, number: int, how: str) -> None:
        self.ended[how] += 1
        self._heads.pop(number, None)
        self._poll.unregister(number)
        self._sockets.pop(number).close()


def watch(port: int, requests: Sequence[bytes], pause: float, pipe: Connection) -> None:
    """Be the clients that are there already, in a process of their own, until something comes from the pipe.

    The first one says something, and, when all have heard it, something else `pause` seconds later at the earliest.
    Answers with the longest wait of any of them for each message, in seconds.
    """
    poll, sockets, tails = select.epoll(), {}, {}
    for request in requests:
        new = socket.create_connection(("127.0.0.1", port))
        new.sendall(request)
        load.read_until(b'"hello"', new)
        sockets[new.fileno()], tails[new.fileno()] = new, b""
        poll.register(new, select.EPOLLIN)
    poll.register(pipe, select.EPOLLIN)
    speaker = next(iter(sockets.values()))
    pipe.send(None)
    waits: list[float] = []
    waiting: set[int] = set()
    said, due, mark = 0.0, 0.0, b""
    while True:
        now = time.monotonic()
        if not waiting and now >= due:
            mark, said, due = b"said %08d" % len(waits), now, now + pause
            text = b'{"type":"msg","text":"%s"}' % mark
            speaker.sendall(b"\x81" + bytes([0x80 | len(text)]) + b"\0\0\0\0" + text)
            waiting = set(sockets)
            waits.append(0.0)
        for number, _ in poll.poll(1 if waiting else max(0.0, due - now)):
            if number == pipe.fileno():
                if waiting:
                    waits[-1] = time.monotonic() - said
                pipe.send(waits)
                return
            data = tails[number] + sockets[number].recv(1 << 18)
            if not data:
                raise ConnectionError("a client that was there was disconnected")
            if number in waiting and mark in data:
                waiting.discard(number)
                waits[-1] = time.monotonic() - said
            tails[number] = data[-len(mark) :]


def known_to(store: SqliteStore, rooms: int, sessions: Sequence[str]) -> list[str]:
    """Write a store in which the sessions are in the rooms. Returns the token of each room with which they come."""
    tokens = []
    for room in range(rooms):
        there = sessions[room::rooms]
        log = MemoryLog(keep=len(there) + HISTORY)
        said: list[Entry] = [event(JOIN, tag(session), f"Guest {session[-5:]}") for session in there]
        said += [message(f"message {number}", tag(sessions[room]), "Ann", number) for number in range(1, HISTORY + 1)]
        entries = log.append(said)
        store.write([Addition(f"herd{room}", entries, 0, 0, log.epoch, 0)])
        tokens.append(entries[-1 - MISSED].token)
    return tokens


def handshake(port: int, room: int, session: str, since: str = "") -> bytes:
    """The request of a client of threadchat.v1, as a browser sends it."""
    query = f"?name=Guest+{session[-5:]}" + (f"&since={since}" if since else "")
    return upgrade(port, f"/r/herd{room}/ws{query}", f"Sec-WebSocket-Protocol: threadchat.v1, session.{session}\r\n")


def upgrade(port: int, address: str, more: str = "") -> bytes:
    """A browser's request for a WebSocket, with more header lines."""
    return (
        f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nPragma: no-cache\r\n"
        "Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/126.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\nOrigin: http://127.0.0.1:{port}\r\n"
        "Sec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        f"{more}\r\n"
    ).encode()


class Used:
    """The CPU time that a process has used since a moment, in seconds: its own, and the system's for it."""

    def __init__(self, pid: int) -> None:
        self._stat = Path(f"/proc/{pid}/stat")
        self._before = self._read()

    def so_far(self) -> tuple[float, float]:
        return tuple((now - then) / TICKS for now, then in zip(self._read(), self._before, strict=True))  # type: ignore[return-value]

    def _read(self) -> tuple[int, int]:
        fields = self._stat.read_text().rpartition(")")[2].split()
        return int(fields[11]), int(fields[12])


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Start a server, let all come back, and return the figures. Raises servers.Failed."""
    sessions = [f"session-{number:012d}" for number in range(given.clients)]
    tokens = [""] * given.rooms
    if given.peer:
        return measure_plain(given)
    serve = servers.committed("commit", given.commit, folder).command if given.commit else servers.SERVE
    command = (*serve, "--max-clients", str(given.clients + given.watchers + 10))
    command += ("--pong-wait", f"{PONG_WAIT:g}", *given.serve_option)
    if not given.new:
        store = SqliteStore(str(folder / "store"))
        tokens = known_to(store, given.rooms, sessions)
        store.close()
        command += ("--store", f"sqlite:{folder / 'store'}")
    with servers.running(servers.Server("threadchat", command)) as started:
        here, there = multiprocessing.Pipe()
        port, rooms = started.port, given.rooms
        watchers = [handshake(port, 0, f"watcher-{number:012d}") for number in range(given.watchers)]
        watching = multiprocessing.Process(target=watch, args=(port, watchers, given.pause, there), daemon=True)
        if watchers:
            watching.start()
            here.recv()
        requests = [handshake(port, at % rooms, each, tokens[at % rooms]) for at, each in enumerate(sessions)]
        returning = Returning(port, requests)
        used, own = Used(started.process.pid), time.process_time()
        seconds = returning.come()
        spent, own = used.so_far(), time.process_time() - own
        returning.drain(given.then)
        waits = []
        if watchers:
            here.send(None)
            waits = here.recv()
            watching.join()
        said = started.said()
        started.process.kill()  # its orderly stop is not what is measured
        returning.leave()
    return came_back(returning, seconds, spent, own) | {
        "recovered": returning.recovered,
        "messages": len(waits),
        "longest_wait": round(max(waits, default=0), 4),
        "server_said": said,
    }


def measure_plain(given: argparse.Namespace) -> dict[str, Any]:
    """The same for clients of plain lines, which are in as soon as their handshake is answered, at another server."""
    with servers.running(servers.known(given.peer, None)) as started:
        returning = Returning(started.port, [upgrade(started.port, "/ws")] * given.clients, b"\r\n\r\n")
        used, own = Used(started.process.pid), time.process_time()
        seconds = returning.come()
        spent, own = used.so_far(), time.process_time() - own
        started.process.kill()
        returning.leave()
    return came_back(returning, seconds, spent, own)


def came_back(returning: Returning, seconds: float, spent: tuple[float, float], own: float) -> dict[str, Any]:
    """What was measured of all servers; `spent` is the server's CPU time, and `own` the load's."""
    came, (user, system) = len(returning.greeted), spent
    return {
        "connected": came,
        "refused": dict(returning.ended),
        "seconds": round(seconds, 2),
        "answered_seconds": spread(returning.answered),
        "greeted_seconds": spread(returning.greeted),
        "cpu_us_a_client": round((user + system) / max(1, came) * 1e6),
        "of_it_system": round(system / max(1, came) * 1e6),
        "load_cpu_seconds": round(own, 2),
        "load_average": os.getloadavg()[0],
    }


def spread(values: Sequence[float]) -> list[float]:
    """The median, the 99th percentile and the greatest of these seconds."""
    ordered = sorted(values) or [0.0]
    return [round(ordered[len(ordered) * part // 100], 2) for part in (50, 99)] + [round(ordered[-1], 2)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/herd", description=__doc__)
    add = parser.add_argument
    add("--clients", type=int, default=10_000, metavar="N", help="that come back at once (default %(default)s)")
    add("--rooms", type=int, default=1, metavar="N", help="in which they are (default %(default)s)")
    add("--watchers", type=int, default=4, metavar="N", help="that are there already (default %(default)s)")
    add("--pause", type=float, default=0.5, metavar="S", help="between two messages of theirs (default %(default)s)")
    add("--new", action="store_true", help="the server has no store, and knows nobody: each one joins")
    add("--then", type=float, default=1.0, metavar="S", help="read on for so long afterwards (default %(default)s)")
    add("--serve-option", action="append", default=[], metavar="OPTION", help="of `threadchat serve` (repeatable)")
    help_text = (
        "measure this server of scripts/bench, with clients of plain lines: barest is the least that two threads a "
        "client cost over werkzeug and simple-websocket"
    )
    add("--peer", choices=["threadchat", "barest", "plain"], help=help_text)
    add("--commit", metavar="COMMIT", help="measure threadchat as this commit has it, instead of this checkout's")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="threadchat-herd-") as folder:
        figures = measure(given, Path(folder))
    print(json.dumps(figures, indent=2))
    return 0 if figures["connected"] == given.clients else 1


if __name__ == "__main__":
    sys.exit(main())
