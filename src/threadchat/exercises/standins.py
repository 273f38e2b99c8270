"""What the learner's file gets for `threading` and `time`, and what the channels do meanwhile: all obey the schedule.

The names and the behaviour are those of the standard library; what an exercise does not need is not there.
"""

from __future__ import annotations

import builtins
import threading
import time
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from threadchat import channel as channel_module
from threadchat.channel import Channel
from threadchat.exercises.schedule import Failed, Task, schedule
from threadchat.runtime import threads as threads_module


class Thread(threading.Thread):
    """threading.Thread."""

    task: Task | None = None

    def start(self) -> None:
        self._schedule = schedule()
        self.task = self._schedule.add(self)
        super().start()

    def run(self) -> None:
        assert self.task
        self._schedule.life(self.task, super().run)

    def join(self, timeout: float | None = None) -> None:
        if self.task is None:
            raise RuntimeError("cannot join thread before it is started")
        if not self.task.ended:
            schedule().sleep(self.task, timeout)

    def is_alive(self) -> bool:
        return self.task is not None and not self.task.ended


class Lock:
    """threading.Lock. `holder` is the thread that has it."""

    def __init__(self) -> None:
        self.holder: Task | None = None

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        schedule().point()
        until = None if timeout < 0 else schedule().now + timeout
        while self.holder is not None:
            if not blocking:
                return False
            if not schedule().sleep(self, None if until is None else until - schedule().now):
                return False
        self.holder = schedule().current
        return True

    def release(self) -> None:
        if self.holder is None:
            raise RuntimeError("release unlocked lock")
        self.holder = None
        schedule().wake_all(self)

    def locked(self) -> bool:
        return self.holder is not None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class Condition:
    """threading.Condition."""

    def __init__(self, lock: Lock | None = None) -> None:
        self.lock = lock or Lock()
        self.acquire, self.release = self.lock.acquire, self.lock.release
        self._waiting: list[tuple[Task, object]] = []

    def __enter__(self) -> bool:
        return self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        me = schedule().current
        if self.lock.holder is not me or me is None:
            raise RuntimeError("cannot wait on un-acquired lock")
        self._waiting.append((me, object()))
        self.lock.release()
        woken = schedule().sleep(self, timeout)
        self._waiting = [each for each in self._waiting if each[0] is not me]
        self.lock.acquire()
        return woken

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        until = None if timeout is None else schedule().now + timeout
        while not predicate():
            if not self.wait(None if until is None else until - schedule().now):
                return predicate()
        return True

    def notify(self, n: int = 1) -> None:
        if self.lock.holder is not schedule().current:
            raise RuntimeError("cannot notify on un-acquired lock")
        for task, _ in self._waiting[:n]:
            schedule().wake(task)
        del self._waiting[:n]

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class Event:
    """threading.Event."""

    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        schedule().point()
        return self._set

    def set(self) -> None:
        self._set = True
        schedule().wake_all(self)

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        schedule().point()
        return self._set or schedule().sleep(self, timeout)


class Parked(channel_module._Parked):
    """A thread parked on a channel: it sleeps as the schedule has it."""

    __slots__ = ("task",)

    def __init__(self) -> None:
        super().__init__()
        self.task = schedule().current

    def serve(self, case: Any, item: Any) -> None:
        super().serve(case, item)
        self._rise()

    def refuse(self, case: Any) -> None:
        super().refuse(case)
        self._rise()

    def _rise(self) -> None:
        assert self.task
        schedule().wake(self.task)

    def sleep(self, channels: Sequence[Channel[Any]], timeout: float | None = None) -> tuple[Any, Any]:
        assert self.task
        self.task.on = list(channels)
        return super().sleep(channels, timeout)

    def _park(self, timeout: float | None) -> bool:
        if self.claimed():
            return self._wake.acquire()
        assert self.task
        if schedule().sleep(self, timeout, self.task.on):
            return self._wake.acquire()
        return not self.claim()


def install() -> None:
    """Let the channels and the `go` statement of this process obey the schedule. There is no way back."""
    real_select = channel_module.select

    def select(*cases: Any, default: bool = False, timeout: float | None = None) -> tuple[Any, Any]:
        schedule().point()
        for case in cases:
            if isinstance(case, channel_module.Send):
                schedule().use(case.channel, "send")
            elif case is not None:
                schedule().use(case, "receive")
        return real_select(*cases, default=default, timeout=timeout)

    for name, operation in {
        "send": "send",
        "send_nowait": "send",
        "send_what_fits": "send",
        "receive": "receive",
        "take_pending": "receive",
        "close": "close",
    }.items():
        setattr(Channel, name, _noted(getattr(Channel, name), operation))
    setattr(channel_module, "_Parked", Parked)  # noqa: B010
    setattr(channel_module, "select", select)  # noqa: B010
    setattr(threads_module, "threading", types.SimpleNamespace(Thread=Thread))  # noqa: B010


def _noted(method: Callable[..., Any], operation: str) -> Callable[..., Any]:
    def noted(self: Channel[Any], *arguments: Any, **named: Any) -> Any:
        schedule().point()
        schedule().use(self, operation)
        return method(self, *arguments, **named)

    noted.__name__ = method.__name__
    noted.__doc__ = method.__doc__
    return noted


def _sleep(seconds: float) -> None:
    schedule().sleep("time", seconds)


def _now() -> float:
    return schedule().now


_MEMBERS: dict[str, dict[str, Any]] = {
    "threading": {
        "Thread": Thread,
        "Lock": Lock,
        "Condition": Condition,
        "Event": Event,
        "current_thread": threading.current_thread,
        "get_ident": threading.get_ident,
    },
    "time": {"sleep": _sleep, "monotonic": _now, "time": _now, "perf_counter": _now},
}
_MODULES = {name: types.ModuleType(name, f"{name}, as the check has it") for name in _MEMBERS}


COUNTERS = {"Semaphore", "BoundedSemaphore", "Barrier"}  # an exercise makes one of channels


def _missing(module: str) -> Callable[[str], object]:
    def missing(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in COUNTERS:
            raise Failed(f"The exercises do not need `{module}.{name}`: a channel does what it does.")
        known = ", ".join(sorted(_MEMBERS[module]))
        raise Failed(f"The exercises do not need `{module}.{name}`. Of {module} the check knows {known}.")

    return missing


for _name, _members in _MEMBERS.items():
    vars(_MODULES[_name]).update(_members, __getattr__=_missing(_name))

STRANGERS = {"asyncio", "queue", "multiprocessing", "concurrent", "_thread", "subprocess", "signal", "socket", "select"}


def _import(name: str, *arguments: Any, **named: Any) -> Any:
    """`import`, for the learner's file."""
    if name in _MODULES:
        return _MODULES[name]
    if name.partition(".")[0] in STRANGERS:
        raise Failed(f"The exercises need neither `{name}` nor what it offers: use the channels.")
    return builtins.__import__(name, *arguments, **named)


def namespace(file: str, write: Callable[..., None]) -> dict[str, Any]:
    """The names that the learner's file finds: `import` and `print` are the check's."""
    own: Mapping[str, Any] = vars(builtins) | {"__import__": _import, "print": write}
    return {"__name__": "exercise", "__file__": file, "__builtins__": dict(own)}


now = time.monotonic  # the real one, for the check itself
