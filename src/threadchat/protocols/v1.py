"""The subprotocol threadchat.v1: JSON objects, one a line, with names, history, recovery and acknowledgement.

A client is told where in the log it stands (hello), then what it has missed, or the newest messages, and then what is
new. With the token of the last entry that it saw it is given all that came since, or is told that there is a gap.
An organiser may also give orders (see `moderation`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from threadchat.messages import NAME, Entry, NotAMessage, clean_text, event, json_line, json_lines, message
from threadchat.moderation import ORDERS, Refusal, Visitor
from threadchat.names import NotAName
from threadchat.people import Person
from threadchat.protocols.welcome import check_still_welcome
from threadchat.room import Room
from threadchat.subprotocol import Subprotocol
from threadchat.websocket.connection import Connection, ConnectionClosed

SUBPROTOCOL = "threadchat.v1"
SESSION = re.compile("[A-Za-z0-9_-]{16,64}")
PAGE = 256  # entries that are sent as one, while a client catches up
LINE_FACTOR = 4  # how much longer a line of JSON is than a plain one: a batch must fit into the kernel's buffer
TRIES = 3  # how often a client may fall behind what the log keeps, before it is sent away
MOST_HERE = 200  # people that hello names
LARGEST_NUMBER = 2**53 - 1
# A message as most clients write it, without escapes and spaces: read so, it takes a third of the time.
SIMPLE_MESSAGE = re.compile(r'\{"type":"msg","n":([1-9][0-9]{0,14}),"text":"([^"\\\x00-\x1f]*)"\}').fullmatch


def tag(session: str) -> str:
    """The public tag (`by`) of a session: 96 bits of its SHA-256, the same in every process."""
    return base64.urlsafe_b64encode(hashlib.sha256(session.encode()).digest()[:12]).decode()


def frame_size(message_size: int) -> int:
    """How many bytes a frame from the client may have: JSON may write each byte of a message as six."""
    return 6 * message_size + 256


class Refused(ValueError):
    """What the client says cannot be taken; str() says why, in a sentence for people."""


class V1(Subprotocol):
    """One connection of a session in a room. `since` is the token from which to go on, if the client has one.

    `known` is whether the client has a session of its own making: only then can it send something again.
    """

    def __init__(
        self,
        room: Room,
        connection: Connection,
        visitor: Visitor,
        person: Person,
        known: bool,
        since: str | None,
    ) -> None:
        self._room = room
        self._visitor = visitor
        self._connection = connection
        self._person = person
        self._known = known
        self._since = since
        self._seen = 0  # the newest id that was sent before the write pump took over
        self.shares_lines = True  # False where the hub gives this client other entries than the rest of the room
        connection.form = self._lines

    @property
    def name(self) -> str:
        """See `Subprotocol.name`."""
        return self._person.name

    @property
    def where(self) -> str:
        """See `Subprotocol.where`."""
        return self._room.called(self._person)

    def before_registration(self, connection: Connection) -> None:
        """Answer the handshake; send hello and, page by page, what comes before the present; say who comes."""
        connection.subprotocol = SUBPROTOCOL
        connection.message_size = frame_size(self._room.options.message_size)
        connection.kernel_buffer *= LINE_FACTOR
        connection.accept()
        with self._room.arriving(connection):
            if self._since and not self._room.reaches(self._since):
                connection.end(1013, "the log is behind")
                raise ConnectionClosed
            self._send_hello()
            self._catch_up(PAGE)
        self._room.announce(self._person)

    def after_registration(self, connection: Connection) -> None:
        """Send what the log has taken since. What the hub passes on comes after that, or is part of it."""
        check_still_welcome(self._room, self._visitor, connection)
        self._catch_up(1)

    def read(self, text: str) -> Entry | None:
        """See `Subprotocol.read`."""
        number = None
        try:
            if simple := SIMPLE_MESSAGE(text):
                return self._message(simple[2], number := int(simple[1]))
            match json.loads(text):
                case dict(said):
                    number = _number(said.get("n"))
                    if said.get("type") == "msg" and isinstance(words := said.get("text"), str):
                        return self._message(words, number)
                    if said.get("type") == "name" and isinstance(name := said.get("name"), str):
                        return self._rename(name)
                    if said.get("type") in ORDERS:
                        self._order(said)
                        return None
            raise Refused("This is nothing that a client says in threadchat.v1.")
        except (ValueError, RecursionError) as error:
            why = str(error) if isinstance(error, (Refused, Refusal, NotAName, NotAMessage)) else "This is not JSON."
            self._reply({"type": "error", "n": number, "text": why})
            return None

    def _message(self, text: str, number: int | None) -> Entry | None:
        """The message for the hub; None if that has it already, or if it is a repeat, which is acknowledged.

        Raises NotAMessage and Refusal.
        """
        text = clean_text(text, self._room.options.message_size)
        self._room.moderation.check_speech(self._visitor)
        by = self._person.by
        if number is not None and number <= (self._room.log.last(by) or 0):
            # If it is still on its way to the log, this is not seen here: then the log leaves the second one out.
            self._reply({"type": "ack", "n": number})
            return None
        said = message(text, by, self._person.name, number)
        if not self._room.moderation.slow:
            return self._room.read(said)
        if not self._room.post(said, self._visitor):  # in slow mode each message waits for the verdict on the last one
            self._reply({"type": "ack", "n": number})
        return None

    def _rename(self, wanted: str) -> Entry | None:
        if self._visitor.account is not None:
            raise Refused("Your name here is that of your account.")
        self._room.moderation.check_speech(self._visitor)
        return self._room.read(event(NAME, self._person.by, self._room.people.rename(self._person, wanted)))

    def _order(self, said: dict[str, object]) -> None:
        if not self._visitor.moderator:
            raise Refused("Only an organiser may do this.")
        self._room.command(self._visitor, self._person.name, said)

    def _reply(self, line: dict[str, Any]) -> None:
        with suppress(ConnectionClosed):
            self._connection.reply(json.dumps(line))

    def _send_hello(self) -> None:
        log, by = self._room.log, self._person.by
        now = self._room.snapshot(MOST_HERE)
        since = log.find(self._since) if self._since else None
        # Not above `top`: who joins at this moment is not among those who are here, and so is told below.
        self._seen = min(log.recent(self._room.options.history), now.top) if since is None else since
        last = log.last(by)
        if last is None and since is not None:
            last = 0  # what the client has said after `since` would be in the log: nothing was taken
        hello = {
            "type": "hello",
            "room": self._room.name,
            "token": log.token(self._seen),
            "top": now.top,
            "recovered": since is not None,
            "last": last if self._known else None,
            "name": self._person.name,
            "by": by,
            "count": now.count,
            "message_size": self._room.options.message_size,
        }
        if self._visitor.moderator:
            hello["moderator"] = True
        if self._room.moderation.slow:
            hello["slow"] = self._room.moderation.slow
        if self._room.moderation.locked:
            hello["locked"] = True
        self._connection.reply(f'{json.dumps(hello)[:-1]}, "here": {_written(now.here)}}}')
        if self._since:
            self._room.tally.count("recoveries", "gap" if since is None else "recovered")
            if since is None:
                self._connection.reply('{"type":"gap"}')
        self._room.listen(self._connection)

    def _catch_up(self, least: int) -> None:
        """Send entries from the log until fewer than `least` are left. Raises ConnectionClosed."""
        for _ in range(TRIES):
            # Pages end at multiples of PAGE, wherever they begin: thousands who come back at once are sent the same
            # frames, each of which is made once.
            while (page := self._room.log.read(self._seen, most := PAGE - self._seen % PAGE)) is not None:
                if len(page) < min(least, most):
                    return
                if self._connection.is_ending:  # then the close frame is not to wait behind all that is left
                    raise ConnectionClosed
                self._connection.send(self._connection.encode(page))
                self._seen = page[-1].id
            self._connection.reply('{"type":"gap"}')  # it was too slow: the log has dropped what comes next
            self._seen = self._room.log.recent(self._room.options.history)
        self._connection.end(1013, "the room is too fast for this connection")
        raise ConnectionClosed

    def _lines(self, entries: Sequence[Entry]) -> Sequence[str]:
        if self._seen:
            if entries[-1].id > self._seen and entries[0].id <= self._seen:
                entries = [entry for entry in entries if entry.id > self._seen]
            elif entries[-1].id <= self._seen:
                return ()
        return json_lines(entries) if self.shares_lines else tuple(map(json_line, entries))


@lru_cache(maxsize=8)
def _written(here: tuple[tuple[str, str], ...]) -> str:
    """Those who are here as hello has them. To write them takes longer than all else that hello says.

    Who comes is the last one, and not among the first MOST_HERE of a full room: many hellos have the same.
    """
    return json.dumps([{"name": name, "by": by} for by, name in here])


def _number(number: object) -> int | None:
    """The number of what the client says, if it has one. Raises Refused."""
    if number is None or (type(number) is int and 1 <= number <= LARGEST_NUMBER):
        return number
    raise Refused("A message's number is a whole one, from 1 to 2^53 - 1.")
