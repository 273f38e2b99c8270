"""What a client's text messages mean (RFC 6455, section 1.9), as far as the pumps must know it."""

from __future__ import annotations

from threadchat.websocket.connection import Connection


class Subprotocol:
    """The Go example's: each message is a line. Others derive from it (see `protocols`).

    All methods run in the thread of the request.
    """

    @property
    def name(self) -> str | None:
        """The name that the client's person has at this instant, if there is one."""
        return None

    @property
    def where(self) -> str:
        """Where the client is, and under which name at this instant. For lines of the log, so it is printable."""
        return "the chat"

    def before_registration(self, connection: Connection) -> None:
        """Called before the hub learns of the client. May answer the handshake; may block; raises as serve_ws does."""

    def after_registration(self, connection: Connection) -> None:
        """Called once the hub has taken the client, and before the write pump starts. Answers the handshake."""
        connection.accept()

    def read(self, text: str) -> str | None:
        """What the hub is to pass on for a message from the peer; None for nothing."""
        return text.replace("\n", " ").strip() or None


LINES = Subprotocol()
