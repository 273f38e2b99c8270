"""A lesson: what the hub is for. Here each read pump passes on its messages itself, and a lock guards the clients."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import cast

from threadchat.channel import Channel
from threadchat.client import Client
from threadchat.hub import Ending, Hub
from threadchat.lessons.lesson import Change, Choice, Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, until
from threadchat.options import Options
from threadchat.websocket.connection import Connection


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


class OneLine:
    """A connection whose peer sends one message."""

    def __init__(self, message: str) -> None:
        self._message = message
        self.on_stuck = self.on_unstuck = lambda: None

    def __iter__(self) -> Iterator[str]:
        yield self._message


def two_speak_at_once() -> Result:
    hub = Hub()
    threading.Thread(target=hub.run, name="hub", daemon=True).start()
    first_arrived, go_on = threading.Event(), threading.Event()
    clients = [Listener(HeldChannel(first_arrived, go_on)) for _ in range(2)]
    for client in clients:
        hub.register.send(client)
    red, blue = (threading.Thread(target=reader_of(hub, f"{colour} wins!")) for colour in ("Red", "Blue"))
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


def reader_of(hub: Hub, message: str) -> Callable[[], None]:
    """The read pump of a client whose peer sends this message."""
    return Client(hub, cast(Connection, OneLine(message)), Options(), 0).read_pump


LESSON = Lesson(
    name="lock-instead",
    title="A lock instead of a hub",
    chapter="no-lock",
    exercise="hub",
    question="Suppose there is no hub, only a set of clients with a lock around it. A thread that has a message takes "
    "the lock, copies the set, releases the lock, and sends the message to each client in the copy. Two people write "
    "at the same moment. Do all clients read the two messages in the same order?",
    choices=(
        Choice(
            "Yes: the lock lets only one thread through at a time.",
            "It does, to the set. Both threads have let go of the lock before they send, and nothing says which of "
            "them comes to a client first.",
        ),
        Choice("Not always: one client may read them in one order, and another client in the other."),
        Choice(
            "Yes, but messages may get lost.",
            "Nothing gets lost: each thread sends its message to every client in its copy of the set. It is the order "
            "that nobody keeps.",
        ),
    ),
    change=Change(
        Client,
        "read_pump",
        "self.hub.broadcast.send(said)",
        """\
with lock:
    clients = list(self.hub.clients)
for client in clients:
    client.send.send_what_fits([said])""",
        {"lock": threading.Lock()},
    ),
    broken=Part("Each read pump passes on its own messages", two_speak_at_once),
    real=Part("It sends them to the hub", two_speak_at_once),
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
