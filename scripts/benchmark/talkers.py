"""Clients of threadchat.v1 that are cut off and put to sleep all the time, in several rooms, all in one thread.

    cut      the socket is closed or reset, some inside a frame, or falls silent and stays open: the server thinks that
             the client is still there
    asleep   the client does not read. When its buffer is full the server evicts it; when no pong comes, likewise

See `talker` for what is checked. In the end, and now and then before, all is compared with the rooms' logs.
"""

from __future__ import annotations

import http.client
import math
import random
import select
import socket
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence

from talker import CUTS, EVICTED, Counts, Room, Talker

SENDERS = 4  # in each room
TICK = 0.01  # seconds; the longest wait for the sockets before the clock is read again
SILENT = 20.0  # seconds for which a socket that has fallen silent stays open
PATIENCE = 60.0  # seconds that all have to come back, and to be sent what they lack, at the end
COMPARE = 1_000.0  # entries; when a room has so many more, they are compared with its log


class Talkers:
    """All clients of a chat, whose servers have these ports. The constructor returns when they are in their rooms.

    `rate` is how many messages they send a second, all together; 0 for as many as they can. Every `pause` seconds one
    of them is cut off, and comes back `away` seconds later at most, or falls asleep, for as long as `nap` says. What
    all clients have is forgotten unless it is to be kept. A room is compared with its log, which needs a server, each
    time that it has grown by `compare` entries. Where several `processes` serve and are killed meanwhile, the one that
    is asked for a log may end: then another one is asked. The rooms' names begin with `prefix`. Raises TimeoutError if
    they cannot join.
    """

    def __init__(
        self,
        ports: Sequence[int],
        clients: int,
        rooms: int,
        *,
        rate: float,
        pause: float,
        nap: Callable[[random.Random], float],
        away: float = 0.0,
        seed: int = 0,
        keep: bool = False,
        compare: float = COMPARE,
        prefix: str = "room",
        processes: bool = False,
    ) -> None:
        self.counts = Counts()
        self.rooms = [Room(f"{prefix}{number}", self.counts) for number in range(rooms)]
        senders = min(clients, SENDERS * rooms)
        pace = senders / rate if rate else 0.0
        self.talkers = [
            Talker(self.rooms[number % rooms], ports, pace if number < senders else None, self.counts, number // rooms)
            for number in range(clients)
        ]
        self._ports, self._pause, self._nap, self._away = deque(ports), pause, nap, away
        self._keep, self._compare, self._processes = keep, compare, processes
        self._chance = random.Random(seed)
        self._poll = select.epoll()
        self._by_number: dict[int, Talker] = {}
        self._silent: deque[tuple[float, socket.socket]] = deque()
        self._until = math.inf
        if not self._go_on(lambda: all(talker.greeted for talker in self.talkers), speaking=False):
            raise TimeoutError("the clients of threadchat.v1 could not join")

    def run(self, seconds: float) -> None:
        """Talk for `seconds` while clients are cut off and asleep; then wait until each has everything, and compare."""
        end = time.monotonic() + seconds
        harass = time.monotonic() + self._pause
        while self.talkers and (now := time.monotonic()) < min(end, self._until):
            if now >= harass:
                harass = now + self._pause
                self._harass(self._chance.choice(self.talkers), now)
            self._step(now)
            self._compare_some()
        self._settle()

    def finish(self) -> None:
        """Make `run` end its traffic, now or once it is called. A signal handler and any thread may call this."""
        self._until = 0.0

    def leave(self) -> None:
        """Close all connections."""
        for talker in self.talkers:
            self._forget(talker)
            if talker.socket is not None:
                talker.cut("closed")
        for _, left in self._silent:
            left.close()
        self._poll.close()

    def _settle(self) -> None:
        """Wake all, wait until they have everything and compare it with the logs. What is lacking then was missed."""
        for talker in self.talkers:
            talker.due = 0.0
        settled = self._go_on(self._is_settled, speaking=False)
        for room in self.rooms:
            self.counts.missed += sum(room.top - talker.last for talker in self._in(room))
            if not settled and not room.compare(self._log(room)):
                self.counts.missed += 1
        for talker in self.talkers:
            self.counts.missed += talker.number - talker.room.said(talker.by)

    def _is_settled(self) -> bool:
        return all(
            talker.greeted and not talker.under_way and talker.last == talker.room.top for talker in self.talkers
        ) and all(room.compare(self._log(room)) for room in self.rooms)

    def _go_on(self, done: Callable[[], bool], speaking: bool) -> bool:
        """Take steps until it is done, and return True; or False after PATIENCE."""
        limit = time.monotonic() + PATIENCE
        while not done():
            if (now := time.monotonic()) > limit:
                return False
            self._step(now, speaking)
        return True

    def _step(self, now: float, speaking: bool = True) -> None:
        for talker in self.talkers:
            if talker.socket is None:
                if now >= talker.due:
                    self._watch(talker, talker.connect())
            elif talker.asleep:
                if now >= talker.due:
                    talker.asleep = False
                    self._watch(talker, talker.socket)
            elif speaking:
                talker.say(now)
        for number, event in self._poll.poll(TICK):
            talker = self._by_number[number]
            if event & select.EPOLLOUT and not talker.flush():
                self._poll.modify(number, select.EPOLLIN)
            if event & ~select.EPOLLOUT and (ending := talker.read()):
                self._end(talker, ending, "closed", now)
        while self._silent and self._silent[0][0] < now:
            self._silent.popleft()[1].close()

    def _harass(self, talker: Talker, now: float) -> None:
        if talker.socket is None or talker.asleep:
            return
        if self._chance.random() < 0.5:
            how, talker.due = self._chance.choice(CUTS), 0.0
            talker.say(now, whole=how != "reset inside a frame")  # so that it does not know whether this was taken
            self._end(talker, how, how, now)
        else:
            self.counts.naps += 1
            self._forget(talker)
            talker.asleep, talker.due, talker.has_slept = True, now + self._nap(self._chance), True

    def _end(self, talker: Talker, why: str, how: str, now: float) -> None:
        """Count the end of a connection, and end it on this side. The client comes back."""
        self.counts.endings[why] += 1
        self.counts.healthy_evicted += why == EVICTED and not talker.has_slept
        self._forget(talker)
        if (left := talker.cut(how)) is not None:
            self._silent.append((now + SILENT, left))
        talker.greeted, talker.due = False, now + self._chance.uniform(0, self._away)

    def _watch(self, talker: Talker, connected: socket.socket) -> None:
        self._by_number[connected.fileno()] = talker
        self._poll.register(connected, select.EPOLLIN | select.EPOLLOUT)

    def _forget(self, talker: Talker) -> None:
        if talker.socket is not None and talker.socket.fileno() in self._by_number:
            del self._by_number[talker.socket.fileno()]
            self._poll.unregister(talker.socket)

    def _in(self, room: Room) -> list[Talker]:
        return [talker for talker in self.talkers if talker.room is room]

    def _compare_some(self) -> None:
        """Compare with its log a room that has grown by `compare` entries, and forget what all its clients have."""
        for room in self.rooms:
            if room.top >= room.compared + self._compare:
                room.compare(self._log(room))
                if self._keep:
                    continue
                room.forget(min(talker.last for talker in self._in(room)))

    def _log(self, room: Room) -> list[str]:
        """What the next server has of the room. Raises OSError and HTTPException."""
        limit = time.monotonic() + PATIENCE
        while True:
            try:
                return self._fetch(room)
            except (OSError, http.client.HTTPException):
                if not self._processes or time.monotonic() > limit:
                    raise
            time.sleep(TICK)

    def _fetch(self, room: Room) -> list[str]:
        port = self._ports[0]
        self._ports.rotate(-1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/r/{room.name}/log.jsonl", timeout=PATIENCE) as got:
            return [line for line in got.read().decode().split("\n") if line]
