"""Promises 1, 10, 11 and 13 while something goes wrong with one of two chat processes, with Redis, or on the way there.

People talk all the time, in rooms that both processes have; whoever loses a connection comes back to the other process.
In the end each of them must have what the log has, once and in order, and each message must be there once, except where
a case allows a gap: then everybody concerned was told of it. Each test prints a line of the table in examples/chaos.md.

At `--scale 20` there are 100 people in 5 rooms, the lease is the real one, and what is stopped stays so for long.
"""

from __future__ import annotations

import json
import secrets
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from frozen_path import Path as Way
from frozen_path import path_to
from helpers import TEXT, V1, Peer, RedisServer, needs_redis, until
from helpers.fleet import Fleet, People, log_up_to
from websockets.exceptions import ConnectionClosed

from threadchat.log.redis import NEWS, PROCESSES, _keys

pytestmark = needs_redis

# What is dead is noticed soon, and nobody is in a hurry on a slow machine.
SOON = {
    "threadchat.log.redis:LEASE_TIME": 4.0,
    "threadchat.log.reader:LOOK_EVERY": 1.0,
    "threadchat.log.reader:RETURN_WAIT": 0.0,  # or nobody is taken to have left so soon after the start
}
RATE = 100.0  # messages a second, of all people together
SOME = 30  # messages


class Site:
    """A Redis, and two chat processes, each with a way of its own to it, or `straight`."""

    def __init__(self, stack: ExitStack, folder: Path, redis: RedisServer, scale: int, straight: bool = False) -> None:
        self.redis = redis
        self.ways = [stack.enter_context(path_to(redis.port)) for _ in range(2)]
        stores = [redis.url if straight else f"redis://127.0.0.1:{way.port}" for way in self.ways]
        self.fleet = stack.enter_context(Fleet(folder, stores, constants=SOON if scale == 1 else None))
        self.scale = scale

    def heal(self) -> None:
        """Undo what a test may have left when it failed."""
        for way in self.ways:
            way.delay = 0.0
            way.release()
        for number in range(2):
            self.fleet.send(number, signal.SIGCONT)
        self.redis.config(maxmemory="0")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, scale: int) -> Iterator[Site]:
    """What most of the tests share, each with people in rooms of its own. They leave its processes as they are."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(appendonly="yes", appendfsync="always"))
        yield Site(stack, tmp_path_factory.mktemp("site"), redis, scale)


@pytest.fixture
def chat(site: Site) -> Iterator[Chaos]:
    with Chaos(site) as made:
        try:
            yield made
        finally:
            site.heal()


@pytest.fixture
def alone(tmp_path: Path, scale: int) -> Iterator[Chaos]:
    """For a test that kills something: a site of its own."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(appendonly="yes", appendfsync="always"))
        yield stack.enter_context(Chaos(Site(stack, tmp_path, redis, scale)))


class Chaos:
    """People who talk in both processes of a site. `through` is trouble that they have; then all is checked."""

    def __init__(self, site: Site) -> None:
        clients, rooms = (100, 5) if site.scale > 1 else (12, 2)
        self.site, self.fleet = site, site.fleet
        self.people = People(site.fleet.ports, clients, rooms, RATE, prefix=f"room-{secrets.token_hex(4)}-")
        self.back: list[float] = []  # seconds from the end of the trouble until everybody heard something new

    def __enter__(self) -> Chaos:
        return self

    def __exit__(self, *exc: object) -> None:
        self.people.leave()

    def through(self, trouble: Callable[[], object]) -> None:
        """Talk, have trouble, and talk again."""
        self.back.clear()

        def run() -> None:
            self.people.say(SOME)
            trouble()
            self.back.append(self.people.hear())
            self.people.say(SOME)

        self.people.through(run)

    def told(self, part: float = 1.0) -> None:
        """Wait until this part of the people were told that the log is down."""
        until(lambda: self.people.counts.downs >= part * len(self.people.talkers), "what everybody is told")

    def keys(self, room: int) -> list[str]:
        """The keys of a room in Redis."""
        return _keys(self.people.rooms[room].name)

    def entries(self, kind: str) -> Counter[str]:
        """How many entries of this kind there are of each session, in the rooms' newest epochs."""
        lines = [line for room in self.people.rooms for line in list(room.lines.values()) if f'"type":"{kind}"' in line]
        return Counter(line.partition('"by":"')[2].partition('"')[0] for line in lines)

    def at(self, number: int) -> set[str]:
        """The sessions that came first to this process."""
        return {
            talker.by
            for index, talker in enumerate(self.people.talkers)
            if index // len(self.people.rooms) % len(self.fleet.ports) == number
        }

    def check(self, case: str, *, gaps: int | None = 0) -> None:
        """Nothing was missed, nothing came twice, all have the same, and every process knows who is here.

        `gaps` is how many people are told of one at least; 0 for nobody, and None if it may be.
        """
        counts, kept = self.people.counts, 0
        for room in self.people.rooms:
            lines = [line for _, line in sorted(room.lines.items())]
            logs = [log_up_to(room.top, port, room.name) for port in self.fleet.ports]
            for log in logs:
                both = min(len(log), len(lines))  # one that was trimmed has lost its beginning
                assert log[-both:] == lines[-both:]
            kept += max(sum('"type":"msg"' in line for line in log) for log in logs)
            inside = {talker.by for talker in self.people.talkers if talker.room is room}
            for port in self.fleet.ports:
                until(lambda: inside <= here(port, room.name), "everybody here")  # noqa: B023
        print(
            f"| {case} | {counts.silence:.1f} s | {max(self.back):.1f} s | {'yes' if counts.downs else 'no'} | "
            f"{counts.gaps} | {counts.said} | {counts.said - kept} | {counts.missed} | {counts.twice} |"
        )
        assert (counts.missed, counts.twice, counts.different, counts.errors) == (0, 0, 0, [])
        assert gaps is None or (counts.gaps >= gaps and bool(counts.gaps) == bool(gaps))
        assert "1008" not in counts.endings, "nobody was evicted"


def here(port: int, room: str) -> set[str]:
    with V1(port, room=room) as looking:
        return {person["by"] for person in looking.hello["here"]}


def test_promise_13_several_processes_are_one_chat_also_when_one_of_them_dies(alone: Chaos) -> None:
    gone = 0.0
    with V1(alone.fleet.ports[0], room=alone.people.rooms[0].name, name="Ann") as ghost:  # who does not come back

        def die() -> None:
            nonlocal gone
            began = time.monotonic()
            alone.fleet.end(0, signal.SIGKILL)
            alone.back.append(alone.people.come_back())
            until(lambda: alone.entries("leave")[ghost.by], "the end of whoever does not come back", 60)
            gone = time.monotonic() - began
            alone.fleet.start(0)

        alone.through(die)
    alone.check("a chat process is killed")
    assert set(alone.entries("leave")) == {ghost.by}, "the others came back in time"
    print(f"whoever did not come back had left after {gone:.1f} s")


def test_redis_is_killed_and_starts_with_what_it_has_written(alone: Chaos) -> None:
    redis = alone.site.redis

    def die() -> None:
        redis.kill()
        alone.told()
        redis.start()

    alone.through(die)
    alone.check("Redis is killed, and starts with its AOF (appendfsync always)")
    redis.config(appendfsync="everysec")
    alone.through(die)
    # Here Redis answers before it has written, while the disk is slow: then everybody is told of a gap.
    alone.check("Redis is killed, and starts with its AOF (appendfsync everysec)", gaps=None)
    assert not alone.entries("leave")


def test_redis_is_stopped_for_longer_than_an_answer_may_take(alone: Chaos) -> None:
    redis = alone.site.redis
    lines = [f"line {number}" for number in range(20)]

    def stop() -> None:
        with Peer(alone.fleet.ports[0], "/r/plain/ws") as plain:  # its lines have no numbers
            redis.pause()
            for line in lines:
                plain.send(TEXT, line)
            alone.told()
            redis.go_on()
            alone.people.hear()

    alone.through(stop)
    alone.check("Redis is stopped for longer than an answer may take")
    for port in alone.fleet.ports:
        log = log_up_to(len(lines), port, "plain")
        assert [json.loads(line)["text"] for line in log] == lines, "what was asked twice was done once"
    assert not alone.entries("leave")


def test_redis_starts_empty(tmp_path: Path, scale: int) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(appendonly="no"))
        chat = stack.enter_context(Chaos(Site(stack, tmp_path, redis, scale)))

        def forget() -> None:
            redis.kill()
            chat.told()
            redis.start()

        chat.through(forget)
        chat.check("Redis starts empty", gaps=len(chat.people.talkers))


def test_a_replica_is_promoted_that_lacks_the_newest_entries(tmp_path: Path, scale: int) -> None:
    with ExitStack() as stack:
        primary = stack.enter_context(RedisServer(repl_diskless_sync_delay="0"))
        replica = stack.enter_context(RedisServer(replicaof=f"127.0.0.1 {primary.port}"))
        promoted = replica.client()
        until(lambda: promoted.info("replication")["master_link_status"] == "up", "the replica")
        site = Site(stack, tmp_path, primary, scale)
        chat = stack.enter_context(Chaos(site))

        def fail_over() -> None:
            until(lambda: promoted.exists(*(chat.keys(room)[1] for room in (0, 1))) == 2, "what is replicated")
            promoted.replicaof("NO", "ONE")
            chat.people.say(SOME)  # the tail that is lost
            primary.kill()
            for way in site.ways:
                way.target = replica.port
                way.cut()

        chat.through(fail_over)
        chat.check("a replica without the newest entries is promoted", gaps=len(chat.people.talkers))


def test_connections_to_redis_are_killed_every_4_ms(redis_server: RedisServer, tmp_path: Path, scale: int) -> None:
    killed = 0
    with ExitStack() as stack:
        chat = stack.enter_context(Chaos(Site(stack, tmp_path, redis_server, scale, straight=True)))

        def kill_all() -> None:
            nonlocal killed
            pause = threading.Event()
            with redis_server.client() as client:
                for _ in range(100 * scale):
                    killed += client.client_kill_filter(_type="normal", skipme=True)
                    pause.wait(0.004)

        chat.through(kill_all)
        chat.check("connections to Redis are killed every 4 ms")
    assert killed > 10
    print(f"{killed} connections were killed")


def test_a_chat_process_is_stopped_for_less_than_its_lease(chat: Chaos, scale: int) -> None:
    def stop() -> None:
        chat.fleet.send(0, signal.SIGSTOP)
        chat.people.say(SOME if scale == 1 else int(7 * RATE / 2))
        chat.fleet.send(0, signal.SIGCONT)

    chat.through(stop)
    chat.check("a chat process is stopped for less than its lease")
    assert not chat.entries("leave")


def test_a_chat_process_is_stopped_for_longer_than_its_lease(chat: Chaos, scale: int) -> None:
    there = chat.at(0)

    def stop() -> None:
        chat.fleet.send(0, signal.SIGSTOP)
        until(lambda: set(chat.entries("leave")) >= there, "the end of those who are connected to it", 60)
        if scale > 1:
            chat.people.say(int(40 * RATE / 2), 120)
        chat.fleet.send(0, signal.SIGCONT)

    chat.through(stop)
    chat.check("a chat process is stopped for longer than its lease")
    assert set(chat.entries("leave")) == there
    assert {by for by, count in chat.entries("join").items() if count > 1} == there, "they are here again"


def test_redis_runs_out_of_memory_until_all_leases_have_run_out(chat: Chaos) -> None:
    redis = chat.site.redis

    def fill() -> None:
        redis.config(maxmemory="1mb")
        chat.told()
        with redis.client() as client:
            until(lambda: not client.zcount(PROCESSES, 1000 * time.time(), "+inf"), "the end of the leases")
        redis.config(maxmemory="0")

    chat.through(fill)
    chat.check("Redis has no memory left, and gets more")
    assert not chat.entries("leave"), "nobody is taken to be dead: all were cut off"


@pytest.mark.parametrize("deleted", ["meta", "log", "all"])
def test_the_keys_of_a_room_are_deleted(chat: Chaos, deleted: str) -> None:
    keys = [key for key in chat.keys(0) if deleted in ("all", key.rpartition(":")[2])]

    def delete() -> None:
        with chat.site.redis.client() as client:
            client.delete(*keys)

    chat.through(delete)
    concerned = [talker for talker in chat.people.talkers if talker.room is chat.people.rooms[0]]
    # The processes have what was said: who comes back to one of them gets it, and a log goes on without its beginning.
    chat.check(f"a room's keys are deleted ({deleted})", gaps=0 if deleted == "log" else len(concerned))


def test_the_log_is_trimmed_past_a_process_that_lags(chat: Chaos) -> None:
    site, name = chat.site, chat.people.rooms[0].name

    def trim() -> None:
        with V1(chat.fleet.ports[0], room=name) as lags:
            token, session = lags.until(type="msg")["token"], lags.session
            site.ways[0].hold()
            chat.people.say(SOME)
            with site.redis.client() as client:
                for room in range(len(chat.people.rooms)):
                    client.xtrim(chat.keys(room)[1], maxlen=3, approximate=False)
                client.xtrim(NEWS, maxlen=0, approximate=False)  # they would bring what was trimmed
            site.ways[0].release()
            with pytest.raises(ConnectionClosed, match="1012"):
                lags.until(type="never")
        with V1(chat.fleet.ports[0], room=name, session=session, since=token) as back:
            assert not back.hello["recovered"]
            assert back.receive() == {"type": "gap"}

    chat.through(trim)
    # Whoever comes back to the other process misses nothing: it has read what was trimmed.
    chat.check("the log is trimmed past a process that lags", gaps=None)


def test_the_network_to_redis_drops_everything(alone: Chaos) -> None:
    ways = alone.site.ways
    for which, dropping in (("one", ways[:1]), ("both", ways)):

        def drop(dropping: Sequence[Way] = dropping) -> None:
            for way in dropping:
                way.hold()
            alone.told(len(dropping) / len(ways))
            for way in dropping:
                way.release()

        alone.through(drop)
        alone.check(f"the network between Redis and {which} of the processes drops everything")
    assert not alone.entries("leave")


@pytest.mark.parametrize("round_trip", [0.005, 0.2])
def test_redis_is_slow(chat: Chaos, round_trip: float) -> None:
    echoes: list[float] = []

    def be_slow() -> None:
        for way in chat.site.ways:
            way.delay = round_trip / 2
        with V1(chat.fleet.ports[0], name="Ann") as ann:
            for number in range(1, 6):
                began = time.monotonic()
                ann.say("hello", n=number)
                ann.until(type="msg", n=number, by=ann.by)
                echoes.append(time.monotonic() - began)
        for way in chat.site.ways:
            way.delay = 0.0

    chat.through(be_slow)
    chat.check(f"Redis answers after {1000 * round_trip:.0f} ms")
    assert not chat.people.counts.downs
    assert statistics.median(echoes) > round_trip
    print(f"own echo after {1000 * statistics.median(echoes):.0f} ms (p50)")
