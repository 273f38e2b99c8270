"""Plain lines: a line is a message, and a frame may hold several. The Go example's page speaks this.

With a name (`?name=Ann`) others see `Ann: hello`. With `?history=N` the last N messages come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from threadchat.messages import Entry, message, plain_lines
from threadchat.moderation import Refusal, Visitor
from threadchat.people import Person
from threadchat.protocols.welcome import check_still_welcome
from threadchat.room import Room
from threadchat.subprotocol import Subprotocol
from threadchat.websocket.connection import Connection, ConnectionClosed


class Plain(Subprotocol):
    """The plain lines of one connection in a room. `person` is None for somebody without a name.

    `history` is the number of messages that come first.
    """

    def __init__(
        self, room: Room, connection: Connection, visitor: Visitor, person: Person | None, history: int
    ) -> None:
        self._room = room
        self._connection = connection
        self._visitor = visitor
        self._person = person
        self._history = min(history, room.options.history)
        self._seen = 0  # the newest id that was sent as history; what the hub passes on up to it is left out

    @property
    def name(self) -> str | None:
        """See `Subprotocol.name`."""
        return None if self._person is None else self._person.name

    @property
    def where(self) -> str:
        """See `Subprotocol.where`."""
        return self._room.called(self._person)

    def before_registration(self, connection: Connection) -> None:
        """Say who comes, if that is somebody with a name."""
        if self._person is not None:
            self._room.announce(self._person)

    def after_registration(self, connection: Connection) -> None:
        """Answer the handshake, and send the history."""
        connection.accept()
        check_still_welcome(self._room, self._visitor, connection)
        if self._history:
            log = self._room.log
            entries = log.read(log.recent(self._history), 2 * self._history) or ()
            if entries:
                connection.send(connection.encode(plain_lines(entries)[-self._history :]))
                self._seen = entries[-1].id
                connection.form = self._unseen

    def read(self, text: str) -> Entry | None:
        """See `Subprotocol.read`. Somebody whose line is refused is told so, in brackets."""
        line = text.replace("\n", " ").strip()
        if not line:
            return None
        said = message(line, self._visitor.by, None if self._person is None else self._person.name)
        if not self._room.moderation.in_force or self._may_say(said):
            return self._room.read(said)
        return None

    def _may_say(self, said: Entry) -> bool:
        """Whether the organisers let this be said now; False if it was said here already, or refused."""
        try:
            self._room.moderation.check_speech(self._visitor)
            if not self._room.moderation.slow:
                return True
            self._room.post(said, self._visitor)
        except Refusal as refusal:
            with suppress(ConnectionClosed):
                self._connection.reply(f"({refusal})")
        return False

    def _unseen(self, entries: Sequence[Entry]) -> Sequence[str]:
        return [entry for entry in entries if entry.id > self._seen]
