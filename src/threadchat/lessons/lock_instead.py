"""A set of clients and a lock around it, in the place of a hub."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from threadchat.channel import Channel
from threadchat.hub import Ending, Hub, Member
from threadchat.lessons.lesson import Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, until


class LockedRoom:
    """The set of clients, a lock around it, and no thread: who has a message passes it on."""

    def __init__(self) -> None:
        self.clients: set[Member] = set()
        self._lock = threading.Lock()

    def join(self, client: Member) -> None:
        with self._lock:
            self.clients.add(client)

    def broadcast(self, message: str) -> None:
        with self._lock:
            clients = list(self.clients)
        for client in clients:
            client.send.send_what_fits([message])


class HeldChannel(Channel[str]):
    """A client's channel that holds up the thread that brings it one certain message, unless it is the first to get it.

    As the system may do with any thread at any time: here it is done when it shows.
    """

    def __init__(self, first_arrived: threading.Event, go_on: threading.Event) -> None:
        super().__init__(256)
        self._first_arrived, self._go_on = first_arrived, go_on

    def send_what_fits(self, items: Sequence[str]) -> Sequence[str]:
        if "Red wins!" in items and self._first_arrived.is_set():
            self._go_on.wait(LIMIT)
        rest = super().send_what_fits(items)
        self._first_arrived.set()
        return rest


class Listener:
    """A client made of a channel."""

    def __init__(self, send: Channel[str]) -> None:
        self.send = send
        self.stuck: Channel[None] = Channel(1)

    def end(self, why: Ending) -> None:
        pass


def two_speak_at_once(join: Callable[[Member], None], broadcast: Callable[[str], None]) -> Result:
    first_arrived, go_on = threading.Event(), threading.Event()
    clients = [Listener(HeldChannel(first_arrived, go_on)) for _ in range(2)]
    for client in clients:
        join(client)
    red = threading.Thread(target=broadcast, args=("Red wins!",))
    blue = threading.Thread(target=broadcast, args=("Blue wins!",))
    red.start()
    first_arrived.wait(LIMIT)
    blue.start()
    blue.join(LIMIT)
    go_on.set()
    red.join(LIMIT)
    until(lambda: all(len(client.send) == 2 for client in clients))
    orders = [client.send.take_pending() for client in clients]
    orders.sort(reverse=True)  # which of the two came first in the set is chance
    seen: dict[str, Value] = {
        "what one client reads": ", ".join(orders[0]),
        "what the other client reads": ", ".join(orders[1]),
        "orders": len(set(map(tuple, orders))),
    }
    return Result(seen)


def try_lock() -> Result:
    room = LockedRoom()
    return two_speak_at_once(room.join, room.broadcast)


def try_hub() -> Result:
    hub = Hub()
    threading.Thread(target=hub.run, name="hub", daemon=True).start()
    return two_speak_at_once(hub.register.send, hub.broadcast.send)


LESSON = Lesson(
    name="lock-instead",
    title="A lock instead of a hub",
    question="No hub and no channels to it: a set of clients with a lock around it. Whoever has a message takes the "
    "lock, copies the set, lets go of the lock and sends to each client. Two people speak at the same moment. Do all "
    "clients read the two messages in the same order?",
    choices=(
        "Yes: the lock lets one thread through after the other.",
        "Not always: two clients may read them in two orders, and both will be sure of theirs.",
        "Yes, but the messages may get lost.",
    ),
    answer=1,
    broken=Part("A set and a lock", LockedRoom, try_lock),
    real=Part("The hub", Hub.run, try_hub),
    why="""
The lock keeps the set in order, not the messages. Once it is let go, two threads walk through the clients side by
side, and any of them may be held up between one client and the next. So it was here, on purpose: the thread with "Red
wins!" had to wait after the first client, and the other overtook it. On a busy server it happens by itself, now and
then.

Send while you hold the lock, and there is one order again. But then whoever waits for room in a slow client's channel
holds the lock, and everybody waits for that client: see `threadchat lesson blocking-send`. The hub is one thread with
an inbox. What comes first into its channel `broadcast` goes first to everybody; the set is the hub's alone, so it
needs no lock at all. As Go people say: do not communicate by sharing memory; share memory by communicating.
""",
)
