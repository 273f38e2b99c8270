"""A store in Redis, for one process or for many: each room is a stream, and all processes see one order.

What must be decided once for all of them (ids, repeats, who is here), Redis itself decides, in scripts (`log.lua`),
so that it does not matter which process asks, or whether it asks again because the answer was lost. Redis must be told
to keep what it has (`appendonly yes`): without it a restart of Redis empties the rooms, and everybody is told of a gap.

Tried with Redis 7.0; it needs 6.2 or later, alone or as the primary of replicas. Redis Cluster and Sentinel are not
supported.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from threadchat.log import Addition, Arrivals, Point, Stored, StoreDown, StoreUnfit
from threadchat.log.lua import APPEND, EXPIRE, KEYS, LEASE, OPEN, RENEW
from threadchat.log.memory import REMEMBERED, cleared
from threadchat.messages import (
    CLEAR,
    JOIN,
    KICK,
    LEAVE,
    LOCK,
    MESSAGE,
    MUTE,
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

VERSION = b"1"  # of the keys
OLDEST = (6, 2)  # XTRIM MINID
ROOMS, PROCESSES, NEWS, SECRETS = "threadchat:rooms", "threadchat:processes", "threadchat:news", "threadchat:secrets"
TIMEOUT = 3.0  # seconds for a connection, and for an answer
BLOCK = 1.0  # seconds that the reader waits for entries at most: well below TIMEOUT
MOST = 1_024  # entries of a room that are read at once
LEASE_TIME = 10.0  # seconds for which a process is taken to be alive after it was seen
SETTLED = 600.0  # seconds after which a room that no process has is nobody's
COMMANDS = "+@connection +@stream +@hash +@sortedset +@string +@scripting +del +exists +info +time ~threadchat:*"
SHA = {script: hashlib.sha1(script.encode()).hexdigest() for script in (OPEN, APPEND, RENEW, EXPIRE, LEASE)}
Call = tuple[Any, ...]  # a command and its arguments


class Line:
    """A connection to Redis, for one thread at a time. Its answers are bytes, as Redis gives them. Raises StoreDown.

    It is made when it is first used, and again after it was lost. redis-py's own tries are off: they would append twice
    what was appended while the answer was lost. `again` is whether to ask once more, for callers to whom that is safe.
    """

    def __init__(self, url: str, again: bool) -> None:
        self._again = again
        self._client = redis.Redis.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
        )
        self._client.response_callbacks.clear()  # which make dictionaries: a reader of many entries has no use for them

    def ask(self, *call: Any) -> Any:
        """The answer to one command."""
        return self.ask_all([call])[0]

    def ask_all(self, calls: Sequence[Call]) -> list[Any]:
        """The answers to all these commands, which are sent at once."""
        with _down():
            try:
                return self._with_scripts(calls)
            except redis.ConnectionError:  # it was lost while nobody used it, or somebody has cut it
                if not self._again:
                    raise
                return self._with_scripts(calls)

    def close(self) -> None:
        """Close the connection; the next question makes another one."""
        with suppress(redis.RedisError):
            self._client.close()

    def _with_scripts(self, calls: Sequence[Call]) -> list[Any]:
        try:
            return self._pipelined(calls)
        except redis.exceptions.NoScriptError:  # a new Redis, or one that has started again
            self._pipelined([("SCRIPT", "LOAD", script) for script in SHA])
            return self._pipelined(calls)

    def _pipelined(self, calls: Sequence[Call]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*call)  # type: ignore[no-untyped-call]
        answers = pipeline.execute(raise_on_error=False)  # which would put our script's name before the error
        for answer in answers:
            if isinstance(answer, redis.RedisError):
                raise answer
        return answers


class RedisStore:
    """See `SharedStore`. Raises StoreUnfit if there is no Redis that can be used."""

    def __init__(self, url: str) -> None:
        self.process = secrets.token_hex(4)  # by which the others know this one
        self._batch = 0  # the number of the next group
        try:
            # The scripts see to it that the writer may ask again; the reader looks first (see LogReader).
            self._writer, self._reader = Line(url, again=True), Line(url, again=False)
        except ValueError as error:
            raise StoreUnfit(f"this is not the address of a Redis: {error}") from error
        self._news = b"0-0"  # the newest that the reader has seen
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
        kept, *_ = self._writer.ask_all(
            [
                _script(OPEN, room, secrets.token_urlsafe(4)),
                ("ZADD", ROOMS, time.time(), quote(room, safe="")),
            ]
        )
        return _stored(*kept)

    def wake(self, opened: str = "") -> None:
        """See `SharedStore.wake`."""
        self._writer.ask("XADD", NEWS, "MAXLEN", "~", 1_000, "*", "r", quote(opened, safe=""))

    def write(self, additions: Sequence[Addition]) -> Collection[str]:
        """See `SharedStore.write`."""
        full = [each for each in additions if each.entries]
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

    def expire(self, before: float) -> None:
        """See `Store.expire`. All processes do this, and it does no harm if two do it at once."""
        used = {
            unquote(name.decode()) for name in self._writer.ask("ZRANGEBYSCORE", ROOMS, time.time() - SETTLED, "+inf")
        }
        for room in self.names():
            old = self._newest_before(room, before)
            number, check = (old.id, old.check) if old is not None else (0, 0)
            gone, *_ = self._writer.ask_all(
                [_script(EXPIRE, room, number, check, int(1000 * REMEMBERED), "used" if room in used else "")]
            )
            if gone:
                self._writer.ask("ZREM", ROOMS, quote(room, safe=""))

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

    def look(self, points: Sequence[Point]) -> tuple[set[str], set[str]]:
        """See `SharedStore.look`."""
        now = time.time()
        calls: list[Call] = [("XREVRANGE", NEWS, "+", "-", "COUNT", 1), ("ZRANGE", ROOMS, 0, -1)]
        for point in points:
            calls += [("HMGET", _keys(point.room)[0], "epoch", "top"), _range(point.room, point.top, point.top)]
        if points:
            calls.append(("ZADD", ROOMS, *(word for each in points for word in (now, quote(each.room, safe="")))))
        news, rooms, *answers = self._reader.ask_all(calls)
        self._news = news[0][0] if news else b"0-0"
        lost, renewed = set(), []
        for point, (epoch, top), found in zip(points, answers[0::2], answers[1::2], strict=False):
            if epoch is None or epoch.decode() != point.epoch:
                lost.add(point.room)
            elif int(top) < point.top or any(_entry(point.epoch, *each).token != point.token for each in found):
                lost.add(point.room)
                renewed.append(_renew(point.room, point.epoch))
        if renewed:
            self._reader.ask_all(renewed)
        return lost, {unquote(name.decode()) for name in rooms}

    def read(self, after: dict[str, Point], wait: bool) -> tuple[dict[str, Arrivals], set[str]]:
        """See `SharedStore.read`."""
        keys = {_keys(room)[1]: room for room in after}
        how = ["BLOCK", int(1000 * (BLOCK if wait else BLOCK / 50))]
        ids = [self._news, *(f"{point.top}-0" for point in after.values())]
        found, arrived, opened = self._reader.ask("XREAD", "COUNT", MOST, *how, "STREAMS", NEWS, *keys, *ids), {}, set()
        for key, items in found or ():
            room = keys.get(key.decode())
            if room is None:
                self._news = items[-1][0]
                opened = {unquote(fields[1].decode()) for _, fields in items} - {""}
                continue
            epoch = after[room].epoch
            entries = [_entry(epoch, *each) for each in items]
            foreign = {
                entry.id
                for entry, (_, fields) in zip(entries, items, strict=True)
                if len(fields) > 6 and fields[7].decode() != self.process
            }
            arrived[room] = Arrivals(entries, foreign)
        return arrived, opened

    def lease(self) -> set[str]:
        """See `SharedStore.lease`."""
        (dead,) = self._reader.ask_all([self._lease(LEASE_TIME)])
        return {each.decode() for each in dead}

    def leave(self, lasts: float) -> None:
        """See `SharedStore.leave`."""
        self._reader.ask_all([self._lease(lasts)])

    def bury(self, process: str) -> None:
        """See `SharedStore.bury`."""
        for room in _names(self._reader):
            meta, _, _, _, here, seats, _, batches = _keys(room)
            epoch, taken, names, _ = self._reader.ask_all(
                [("HGET", meta, "epoch"), ("HGETALL", seats), ("HGETALL", here), ("HDEL", batches, process)]
            )
            called = dict(zip(names[0::2], names[1::2], strict=True))
            gone = [
                event(LEAVE, by.decode(), _name_of(called.get(by, b"0 ")))
                for by, processes in zip(taken[0::2], taken[1::2], strict=True)
                if process.encode() in processes.split()
            ]
            if gone and epoch is not None:
                addition = Addition(room, gone, 0, 0, epoch.decode(), 0)
                self._reader.ask_all([self._append(process, "", addition)])
        self._reader.ask("ZREM", PROCESSES, process)

    def _lease(self, lasts: float) -> Call:
        return ("EVALSHA", SHA[LEASE], 1, PROCESSES, self.process, int(1000 * lasts))

    def _append(self, process: str, batch: str, addition: Addition) -> Call:
        arguments: list[Any] = [process, batch, addition.epoch, addition.top, addition.before, int(1000 * REMEMBERED)]
        for entry in addition.entries:
            arguments += (JOIN if entry.kind == NAME else entry.kind), entry.by, _mark(entry), _rest(entry)
        return _script(APPEND, addition.room, *arguments)

    def _newest_before(self, room: str, before: float) -> Entry | None:
        """The newest entry of those that are older than this, seconds since 1970."""
        newest, start = None, 0
        while page := self._writer.ask(*_range(room, start + 1, "+"), "COUNT", MOST):
            for number, fields in page:
                if int(fields[3]) >= 1000 * before:
                    return newest
                newest = _entry("", number, fields)
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
        self.read({room: Point(room, epoch, 0, "")}, wait=False)
        self.leave(0.0)
        self.bury(self.process)
        self._writer.ask("DEL", *_keys(room))
        self._writer.ask("ZREM", ROOMS, quote(room, safe=""))


def _names(line: Line) -> set[str]:
    return {unquote(name.decode()) for name in line.ask("ZRANGE", ROOMS, 0, -1)}


@lru_cache(maxsize=4_096)
def _keys(room: str) -> list[str]:
    """The keys of a room. Its name is escaped, so that a brace in it does not end the hash tag."""
    return [f"threadchat:{{{quote(room, safe='')}}}:{key}" for key in KEYS]


def _script(script: str, room: str, *arguments: Any) -> Call:
    return ("EVALSHA", SHA[script], len(KEYS), *_keys(room), *arguments)


def _renew(room: str, epoch: str) -> Call:
    return _script(RENEW, room, epoch, secrets.token_urlsafe(4))


def _range(room: str, first: int, last: int | str) -> Call:
    return ("XRANGE", _keys(room)[1], first, last)


def _mark(entry: Entry) -> str:
    """What the script must know of an entry to take it or not: see APPEND."""
    if entry.kind == MESSAGE:
        return "" if entry.n is None else str(entry.n)
    if not isinstance(entry, Order):
        return entry.name or ""
    if entry.order == PARDON:
        return f"-{KICK} {entry.target}\n-{MUTE} {entry.target}"
    if entry.order == CLEAR:
        return "clear"
    if (entry.order == SLOW and not entry.seconds) or (entry.order == LOCK and not entry.locked):
        return f"-{entry.order} "
    return f"+{entry.order} {entry.target or ''}"


def _rest(entry: Entry) -> bytes:
    """What an entry says besides its kind, its id and its time."""
    facts = None
    if isinstance(entry, Order):
        facts = (entry.order, entry.target, entry.seconds, entry.locked, entry.marks)
    text = json.dumps((entry.by, entry.name, entry.n, entry.text, facts), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _entry(epoch: str, number: bytes, fields: Sequence[bytes]) -> Entry:
    """An entry of a stream."""
    return _made(epoch, number[:-2], fields[1].decode(), fields[3], fields[5])


def _made(epoch: str, number: bytes, kind: str, at: bytes, rest: bytes) -> Entry:
    by, name, n, text, facts = json.loads(rest.decode("utf-8", "surrogatepass"))
    if kind == MESSAGE:
        entry = message(text, by, name, n)
    elif kind == ORDER:
        entry = order(facts[0], text, by, name, *facts[1:4])
        entry.marks = tuple(facts[4])
    else:
        entry = event(kind, by, name or "")
    entry.id, entry.at, entry.epoch = int(number), int(at) / 1000, epoch
    return entry


def _stored(
    meta: Sequence[bytes],
    log: Sequence[tuple[bytes, Sequence[bytes]]],
    numbers: Sequence[bytes],
    spoke: Sequence[bytes],
    here: Sequence[bytes],
    orders: Sequence[bytes],
) -> Stored:
    """What OPEN has answered."""
    epoch, top, before = meta[0].decode(), int(meta[1]), int(meta[2])
    entries = [_entry(epoch, *each) for each in log]
    check = int(meta[3]) if meta[3] else cleared(before + 1, epoch)
    if entries and entries[0].id > before + 1:  # trimmed: the first one serves for its check value
        before, check = entries[0].id, entries[0].check
        del entries[0]
    if before + len(entries) != top:  # somebody has deleted some: no token of theirs is good any more
        entries, before, check = [], top, cleared(top + 1, epoch)
    spoken = dict(zip(spoke[0::2], spoke[1::2], strict=True))
    newest = []
    for by, n in zip(numbers[0::2], numbers[1::2], strict=True):
        entry = message("", by.decode(), None, int(n))
        entry.id, entry.at, entry.epoch = 0, float(spoken.get(by, 0)) / 1000, epoch
        newest.append(entry)
    in_order = sorted(zip(here[0::2], here[1::2], strict=True), key=lambda each: int(each[1].split(b" ", 1)[0]))
    in_force = []
    for kept in orders[1::2]:
        number, at, rest = kept.split(b" ", 2)
        in_force.append(_made(epoch, number, ORDER, at, rest))
    return Stored(
        epoch,
        before,
        check,
        entries,
        newest,
        {by.decode(): _name_of(each) for by, each in in_order},
        [each for each in sorted(in_force, key=lambda each: each.id) if isinstance(each, Order)],
    )


def _name_of(here: bytes) -> str:
    """The name in a value of `here`."""
    return here.split(b" ", 1)[1].decode()


@contextmanager
def _down() -> Iterator[None]:
    """Turn what redis-py raises into StoreDown, in words for people."""
    try:
        yield
    except redis.exceptions.NoPermissionError as error:
        raise StoreDown(f"Redis does not let this user do that ({error}); the rights needed are: {COMMANDS}") from error
    except redis.AuthenticationError as error:
        raise StoreDown(f"Redis does not take this user or password ({error})") from error
    except redis.TimeoutError as error:
        raise StoreDown("Redis does not answer") from error
    except redis.exceptions.BusyLoadingError as error:
        raise StoreDown("Redis is still reading what it has kept") from error
    except redis.exceptions.ReadOnlyError as error:
        raise StoreDown("Redis takes no writes: it is a replica") from error
    except redis.exceptions.OutOfMemoryError as error:
        raise StoreDown("Redis has no memory left: raise its maxmemory") from error
    except redis.ConnectionError as error:
        raise StoreDown(f"Redis cannot be reached ({error})") from error
    except redis.RedisError as error:
        if "can't run this command" in str(error) or "can't access" in str(error):  # in a script
            raise StoreDown(f"Redis does not let this user do that; the rights needed are: {COMMANDS}") from error
        raise StoreDown(str(error)) from error


@contextmanager
def _unfit() -> Iterator[None]:
    """Turn StoreDown into StoreUnfit: at the start nobody waits until a store is up."""
    try:
        yield
    except StoreDown as error:
        raise StoreUnfit(str(error)) from error
