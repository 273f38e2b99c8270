"""A log in memory: it lasts as long as its room."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from zlib import crc32

from threadchat.messages import MESSAGE, Entry, token

LEAST = 1_024  # entries that are kept for those who are just joining, whatever `keep` says
MOST_BYTES = 4_194_304  # of all messages together, about; but not fewer entries than LEAST
REMEMBERED = 600.0  # seconds for which a session's last number is remembered at least, after its entry was trimmed


class MemoryLog:
    """See `Log`. Keeps the newest `keep` entries, and never fewer than `least`.

    With a `keep` of 0 nothing can be recovered.
    """

    def __init__(self, keep: int, least: int = LEAST) -> None:
        self.epoch = secrets.token_urlsafe(4)
        self._keep = keep
        self._least = least
        self._mutex = threading.Lock()  # guards the rest
        self._entries: list[Entry] = []
        self._before = 0  # the id before the first of _entries
        self._before_check = 0  # that entry's check value
        self._bytes = 0  # of the texts in _entries
        self._newest: dict[str, Entry] = {}  # by session, the newest entry with a number
        self._forgotten = 0.0  # when _newest was last cleared of old entries

    @property
    def top(self) -> int:
        """See `Log.top`."""
        with self._mutex:
            return self._before + len(self._entries)

    def append(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """See `Log.append`."""
        at, accepted = round(time.time(), 3), []
        with self._mutex:
            number = self._before + len(self._entries)
            for entry in entries:
                if entry.n is not None:
                    newest = self._newest.get(entry.by)
                    if newest is not None and entry.n <= (newest.n or 0):
                        continue
                    self._newest[entry.by] = entry
                number += 1
                entry.id, entry.at, entry.epoch = number, at, self.epoch
                self._bytes += len(entry.text)
                accepted.append(entry)
            self._entries += accepted
            self._trim(at)
        return accepted

    def read(self, after: int, most: int) -> Sequence[Entry] | None:
        """See `Log.read`."""
        with self._mutex:
            start = after - self._before
            return self._entries[start : start + most] if start >= 0 else None

    def recent(self, count: int) -> int:
        """See `Log.recent`. Joins and the like count too, as a tenth of a message each."""
        with self._mutex:
            index, left = len(self._entries), float(min(count, self._keep))
            while index and left > 0:
                index -= 1
                left -= 1 if self._entries[index].kind == MESSAGE else 0.1
            return self._before + index

    def token(self, number: int) -> str:
        """See `Log.token`."""
        with self._mutex:
            return token(self.epoch, number, self._check(number))

    def find(self, text: str) -> int | None:
        """See `Log.find`."""
        with self._mutex:
            epoch, _, rest = text.partition(".")
            digits = rest.partition(".")[0]
            if not self._keep or epoch != self.epoch or not (digits.isascii() and digits.isdigit()) or len(digits) > 16:
                return None
            number = int(digits)
            if not self._before <= number <= self._before + len(self._entries):
                return None
            return number if text == token(self.epoch, number, self._check(number)) else None

    def clear(self, number: int) -> None:
        """See `Log.clear`."""
        with self._mutex:
            dropped = self._entries[: number - 1 - self._before]
            del self._entries[: len(dropped)]
            self._before = number - 1
            self._before_check = crc32(f"cleared {number} {self.epoch}".encode())  # a check that no old token has
            self._bytes -= sum(len(entry.text) for entry in dropped)

    def last(self, by: str) -> int | None:
        """See `Log.last`. Without the mutex, which would make each read pump wait for the hub with each message."""
        newest = self._newest.get(by)
        return newest.n if newest else None

    # The caller of the methods below holds the mutex.

    def _check(self, number: int) -> int:
        return self._before_check if number <= self._before else self._entries[number - self._before - 1].check

    def _trim(self, now: float) -> None:
        """Drop the oldest entries. Some at a time, since each time the others are moved."""
        keep, size = max(self._keep, self._least), len(self._entries)
        excess = size - keep if size - keep > keep // 16 else 0
        if self._bytes > MOST_BYTES:
            excess = max(excess, min(size - self._least, size // 8))
        if excess <= 0:
            return
        dropped = self._entries[:excess]
        del self._entries[:excess]
        self._before, self._before_check = dropped[-1].id, dropped[-1].check
        self._bytes -= sum(len(entry.text) for entry in dropped)
        if now - self._forgotten > REMEMBERED:
            self._forgotten = now
            self._newest = {
                by: entry
                for by, entry in self._newest.items()
                if entry.id > self._before or now - entry.at < REMEMBERED
            }
