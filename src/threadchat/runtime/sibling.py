"""One of the processes of a chat, and what it tells the process that has started it (see processes.py).

It is handed the socket that all of them listen on, its own number, and a socket to report on. Its reports are lines of
JSON. It is told nothing, but notices when the other process has gone, whatever the reason: then it stops.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from threadchat.runtime.share import Share
from threadchat.runtime.threads import go

PLACE = "_THREADCHAT_PLACE"  # in the environment: a Place as JSON


@dataclass(frozen=True)
class Place:
    """A process's place among the processes of a chat.

    number: which one it is, from 1 on; one that replaces another has its number.
    processes: how many there are.
    host, port: where they listen, as the address that people open says it.
    folder: where they have their table of connections (`table`), and a socket each for their figures.
    listener, reports: the descriptors of two sockets, which the process inherits.
    kept: whether another program keeps the first of these, so that those who connect can wait for the next server.
    """

    number: int
    processes: int
    host: str
    port: int
    folder: str
    listener: int
    reports: int
    kept: bool = False

    @property
    def table(self) -> Path:
        """The table of `Share`."""
        return Path(self.folder, "table")

    def figures(self, number: int) -> Path:
        """The address of the socket at which the process with this number says its figures."""
        return Path(self.folder, f"{number}.figures")

    @property
    def environment(self) -> dict[str, str]:
        """What hands the place over: variables of the environment."""
        return {PLACE: json.dumps(asdict(self))}


class Sibling:
    """This process as one of several. Any thread may call the methods."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.listener = socket.socket(fileno=place.listener)
        self.listener.set_inheritable(False)
        os.set_inheritable(place.reports, False)
        self.share = Share(place.table, place.number, place.kept)
        go(self._stop_when_alone, "parent")

    @classmethod
    def of_this_process(cls) -> Self | None:
        """The sibling that this process was started as; None if it stands alone."""
        place = os.environ.pop(PLACE, None)
        return None if place is None else cls(Place(**json.loads(place)))

    def report(self, **what: Any) -> None:
        """Report something. Nothing happens if nobody is there any more."""
        with suppress(OSError):
            os.write(self.place.reports, json.dumps(what).encode() + b"\n")

    def _stop_when_alone(self) -> None:
        """Stop this process, as SIGTERM does, when the one that has started it has gone."""
        with suppress(OSError):
            os.read(self.place.reports, 1)
        os.kill(os.getpid(), signal.SIGTERM)


def read_report(line: bytes) -> Mapping[str, Any]:
    """What was reported in a line; nothing where the process ended in the middle of it."""
    try:
        report: Mapping[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return report
