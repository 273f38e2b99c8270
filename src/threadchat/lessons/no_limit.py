"""A lesson: why the channel `send` has a limit. Without one, a client that does not read fills the memory."""

from __future__ import annotations

import sys
import time
from functools import partial

from threadchat.hub import Hub
from threadchat.lessons.lesson import Chart, Lesson, Part, Result, Value
from threadchat.lessons.peers import Chat, Peer
from threadchat.outbox import Outbox

MESSAGES = 20_000


class HubWithoutALimit(Hub):
    """Gives clients a channel `send` that is never full."""

    def new_outbox(self, capacity: int) -> Outbox[str]:
        return super().new_outbox(sys.maxsize)


def stop_reading(hub_type: type[Hub]) -> Result:
    chat = Chat(hub_type())
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
        "waiting for the other client, at most": int(max(count for _, count in waiting)),
        "waiting for it at the end": len(pile),
        "memory that these take, in bytes": sum(map(sys.getsizeof, pile)),
        "how its connection ended": stuck.connection.ending if stuck not in chat.hub.clients else "it is still open",
    }
    return Result(seen, Chart.of("waiting for the client that does not read", "messages", waiting))


LESSON = Lesson(
    name="no-limit",
    title="A buffer without a limit",
    question="A client has stopped reading, but its connection stays open: somebody has closed a laptop, say. The "
    f"others go on talking and send {MESSAGES:,} messages. What becomes of the messages for that client?",
    choices=(
        "They are thrown away: the kernel knows that nobody reads them.",
        "They wait in the server's memory, almost all of them.",
        "Its write pump blocks, so the hub puts no more messages into its channel.",
    ),
    answer=1,
    broken=Part("Without a limit", HubWithoutALimit, partial(stop_reading, HubWithoutALimit)),
    real=Part("With room for 256", Hub._wait_or_evict, partial(stop_reading, Hub)),
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
