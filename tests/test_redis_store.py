"""The store in Redis: one order and each once for all processes, whatever is lost on the way, and what it refuses."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from copy import copy
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from helpers import RedisServer, needs_redis
from redis import Redis

from threadchat.log import Addition, Look, Point, Stored, StoreDown, StoreUnfit
from threadchat.log import redis as module
from threadchat.log.choose import open_store, shown
from threadchat.log.memory import MemoryLog
from threadchat.log.redis import RedisStore
from threadchat.log.redis_line import COMMANDS, error_of_script
from threadchat.messages import CLEAR, JOIN, KICK, LEAVE, LOCK, MUTE, NAME, PARDON, SLOW, Entry, event, message, order

pytestmark = needs_redis
ROOM = "a {room}: ü"  # with what could break a key


@pytest.fixture
def server(empty_redis: RedisServer) -> RedisServer:
    return empty_redis


@pytest.fixture
def client(server: RedisServer) -> Redis:
    return server.client()


class Kit:
    """A store, and the copy of one room's log that its process has."""

    def __init__(self, url: str, keep: int = 1_000) -> None:
        self.store = RedisStore(url)
        self.log = MemoryLog(keep, least=1)
        self.load()

    def load(self) -> Stored:
        self.kept = self.store.load(ROOM)
        self.log = MemoryLog(1_000 if self.log is None else self.log._keep, least=1)
        self.log.restore(self.kept.epoch, self.kept.before, self.kept.check, self.kept.newest)
        self.log.retain(self.kept.entries)
        return self.kept

    def addition(self, *entries: Entry) -> Addition:
        return Addition(ROOM, entries, *self.log.start, self.log.epoch, self.log.top)

    def write(self, *entries: Entry) -> list[int | None]:
        """The ids that the entries got; what was taken is read back."""
        assert self.store.write([self.addition(*entries)]) == set()
        self.read()
        return [getattr(entry, "id", None) for entry in entries]

    def read(self) -> Sequence[Entry]:
        arrived = self.store.read({ROOM: self.reached})
        return self.log.retain(arrived[ROOM].entries) if arrived else []

    @property
    def reached(self) -> tuple[str, int]:
        return self.log.epoch, self.log.top

    @property
    def point(self) -> Point:
        return Point(ROOM, self.log.epoch, self.log.top, self.log.token(self.log.top))


@pytest.fixture
def kit(server: RedisServer) -> Iterator[Callable[..., Kit]]:
    """Makes a process's store: `kit(keep=1000)`."""
    made: list[Kit] = []

    def make(**how: Any) -> Kit:
        made.append(Kit(server.unix_url, **how))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def tokens(entries: Sequence[Entry]) -> list[str]:
    return [each.token for each in entries]


def facts(entry: Entry) -> tuple[object, ...]:
    return entry.kind, entry.id, entry.by, entry.name, entry.n, entry.text


def test_ids_are_one_series_for_all_processes_and_each_reads_the_same(kit: Callable[..., Kit]) -> None:
    one, two = kit(), kit()
    assert one.write(event(JOIN, "ann", "Ann"), message("1", "ann", "Ann", 1)) == [1, 2]
    assert two.write(message("über\nzwei Zeilen", "bob", None, 7), message("plain", "cy")) == [3, 4]
    one.read()
    assert [facts(each) for each in one.log.read(0, 9) or ()] == [
        (JOIN, 1, "ann", "Ann", None, ""),
        ("msg", 2, "ann", "Ann", 1, "1"),
        ("msg", 3, "bob", None, 7, "über\nzwei Zeilen"),
        ("msg", 4, "cy", None, None, "plain"),
    ]
    loaded = kit().kept
    assert tokens(loaded.entries) == tokens(one.log.read(0, 9) or ()) == tokens(two.log.read(0, 9) or ())
    assert abs(loaded.entries[-1].at - time.time()) < 60


def test_a_number_is_taken_once_whichever_process_brings_it(kit: Callable[..., Kit]) -> None:
    one, two = kit(), kit()
    assert one.write(message("a", "ann", None, 5), message("a", "ann", None, 5), message("b", "ann", None, 6)) == [
        1,
        None,
        2,
    ]
    assert two.write(message("a", "ann", None, 5), message("late", "ann", None, 4)) == [None, None]
    assert two.write(message("far", "ann", None, 2**53 - 1), message("x", "bob", None, 1)) == [3, 4]


def test_a_group_that_was_not_answered_is_not_logged_twice(
    kit: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = kit()
    said = [message("no number", "ann"), event(JOIN, "ann", "Ann")]
    addition, ask_all = one.addition(*said), one.store._writer.ask_all

    def lost_answer(calls: Any) -> Any:
        ask_all(calls)
        raise StoreDown("Redis does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(one.store._writer, "ask_all", lost_answer)
        with pytest.raises(StoreDown):
            one.store.write([addition])
    one.store.write([addition])
    assert [each.id for each in said] == [1, 2]
    assert len(one.read()) == 2
    assert one.write(message("no number", "ann")) == [3], "said again is another group"


def test_a_group_that_comes_once_more_after_the_next_one_is_not_logged(kit: Callable[..., Kit]) -> None:
    one = kit()
    again = one.store._append(one.store.process, str(one.store._batch), one.addition(message("no number", "ann")))
    assert one.write(message("no number", "ann")) == [1]
    assert one.write(message("the next group", "ann")) == [2]
    one.store._writer.ask_all([again])  # by a connection that was given up, and was slow
    assert one.read() == []


def test_two_connections_of_a_session_join_once_and_leave_once(kit: Callable[..., Kit]) -> None:
    one, two = kit(), kit()
    assert one.write(event(JOIN, "ann", "Ann"), event(JOIN, "ann", "Ann")) == [1, None]
    assert two.write(event(JOIN, "ann", "Ann"), event(JOIN, "ann", "Anna")) == [None, 2]
    assert [each.kind for each in kit().kept.entries] == [JOIN, NAME]
    assert one.write(event(LEAVE, "ann", "Ann")) == [None], "two has a connection of hers"
    assert kit().kept.here == {"ann": "Anna"}
    assert two.write(event(LEAVE, "ann", "Anna"), event(LEAVE, "ann", "Anna")) == [3, None]
    assert kit().kept.here == {}


def test_joins_of_another_process_are_told_from_ones_own(kit: Callable[..., Kit]) -> None:
    one, two = kit(), kit()
    two.write(event(JOIN, "bob", "Bob"))
    assert one.store.write([one.addition(event(JOIN, "ann", "Ann"), message("x", "ann"))]) == set()
    assert one.store.read({ROOM: (one.log.epoch, 0)})[ROOM].foreign == {1}


@pytest.fixture
def told(kit: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch) -> Callable[[Kit], list[Entry] | None]:
    """What the news bring of the room, without a question to its log; None if it would have to be asked."""

    def read(one: Kit) -> list[Entry] | None:
        asked: list[object] = []

        def ask(after: object) -> dict[str, object]:
            asked.append(after)
            return {}

        with monkeypatch.context() as patched:
            patched.setattr(one.store, "_read", ask)
            named = one.store.news(wait=False)
            arrived = one.store.read({ROOM: one.reached}) if ROOM in named else {}
        return None if asked else [*one.log.retain(arrived[ROOM].entries)] if arrived else []

    return read


def test_messages_come_with_the_news_and_ones_own_are_the_same_objects(
    kit: Callable[..., Kit], told: Callable[[Kit], list[Entry] | None]
) -> None:
    one, two = kit(), kit()
    for each in (one, two):
        each.store.look([])
    said = [message("über\nzwei", "ann", "Ann", 1), message('"\ud800"', "bob", None, None)]
    assert one.store.write([one.addition(*said)]) == set()
    assert two.store.write([two.addition(message("plain", "cy"))]) == set()
    mine, theirs = told(one), told(two)
    assert mine is not None
    assert theirs is not None
    assert [entry is each for entry, each in zip(mine, said, strict=False)] == [True, True]
    assert [facts(each) for each in mine] == [facts(each) for each in theirs]
    assert [facts(each) for each in mine] == [facts(each) for each in kit().kept.entries]
    assert tokens(mine) == tokens(theirs) == tokens(kit().kept.entries)
    assert told(one) == told(two) == [], "once"


def test_what_the_news_lack_is_asked_of_the_log(
    kit: Callable[..., Kit], told: Callable[[Kit], list[Entry] | None]
) -> None:
    one, two = kit(), kit()
    for each in (one, two):
        each.store.look([])
    for said in (message("a", "ann"), event(JOIN, "ann", "Ann")):
        one.store.write([one.addition(said)])
    assert told(two) is None, "a join is not told"
    assert [each.kind for each in two.read()] == ["msg", JOIN]
    one.store.write([one.addition(message("b", "ann"))])
    two.log.restore("another epoch", 2, 0, ())
    assert told(two) is None, "it is of another log"
    two.load()
    one.store.write([one.addition(message("c", "ann"))])
    one.store.write([one.addition(message("d", "ann"))])
    two.log = MemoryLog(1_000, least=1)
    two.log.restore(one.log.epoch, 1, 0, ())
    assert told(two) is None, "what comes before it was missed"
    two.load()
    one.store.write([one.addition(message("e" * 20_000, "ann"), message("f" * 20_000, "ann"))])
    assert told(two) is None, "it is too much"
    assert [each.text[0] for each in two.read()] == ["e", "f"]


def test_what_was_read_before_it_was_told_comes_once(
    kit: Callable[..., Kit], told: Callable[[Kit], list[Entry] | None]
) -> None:
    one, two = kit(), kit()
    for each in (one, two):
        each.store.look([])
    for text in "abc":
        one.store.write([one.addition(message(text, "ann"))])
    two.read()
    assert told(two) == []
    one.store.write([one.addition(message("a", "ann", None, 1), message("a", "ann", None, 1), message("d", "bob"))])
    assert [each.text for each in told(two) or ()] == ["a", "d"]
    one.read()
    assert told(one) == [], "those of the session's messages that were taken are in the log"


def test_a_reader_that_missed_more_than_the_news_keep_looks_at_every_room(
    kit: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NEWS_KEPT", 4)
    one, two = kit(), kit()
    two.store.look([])
    two.store.load("another")
    for text in "abcde":
        one.store.write([one.addition(message(text, "ann"))])
    assert two.store.news(wait=False) == {ROOM, "another"}
    assert [each.text for each in two.read()] == [*"abcde"]


def test_orders_in_force_are_kept_and_taken_back(kit: Callable[..., Kit]) -> None:
    one = kit()
    kick = order(KICK, "Ann put Bob out.", "ann", "Ann", target="bob")
    kick.marks = ("by bob", "address 10.0.0.1")
    lock, slow = (order(LOCK, "", "ann", "Ann", locked=True), order(SLOW, "", "ann", "Ann", seconds=2.5))
    one.write(kick, lock, slow, order(MUTE, "", "ann", "Ann", target="cy"))
    kept = kit().kept.orders
    assert [(each.id, each.order, each.target, each.seconds, each.locked) for each in kept] == [
        (1, KICK, "bob", None, None),
        (2, LOCK, None, None, True),
        (3, SLOW, None, 2.5, None),
        (4, MUTE, "cy", None, None),
    ]
    assert kept[0].marks == kick.marks
    assert kept[0].token == kick.token
    one.write(
        order(PARDON, "", "ann", "Ann", target="bob"),
        order(SLOW, "", "ann", "Ann", seconds=0),
        order(LOCK, "", "ann", "Ann", locked=False),
    )
    assert [(each.order, each.target) for each in kit().kept.orders] == [(MUTE, "cy")]


def test_what_is_cleared_is_gone_and_ids_and_numbers_go_on(kit: Callable[..., Kit], client: Redis) -> None:
    one = kit()
    one.write(message("secret", "ann", None, 1), order(CLEAR, "", "ann", "Ann"), message("new", "ann", None, 2))
    behind = kit()
    one.log.clear(2)
    kept = kit()
    assert [each.id for each in kept.kept.entries] == [2, 3]
    assert kept.log.start == one.log.start
    assert behind.kept.entries == kept.kept.entries
    assert [each.id for each in one.store.read({ROOM: (one.log.epoch, 0)})[ROOM].entries] == [1, 2, 3]
    one.store.look([replace(one.point, cleared=2)])
    assert kit().log.start == one.log.start
    assert not any("secret" in str(client.xrange(key)) for key in client.scan_iter("*:log"))
    assert one.write(message("secret", "ann", None, 1)) == [None]


def test_the_store_keeps_what_a_room_keeps_and_forgets_old_numbers(
    kit: Callable[..., Kit], client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = kit(keep=100)
    one.write(message("early", "old", None, 1))
    for first in range(1, 1_201, 100):
        one.write(*(message("x", "ann", None, number) for number in range(first, first + 100)))
    (log,) = client.scan_iter("*:log")
    assert client.xlen(log) <= 100 + 100 // 16 + 200, "Redis drops whole nodes of its stream"
    kept = kit(keep=100)
    assert kept.log.top == one.log.top
    assert kept.log.find(one.log.token(one.log.top - 50)) == one.log.top - 50
    assert kept.log.last("old") == 1, "remembered for ten minutes"
    monkeypatch.setattr(module, "REMEMBERED", -1.0)
    for _ in range(3):
        one.write(*(message("x", "bob") for _ in range(100)))
    assert kit(keep=100).log.last("old") is None
    assert one.write(message("early", "old", None, 1)) != [None]


def test_what_is_too_old_is_dropped_and_rooms_without_anything(
    kit: Callable[..., Kit], client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = kit()
    one.write(message("old", "ann"), message("old too", "ann", None, 3))
    time_between = one.log.read(0, 9)[-1].at + 0.001  # type: ignore[index]
    while time.time() < time_between:
        pass
    one.write(message("new", "ann"))
    one.store.expire(time_between, ())
    kept = kit()
    assert [each.text for each in kept.kept.entries] == ["new"]
    assert kept.log.find(one.log.token(2)) == 2, "who has seen all of it misses nothing"
    assert kept.log.last("ann") == 3
    one.store.expire(time.time() + 60, ())
    assert kit().log.top == 3, "a room that a process has keeps its epoch and its ids"
    assert kit().kept.epoch == one.log.epoch
    monkeypatch.setattr(module, "SETTLED", -60.0)
    one.store.expire(time.time() + 60, ())
    assert not list(client.scan_iter("threadchat:{*"))
    assert one.store.names() == set()


SILENT = (event(JOIN, "ann", "Ann"), event(NAME, "ann", "Anna"), event(LEAVE, "ann", "Anna"))
ON = order(LOCK, "locked", "org", "Org", None, None, True)
OFF = order(LOCK, "unlocked", "org", "Org", None, None, False)


@pytest.mark.parametrize(
    ("more", "stays"),
    [
        ((), False),
        ([event(JOIN, "bob", "Bob")], True),
        ([message("x", "ann", None, 1)], True),
        ([message("x", "ann")], True),
        ([ON, OFF], True),
        ([event(kind, f"{number}", "x") for number in range(150) for kind in (JOIN, LEAVE)], False),
    ],
    ids=["nobody", "somebody", "message", "plain message", "orders", "many"],
)
@pytest.mark.parametrize("before", [-inf, 0.0])
def test_a_room_in_which_nothing_was_ever_said_is_dropped_once_nobody_has_it(
    kit: Callable[..., Kit],
    client: Redis,
    monkeypatch: pytest.MonkeyPatch,
    more: Sequence[Entry],
    stays: bool,
    before: float,
) -> None:
    one = kit()
    one.write(*map(copy, SILENT), *map(copy, more))
    one.store.expire(before, ())
    assert one.store.names() == {ROOM}, "a process has it"
    monkeypatch.setattr(module, "SETTLED", -60.0)
    one.store.expire(before, ())
    assert (one.store.names() == {ROOM}) == stays
    assert bool(list(client.scan_iter("threadchat:{*"))) == stays


def test_a_silent_room_of_which_a_part_is_gone_may_have_had_words(
    kit: Callable[..., Kit], client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = kit()
    one.write(message("x", "ann"), *map(copy, SILENT))
    client.xtrim(f"threadchat:{{{quote(ROOM, safe='')}}}:log", minid="2")
    monkeypatch.setattr(module, "SETTLED", -60.0)
    one.store.expire(-inf, ())
    assert one.store.names() == {ROOM}


def test_race_1_a_room_that_is_opened_as_it_is_about_to_be_dropped_stays(
    kit: Callable[..., Kit], client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = kit()
    one.write(*map(copy, SILENT))
    client.zadd(module.ROOMS, {quote(ROOM, safe=""): 1})  # nobody has had it for long
    ask, opened = one.store._writer.ask, []

    def ask_slowly(*call: Any) -> Any:
        answer = ask(*call)
        opened.append(kit())
        return answer

    monkeypatch.setattr(one.store._writer, "ask", ask_slowly)
    one.store.expire(-inf, ())
    (other,) = opened
    assert other.write(event(JOIN, "bob", "Bob")) == [4], "in the log that it has opened"


def test_a_reader_finds_out_that_a_log_is_another_one(
    kit: Callable[..., Kit], server: RedisServer, client: Redis
) -> None:
    one, two = kit(), kit()
    one.write(message("a", "ann", None, 1), message("b", "ann", None, 2))
    two.read()
    assert two.store.look([two.point]) == Look(set(), set(), {ROOM})
    (meta,), (log,) = client.scan_iter("*:meta"), client.scan_iter("*:log")

    client.hset(meta, "top", "1")  # as if a replica had taken over that lacks the tail
    client.xtrim(log, 0)
    server.ask("XSETID", log, "1-0")
    assert two.store.look([two.point]).lost == {ROOM}
    assert client.hget(meta, "epoch") != two.log.epoch
    epoch = client.hget(meta, "epoch")
    assert one.store.look([one.point]).lost == {ROOM}
    assert client.hget(meta, "epoch") == epoch, "one process wins"

    one.load()
    one.write(message("c", "ann", None, 3))
    two.load()
    client.xtrim(log, 0)
    client.xadd(log, {"k": "msg", "a": "1", "e": '["eve", null, null, "another", null]'}, id=f"{one.log.top + 1}-0")
    client.hset(meta, "top", one.log.top + 1)
    assert one.store.look([Point(ROOM, one.log.epoch, one.log.top + 1, "remembered")]).lost == {ROOM}, "another entry"

    client.flushall()
    assert two.store.look([two.point]).lost == {ROOM}
    assert two.load().epoch != one.log.epoch


def test_a_reader_whose_connection_was_lost_while_it_was_idle_looks_first(
    kit: Callable[..., Kit], client: Redis
) -> None:
    one = kit()
    one.write(message("a", "ann"))
    one.store.look([])
    assert one.store.news(wait=False) == set()
    client.client_kill_filter(_type="normal", skipme=True)
    for why in ("cannot be reached", "was lost"):  # the second time there is a new one, over which nobody has looked
        with pytest.raises(StoreDown, match=why):
            one.store.read({ROOM: (one.log.epoch, 0)})
    one.store.look([])
    assert len(one.store.read({ROOM: (one.log.epoch, 0)})[ROOM].entries) == 1


def test_a_writer_finds_out_too_and_nothing_is_logged(kit: Callable[..., Kit], client: Redis) -> None:
    one = kit()
    one.write(message("a", "ann", None, 1), message("b", "ann", None, 2))
    (meta,) = client.scan_iter("*:meta")
    client.hset(meta, "top", "1")
    said = message("c", "ann", None, 3)
    assert one.store.write([one.addition(said)]) == {ROOM}
    assert not hasattr(said, "id")
    assert client.hget(meta, "epoch") != one.log.epoch
    assert one.store.write([one.addition(said)]) == {ROOM}
    client.flushall()
    assert one.store.write([one.addition(said)]) == {ROOM}
    assert not list(client.scan_iter("threadchat:{*")), "nothing was made in passing"


def test_entries_that_somebody_deleted_are_no_base_for_tokens(kit: Callable[..., Kit], client: Redis) -> None:
    one = kit()
    one.write(message("a", "ann", None, 1), message("b", "ann", None, 2))
    (log,) = client.scan_iter("*:log")
    client.delete(log)
    kept = kit()
    assert kept.log.top == 2
    assert kept.log.find(one.log.token(2)) is None
    assert kept.write(message("c", "ann", None, 3)) == [3]


def test_whoever_was_here_by_way_of_a_dead_process_alone_has_left_once(
    kit: Callable[..., Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, dead = kit(), kit(), kit()
    dead.write(event(JOIN, "ann", "Ann"), event(JOIN, "bob", "Bob"))
    one.write(event(JOIN, "bob", "Bob"))
    monkeypatch.setattr(module, "LEASE_TIME", -1.0)
    dead.store.lease()
    monkeypatch.setattr(module, "LEASE_TIME", 60.0)
    assert one.store.lease() == {dead.store.process: False}
    for each in (one, two, one):
        each.store.bury(dead.store.process)
    one.read()
    assert [facts(each) for each in one.log.read(2, 9) or ()] == [(LEAVE, 3, "ann", "Ann", None, "")]
    assert kit().kept.here == {"bob": "Bob"}
    assert one.store.lease() == {}


def test_a_process_that_leaves_is_given_time(kit: Callable[..., Kit]) -> None:
    one, two = kit(), kit()
    two.write(event(JOIN, "ann", "Ann"))
    two.store.leave(60.0)
    assert one.store.lease() == {}
    assert kit().kept.here == {"ann": "Ann"}
    two.store.leave(-1.0)
    assert one.store.lease() == {two.store.process: True}
    one.store.bury(two.store.process)
    assert one.store.lease() == {}
    assert kit().kept.here == {}


def test_news_are_not_kept_for_long(kit: Callable[..., Kit], client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    one = kit()
    one.write(message("is cleared later", "ann"))
    one.store.lease()
    assert "is cleared later" in str(client.xrange(module.NEWS))
    monkeypatch.setattr(module, "NEWS_AGE", -60.0)
    one.store.lease()
    assert client.xrange(module.NEWS) == []
    assert [each.text for each in kit().kept.entries] == ["is cleared later"]


def test_a_secret_is_made_once(kit: Callable[..., Kit]) -> None:
    assert kit().store.secret("key", "first") == "first"
    assert kit().store.secret("key", "second") == "first"


def test_rooms_that_other_processes_open_become_known(kit: Callable[..., Kit]) -> None:
    one, two = kit(), kit()
    assert one.store.look([]).names == {ROOM}
    two.store.load("another {1}")
    two.store.wake("another {1}")
    assert one.store.news(wait=True) == {"another {1}"}
    one.write(message("x", "ann"))
    assert two.store.look([two.point]) == Look(set(), {ROOM}, {ROOM, "another {1}"})
    assert one.store.news(wait=True) == {ROOM}
    assert one.store.news(wait=False) == set()
    for _ in range(module.MOST + 1):
        one.store._writer.ask("XADD", module.NEWS, "*", "r", "")
    assert one.store.news(wait=True) == {ROOM, "another {1}"}, "any may have something, if so many were told of"
    assert one.store.names() == {ROOM, "another {1}"}


def test_after_a_restart_of_redis_everything_is_there(redis_server: RedisServer) -> None:
    with closing(RedisStore(redis_server.url)) as store:
        epoch = store.load(ROOM).epoch
        said = message("stays", "ann", None, 1)
        store.write([Addition(ROOM, [said], 0, 0, epoch, 0)])
        redis_server.stop()
        with pytest.raises(StoreDown, match="cannot be reached"):
            store.write([Addition(ROOM, [message("waits", "ann", None, 2)], 0, 0, epoch, 1)])
        redis_server.start()
        store.write([Addition(ROOM, [message("waits", "ann", None, 2)], 0, 0, epoch, 1)])
        assert store.look([Point(ROOM, epoch, 1, said.token)]).lost == set()
        assert [each.text for each in store.load(ROOM).entries] == ["stays", "waits"]


def test_a_redis_that_is_full_says_so_and_takes_all_or_nothing(kit: Callable[..., Kit], server: RedisServer) -> None:
    one = kit()
    said = [message("x" * 100, "ann", None, 1), event(JOIN, "ann", "Ann")]
    server.config(maxmemory="1")
    try:
        with pytest.raises(StoreDown, match="no memory left"):
            one.store.write([one.addition(*said)])
    finally:
        server.config(maxmemory="0")
    assert kit().kept.entries == []
    assert one.write(*said) == [1, 2]


def test_a_redis_that_hangs_is_not_waited_for(
    kit: Callable[..., Kit], server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 1.0)
    one = kit()
    addition = one.addition(message("once", "ann"))
    server.pause()
    try:
        with pytest.raises(StoreDown, match="does not answer"):
            one.store.write([addition])
    finally:
        server.go_on()
    one.store._writer.close()
    monkeypatch.setattr(module, "TIMEOUT", 10.0)
    two = kit()
    one.store._writer = two.store._writer
    one.store.write([addition])
    assert [each.text for each in one.read()] == ["once"], "it was not lost, and is not there twice"


def unfit(url: str) -> str:
    with pytest.raises(StoreUnfit) as raised:
        open_store(url, "normal")
    return str(raised.value)


def test_a_redis_that_would_lose_rooms_or_takes_nothing_is_refused(
    server: RedisServer, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.config(maxmemory_policy="allkeys-lru")
    assert "would delete whole rooms" in unfit(server.url)
    server.config(maxmemory_policy="volatile-lru")
    with closing(RedisStore(server.url)):
        pass
    server.config(maxmemory_policy="noeviction", maxmemory="1")
    assert "no memory left" in unfit(server.url)
    server.config(maxmemory="0")
    client.replicaof("127.0.0.1", "1")
    assert "is a replica" in unfit(server.url)
    client.replicaof("NO", "ONE")
    client.hset("threadchat:secrets", "version", "0")
    assert "another version of threadchat" in unfit(server.url)
    client.flushall()
    monkeypatch.setattr(module, "OLDEST", (99, 0))
    assert "is too old" in unfit(server.url)


def test_an_address_without_a_redis_is_refused(server: RedisServer) -> None:
    assert "127.0.0.1:1 cannot be used: Redis cannot be reached" in unfit("redis://me:secret@127.0.0.1:1")
    assert "secret" not in unfit("redis://me:secret@127.0.0.1:1")
    assert "secret" not in unfit(f"redis://me:secret@127.0.0.1:{server.port}")
    assert "not the address of a Redis" in unfit("redis://127.0.0.1:no-port")


def test_users_need_their_password_and_the_rights_that_are_named(server: RedisServer) -> None:
    server.ask("ACL", "SETUSER", "chat", "on", ">secret", *COMMANDS.split())
    server.ask("ACL", "SETUSER", "little", "on", ">secret", *COMMANDS.split(), "-xadd")
    server.ask("ACL", "SETUSER", "elsewhere", "on", ">secret", "+@all", "~another:*")
    address = f"127.0.0.1:{server.port}"
    with closing(RedisStore(f"redis://chat:secret@{address}/3")) as store:
        store.load(ROOM)
    assert "does not take this user or password" in unfit(f"redis://chat:wrong@{address}")
    for user in ("little", "elsewhere"):
        assert f"the rights needed are: {COMMANDS}" in unfit(f"redis://{user}:secret@{address}")


def test_the_page_on_processes_names_the_same_rights() -> None:
    page = (Path(__file__).parent / "examples" / "processes.md").read_text()
    assert set(COMMANDS.split()) <= set(page.replace("'", "").split())


@pytest.mark.parametrize(
    ("told", "means"),
    [  # what Redis 7.0, Valkey 8.1 and 9.1, and Redis 6.2 answer to a script
        ("The user executing the script can't run this command or subcommand", "rights needed"),
        (
            "The user executing the script can't access at least one of the keys mentioned in the command",
            "rights needed",
        ),
        ("ACL failure in script: User little has no permissions to run the 'xadd' command script: on", "rights needed"),
        (
            "Error running script: @user_script: 29: -OOM command not allowed when used memory > 'maxmemory'.",
            "maxmemory",
        ),
        ("Error running script: another one", "Error running script: another one"),
    ],
)
def test_the_errors_of_scripts_are_said_in_words_for_people(told: str, means: str) -> None:
    assert means in error_of_script(told)
    assert "user_script" not in error_of_script(told)


def test_a_database_of_its_own_keeps_two_chats_apart(server: RedisServer) -> None:
    with closing(RedisStore(f"{server.url}/1")) as one, closing(RedisStore(f"{server.url}/2")) as two:
        assert one.load(ROOM).epoch != two.load(ROOM).epoch


def test_a_redis_behind_tls(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=redis "
    command += f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    files = {"tls_cert_file": str(certificate), "tls_key_file": str(key), "tls_ca_cert_file": str(certificate)}
    with RedisServer(tls=True, tls_auth_clients="no", requirepass="a/b", **files) as server:
        address = f"rediss://:a%2Fb@127.0.0.1:{server.port}"
        with closing(RedisStore(f"{address}?ssl_ca_certs={certificate}")) as store:
            assert store.load(ROOM).entries == []
        assert "cannot be used: Redis cannot be reached" in unfit(address), "a certificate that nobody has signed"


def test_without_redis_py_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    for name in ("redis", "redis_line"):
        monkeypatch.delitem(sys.modules, f"threadchat.log.{name}")
    assert unfit("redis://127.0.0.1") == "redis:// needs redis: install the extra `threadchat[redis]`"


def test_what_another_log_has_is_not_dropped_with_what_was_cleared(kit: Callable[..., Kit], client: Redis) -> None:
    one = kit()
    one.write(*(message(str(number), "ann") for number in range(50)))
    before = replace(one.point, cleared=50)
    client.flushall()
    other = kit()
    other.write(message("in the new log", "bob"))
    assert one.store.look([before]).lost == {ROOM}
    assert [entry.text for entry in other.store.load(ROOM).entries] == ["in the new log"]


def test_a_group_that_comes_again_after_its_process_was_taken_to_be_dead_is_logged_once(
    kit: Callable[..., Kit],
) -> None:
    one, other = kit(), kit()
    addition = one.addition(message("once", "ann"))
    one.store.write([addition])
    one.store._batch -= 1  # the answer was lost
    other.store.bury(one.store.process)
    one.store.write([addition])
    assert len(other.store.load(ROOM).entries) == 1


def test_a_room_of_which_a_part_was_deleted_is_another_one(kit: Callable[..., Kit], client: Redis) -> None:
    one = kit()
    one.write(message("a", "ann"))
    (meta,) = client.scan_iter("*:meta")
    client.hdel(meta, "top")
    assert one.store.look([one.point]).lost == {ROOM}
    assert list(one.load().entries) == []


@pytest.mark.parametrize("where", ["redis://h?password=hunter2", "redis://ann:hun/ter2@h", "redis://:hunter2@h/0"])
def test_no_sentence_has_a_password_in_it(where: str) -> None:
    assert shown(where) in ("redis://h", "redis://h/0")
