"""The demo's clients: real WebSocket clients over real sockets, all driven by one thread.

They know nothing of the server but its address, and tell the watch their names and when they typed what. The kinds:

- chatty: says something a few times a second, and reads.
- quiet: reads.
- slow: reads SLOW_BYTES a second.
- stuck: reads nothing more once it has joined. Its kernel goes on to answer for it until its small buffer is full.

A bot that vanishes is one whose packets stop: a socket filter makes its kernel throw away all that comes for it, as if
the cable had been cut, so nothing is acknowledged and no FIN is sent. (Linux; any process may do so to its own socket.)
"""

from __future__ import annotations

import ctypes
import queue
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, RejectConnection, Request, TextMessage
from wsproto.utilities import LocalProtocolError, ProtocolError

from threadchat.inspector.watch import Watch

T = TypeVar("T")

KINDS = ("chatty", "quiet", "slow", "stuck")
STARTERS = {"chatty": 3, "quiet": 2, "slow": 1}
STARTING_PACE = 4.0  # messages a second from each chatty bot that the demo starts with
ADDED_PACE = 20.0  # from each that is added
SLOW_BYTES = 800  # a second: enough for the starting pace, and for little more
SMALL_BUFFER = 2_048  # bytes that the kernel is asked to hold for a bot that is slow or stuck
MOST_BOTS = 2_000
MOST_BURST = 100_000  # messages
MOST_UNSENT = 65_536  # bytes that may wait for the inspector's own client
PATIENCE = 10.0  # seconds for the bots' thread to do what it is asked
SWEEP = 0.5  # seconds between looks for bots that the server has parted with while they did not read
TICK = 0.25  # seconds from one read of a slow bot to the next
SO_ATTACH_FILTER = 26  # Linux, asm-generic/socket.h
DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # struct sock_filter: BPF_RET with 0 bytes

LINES = (
    "good morning; is anybody else awake in here?",
    "has anybody seen the hub? I have a message for it",
    "I am only waiting for my turn, do not mind me",
    "one channel, one receiver, and nobody needs a lock",
    "do not share memory; send each other messages",
    "who closes the channel? whoever sends to it",
    "my buffer is half full. No, wait: half empty",
    "my write pump sleeps until there is something to say",
    "both channels are ready, so chance decides",
    "a thread that waits costs nothing but its stack",
)


class Refused(Exception):
    """What was asked of the bots makes no sense now; str() says why."""


@dataclass(eq=False)
class Bot:
    """One client. All of it belongs to the bots' thread."""

    kind: str
    name: str
    socket: socket.socket
    peer: str  # its address, as the server sees it
    protocol: WSConnection
    joined: bool = False
    reads: bool = True
    vanished: bool = False
    pace: float = 0.0  # messages a second
    next_due: float = 0.0
    said: int = 0
    unsent: bytearray = field(default_factory=bytearray)
    waiting: list[str] = field(default_factory=list)  # to be said once it has joined

    @property
    def talks(self) -> bool:
        """Whether it can say something: it has joined, and neither vanished nor said goodbye."""
        return self.joined and not self.vanished and self.protocol.state is ConnectionState.OPEN


class Bots:
    """All bots of one server, which listens at `address`. Any thread may call; `stop` ends them and their thread.

    Raises Refused for what cannot be done, OSError when the system has no more sockets.
    """

    def __init__(self, watch: Watch, address: tuple[str, int], message_size: int) -> None:
        self._watch = watch
        family, _, _, _, found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        self._family, self._address = family, found
        self._message_size = message_size
        self._bots: list[Bot] = []
        self._inspector: Bot | None = None  # says what is typed in the inspector
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._stopping = False
        self._next_sweep = 0.0
        self._thread = threading.Thread(target=self._run, name="bots", daemon=True)
        self._thread.start()

    def start(self) -> None:
        """The bots that the demo begins with."""
        for kind, count in STARTERS.items():
            self.add(kind, count, STARTING_PACE)

    def stop(self) -> None:
        """All bots leave at once, without a word; returns when their thread has ended."""
        self._stopping = True
        self._waker.send(b"!")
        self._thread.join()
        for bot in list(self._bots):
            self._end(bot)
        while not self._orders.empty():
            self._orders.get()()  # they are refused
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def add(self, kind: str, count: int, pace: float = ADDED_PACE) -> None:
        """So many more; `pace` is how many messages a second each of them says, if it is chatty."""

        def add() -> None:
            if len(self._bots) + count > MOST_BOTS:
                raise Refused(f"there are {len(self._bots)} bots, and may be {MOST_BOTS}")
            for _ in range(count):
                self._join(kind, f"{kind} bot", pace if kind == "chatty" else 0.0)

        self._order(add)

    def say(self, text: str, typed: float | None) -> None:
        """Say it as the inspector's own client. `typed` is the watch's time at which it was typed, if that is known."""

        def say() -> None:
            if self._inspector is None or self._inspector not in self._bots:
                self._inspector = self._join("quiet", "inspector", 0.0)
            if len(self._inspector.unsent) > MOST_UNSENT:
                raise Refused("the server takes no more for the moment: too many messages a second")
            line = text.replace("\n", " ").strip()  # the read pump makes it one
            self._watch.journeys.announce(self._inspector.peer, line, typed, follow=True)
            self._say(self._inspector, text)

        self._order(say)

    def burst(self, messages: int) -> None:
        """One bot says so many messages at once."""

        def burst() -> None:
            bot = self._any(("chatty", "quiet"))
            for number in range(1, messages + 1):
                self._say(bot, f"burst {number} of {messages}")

        self._order(burst)

    def set_pace(self, messages: float) -> None:
        """How many messages a second the chatty bots say in all."""

        def set_pace() -> None:
            chatty = [bot for bot in self._bots if bot.kind == "chatty" and bot.talks]
            if not chatty:
                raise Refused("there is no chatty bot")
            for bot in chatty:
                bot.pace = messages / len(chatty)
                bot.next_due = 0.0

        self._order(set_pace)

    def remove(self, client: int) -> None:
        """The bot that is this client of the server leaves as it should, with a close frame."""

        def remove() -> None:
            bot = self._bot_of(client)
            bot.pace = 0.0
            self._send(bot, CloseConnection(1000, "bye"))
            if not bot.reads:
                self._end(bot)  # it would never see the answer

        self._order(remove)

    def vanish(self, client: int) -> None:
        """The bot that is this client of the server is cut off: nothing that is sent to it arrives any more."""

        def vanish() -> None:
            bot = self._bot_of(client)
            _drop_all(bot.socket)
            bot.vanished = True
            bot.pace = 0.0
            self._watch_socket(bot)

        self._order(vanish)

    # All below is the bots' thread.

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
        """For other threads: let the bots' thread call it, and return or raise what it does."""
        future: Future[T] = Future()

        def obey() -> None:
            try:
                if self._stopping:
                    raise Refused("the server is stopping")
                done = function()
                self._watch.pace = sum(bot.pace for bot in self._bots)
                future.set_result(done)
            except Exception as error:  # whatever it is, it is for who asked: this thread goes on
                future.set_exception(error)

        self._orders.put(obey)
        self._waker.send(b"!")
        return future.result(PATIENCE)

    def _join(self, kind: str, name: str, pace: float) -> Bot:
        connecting = socket.socket(self._family)
        try:
            if kind in ("slow", "stuck"):
                connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            connecting.connect(self._address)
            connecting.setblocking(False)
        except OSError:
            connecting.close()
            raise
        host, port = connecting.getsockname()[:2]
        bot = Bot(kind, name, connecting, f"{host}:{port}", WSConnection(ConnectionType.CLIENT), pace=pace)
        self._watch.names[bot.peer] = name
        self._bots.append(bot)
        self._selector.register(connecting, selectors.EVENT_READ, bot)
        host = connecting.getpeername()[0]
        self._send(bot, Request(host=f"[{host}]" if ":" in host else host, target="/ws"))
        return bot

    def _until_next(self) -> float:
        """Seconds until somebody has something to do of its own."""
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
                self._watch.journeys.announce(bot.peer, text, self._watch.now(), follow=False)
                self._say(bot, text)
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP
            present = {client.connection.peer for client in list(self._watch.clients.values())}
            for bot in list(self._bots):
                if bot.joined and bot.peer not in present:
                    self._end(bot)

    def _serve(self, bot: Bot) -> None:
        """Its socket is ready."""
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

    def _say(self, bot: Bot, text: str) -> None:
        if bot.joined:
            self._send(bot, TextMessage(text.encode()[: self._message_size].decode(errors="ignore")))
        else:
            bot.waiting.append(text)

    def _send(self, bot: Bot, event: Event) -> None:
        with suppress(LocalProtocolError):  # it has said goodbye already
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
        """Wait for what it can use: bytes if it reads them, room if it has something to send."""
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

    def _end(self, bot: Bot) -> None:
        if bot in self._bots:
            self._bots.remove(bot)
            with suppress(KeyError):
                self._selector.unregister(bot.socket)
            bot.socket.close()
            self._watch.names.pop(bot.peer, None)

    def _any(self, kinds: tuple[str, ...]) -> Bot:
        for kind in kinds:
            for bot in self._bots:
                if bot.kind == kind and bot.talks:
                    return bot
        raise Refused(f"there is no bot that is {' or '.join(kinds)}")

    def _bot_of(self, client: int) -> Bot:
        watched = self._watch.clients.get(client)
        for bot in self._bots:
            if watched is not None and bot.peer == watched.connection.peer and bot.joined and not bot.vanished:
                return bot
        raise Refused(f"client {client} is no bot")


def _drop_all(connected: socket.socket) -> None:
    """Let the kernel throw away every packet that comes for this socket, unanswered."""
    instructions = ctypes.create_string_buffer(DROP_ALL)
    program = struct.pack("HP", 1, ctypes.addressof(instructions))  # struct sock_fprog
    connected.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
