"""A send channel without a limit, for a client that has stopped reading."""

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
    """However many messages wait for a client, there is room for one more."""

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
        "heard by the client that reads": heard,
        "waiting for the other, at most": int(max(count for _, count in waiting)),
        "waiting for it at the end": len(pile),
        "bytes that these take": sum(map(sys.getsizeof, pile)),
        "what became of it": stuck.connection.ending if stuck not in chat.hub.clients else "still a client",
    }
    return Result(seen, Chart.of("waiting for the client that does not read", "messages", waiting))


LESSON = Lesson(
    name="no-limit",
    title="A buffer without a limit",
    question="A client has stopped reading, but its connection stays open: a laptop that was closed, say. The others "
    f"go on talking: {MESSAGES:,} messages. What becomes of the messages for that client?",
    choices=(
        "They are thrown away: the kernel knows that nobody reads them.",
        "They wait in the server's memory, every one of them.",
        "Its write pump blocks, so nothing more is put into its channel.",
    ),
    answer=1,
    broken=Part("Without a limit", HubWithoutALimit, partial(stop_reading, HubWithoutALimit)),
    real=Part("With room for 256", Hub._wait_or_evict, partial(stop_reading, Hub)),
    why="""
The kernel takes the first few hundred messages. Then it takes no more, and the client's write pump blocks inside a
write. That is as it should be; but the hub knows nothing of it, and puts message after message into the pump's
channel. One such client costs megabytes in a second, and nobody gets an error until the memory of the whole server is
used up. (A deadline for each write ends this after ten seconds; with a few such clients in a busy chat that is too
late.)

A buffer with a limit has to say what happens when it is full. Here, as in the Go example, a client that has 256
messages waiting and does not read is evicted: its channel is closed, its messages are let go, and it is told why,
should it ever read again. It can come back; a server without memory cannot.
""",
)
