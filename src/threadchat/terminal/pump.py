"""The thread that reads the socket: Go's readPump, on the client's side."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from threadchat.channel import Channel, Closed, Send, select
from threadchat.terminal.dial import CannotDial, Connection
from threadchat.terminal.words import clean


@dataclass(frozen=True)
class Ended:
    """The last event of a connection, or the only one where there was none."""

    why: str
    code: int = 0  # the close code
    status: int = 0  # of the answer to the handshake, where that was a refusal


def read_socket(dial: Callable[[], Connection], events: Channel[Any], done: Channel[None]) -> None:
    """Dial, then pass on what the server says until the connection ends or `done` is closed. Runs in a thread.

    The Connection is the first event, an Ended the last, and a dict each line in between.
    """
    try:
        with closing(dial()) as connection:
            _pass_on(connection, events, done)
            for message in connection:
                for line in message.split("\n"):
                    _pass_on(_parsed(line), events, done)
        ended = Ended(clean(connection.reason), connection.code)
    except CannotDial as error:
        ended = Ended(clean(str(error)), status=error.status)
    except Closed:
        return
    with suppress(Closed):
        _pass_on(ended, events, done)


def _pass_on(event: object, events: Channel[Any], done: Channel[None]) -> None:
    """`select { case events <- event: case <-done: }`. Raises Closed when `done` is closed."""
    select(Send(events, event), done)


def _parsed(line: str) -> Any:
    """A line from the server as JSON, fit for a terminal; None if it is no JSON."""
    try:
        return clean(json.loads(line))
    except (ValueError, RecursionError):
        return None
