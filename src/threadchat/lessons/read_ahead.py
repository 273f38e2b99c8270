"""A thread that reads ahead, while the hub is busy."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial

from threadchat.channel import Channel
from threadchat.client import Client
from threadchat.hub import Ending
from threadchat.lessons.lesson import Chart, Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, Chat, Peer, until
from threadchat.websocket.connection import Connection

MESSAGES = 20_000
SIZE = 500  # bytes
WAIT = 0.5  # seconds, for what never happens


class ReadAheadConnection(Connection):
    """A thread of its own reads whatever comes, for when somebody asks: the way of simple-websocket and others."""

    def __iter__(self) -> Iterator[str]:
        self.ahead: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read_ahead, daemon=True).start()
        return iter(self.ahead.get, None)

    def _read_ahead(self) -> None:
        for message in super().__iter__():
            self.ahead.put(message)
        self.ahead.put(None)


class Tardy:
    """A client whose write pump has had no turn yet, so that the hub waits for it."""

    def __init__(self) -> None:
        self.send: Channel[str] = Channel(1)
        self.stuck: Channel[None] = Channel(1)

    def end(self, why: Ending) -> None:
        pass


def flood_a_busy_hub(connection_type: type[Connection], patience: float) -> Result:
    chat = Chat(connection_type=connection_type)
    peer, client = chat.join(Peer)
    tardy = Tardy()
    chat.hub.register.send(tardy)
    for message in ("one for its channel", "and one for which there's no room"):
        chat.hub.broadcast.send(message)
    until(lambda: tardy.send.statistics().waiting_senders)

    def in_memory() -> int:
        broadcast = chat.hub.broadcast.statistics()
        ahead = getattr(client.connection, "ahead", None)
        return broadcast.pending + broadcast.waiting_senders + (ahead.qsize() if ahead else 0)

    frame = peer.text("x" * SIZE)
    piled: list[tuple[float, float]] = []
    began, sent = time.monotonic(), 0
    peer.socket.settimeout(patience)
    try:
        while sent < MESSAGES:
            peer.socket.sendall(frame)
            sent += 1
            piled.append((time.monotonic() - began, in_memory()))
    except TimeoutError:
        pass  # TCP takes no more
    until(lambda: in_memory() == sent, patience)
    until(lambda: chat.hub.broadcast.statistics().waiting_senders)
    piled.append((time.monotonic() - began, in_memory()))
    seen: dict[str, Value] = {
        "messages that the client would send": MESSAGES,
        "that it could send": sent,
        "that the server has in memory": in_memory(),
        "bytes that these take": in_memory() * sys.getsizeof("x" * SIZE),
    }
    return Result(seen, Chart.of("in the server's memory, unread", "messages", piled))


LESSON = Lesson(
    name="read-ahead",
    title="No back pressure",
    question="The hub is busy for a while, and one client floods the server with messages. Each client has a thread "
    "that reads what comes from its socket. Should that thread go on reading while the hub does not listen?",
    choices=(
        "Yes: the sooner it is read, the sooner it can be passed on.",
        "No: what is not read stays with the sender, and TCP makes it wait.",
        "Yes, or else TCP throws the messages away.",
    ),
    answer=1,
    broken=Part("A thread reads ahead", ReadAheadConnection, partial(flood_a_busy_hub, ReadAheadConnection, LIMIT)),
    real=Part("Who reads also passes on", Client.read_pump, partial(flood_a_busy_hub, Connection, WAIT)),
    why="""
Reading early passes nothing on sooner: the hub is what everybody waits for. It only moves the messages from the
sender's machine, where they are the sender's business, into the server's memory, where there is no limit to them. One
client that sends faster than the hub works is enough.

Here the thread that reads is the thread that passes on. While the channel to the hub is full, with 256 messages, its
send waits, and it reads nothing. The kernel's buffers fill up, first the server's, then the sender's, and then the
sender's own write blocks: TCP has carried the word "wait" all the way back, and nobody had to program it. This is
back pressure. A bounded buffer passes it on; an unbounded one swallows it, until it bursts.
""",
)
