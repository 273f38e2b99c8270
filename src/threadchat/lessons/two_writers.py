"""Two threads that write frames to one socket."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from functools import partial
from typing import Any

from threadchat.hub import Hub
from threadchat.lessons.lesson import Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, Chat, Peer
from threadchat.options import Options
from threadchat.websocket.connection import Connection

LONG = 400_000  # bytes: more than the kernel takes at once
HEADER = 10  # bytes, of a frame so long: two, and eight for its length (RFC 6455, section 5.2)
PONG = b"\x8a\x05pong!"  # opcode 10, 5 bytes
WAIT = 0.3  # seconds, for what never happens


class UnlockedConnection(Connection):
    """Each thread writes when it has something to write."""

    def __init__(self, environ: dict[str, Any], options: Options) -> None:
        super().__init__(environ, options)
        self._writing: Any = nullcontext()  # no lock


def ping_while_a_frame_is_written(connection_type: type[Connection], wait: float) -> Result:
    chat = Chat(Hub(), connection_type)
    peer, client = chat.join(Peer)
    inside_the_frame, answered = threading.Event(), threading.Event()

    def hold() -> None:  # in the write pump, when the kernel has taken a part of the frame and takes no more
        inside_the_frame.set()
        answered.wait(wait)

    client.connection.on_stuck = hold
    chat.hub.broadcast.send("x" * LONG)
    inside_the_frame.wait(LIMIT)
    peer.socket.sendall(peer.ping(b"pong!"))  # its read pump answers; for that there is room when the peer reads
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
        "bytes of the frame, by its own header": frame,
        "bytes from its start to the pong": pong,
        "so the pong is": "inside the frame" if pong < frame else "behind the frame",
        "the bytes there": there.hex(" "),
        "the same as text": "  ".join(chr(byte) if 32 <= byte < 127 else "." for byte in there),
        "what the client makes of it": peer.ending or "all is well",
    }
    return Result(seen)


LESSON = Lesson(
    name="two-writers",
    title="Two threads write to one socket",
    question="A client's write pump is in the middle of a long frame: the kernel has taken a part of it, and the pump "
    "waits for room. Now a ping comes from that client, and its read pump answers with a pong, 7 bytes long, as it "
    "must. Where do these 7 bytes go?",
    choices=(
        "Behind the frame: TCP keeps what belongs together together.",
        "Into the middle of the frame.",
        "Nowhere: the socket is in use, and the pong is lost.",
    ),
    answer=1,
    broken=Part(
        "Whoever has something writes it",
        UnlockedConnection,
        partial(ping_while_a_frame_is_written, UnlockedConnection, LIMIT),
    ),
    real=Part("One writer at a time", Connection._send, partial(ping_while_a_frame_is_written, Connection, WAIT)),
    why="""
TCP carries bytes and knows nothing of frames. A write that does not fit is cut wherever the kernel's buffer is full,
and whoever writes next comes next. The frame said how long it is, so the client takes the pong for a part of the
text, and the last bytes of the text for the start of another frame. From here on it reads nonsense, and closes the
connection.

It is rare, since it takes a full buffer and a ping in the same moment, so it is found in production: a client with a
slow line that "just disconnects sometimes". Here a lock makes one writer of two threads: held from a frame's first
byte to its last. And a frame that could not be finished is the connection's last: nothing may follow half a frame.
""",
)
