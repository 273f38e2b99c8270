"""A Redis and its replica under a real Sentinel: the chat goes to the one that is the primary, whichever that is.

What the replica had not got when it took over is lost, and everybody is told of a gap, as in test_chaos.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers import REDIS, Process, RedisServer, needs_redis, until
from helpers.fleet import Fleet, free_port
from redis import Redis, RedisError
from redis.sentinel import SentinelConnectionPool
from test_chaos import SOME, SOON, Chaos, Site

from threadchat.log import StoreUnfit
from threadchat.log.choose import open_store
from threadchat.log.redis import RedisStore
from threadchat.log.redis_address import pool_of

pytestmark = needs_redis
NAME = "mymaster"


class Watched(Site):
    """A Redis with a replica and a Sentinel, and two chat processes that ask the Sentinel for their Redis."""

    def __init__(self, stack: ExitStack, folder: Path, scale: int) -> None:
        self.redis = stack.enter_context(RedisServer(repl_diskless_sync_delay="0", requirepass="a/b", masterauth="a/b"))
        self.replica = stack.enter_context(
            RedisServer(replicaof=f"127.0.0.1 {self.redis.port}", requirepass="a/b", masterauth="a/b")
        )
        port = free_port()
        self._sentinel = stack.enter_context(Redis(port=port, decode_responses=True, protocol=2))
        (folder / "sentinel").mkdir()
        settings = folder / "sentinel" / "sentinel.conf"
        settings.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {settings.parent}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {self.redis.port} 1\n"
            f"sentinel auth-pass {NAME} a/b\n"
            f"sentinel down-after-milliseconds {NAME} 1000\n"
        )
        stack.enter_context(Process(settings.parent, [str(REDIS), str(settings), "--sentinel"]))
        until(lambda: self.ports() == (self.redis.port, self.replica.port), "a Sentinel that knows both")
        nobody = f"127.0.0.1:{free_port()}"  # is asked first
        self.url = f"redis+sentinel://:a%2Fb@{nobody},127.0.0.1:{port}/{NAME}"
        self.fleet = stack.enter_context(Fleet(folder, [self.url] * 2, constants=SOON if scale == 1 else None))
        self.ways, self.scale = [], scale

    def ports(self) -> tuple[int, ...]:
        """The ports of the primary and of the replicas, as the Sentinel sees it; nothing while it starts."""
        try:
            primary, replicas = self._sentinel.sentinel_master(NAME), self._sentinel.sentinel_slaves(NAME)
        except RedisError:
            return ()
        return primary["port"], *(each["port"] for each in replicas)

    def swap(self) -> None:
        """Have the replica take the primary's place, and the other way round."""
        self._sentinel.execute_command("SENTINEL", "FAILOVER", NAME)


@pytest.fixture
def site(tmp_path: Path, scale: int) -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Watched(stack, tmp_path, scale)


def test_when_the_primary_dies_the_chat_goes_to_the_replica_and_a_lost_tail_is_told(site: Watched) -> None:
    with Chaos(site) as chat:

        def fail_over() -> None:
            until(lambda: site.replica.ask("EXISTS", *(chat.keys(room)[1] for room in (0, 1))) == 2, "what is copied")
            site.replica.config(masterauth="wrong")
            site.redis.ask("CLIENT", "KILL", "TYPE", "replica")
            chat.people.say(SOME)  # the tail that is lost
            site.redis.kill()

        chat.through(fail_over)
        assert site.ports()[0] == site.replica.port
        chat.check(
            "the primary is killed, and Sentinel promotes a replica without the tail", gaps=len(chat.people.talkers)
        )


def test_the_chat_leaves_a_primary_that_has_become_a_replica(site: Watched) -> None:
    with Chaos(site) as chat:

        def change_places() -> None:
            site.swap()
            until(lambda: site.ports() == (site.replica.port, site.redis.port), "the two in each other's place")

        chat.through(change_places)
        chat.check("the primary and a replica change places (SENTINEL FAILOVER)", gaps=None)


def test_a_name_that_no_sentinel_knows_is_refused(site: Watched) -> None:
    RedisStore(site.url).close()
    another = site.url.replace(NAME, "another")
    with pytest.raises(StoreUnfit) as raised:
        open_store(another, "normal")
    where = another.replace(":a%2Fb@", "")
    assert str(raised.value) == (
        f"{where} cannot be used: no Sentinel answers that knows a primary of this name which is up"
    )


def test_an_address_names_sentinels_and_a_primary_with_its_user_and_database() -> None:
    pool = pool_of("redis+sentinel://chat:a%2Fb@one,[::1]:26380/mymaster/3")
    assert isinstance(pool, SentinelConnectionPool)
    asked = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in asked] == [("one", 26379), ("::1", 26380)]
    assert pool.service_name == "mymaster"
    given = pool.connection_kwargs
    assert (given["username"], given["password"], given["db"]) == ("chat", "a/b", 3)


@pytest.mark.parametrize("where", ["redis+sentinel://:secret@one", "redis+sentinel://:secret@one:x/mymaster"])
def test_an_address_without_a_name_or_a_port_that_is_none_is_refused(where: str) -> None:
    with pytest.raises(StoreUnfit, match="this is not the address of a Redis") as raised:
        open_store(where, "normal")
    assert "secret" not in str(raised.value)
