"""A lesson: why writing needs a lock. Two threads write frames to one socket."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from functools import partial

from threadchat.lessons.lesson import Change, Choice, Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, Chat, Peer
from threadchat.websocket.connection import Connection

LONG = 400_000  # bytes: more than the kernel takes at once
HEADER = 10  # bytes in the header of a frame of that size: two, and eight for the length (RFC 6455, section 5.2)
PONG = b"\x8a\x05pong!"  # opcode 10, a payload of 5 bytes
WAIT = 0.3  # seconds to wait for a pong that the lock keeps back


def ping_while_a_frame_is_written(wait: float) -> Result:
    chat = Chat()
    peer, client = chat.join(Peer)
    inside_the_frame, answered = threading.Event(), threading.Event()

    def hold() -> None:
        """Runs in the write pump, once the kernel has taken a part of the frame and has no room for more."""
        inside_the_frame.set()
        answered.wait(wait)

    client.connection.on_stuck = hold
    chat.hub.broadcast.send("x" * LONG)
    inside_the_frame.wait(LIMIT)
    peer.socket.sendall(peer.ping(b"pong!"))  # the read pump answers, and the loop below makes room for the pong
    stream = b""
    while PONG not in stream:
        stream += peer.socket.recv(65_536)
    answered.set()
    chat.hub.broadcast.send("the end")
    while b"the end" not in stream:
        stream += peer.socket.recv(65_536)

    pong = stream.index(PONG)
    there = stream[pong - 3 : pong + len(PONG) + 3]
    frame = HEADER + int.from_bytes(stream[2:HEADER], "big")
    peer.messages(stream)
    seen: dict[str, Value] = {
        "bytes in the frame, by its header": frame,
        "bytes before the pong": pong,
        "so the pong is": "inside the frame" if pong < frame else "after the frame",
        "the bytes around the pong": there.hex(" "),
        "the same bytes as text": "  ".join(chr(byte) if 32 <= byte < 127 else "." for byte in there),
        "how the client closes the connection": peer.ending or "not at all: there is no error",
    }
    return Result(seen)


LESSON = Lesson(
    name="two-writers",
    title="Two threads write to one socket",
    chapter="one-message",
    exercise="pumps",
    question="A client's write pump is in the middle of a long frame: the kernel has taken a part of it, and the pump "
    "waits for room. Now the client sends a ping, and its read pump answers, as the protocol demands, with a pong of "
    "7 bytes. Where do these 7 bytes go?",
    choices=(
        Choice(
            "After the frame: TCP keeps the bytes of a frame together.",
            "TCP knows no frames. It carries bytes in the order in which they were written, and the rest of the frame "
            "has not been written yet.",
        ),
        Choice("Into the middle of the frame."),
        Choice(
            "Nowhere: the socket is in use, and the pong is lost.",
            "Any thread may write to a socket at any time. The kernel takes the bytes of both as they come.",
        ),
    ),
    change=Change(
        Connection,
        "_send",
        "with self._writing:",
        "with nullcontext():  # without a lock",
        {"nullcontext": nullcontext},
    ),
    broken=Part("Each thread writes when it likes", partial(ping_while_a_frame_is_written, LIMIT)),
    real=Part("One writer at a time", partial(ping_while_a_frame_is_written, WAIT)),
    why="""
TCP carries bytes and knows nothing of frames. If a frame does not fit into the kernel's buffer, the write stops in
the middle of the frame, and the bytes of the next write follow, from whichever thread it comes. The header of the
frame says how long the frame is. So the client takes the pong for a part of the text, and the last bytes of the text
for the start of the next frame. From there on it reads nonsense, and closes the connection.

This takes a full buffer and a ping at the same moment, so it is rare. You find it only in production, as the client
with a slow line that "just disconnects sometimes". In the real part, a lock lets only one thread write at a time; a
thread holds it from the first byte of a frame to the last. If a frame cannot be finished, nothing more is written to
the connection, because nothing may follow half a frame.
""",
)
