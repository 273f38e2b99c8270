"""The people of one room: who holds which name, and with how many connections.

A name belongs to a session, so that somebody who comes back before the old connection is noticed to be gone keeps it.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Mapping

from threadchat.names import NAME_LENGTH, NotAName, clean_name, is_reserved, same_name

GUEST = "Guest"  # the name of somebody who did not choose one


class Person:
    """A session in a room. `name` is read by its read pumps; `people` changes it, holding its mutex."""

    __slots__ = ("by", "connections", "departures", "name")

    def __init__(self, by: str, name: str) -> None:
        self.by = by
        self.name = name
        self.connections = 0
        self.departures = 0  # connections that have ended


class People:
    """The sessions of one room by their public tags. Any thread may call the methods."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()  # guards the next two
        self._people: dict[str, Person] = {}
        self._holders: dict[str, Person] = {}  # by each key of a name that is held

    def arrive(self, by: str, wanted: str | None) -> Person:
        """Count a connection of the session. Someone new gets the wanted name, with a number behind it if it is taken.

        A name that is reserved or no name at all becomes GUEST; the name of one who is still known stays, unless
        another is wanted.
        """
        with self._mutex:
            person = self._people.get(by)
            if person is None:
                person = self._people[by] = Person(by, "")
                self._give(person, wanted)
            elif wanted is not None:
                self._give(person, wanted)
            person.connections += 1
            return person

    def depart(self, person: Person) -> bool:
        """Take back what `arrive` has counted. Returns whether it was the session's last connection."""
        with self._mutex:
            person.connections -= 1
            person.departures += 1
            return person.connections == 0

    def name_of(self, by: str) -> str | None:
        """The name that a session has at this instant; None if it is not known."""
        with self._mutex:
            person = self._people.get(by)
            return person.name if person else None

    def free_name(self, by: str, wanted: str) -> str:
        """The name that the session would get if it wanted this one; nobody holds it afterwards. Raises NotAName."""
        name = _to_be_had(wanted)
        with self._mutex:
            return self._free_name(by, name)

    def rename(self, person: Person, wanted: str) -> str:
        """Give the person another name, with a number behind it if it is taken; returns it. Raises NotAName."""
        name = _to_be_had(wanted)
        with self._mutex:
            self._give(person, name)
            return person.name

    def is_connected(self, by: str) -> bool:
        """Whether the session has a connection."""
        with self._mutex:
            person = self._people.get(by)
            return person is not None and person.connections > 0

    def hear(self, by: str, name: str, earlier: Mapping[str, str]) -> Person | None:
        """Another process has given the session this name. `earlier` has the names, by tag, that were given before.

        One who was given the same name here meanwhile gets another one, and is returned. Where the other one was
        earlier, it is for that process to give another name.
        """
        with self._mutex:
            person = self._people.setdefault(by, Person(by, ""))
            self._free(person)
            person.name, loser = name, None
            for key in same_name(name):
                holder = self._holders.setdefault(key, person)
                if holder is not person and earlier.get(holder.by) != holder.name:
                    loser = holder
            if loser is not None:
                wanted = loser.name
                self._free(loser)
                for key in same_name(name):
                    self._holders.setdefault(key, person)
                loser.name = ""
                self._give(loser, wanted)
            return loser

    def forget_if_gone(self, by: str) -> bool:
        """Forget a session without a connection, and free its name. Returns whether there is none now."""
        with self._mutex:
            person = self._people.get(by)
            if person is not None and person.connections:
                return False
            if person is not None:
                del self._people[by]
                self._free(person)
            return True

    # The caller of the methods below holds the mutex.

    def _give(self, person: Person, wanted: str | None) -> None:
        try:
            name = clean_name(wanted) if wanted is not None else GUEST
        except NotAName:
            name = GUEST
        if is_reserved(name):
            name = GUEST
        if person.name == name:
            return
        self._free(person)
        person.name = self._free_name(person.by, name)
        for key in same_name(person.name):
            self._holders[key] = person

    def _free_name(self, by: str, name: str) -> str:
        """The clean name, with a number behind it if another session holds it."""
        for number in itertools.count(1):
            # After 2 to 9 at random, since a hundred guests would otherwise try ninety numbers.
            suffix = "" if number == 1 else f" {number if number < 10 else random.randrange(10, 100 * number)}"
            candidate = name[: NAME_LENGTH - len(suffix)].rstrip() + suffix
            holders = [self._holders.get(key) for key in same_name(candidate)]
            if all(holder is None or holder.by == by for holder in holders):
                return candidate
        raise AssertionError("the numbers have an end")

    def _free(self, person: Person) -> None:
        for key in same_name(person.name):
            if self._holders.get(key) is person:
                del self._holders[key]


def _to_be_had(wanted: str) -> str:
    name = clean_name(wanted)
    if is_reserved(name):
        raise NotAName(f"The name {name} is reserved.")
    return name
