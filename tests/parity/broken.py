"""Channels and selects that are broken on purpose, to show that the comparison with the model finds each of them.

Run as a program, this module is the interpreter with one of the broken parts in place of threadchat's own. Arguments:
the name of the part, and the seconds after which a run has lost a goroutine.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from parity import interpreter

from threadchat.channel import Case, Channel, Closed, Send, select


class LastInFirstOut(Channel[int]):
    def _take(self) -> int:
        self._buffer.reverse()
        try:
            return super()._take()
        finally:
            self._buffer.reverse()


class DeliversTwice(Channel[int]):
    def _take(self) -> int:
        if self._buffer and random.random() < 0.5:
            return self._buffer[0]
        return super()._take()


class OneItemMore(Channel[int]):
    def __init__(self, capacity: int = 0) -> None:
        super().__init__(capacity + 1)


class UnbufferedHasRoom(Channel[int]):
    def __init__(self, capacity: int = 0) -> None:
        super().__init__(max(1, capacity))


class SendDoesNotWait(Channel[int]):
    def send(self, item: int) -> None:
        select(Send(self, item), default=True)


class SenderIsNotWoken(Channel[int]):
    def _take(self) -> int:
        if self._buffer and self._senders:
            thread, case = self._senders.pop(0)
            thread.claim()
            self._buffer.append(case.item)
        return super()._take()


class ServesWithoutClaim(Channel[int]):
    def _offer(self, item: int) -> bool:
        if self._receivers:
            self._receivers.pop(0).serve(self, item)
            return True
        return super()._offer(item)


class SendForgivesClose(Channel[int]):
    def send(self, item: int) -> None:
        with suppress(Closed):
            super().send(item)


class CloseForgivesClose(Channel[int]):
    def close(self) -> None:
        with suppress(Closed):
            super().close()


class CloseDropsItems(Channel[int]):
    def close(self) -> None:
        super().close()
        self._buffer.clear()


class CloseKeepsRefusedItems(Channel[int]):
    def close(self) -> None:
        with self._mutex:
            self._buffer.extend(case.item for _, case in self._senders)
        super().close()


class CloseForgetsSenders(Channel[int]):
    def close(self) -> None:
        with self._mutex:
            parked, self._senders = self._senders, []
        super().close()
        self._senders = parked


class CloseWakesOneReceiver(Channel[int]):
    def close(self) -> None:
        with self._mutex:
            self._receivers, parked = self._receivers[:1], self._receivers[1:]
        super().close()
        self._receivers = parked


class LenCountsSenders(Channel[int]):
    def __len__(self) -> int:
        return len(self._buffer) + len(self._senders)


class RangeEndsWhenEmpty(Channel[int]):
    def __iter__(self) -> Iterator[int]:
        yield self.receive()
        while len(self):
            yield self.receive()


def select_prefers_default(*cases: Case, default: bool = False) -> tuple[Case, Any]:
    return (None, None) if default else select(*cases)


def select_ignores_default(*cases: Case, default: bool = False) -> tuple[Case, Any]:
    return select(*cases)


def select_does_two(*cases: Case, default: bool = False) -> tuple[Case, Any]:
    chosen = select(*cases, default=default)
    select(*cases, default=True)
    return chosen


def select_polls(*cases: Case, default: bool = False) -> tuple[Case, Any]:
    while (chosen := select(*cases, default=True)) == (None, None) and not default:
        time.sleep(0)
    return chosen


def select_refuses_nil(*cases: Case, default: bool = False) -> tuple[Case, Any]:
    if any(case is None or (isinstance(case, Send) and case.channel is None) for case in cases):
        raise TypeError("not a channel: None")
    return select(*cases, default=default)


def select_takes_the_first(*cases: Case, default: bool = False) -> tuple[Case, Any]:
    for case in cases:
        chosen = select(case, default=True)
        if chosen != (None, None):
            return chosen
    return select(*cases, default=default)


# The rule in rules.py that finds each broken part. Only counting finds `select_takes_the_first`.
FOUND_BY: dict[Any, str] = {
    LastInFirstOut: "values are received in the order sent",
    DeliversTwice: "each value is received once",
    OneItemMore: "a send on a full channel blocks",
    UnbufferedHasRoom: "a receive from an unbuffered channel happens before its send completes",
    SendDoesNotWait: "a send on an unbuffered channel blocks without a receiver",
    SenderIsNotWoken: "a receive makes room for a blocked send",
    ServesWithoutClaim: "a blocked select does one of its cases and no other",
    SendForgivesClose: "a send on a closed channel panics",
    CloseForgivesClose: "a close of a closed channel panics",
    CloseDropsItems: "a close keeps what was sent before",
    CloseKeepsRefusedItems: "a full channel that is closed refuses the blocked send and keeps the rest",
    CloseForgetsSenders: "a close wakes all blocked senders",
    CloseWakesOneReceiver: "a close wakes all blocked receivers",
    LenCountsSenders: "len counts no blocked send",
    RangeEndsWhenEmpty: "a range blocks while the channel is open",
    select_prefers_default: "select does not take default if a case can proceed",
    select_ignores_default: "select takes default if no case can proceed",
    select_does_two: "select leaves what it did not choose as it is",
    select_polls: "two selects meet",
    select_refuses_nil: "a nil channel is a case that never proceeds",
}


def main(name: str, limit: str) -> None:
    part = globals()[name]
    setattr(interpreter, "Channel" if isinstance(part, type) else "select", part)
    interpreter.LIMIT = float(limit)
    interpreter.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
