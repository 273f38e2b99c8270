"""The addresses of a Redis that `--store` takes, its own or that of the Sentinels that know it."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from redis import ConnectionPool
from redis.sentinel import Sentinel, SentinelConnectionPool

SENTINEL = "redis+sentinel"
SENTINEL_PORT = 26379


def pool_of(url: str, **options: Any) -> ConnectionPool:
    """Connections to the Redis at this address, with these options of redis-py's connections.

    `redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/NAME[/DATABASE]` names Sentinels: each new connection
    leads to the Redis that is the primary NAME at that moment. User and password are those of that Redis.

    Raises ValueError for an address that is none.
    """
    scheme, separator, rest = url.partition("://")
    if scheme != SENTINEL:
        return ConnectionPool.from_url(url, **options)
    authority, _, path = rest.partition("/")
    name, _, database = path.partition("/")
    user, _, hosts = authority.rpartition("@")
    username, _, password = user.partition(":")
    if not (separator and name):
        raise ValueError("an address of Sentinels needs the primary's name")
    addresses = [urlsplit(f"//{host}") for host in hosts.split(",")]
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [(each.hostname, each.port or SENTINEL_PORT) for each in addresses],
        sentinel_kwargs={key: value for key, value in options.items() if key != "redis_connect_func"},
    )
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]
        name,
        sentinel,
        username=unquote(username) or None,
        password=unquote(password) or None,
        db=int(database or 0),
        **options,
    )


def close_sentinels(pool: ConnectionPool) -> None:
    """Close the connections to Sentinels that the pool has, if any. The next connection to Redis makes new ones."""
    if isinstance(pool, SentinelConnectionPool):
        for each in pool.sentinel_manager.sentinels:
            each.close()
