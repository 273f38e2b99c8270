"""A client's side of threadchat.v1: a thread that reads the socket, one that reads the keys, and a `select`.

    read_keys ───── says, commands ──►
                                       Chat.run ──► the screen, and the socket
    read_socket ─── events ──────────►

The loop is the only thread that changes anything, so there is no lock. It ends both threads by closing `done`, as a Go
program does. While a message is under way, or there is no connection, `says` is a nil channel to it: what is typed
waits there. The server's side of the wire is protocols/v1.py.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from threadchat.channel import Channel, Closed, select
from threadchat.runtime.threads import go
from threadchat.terminal.backoff import Backoff
from threadchat.terminal.dial import CLOSE_WAIT, Connection
from threadchat.terminal.outgoing import Fate, Outgoing
from threadchat.terminal.pump import Ended, read_socket
from threadchat.terminal.roster import Roster, text_of
from threadchat.terminal.view import Said, View
from threadchat.terminal.words import counted, mentions

PING_EVERY = 20.0  # seconds
COME_BACK = 1012  # the close code of a server that restarts, or of a room that begins anew
PUT_OUT = 4001  # the close code for somebody whom the organiser has put out
REFUSED = (400, 401, 403)  # statuses of a handshake that another attempt would get again

HELP = """\
/who          who is here
/name NAME    call yourself NAME
/quit         leave (Ctrl-D too)
//TEXT        say /TEXT
Tab completes names; an arrow up brings back what you said."""


class Gone(Exception):
    """The chat is over for this client. str() says why, in a sentence."""


class Chat:
    """One session in one room, over as many connections as it takes.

    `dial` is called with the name to have and the token from which to go on, in the thread that reads the socket.
    """

    def __init__(self, dial: Callable[[str | None, str | None], Connection], view: View, name: str | None) -> None:
        self.failed = False  # whether a message was refused, or may be lost
        self._dial = dial
        self._view = view
        # Messages and commands, from the thread that reads the keys.
        self._says: Channel[str] = Channel(view.ahead)
        self._commands: Channel[str] = Channel()
        # What comes from the thread that reads the socket; None while there is no such thread.
        self._events: Channel[Any] | None = None
        # Closed by this loop when it ends: then both threads end.
        self._done: Channel[None] = Channel()
        self._socket: threading.Thread  # which reads the socket
        self._connection: Connection | None = None
        self._ready = False  # hello has come
        self._due: float | None = None  # when to ping or to dial again, by time.monotonic()
        self._backoff = Backoff(view.patience)
        self._outgoing = Outgoing()
        self._roster = Roster()
        self._name = name  # the one to come with, until hello says which it is
        self._wanted: str | None = None  # the name to ask for when there is a connection
        self._by = ""
        self._since: str | None = None
        self._top = 0  # entries up to this one were there before hello
        self._newest = 0  # the id of the last entry since hello
        self._past = True  # up to the top are those from before this client came
        self._message_size = 0

    def run(self) -> None:
        """Serve the channels until the person leaves. Raises Gone if the server cannot be reached, or wants no more."""
        go(lambda: self._view.read_keys(self._says, self._commands, self._done), "read_keys")
        self._socket = self._start_dialing()
        try:
            while True:
                self._show_status()
                try:
                    case, value = select(self._commands, self._may_say(), self._events, timeout=self._time_left())
                except TimeoutError:  # Go: case <-time.After(d)
                    self._ping_or_dial()
                    continue
                match case:
                    case self._commands if value == "/quit":
                        return
                    case self._commands:
                        self._command(value)
                    case self._says:
                        self._say(value)
                    case self._events:
                        self._event(value)
        except Closed:  # `says`: there is nothing more to say, and nothing under way
            pass
        finally:
            self._done.close()
            self._leave()

    def _leave(self) -> None:
        if waiting := self._waiting():
            self.failed = True
            self._view.trouble(f"{counted(waiting, 'message')} not delivered.")
        if self._connection is not None:
            self._connection.leave()
            self._socket.join(CLOSE_WAIT)
            self._connection.abort()

    def _may_say(self) -> Channel[str] | None:
        return self._says if self._ready and self._outgoing.text is None else None

    def _time_left(self) -> float | None:
        return None if self._due is None else self._due - time.monotonic()

    def _ping_or_dial(self) -> None:
        if self._connection is not None:
            self._connection.ping()
            self._due = time.monotonic() + PING_EVERY
        else:
            self._socket = self._start_dialing()

    def _start_dialing(self) -> threading.Thread:
        self._due = None
        events: Channel[Any] = Channel()
        self._events = events
        name, since = self._name, self._since
        return go(lambda: read_socket(lambda: self._dial(name, since), events, self._done), "read_socket")

    def _show_status(self) -> None:
        self._view.status(self._name or "", self._ready, self._waiting(), self._roster.names)

    def _waiting(self) -> int:
        """How many messages have not been delivered yet."""
        return len(self._says) + (self._outgoing.text is not None)

    # What the person says

    def _command(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        match command, rest.strip():
            case "/help", _:
                self._view.news(HELP)
            case "/who", _:
                self._view.news(self._roster.listed())
            case "/name", "":
                self._view.trouble("Say which name: /name NAME")
            case "/name", name:
                self._wanted = name
                if self._ready:
                    self._ask_for_name()
            case _:
                self._view.trouble(f"There is no command {command}: /help lists them. To say it, write /{line}")

    def _ask_for_name(self) -> None:
        name, self._wanted = self._wanted, None
        if name is not None and self._connection is not None and self._fits(name):
            self._connection.send(json.dumps({"type": "name", "name": name}))

    def _say(self, text: str) -> None:
        text = text.encode(errors="replace").decode()  # a key press may be half a character
        if self._fits(text):
            self._outgoing.text = text
            self._send()

    def _send(self) -> None:
        assert self._connection is not None, "`says` is a nil channel without a connection"
        said = {"type": "msg", "n": self._outgoing.number, "text": self._outgoing.text}
        self._connection.send(json.dumps(said))

    def _fits(self, text: str) -> bool:
        """Whether the server takes so much text: it would end the connection over a frame that is too long."""
        size = len(text.encode(errors="replace"))
        if size > self._message_size:
            self._not_sent(f"A message has at most {self._message_size} bytes, and this one has {size}.", text)
        return size <= self._message_size

    def _not_sent(self, why: str, text: str) -> None:
        self.failed = True
        self._view.trouble(f"Not sent: {_shortened(text)} ({why})")

    # What the server says

    def _event(self, event: Connection | Ended | dict[str, Any]) -> None:
        match event:
            case Connection():
                if event.subprotocol != "threadchat.v1":
                    raise Gone("The server does not speak threadchat.v1.")
                self._connection, self._due = event, time.monotonic() + PING_EVERY
                self._backoff.opened()
            case Ended():
                self._ended(event)
            case {"type": "hello"}:
                self._hello(event)
            case {"type": "msg" | "join" | "leave" | "name" | "order", "token": str(token), "id": int(number)}:
                self._since = token
                self._entry(event, number)
            case {"type": "ack", "n": number}:
                self._outgoing.settle(number)
            case {"type": "error"}:
                refused = self._outgoing.refuse(event.get("n"))
                if refused is not None:
                    self._not_sent(text_of(event, "text"), refused)
                else:
                    self._view.trouble(text_of(event, "text"))
            case {"type": "gap"}:
                self._view.trouble("Some messages are missing here: the server does not have them any more.")
            case {"type": "state", "log": "down"}:
                self._view.trouble("The server cannot write down what is said. Messages wait until it can.")
            case {"type": "state", "log": "up"}:
                self._view.news("The server writes down what is said again.")

    def _hello(self, hello: dict[str, Any]) -> None:
        last, top, size = hello.get("last"), hello.get("top"), hello.get("message_size")
        self._past = self._since is None
        self._since = text_of(hello, "token") or self._since
        self._top, self._newest = top if isinstance(top, int) else 0, 0
        self._message_size = size if isinstance(size, int) else 0
        self._name, self._by = text_of(hello, "name"), text_of(hello, "by")
        self._roster.hello(hello.get("here"), hello.get("count"))
        self._ready = True
        self._backoff.welcomed()
        self._ask_for_name()
        text = self._outgoing.text
        match self._outgoing.resume(last if isinstance(last, int) else None, hello.get("recovered") is True):
            case Fate.MISSED:
                self._send()
            case Fate.DOUBTFUL:
                self.failed = True
                self._view.trouble(f"Nobody knows whether this was delivered: {_shortened(text or '')}")

    def _entry(self, entry: dict[str, Any], number: int) -> None:
        kind, by, name = entry["type"], text_of(entry, "by"), text_of(entry, "name")
        if number <= self._newest:  # another epoch: its ids begin anew, and all of it is news
            self._top = 0
        self._newest = number
        own, new = by == self._by, number > self._top
        if kind == "msg":
            text, at = text_of(entry, "text"), entry.get("at")
            past = self._past and not new
            called = not own and not past and mentions(text, self._name or "")
            if own:
                self._outgoing.settle(entry.get("n"))
            self._view.message(Said(at if isinstance(at, (int, float)) else 0, name, text, own, past, called))
        elif kind == "order":
            self._view.news(text_of(entry, "text"))
        elif new:
            news = self._roster.entry(kind, by, name)
            if own and kind != "leave":
                self._name = name
                news = f"You are {name}; {self._roster.listed()}"
            if news:
                self._view.news(news)

    def _ended(self, ended: Ended) -> None:
        """Dial again after a while, unless that would be in vain. Raises Gone."""
        if ended.code == PUT_OUT:
            raise Gone(f"You were put out of the room: {ended.why or 'the organiser did not say why'}")
        if ended.status == 401:
            raise Gone("This chat has a key: give it with --key, or in the address behind #key=")
        if self._since is None or ended.status in REFUSED:  # it never worked, or will not work
            raise Gone(ended.why or "The connection has ended.")
        self._connection, self._events, self._ready = None, None, False
        self._due = self._backoff.next(soon=ended.code == COME_BACK)
        if self._due is None:
            raise Gone(f"The connection was lost, and does not come back: {ended.why}")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
