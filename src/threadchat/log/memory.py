"""A log in memory: it lasts as long as its room. A store may keep the same beyond that (see `stored_room`)."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from math import inf
from zlib import crc32

from threadchat.log import Extent
from threadchat.messages import MESSAGE, Entry, token

LEAST = 1_024  # entries that are kept for those who are just joining, whatever `keep` says
MOST_BYTES = 4_194_304  # of all messages together, about; but not fewer entries than LEAST
REMEMBERED = 600.0  # seconds for which a session's last number is remembered at least, after its entry was trimmed


class MemoryLog:
    """Keeps the newest `keep` entries, never fewer than `least`; none for longer than `keep_for` seconds.

    With a `keep` of 0 nothing can be recovered. What is too old goes with the next entry, or by `expire`. Any thread
    may call the methods; only one thread appends, or numbers and retains.
    """

    def __init__(self, keep: int, least: int = LEAST, keep_for: float = inf) -> None:
        self.epoch = secrets.token_urlsafe(4)  # set once more by `restore`, before anybody uses the log
        self._keep = keep
        self._least = least
        self._most = max(keep, least)
        self._keep_for = keep_for
        self._mutex = threading.Lock()  # guards the rest
        self._entries: list[Entry] = []
        self._before = 0  # the id before the first of _entries
        self._before_check = 0  # that entry's check value
        self._bytes = 0  # of the texts in _entries
        self._given: dict[str, int] = {}  # by session, its last number, also if the entry is not kept yet
        self._newest: dict[str, Entry] = {}  # by session, the newest entry with a number
        self._forgotten = 0.0  # when _newest was last cleared of old entries

    @property
    def top(self) -> int:
        """The id of the newest entry; 0 if there was none."""
        with self._mutex:
            return self._before + len(self._entries)

    @property
    def extent(self) -> Extent:
        """How far it reaches at this instant."""
        with self._mutex:
            return Extent(self.epoch, self._before + 1, self._before + len(self._entries), self._bytes)

    def append(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Number the entries and keep them. Returns them without the repeats, which were taken before."""
        with self._mutex:
            return self._retain(self._number(entries))

    def number(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Number the entries, without the repeats, and return them. Nobody reads them before `retain`."""
        with self._mutex:
            return self._number(entries)

    def retain(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Keep what `number` has returned, or the entries of a store that come next. Returns them."""
        with self._mutex:
            return self._retain(entries)

    def expire(self) -> None:
        """Drop what is too old. Any thread may call this."""
        with self._mutex:
            self._trim()

    def restore(self, epoch: str, before: int, check: int, newest: Iterable[Entry]) -> None:
        """Go on where a store has ended. Called first of all; what is kept then follows by `retain`.

        The oldest entry that is kept comes after the id `before`, and `check` is the check value of the one with that
        id. `newest` has entries that are not kept any more, with the last numbers of sessions.
        """
        self.epoch, self._before, self._before_check = epoch, before, check
        self._newest = {entry.by: entry for entry in newest}
        self._given = {by: entry.n or 0 for by, entry in self._newest.items()}

    @property
    def start(self) -> tuple[int, int]:
        """The id before the oldest entry that is kept, and that entry's check value."""
        with self._mutex:
            return self._before, self._before_check

    def read(self, after: int, most: int) -> Sequence[Entry] | None:
        """The oldest `most` entries with an id above `after`; None if the first of them is not kept any more."""
        with self._mutex:
            start = after - self._before
            return self._entries[start : start + most] if start >= 0 else None

    def recent(self, count: int) -> int:
        """The id after which the newest `count` messages come: where a newcomer's history begins.

        Joins and the like count too, as a tenth of a message each.
        """
        with self._mutex:
            index, left = len(self._entries), float(min(count, self._keep))
            while index and left > 0:
                index -= 1
                left -= 1 if self._entries[index].kind == MESSAGE else 0.1
            return self._before + index

    def token(self, number: int) -> str:
        """The token of the point after the entry with this id, which is kept, or the newest that is not."""
        with self._mutex:
            return token(self.epoch, number, self._check(number))

    def find(self, text: str) -> int | None:
        """The id in a token; None if what comes after it cannot be given completely, or the token is not this log's."""
        number = self._number_in(text)
        with self._mutex:
            if number is None or not self._keep:
                return None
            if not self._before <= number <= self._before + len(self._entries):
                return None
            return number if text == token(self.epoch, number, self._check(number)) else None

    def ahead(self, text: str) -> int | None:
        """The id in a token of this log's epoch, if it is above the newest: another process may have that already."""
        number = self._number_in(text)
        return number if number is not None and number > self.top else None

    def clear(self, number: int) -> None:
        """Forget what was logged before the entry with this id. No token from before it is found any more.

        Sessions' last numbers are remembered. Called by the thread that appends.
        """
        with self._mutex:
            dropped = self._entries[: number - 1 - self._before]
            del self._entries[: len(dropped)]
            self._before = number - 1
            self._before_check = cleared(number, self.epoch)
            self._bytes -= sum(len(entry.text) for entry in dropped)

    def last(self, by: str) -> int | None:
        """The last number that was taken from a session; None if the log knows none.

        Without the mutex, which would make each read pump wait for the hub with each message.
        """
        newest = self._newest.get(by)
        return None if newest is None else newest.n

    def _number_in(self, text: str) -> int | None:
        epoch, _, rest = text.partition(".")
        digits = rest.partition(".")[0]
        fits = epoch == self.epoch and digits.isascii() and digits.isdigit() and len(digits) <= 16
        return int(digits) if fits else None

    # The caller of the methods below holds the mutex.

    def _number(self, entries: Sequence[Entry]) -> list[Entry]:
        at, epoch, given, accepted = round(time.time(), 3), self.epoch, self._given, []
        number = self._before + len(self._entries)
        for entry in entries:
            if entry.n is not None:
                if entry.n <= given.get(entry.by, 0):
                    continue
                given[entry.by] = entry.n
            number += 1
            entry.id, entry.at, entry.epoch = number, at, epoch
            accepted.append(entry)
        return accepted

    def _retain(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        for entry in entries:
            self._bytes += len(entry.text)
            if entry.n is not None:
                self._newest[entry.by], self._given[entry.by] = entry, entry.n
        self._entries += entries
        self._trim()
        return entries

    def _check(self, number: int) -> int:
        return self._before_check if number <= self._before else self._entries[number - self._before - 1].check

    def _trim(self) -> None:
        """Drop the oldest entries. Some at a time, since each time the others are moved."""
        size = len(self._entries)
        excess = size - self._most if size > self._most + self._most // 16 else 0
        if self._bytes > MOST_BYTES and size > self._least:
            excess = max(excess, min(size - self._least, size // 8))
        if self._keep_for < inf:
            oldest = time.time() - self._keep_for
            while excess < size and self._entries[excess].at < oldest:
                excess += 1
        if excess:
            self._drop(excess)

    def _drop(self, excess: int) -> None:
        """Drop so many entries, and numbers that nobody needs any more."""
        dropped = self._entries[:excess]
        del self._entries[:excess]
        self._before, self._before_check = dropped[-1].id, dropped[-1].check
        self._bytes -= sum(len(entry.text) for entry in dropped)
        now = time.time()
        if now - self._forgotten > REMEMBERED:
            self._forgotten = now
            self._newest = {
                by: entry
                for by, entry in self._newest.items()
                if entry.id > self._before or now - entry.at < REMEMBERED
            }
            self._given = {by: entry.n or 0 for by, entry in self._newest.items()}


def cleared(number: int, epoch: str) -> int:
    """The check value of what comes before the entry with this id, after that has cleared the log.

    No token that was made before has it.
    """
    return crc32(f"cleared {number} {epoch}".encode())
