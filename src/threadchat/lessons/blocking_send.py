"""A hub that waits for room in a client's channel, for as long as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from threadchat.hub import Hub, Member
from threadchat.lessons.lesson import Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, Chat, Peer, where_it_waits

MESSAGES = 2_000
LISTENERS = 3
PATIENCE = 1.0  # seconds, for what never happens


class BlockingHub(Hub):
    """Go's `client.send <- message`, without the `default` that evicts: it waits until there is room."""

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
        f"heard by the {LISTENERS} clients that read": heard,
        "waiting for the hub": len(chat.hub.broadcast),
        "waiting for the client that is stuck": len(stuck.send),
        "what became of it": stuck.connection.ending if stuck not in chat.hub.clients else "still a client",
        "what the hub's thread does": where_it_waits("hub"),
    }
    return Result(seen)


LESSON = Lesson(
    name="blocking-send",
    title="A hub that waits for its clients",
    question="The hub passes a message on to one client after the other. One of four clients has stopped reading, and "
    "its channel is full. The hub waits for room in it. What do the other three notice?",
    choices=(
        "Nothing: each client has its own channel and its own threads.",
        "They get their messages a little later.",
        "They get no more messages at all.",
    ),
    answer=2,
    broken=Part("It waits for room", BlockingHub, partial(stop_reading, BlockingHub, PATIENCE)),
    real=Part("It waits for a pump, not for a peer", Hub._wait_or_evict, partial(stop_reading, Hub, LIMIT)),
    why="""
Each client has its own channel, but they all have one hub. While it waits for the slowest client it does nothing
else: nobody's messages are passed on, nobody can join or leave, and soon the channel to the hub is full as well and
no read pump reads. One closed laptop has stopped the chat for everyone.

So the hub may wait for the server's own threads, which are sure to go on, and for nobody else. The write pump knows
which case it is: when the kernel has not taken a frame for a quarter of a second, the pump says so on a second channel,
`stuck`. The hub selects between sending to the client and receiving from `stuck`, and evicts the client in the second
case. (Go's example does not wait at all: `select` with a `default` evicts every client with a full buffer, even one
with a goroutine that has not run yet.)
""",
)
