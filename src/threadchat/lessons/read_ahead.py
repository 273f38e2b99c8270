"""A lesson: what back pressure is for. This read pump reads ahead while the hub is busy."""

from __future__ import annotations

import queue
import sys
import time
from functools import partial

from threadchat.channel import Channel
from threadchat.client import Client
from threadchat.hub import Ending
from threadchat.lessons.lesson import Change, Chart, Choice, Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, Chat, Peer, until

MESSAGES = 20_000
SIZE = 500  # bytes
WAIT = 0.5  # seconds that a send waits for room before the connection counts as full
AHEAD: queue.SimpleQueue[str] = queue.SimpleQueue()  # what the broken part has read and not sent to the hub


class Tardy:
    """A client without a write pump, for which the hub waits as for one whose write pump has not had its turn."""

    def __init__(self) -> None:
        self.send: Channel[str] = Channel(1)
        self.stuck: Channel[None] = Channel(1)

    def end(self, why: Ending) -> None:
        pass


def flood_a_busy_hub(patience: float) -> Result:
    chat = Chat()
    peer, _ = chat.join(Peer)
    tardy = Tardy()
    chat.hub.register.send(tardy)
    for message in ("one for its channel", "and one for which there is no room"):
        chat.hub.broadcast.send(message)
    until(lambda: tardy.send.statistics().waiting_senders)

    def in_memory() -> int:
        broadcast = chat.hub.broadcast.statistics()
        return broadcast.pending + broadcast.waiting_senders + AHEAD.qsize()

    frame = peer.text("x" * SIZE)
    piled: list[tuple[float, float]] = []
    began, sent = time.monotonic(), 0
    peer.socket.settimeout(patience)
    try:
        while sent < MESSAGES:
            peer.socket.sendall(frame)
            sent += 1
            piled.append((time.monotonic() - began, in_memory()))
    except TimeoutError:
        pass  # all buffers between the client and the hub are full
    until(lambda: in_memory() == sent, patience)
    until(lambda: chat.hub.broadcast.statistics().waiting_senders)
    piled.append((time.monotonic() - began, in_memory()))
    seen: dict[str, Value] = {
        "messages that the client wants to send": MESSAGES,
        "messages that it could send": sent,
        "messages in the server's memory": in_memory(),
        "memory that these take, in bytes": in_memory() * sys.getsizeof("x" * SIZE),
    }
    return Result(seen, Chart.of("waiting in the server's memory", "messages", piled))


LESSON = Lesson(
    name="read-ahead",
    title="No back pressure",
    chapter="too-fast",
    exercise="semaphore",
    question="The hub is busy for a while, and one client floods the server with messages. Each client has a thread "
    "that reads from its socket. Should that thread go on reading while the hub takes no messages?",
    choices=(
        Choice(
            "Yes: the sooner a message is read, the sooner it can be passed on.",
            "It is passed on when the hub takes it, and no sooner. What was read before waits for the hub as well, in "
            "the server's memory.",
        ),
        Choice("No: messages that are not read stay with the sender, and TCP makes the sender wait."),
        Choice(
            "Yes: otherwise TCP throws the messages away.",
            "TCP throws nothing away. When the receiver's buffer is full, it tells the sender to stop.",
        ),
    ),
    change=Change(
        Client,
        "read_pump",
        "for message in self.connection:",
        """\
# `ahead` is a queue without a limit.
go(lambda: [ahead.put(each) for each in self.connection], "ahead")
for message in iter(ahead.get, None):""",
        {"ahead": AHEAD},
    ),
    broken=Part("A thread reads ahead", partial(flood_a_busy_hub, LIMIT)),
    real=Part("The thread that reads also sends", partial(flood_a_busy_hub, WAIT)),
    why="""
No message arrives sooner because it was read early: they all have to wait for the hub. Reading early only moves
them from the sender's machine into the server's memory, where nothing limits their number. A single client that sends
faster than the hub works can use up that memory.

In the real part, the thread that reads a message also sends it to the hub. While the channel to the hub is full, with
256 messages, the send blocks, and the thread reads nothing. Then the kernel's buffers fill up, first the server's,
then the sender's, and at last the sender's own write blocks. TCP has carried the request to wait all the way back to
the sender, without a line of code for it. This is called back pressure. Bounded buffers pass it on; an unbounded
buffer hides it until the memory is full.
""",
)
