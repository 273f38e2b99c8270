"""Which store keeps the logs: the options --store and --synchronous."""

from __future__ import annotations

import re

from threadchat.log import Store, StoreUnfit


def open_store(where: str, synchronous: str) -> Store | None:
    """The store that `--store` names; None for memory alone. Raises StoreUnfit."""
    kind, _, rest = where.partition(":")
    if kind == "memory":
        return None
    if kind == "sqlite":
        from threadchat.log.sqlite import SqliteStore  # not at the top: most chats do without it

        return SqliteStore(rest, synchronous)
    try:
        from threadchat.log.redis import RedisStore
    except ModuleNotFoundError as error:
        raise StoreUnfit(f"{kind}:// needs {error.name}: install the extra `threadchat[redis]`") from error
    try:
        return RedisStore(where)
    except StoreUnfit as error:
        raise StoreUnfit(f"{shown(where)} cannot be used: {error}") from error


def shown(where: str) -> str:
    """What `--store` names, without the user and the password in it, wherever they stand."""
    return re.sub("//.*@", "//", where).partition("?")[0]
