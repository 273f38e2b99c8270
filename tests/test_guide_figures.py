"""The guide's figures against the real thing: after the same random steps, page and threads show the same states."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from figures import Pumps, Quarters, Reading, Selecting, TwoThreads, is_asleep
from helpers import Running
from playwright.sync_api import Browser, Page

from threadchat.runtime.runqueue import RunQueue

Step = tuple[str, str | None]  # a button; or the label of another control, and its new value

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


class NoRunQueue(RunQueue):
    """No queue and no turns: a thread that becomes ready is woken at once."""

    def ready(self, wake: Callable[[], None], urgent: bool = False) -> None:
        wake()

    def next(self) -> None:
        pass


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


@pytest.fixture
def at_the_end() -> Iterator[ExitStack]:
    """Ends the threads of a test, also if the test fails."""
    with ExitStack() as stack:
        yield stack


def drive(page: Page, figure: str, read: str, steps: list[Step]) -> list[Reading]:
    """Do the steps on the page. Returns what the figure showed after each."""
    readings: list[Reading] = page.locator(f"#{figure}").evaluate(DRIVE.replace("READ", read), steps)
    return readings


def press(*labels: str) -> list[Step]:
    return [(label, None) for label in labels]


def turn(label: str, *values: str) -> list[Step]:
    """Give another control a value: a step for each."""
    return [(label, value) for value in values]


def at_random(seed: int, often: list[Step], seldom: list[Step]) -> list[Step]:
    """A random sequence, three quarters of it from the first list."""
    chance = random.Random(seed)
    return [chance.choice(often if chance.random() < 0.75 else seldom) for _ in range(STEPS)]


# Two threads and a channel


@pytest.mark.parametrize("seed", SEEDS)
def test_the_figure_of_two_threads_shows_what_a_real_channel_does(page: Page, seed: int, at_the_end: ExitStack) -> None:
    seldom = [*press("Close"), *turn("capacity", "0", "1", "3")]
    steps = turn("capacity", str(seed % 4)) + at_random(seed, press("Send", "Receive"), seldom)
    real = TwoThreads()
    at_the_end.callback(real.end)
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
    assert {"asleep", "runs"} == {shown["sender"] for shown in seen} | {shown["receiver"] for shown in seen}


# A select with several cases ready


@pytest.mark.parametrize("seed", SEEDS)
def test_the_figure_of_a_select_shows_what_a_real_select_does(
    page: Page, seed: int, monkeypatch: pytest.MonkeyPatch, at_the_end: ExitStack
) -> None:
    often = press("select", "select", "Put one into a", "Put one into b", "Take one out of c")
    steps = press("Start again") + turn("default", "no")
    steps += at_random(seed, often, press("Choose 300 times") + turn("default", "no", "yes"))
    steps += turn("default", "no") + press("select") * 8 + press("Take one out of c")  # it sleeps, and wakes
    real = Selecting(monkeypatch)
    at_the_end.callback(real.end)
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


@pytest.mark.parametrize("seed", SEEDS)
def test_the_figure_of_the_convoy_shows_what_real_run_queues_and_outboxes_do(
    page: Page, seed: int, at_the_end: ExitStack
) -> None:
    often = press("The last client speaks", "The first client speaks", "One pump runs", "One pump runs")
    steps = turn("clients", str(2 + seed)) + at_random(seed, often, press("One pump runs", "All run"))
    crowds = {"left": Pumps(2 + seed, NoRunQueue), "right": Pumps(2 + seed, RunQueue)}
    for crowd in crowds.values():
        at_the_end.callback(crowd.end)
    for step, shown in zip(steps, drive(page, "turns-figure", TURNS, steps), strict=True):
        del shown["said"]
        for crowd in crowds.values():
            match step[0]:
                case "The last client speaks":
                    crowd.speak(crowd.outboxes[-1])
                case "The first client speaks":
                    crowd.speak(crowd.outboxes[0])
                case "One pump runs":
                    crowd.run()
                case "All run":
                    crowd.run_all()
        assert (step, shown) == (step, {side: crowd.reading() for side, crowd in crowds.items()})


# A client's buffer against the talk of the room


@pytest.mark.parametrize("seed", SEEDS)
def test_the_figure_of_the_room_shows_what_a_real_hub_and_outbox_do(
    page: Page, seed: int, at_the_end: ExitStack
) -> None:
    seldom = turn("messages each time", "0", "1", "3", "8") + turn("the client", "quick", "slow", "never")
    seldom += turn("room in the buffer", "4")
    steps = turn("room in the buffer", str(1 + seed)) + turn("messages each time", "8") + turn("the client", "quick")
    steps += press("A quarter of a second") * 3  # the hub waits for the client
    steps += at_random(seed, press("A quarter of a second"), seldom)
    real = Quarters(8)
    at_the_end.callback(lambda: real.room.end())
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


@pytest.mark.parametrize(("capacity", "evicted"), [(11, True), (12, False)])
def test_the_answer_to_the_guides_question_is_twelve(page: Page, capacity: int, evicted: bool) -> None:
    """The room says three messages in a quarter of a second, and a client takes a second for a frame."""
    steps = turn("messages each time", "3") + turn("the client", "slow") + turn("room in the buffer", str(capacity))
    shown = drive(page, "room-figure", ROOM, steps + press("A quarter of a second") * 100)
    assert (shown[-1]["pump"] == "evicted") == evicted
    assert shown[-1]["heard"] == 300
