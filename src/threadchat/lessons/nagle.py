"""Small writes with Nagle's algorithm, and without it."""

from __future__ import annotations

import fcntl
import statistics
import struct
import time
from typing import Any

from threadchat.lessons.lesson import Change, Choice, Lesson, Part, Result, Value
from threadchat.lessons.peers import Chat, Peer
from threadchat.options import Options
from threadchat.websocket.connection import Connection

ROUNDS = 25
SIOCOUTQNSD = 0x894B  # Linux: how many bytes written to a socket the kernel has not sent at all (linux/sockios.h)

HELD_BACK = "second messages the kernel held back"
MEDIAN = "time until the second arrived, median, in ms"


class MeasuredConnection(Connection):
    """Records, after each frame, whether the kernel holds it back."""

    def __init__(self, environ: dict[str, Any], options: Options) -> None:
        super().__init__(environ, options)
        self.held_back: list[bool] = []

    def send(self, frame: bytes) -> None:
        super().send(frame)
        (unsent,) = struct.unpack("i", fcntl.ioctl(self._socket, SIOCOUTQNSD, b"\0\0\0\0"))
        self.held_back.append(unsent > 0)


def two_messages_in_a_row() -> Result:
    chat = Chat(connection_type=MeasuredConnection)
    peer, client = chat.join(Peer)
    waits = []
    for _ in range(ROUNDS):
        peer.socket.sendall(peer.text("hello"))
        read_one(peer)
        sent = time.monotonic()
        chat.hub.broadcast.send("welcome")
        read_one(peer)
        waits.append((time.monotonic() - sent) * 1000)
    assert isinstance(client.connection, MeasuredConnection)
    seen: dict[str, Value] = {
        "pairs of messages sent": ROUNDS,
        HELD_BACK: sum(client.connection.held_back[1::2]),
        MEDIAN: statistics.median(waits),
        "the longest of these times, in ms": max(waits),
    }
    return Result(seen)


def read_one(peer: Peer) -> None:
    while not peer.messages(peer.socket.recv(4096)):
        pass


def verdict(broken: Result, real: Result) -> str:
    return (
        f"On your machine, just now: the second message took {float(broken.seen[MEDIAN]):.2g} ms with Nagle's "
        f"algorithm and {float(real.seen[MEDIAN]):.2g} ms without it."
    )


LESSON = Lesson(
    name="nagle",
    title="Nagle's algorithm",
    chapter="one-message",
    exercise="pumps",
    question="The server sends a client two short messages, one right after the other, over a connection within this "
    "machine. When does the second one arrive?",
    choices=(
        Choice(
            "Together with the first: TCP joins small writes.",
            "TCP joins small writes that wait in the kernel. The first one does not wait: nothing is on its way, so "
            "it is sent at once, and alone.",
        ),
        Choice(
            "At once: nothing else uses the connection.",
            "One thing does: the first message, which has not been acknowledged yet. Until it is, TCP holds back what "
            "is small.",
        ),
        Choice("Some 40 ms later: it waits until the client has acknowledged the first."),
    ),
    change=Change(
        Connection,
        "accept",
        "self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)",
        "self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)",
    ),
    broken=Part("With TCP's default", two_messages_in_a_row),
    real=Part("With TCP_NODELAY", two_messages_in_a_row),
    why="""
In 1984 John Nagle found a way to keep slow lines from filling up with tiny packets (RFC 896). While a packet has not
been acknowledged, further small writes wait in the kernel, and are then sent together. The receiver saves packets
too: it delays its acknowledgement, for 40 ms on Linux, and sends it together with an answer if there is one by then.
So each side waits for the other. A chat client that has just received a message has no answer to send, so the 40 ms
pass.

A chat sends small messages that should arrive at once, and its write pumps already join pending messages into one
frame. So it switches Nagle's algorithm off, with the socket option TCP_NODELAY, in one line when it accepts a
connection. (Go's net package sets this option by default; Python's socket module and Werkzeug do not.)
""",
    verdict=verdict,
)
