"""A lesson: why the hub does not use its own channels. This hub evicts a client by sending to `unregister`."""

from __future__ import annotations

from functools import partial

from threadchat.hub import Hub
from threadchat.lessons.lesson import Change, Choice, Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, Chat, Peer, where_it_waits

MESSAGES = 2_000
PATIENCE = 1.0  # seconds to wait for messages that never come


def stop_reading(patience: float) -> Result:
    chat = Chat()
    _, stuck = chat.join(Peer)
    chat.listen(1)
    heard = chat.talk(MESSAGES, patience, waits=lambda: chat.hub.unregister.statistics().waiting_senders)
    unregister = chat.hub.unregister.statistics()
    seen: dict[str, Value] = {
        "messages sent to everybody": MESSAGES,
        "received by the client that reads": heard,
        "how the other's connection ended": (
            stuck.connection.ending if stuck not in chat.hub.clients else "it is still open"
        ),
        "threads that send to `unregister`": unregister.waiting_senders,
        "threads that receive from it": unregister.waiting_receivers,
        "where the hub's thread waits": where_it_waits("hub"),
    }
    return Result(seen)


LESSON = Lesson(
    name="self-send",
    title="A hub that unregisters through its own channel",
    chapter="go-beside-python",
    exercise="rendezvous",
    question="A client that leaves is sent to the hub's channel `unregister`, which is unbuffered. Suppose that the "
    "hub evicts a stuck client through the same channel: `self.unregister.send(client)`. What happens?",
    choices=(
        Choice("The hub waits for a receiver. The only receiver is the hub itself, so it waits for ever."),
        Choice(
            "The client is removed the next time the hub receives from `unregister`.",
            "So it would be with room in the channel. In an unbuffered channel nothing lies: the send returns when "
            "somebody has received, and until then the hub does not come back to its loop.",
        ),
        Choice(
            "The send raises Closed: a thread cannot send to itself.",
            "A channel does not know which thread will receive from it. It raises Closed only once it was closed.",
        ),
    ),
    change=Change(
        Hub, "_evict", "self.clients.remove(client)", "self.unregister.send(client)  # as a client that leaves"
    ),
    broken=Part("The hub sends to itself", partial(stop_reading, PATIENCE)),
    real=Part("The hub removes the client itself", partial(stop_reading, LIMIT)),
    why="""
A send to an unbuffered channel returns when another thread has received the item. Only the hub's thread receives from
`unregister`, and that thread is busy sending. It waits for itself: a deadlock, and one that chats written in Go have
had more than once. A buffer would only make the deadlock rarer: it would come as soon as one broadcast evicts more
clients than the buffer holds.

Channels are for talking to other threads. The set of clients belongs to the hub, so the hub has no other thread to
ask: it removes the client and closes the channel itself. A useful rule: the thread that receives from a channel never
sends to it.
""",
)
