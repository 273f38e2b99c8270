"""What the guide's figures show, done by threads with real channels, outboxes, run queues and hubs.

Each class has a method for each kind of step. It returns when every thread sleeps. `reading` tells the state in the
words of the page, and `end` frees the threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import FAR, LIMIT, go, say_stuck, until

from threadchat import channel as channel_module
from threadchat.channel import Case, Channel, Closed, Send, WouldBlock, select
from threadchat.hub import Ending, Hub
from threadchat.outbox import Outbox
from threadchat.runtime.runqueue import RunQueue

Reading = dict[str, Any]


def is_asleep(future: Future[Any] | None) -> bool:
    return future is not None and not future.done()


class TwoThreads:
    """A sender, a receiver, and the channel between them."""

    def __init__(self) -> None:
        self.channel: Channel[str] = Channel(2)
        self.begin(2)

    def begin(self, capacity: int) -> None:
        self.end()
        self.channel = Channel(capacity)
        self.sent = 0
        self.sending: Future[None] | None = None
        self.receiving: Future[None] | None = None
        self.received: list[str] = []

    def end(self) -> None:
        with suppress(Closed):
            self.channel.close()  # those that sleep raise Closed

    def send(self) -> bool:
        """Returns whether it raised Closed; so do the other steps."""
        if is_asleep(self.sending):
            return False
        self.sending = go(self.channel.send, str(self.sent + 1))
        self.settle()
        refused = self.sending.done() and isinstance(self.sending.exception(), Closed)
        self.sent += not refused
        return refused

    def receive(self) -> bool:
        if is_asleep(self.receiving):
            return False
        self.receiving = go(lambda: self.received.append(self.channel.receive()))
        self.settle()
        return self.receiving.done() and isinstance(self.receiving.exception(), Closed)

    def close(self) -> bool:
        if is_asleep(self.sending):
            return False  # only the sender may close
        woken = is_asleep(self.receiving)
        try:
            self.channel.close()
        except Closed:
            return True
        self.settle()
        return woken

    def settle(self) -> None:
        until(lambda: not is_asleep(self.sending) or self.channel.statistics().waiting_senders)
        until(lambda: not is_asleep(self.receiving) or self.channel.statistics().waiting_receivers)

    def reading(self) -> Reading:
        sleeps = is_asleep(self.sending)
        return {
            "sender": "asleep" if sleeps else "runs",
            "held": [str(self.sent)] if sleeps else [],
            "buffer": list(self.channel._buffer),
            "capacity": self.channel.capacity,
            "length": len(self.channel),
            "closed": self.channel.statistics().closed,
            "receiver": "asleep" if is_asleep(self.receiving) else "runs",
            "received": self.received,
        }


class Selecting:
    """A thread that selects among two receives and a send."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.channels: list[Channel[str]] = [Channel(3), Channel(3), Channel(1)]
        self.a, self.b, self.c = self.channels
        self.cases: list[Case] = [self.a, self.b, Send(self.c, "x")]
        self.wanted = ""  # what the page said that its select returned
        self.returned = "nothing yet"
        self.items = 0
        self.default = False
        self.selecting: Future[None] | None = None
        monkeypatch.setattr(channel_module, "random", SimpleNamespace(choice=self._choose))
        for channel in (self.a, self.b, self.b):
            self.put(channel)
        self.c.send_nowait("w")

    def _choose(self, ready: list[Case]) -> Case:
        """What the page chose at random. It must be ready here as well."""
        chosen = self.cases[("a", "b", "to_c").index(self.wanted[1:].partition(",")[0])]
        assert chosen in ready
        return chosen

    def put(self, channel: Channel[str]) -> None:
        with suppress(WouldBlock):
            channel.send_nowait(str(self.items + 1))
            self.items += 1
        self.settle()

    def take(self) -> None:
        if len(self.c):
            self.c.receive()
        self.settle()

    def select(self) -> None:
        if not is_asleep(self.selecting):
            self.selecting = go(self._select)
            self.settle()

    def _select(self) -> None:
        case, item = select(*self.cases, default=self.default)
        name = ("a", "b", "to_c")[self.cases.index(case)] if case else None
        self.returned = f"({name}, {item})"

    def settle(self) -> None:
        until(lambda: not is_asleep(self.selecting) or self.a.statistics().waiting_receivers)
        if self.selecting and self.selecting.done():
            self.selecting.result()

    def reading(self) -> Reading:
        return {
            "asleep": is_asleep(self.selecting),
            "returned": self.returned,
            "buffers": [list(channel._buffer) for channel in self.channels],
            "ready": [channel_module._is_ready(case) for case in self.cases if case is not None],
        }

    def end(self) -> None:
        if is_asleep(self.selecting):
            self.a.close()


class Pumps:
    """The outboxes of a crowd, each with a thread. A woken thread runs when the test says so: it is given the lock."""

    def __init__(self, count: int, queue_type: type[RunQueue]) -> None:
        woken: list[Callable[[], None]] = []

        class Held(queue_type):  # type: ignore[valid-type, misc]
            def ready(self, wake: Callable[[], None], urgent: bool = False) -> None:
                super().ready(lambda: woken.append(wake), urgent)

        self.woken = woken  # in the order in which they were woken
        self.queue: RunQueue = Held()
        self.outboxes: list[Outbox[str]] = [Outbox(256, self.queue) for _ in range(count)]
        self.frames: list[int] = []  # the number of messages in each
        self.pumps = [go(self._pump, outbox) for outbox in self.outboxes]
        for outbox in self.outboxes:
            self._idle(outbox)

    def _pump(self, outbox: Outbox[str]) -> None:
        with suppress(Closed):
            while True:
                self.frames.append(outbox.receive_in_turn(len, until=time.monotonic() + FAR))

    def _idle(self, outbox: Outbox[str]) -> None:
        until(lambda: outbox.statistics().waiting_receivers == 1, "a pump that waits for messages")

    def speak(self, speaker: Outbox[str]) -> None:
        speaker.urgent = True
        for outbox in self.outboxes:
            assert not outbox.send_what_fits(["hello"])

    def run(self) -> None:
        if self.woken:
            wake = self.woken.pop(0)
            outbox = self._woken_by(wake)
            wake()
            self._idle(outbox)

    def run_all(self) -> None:
        while self.woken:
            self.run()

    def _woken_by(self, wake: Callable[[], None]) -> Outbox[str]:
        return next(outbox for outbox in self.outboxes if outbox._turn_granted.release == wake)

    def reading(self) -> Reading:
        awake = [self._woken_by(wake) for wake in self.woken]

        def state(outbox: Outbox[str]) -> str:
            if outbox in awake:
                return "runs" if outbox is awake[0] else "asks"
            return "asleep" if outbox.statistics().waiting_receivers else "in-line"

        return {
            "pumps": [state(outbox) for outbox in self.outboxes],
            "awake": len(awake),
            "vain": 200 * max(0, len(awake) - 1),
            "line": self.queue.statistics().waiting,
            "written": [len(self.frames), pytest.approx(sum(self.frames) / max(1, len(self.frames)), abs=0.01)],
        }

    def end(self) -> None:
        for outbox in self.outboxes:
            outbox.close()
        while any(is_asleep(pump) for pump in self.pumps):
            until(lambda: self.woken or not any(is_asleep(pump) for pump in self.pumps))
            while self.woken:
                self.woken.pop(0)()


@dataclass(eq=False)
class Somebody:
    """A member of the hub with this channel."""

    send: Channel[str]
    stuck: Channel[None] = field(default_factory=lambda: Channel(1))
    endings: list[Ending] = field(default_factory=list)

    def end(self, why: Ending) -> None:
        self.endings.append(why)


class RealRoom:
    """A hub, a client with a write pump whose peer reads when the test says so, and another client that hears all."""

    def __init__(self, capacity: int) -> None:
        self.hub = Hub(RunQueue())
        self.hub_thread = threading.Thread(target=self.hub.run, name="hub")
        self.hub_thread.start()
        self.client = Somebody(self.hub.new_outbox(capacity))
        self.other = Somebody(Channel(100_000))
        for member in (self.client, self.other):
            self.hub.register.send(member)
        self.frame = 0  # messages in the frame that the pump writes
        self.read = 0
        self.reads: Channel[None] = Channel()  # the peer takes the frame
        self.pump = go(self._pump)
        self.settle()

    def _pump(self) -> None:
        outbox = self.client.send
        assert isinstance(outbox, Outbox)
        with suppress(Closed):
            while True:
                self.frame = outbox.receive_in_turn(len, until=time.monotonic() + FAR)
                self.reads.receive()
                self.client.stuck.take_pending()

    def say(self, message: str) -> None:
        self.hub.broadcast.send(message)
        self.settle()

    def take_frame(self) -> None:
        self.read += self.frame
        self.frame = 0
        self.reads.send(None)
        self.settle()

    def get_stuck(self) -> None:
        say_stuck(self.client.stuck)
        self.settle()

    def settle(self) -> None:
        until(lambda: self._hub_sleeps() and self._pump_sleeps() and self._hub_sleeps())

    def _hub_sleeps(self) -> bool:
        return self.hub.broadcast.statistics().waiting_receivers == 1 or self.hub_waits()

    def hub_waits(self) -> bool:
        return self.client.send.statistics().waiting_senders == 1

    def _pump_sleeps(self) -> bool:
        if self.client.endings:
            return True
        return self.reads.statistics().waiting_receivers == 1 or self.client.send.statistics().waiting_receivers == 1

    def reading(self) -> Reading:
        evicted = self.client.endings == [Ending.EVICTED]
        writes = "stuck" if len(self.client.stuck) else "writes" if self.frame else "asleep"
        return {
            "hub": "waits for room" if self.hub_waits() else "runs",
            "heard": len(self.other.send),
            "buffer": list(self.client.send._buffer),
            "capacity": self.client.send.capacity,
            "pump": "evicted" if evicted else writes,
            "frame": 0 if evicted else self.frame,
            "read": self.read,
        }

    def end(self) -> None:
        self.reads.close()
        self.hub.stop()
        say_stuck(self.client.stuck)  # so that the hub does not wait for it
        self.hub_thread.join(LIMIT)
        self.pump.result(LIMIT)


class Quarters:
    """The room, a quarter of a second at a time: everybody talks, then the client has taken its frame or is stuck."""

    def __init__(self, capacity: int) -> None:
        self.room = RealRoom(capacity)
        self.said = self.waited = 0
        self.talk, self.pace = 3, 4.0

    def begin(self, capacity: int) -> None:
        self.room.end()
        self.room = RealRoom(capacity)
        self.said = self.waited = 0

    def step(self) -> None:
        for _ in range(self.talk):
            self.said += 1
            self.room.say(str(self.said))
        if self.room.client.endings or not self.room.frame:
            return
        self.waited += 1
        if self.waited >= self.pace:
            self.room.take_frame()
            self.waited = 0
        else:
            self.room.get_stuck()
