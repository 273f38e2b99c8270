"""Those who were put out of a room: they are told, and stay outside, whatever they speak."""

from __future__ import annotations

from threadchat.moderation import PUT_OUT, Refusal, Visitor
from threadchat.room import Room
from threadchat.subprotocol import Subprotocol
from threadchat.websocket.connection import Connection, ConnectionClosed


class Unwelcome(Subprotocol):
    """Speaks to somebody who was put out and comes back: the handshake is answered, then the connection ends.

    A refused handshake would tell a page nothing, and it would try again.
    """

    def __init__(self, room: Room, subprotocol: str | None) -> None:
        self._room = room
        self._subprotocol = subprotocol

    @property
    def where(self) -> str:
        """See `Subprotocol.where`. Whoever was put out has no name in the room."""
        return self._room.called(None)

    def before_registration(self, connection: Connection) -> None:
        """Raises ConnectionClosed."""
        connection.subprotocol = self._subprotocol
        connection.accept()
        connection.end(*PUT_OUT)
        raise ConnectionClosed


def check_still_welcome(room: Room, visitor: Visitor, connection: Connection) -> None:
    """End the connection, and raise ConnectionClosed, if the visitor was put out while it came in.

    Called once the hub has registered the client: whoever puts somebody out from then on finds it there.
    """
    try:
        room.moderation.check_still_in(visitor)
    except Refusal:
        connection.end(*PUT_OUT)
        raise ConnectionClosed from None
