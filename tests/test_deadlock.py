"""The detector of deadlocks and leaks, as a test of a program with channels uses it."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from helpers import LIMIT, until

from threadchat import deadlock as module
from threadchat.channel import Channel, Send, select
from threadchat.deadlock import Deadlock, Detector, deadlock, leaks
from threadchat.waits import Sleeper

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(autouse=True)
def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the threads of the test runner: a worker of pytest-xdist has one, which waits for a socket."""
    others = set(sys._current_frames()) - {threading.get_ident()}
    threads = module._threads
    monkeypatch.setattr(module, "_threads", lambda: threads() - others)


def start(function: Callable[[], Any], name: str) -> threading.Thread:
    thread = threading.Thread(target=function, name=name, daemon=True)
    thread.start()
    return thread


def receivers(channel: Channel[Any], count: int = 1) -> None:
    until(lambda: channel.statistics().waiting_receivers == count)


def by_thread(error: Deadlock) -> dict[str, Sleeper]:
    return {sleeper.thread: sleeper for sleeper in error.sleepers}


def detected(body: Callable[[], object]) -> Deadlock:
    """Run the body with a detector, and return what it raises."""
    with pytest.raises(Deadlock) as raised, Detector():
        body()
    return raised.value


def test_a_thread_that_waits_for_itself_is_a_deadlock_and_is_raised_where_it_waits() -> None:
    done: Channel[int] = Channel()
    with pytest.raises(Deadlock) as raised, Detector():
        done.send(1 + 2)
    (sleeper,) = raised.value.sleepers
    assert (sleeper.thread, sleeper.code) == ("MainThread", "done.send(1 + 2)")
    assert (sleeper.waits, sleeper.go) == ("sends to `done`", "done <- 1 + 2")
    assert str(raised.value).startswith("all threads are asleep: deadlock\nMainThread: ")
    assert raised.traceback[-1].name == "channel", "it is raised in the statement itself, by the detector's trap"
    assert done.statistics().waiting_senders == 0


def test_each_thread_of_a_deadlock_is_named_with_its_line_its_channel_and_the_go_statement() -> None:
    orders: Channel[str] = Channel()
    dishes: Channel[str] = Channel()

    def cook() -> None:
        for order in orders:
            dishes.send(order)

    def porter() -> None:
        select(dishes_back, Send(dishes, "plate"), Send(plates, "plate"))

    dishes_back: Channel[str] = Channel()
    plates: Channel[str] = Channel()
    threads: list[threading.Thread] = []

    def everybody() -> None:
        threads.extend([start(cook, "cook"), start(porter, "porter")])
        receivers(orders)
        receivers(dishes_back)
        orders.send("soup")
        until(lambda: dishes.statistics().waiting_senders == 2)
        orders.receive()

    seen = by_thread(detected(everybody))
    assert seen["cook"].go == "dishes <- order"
    assert seen["MainThread"].go == "<-orders"
    assert seen["porter"].waits == "selects: receive from `dishes_back`, or send to `dishes`, or send to `plates`"
    assert seen["porter"].go == "select { case <-dishes_back: case dishes <- x: case plates <- x: }"
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive(), "a thread that is reported raises, and so ends"


def test_a_join_of_a_thread_that_sleeps_for_ever_is_part_of_the_deadlock() -> None:
    class Desk:
        def __init__(self) -> None:
            self.letters: Channel[str] = Channel()

        def run(self) -> None:
            for _ in self.letters:
                pass

    desk = Desk()
    with pytest.raises(Deadlock) as raised, Detector():
        start(desk.run, "clerk").join()
    seen = by_thread(raised.value)
    assert seen["MainThread"].waits == "waits for the end of the thread clerk"
    assert seen["clerk"].go == "for x := range letters"
    assert seen["clerk"].waits == "receives from `letters`"


def test_a_thread_that_waits_for_an_event_sleeps_too() -> None:
    event = threading.Event()
    threads: list[threading.Thread] = []

    def wait() -> None:
        threads.append(start(event.wait, "waiter"))
        Channel().receive()

    try:
        assert by_thread(detected(wait))["waiter"].waits == "waits for a Condition"
    finally:
        event.set()
        threads[0].join(LIMIT)


def test_a_timeout_that_will_pass_is_no_deadlock() -> None:
    never: Channel[int] = Channel()
    with Detector(), pytest.raises(TimeoutError):
        never.receive(timeout=0.2)


def test_threads_that_serve_each_other_are_no_deadlock() -> None:
    there: Channel[int] = Channel()
    back: Channel[int] = Channel()

    def echo() -> None:
        for item in there:
            back.send(item)

    with Detector():
        thread = start(echo, "echo")
        for number in range(3_000):
            there.send(number)
            assert back.receive() == number
        there.close()
        thread.join()


def test_threads_that_start_and_end_all_the_time_are_no_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that starts another, or waits for its end, sleeps for a moment while that one is not to be seen yet."""
    monkeypatch.setattr(module, "LOOK_EVERY", 0.0)
    idle: Channel[int] = Channel()
    receiver = start(lambda: list(idle), "idle")
    with Detector():
        for _ in range(500):
            start(lambda: None, "short").join()
    idle.close()
    receiver.join(LIMIT)


def test_a_look_leaves_nothing_to_the_garbage_collector() -> None:
    idle: Channel[int] = Channel()
    receiver = start(lambda: list(idle), "idle")
    receivers(idle)
    gc.collect()
    gc.disable()
    try:
        assert not leaks()
        assert deadlock()
        frames = [each for each in gc.get_objects() if isinstance(each, FrameType)]
        assert not [each for each in frames if each.f_code.co_filename == module.__file__]
    finally:
        gc.enable()
        idle.close()
        receiver.join(LIMIT)


def test_a_test_that_sleeps_for_ever_beside_running_threads_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_DEEPLY", 2)
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.01):
            pass

    worker = start(work, "worker")
    try:
        error = detected(lambda: Channel().receive())
    finally:
        ended.set()
        worker.join(LIMIT)
    assert "no running thread can reach" in str(error)
    assert list(by_thread(error)) == ["MainThread"]


def test_a_thread_that_was_there_before_is_neither_reported_nor_woken() -> None:
    idle: Channel[int] = Channel()
    receiver = start(lambda: list(idle), "idle")
    receivers(idle)
    error = detected(lambda: Channel().receive())
    assert list(by_thread(error)) == ["MainThread"]
    assert idle.statistics().waiting_receivers == 1
    idle.close()
    receiver.join(LIMIT)


def leave_a_sender() -> threading.Thread:
    answers: Channel[str] = Channel()
    thread = start(lambda: answers.send("late"), "server")
    until(lambda: answers.statistics().waiting_senders == 1)
    return thread


def test_a_thread_parked_on_a_channel_that_no_running_thread_can_reach_is_leaked() -> None:
    threads: list[threading.Thread] = []

    def leave() -> None:
        threads.append(leave_a_sender())
        assert [leak.thread for leak in leaks()] == ["server"]

    error = detected(leave)
    assert "no running thread can reach" in str(error)
    (sleeper,) = error.sleepers
    assert (sleeper.thread, sleeper.go) == ("server", "answers <- 'late'")
    threads[0].join(LIMIT)
    assert not threads[0].is_alive()


HELD: list[object] = []


@pytest.mark.parametrize("how", ["local", "global", "attribute", "closure", "in flight", "generator"])
def test_a_thread_is_not_leaked_while_a_running_thread_can_reach_its_channel(how: str) -> None:
    channel: Channel[int] = Channel()
    thread = start(lambda: channel.receive(), "receiver")
    receivers(channel)
    holder: Any = None
    if how == "attribute":
        holder = type("Holder", (), {})()
        holder.kept = {"deep": [channel]}
    elif how == "closure":
        holder = lambda: channel  # noqa: E731
    elif how == "in flight":
        holder = Channel(1)
        holder.send(channel)
    elif how == "generator":
        holder = (item for item in channel)
    elif how == "global":
        HELD.append(channel)
    elif how == "local":
        holder = channel
    try:
        assert leaks() == []
    finally:
        HELD.clear()
        channel.close()
        thread.join(LIMIT)


def test_a_thread_is_not_leaked_while_a_parked_thread_that_can_be_woken_can_reach_its_channel() -> None:
    first: Channel[int] = Channel()

    def chain() -> threading.Thread:
        second: Channel[int] = Channel()

        def relay() -> None:
            first.receive()
            second.send(1)

        start(relay, "relay")
        thread = start(lambda: second.receive(), "end of the chain")
        receivers(second)
        return thread

    thread = chain()
    receivers(first)
    assert leaks() == []
    first.send(1)
    thread.join(LIMIT)
    assert not thread.is_alive()


def test_two_leaked_threads_that_know_only_each_other_are_both_found() -> None:
    def pair() -> list[threading.Thread]:
        left: Channel[int] = Channel()
        right: Channel[int] = Channel()

        def ask(own: Channel[int], other: Channel[int]) -> None:
            own.receive()
            other.send(1)

        threads = [start(lambda: ask(left, right), "left"), start(lambda: ask(right, left), "right")]
        receivers(left)
        receivers(right)
        return threads

    with pytest.raises(Deadlock) as raised, Detector():
        threads = pair()
    assert sorted(by_thread(raised.value)) == ["left", "right"]
    for thread in threads:
        thread.join(LIMIT)


def test_deadlock_leaves_out_the_calling_thread() -> None:
    channel: Channel[int] = Channel()
    assert deadlock() == []
    thread = start(lambda: channel.receive(), "receiver")
    until(lambda: [sleeper.thread for sleeper in deadlock()] == ["receiver"])
    channel.close()
    thread.join(LIMIT)


def test_a_select_over_nothing_is_leaked_wherever_it_is() -> None:
    threads: list[threading.Thread] = []

    def begin() -> None:
        threads.append(start(lambda: select(None), "nothing"))
        until(lambda: leaks() != [])

    assert by_thread(detected(begin))["nothing"].go == "select {}"
    threads[0].join(LIMIT)


TESTS = """
import threading

import pytest

from threadchat.channel import Channel
from threadchat.deadlock import Detector


@pytest.fixture(autouse=True)
def no_thread_sleeps_for_ever():
    with Detector():
        yield


def test_that_leaks():
    answers = Channel()
    threading.Thread(target=lambda: answers.send("late"), name="server", daemon=True).start()


def test_that_deadlocks():
    Channel().receive()


def test_that_is_right():
    answers = Channel(1)
    thread = threading.Thread(target=lambda: answers.send("soon"))
    thread.start()
    assert answers.receive() == "soon"
    thread.join()
"""


def test_as_a_fixture_it_finds_what_a_test_leaves_behind(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)
    assert "ERROR test_it.py::test_that_leaks" in done.stdout, done.stdout
    assert "answers <- 'late'" in done.stdout
    assert "FAILED test_it.py::test_that_deadlocks - threadchat.deadlock.Deadlock: all" in done.stdout
    assert "1 failed, 2 passed" in done.stdout
    assert "test_that_is_right" not in done.stdout
