"""A store in Redis, for one process or for many: each room is a stream, and all processes see one order.

What must be decided once for all of them (ids, repeats, who is here), Redis itself decides, in scripts (log/lua.py),
so that it does not matter which process asks, or whether it asks again because the answer was lost. Redis must be told
to keep what it has (`appendonly yes`): without it a restart of Redis empties the rooms, and everybody is told of a gap.

One stream more, the news, tells all processes to which rooms something was written, and brings the newest messages
along. It is a short cut: whatever it lacks is in the rooms' own streams.

It needs Redis 6.2 or later, alone or as the primary of replicas, which Sentinels may know. Redis Cluster is not
supported. tests/examples/processes.md says what was tried.

The races, each forced by a test of the same number in tests/test_redis_store.py:
1. A process opens a room while another one is about to drop it, since nobody has it.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import inf
from typing import Any
from urllib.parse import quote, unquote

from threadchat.log import Addition, Arrivals, Look, Point, Stored, StoreDown, StoreUnfit
from threadchat.log.lua import APPEND, EXPIRE, KEYS, LEASE, OPEN, RENEW, TRIM
from threadchat.log.memory import REMEMBERED
from threadchat.log.redis_entries import mark, name_of, read_entry, read_room, rest_of
from threadchat.log.redis_line import Call, Line, run
from threadchat.log.redis_news import News, called
from threadchat.messages import JOIN, LEAVE, NAME, Entry, event, message

log = logging.getLogger("threadchat")

ADDRESS = "redis://[[USER]:PASSWORD@]HOST[:PORT], or redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT]/NAME"
VERSION = b"1"  # of the keys
OLDEST = (6, 2)  # XTRIM MINID
ROOMS, PROCESSES, NEWS, SECRETS = "threadchat:rooms", "threadchat:processes", "threadchat:news", "threadchat:secrets"
TIMEOUT = 3.0  # seconds for a connection, and for an answer
BLOCK = 1.0  # seconds that the reader waits for entries at most: well below TIMEOUT
ROOMS_AT_ONCE = 256  # that are looked through with one request, for those who were there by way of a dead process
MOST = 1_024  # entries of a room that are read at once
NEWS_KEPT = 256  # items, of up to 32 KB
NEWS_AGE = 10.0  # seconds for which they are kept, while a process is alive
LEASE_TIME = 10.0  # seconds for which a process is taken to be alive after it was seen
LEFT = "-"  # behind the name of a process that has left in order
SETTLED = 600.0  # seconds after which a room that no process has is nobody's


class RedisStore:
    """See `SharedStore`. Raises StoreUnfit if there is no Redis that can be used."""

    def __init__(self, url: str) -> None:
        self.process = secrets.token_hex(4)  # by which the others know this one
        self._batch = 0  # the number of the next group
        try:
            self._writer, self._reader = Line(url, TIMEOUT), Line(url, TIMEOUT)
        except ValueError as error:  # which may quote the password
            raise StoreUnfit(f"this is not the address of a Redis: {ADDRESS}") from error
        self._news = News(self.process)
        self._newest = b"0-0"  # of the news that the reader has seen
        self._looked_over = 0  # the number of the connection over which it has looked
        try:
            with _unfit():
                self._check()
        except BaseException:
            self.close()
            raise

    def names(self) -> set[str]:
        """See `Store.names`."""
        return _names(self._writer)

    def load(self, room: str) -> Stored:
        """See `Store.load`."""
        _, kept = self._writer.ask_all(
            [
                ("ZADD", ROOMS, time.time(), quote(room, safe="")),  # first: another process drops it no more (race 1)
                _script(OPEN, room, secrets.token_urlsafe(4), int(1000 * REMEMBERED)),
            ]
        )
        return read_room(*kept)

    def wake(self, room: str = "") -> None:
        """See `SharedStore.wake`."""
        self._writer.ask(*_told_of(room))

    def write(self, additions: Sequence[Addition]) -> Collection[str]:
        """See `SharedStore.write`."""
        full = [each for each in additions if each.entries]
        self._news.sending(self._batch, full)
        answers = self._writer.ask_all([self._append(self.process, str(self._batch), each) for each in full])
        lost = [each for each, answer in zip(full, answers, strict=True) if answer is None]
        for addition, answer in zip(full, answers, strict=True):
            if answer is not None:
                _, at, *ids = answer.split()
                when = int(at) / 1000
                for entry, number in zip(addition.entries, ids, strict=True):
                    if number != b"0":
                        entry.id, entry.at, entry.epoch = int(number), when, addition.epoch
        if lost:
            self._writer.ask_all([_renew(each.room, each.epoch) for each in lost])
        self._batch += 1  # not before: what was not answered is sent again as the same group
        return {each.room for each in lost}

    def expire(self, before: float, used: Collection[str]) -> None:
        """See `Store.expire`. All processes do this, and it does no harm if two do it at once.

        Which rooms are used, in any process, Redis knows: `look` says so.
        """
        settled = time.time() - SETTLED
        newest = f"({settled}" if before == -inf else "+inf"  # if nothing is too old, used rooms need no look
        rooms = [unquote(name.decode()) for name in self._writer.ask("ZRANGEBYSCORE", ROOMS, "-inf", newest)]
        for first in range(0, len(rooms), ROOMS_AT_ONCE):
            calls = []
            for room in rooms[first : first + ROOMS_AT_ONCE]:
                old = None if before == -inf else self._newest_before(room, before)
                number, check = (old.id, old.check) if old is not None else (0, 0)
                where = ROOMS, quote(room, safe=""), settled
                calls.append(_script(EXPIRE, room, number, check, int(1000 * REMEMBERED), *where))
            self._writer.ask_all(calls)

    def secret(self, name: str, made: str) -> str:
        """See `Store.secret`."""
        self._writer.ask("HSETNX", SECRETS, name, made)
        kept: bytes = self._writer.ask("HGET", SECRETS, name)
        return kept.decode()

    def close(self) -> None:
        """See `Store.close`."""
        self._writer.close()
        self._reader.close()

    # The reader's thread calls the methods below, on a connection of its own.

    def look(self, points: Sequence[Point]) -> Look:
        """See `SharedStore.look`."""
        now = time.time()
        calls: list[Call] = [("XREVRANGE", NEWS, "+", "-", "COUNT", 1), ("ZRANGE", ROOMS, 0, -1)]
        for point in points:
            calls += [("HMGET", _keys(point.room)[0], "epoch", "top"), _range(point.room, point.top, point.top)]
        calls += [_script(TRIM, each.room, each.epoch, each.cleared) for each in points if each.cleared]
        if points:
            calls.append(("ZADD", ROOMS, *(word for each in points for word in (now, quote(each.room, safe="")))))
        news, rooms, *answers = self._reader.ask_all(calls)
        self._looked_over = self._reader.connections
        self._newest = news[0][0] if news else b"0-0"  # of what came before, the rooms are behind
        lost, behind, renewed = set(), set(), []
        for point, (epoch, top), found in zip(points, answers[0::2], answers[1::2], strict=False):
            if epoch is None or top is None or epoch.decode() != point.epoch:
                lost.add(point.room)
            elif int(top) < point.top or any(read_entry(point.epoch, *each).token != point.token for each in found):
                lost.add(point.room)
                renewed.append(_renew(point.room, point.epoch))
            elif int(top) > point.top:
                behind.add(point.room)
        if renewed:
            self._reader.ask_all(renewed)
        return Look(lost, behind, {unquote(name.decode()) for name in rooms})

    def news(self, wait: bool) -> set[str]:
        """See `SharedStore.news`."""
        self._news.take(())
        block = int(1000 * (BLOCK if wait else BLOCK / 50))
        found = self._ask("XREAD", "COUNT", NEWS_KEPT, "BLOCK", block, "STREAMS", NEWS, self._newest)
        if not found:
            return set()
        ((_, items),) = found
        self._newest = items[-1][0]
        if len(items) == NEWS_KEPT:  # perhaps more than the stream keeps: any room may have something
            return _names(self._reader)
        return self._news.take([fields for _, fields in items])

    def read(self, after: Mapping[str, tuple[str, int]]) -> dict[str, Arrivals]:
        """See `SharedStore.read`. Redis is not asked for what the news have brought."""
        arrived, rest = {}, {}
        for room, (epoch, top) in after.items():
            if (entries := self._news.after(room, epoch, top)) is None:
                rest[room] = epoch, top
            elif entries:
                arrived[room] = Arrivals(entries, ())
        return arrived | self._read(rest) if rest else arrived

    def _read(self, after: Mapping[str, tuple[str, int]]) -> dict[str, Arrivals]:
        """What the logs themselves have after these ids."""
        keys = {_keys(room)[1]: room for room in after}
        found = self._ask("XREAD", "COUNT", MOST, "STREAMS", *keys, *(top for _, top in after.values()))
        arrived = {}
        for key, items in found or ():
            room = keys[key.decode()]
            epoch, _ = after[room]
            entries = [read_entry(epoch, *each) for each in items]
            foreign = {
                entry.id
                for entry, (_, fields) in zip(entries, items, strict=True)
                if len(fields) > 6 and fields[7].decode() != self.process
            }
            arrived[room] = Arrivals(entries, foreign, len(items) == MOST)
        return arrived

    def _ask(self, *call: Any) -> Any:
        """Ask over the connection over which the reader has looked: another one may lead to another Redis."""
        (answer,) = self._reader.ask_all([call], again=False)
        if self._reader.connections != self._looked_over:
            raise StoreDown("the connection to Redis was lost")
        return answer

    def lease(self) -> dict[str, bool]:
        """See `SharedStore.lease`."""
        (dead,) = self._reader.ask_all([_lease(self.process, LEASE_TIME)])
        names = [each.decode() for each in dead]
        return {name.removesuffix(LEFT): name.endswith(LEFT) for name in names}

    def leave(self, lasts: float) -> None:
        """See `SharedStore.leave`."""
        self._reader.ask_all([_lease(self.process + LEFT, lasts), ("ZREM", PROCESSES, self.process)])

    def bury(self, process: str) -> None:
        """See `SharedStore.bury`."""
        rooms = sorted(_names(self._reader))
        for first in range(0, len(rooms), ROOMS_AT_ONCE):
            self._bury_in(rooms[first : first + ROOMS_AT_ONCE], process)
        self._forget(process)

    def _forget(self, process: str) -> None:
        self._reader.ask("ZREM", PROCESSES, process, process + LEFT)

    def _bury_in(self, rooms: Sequence[str], process: str) -> None:
        """The same for these rooms. The process' last batch stays: it may be alive after all, and say it again."""
        keys = [_keys(room) for room in rooms]
        looks = [(("HGET", each[0], "epoch"), ("HGETALL", each[5]), ("HGETALL", each[4])) for each in keys]
        answers = self._reader.ask_all([call for each in looks for call in each])
        calls: list[Call] = []
        for room, epoch, seats, here in zip(rooms, answers[0::3], answers[1::3], answers[2::3], strict=True):
            called = dict(zip(here[0::2], here[1::2], strict=True))
            gone = [
                event(LEAVE, by.decode(), name_of(called.get(by, b"0 ")))
                for by, processes in zip(seats[0::2], seats[1::2], strict=True)
                if process.encode() in processes.split()
            ]
            if gone and epoch is not None:
                addition = Addition(room, gone, 0, 0, epoch.decode(), 0)
                calls.append(self._append(process, "", addition))
        if calls:
            self._reader.ask_all(calls)

    def _append(self, process: str, batch: str, addition: Addition) -> Call:
        arguments: list[Any] = [process, batch, addition.epoch, addition.top, addition.before, int(1000 * REMEMBERED)]
        arguments += called(addition.room), NEWS_KEPT
        for entry in addition.entries:
            kind = JOIN if entry.kind == NAME else entry.kind
            if kind == JOIN and entry.by in addition.organisers:
                kind = "organiser"
            arguments += kind, entry.by, mark(entry), rest_of(entry)
        return run(APPEND, [*_keys(addition.room), NEWS], *arguments)

    def _newest_before(self, room: str, before: float) -> Entry | None:
        """The newest entry of those that are older than this, seconds since 1970."""
        newest, start = None, 0
        while page := self._writer.ask(*_range(room, start + 1, "+"), "COUNT", MOST):
            for number, fields in page:
                if int(fields[3]) >= 1000 * before:
                    return newest
                newest = read_entry("", number, fields)
            start = newest.id if newest else 0
        return newest

    def _check(self) -> None:
        """Raise StoreUnfit for a Redis that would not keep what it is given, or lets us do too little."""
        text = self._writer.ask("INFO").decode(errors="replace")
        facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        version = facts.get("redis_version", "0")
        if tuple(int(each) for each in version.split(".")[:2]) < OLDEST:
            raise StoreUnfit(f"Redis {version} is too old: 6.2 or later is needed")
        if facts.get("redis_mode") == "cluster":
            raise StoreUnfit("this is a Redis Cluster, which is not supported: use a Redis that stands alone")
        if facts.get("role") == "slave":
            raise StoreUnfit("this Redis is a replica, and takes no writes: use its primary")
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy.startswith("allkeys"):  # one of volatile-* does no harm: no key of ours has a time to live
            raise StoreUnfit(
                f"this Redis would delete whole rooms when its memory is full (maxmemory-policy {policy}): set it to "
                "noeviction, with `redis-cli config set maxmemory-policy noeviction`, and in redis.conf"
            )
        if facts.get("aof_enabled") == "0":
            log.warning(
                "this Redis forgets the rooms, or the newest of them, when it ends: set `appendonly yes` for it"
            )
        self._writer.ask("HSETNX", SECRETS, "version", VERSION)
        if self._writer.ask("HGET", SECRETS, "version") != VERSION:
            raise StoreUnfit("this Redis was written by another version of threadchat: choose another database")
        self._rehearse()

    def _rehearse(self) -> None:
        """Do everything once, in a room that nobody can have, for the user's rights."""
        room = f"/{self.process}"
        epoch = self.load(room).epoch
        self.write([Addition(room, [event(JOIN, "x", "x"), message("x", "x", None, 1)], 0, 0, epoch, 0)])
        self.wake()
        self.look([Point(room, epoch, 0, "")])
        self.news(wait=False)
        self.read({room: (epoch, 0)})
        self.leave(0.0)
        self._bury_in([room], self.process)
        self._forget(self.process)
        self._writer.ask("DEL", *_keys(room))
        self._writer.ask("ZREM", ROOMS, quote(room, safe=""))


def _names(line: Line) -> set[str]:
    return {unquote(name.decode()) for name in line.ask("ZRANGE", ROOMS, 0, -1)}


@lru_cache(maxsize=4_096)
def _keys(room: str) -> list[str]:
    """The keys of a room. Its name is escaped, so that a brace in it does not end the hash tag."""
    return [f"threadchat:{{{quote(room, safe='')}}}:{key}" for key in KEYS]


def _script(script: str, room: str, *arguments: Any) -> Call:
    return run(script, _keys(room), *arguments)


def _told_of(room: str) -> Call:
    """Tell all processes that something is new in the room, or nothing ("")."""
    return ("XADD", NEWS, "MAXLEN", "~", NEWS_KEPT, "*", "r", called(room))


def _lease(process: str, lasts: float) -> Call:
    return run(LEASE, [PROCESSES, NEWS], process, int(1000 * lasts), int(1000 * NEWS_AGE))


def _renew(room: str, epoch: str) -> Call:
    return _script(RENEW, room, epoch, secrets.token_urlsafe(4))


def _range(room: str, first: int, last: int | str) -> Call:
    return ("XRANGE", _keys(room)[1], first, last)


@contextmanager
def _unfit() -> Iterator[None]:
    """Turn StoreDown into StoreUnfit: at the start nobody waits until a store is up."""
    try:
        yield
    except StoreDown as error:
        raise StoreUnfit(str(error)) from error
