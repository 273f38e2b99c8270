"""A server in a process of its own, with a hundred innocent clients that talk and check what they receive."""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from helpers import LIMIT, PING, PONG, TEXT, Peer, Process, frame, go, until

INNOCENTS = 100
LINES = 20  # messages that the speaker of a round sends in one go
PADDING = "." * 400  # added to each message, so that the buffers of a client that does not read are soon full
LEAST_ROUNDS = 20  # rounds in each scenario, at least
MORE_MEMORY = 16_384  # KB that the allocator may keep after a scenario


def all_descriptors() -> None:
    """Raise the limit of open descriptors of this process, and of those that it starts, as far as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@dataclass(frozen=True)
class Figures:
    """What a process uses: threads, open descriptors, and memory in KB."""

    threads: int
    descriptors: int
    memory: int

    @classmethod
    def of(cls, pid: int) -> Figures:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        return cls(int(status["Threads"]), descriptors, int(status["VmRSS"].split()[0]))

    def __str__(self) -> str:
        return f"{self.threads} threads, {self.descriptors} descriptors, {self.memory / 1024:.1f} MB"


class Innocents:
    """Clients that talk in rounds: one sends LINES messages, and all receive them, in order, before the next one sends.

    Messages from other clients must be the same for all innocents, and are kept in `others`.
    """

    def __init__(self, port: int) -> None:
        self.rounds = 0
        self.others: list[str] = []
        self.peers: list[Peer] = []
        self._heard: list[deque[str]] = [deque() for _ in range(INNOCENTS)]  # received, not checked yet
        self._said = 0
        for _ in range(INNOCENTS):
            self.peers.append(Peer(port))

    def talk(self) -> None:
        """Talk one round. Raises AssertionError if a client misses a message, and EOFError if it is disconnected."""
        lines = [f"innocent {self._said + number} {PADDING}" for number in range(LINES)]
        self._said += LINES
        speaker = self.peers[self.rounds % INNOCENTS]
        speaker.socket.sendall(b"".join(frame(TEXT, line) for line in lines))
        others = [self._hear(number, lines) for number in range(INNOCENTS)]
        assert all(heard == others[0] for heard in others), "one order for all"
        self.others += others[0]
        self.rounds += 1

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Let them talk during a `with` block, and for LEAST_ROUNDS at least."""
        enough = threading.Event()
        until_round = self.rounds + LEAST_ROUNDS

        def body() -> None:
            while self.rounds < until_round or not enough.is_set():
                self.talk()

        talk = go(body)
        try:
            yield
        finally:
            enough.set()
            talk.result(LIMIT)

    def close(self) -> None:
        for peer in self.peers:
            peer.close()

    def _hear(self, number: int, lines: list[str]) -> list[str]:
        """Receive all of the lines, in order. Returns the messages of others that came in between."""
        others: list[str] = []
        heard = self._heard[number]
        for line in lines:
            while True:
                while not heard:
                    heard.extend(_lines(self.peers[number]))
                got = heard.popleft()
                if got.startswith("innocent "):
                    assert got == line, f"innocent {number} heard {got!r} instead of {line!r}"
                    break
                others.append(got)
        return others


def _lines(peer: Peer) -> list[str]:
    """The lines of the next message. Answers pings that come before it."""
    while True:
        got = peer.receive()
        if got.opcode == TEXT:
            return got.payload.decode().split("\n")
        assert got.opcode == PING, got
        peer.send(PONG, got.payload)


class Chat:
    """`threadchat serve` with these arguments, and its innocent clients."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with ExitStack() as stack:
            command = [sys.executable, "-W", "error", "-m", "threadchat", "serve", "--port", "0", *arguments]
            self.process = stack.enter_context(Process(folder, command))
            self.port = self.process.port
            self.innocents = Innocents(self.port)
            stack.callback(self.innocents.close)
            self.innocents.talk()  # after this, each of them has both its threads
            self._stack = stack.pop_all()

    def figures(self) -> Figures:
        return Figures.of(self.process.pid)

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """During a `with` block the innocents talk. After it, the server must use no more than it did before."""
        before = self.figures()
        with self.innocents.talking():
            yield
        until(lambda: self.figures().threads <= before.threads, f"the end of all threads but {before.threads}")
        until(lambda: self.figures().descriptors <= before.descriptors, f"all but {before.descriptors} closed")
        after = self.figures()
        print(f"{self.innocents.rounds * LINES} lines, each heard by {INNOCENTS}; before: {before}; after: {after}")
        assert (after.threads, after.descriptors) == (before.threads, before.descriptors)
        assert after.memory <= before.memory + MORE_MEMORY

    def next_round(self) -> None:
        """Wait until the innocents have ended another round."""
        now = self.innocents.rounds
        until(lambda: self.innocents.rounds > now, "the innocents' talk")

    def hears(self, line: str) -> None:
        """Wait until the innocents have received a line that another client sent."""
        until(lambda: line in self.innocents.others, f"the innocents receiving {line!r}")

    def parted(self, peer: Peer) -> bool:
        """Whether the server has ended its side of the connection, even if the peer has not read so far.

        Linux has a table of the connections' states.
        """
        ends = f"0100007F:{self.port:04X} 0100007F:{peer.socket.getsockname()[1]:04X} "
        established = "01"
        return ends + established not in Path("/proc/net/tcp").read_text()

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


OpenChat = Callable[..., Chat]
