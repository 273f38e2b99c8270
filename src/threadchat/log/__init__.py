"""A room's log: its entries, numbered 1, 2, 3, ... without gaps, and what can be asked of them.

The numbers are good within an *epoch*, a random string that changes when they can no longer be trusted. A *token*
names a point of the log: epoch, id, and a check value of the entry with that id. With it a client that comes back asks
for what it has missed, and the log either has all of it or says that it has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from threadchat.messages import Entry, Order


class Extent(NamedTuple):
    """How far a log reaches: the ids of its oldest and its newest entry, and the bytes of all texts together, about.

    Where it keeps nothing, `first` is one more than `top`.
    """

    epoch: str
    first: int
    top: int
    bytes: int


class StoreUnfit(ValueError):
    """A store cannot be used at all; str() says why, and what to do about it, in a sentence."""


class StoreDown(Exception):
    """A store cannot be read or written at this moment; str() says why. To try again may help."""


@dataclass(frozen=True)
class Stored:
    """What a store has of a room: see `MemoryLog.restore` for the first five fields.

    `here` has the names of those who were in the room, by tag; `orders` the organisers' orders that are in force.
    """

    epoch: str
    before: int = 0
    check: int = 0
    entries: Sequence[Entry] = ()
    newest: Sequence[Entry] = ()
    here: dict[str, str] = field(default_factory=dict)
    orders: Sequence[Order] = ()


@dataclass(frozen=True)
class Addition:
    """Entries for the log of one room. What the store has up to the id `before` is not kept any more.

    `check` is the check value of the entry with that id.
    """

    room: str
    entries: Sequence[Entry]
    before: int
    check: int


class Store(Protocol):
    """What keeps the logs of all rooms beyond the process. One thread at a time calls the methods."""

    def names(self) -> set[str]:
        """The names of all rooms of which something is kept. Raises StoreDown."""

    def load(self, room: str) -> Stored:
        """What is kept of the room; for a new one, a new epoch. Raises StoreDown."""

    def write(self, additions: Sequence[Addition]) -> None:
        """Keep all of this, or nothing. When it returns, it outlives the process. Raises StoreDown."""

    def expire(self, before: float) -> None:
        """Drop the entries that are older than this (seconds since 1970), and rooms of which nothing is left then.

        Raises StoreDown.
        """

    def secret(self, name: str, made: str) -> str:
        """The secret with this name; if there is none yet, `made` is kept as such. Raises StoreDown."""

    def close(self) -> None:
        """Let another process use the store. Called last."""
