"""Which protocol a WebSocket's request asks for, and for whom: its subprotocols, and the parameters of its address."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from werkzeug.exceptions import BadRequest, Forbidden
from werkzeug.wrappers import Request

from threadchat.moderation import PutOut, Refusal, Visitor
from threadchat.protocols.plain import Plain
from threadchat.protocols.v1 import SESSION, SUBPROTOCOL, V1, tag
from threadchat.protocols.welcome import Unwelcome
from threadchat.room import Room
from threadchat.subprotocol import Subprotocol
from threadchat.websocket.connection import Connection

SESSION_PREFIX = "session."


@contextmanager
def spoken(room: Room, connection: Connection, request: Request, visitor: Visitor) -> Iterator[Subprotocol]:
    """The protocol that the request asks for. The visitor is in the room for as long as the block runs.

    Raises BadRequest for an invalid session or number, and Forbidden for a room that is locked.
    """
    offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    v1, session = SUBPROTOCOL in offered, _session(offered)
    visitor = replace(visitor, by=tag((v1 and session) or secrets.token_urlsafe()))
    history, name = (
        0 if v1 else _history(request),
        request.args.get("name") if visitor.account is None else visitor.account,
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(room.moderation.seated(visitor, connection))
        except PutOut:
            yield Unwelcome(room, SUBPROTOCOL if v1 else None)
            return
        except Refusal as error:
            raise Forbidden(str(error)) from error
        if not v1 and name is None:
            yield Plain(room, connection, visitor, None, history)
            return
        person = room.people.arrive(visitor.by, name)
        stack.callback(room.depart, person)
        if v1:
            yield V1(room, connection, visitor, person, session is not None, request.args.get("since"))
        else:
            yield Plain(room, connection, visitor, person, history)


def _session(offered: list[str]) -> str | None:
    """The session among the subprotocols that are offered. Raises BadRequest."""
    session = next((each.removeprefix(SESSION_PREFIX) for each in offered if each.startswith(SESSION_PREFIX)), None)
    if session is not None and not SESSION.fullmatch(session):
        raise BadRequest("A session is 16 to 64 letters, digits, - and _.")
    return session


def _history(request: Request) -> int:
    """How many messages a plain client asks for, as far as it may have them. Raises BadRequest."""
    asked = request.args.get("history", "0")
    if not (asked.isascii() and asked.isdigit() and len(asked) < 10):
        raise BadRequest("history is a number of messages.")
    return int(asked)
