"""The one message that is under way, and its number: promise 11, nothing is said twice or lost.

A session numbers its messages. The echo of a message is its acknowledgement; until it has come, no other message is
sent. After a reconnect the server says which number it has taken last, and the message is sent again only if the server
is sure not to have it.
"""

from __future__ import annotations

from enum import Enum, auto


class Fate(Enum):
    """What a reconnect means for the message that was under way."""

    TAKEN = auto()  # the server has it
    MISSED = auto()  # the server has not got it: send it again
    DOUBTFUL = auto()  # nobody knows: only the person can say whether to send it again


class Outgoing:
    """Used by the thread of the select alone."""

    def __init__(self) -> None:
        self.text: str | None = None  # the message under way; its number is `used` + 1
        self._used = 0  # the highest number that is used up

    @property
    def number(self) -> int:
        """The number of the message that is under way, or of the next one."""
        return self._used + 1

    def settle(self, number: object) -> bool:
        """Note that the server has taken this number. Returns whether it was the message under way."""
        if self.text is None or number != self.number:
            return False
        self.text, self._used = None, self.number
        return True

    def refuse(self, number: object) -> str | None:
        """Note that the server has refused this number, which is not used up. Returns the message that had it."""
        if self.text is None or number != self.number:
            return None
        text, self.text = self.text, None
        return text

    def resume(self, last: int | None, recovered: bool) -> Fate | None:
        """Go on at max(own, last) + 1 after a hello. Returns what became of the message under way, if there was one.

        `last` is the last number that the server has taken from this session, None if it does not know; `recovered` is
        whether the server's log is still the one that the message was sent to.
        """
        fate = None
        if self.text is not None:
            if last is not None and last >= self.number:
                fate = Fate.TAKEN
            elif last is not None and recovered:
                fate = Fate.MISSED
            else:
                fate = Fate.DOUBTFUL
        if fate in (Fate.TAKEN, Fate.DOUBTFUL):
            self.text, self._used = None, self.number  # a doubtful one may have used its number up
        self._used = max(self._used, last or 0)
        return fate
