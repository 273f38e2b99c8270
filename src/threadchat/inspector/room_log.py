"""What the pictures show of a room's log: its newest entries, what is kept, and what a client that joins would read."""

from __future__ import annotations

from typing import Any

from threadchat.messages import MESSAGE, Entry, Order
from threadchat.room import Room

NEWEST = 12  # entries that are shown
TEXT = 80  # characters of an entry's text


def told(room: Room) -> dict[str, Any]:
    """The room's log at this instant, in the form that the page reads.

    `newcomer` is the id after which a newcomer's history begins. One who comes back with a token of an id from `first`
    - 1 on reads what came after it; any other token, and each where nothing is `recoverable`, is a gap.
    """
    log, options = room.log, room.options
    epoch, first, top, size = log.kept
    entries = log.read(max(first - 1, top - NEWEST), NEWEST)
    return {
        "epoch": epoch,
        "first": first,
        "top": top,
        "bytes": size,
        "keep": options.keep,
        "recoverable": options.keep > 0,
        "history": options.history,
        "newcomer": log.recent(options.history),
        "newest": [_entry(entry) for entry in entries or ()],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    text = entry.text[: TEXT + 1]
    return {
        "id": entry.id,
        "kind": entry.order if isinstance(entry, Order) else entry.kind,
        "by": entry.by,
        "name": entry.name,
        "n": entry.n,
        "text": text if entry.kind == MESSAGE or isinstance(entry, Order) else "",
    }
