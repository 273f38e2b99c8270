"""A lesson: why the channel `send` has a limit. Without one, a client that does not read fills the memory."""

from __future__ import annotations

import sys
import time

from threadchat.hub import Hub
from threadchat.lessons.lesson import Change, Chart, Choice, Lesson, Part, Result, Value
from threadchat.lessons.peers import Chat, Peer

MESSAGES = 20_000


def stop_reading() -> Result:
    chat = Chat()
    _, stuck = chat.join(Peer)
    chat.listen(1)
    waiting: list[tuple[float, float]] = []
    began = time.monotonic()

    def watch() -> None:
        waiting.append((time.monotonic() - began, len(stuck.send)))

    heard = chat.talk(MESSAGES, watch=watch)
    pile = stuck.send.take_pending()
    seen: dict[str, Value] = {
        "messages sent to everybody": MESSAGES,
        "received by the client that reads": heard,
        "waiting for the other client, at most": int(max(len(pile), *(count for _, count in waiting))),
        "waiting for it at the end": len(pile),
        "memory that these take, in bytes": sum(map(sys.getsizeof, pile)),
        "how its connection ended": stuck.connection.ending if stuck not in chat.hub.clients else "it is still open",
    }
    return Result(seen, Chart.of("waiting for the client that does not read", "messages", waiting))


LESSON = Lesson(
    name="no-limit",
    title="A buffer without a limit",
    chapter="too-slow",
    exercise="full",
    question="A client has stopped reading, but its connection stays open: somebody has closed a laptop, say. The "
    f"others go on talking and send {MESSAGES:,} messages. What becomes of the messages for that client?",
    choices=(
        Choice(
            "They are thrown away: the kernel knows that nobody reads them.",
            "TCP throws nothing away: it promises that what was written arrives. When the kernel's buffers are full, "
            "it takes no more, and the program that writes has to wait.",
        ),
        Choice("They wait in the server's memory, almost all of them."),
        Choice(
            "Its write pump blocks, so the hub puts no more messages into its channel.",
            "The write pump does block. But the hub does not see that: it goes on as long as the channel has room, and "
            "this one always has.",
        ),
    ),
    change=Change(
        Hub,
        "new_outbox",
        "return Outbox(capacity, self.run_queue)",
        "return Outbox(sys.maxsize, self.run_queue)",
        {"sys": sys},
    ),
    broken=Part("Without a limit", stop_reading),
    real=Part("With room for 256", stop_reading),
    why="""
The kernel takes the first few hundred messages into its buffers. Then the buffers are full, and the client's write
pump blocks inside a write. So far everything is as it should be. But the hub does not notice, and puts message after
message into the pump's channel. One such client costs megabytes a second, and nobody gets an error until the server
has no memory left. (The server also has a deadline for each write, which ends such a connection after ten seconds.
With a few such clients in a busy chat, that is too late.)

A buffer with a limit forces you to decide what happens when the buffer is full. Here, as in the Go example, the hub
evicts a client that has 256 messages waiting and does not read. It closes the client's channel and discards the
messages in it; if the client ever reads again, it is told why. An evicted client can reconnect. A server without
memory cannot recover.
""",
)
