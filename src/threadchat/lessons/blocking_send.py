"""A lesson: why the hub does not wait for a peer. This hub waits for room in a client's channel without a limit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from threadchat.hub import Hub, Member
from threadchat.lessons.lesson import Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, Chat, Peer, where_it_waits

MESSAGES = 2_000
LISTENERS = 3
PATIENCE = 1.0  # seconds to wait for messages that never come


class BlockingHub(Hub):
    """Waits until there is room: Go's `client.send <- message`, without the `select` whose `default` evicts."""

    def _wait_or_evict(self, client: Member, messages: Sequence[str]) -> None:
        for message in messages:
            client.send.send(message)


def stop_reading(hub_type: type[Hub], patience: float) -> Result:
    chat = Chat(hub_type())
    _, stuck = chat.join(Peer)
    chat.listen(LISTENERS)
    heard = chat.talk(MESSAGES, patience, waits=lambda: stuck.send.statistics().waiting_senders)
    seen: dict[str, Value] = {
        "messages sent to everybody": MESSAGES,
        f"received by the {LISTENERS} clients that read": heard,
        "messages waiting for the hub": len(chat.hub.broadcast),
        "messages waiting for the stuck client": len(stuck.send),
        "how its connection ended": stuck.connection.ending if stuck not in chat.hub.clients else "it is still open",
        "where the hub's thread waits": where_it_waits("hub"),
    }
    return Result(seen)


LESSON = Lesson(
    name="blocking-send",
    title="A hub that waits for its clients",
    question="The hub sends each message to one client after the other. One of four clients has stopped reading, and "
    "its channel is full. Now the hub waits until there is room in that channel. What do the other three notice?",
    choices=(
        "Nothing: each client has its own channel and its own threads.",
        "They get their messages a little later.",
        "They get no more messages at all.",
    ),
    answer=2,
    broken=Part("The hub waits for room", BlockingHub, partial(stop_reading, BlockingHub, PATIENCE)),
    real=Part("It waits for a write pump, not for a peer", Hub._wait_or_evict, partial(stop_reading, Hub, LIMIT)),
    why="""
Each client has its own channel, but all clients share one hub. While the hub waits for one client, it does nothing
else: it passes on no messages, and nobody can join or leave. Soon the channel to the hub is full too, and the read
pumps stop reading. One closed laptop has stopped the chat for everyone.

So the hub may wait for the server's own threads, which are sure to go on, but never for a peer. It cannot tell by
itself which of the two makes a channel full; the write pump can. When the kernel has not taken a frame within a
quarter of a second, the pump puts an item into a second channel, `stuck`. The hub selects between sending to the
client and receiving from `stuck`. If it receives from `stuck`, it evicts the client. (Go's example does not wait at
all: its `select` has a `default`, which evicts every client with a full buffer, even if the client's goroutine has
just not run yet.)
""",
)
