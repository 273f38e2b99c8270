"""Waiting for a condition, threads, a clock that goes when it is told, and what a thread executes."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from types import CodeType, FrameType
from typing import Any, TypeVar

from threadchat.websocket.connection import ConnectionClosed

T = TypeVar("T")

LIMIT = 60.0  # seconds; bounds a failure, nothing waits for it to pass
FAR = 3600.0  # seconds; a deadline that no test reaches


def until(
    condition: Callable[[], object], what: str | Callable[[], str] = "the condition", limit: float = LIMIT
) -> None:
    """Return as soon as the condition holds; fail if it does not within the limit. `what` may be asked for then."""
    deadline = time.monotonic() + limit
    pause = threading.Event()
    while not condition():
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what if isinstance(what, str) else what()} did not come true within {limit:g} s")
        pause.wait(0.001)


def go(function: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
    """Go's `go` statement: call the function in a thread. The future has what it returned or raised."""
    future: Future[T] = Future()

    def body() -> None:
        try:
            value = function(*arguments, **named)
        except BaseException as raised:
            future.set_exception(raised)
        else:
            future.set_result(value)

    threading.Thread(target=body, daemon=True).start()
    return future


def run(function: Callable[[], object], *, harmless: tuple[type[Exception], ...] = ()) -> threading.Thread:
    """Start a thread that runs the function, and ignores ConnectionClosed and the errors in `harmless`."""

    def body() -> None:
        with suppress(ConnectionClosed, *harmless):
            function()

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def join(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive(), "the thread was not freed"


@contextmanager
def switching_often() -> Iterator[None]:
    """Make the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Observed:
    """A lock that sets an event when a thread has to wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.waited_for = threading.Event()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.waited_for.set()
            self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


class Clock:
    """Stands in for a module's `time`: it goes only when told. A sleep makes it go."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@contextmanager
def no_collector() -> Iterator[None]:
    """While the block runs, what only the garbage collector would free stays."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


def instructions(work: Callable[[], object]) -> int:
    """How many bytecode instructions the interpreter executes in this thread while it calls `work`.

    The number depends on the interpreter's version: compare it only with others of the same run.
    """
    executed = 0
    if sys.version_info >= (3, 12):  # where a trace function no longer sees the instructions of every frame
        thread = threading.get_ident()

        def count(code: CodeType, offset: int) -> None:
            nonlocal executed
            executed += threading.get_ident() == thread

        monitoring, tool = sys.monitoring, 3  # the lowest number that neither a debugger nor coverage uses
        monitoring.use_tool_id(tool, "instructions")
        monitoring.register_callback(tool, monitoring.events.INSTRUCTION, count)
        monitoring.set_events(tool, monitoring.events.INSTRUCTION)
        try:
            work()
        finally:
            monitoring.set_events(tool, 0)
            monitoring.register_callback(tool, monitoring.events.INSTRUCTION, None)
            monitoring.free_tool_id(tool)
        return executed

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal executed
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        executed += event == "opcode"
        return trace

    before = sys.gettrace()  # coverage's
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return executed
