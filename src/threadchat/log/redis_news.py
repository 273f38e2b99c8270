"""The news: what all processes are told of what was written, and the messages that come along (see APPEND in `lua`).

Whoever has all that comes before a group of messages need not ask the room's log for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, unquote

from threadchat.log import Addition
from threadchat.log.redis_entries import numbered, read_messages
from threadchat.messages import Entry

SENT_KEPT = 8  # groups of this process' own that may be on their way back; it reads what is older as from others


def called(room: str) -> str:
    """The room's name in the news, which has no space."""
    return quote(room, safe="")


class News:
    """What the news have brought to one process. The writer's thread calls `sending`, and the reader's the rest."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._sent: dict[int, dict[str, Sequence[Entry]]] = {}  # the newest groups, by number and room; of both threads
        self._items: dict[str, list[Sequence[bytes]]] = {}  # the fields of those that came last, by room

    def sending(self, batch: int, additions: Sequence[Addition]) -> None:
        """Remember the group with this number, which is about to be written: it need not be read when it comes back."""
        self._sent[batch] = {each.room: each.entries for each in additions}
        self._sent.pop(batch - SENT_KEPT, None)

    def take(self, items: Sequence[Sequence[bytes]]) -> set[str]:
        """Keep the fields of these items, and forget those before. Returns the rooms that they name."""
        self._items = {}
        for fields in items:
            for room in fields[1].decode().split():
                self._items.setdefault(unquote(room), []).append(fields)
        return set(self._items)

    def after(self, room: str, epoch: str, top: int) -> Sequence[Entry] | None:
        """What they have brought of the room after this id, once; None if something may be missing."""
        entries: list[Entry] = []
        for fields in self._items.pop(room, [()]):
            if len(fields) < 4:
                return None
            in_epoch, first_id, last_id, at, process, batch = fields[3].decode().split(" ")
            first, last, when = int(first_id), int(last_id), int(at) / 1000
            if in_epoch != epoch or first > top + 1:
                return None
            if last <= top:
                continue
            sent = self._sent.get(int(batch), {}).get(room, ()) if process == self._process else ()
            if len(sent) == last + 1 - first:  # all of it was taken. Its numbers may not have been answered yet
                group = numbered(sent, epoch, first, when)
            elif len(fields) >= 6:
                group = read_messages(epoch, first, when, fields[5])
            else:
                return None
            entries += group[top + 1 - first :]
            top = last
        return entries
