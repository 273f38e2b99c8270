"""A room's log: its entries, numbered 1, 2, 3, ... without gaps, and what can be asked of them.

The numbers are good within an *epoch*, a random string that changes when they can no longer be trusted. A *token*
names a point of the log: epoch, id, and a check value of the entry with that id. With it a client that comes back asks
for what it has missed, and the log either has all of it or says that it has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from threadchat.messages import Entry


class Kept(NamedTuple):
    """What a log keeps: the ids of its oldest and its newest entry, and the bytes of all texts together, about.

    Where it keeps nothing, `first` is one more than `top`.
    """

    epoch: str
    first: int
    top: int
    bytes: int


class Log(Protocol):
    """What a room needs of its log. Any thread may call the methods; only one thread appends."""

    @property
    def top(self) -> int:
        """The id of the newest entry; 0 if there was none."""

    @property
    def kept(self) -> Kept:
        """What is kept at this instant."""

    def append(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Number the entries and keep them. Returns them without the repeats, which were taken before."""

    def read(self, after: int, most: int) -> Sequence[Entry] | None:
        """The oldest `most` entries with an id above `after`; None if the first of them is not kept any more."""

    def recent(self, count: int) -> int:
        """The id after which the newest `count` messages come: where a newcomer's history begins."""

    def token(self, number: int) -> str:
        """The token of the point after the entry with this id, which is kept, or the newest that is not."""

    def find(self, text: str) -> int | None:
        """The id in a token; None if what comes after it cannot be given completely, or the token is not this log's."""

    def clear(self, number: int) -> None:
        """Forget what was logged before the entry with this id. No token from before it is found any more.

        Sessions' last numbers are remembered. Called by the thread that appends.
        """

    def last(self, by: str) -> int | None:
        """The last number that was taken from a session; None if the log knows none."""
