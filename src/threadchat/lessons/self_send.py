"""A hub that evicts by sending to its own channel."""

from __future__ import annotations

from functools import partial

from threadchat.hub import Hub, Member
from threadchat.lessons.lesson import Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, Chat, Peer, where_it_waits

MESSAGES = 2_000
PATIENCE = 1.0  # seconds, for what never happens


class HubThatSendsToItself(Hub):
    """It evicts the way everybody leaves: through the channel `unregister`."""

    def _evict(self, client: Member) -> None:
        self.unregister.send(client)


def stop_reading(hub_type: type[Hub], patience: float) -> Result:
    chat = Chat(hub_type())
    _, stuck = chat.join(Peer)
    chat.listen(1)
    heard = chat.talk(MESSAGES, patience, waits=lambda: chat.hub.unregister.statistics().waiting_senders)
    unregister = chat.hub.unregister.statistics()
    seen: dict[str, Value] = {
        "messages sent to everybody": MESSAGES,
        "heard by the client that reads": heard,
        "what became of the other": stuck.connection.ending if stuck not in chat.hub.clients else "still a client",
        "threads that send to `unregister`": unregister.waiting_senders,
        "threads that receive from it": unregister.waiting_receivers,
        "what the hub's thread does": where_it_waits("hub"),
    }
    return Result(seen)


LESSON = Lesson(
    name="self-send",
    title="A hub that unregisters through its own channel",
    question="A client leaves by sending itself to the hub's unbuffered channel `unregister`. To evict a stuck client, "
    "the hub uses the same channel: `self.unregister.send(client)`. What happens?",
    choices=(
        "The hub waits for a receiver, and that would be the hub: nothing moves ever again.",
        "The client is removed when the hub comes round to `unregister` the next time.",
        "Closed is raised: a thread cannot send to itself.",
    ),
    answer=0,
    broken=Part("It sends to itself", HubThatSendsToItself, partial(stop_reading, HubThatSendsToItself, PATIENCE)),
    real=Part("It does it itself", Hub._evict, partial(stop_reading, Hub, LIMIT)),
    why="""
A send to an unbuffered channel returns once somebody has received the item. The one thread that receives from
`unregister` is the hub, and the hub is busy sending. It waits for itself: a deadlock, and one that Go chats have had
more than once. A buffer would only make it rarer: until a broadcast evicts more clients than the buffer holds.

Channels are for talking to other threads. The set of clients is the hub's own, so there is nobody to ask: it removes
the client and closes the channel right there. A useful rule: whoever receives from a channel never sends to it.
""",
)
