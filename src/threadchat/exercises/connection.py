"""A connection as the exercises have it: `read`, `write` and `close` for the learner, the rest for the check.

It is made of channels, so that the check's schedule knows who waits for what.
"""

from __future__ import annotations

from contextlib import suppress

from threadchat.channel import Channel, Closed, Send, select


class Disconnected(Exception):
    """The connection has ended: the other side has gone, or this side has closed it."""


class Connection:
    """One side of a connection that carries lines of text. One thread may read while another writes."""

    def __init__(self) -> None:
        self._said: Channel[str] = Channel()
        self._ended: Channel[None] = Channel()
        self._wire: Channel[str] = Channel(10_000)
        self._read_all = ""
        self.broken = False

    def read(self) -> str:
        """The next line from the other side. Sleeps until there is one. Raises Disconnected."""
        try:
            _, line = select(self._said, self._ended)
        except Closed:
            raise Disconnected from None
        return str(line)

    def write(self, line: str) -> None:
        """Write a line to the other side. It goes out in two pieces. Raises Disconnected."""
        if self.broken or self._ended.statistics().closed:
            raise Disconnected
        half = len(line) // 2
        self._wire.send(line[:half])
        self._wire.send(line[half:] + "\n")

    def close(self) -> None:
        """End the connection. Does nothing if it has ended."""
        with suppress(Closed):
            self._ended.close()

    # The other side, for the check

    def say(self, *lines: str) -> None:
        """Say these lines. Sleeps until they are read, or the connection has ended."""
        with suppress(Closed):
            for line in lines:
                select(Send(self._said, line), self._ended)

    def leave(self) -> None:
        """Go away."""
        self._said.close()

    @property
    def closed(self) -> bool:
        """Whether this side has closed the connection."""
        return self._ended.statistics().closed

    def heard(self) -> list[str]:
        """All lines that have come, and what has come of the next one."""
        self._read_all += "".join(self._wire.take_pending())
        return self._read_all.splitlines()
