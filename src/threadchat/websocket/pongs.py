"""The pong wait: how long a peer may take to answer a ping."""

from __future__ import annotations

import time

from threadchat.websocket.ready import OVERSLEPT

__all__ = ["PongWait"]


class PongWait:
    """Whether a peer still answers. The writer notes the pings; the reader does the rest.

    The wait counts from a ping that was really sent: it may go out late, because the server was busy or asleep. And
    only that time counts in which the reader listens and nothing comes. While the hub is busy, or the peer is slowed
    down, nothing is read, and the pong may be among it.
    """

    __slots__ = ("_answer_wait", "_first_look", "left", "unanswered")

    def __init__(self, pong_wait: float, ping_every: float) -> None:
        self._answer_wait = pong_wait - ping_every
        # Halfway between the next ping and the end of the wait: a reader that was asleep after the ping then notices.
        self._first_look = (pong_wait + ping_every) / 2
        # When the pings since the last pong were sent. The writer appends to the list, even if it is a moment late: for
        # each pong the reader makes a new one.
        self.unanswered: list[float] = []
        self.left = self._first_look  # seconds to listen until `is_over` is to be asked

    def begin_anew(self) -> None:
        """A pong has come."""
        self.unanswered = []
        self.left = self._first_look

    def listened(self, seconds: float) -> None:
        """The reader has listened for so long, when it wanted to for `left` at most."""
        self.left -= seconds
        if self.left < -OVERSLEPT:
            self.begin_anew()  # as if a pong had come: the peer could not answer a server that was asleep

    def is_over(self) -> bool:
        """Whether the oldest ping without an answer was sent too long ago. If not, `left` is the time until then."""
        if self.left <= 0:
            now = time.monotonic()
            sent = self.unanswered[0] if self.unanswered else now
            self.left = sent + self._answer_wait - now
        return self.left <= 0
