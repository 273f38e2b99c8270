"""What the watched parts of a server note for the viewers: of each room its events and its followed messages.

In a room at which nobody looks, nothing is noted and no message is followed.
"""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections import deque
from typing import Any

from threadchat.inspector.journey import Journeys
from threadchat.room import LOBBY

EVENTS = 2_000  # of a room, that are kept for viewers that have not seen them yet


class Shared:
    """What the watched parts of all rooms share: a clock, the clients' addresses, and what the bots tell of themselves.

    `kernel_buffer` is the size of the kernel's send buffer for each client, in bytes; None leaves it as `connection`
    has set it. Any thread may read and write the fields.
    """

    def __init__(self, kernel_buffer: int | None = None) -> None:
        self.kernel_buffer = kernel_buffer
        self.present: dict[int, str] = {}  # the address of each client by its number, in whichever room it is
        self.names: dict[str, str] = {}  # of bots that the server has not met yet, by their address
        self.peers: dict[str, socket.socket] = {}  # the bots' own sockets, by their address; only to be looked at
        self.watches: dict[str, Watch] = {}  # what is noted of each room whose hub runs
        self.paces: dict[str, float] = {}  # messages a second that the demo's bots in a room send, all together
        self.journey_numbers = itertools.count(1)
        self._started = time.monotonic()

    def now(self) -> float:
        """Seconds since the inspector started."""
        return time.monotonic() - self._started


class Watch:
    """What is noted of one room. Any thread may call the methods. Somebody looks at the room at first, until `rest`."""

    def __init__(self, shared: Shared | None = None, room: str = LOBBY) -> None:
        self.room = room
        self.shared = shared or Shared()
        self.now = self.shared.now
        self.looked_at = True
        self.stopping = False
        self.journeys = Journeys(self.now, self.shared.journey_numbers)
        self._mutex = threading.Lock()  # guards the next two
        self._happened = 0
        self._events: deque[tuple[int, str]] = deque(maxlen=EVENTS)

    def look(self) -> None:
        """Somebody looks from now on. May be called again."""
        if not self.looked_at:
            self.looked_at = True
            self.journeys.wake()

    def rest(self) -> None:
        """Nobody looks any more."""
        self.looked_at = False
        self.journeys.rest()

    def note(self, kind: str, **facts: Any) -> None:
        """Record an event, which viewers get with their next picture."""
        if not self.looked_at:
            return
        text = json.dumps({"t": round(self.now(), 6), "kind": kind, **facts})
        with self._mutex:
            self._happened += 1
            self._events.append((self._happened, text))

    def events(self, after: int) -> tuple[int, list[str]]:
        """The number of the latest event, and the events after the one of number `after`, each as JSON.

        Of more than EVENTS, only the latest are left.
        """
        with self._mutex:
            new = min(self._happened - after, len(self._events))
            return self._happened, [self._events[index][1] for index in range(-new, 0)]
