"""What the loop needs of a terminal or a pipe: somebody who reads the keys and shows what is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from threadchat.channel import Channel


@dataclass(frozen=True)
class Said:
    """A message, fit for a terminal. `past` is whether it was said before this client came."""

    at: float
    name: str  # "" for somebody without one
    text: str
    own: bool
    past: bool
    mentions_me: bool


class View(Protocol):
    """Reads the keys in one thread, and shows what is said in that of the select."""

    @property
    def ahead(self) -> int:
        """How many messages may wait in `says`."""

    @property
    def patience(self) -> float | None:
        """Seconds for which a lost connection is tried again; None for ever."""

    def read_keys(self, says: Channel[str], commands: Channel[str], done: Channel[None]) -> None:
        """Send each message to `says`, closed after the last, and each command. Return when `done` is closed."""

    def message(self, said: Said) -> None:
        """Show what somebody said."""

    def news(self, text: str) -> None:
        """Tell about the people and the room."""

    def trouble(self, text: str) -> None:
        """Tell about something that went wrong."""

    def status(self, name: str, connected: bool, waiting: int, names: tuple[str, ...]) -> None:
        """Show one's own name, how the connection is and how many messages wait. `names` are those of the people."""
