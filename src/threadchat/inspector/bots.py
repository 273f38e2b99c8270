"""The demo's clients: real WebSocket clients over real sockets, all driven by one thread.

They use only the server's address. They tell the watch their names, and what they send at which time. The kinds:

- chatty: sends some messages a second, and reads.
- quiet: only reads.
- slow: reads SLOW_BYTES a second.
- stuck: reads nothing once it has joined. Its kernel still takes what arrives, until its small buffer is full.

A bot can also vanish, as if its cable had been cut: a socket filter makes its kernel drop all packets that come for
it, so nothing is acknowledged. (This is for Linux, where a process may do so to its own socket.)
"""

from __future__ import annotations

import ctypes
import queue
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, RejectConnection, Request, TextMessage
from wsproto.utilities import LocalProtocolError, ProtocolError

from threadchat.inspector.notes import Shared
from threadchat.options import Options
from threadchat.room import LOBBY

T = TypeVar("T")

KINDS = ("chatty", "quiet", "slow", "stuck")
STARTERS = {"chatty": 3, "quiet": 2, "slow": 1}
# Messages a second from each chatty bot that the demo starts with. Together they fill the buffers of a bot that stops
# reading within ten seconds: first those of the kernel, some 5 KB, then its channel of 256 messages.
STARTING_PACE = 14.0
ADDED_PACE = 20.0  # messages a second from each chatty bot that is added later
SLOW_BYTES = 3_600  # in a second: enough for the starting pace, and for little more
SMALL_BUFFER = 2_048  # bytes; the size of the receive buffer that a slow or stuck bot asks its kernel for
# The same for the others. The server's kernel puts up to half of it into one packet, whatever room its own buffer has;
# so for a bot that vanishes it holds little more.
OTHER_BUFFER = 8_192
MOST_BOTS = 2_000
MOST_BURST = 100_000  # messages
MOST_UNSENT = 65_536  # bytes that the inspector's own client may have waiting to be sent
PATIENCE = 10.0  # seconds that a caller waits for the bots' thread
# Seconds for which the inspector's own client stays in another room than the lobby and says nothing.
INSPECTOR_STAYS = 60.0
SWEEP = 0.5  # seconds between two searches for bots that the server has removed while they did not read
TICK = 0.25  # seconds between two reads of a slow bot
SO_ATTACH_FILTER = 26  # Linux, asm-generic/socket.h
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # struct sock_filter: BPF_RET, keep 0 bytes of the packet

LINES = (
    "good morning; is anybody else awake in here?",
    "has anybody seen the hub? I have a message for it",
    "I am only waiting for my turn, do not mind me",
    "one channel, one receiver, and nobody needs a lock",
    "do not share memory; send each other messages",
    "who closes a channel? the one that sends to it",
    "my buffer is half full. No, wait: half empty",
    "my write pump sleeps until there is something to say",
    "both channels are ready, so chance decides",
    "a thread that waits costs nothing but its stack",
)


class Refused(Exception):
    """The bots cannot do this now; str() says why."""


@dataclass(eq=False)
class Bot:
    """One client. Only the bots' thread uses it."""

    kind: str
    name: str
    socket: socket.socket
    peer: str  # its address, as the server sees it
    room: str
    protocol: WSConnection
    joined: bool = False
    reads: bool = True
    vanished: bool = False
    pace: float = 0.0  # messages a second
    next_due: float = 0.0
    said: int = 0
    leaves_at: float | None = None  # set for the inspector's own client, so that it keeps no room from ending
    unsent: bytearray = field(default_factory=bytearray)
    waiting: list[str] = field(default_factory=list)  # messages to send once it has joined

    @property
    def talks(self) -> bool:
        """Whether it can send messages: it has joined, has not vanished, and has not begun to close."""
        return self.joined and not self.vanished and self.protocol.state is ConnectionState.OPEN


class Bots:
    """All bots of one server, which listens at `address`. `stop` ends the bots and their thread.

    Any thread may call the public methods. They return when the bots' thread has done what they ask. They raise Refused
    if it is not possible now, and OSError if the system has no more sockets or the server cannot be reached.
    """

    def __init__(self, shared: Shared, address: tuple[str, int], options: Options) -> None:
        self._shared = shared
        family, _, _, _, found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        self._family, self._address = family, found
        self._message_size = options.message_size
        self._headers = [] if options.key is None else [(b"Authorization", f"Bearer {options.key}".encode())]
        self._bots: list[Bot] = []
        self._inspectors: dict[str, Bot] = {}  # by room, those that send what is typed in the inspector
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._stopping = False
        self._next_sweep = 0.0
        self._thread = threading.Thread(target=self._run, name="bots", daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Add the bots that the demo begins with."""
        for kind, count in STARTERS.items():
            self.add(kind, count, STARTING_PACE)

    def stop(self) -> None:
        """Close all bots' sockets at once, without a close frame. Returns when the bots' thread has ended."""
        self._stopping = True
        self._waker.send(b"!")
        self._thread.join()
        for bot in list(self._bots):
            self._end(bot)
        while not self._orders.empty():
            self._orders.get()()  # raises Refused for the caller
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def add(self, kind: str, count: int, pace: float = ADDED_PACE, room: str = LOBBY) -> None:
        """Add `count` bots of a kind to a room. If they are chatty, each sends `pace` messages a second."""

        def add() -> None:
            if len(self._bots) + count > MOST_BOTS:
                raise Refused(f"there are {len(self._bots)} bots, and at most {MOST_BOTS} are possible")
            for _ in range(count):
                self._join(kind, f"{kind} bot", room, pace if kind == "chatty" else 0.0)

        self._order(add)

    def say(self, text: str, typed: float | None, room: str = LOBBY) -> None:
        """Send a message as the inspector's own client in the room, which joins first if it has to.

        `typed` is when the message was typed, by the watch's clock, or None if that is not known.
        """

        def say() -> None:
            bot = self._inspectors.get(room)
            if bot is None or (bot.joined and not bot.talks):
                bot = self._inspectors[room] = self._join("quiet", "inspector", room, 0.0)
            if len(bot.unsent) > MOST_UNSENT:
                raise Refused("too many messages a second: the server takes no more for the moment")
            bot.leaves_at = None if room == LOBBY else time.monotonic() + INSPECTOR_STAYS
            line = text.replace("\n", " ").strip()  # as the read pump will pass it on
            self._announce(bot, line, typed, follow=True)
            self._say(bot, text)

        self._order(say)

    def burst(self, messages: int, room: str) -> None:
        """Let one bot of the room send that many messages at once."""

        def burst() -> None:
            bot = self._any(("chatty", "quiet"), room)
            for number in range(1, messages + 1):
                self._say(bot, f"burst {number} of {messages}")

        self._order(burst)

    def set_pace(self, messages: float, room: str) -> None:
        """Set how many messages a second all chatty bots of the room together send."""

        def set_pace() -> None:
            chatty = [bot for bot in self._bots if bot.kind == "chatty" and bot.room == room and bot.talks]
            if not chatty:
                raise Refused("there is no chatty bot")
            for bot in chatty:
                bot.pace = messages / len(chatty)
                bot.next_due = 0.0

        self._order(set_pace)

    def remove(self, client: int) -> None:
        """Let the bot that is the server's client of this number leave properly, with a close frame."""

        def remove() -> None:
            bot = self._bot_of(client)
            self._leave(bot)

        self._order(remove)

    def vanish(self, client: int) -> None:
        """Cut off the bot that is the server's client of this number: nothing sent to it arrives any more."""

        def vanish() -> None:
            bot = self._bot_of(client)
            _drop_all(bot.socket)
            bot.vanished = True
            bot.pace = 0.0
            self._watch_socket(bot)

        self._order(vanish)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While the block runs, the server may end all connections in the lobby. Afterwards the same bots join anew.

        If the bots are being stopped, they do not.
        """
        roster: list[tuple[str, str, float]] = []

        def note() -> None:
            there = [bot for bot in self._bots if bot.room == LOBBY and bot.leaves_at is None and not bot.vanished]
            roster.extend((bot.kind, bot.name, bot.pace) for bot in there)

        def join_again() -> None:
            for bot in list(self._bots):
                if bot.room == LOBBY:
                    self._end(bot)
            for kind, name, pace in roster:
                self._join(kind, name, LOBBY, pace)

        with suppress(Refused, OSError):  # TimeoutError too
            self._order(note)
        yield
        with suppress(Refused, OSError):
            self._order(join_again)

    # Only the bots' thread calls the methods below, except `_order`.

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(self._until_next()):
                if key.fileobj is self._woken:
                    self._woken.recv(4096)
                    while not self._orders.empty():
                        self._orders.get()()
                elif key.data in self._bots:
                    self._serve(key.data)
            self._keep_time()

    def _order(self, function: Callable[[], T]) -> T:
        """Let the bots' thread call the function, and return or raise what the function does.

        Called by other threads. Raises TimeoutError after PATIENCE.
        """
        future: Future[T] = Future()

        def obey() -> None:
            try:
                if self._stopping:
                    raise Refused("the server is stopping")
                done = function()
                paces: dict[str, float] = {}
                for bot in self._bots:
                    paces[bot.room] = paces.get(bot.room, 0.0) + bot.pace
                self._shared.paces = paces
                future.set_result(done)
            except Exception as error:  # any error goes to the caller; the bots' thread goes on
                future.set_exception(error)

        self._orders.put(obey)
        self._waker.send(b"!")
        return future.result(PATIENCE)

    def _join(self, kind: str, name: str, room: str, pace: float) -> Bot:
        connecting = socket.socket(self._family)
        try:
            buffer = SMALL_BUFFER if kind in ("slow", "stuck") else OTHER_BUFFER
            connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            connecting.connect(self._address)
            connecting.setblocking(False)
        except OSError:
            connecting.close()
            raise
        host, port = connecting.getsockname()[:2]
        bot = Bot(kind, name, connecting, f"{host}:{port}", room, WSConnection(ConnectionType.CLIENT), pace=pace)
        self._shared.names[bot.peer] = name
        self._shared.peers[bot.peer] = connecting
        self._bots.append(bot)
        self._selector.register(connecting, selectors.EVENT_READ, bot)
        host = connecting.getpeername()[0]
        host = f"[{host}]" if ":" in host else host
        target = "/ws" if room == LOBBY else f"/r/{quote(room, safe='')}/ws"
        self._send(bot, Request(host=host, target=target, extra_headers=list(self._headers)))
        return bot

    def _until_next(self) -> float:
        """Seconds until a bot has something to do, or the next sweep is due."""
        due = [bot.next_due for bot in self._bots if bot.joined and (bot.pace or bot.kind == "slow")]
        return max(0.0, min([self._next_sweep, *due]) - time.monotonic())

    def _keep_time(self) -> None:
        now = time.monotonic()
        for bot in list(self._bots):
            if not bot.joined or bot.vanished or bot.next_due > now:
                continue
            if bot.kind == "slow":
                bot.next_due = now + TICK
                self._read(bot, int(SLOW_BYTES * TICK))
            elif bot.pace:
                bot.next_due = max(bot.next_due, now - 1) + 1 / bot.pace
                bot.said += 1
                text = f"{LINES[(bot.said + hash(bot.peer)) % len(LINES)]} ({bot.said})"
                self._announce(bot, text, self._shared.now(), follow=False)
                self._say(bot, text)
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP
            present = set(self._shared.present.copy().values())
            for bot in list(self._bots):
                if bot.joined and bot.peer not in present:
                    self._end(bot)
                elif bot.leaves_at is not None and now >= bot.leaves_at and bot.talks:
                    self._leave(bot)

    def _serve(self, bot: Bot) -> None:
        """Use the bot's socket, which is ready for reading or writing."""
        self._flush(bot)
        if bot in self._bots and (bot.reads or not bot.joined) and not (bot.kind == "slow" and bot.joined):
            self._read(bot, 65_536)

    def _read(self, bot: Bot, size: int) -> None:
        try:
            data = bot.socket.recv(size)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(bot)
            return
        try:
            bot.protocol.receive_data(data)
            for event in bot.protocol.events():
                self._take(bot, event)
        except ProtocolError:
            self._end(bot)

    def _take(self, bot: Bot, event: Event) -> None:
        if isinstance(event, AcceptConnection):
            bot.joined = True
            bot.reads = bot.kind != "stuck"
            bot.next_due = time.monotonic()
            for text in bot.waiting:
                self._say(bot, text)
            self._watch_socket(bot)
        elif isinstance(event, Ping):
            self._send(bot, event.response())
        elif isinstance(event, (CloseConnection, RejectConnection)):
            if isinstance(event, CloseConnection) and bot.protocol.state is ConnectionState.REMOTE_CLOSING:
                self._send(bot, event.response())
            self._end(bot)

    def _announce(self, bot: Bot, text: str, typed: float | None, follow: bool) -> None:
        """Tell the bot's room of a message that it is about to send, where somebody looks."""
        watch = self._shared.watches.get(bot.room)
        if watch is not None and (follow or watch.looked_at):
            watch.journeys.announce(bot.peer, text, typed, follow)

    def _say(self, bot: Bot, text: str) -> None:
        if bot.joined:
            self._send(bot, TextMessage(text.encode()[: self._message_size].decode(errors="ignore")))
        else:
            bot.waiting.append(text)

    def _send(self, bot: Bot, event: Event) -> None:
        with suppress(LocalProtocolError):  # the bot has sent its close frame already
            bot.unsent += bot.protocol.send(event)
        self._flush(bot)

    def _flush(self, bot: Bot) -> None:
        try:
            while bot.unsent:
                del bot.unsent[: bot.socket.send(bot.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._end(bot)
            return
        self._watch_socket(bot)

    def _watch_socket(self, bot: Bot) -> None:
        """Let the selector wait for what the bot can use: bytes if it reads, room if it has something to send."""
        if bot not in self._bots:
            return
        reads = not bot.joined or (bot.reads and bot.kind != "slow")
        events = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if bot.unsent else 0)
        if bot.vanished:
            events = 0
        with suppress(KeyError):
            self._selector.unregister(bot.socket)
        if events:
            self._selector.register(bot.socket, events, bot)

    def _leave(self, bot: Bot) -> None:
        bot.pace = 0.0
        self._send(bot, CloseConnection(1000, "bye"))
        if not bot.reads:
            self._end(bot)  # it does not read, so it would never see the server's close frame

    def _end(self, bot: Bot) -> None:
        if bot in self._bots:
            self._bots.remove(bot)
            if self._inspectors.get(bot.room) is bot:
                del self._inspectors[bot.room]
            with suppress(KeyError):
                self._selector.unregister(bot.socket)
            bot.socket.close()
            self._shared.names.pop(bot.peer, None)
            self._shared.peers.pop(bot.peer, None)

    def _any(self, kinds: tuple[str, ...], room: str) -> Bot:
        for kind in kinds:
            for bot in self._bots:
                if bot.kind == kind and bot.room == room and bot.talks:
                    return bot
        raise Refused(f"there is no {' or '.join(kinds)} bot")

    def _bot_of(self, client: int) -> Bot:
        peer = self._shared.present.get(client)
        for bot in self._bots:
            if bot.peer == peer and bot.joined and not bot.vanished:
                return bot
        raise Refused(f"client {client} is not a bot")


def _drop_all(connected: socket.socket) -> None:
    """Let the kernel drop every packet that comes for this socket, without an answer."""
    instructions = ctypes.create_string_buffer(DROP_ALL)
    program = struct.pack("HP", 1, ctypes.addressof(instructions))  # struct sock_fprog
    connected.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
