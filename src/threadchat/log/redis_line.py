"""Connections to Redis, and what is said when they fail."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis
from hiredis import pack_command
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

    It is made when it is first used, and again after it was lost. redis-py's own tries are off: they would go on for
    long, and after a time-out too. `timeout` is for a connection, and for an answer, in seconds.

    redis-py makes the connection and reads the answers. Its client and its pool, which any thread may use, are left
    out: with them a question takes twice the CPU time.

    Raises ValueError for an address that is none.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.connections = 0  # how many there have been
        self._pool = pool_of(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            redis_connect_func=self._connected,
        )
        self._connection: Any = self._pool.make_connection()  # of which redis-py types only a part

    def ask(self, *call: Any) -> Any:
        """The answer to one command."""
        return self.ask_all([call])[0]

    def ask_all(self, calls: Sequence[Call], again: bool = True) -> list[Any]:
        """The answers to all these commands, which are sent at once.

        If the connection is lost, they are asked once `again`, over a new one, which must do no harm.
        """
        try:
            try:
                return self._with_scripts(calls)
            except redis.ConnectionError:  # it was lost while nobody used it, or somebody has cut it
                if not again:
                    raise
                return self._with_scripts(calls)
        except redis.RedisError as error:
            raise StoreDown(_why(error)) from error

    def close(self) -> None:
        """Close the connection; the next question makes another one."""
        with suppress(redis.RedisError):
            self._connection.disconnect()
            close_sentinels(self._pool)

    def _connected(self, connection: Any) -> None:
        connection.on_connect()
        self.connections += 1

    def _with_scripts(self, calls: Sequence[Call]) -> list[Any]:
        try:
            return self._sent(calls)
        except redis.exceptions.NoScriptError:  # a new Redis, or one that has started again
            self._sent([("SCRIPT", "LOAD", script) for script in SCRIPTS])
            return self._sent(calls)

    def _sent(self, calls: Sequence[Call]) -> list[Any]:
        connection, answers, failure = self._connection, [], None
        connection.connect()  # if it is not: to send alone would not ask the Sentinels for their Redis
        connection.send_packed_command([b"".join(map(pack_command, calls))], check_health=False)
        for _ in calls:
            try:
                answers.append(connection.read_response())
            except redis.ResponseError as error:  # the other answers follow
                failure = failure or error
        if failure is not None:
            raise failure
        return answers


def _why(error: redis.RedisError) -> str:
    """What redis-py has raised, in words for people."""
    text = str(error)
    match error:
        case redis.exceptions.NoPermissionError():
            return f"Redis does not let this user do that ({text}); the rights needed are: {COMMANDS}"
        case redis.AuthenticationError():
            return f"Redis does not take this user or password ({text})"
        case redis.TimeoutError():
            return "Redis does not answer"
        case redis.exceptions.BusyLoadingError():
            return "Redis is still reading what it has kept"
        case redis.exceptions.ReadOnlyError():
            return "Redis takes no writes: it is a replica"
        case redis.exceptions.OutOfMemoryError():
            return FULL
        case MasterNotFoundError():  # its text has all that redis-py knows of the Sentinels
            return "no Sentinel answers that knows a primary of this name which is up"
        case redis.ConnectionError():
            return f"Redis cannot be reached ({text})"
    return error_of_script(text)


def error_of_script(text: str) -> str:
    """The text of an error, in words for people if it comes from a script: there each version has words of its own."""
    if any(words in text for words in ("can't run this command", "can't access", "ACL failure in script")):
        return f"Redis does not let this user do that; the rights needed are: {COMMANDS}"
    return FULL if "-OOM " in text else text
