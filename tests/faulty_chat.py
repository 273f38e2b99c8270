"""A chat with a fault, for the tests of the programs that must find it: `python faulty_chat.py PORT FAULT`."""

from __future__ import annotations

import itertools
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from threadchat import room
from threadchat.log.memory import MemoryLog
from threadchat.messages import Entry
from threadchat.options import Options
from threadchat.web.app import App
from threadchat.web.server import Server
from threadchat.websocket.connection import Connection

EVERY = 20  # the fault shows in each message or frame of a client whose number is a multiple of this


class LosesForAll(Connection):
    """Loses messages as it reads them, so that no client gets them."""

    def __iter__(self) -> Iterator[str]:
        return (message for number, message in enumerate(super().__iter__(), 1) if number % EVERY)


class Faulty(Connection):
    """Spoils each EVERYth frame: `spoil` gets the frame's messages, and returns those to send instead."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.numbers = itertools.count(1)

    def encode(self, lines: Sequence[str]) -> bytes:
        if next(self.numbers) % EVERY == 0:
            lines = self.spoil(lines)
        return super().encode(lines) if lines else b""

    def spoil(self, lines: Sequence[str]) -> Sequence[str]:
        raise NotImplementedError


class Loses(Faulty):
    def spoil(self, lines: Sequence[str]) -> Sequence[str]:
        return lines[1:]


class Repeats(Faulty):
    def spoil(self, lines: Sequence[str]) -> Sequence[str]:
        return [lines[0], *lines]


class Reorders(Faulty):
    """Keeps a message back until the next message has been sent."""

    held: str | None = None

    def encode(self, lines: Sequence[str]) -> bytes:
        if self.held is not None:
            lines, self.held = [lines[0], self.held, *lines[1:]], None
        return super().encode(lines)

    def spoil(self, lines: Sequence[str]) -> Sequence[str]:
        self.held = lines[-1]
        return lines[:-1]


class Evicts(Faulty):
    def spoil(self, lines: Sequence[str]) -> Sequence[str]:
        self.end(1008, "evicted for nothing")
        return lines


class Leaks(Connection):
    """Leaves a thread and a descriptor behind when the connection ends."""

    kept: list[Any] = []  # noqa: RUF012

    def accept(self) -> None:
        super().accept()
        self.kept.append(socket.fromfd(self._socket.fileno(), socket.AF_INET, socket.SOCK_STREAM))
        threading.Thread(target=threading.Event().wait, daemon=True).start()


class TakesTwice(MemoryLog):
    """Takes again what a client sends again."""

    def append(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        numbers = [entry.n for entry in entries]
        for entry in entries:
            entry.n = None
        accepted = super().append(entries)
        for entry, number in zip(entries, numbers, strict=True):
            entry.n = number
        return accepted


class Forgets(MemoryLog):
    """Does not know where a client that comes back was."""

    def find(self, text: str) -> int | None:
        return None


FAULTS: dict[str, type[Connection]] = {
    "loses for all": LosesForAll,
    "loses": Loses,
    "repeats": Repeats,
    "reorders": Reorders,
    "evicts": Evicts,
    "leaks": Leaks,
    "keeps": Connection,  # `main` gives it options with which it does not evict a stuck client
    "fails": Connection,  # `main` returns an error when it stops
    "takes twice": Connection,  # `main` gives each room such a log
    "forgets": Connection,
}
LOGS = {"takes twice": TakesTwice, "forgets": Forgets}


def main() -> int:
    port, fault = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    options = Options(message_rate=0, room_linger=1)
    if fault == "keeps":
        options = replace(options, send_buffer=10**6, write_wait=3600)
    room.MemoryLog = LOGS.get(fault, MemoryLog)  # type: ignore[attr-defined]
    server = Server(App(options, connection_type=FAULTS[fault]), "127.0.0.1", int(port))
    server.start()
    signal.sigwait([signal.SIGTERM])
    server.stop()
    return 3 if fault == "fails" else 0


if __name__ == "__main__":
    sys.exit(main())
