"""A thousand write pumps that are all woken at once."""

from __future__ import annotations

import itertools
import resource
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from threadchat.client import Client
from threadchat.hub import Hub
from threadchat.lessons.lesson import Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, until
from threadchat.options import Options
from threadchat.runtime.runqueue import RunQueue
from threadchat.websocket.connection import Connection

PUMPS = 1_000
MESSAGES = 20
ENOUGH = 4.0  # seconds after which nothing more is said, on a slow machine

PROCESSOR = "processor time a message, in ms"
CHANGES = "changes of thread a message"
TIME = "until all had written it, median, in ms"


class NoRunQueue(RunQueue):
    """No turns and no line: who is ready is woken at once."""

    def ready(self, wake: Callable[[], None], urgent: bool = False) -> None:
        wake()

    def next(self) -> None:
        pass


class CountedRunQueue(RunQueue):
    """Another run queue, and how many of the threads that it has woken are awake: have not yet given way."""

    def __init__(self, counted: RunQueue) -> None:
        super().__init__()
        self._counted = counted
        self._count = threading.Lock()  # guards the next two
        self._awake = 0
        self.most_awake = 0

    def ready(self, wake: Callable[[], None], urgent: bool = False) -> None:
        def counted_wake() -> None:
            with self._count:
                self._awake += 1
                self.most_awake = max(self.most_awake, self._awake)
            wake()

        self._counted.ready(counted_wake, urgent)

    def next(self) -> None:
        with self._count:
            self._awake -= 1
        self._counted.next()


class EasyConnection(Connection):
    """A connection to a peer that takes everything. `written` counts the frames of all connections."""

    def __init__(self, written: Iterator[int], all_written: threading.Event) -> None:
        super().__init__({}, Options())
        self._socket, self._peer = socket.socketpair()
        self._written, self._all_written = written, all_written

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)
        if next(self._written) % PUMPS == 0:
            self._all_written.set()


def speak_to_a_thousand(run_queue_type: type[RunQueue]) -> Result:
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # as many sockets as the system allows
    run_queue = CountedRunQueue(run_queue_type())
    hub = Hub(run_queue)
    threading.Thread(target=hub.run, name="hub", daemon=True).start()
    written, all_written = itertools.count(1), threading.Event()
    clients = []
    for number in range(PUMPS):
        client = Client(hub, EasyConnection(written, all_written), Options(), number)
        threading.Thread(target=client.write_pump, name=f"writePump-{number}", daemon=True).start()
        hub.register.send(client)
        clients.append(client)
    until(lambda: all(client.send.statistics().waiting_receivers for client in clients))

    times: list[float] = []
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    while len(times) < MESSAGES and time.monotonic() < began + ENOUGH:
        all_written.clear()
        start = time.monotonic()
        hub.broadcast.send("x" * 64)
        all_written.wait(LIMIT)
        times.append((time.monotonic() - start) * 1000)
    after = resource.getrusage(resource.RUSAGE_SELF)

    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    changes = after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw
    seen: dict[str, Value] = {
        "write pumps": PUMPS,
        "messages, one after the other": len(times),
        "pumps awake at once, at most": run_queue.most_awake,
        CHANGES: changes // len(times),
        PROCESSOR: processor / len(times) * 1000,
        TIME: statistics.median(times),
        "the same, at most": max(times),
    }
    return Result(seen)


def verdict(broken: Result, real: Result) -> str:
    """The figures are the reader's own, and may be a disappointment."""
    changes, processor, time = (
        float(broken.seen[label]) / float(real.seen[label]) for label in (CHANGES, PROCESSOR, TIME)
    )
    says = [
        f"On your machine, just now, without the run queue a message took {changes:.1f} times as many changes of "
        f"thread, {processor:.1f} times the processor time, and {time:.1f} times as long to reach everybody."
    ]
    if processor < 1.5:
        says.append("That is no big difference; it grows with the number of clients.")
    if time < 1:
        says.append(
            "It was even quicker: other programs keep your processors busy, and a thousand threads that are awake get "
            "more of a busy processor than one does."
        )
    return " ".join(says)


LESSON = Lesson(
    name="convoy",
    title="No run queue",
    question=f"A message for {PUMPS:,} clients makes {PUMPS:,} write pumps ready, each a thread with a hundredth of a "
    "millisecond of work to do. Only one thread at a time can run Python. Is it best to wake them all at once?",
    choices=(
        "Yes: the system's scheduler is good at this, and nothing waits needlessly.",
        "It makes no difference: the work is the same.",
        "No: they mostly wake up to find that it's not their turn.",
    ),
    answer=2,
    broken=Part("Who is ready is woken", NoRunQueue, partial(speak_to_a_thousand, NoRunQueue)),
    real=Part("Who is ready stands in line", RunQueue, partial(speak_to_a_thousand, RunQueue)),
    why="""
All threads share Python's one lock, the GIL. A thread that is woken and finds it taken sleeps for 5 ms, wakes, asks
for it, and sleeps again. With a few threads you do not notice; a thousand that wake 200 times a second keep a
processor busy with asking. The hub, which has the next message to pass on, stands in the same crowd: this is the
convoy.

Go makes as many goroutines ready, but ready is not awake. They stand in a run queue, and only as many run as there
are processors. Here it is the same: a pump that has been handed a message gets a turn when the one before it has
taken its messages and is about to write. One is awake, the others sleep, and each is woken once.
""",
    verdict=verdict,
)
