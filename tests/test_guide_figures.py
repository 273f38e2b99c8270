"""The guide's figures against the real thing: the same steps, pressed on the page and done by threads, show the same.

For each figure there is a class with a method for each kind of control. It does with threads, channels, outboxes, the
run queue and the hub what the control says, waits until every thread sleeps, and tells the state in the page's words.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import FAR, LIMIT, Running, go, say_stuck, until
from playwright.sync_api import Browser, Page

from threadchat import channel as channel_module
from threadchat.channel import Case, Channel, Closed, Send, WouldBlock, select
from threadchat.hub import Ending, Hub
from threadchat.lessons.convoy import NoRunQueue
from threadchat.outbox import Outbox
from threadchat.runtime.runqueue import RunQueue

Step = tuple[str, str | None]  # a button; or the label of another control, and its new value
Reading = dict[str, Any]

SEEDS = range(8)
STEPS = 40  # in each random sequence

# Does the steps on a figure, and reads it after each. READ is a function of the figure.
DRIVE = """(figure, steps) => {
    const texts = (selector) => [...figure.querySelectorAll(selector)].map((element) => element.textContent);
    const state = (index) => figure.querySelectorAll(".thread")[index].dataset.state;
    const number = (text) => Number(/[\\d,.]+/.exec(text)[0].replace(",", ""));
    return steps.map(([label, value]) => {
        const begins = (element) => element.textContent.startsWith(label);
        if (value === null) [...figure.querySelectorAll("button")].find(begins).click();
        else {
            const control = [...figure.querySelectorAll("label")].find(begins).querySelector("input, select");
            control.value = value;
            control.dispatchEvent(new Event(control.matches("select") ? "change" : "input"));
        }
        return { said: texts(".said")[0], ...(READ)() };
    });
}"""

CHANNEL = """() => ({
    sender: state(0),
    held: texts(".thread .item"),
    buffer: texts(".buffer .item").reverse(),
    capacity: texts(".buffer li").length,
    length: number(texts(".pipe small")[0]),
    closed: texts(".pipe small")[0].includes("closed"),
    receiver: state(1),
    received: texts(".thread small")[0].match(/\\d+/g) ?? [],
})"""

SELECT = """() => ({
    asleep: state(0) !== "runs",
    returned: texts(".thread small")[0].slice("returned last: ".length),
    buffers: ["a", "b", "c"].map((name) => texts(`[aria-label="in ${name}"] .item`).reverse()),
    ready: [...figure.querySelectorAll("tbody tr")].map((row) => row.hasAttribute("data-ready")),
    chosen: texts("td:nth-child(4)").map(Number),
})"""

TURNS = """() => [...figure.querySelectorAll(".crowd")].map((crowd) => {
    const facts = [...crowd.querySelectorAll("dd")].map((fact) => fact.textContent);
    return {
        pumps: [...crowd.querySelectorAll("circle")].map((dot) => dot.classList[1]),
        awake: number(facts[0]),
        vain: number(facts[1]),
        line: number(facts[2]),
        written: (facts[3].match(/[\\d,.]+/g) ?? [0, 0]).map(Number),
    };
}).reduce((left, right) => ({ left, right }))"""

ROOM = """() => ({
    hub: state(0),
    heard: number(texts(".thread small")[0]),
    buffer: texts(".buffer .item").reverse(),
    capacity: texts(".buffer li").length,
    pump: state(1),
    frame: Number(/\\d+/.exec(texts(".thread code")[1])?.[0] ?? 0),
    read: number(texts(".thread small")[1]),
})"""


@pytest.fixture(scope="module")
def page(server: Running, browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script("let last = 7; Math.random = () => (last = (last * 16807) % 2147483647) / 2147483647;")
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{server.url}guide")
        yield page
        assert complaints == []


def drive(page: Page, figure: str, read: str, steps: list[Step]) -> list[Reading]:
    """Do the steps on the page. Returns what the figure showed after each."""
    readings: list[Reading] = page.locator(f"#{figure}").evaluate(DRIVE.replace("READ", read), steps)
    return readings


def sequence(seed: int, kinds: dict[str, list[str] | None], first: Step) -> list[Step]:
    """The first step, then random ones. A kind is a button, or a control with the values that it may be given."""
    chance = random.Random(seed)
    labels = chance.choices(list(kinds), k=STEPS)
    return [first, *((label, chance.choice(kinds[label] or [""]) if kinds[label] else None) for label in labels)]


def is_asleep(future: Future[Any] | None) -> bool:
    return future is not None and not future.done()


# Two threads and a channel


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


@pytest.mark.parametrize("seed", SEEDS)
def test_the_figure_of_two_threads_shows_what_a_real_channel_does(page: Page, seed: int) -> None:
    kinds: dict[str, list[str] | None] = {"Send": None, "Receive": None, "Close": None, "capacity": ["0", "1", "3"]}
    often = {**kinds, "Send ": None, "Receive ": None}  # so that not every other step begins anew
    steps = [(label.strip(), value) for label, value in sequence(seed, often, ("capacity", str(seed % 4)))]
    real = TwoThreads()
    seen = []
    for step, shown in zip(steps, drive(page, "channel-figure", CHANNEL, steps), strict=True):
        said = shown.pop("said")
        match step:
            case "capacity", value:
                real.begin(int(str(value)))
                raised = False
            case name, _:
                raised = getattr(real, name.lower())()
        assert (step, shown) == (step, real.reading())
        assert (step, "raises Closed" in said) == (step, raised)
        seen.append(shown)
    real.end()
    assert {"asleep", "runs"} == {shown["sender"] for shown in seen} | {shown["receiver"] for shown in seen}


# A select with several cases ready


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


@pytest.mark.parametrize("seed", SEEDS)
def test_the_figure_of_a_select_shows_what_a_real_select_does(
    page: Page, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    buttons = ("select", "Put one into a", "Put one into b", "Take one out of c", "Choose 300 times", "select ")
    kinds: dict[str, list[str] | None] = {**dict.fromkeys(buttons), "default": ["no", "no", "yes"]}
    random_steps = sequence(seed, kinds, ("default", "no"))
    steps: list[Step] = [("Start again", None), *((label.strip(), value) for label, value in random_steps)]
    steps += [("default", "no"), *[("select", None)] * 8, ("Take one out of c", None)]  # it sleeps, and wakes
    real = Selecting(monkeypatch)
    slept = False
    for step, shown in zip(steps, drive(page, "select-figure", SELECT, steps), strict=True):
        del shown["said"]
        chosen = shown.pop("chosen")
        real.wanted = shown["returned"]
        match step:
            case "select", _:
                real.select()
            case "Put one into a", _:
                real.put(real.a)
            case "Put one into b", _:
                real.put(real.b)
            case "Take one out of c", _:
                real.take()
            case "default", value:
                real.default = value == "yes"
            case "Choose 300 times", _:
                ready = sum(shown["ready"])
                fair = 300 / ready if ready else 0
                assert sum(chosen) == (300 if ready else 0)
                for is_ready, times in zip(shown["ready"], chosen, strict=True):
                    assert abs(times - fair * is_ready) < 60  # seven times the standard deviation
        assert (step, shown) == (step, real.reading())
        slept = slept or shown["asleep"]
    assert slept
    assert not is_asleep(real.selecting)


# The convoy against the run queue


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

    def speak(self) -> None:
        self.outboxes[-1].urgent = True
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


@pytest.mark.parametrize("seed", SEEDS)
def test_the_figure_of_the_convoy_shows_what_real_run_queues_and_outboxes_do(page: Page, seed: int) -> None:
    buttons = ("A client speaks", "A client speaks ", "One pump runs", "One pump runs ", "One pump runs  ", "All run")
    random_steps = sequence(seed, dict.fromkeys(buttons), ("clients", str(2 + seed)))
    steps: list[Step] = [(label.strip(), value) for label, value in random_steps]
    crowds = {"left": Pumps(2 + seed, NoRunQueue), "right": Pumps(2 + seed, RunQueue)}
    for step, shown in zip(steps, drive(page, "turns-figure", TURNS, steps), strict=True):
        del shown["said"]
        for crowd in crowds.values():
            match step[0]:
                case "A client speaks":
                    crowd.speak()
                case "One pump runs":
                    crowd.run()
                case "All run":
                    crowd.run_all()
        assert (step, shown) == (step, {side: crowd.reading() for side, crowd in crowds.items()})
    for crowd in crowds.values():
        crowd.end()


# A client's buffer against the talk of the room


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


@pytest.mark.parametrize("seed", SEEDS)
def test_the_figure_of_the_room_shows_what_a_real_hub_and_outbox_do(page: Page, seed: int) -> None:
    quarters = {"A quarter of a second" + " " * number: None for number in range(8)}
    talk = {"messages each time": ["0", "1", "3", "8"], "the client": ["quick", "slow", "never"]}
    first = ("room in the buffer", str(1 + 2 * seed))
    begin, *random_steps = sequence(seed, {**quarters, **talk, "room in the buffer": ["1", "4", "13"]}, first)
    steps: list[Step] = [begin, ("messages each time", "3"), ("the client", "slow")]
    steps += [(label.strip(), value) for label, value in random_steps]
    real = Quarters(8)
    for step, shown in zip(steps, drive(page, "room-figure", ROOM, steps), strict=True):
        said = shown.pop("said")
        match step:
            case "A quarter of a second", _:
                real.step()
            case "messages each time", value:
                real.talk = int(str(value))
            case "the client", value:
                real.pace = {"quick": 1, "slow": 4, "never": float("inf")}[str(value)]
            case _, value:
                real.begin(int(str(value)))
        assert (step, shown) == (step, real.room.reading())
        assert ("evicts" in said) <= (shown["pump"] == "evicted")
    real.room.end()


@pytest.mark.parametrize(("capacity", "evicted"), [(11, True), (12, False)])
def test_the_answer_to_the_guides_question_is_twelve(page: Page, capacity: int, evicted: bool) -> None:
    """The room says three messages in a quarter of a second, and a client takes a second for a frame."""
    steps: list[Step] = [("messages each time", "3"), ("the client", "slow"), ("room in the buffer", str(capacity))]
    shown = drive(page, "room-figure", ROOM, steps + [("A quarter of a second", None)] * 100)
    assert (shown[-1]["pump"] == "evicted") == evicted
    assert shown[-1]["heard"] == 300
