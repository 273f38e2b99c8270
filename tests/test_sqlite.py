"""The store in a file: what was written is there again, what is not kept any more is gone, and a file that cannot be
used is named with the reason."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from math import inf
from pathlib import Path

import pytest

from threadchat.log import Addition, Stored, StoreDown, StoreUnfit
from threadchat.log.memory import REMEMBERED, MemoryLog
from threadchat.log.sqlite import SqliteStore
from threadchat.messages import CLEAR, JOIN, KICK, LEAVE, LOCK, MUTE, NAME, PARDON, SLOW, Entry, event, message, order

ROOM = "den"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


class Kit:
    """A store and the log of one room that is kept in it, as the log writer and a room use them."""

    def __init__(self, file: Path, keep: int = 1_000) -> None:
        self.store = SqliteStore(str(file))
        self.log = MemoryLog(keep, least=1)
        self.kept = self.store.load(ROOM)
        self.log.restore(self.kept.epoch, self.kept.before, self.kept.check, self.kept.newest)
        self.log.retain(self.kept.entries)

    def write(self, *entries: Entry) -> None:
        numbered = self.log.number(entries)
        self.store.write([Addition(ROOM, numbered, *self.log.start, self.log.epoch, self.log.top)])
        self.log.retain(numbered)


@pytest.fixture
def again(file: Path) -> Iterator[Callable[..., Kit]]:
    """Opens the store, and closes the one that was opened before."""
    open_now: list[Kit] = []

    def start(**options: int) -> Kit:
        for kit in open_now:
            kit.store.close()
        open_now[:] = [Kit(file, **options)]
        return open_now[0]

    yield start
    for kit in open_now:
        kit.store.close()


def facts(entry: Entry) -> list[object]:
    names = ("id", "at", "epoch", "kind", "by", "name", "n", "text", "token", "order", "target", "seconds", "locked")
    return [str(entry), *(getattr(entry, name, None) for name in names)]


def test_all_that_was_written_is_there_again(again: Callable[..., Kit]) -> None:
    kit = again()
    said = [
        event(JOIN, "ann", "Ann"),
        message("hello\nthere \N{GRINNING FACE}", "ann", "Ann", 1),
        message("no name, no number", "somebody"),
        event(NAME, "ann", "Anna"),
        order(MUTE, "Ann muted Bob.", "ann", "Ann", target="bob"),
        order(SLOW, "slow", "ann", "Ann", seconds=2.5),
    ]
    kit.write(*said[:3])
    kit.write(*said[3:])
    back = again()
    assert [facts(entry) for entry in back.kept.entries] == [facts(entry) for entry in said]
    assert back.kept.epoch == kit.kept.epoch
    assert back.kept.here == {"ann": "Anna"}
    assert back.log.find(kit.log.token(4)) == 4, "a token from before goes on"
    assert back.log.last("ann") == 1
    back.write(message("next", "ann", "Ann", 2), message("again", "ann", "Ann", 2))
    assert [entry.id for entry in back.log.read(6, 9) or ()] == [7]


def test_rooms_are_kept_apart(again: Callable[..., Kit]) -> None:
    kit = again()
    other = kit.store.load("other")
    assert other.epoch != kit.kept.epoch
    kit.write(message("here", "ann"))
    assert other == Stored(other.epoch)
    assert kit.store.load("other").entries == ()
    assert kit.store.names() == {ROOM}


def test_what_is_trimmed_is_gone_from_the_file_and_its_numbers_are_remembered(
    again: Callable[..., Kit], file: Path
) -> None:
    kit = again(keep=10)
    for number in range(1, 31):
        kit.write(message(f"word{number}", "ann" if number < 5 else "bob", None, number))
    kit.write(message("last", "cy"))
    back = again(keep=10)
    first = back.kept.entries[0]
    assert back.kept.before == first.id - 1 >= 20
    assert back.log.start == kit.log.start
    assert back.log.last("ann") == 4
    oldest, _ = kit.log.start
    assert back.log.find(kit.log.token(oldest)) == oldest
    assert back.log.find(kit.log.token(oldest - 1)) is None
    back.write(message("repeat", "ann", None, 4))
    assert back.log.top == 31
    with sqlite3.connect(file) as database:
        texts = {text for (text,) in database.execute("SELECT text FROM entries")}
    database.close()
    assert "word1" not in texts


def test_numbers_that_nobody_needs_any_more_are_forgotten(
    again: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = again(keep=2)
    kit.write(message("old", "ann", None, 7))
    later = time.time() + 2 * REMEMBERED
    monkeypatch.setattr("time.time", lambda: later)
    for number in range(1, 9):
        kit.write(message("new", "bob", None, number))
    assert again(keep=2).log.last("ann") is None


def test_a_clear_drops_what_was_said_in_the_same_step(again: Callable[..., Kit]) -> None:
    kit = again()
    kit.write(message("a", "ann", None, 3), message("b", "ann", None, 4))
    before = kit.log.token(2)
    kit.write(order(CLEAR, "cleared", "mod", "Mod"))
    back = again()
    assert [entry.kind for entry in back.kept.entries] == ["order"]
    assert back.log.find(before) is None
    assert back.log.top == 3
    assert back.log.last("ann") == 4


def test_the_orders_that_are_in_force_outlive_their_entries(again: Callable[..., Kit]) -> None:
    kit = again(keep=1)
    kick = order(KICK, "out", "mod", "Mod", target="bob")
    kick.marks = ("by bob", "address 203.0.113.7")
    for each in (
        kick,
        order(MUTE, "", "mod", "Mod", target="cy"),
        order(PARDON, "", "mod", "Mod", target="cy"),
        order(SLOW, "", "mod", "Mod", seconds=9.0),
        order(SLOW, "", "mod", "Mod", seconds=0.0),
        order(LOCK, "", "mod", "Mod", locked=True),
    ):
        kit.write(each)
    for _ in range(9):
        kit.write(message("x", "ann"))
    kept = again(keep=1).kept
    assert all(entry.kind == "msg" for entry in kept.entries)
    assert [(each.order, each.target, each.locked) for each in kept.orders] == [(KICK, "bob", None), (LOCK, None, True)]
    assert kept.orders[0].marks == kick.marks


def test_who_has_left_is_not_here(again: Callable[..., Kit]) -> None:
    kit = again()
    kit.write(event(JOIN, "ann", "Ann"), event(JOIN, "bob", "Bob"))
    kit.write(event(LEAVE, "ann", "Ann"))
    assert again().kept.here == {"bob": "Bob"}


def test_what_is_too_old_is_dropped(again: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch) -> None:
    kit = again()
    kit.write(message("old", "ann", None, 1), message("old too", "ann", None, 2))
    old = kit.log.token(2)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 60)
    kit.write(message("new", "bob"))
    kit.store.expire(now + 30, ())
    back = again()
    assert [entry.text for entry in back.kept.entries] == ["new"]
    assert back.log.find(old) == 2, "nothing is missing after it"
    assert back.log.last("ann") == 2
    assert back.store.names() == {ROOM}
    back.store.expire(now + 90, ())
    assert back.store.names() == set(), "nothing is left of it"
    back.write(message("and on", "bob"))
    assert [entry.id for entry in again().kept.entries] == [4]


@pytest.mark.parametrize(
    ("more", "stays"),
    [
        ((), False),
        ([event(JOIN, "bob", "Bob")], True),
        ([message("x", "ann")], True),
        ([order(LOCK, "locked", "org", "Org", None, None, True)], True),
    ],
    ids=["nobody", "somebody", "message", "order"],
)
def test_a_room_in_which_nothing_was_ever_said_is_dropped_unless_it_is_used(
    again: Callable[..., Kit], more: Sequence[Entry], stays: bool
) -> None:
    kit = again()
    kit.write(event(JOIN, "ann", "Ann"), event(LEAVE, "ann", "Ann"), *map(copy, more))
    kit.store.expire(-inf, {ROOM})
    assert kit.store.names() == {ROOM}
    kit.store.expire(-inf, {"another"})
    assert kit.store.names() == ({ROOM} if stays else set())
    assert bool(again().kept.entries) == stays


def test_a_room_of_which_the_words_were_dropped_is_not_one_in_which_nothing_was_said(
    again: Callable[..., Kit],
) -> None:
    kit = again()
    kit.write(message("x", "ann", None, 1))
    kit.store._trim(1, kit.log.top, 0)
    kit.write(event(JOIN, "bob", "Bob"), event(LEAVE, "bob", "Bob"))
    kit.store.expire(-inf, ())
    assert kit.store.names() == {ROOM}


def test_a_group_that_cannot_be_written_is_not_there_in_part(again: Callable[..., Kit]) -> None:
    kit = again()
    database = kit.store._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages + 2}")  # as if the disk were full
    many = [message("x" * 500, "ann", None, number) for number in range(1, 101)]
    numbered = kit.log.number(many)
    for _ in range(2):
        with pytest.raises(StoreDown, match="full"):
            kit.store.write([Addition(ROOM, numbered, 0, 0, kit.log.epoch, 0)])
    assert database.execute("SELECT count(*) FROM entries").fetchone() == (0,)
    database.execute("PRAGMA max_page_count = 1000000")
    kit.store.write([Addition(ROOM, numbered, 0, 0, kit.log.epoch, 0)])
    assert len(again().kept.entries) == 100


def test_a_backup_that_was_put_back_makes_no_token_good_that_it_does_not_have(
    again: Callable[..., Kit], file: Path
) -> None:
    kit = again()
    kit.write(message("both have it", "ann"))
    shared = kit.log.token(1)
    kit.store.close()
    backup = file.read_bytes()
    kit = again()
    kit.write(message("lost", "ann"))
    lost = kit.log.token(2)
    kit.store.close()
    file.write_bytes(backup)
    back = again()
    assert back.log.find(lost) is None, "it lies in the future"
    back.write(message("something else", "bob"))
    assert back.log.find(lost) is None, "its check value is another one"
    assert back.log.find(shared) == 1


def test_a_secret_that_was_made_is_kept(again: Callable[..., Kit]) -> None:
    assert again().store.secret("key", "first") == "first"
    assert again().store.secret("key", "second") == "first"
    assert again().store.secret("moderator_key", "third") == "third"


def test_only_its_owner_can_read_the_file(again: Callable[..., Kit], file: Path) -> None:
    again()
    assert file.stat().st_mode & 0o077 == 0


def unfit(file: Path) -> str:
    with pytest.raises(StoreUnfit) as raised:
        SqliteStore(str(file))
    return str(raised.value)


def test_two_processes_do_not_share_a_file(again: Callable[..., Kit], file: Path) -> None:
    again()
    assert unfit(file) == f"{file} is in use by another process: each process needs a file of its own"
    again().store.close()
    SqliteStore(str(file)).close()


def test_a_file_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, file: Path) -> None:
    assert unfit(tmp_path) == f"cannot open {tmp_path}: Is a directory"
    assert unfit(tmp_path / "nowhere" / "x.db").endswith("No such file or directory")
    file.write_bytes(b"this is a text, and not a database at all" * 100)
    assert "damaged, or no database" in unfit(file)
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE somebodys (x)")
    database.close()
    assert "another program" in unfit(tmp_path / "other.db")
    with sqlite3.connect(tmp_path / "newer.db") as database:
        database.execute("PRAGMA application_id = 0x74636861")
        database.execute("PRAGMA user_version = 99")
    database.close()
    assert "another version of threadchat" in unfit(tmp_path / "newer.db")


def test_a_file_that_is_damaged_inside_is_found_at_the_start(again: Callable[..., Kit], file: Path) -> None:
    kit = again()
    for _ in range(50):
        kit.write(*(message("x" * 200, "ann") for _ in range(20)))
    kit.store.close()
    content = bytearray(file.read_bytes())
    content[8192:12288] = bytes(4096)
    file.write_bytes(content)
    assert "damaged" in unfit(file)


@pytest.mark.parametrize("synchronous", ["normal", "full"])
def test_it_waits_for_the_disk_as_it_was_told_to(file: Path, synchronous: str) -> None:
    store = SqliteStore(str(file), synchronous)
    assert store._database.execute("PRAGMA synchronous").fetchone() == ({"normal": 1, "full": 2}[synchronous],)
    assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()
