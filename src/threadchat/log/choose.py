"""Which store keeps the logs: the options --store and --synchronous."""

from __future__ import annotations

from threadchat.log import Store


def open_store(where: str, synchronous: str) -> Store | None:
    """The store that `--store` names; None for memory alone. Raises StoreUnfit."""
    kind, _, rest = where.partition(":")
    if kind == "memory":
        return None
    from threadchat.log.sqlite import SqliteStore  # not at the top: most chats do without it

    return SqliteStore(rest, synchronous)
