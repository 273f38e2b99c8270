"""The chat for pipes: each line in is a message, each message a line out. Trouble goes to standard error."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import suppress

from threadchat.channel import Channel, Closed, Send, select
from threadchat.terminal.view import Said

PATIENCE = 120.0  # seconds for which a lost connection is tried again: somebody waits for the end of the pipe
LONGEST_LINE = 65_536  # characters; a longer line is cut, so that memory is bounded


class Lines:
    """See `View`. `keys` is the descriptor of standard input."""

    ahead = 0  # the next line is read when the one before has been delivered
    patience = PATIENCE

    def __init__(self, keys: int = 0) -> None:
        self._keys = keys
        self._connected = False

    def read_keys(self, says: Channel[str], commands: Channel[str], done: Channel[None]) -> None:
        """See `View.read_keys`. There are no commands: a line is said whatever is in it."""
        with suppress(Closed):
            for line in _lines(self._keys):
                if line.strip():
                    select(Send(says, line), done)
            says.close()

    def message(self, said: Said) -> None:
        """See `View.message`. What was said before is left out, as for plain clients."""
        if not said.past:
            line = " ".join(said.text.splitlines())
            print(f"{said.name}: {line}" if said.name else line, flush=True)

    def news(self, text: str) -> None:
        """See `View.news`. Nothing: what comes out is what people say."""

    def trouble(self, text: str) -> None:
        """See `View.trouble`."""
        print(f"threadchat join: {text}", file=sys.stderr, flush=True)

    def status(self, name: str, connected: bool, waiting: int, names: tuple[str, ...]) -> None:
        """See `View.status`. Tells only that a connection is lost: somebody may be waiting for the end of the pipe."""
        if self._connected and not connected:
            self.trouble("The connection is lost. Trying again.")
        self._connected = connected


def _lines(descriptor: int) -> Iterator[str]:
    """The lines of a file, each as soon as it is there.

    By os.read: the thread may still wait for a line when the program ends, and a file object would then be locked.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    while data := os.read(descriptor, LONGEST_LINE):
        *lines, rest = (rest + decoder.decode(data)).split("\n")
        yield from lines
        while len(rest) >= LONGEST_LINE:
            yield rest[:LONGEST_LINE]
            rest = rest[LONGEST_LINE:]
    yield rest + decoder.decode(b"", final=True)
