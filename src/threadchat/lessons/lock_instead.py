"""A lesson: what the hub is for. A set of clients with a lock around it replaces the hub."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from threadchat.channel import Channel
from threadchat.hub import Ending, Hub, Member
from threadchat.lessons.lesson import Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, until


class LockedRoom:
    """The set of clients and a lock around it, without a thread: each sender passes on its own message."""

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
    """A client's channel that holds up the thread that sends it "Red wins!", except where that thread comes first.

    The system may hold up any thread at any time. This class does so at the moment at which the effect can be seen.
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
    """A client that consists of a channel only."""

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
    orders.sort(reverse=True)  # because it is chance which of the clients comes first in a set
    seen: dict[str, Value] = {
        "what one client reads": ", ".join(orders[0]),
        "what the other client reads": ", ".join(orders[1]),
        "different orders": len(set(map(tuple, orders))),
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
    question="Suppose there is no hub, only a set of clients with a lock around it. A thread that has a message takes "
    "the lock, copies the set, releases the lock, and sends the message to each client in the copy. Two people write "
    "at the same moment. Do all clients read the two messages in the same order?",
    choices=(
        "Yes: the lock lets only one thread through at a time.",
        "Not always: one client may read them in one order, and another client in the other.",
        "Yes, but messages may get lost.",
    ),
    answer=1,
    broken=Part("A set and a lock", LockedRoom, try_lock),
    real=Part("The hub", Hub.run, try_hub),
    why="""
The lock protects the set, not the order of the messages. Once both threads have released it, they go through their
copies of the set side by side, and the system may hold up either of them between two clients. This lesson does so on
purpose: it held up the thread with "Red wins!" after the first client, and the other thread overtook it. On a busy
server the same happens by itself now and then.

If the threads sent while they held the lock, there would be one order again. But then a thread that waits for room in
a slow client's channel would hold the lock, and everybody would wait for that client (see `threadchat lesson
blocking-send`). The hub is one thread with an inbox: the message that comes first into its channel `broadcast` goes
first to everybody. Only the hub's thread uses the set of clients, so the set needs no lock at all. A Go proverb says:
don't communicate by sharing memory; share memory by communicating.
""",
)
