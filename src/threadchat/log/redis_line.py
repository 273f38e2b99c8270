"""Connections to Redis, and what is said when they fail."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from threadchat.log import StoreDown
from threadchat.log.lua import SCRIPTS
from threadchat.log.redis_address import close_sentinels, pool_of

# The rights that a user of Redis needs, as `ACL SETUSER` takes them.
COMMANDS = (
    "+@connection +select +@stream +@hash +@sortedset +@string +@scripting +del +exists +info +time ~threadchat:*"
)
FULL = "Redis has no memory left: raise its maxmemory"
Call = tuple[Any, ...]  # a command and its arguments
_sha = {script: hashlib.sha1(script.encode()).hexdigest() for script in SCRIPTS}


def run(script: str, keys: Sequence[str], *arguments: Any) -> Call:
    """The call of a script."""
    return ("EVALSHA", _sha[script], len(keys), *keys, *arguments)


class Line:
    """A connection to Redis, for one thread at a time. Its answers are bytes, as Redis gives them. Raises StoreDown.

    It is made when it is first used, and again after it was lost. redis-py's own tries are off: they would append twice
    what was appended while the answer was lost. `again` is whether to ask once more, for callers to whom that is safe.
    `timeout` is for a connection, and for an answer, in seconds.

    Raises ValueError for an address that is none.
    """

    def __init__(self, url: str, timeout: float, again: bool) -> None:
        self.connections = 0  # how many there have been
        self._again = again
        pool = pool_of(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            redis_connect_func=self._connected,
        )
        self._client = redis.Redis.from_pool(pool)
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
            close_sentinels(self._client.connection_pool)

    def _connected(self, connection: Any) -> None:
        """redis-py has a new connection: also where it finds an old one dead and says nothing."""
        connection.on_connect()
        self.connections += 1

    def _with_scripts(self, calls: Sequence[Call]) -> list[Any]:
        try:
            return self._pipelined(calls)
        except redis.exceptions.NoScriptError:  # a new Redis, or one that has started again
            self._pipelined([("SCRIPT", "LOAD", script) for script in SCRIPTS])
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
        raise StoreDown(FULL) from error
    except MasterNotFoundError as error:  # its text has all that redis-py knows of the Sentinels
        raise StoreDown("no Sentinel answers that knows a primary of this name which is up") from error
    except redis.ConnectionError as error:
        raise StoreDown(f"Redis cannot be reached ({error})") from error
    except redis.RedisError as error:
        raise StoreDown(error_of_script(str(error))) from error


def error_of_script(text: str) -> str:
    """The text of an error, in words for people if it comes from a script: there each version has words of its own."""
    if any(words in text for words in ("can't run this command", "can't access", "ACL failure in script")):
        return f"Redis does not let this user do that; the rights needed are: {COMMANDS}"
    return FULL if "-OOM " in text else text
