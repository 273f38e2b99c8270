"""A lesson: what the run queue is for. Without it, a thousand write pumps wake at once."""

from __future__ import annotations

import itertools
import resource
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator

from threadchat.client import Client
from threadchat.hub import Hub
from threadchat.lessons.lesson import Change, Choice, Lesson, Part, Result, Value
from threadchat.lessons.peers import LIMIT, until
from threadchat.options import Options
from threadchat.runtime.runqueue import RunQueue
from threadchat.websocket.connection import Connection

PUMPS = 1_000
MESSAGES = 20
ENOUGH = 4.0  # seconds; on a slow machine no more messages are sent after this

PROCESSOR = "CPU time per message, in ms"
CHANGES = "thread switches per message"
TIME = "time until all had written it, median, in ms"


class CountedRunQueue(RunQueue):
    """Wraps the run queue `counted`, and counts the threads that are awake: woken, and not yet done with their turn."""

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
    """A connection whose peer never makes it wait.

    `written` counts the frames of all connections. `all_written` is set when each has written one more.
    """

    def __init__(self, written: Iterator[int], all_written: threading.Event) -> None:
        super().__init__({}, Options())
        self._socket, self._peer = socket.socketpair()
        self._written, self._all_written = written, all_written

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)
        if next(self._written) % PUMPS == 0:
            self._all_written.set()


def speak_to_a_thousand() -> Result:
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # two sockets a client may be more than the soft limit
    run_queue = CountedRunQueue(RunQueue())
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
        "most pumps awake at once": run_queue.most_awake,
        CHANGES: changes // len(times),
        PROCESSOR: processor / len(times) * 1000,
        TIME: statistics.median(times),
        "the longest of these times, in ms": max(times),
    }
    return Result(seen)


def verdict(broken: Result, real: Result) -> str:
    """Compares the reader's own figures. On some machines the difference is small, or the other way round."""
    changes, processor, time = (
        float(broken.seen[label]) / float(real.seen[label]) for label in (CHANGES, PROCESSOR, TIME)
    )
    says = [
        f"On your machine, just now: without the run queue, a message took {changes:.1f} times as many thread "
        f"switches, {processor:.1f} times the CPU time, and {time:.1f} times as long to reach everybody."
    ]
    if processor < 1.5:
        says.append("The difference in CPU time is small here; it grows with the number of clients.")
    if round(time, 1) < 1:
        says.append(
            "The message even arrived sooner than with the run queue. That can happen when other programs keep your "
            "processors busy: the system gives a thousand threads that are awake more of a busy processor than one."
        )
    return " ".join(says)


LESSON = Lesson(
    name="convoy",
    title="No run queue",
    chapter="a-thousand-threads",
    question=f"A message for {PUMPS:,} clients makes {PUMPS:,} write pumps ready. Each is a thread with a hundredth of "
    "a millisecond of work to do. Only one thread at a time can run Python code. Is it best to wake them all at once?",
    choices=(
        Choice(
            "Yes: the system's scheduler is good at this, and no thread waits needlessly.",
            "The scheduler does not know of Python's lock. It runs a thread that can only ask for the lock and go to "
            "sleep again, as if that were work.",
        ),
        Choice(
            "It makes no difference: the work is the same.",
            "The work of the pumps is the same. But a thread that wakes, cannot get the lock and sleeps again is work "
            "too, and there is more of that than of the other.",
        ),
        Choice("No: most of them wake up only to find that another thread is running."),
    ),
    change=Change(RunQueue, "ready", "if not self._free:", "if False:  # nobody stands in line"),
    broken=Part("All ready threads are woken at once", speak_to_a_thousand),
    real=Part("Ready threads wait in a queue", speak_to_a_thousand),
    why="""
A thread needs Python's global lock, the GIL, to run Python code. A thread that wakes while another holds the GIL
sleeps for 5 ms, wakes, asks for the GIL, and sleeps again. With a few threads you do not notice this. But a thousand
threads, each waking 200 times a second, keep a processor busy with nothing but asking. The hub has to compete with
them for the GIL before it can pass on the next message. This traffic jam is called a convoy.

Go makes just as many goroutines ready, but a goroutine that is ready is not running yet. It waits in a run queue, and
only as many goroutines run as there are processors. This chat does the same. A pump that has been given a message
waits in the run queue. It gets its turn when the pump before it has taken its messages and is about to write them. So
one pump is awake while the others sleep, and each is woken only once.
""",
    verdict=verdict,
)
