"""Moderation: what the organisers of a room have ordered, and whom it concerns.

An order means a session by its public tag (`by`), not a name: a change of name does not move it to somebody else. It is
an entry of the room's log, and is in force from that entry on. So that nobody comes back as another session, an order
takes in the account that the application knows, and the address if no other session in the room uses it; but never
this machine's address or a proxy's.

    | order          | what it does                                                                                  |
    | -------------- | --------------------------------------------------------------------------------------------- |
    | kick           | the session is put out (close code 4001), and may neither come back, nor read, nor say        |
    | mute           | it may say nothing, and keeps its name                                                        |
    | pardon         | takes a kick and a mute back                                                                  |
    | slow           | everybody may say something every so many seconds; 0 ends it                                  |
    | lock           | nobody new comes in; those who have been in the room may come back                            |
    | clear          | what was said is dropped; ids go on, and older tokens are a gap                               |

Organisers are free of all this, and no order can be aimed at one who is in the room, in whichever process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from threadchat.messages import CLEAR, KICK, LOCK, MUTE, PARDON, SLOW, Entry, Order, order
from threadchat.people import People
from threadchat.websocket.connection import Connection

ORDERS = (KICK, MUTE, PARDON, SLOW, LOCK, CLEAR)
PUT_OUT = (4001, "by the organiser")  # the close code and the reason
OUT = "You were put out of this room."
FOR_OTHERS = "This is meant for others than organisers."
LONGEST_PAUSE = 3_600.0  # seconds between two messages in slow mode
MOST_KNOWN = 4_096  # sessions that are remembered to have been in a room


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is in a room, or wants something of it.

    `source` is what counts as one address. `address` is the same if an order may take it in, and "" if not. `account`
    is the name under which the application knows the visitor.
    """

    by: str
    source: str = ""
    address: str = ""
    moderator: bool = False
    account: str | None = None


class Refusal(ValueError):
    """An order of an organiser is against it, or it is not an order; str() says why, in a sentence for people."""


class PutOut(Refusal):
    """The visitor was put out of the room."""


class TooSoon(Refusal):
    """Slow mode: `wait` is how many seconds are left."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"Slow mode is on: wait {wait:.0f} seconds more." if wait >= 1.5 else "Slow mode is on.")
        self.wait = wait


class Moderation:
    """The orders that are in force in one room, and the sessions that have been there.

    Only the hub's thread changes what is in force, while the room records, and it holds the room's mutex then. Any
    thread that does not hold it may call the first seven methods.
    """

    def __init__(self, mutex: threading.Lock) -> None:
        # False while everybody may do everything. It may be read without the mutex, which would slow down read pumps.
        self.in_force = False
        self._mutex = mutex  # guards the rest
        self.slow = 0.0  # seconds between two messages of a session; may be read without the mutex too, as `locked`
        self.locked = False
        self._out: dict[str, str] = {}  # tags that were put out, by what they are known by: themselves, an address
        self._muted: dict[str, str] = {}
        self._spoke: dict[str, float] = {}  # while slow mode is on: when each session last did (time.monotonic())
        self._seats: dict[Connection, Visitor] = {}  # the connections to this room
        self._known: dict[str, str | None] = {}  # the names of the sessions that have been here by tag, newest last

    @contextmanager
    def seated(self, visitor: Visitor, connection: Connection) -> Iterator[None]:
        """The visitor is in the room for as long as the block runs. Raises Refusal."""
        with self._mutex:
            self._check_access(visitor)
            self._seats[connection] = visitor
            self.know(visitor.by, self._known.get(visitor.by))
        try:
            yield
        finally:
            with self._mutex:
                del self._seats[connection]

    def check_access(self, visitor: Visitor) -> None:
        """Raise Refusal if the visitor may neither read nor say anything."""
        if self.in_force:
            with self._mutex:
                self._check_access(visitor)

    def check_still_in(self, visitor: Visitor) -> None:
        """Raise Refusal if the visitor, who has come in, was put out meanwhile."""
        if self.in_force:
            with self._mutex:
                if _is_in(self._out, visitor) and not visitor.moderator:
                    raise PutOut(OUT)

    def check_speech(self, visitor: Visitor) -> None:
        """Raise Refusal if the visitor may say nothing."""
        if self.in_force:
            with self._mutex:
                self._check_speech(visitor)

    def order(self, organiser: Visitor, name: str, said: dict[str, object], people: People) -> Order:
        """The entry for what an organiser says: {"type": "kick", "by": ...} and the like. Raises Refusal."""
        match said:
            case {"type": "kick" | "mute" | "pardon" as kind, "by": str(target)}:
                with self._mutex:
                    if target not in self._known:
                        raise Refusal("Nobody with this tag has been here.")
                    if target in self.organisers:
                        raise Refusal(FOR_OTHERS)
                    whom = people.name_of(target) or self._known[target] or "somebody without a name"
                done = {KICK: f"put {whom} out of the room", MUTE: f"muted {whom}", PARDON: f"pardoned {whom}"}[kind]
                return order(kind, f"{name} {done}.", organiser.by, name, target=target)
            case {"type": "slow", "seconds": int() | float() as seconds} if (
                not isinstance(seconds, bool) and 0 <= seconds <= LONGEST_PAUSE
            ):
                one = f"turned slow mode on: one message in {seconds:g} seconds" if seconds else "turned slow mode off"
                return order(SLOW, f"{name} {one}.", organiser.by, name, seconds=seconds)
            case {"type": "lock", "locked": bool(locked)}:
                done = "locked" if locked else "unlocked"
                return order(LOCK, f"{name} {done} the room.", organiser.by, name, locked=locked)
            case {"type": "clear"}:
                return order(CLEAR, f"{name} cleared the room.", organiser.by, name)
        raise Refusal("This is not an order that can be followed.")

    def put_out(self) -> list[Connection]:
        """The connections to this room of those who were put out."""
        with self._mutex:
            return [
                connection for connection, seat in self._seats.items() if _is_in(self._out, seat) and not seat.moderator
            ]

    # The caller of the methods below holds the mutex. Only the hub's thread calls `check_message` and `obey`.

    @property
    def organisers(self) -> set[str]:
        """The tags of the organisers who are connected to this process."""
        return {seat.by for seat in self._seats.values() if seat.moderator}

    def know(self, by: str, name: str | None) -> None:
        """Remember that this session has been here, and its name."""
        self._known.pop(by, None)
        self._known[by] = name
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def check_message(self, entry: Entry, visitor: Visitor | None) -> None:
        """Raise Refusal for a message that cannot be taken. `visitor` is given if somebody waits for the answer.

        Who sends it was asked before (`check_speech`). A message that was on its way meanwhile is taken, unless its
        session was put out.
        """
        if visitor is not None:
            self._check_speech(visitor)
            wait = self._spoke.get(entry.by, -LONGEST_PAUSE) + self.slow - time.monotonic()
            if self.slow and wait > 0 and not visitor.moderator:
                raise TooSoon(wait)
            self.know(entry.by, entry.name)
        elif f"by {entry.by}" in self._out:
            raise PutOut(OUT)
        self.heard(entry.by)

    def heard(self, by: str) -> None:
        """Remember, in slow mode, that the session has said something."""
        if self.slow:
            now = time.monotonic()
            if len(self._spoke) >= MOST_KNOWN:
                self._spoke = {by: at for by, at in self._spoke.items() if at + self.slow > now}
            self._spoke[by] = now

    def mark(self, entry: Order) -> None:
        """Note in a kick or a mute what its target is known by in this process, beside what is noted already."""
        if entry.order in (KICK, MUTE):
            entry.marks = tuple(dict.fromkeys((*entry.marks, *self._marks(str(entry.target)))))

    def obey(self, entry: Order) -> None:
        """Put an order in force. (What CLEAR drops, the room does.) One from a store has marks already."""
        if entry.order in (KICK, MUTE):
            concerned = self._out if entry.order == KICK else self._muted
            self.mark(entry)
            concerned.update(dict.fromkeys(entry.marks, str(entry.target)))
        elif entry.order == PARDON:
            self._out, self._muted = (
                {mark: by for mark, by in concerned.items() if by != entry.target}
                for concerned in (self._out, self._muted)
            )
        elif entry.order == SLOW:
            self.slow = entry.seconds or 0.0
            self._spoke.clear()
        elif entry.order == LOCK:
            self.locked = bool(entry.locked)
        self.in_force = bool(self._out or self._muted or self.slow or self.locked)

    def _marks(self, target: str) -> tuple[str, ...]:
        """What the session is known by: its tag, its account, and addresses that no other session in the room uses."""
        seats = self._seats.values()
        others = {f"address {seat.address}" for seat in seats if seat.by != target}
        own = {mark for seat in seats if seat.by == target for mark in _known_by(seat)}
        return (f"by {target}", *(own - others))

    def _check_access(self, visitor: Visitor) -> None:
        if visitor.moderator:
            return
        if _is_in(self._out, visitor):
            raise PutOut(OUT)
        if self.locked and visitor.by not in self._known:
            raise Refusal("This room is locked.")

    def _check_speech(self, visitor: Visitor) -> None:
        if visitor.moderator:
            return
        if _is_in(self._out, visitor):
            raise PutOut(OUT)
        if _is_in(self._muted, visitor):
            raise Refusal("You are muted in this room.")


def _is_in(concerned: dict[str, str], visitor: Visitor) -> bool:
    return any(mark in concerned for mark in _known_by(visitor))


def _known_by(visitor: Visitor) -> list[str]:
    marks = [f"by {visitor.by}"]
    if visitor.address:
        marks.append(f"address {visitor.address}")
    if visitor.account is not None:
        marks.append(f"account {visitor.account}")
    return marks
