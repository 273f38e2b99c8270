"""Timers: what is due is called once, in its order, and nothing after the stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from helpers import FAR, until

from threadchat.runtime.timers import Timers


@pytest.fixture
def timers() -> Iterator[Timers]:
    made = Timers()
    yield made
    made.stop()


def test_the_thread_starts_with_the_first_timer(timers: Timers) -> None:
    assert timers._thread is None
    timers.after(FAR, lambda: None)
    assert timers._thread is not None


def test_functions_are_called_in_the_order_in_which_they_are_due(timers: Timers) -> None:
    called: list[str] = []
    timers.after(FAR, lambda: called.append("never"))
    timers.after(1.0, lambda: called.append("second"))
    timers.after(0.01, lambda: called.append("first"))
    until(lambda: called == ["first", "second"])


def test_a_function_that_fails_is_logged_and_the_next_one_is_called(
    timers: Timers, caplog: pytest.LogCaptureFixture
) -> None:
    called = threading.Event()
    timers.after(0, lambda: 1 / 0)
    timers.after(0, called.set)
    until(called.is_set)
    assert "ZeroDivisionError" in caplog.text


def test_a_function_may_set_the_next_timer(timers: Timers) -> None:
    called = threading.Event()
    timers.after(0, lambda: timers.after(0, called.set))
    until(called.is_set)


def test_nothing_is_called_after_a_stop(timers: Timers) -> None:
    called: list[int] = []
    timers.after(FAR, lambda: called.append(1))
    timers.stop()
    timers.after(0, lambda: called.append(2))
    timers.stop()
    assert not called
    assert timers._thread is not None
    assert not timers._thread.is_alive()


def test_a_thread_that_cannot_be_started_is_tried_again_with_the_next_timer(
    timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        timers.after(0, lambda: called.append("first"))
    timers.after(0, lambda: called.append("second"))
    until(lambda: called == ["first", "second"])


def test_only_a_function_that_is_due_before_the_others_wakes_the_thread() -> None:
    """Thousands of clients that leave at once set a timer each."""
    timers = Timers()
    timers._thread = threading.main_thread()  # which receives nothing
    timers.after(FAR, lambda: None)
    assert timers._changed.take_pending() == [None]
    for _ in range(3):
        timers.after(2 * FAR, lambda: None)
    assert timers._changed.take_pending() == []
    timers.after(FAR / 2, lambda: None)
    assert timers._changed.take_pending() == [None]
