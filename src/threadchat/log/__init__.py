"""A room's log: its entries, numbered 1, 2, 3, ... without gaps, and what can be asked of them.

The numbers are good within an *epoch*, a random string that changes when they can no longer be trusted. A *token*
names a point of the log: epoch, id, and a check value of the entry with that id. With it a client that comes back asks
for what it has missed, and the log either has all of it or says that it has not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from threadchat.messages import Entry, Order

RETURN_WAIT = 35.0  # seconds that people have to come back after a restart: a page tries again within 30


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


class OnItsWay(StoreDown):
    """An entry waits for the store, which is down: it is kept once the store is up again, unless the process ends."""


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

    `check` is the check value of the entry with that id. `top` is the newest id of the log that the room knows, and
    `epoch` that log's. `organisers` has the tags of those who are here and whom no order may be aimed at: a store that
    is shared with other processes sees to it.
    """

    room: str
    entries: Sequence[Entry]
    before: int
    check: int
    epoch: str
    top: int
    organisers: Collection[str] = ()


class Store(Protocol):
    """What keeps the logs of all rooms beyond the process. One thread at a time calls the methods."""

    def names(self) -> set[str]:
        """The names of all rooms of which something is kept. Raises StoreDown."""

    def load(self, room: str) -> Stored:
        """What is kept of the room; for a new one, a new epoch. Raises StoreDown."""

    def write(self, additions: Sequence[Addition]) -> Collection[str]:
        """Keep all of this, or nothing. When it returns, it outlives the process. Raises StoreDown.

        Returns the rooms of which it has kept nothing, since their log is not the one that they know any more.
        """

    def expire(self, before: float, used: Collection[str]) -> None:
        """Drop the entries that are older than this (seconds since 1970), and rooms of which nothing is left then.

        Rooms in which nothing was ever said or ordered, and nobody is, are dropped as well, except those that are
        `used`: the rooms that this process has. Raises StoreDown.
        """

    def secret(self, name: str, made: str) -> str:
        """The secret with this name; if there is none yet, `made` is kept as such. Raises StoreDown."""

    def close(self) -> None:
        """Let another process use the store. Called last."""


@dataclass(frozen=True)
class Point:
    """Where in a room's log a process stands. `token` is that of the id `top`.

    `cleared` is the id of the newest order to drop what was said before it, if there was one meanwhile.
    """

    room: str
    epoch: str
    top: int
    token: str
    cleared: int = 0


@dataclass(frozen=True)
class Look:
    """Which rooms are `lost`, as their log is another one now; which are `behind` their log; and `names`: of all."""

    lost: set[str]
    behind: set[str]
    names: set[str]


@dataclass(frozen=True)
class Arrivals:
    """Entries of a room's log that are new to this process, and whether there are `more` of them.

    `foreign` has the ids of joins from other processes.
    """

    entries: Sequence[Entry]
    foreign: Collection[int]
    more: bool = False


@runtime_checkable
class SharedStore(Store, Protocol):
    """A store that several processes use at once as one chat.

    `write` gets entries without ids, and gives an id, a time and an epoch to those that it takes. It is called again
    with the same entries after StoreDown, and then takes none twice. What was taken, in any process, comes by `read`;
    one's own entries perhaps as the same objects, and perhaps before `write` has returned.

    One thread at a time calls the methods of a Store and `wake`; another one calls the rest. All raise StoreDown.
    """

    @property
    def process(self) -> str:
        """The name by which the other processes know this one."""

    def wake(self, room: str = "") -> None:
        """Make `news` return, in all processes, and name a room that was opened."""

    def news(self, wait: bool) -> set[str]:
        """The rooms that were opened or written to, in any process, since this was asked last; possibly more.

        Returns as soon as there is something, and otherwise after a second; much sooner if it is not to `wait`.
        """

    def read(self, after: Mapping[str, tuple[str, int]]) -> dict[str, Arrivals]:
        """What the logs of these rooms have after these ids, or the beginning of it, without waiting.

        With each id is the epoch that the room knows.
        """

    def look(self, points: Sequence[Point]) -> Look:
        """Whether the logs are still what these points say.

        Called before `news` is asked for the first time, and again after StoreDown. What was cleared is dropped here,
        not sooner: other processes are to read first that it was.
        """

    def lease(self) -> dict[str, bool]:
        """Be taken to be alive for some seconds more. Returns the processes that are not any more.

        True is for those that have left in order, and whose time to come back is over.
        """

    def leave(self, lasts: float) -> None:
        """End in order: those who are here by way of this process have so many seconds to come back."""

    def bury(self, process: str) -> None:
        """Say that those have left who were in a room only by way of this process, which is not alive any more."""
