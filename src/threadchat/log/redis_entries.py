"""Entries and rooms as Redis has them (see `log.lua`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from json.encoder import encode_basestring as quoted

from threadchat.log import Stored
from threadchat.log.memory import cleared
from threadchat.messages import (
    CLEAR,
    KICK,
    LOCK,
    MESSAGE,
    MUTE,
    ORDER,
    PARDON,
    SLOW,
    Entry,
    Order,
    event,
    message,
    order,
)

_read_json = json.JSONDecoder().raw_decode  # a third of the time of json.loads


def mark(entry: Entry) -> str:
    """What the script must know of an entry to take it or not: see APPEND."""
    if entry.kind == MESSAGE:
        return "" if entry.n is None else str(entry.n)
    if not isinstance(entry, Order):
        return entry.name or ""
    if entry.order == PARDON:
        return f"-{KICK} {entry.target}\n-{MUTE} {entry.target}"
    if entry.order == CLEAR:
        return "clear"
    if (entry.order == SLOW and not entry.seconds) or (entry.order == LOCK and not entry.locked):
        return f"-{entry.order} "
    return f"+{entry.order} {entry.target or ''}"


def rest_of(entry: Entry) -> bytes:
    """What an entry says besides its kind, its id and its time, as a list in JSON."""
    facts = "null"
    if isinstance(entry, Order):
        facts = json.dumps((entry.order, entry.target, entry.seconds, entry.locked, entry.marks))
    name, n = "null" if entry.name is None else quoted(entry.name), "null" if entry.n is None else entry.n
    return f"[{quoted(entry.by)},{name},{n},{quoted(entry.text)},{facts}]".encode("utf-8", "surrogatepass")


def read_entry(epoch: str, number: bytes, fields: Sequence[bytes]) -> Entry:
    """An entry of a stream."""
    return _made(epoch, number[:-2], fields[1].decode(), fields[3], fields[5])


def read_messages(epoch: str, first: int, at: float, rests: bytes) -> Sequence[Entry]:
    """Messages that follow one another, from a list of what `rest_of` has made."""
    said, _ = _read_json(rests.decode("utf-8", "surrogatepass"))
    return numbered([message(text, by, name, n) for by, name, n, text, _ in said], epoch, first, at)


def numbered(entries: Sequence[Entry], epoch: str, first: int, at: float) -> Sequence[Entry]:
    """The same entries, with what a log gives them."""
    for number, entry in enumerate(entries, first):
        entry.id, entry.at, entry.epoch = number, at, epoch
    return entries


def _made(epoch: str, number: bytes, kind: str, at: bytes, rest: bytes) -> Entry:
    (by, name, n, text, facts), _ = _read_json(rest.decode("utf-8", "surrogatepass"))
    if kind == MESSAGE:
        entry = message(text, by, name, n)
    elif kind == ORDER:
        entry = order(facts[0], text, by, name, *facts[1:4])
        entry.marks = tuple(facts[4])
    else:
        entry = event(kind, by, name or "")
    entry.id, entry.at, entry.epoch = int(number), int(at) / 1000, epoch
    return entry


def read_room(
    meta: Sequence[bytes],
    stream: Sequence[tuple[bytes, Sequence[bytes]]],
    numbers: Sequence[bytes],
    spoke: Sequence[bytes],
    here: Sequence[bytes],
    orders: Sequence[bytes],
) -> Stored:
    """What OPEN has answered."""
    epoch, top, before = meta[0].decode(), int(meta[1]), int(meta[2])
    entries = [read_entry(epoch, *each) for each in stream]
    check = int(meta[3]) if meta[3] else cleared(before + 1, epoch)
    entries = [entry for entry in entries if entry.id > before]  # the others were cleared a moment ago
    if entries and entries[0].id > before + 1:  # trimmed: the first one serves for its check value
        before, check = entries[0].id, entries[0].check
        del entries[0]
    if before + len(entries) != top:  # somebody has deleted some: no token of theirs is good any more
        entries, before, check = [], top, cleared(top + 1, epoch)
    spoken = dict(zip(spoke[0::2], spoke[1::2], strict=True))
    newest = []
    for by, n in zip(numbers[0::2], numbers[1::2], strict=True):
        entry = message("", by.decode(), None, int(n))
        entry.id, entry.at, entry.epoch = 0, float(spoken.get(by, 0)) / 1000, epoch
        newest.append(entry)
    in_order = sorted(zip(here[0::2], here[1::2], strict=True), key=lambda each: int(each[1].split(b" ", 1)[0]))
    in_force = []
    for kept in orders[1::2]:
        number, at, rest = kept.split(b" ", 2)
        in_force.append(_made(epoch, number, ORDER, at, rest))
    return Stored(
        epoch,
        before,
        check,
        entries,
        newest,
        {by.decode(): name_of(each) for by, each in in_order},
        [each for each in sorted(in_force, key=lambda each: each.id) if isinstance(each, Order)],
    )


def name_of(here: bytes) -> str:
    """The name in a value of `here`."""
    return here.split(b" ", 1)[1].decode()
