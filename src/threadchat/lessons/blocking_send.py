"""A lesson: why the hub does not wait for a peer. This hub waits for room in a client's channel without a limit."""

from __future__ import annotations

from functools import partial

from threadchat.hub import Hub
from threadchat.lessons.lesson import Change, Choice, Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, Chat, Peer, where_it_waits

MESSAGES = 2_000
LISTENERS = 3
PATIENCE = 1.0  # seconds to wait for messages that never come


def stop_reading(patience: float) -> Result:
    chat = Chat()
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
    chapter="too-slow",
    exercise="full",
    question="The hub sends each message to one client after the other. One of four clients has stopped reading, and "
    "its channel is full. Now the hub waits until there is room in that channel. What do the other three notice?",
    choices=(
        Choice(
            "Nothing: each client has its own channel and its own threads.",
            "They have channels and threads of their own, but one hub for all. While it waits for one client, it puts "
            "nothing into the channels of the others.",
        ),
        Choice(
            "They get their messages a little later.",
            "Later than what? The hub waits until the peer reads again, and this one never does.",
        ),
        Choice("They get no more messages at all."),
    ),
    change=Change(
        Hub,
        "_wait_or_evict",
        "case, _ = select(Send(client.send, messages[0]), client.stuck)",
        "case, _ = select(Send(client.send, messages[0]))  # until there is room",
    ),
    broken=Part("The hub waits for room", partial(stop_reading, PATIENCE)),
    real=Part("It waits for a write pump, not for a peer", partial(stop_reading, LIMIT)),
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
