"""Which protocol a WebSocket's request asks for, and for whom: its subprotocols, and the parameters of its address."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Request

from threadchat.protocols.plain import Plain
from threadchat.protocols.v1 import SESSION, SUBPROTOCOL, V1, tag
from threadchat.rooms import Room
from threadchat.subprotocol import Subprotocol
from threadchat.websocket.connection import Connection

SESSION_PREFIX = "session."


@contextmanager
def spoken(room: Room, connection: Connection, request: Request) -> Iterator[Subprotocol]:
    """The protocol that the request asks for. Somebody with a name is in the room for as long as the block runs.

    Raises BadRequest for a session or a number that is none.
    """
    offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    name = request.args.get("name")
    if SUBPROTOCOL not in offered:
        by = tag(secrets.token_urlsafe())
        if name is None:
            yield Plain(room, by, None, _history(request))
            return
        person = room.people.arrive(by, name)
        try:
            yield Plain(room, by, person, _history(request))
        finally:
            room.depart(person)
        return
    session = next(
        (each.removeprefix(SESSION_PREFIX) for each in offered if each.startswith(SESSION_PREFIX)),
        None,
    )
    if session is not None and not SESSION.fullmatch(session):
        raise BadRequest("A session is 16 to 64 letters, digits, - and _.")
    person = room.people.arrive(tag(session or secrets.token_urlsafe()), name)
    try:
        yield V1(room, connection, person, session is not None, request.args.get("since"))
    finally:
        room.depart(person)


def _history(request: Request) -> int:
    """How many messages a plain client asks for, as far as it may have them. Raises BadRequest."""
    asked = request.args.get("history", "0")
    if not (asked.isascii() and asked.isdigit() and len(asked) < 10):
        raise BadRequest("history is a number of messages.")
    return int(asked)
