"""`threadchat join`: the parts together, for a terminal or a pipe."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from threadchat.terminal.address import Address, NotAnAddress, address_of
from threadchat.terminal.chat import Chat, Gone
from threadchat.terminal.dial import Connection
from threadchat.terminal.lines import Lines

if TYPE_CHECKING:
    from threadchat.terminal.screen import Screen


class CannotJoin(Exception):
    """The chat cannot be joined, or has ended by itself. str() says why; `status` is the exit status."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status


def join(url: str, room: str | None = None, name: str | None = None, key: str | None = None) -> int:
    """Join a chat in the main thread, until the person leaves or the input ends. Returns the exit status.

    It is 0 if all that was said was delivered, otherwise 1. Raises CannotJoin: with status 2 for a mistake of the
    person, with 1 for what may go better the next time.
    """
    try:
        address = address_of(url, room)
    except NotAnAddress as error:
        raise CannotJoin(str(error), 2) from error
    key = address.key if key is None else key
    if key is not None and not re.fullmatch("[!-~]+", key):
        raise CannotJoin("a key has no spaces in it, and no characters beyond ASCII", 2)
    dial = dialer(address, key)
    try:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return _run(Chat(dial, Lines(), name))
        screen = _screen(str(address))
        try:
            return _run(Chat(dial, screen, name))
        finally:
            screen.close()
    except Gone as error:
        raise CannotJoin(str(error), 1) from error


def dialer(address: Address, key: str | None) -> Callable[[str | None, str | None], Connection]:
    """The `dial` of one session, whose secret this process alone knows. A key is shown to the server."""
    headers = [(b"Authorization", f"Bearer {key}".encode())] if key else []
    session = secrets.token_urlsafe(24)

    def dial(name: str | None, since: str | None) -> Connection:
        asked = {what: value for what, value in (("name", name), ("since", since)) if value}
        query = f"?{urlencode(asked, errors='replace')}" if asked else ""
        return Connection(address, query, ["threadchat.v1", f"session.{session}"], headers)

    return dial


def _run(chat: Chat) -> int:
    chat.run()
    return int(chat.failed)


def _screen(where: str) -> Screen:
    """The view for people. It is imported here, since a pipe does without the extra."""
    try:
        from threadchat.terminal.screen import Screen
    except ModuleNotFoundError as error:
        raise CannotJoin(f"in a terminal this needs {error.name}: pip install 'threadchat[terminal]'", 2) from error
    return Screen(where)
