"""What the tests of channels share: conditions to wait for, and locks that a test can watch or hold up."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import pytest
from helpers import LIMIT, go, until

from threadchat import channel as module
from threadchat.channel import Channel, Closed, Send

T = TypeVar("T")


# What a thread returned or raised


def result(future: Future[T]) -> T:
    return future.result(LIMIT)


def error(future: Future[Any]) -> BaseException | None:
    return future.exception(LIMIT)


def assert_closed(future: Future[Any], channel: Channel[Any]) -> None:
    """The thread raised Closed because of this channel."""
    raised = error(future)
    assert isinstance(raised, Closed)
    assert raised.channel is channel


# Channels in a certain state


def senders(channel: Channel[Any], count: int) -> None:
    """Wait until this many senders are parked."""
    until(lambda: channel.statistics().waiting_senders == count, f"{count} parked senders")


def receivers(channel: Channel[Any], count: int) -> None:
    """Wait until this many receivers are parked."""
    until(lambda: channel.statistics().waiting_receivers == count, f"{count} parked receivers")


def parked_senders(channel: Channel[T], *items: T) -> list[Future[None]]:
    """Start a thread for each item, which is parked sending it, in this order."""
    sending = []
    for item in items:
        sending.append(go(channel.send, item))
        senders(channel, len(sending))
    return sending


def filled(capacity: int, *items: T) -> Channel[T]:
    """A channel with these items in its buffer."""
    channel: Channel[T] = Channel(capacity)
    for item in items:
        channel.send_nowait(item)
    return channel


def closed(capacity: int = 0, *items: T) -> Channel[T]:
    """A closed channel with these items left in its buffer."""
    channel = filled(capacity, *items)
    channel.close()
    return channel


def nobody_in_line(*channels: Channel[Any]) -> bool:
    """Whether no thread stands in the lines, neither one that waits nor one that has stopped waiting."""
    return not any(channel._receivers or channel._senders for channel in channels)


# Locks


class Watched:
    """A lock that calls `before` in each thread that is about to take it."""

    def __init__(self, lock: Any, before: Callable[[], object]) -> None:
        self.lock = lock
        self.before = before

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self.before()
        return bool(self.lock.acquire(blocking, timeout))

    def release(self) -> None:
        self.lock.release()

    def locked(self) -> bool:
        return bool(self.lock.locked())

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()


class Pause:
    """The first thread that calls it is held up until `end`. The others pass."""

    def __init__(self) -> None:
        self._called = threading.Lock()
        self._reached = threading.Event()
        self._ended = threading.Event()

    def __call__(self) -> None:
        if self._called.acquire(blocking=False):
            self._reached.set()
            assert self._ended.wait(LIMIT)

    def reached(self) -> None:
        """Wait until a thread is held up."""
        assert self._reached.wait(LIMIT), "no thread came by"

    def end(self) -> None:
        self._ended.set()

    def __enter__(self) -> Pause:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()


def watch(channel: Channel[Any], before: Callable[[], object]) -> None:
    """From now on, each thread that is about to take the channel's mutex calls `before`."""
    with channel._mutex:
        lock: Any = Watched(channel._mutex, before)
    channel._mutex = lock


def takers(*channels: Channel[Any]) -> list[tuple[int, int]]:
    """A list that grows by (thread, place of the channel) whenever a thread is about to take a channel's mutex."""
    seen: list[tuple[int, int]] = []

    def noting(place: int) -> Callable[[], object]:
        return lambda: seen.append((threading.get_ident(), place))

    for place, channel in enumerate(channels):
        watch(channel, noting(place))
    return seen


def arrivals(seen: list[tuple[int, int]], count: int) -> None:
    """Wait until this many threads have come to a mutex, by what `takers` returned."""
    until(lambda: len({thread for thread, _ in seen}) == count, f"{count} threads that want the mutex")


def replace_locks(monkeypatch: pytest.MonkeyPatch, **replacements: Callable[[Any], Any]) -> None:
    """From now on, each thread that parks has other locks of these names: each replacement is given the real one."""

    class Parked(module._Parked):
        __slots__ = ()

        def __init__(self) -> None:
            super().__init__()
            for name, replacement in replacements.items():
                setattr(self, name, replacement(getattr(self, name)))

    monkeypatch.setattr(module, "_Parked", Parked)


class PassingDeadline(Watched):
    """In place of a parked thread's `_wake`: its deadline passes when the test says so, and no sooner."""

    passes: threading.Event

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if timeout < 0:
            return super().acquire()
        assert self.passes.wait(LIMIT)
        return False


def pause_in_wake(monkeypatch: pytest.MonkeyPatch, pause: Pause) -> Counter[module._Parked]:
    """The first thread that wakes a parked thread is held up before it does. Counts how often each is woken."""
    woken: Counter[module._Parked] = Counter()
    serve, refuse = module._Parked.serve, module._Parked.refuse

    def paused_serve(self: module._Parked, case: Channel[Any] | Send[Any], item: Any) -> None:
        woken[self] += 1
        pause()
        serve(self, case, item)

    def paused_refuse(self: module._Parked, case: Channel[Any] | Send[Any]) -> None:
        woken[self] += 1
        pause()
        refuse(self, case)

    monkeypatch.setattr(module._Parked, "serve", paused_serve)
    monkeypatch.setattr(module._Parked, "refuse", paused_refuse)
    return woken
