"""A store in one file, by SQLite: for one process.

The file has the newest entries of each room, as many as the room keeps in memory, and what else must not be forgotten:
the sessions' last numbers, who was in the room, and which orders are in force. It is in WAL mode. A group of entries is
one transaction, so that after a `kill -9` each is there with all that belongs to it, or not at all.

    | synchronous | what is lost when the machine itself stops, by a power cut for example      | commits a second |
    | ----------- | --------------------------------------------------------------------------- | ---------------- |
    | normal      | the last moments before it; the file stays whole (sqlite.org/pragma.html)   | many thousands   |
    | full        | nothing                                                                     | what the disk can |

Where newest entries were lost, or an older backup was put back, the ids go on from there. The tokens of those who have
seen more have another check value, so that they are told of a gap.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from threadchat.log import Addition, Stored, StoreDown, StoreUnfit
from threadchat.log.memory import REMEMBERED, cleared
from threadchat.messages import (
    CLEAR,
    JOIN,
    LEAVE,
    LOCK,
    MESSAGE,
    NAME,
    ORDER,
    PARDON,
    SLOW,
    Entry,
    Order,
    event,
    message,
    order,
)

try:
    import fcntl
except ModuleNotFoundError:  # Windows: there SQLite's own lock is held for as long as the process runs
    fcntl = None  # type: ignore[assignment]

VERSION = 1  # of the tables
APPLICATION = 0x74636861  # the file's mark that it is ours: "tcha" (sqlite.org/fileformat.html, section 1.3)
TABLES = """
CREATE TABLE rooms (room INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, epoch TEXT NOT NULL,
    before INTEGER NOT NULL, "check" INTEGER NOT NULL);
CREATE TABLE entries (room INTEGER NOT NULL, id INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL,
    by TEXT NOT NULL, name TEXT, n INTEGER, text TEXT NOT NULL, "order" TEXT, PRIMARY KEY (room, id)) WITHOUT ROWID;
CREATE TABLE numbers (room INTEGER NOT NULL, by TEXT NOT NULL, n INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (room, by)) WITHOUT ROWID;
CREATE TABLE here (room INTEGER NOT NULL, by TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (room, by));
CREATE TABLE orders (room INTEGER NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL, id INTEGER NOT NULL,
    at REAL NOT NULL, by TEXT NOT NULL, name TEXT, text TEXT NOT NULL, "order" TEXT NOT NULL,
    PRIMARY KEY (room, kind, target)) WITHOUT ROWID;
CREATE TABLE secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
# The rooms in which nothing was ever said or ordered, and nobody is.
SILENT = f"""
SELECT room, name FROM rooms WHERE before = 0
    AND NOT EXISTS (SELECT * FROM entries WHERE entries.room = rooms.room AND kind IN ('{MESSAGE}', '{ORDER}'))
    AND room NOT IN (SELECT room FROM here) AND room NOT IN (SELECT room FROM orders)
"""


class SqliteStore:
    """See `Store`. Raises StoreUnfit if the file cannot be used."""

    def __init__(self, file: str, synchronous: str = "normal") -> None:
        self._lock: int | None = None
        try:
            with _unfit(file):
                self._database = self._open(Path(file), synchronous)
        except BaseException:
            self._unlock()
            raise

    def names(self) -> set[str]:
        """See `Store.names`."""
        with _down():
            return {name for (name,) in self._database.execute("SELECT name FROM rooms")}

    def load(self, room: str) -> Stored:
        """See `Store.load`."""
        with _down():
            found = self._database.execute('SELECT room, epoch, before, "check" FROM rooms WHERE name = ?', [room])
            row = found.fetchone()
            if row is None:
                return Stored(secrets.token_urlsafe(4))
            number, epoch, before, check = row
            return Stored(
                epoch,
                before,
                check,
                [_entry(epoch, *each) for each in self._rows("entries", number, "id")],
                [_numbered(epoch, *each) for each in self._rows("numbers", number, "by")],
                {by: name for _, by, name in self._rows("here", number, "rowid")},
                [_order(epoch, id_, *rest) for _, _, _, id_, *rest in self._rows("orders", number, "id")],
            )

    def write(self, additions: Sequence[Addition]) -> Collection[str]:
        """See `Store.write`. No other process has the file: no room's log becomes another one."""
        with _down(), self._transaction():
            for addition in additions:
                if addition.entries:
                    room = self._number_of(addition)
                    self._trim(room, addition.before, addition.check)
                    self._add(room, addition.entries)
        return ()

    def secret(self, name: str, made: str) -> str:
        """See `Store.secret`."""
        with _down(), self._transaction():
            self._database.execute("INSERT OR IGNORE INTO secrets VALUES (?, ?)", [name, made])
            value: str = self._database.execute("SELECT value FROM secrets WHERE name = ?", [name]).fetchone()[0]
            return value

    def expire(self, before: float, used: Collection[str]) -> None:
        """See `Store.expire`."""
        with _down(), self._transaction():
            aged = "SELECT room, max(id) FROM entries WHERE at < ? GROUP BY room"
            for room, newest in self._database.execute(aged, [before]).fetchall():
                (epoch,) = self._database.execute("SELECT epoch FROM rooms WHERE room = ?", [room]).fetchone()
                row = self._database.execute(
                    "SELECT * FROM entries WHERE room = ? AND id = ?", [room, newest]
                ).fetchone()
                self._trim(room, newest, _entry(epoch, *row).check)
            silent = self._database.execute(SILENT).fetchall()
            self._database.executemany(
                "DELETE FROM entries WHERE room = ?", [[room] for room, name in silent if name not in used]
            )
            left = "SELECT room FROM entries UNION SELECT room FROM here UNION SELECT room FROM orders"
            self._database.execute(f"DELETE FROM rooms WHERE room NOT IN ({left})")
            self._database.execute("DELETE FROM numbers WHERE room NOT IN (SELECT room FROM rooms)")

    def close(self) -> None:
        """See `Store.close`."""
        with suppress(sqlite3.Error):
            self._database.close()
        self._unlock()

    def _open(self, file: Path, synchronous: str) -> sqlite3.Connection:
        if fcntl is not None:
            self._lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # it has what people have said
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        database = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            if fcntl is None:
                database.execute("PRAGMA locking_mode = EXCLUSIVE")
            (problem,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if problem != "ok":
                raise StoreUnfit(f"{file} is damaged ({problem}): put a backup in its place, or move it away")
            self._prepare(database, file, synchronous)
        except BaseException:
            database.close()
            raise
        return database

    def _prepare(self, database: sqlite3.Connection, file: Path, synchronous: str) -> None:
        """Make the tables of a new file; look whether those of another one are ours."""
        (mark,), (version,) = (
            database.execute(f"PRAGMA {each}").fetchone() for each in ("application_id", "user_version")
        )
        if mark != APPLICATION and database.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise StoreUnfit(f"{file} is a database of another program: choose another file")
        if mark == APPLICATION and version != VERSION:
            raise StoreUnfit(f"{file} was written by another version of threadchat: choose another file")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        if mark != APPLICATION:
            database.executescript(
                f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite may have rolled back already, as when the disk is full
                self._database.execute("ROLLBACK")
            raise

    def _number_of(self, addition: Addition) -> int:
        """The number of the room, which is made if there is none."""
        self._database.execute(
            "INSERT OR IGNORE INTO rooms VALUES (NULL, ?, ?, ?, ?)",
            [addition.room, addition.epoch, addition.before, addition.check],
        )
        number: int
        (number,) = self._database.execute("SELECT room FROM rooms WHERE name = ?", [addition.room]).fetchone()
        return number

    def _rows(self, table: str, room: int, order_by: str) -> list[Any]:
        return self._database.execute(f"SELECT * FROM {table} WHERE room = ? ORDER BY {order_by}", [room]).fetchall()

    def _trim(self, room: int, before: int, check: int) -> None:
        """Drop what the room does not keep any more, but not the numbers that its sessions have used lately."""
        if not self._database.execute(
            'UPDATE rooms SET before = ?, "check" = ? WHERE room = ? AND before < ?', [before, check, room, before]
        ).rowcount:
            return
        self._database.execute(
            "INSERT OR REPLACE INTO numbers SELECT room, by, max(n), max(at) FROM entries "
            "WHERE room = ? AND id <= ? AND n IS NOT NULL GROUP BY by",
            [room, before],
        )
        self._database.execute("DELETE FROM numbers WHERE room = ? AND at < ?", [room, time.time() - REMEMBERED])
        self._database.execute("DELETE FROM entries WHERE room = ? AND id <= ?", [room, before])

    def _add(self, room: int, entries: Sequence[Entry]) -> None:
        execute = self._database.execute
        self._database.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (room, each.id, each.at, each.kind, each.by, each.name, each.n, each.text, _facts(each))
                for each in entries
            ),
        )
        for entry in entries:
            if entry.kind in (JOIN, NAME):
                execute("INSERT OR REPLACE INTO here VALUES (?, ?, ?)", [room, entry.by, entry.name])
            elif entry.kind == LEAVE:
                execute("DELETE FROM here WHERE room = ? AND by = ?", [room, entry.by])
            elif isinstance(entry, Order):
                self._obey(room, entry)

    def _obey(self, room: int, entry: Order) -> None:
        """Keep an order for as long as it is in force, also if its entry is trimmed away."""
        execute = self._database.execute
        if entry.order == CLEAR:
            self._trim(room, entry.id - 1, cleared(entry.id, entry.epoch))
        elif entry.order == PARDON:
            execute("DELETE FROM orders WHERE room = ? AND target = ?", [room, entry.target])
        elif (entry.order == SLOW and not entry.seconds) or (entry.order == LOCK and not entry.locked):
            execute("DELETE FROM orders WHERE room = ? AND kind = ?", [room, entry.order])
        else:
            facts = [entry.id, entry.at, entry.by, entry.name, entry.text, _facts(entry)]
            execute(
                "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [room, entry.order, entry.target or "", *facts],
            )

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)  # not before the database: that would drop SQLite's own locks of this file
            self._lock = None


def _facts(entry: Entry) -> str | None:
    """What an order says besides what every entry says, as JSON."""
    if not isinstance(entry, Order):
        return None
    facts = (entry.order, entry.target, entry.seconds, entry.locked, list(entry.marks))
    return json.dumps(facts)


def _entry(
    epoch: str,
    room: int,
    id: int,
    at: float,
    kind: str,
    by: str,
    name: str | None,
    n: int | None,
    text: str,
    facts: str,
) -> Entry:
    """An entry of the table `entries`."""
    if kind == ORDER:
        return _order(epoch, id, at, by, name, text, facts)
    entry = message(text, by, name, n) if kind == MESSAGE else event(kind, by, name or "")
    entry.id, entry.at, entry.epoch = id, at, epoch
    return entry


def _order(epoch: str, id: int, at: float, by: str, name: str | None, text: str, facts: str) -> Order:
    kind, target, pause, locked, marks = json.loads(facts)
    entry = order(kind, text, by, name, target, pause, locked)
    entry.id, entry.at, entry.epoch, entry.marks = id, at, epoch, tuple(marks)
    return entry


def _numbered(epoch: str, room: int, by: str, n: int, at: float) -> Entry:
    """An entry of which nothing is kept but its session's number."""
    entry = message("", by, None, n)
    entry.id, entry.at, entry.epoch = 0, at, epoch
    return entry


@contextmanager
def _down() -> Iterator[None]:
    """Turn what SQLite raises while the store is in use into StoreDown."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreDown(str(error)) from error


@contextmanager
def _unfit(file: str) -> Iterator[None]:
    """Turn what the system and SQLite raise while the file is opened into StoreUnfit."""
    try:
        yield
    except BlockingIOError as error:
        raise StoreUnfit(f"{file} is in use by another process: each process needs a file of its own") from error
    except OSError as error:
        raise StoreUnfit(f"cannot open {file}: {error.strerror}") from error
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise StoreUnfit(f"{file} is in use by another process: each process needs a file of its own") from error
        raise StoreUnfit(f"cannot use {file}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StoreUnfit(f"{file} is damaged, or no database ({error}): choose another file") from error
