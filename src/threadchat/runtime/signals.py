"""How the stop signals reach a command: as numbers that it waits for, or as exceptions that interrupt it.

The program holds them from its first moment (see `hold`); here they are let through, and held again afterwards. Windows
cannot hold signals, and there this is skipped. Only the main thread may call what is here.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

from threadchat.runtime.hold import STOP_SIGNALS, obeyed
from threadchat.runtime.threads import NoThread, go

T = TypeVar("T")

SAME_STOP = 0.5  # seconds in which a second signal belongs to the first: a terminal and `timeout` may both send one
INTERRUPTED = 128 + signal.SIGINT  # the exit status of a program that Ctrl-C has ended, as shells have it
_OVER = b"\0"  # what wakes the main thread when there is nothing more to wait for; no signal has this number


def status_before_start(number: int) -> int:
    """The exit status of a server that this signal has stopped before it listened.

    Ctrl-C ends it like any other program. After SIGTERM and SIGHUP it has stopped in order, since it had no client yet.
    """
    return INTERRUPTED if number == signal.SIGINT else 0


@contextmanager
def interrupting() -> Iterator[None]:
    """Let the stop signals end the `with` block: SIGINT by KeyboardInterrupt, the others by SystemExit."""
    with _handled((number for number in obeyed() if number != signal.SIGINT), _exit):
        yield


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Receive the stop signals during the `with` block. SIGHUP stays ignored where it is, as after `nohup`.

    A handler in Python may run just before the main thread falls asleep, and would not wake it. So the main thread
    sleeps in a read from a socket, to which the interpreter writes each signal's number at once (signal.set_wakeup_fd).
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        numbers = obeyed()
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            with _handled(numbers, _nothing):
                yield StopSignals(reader, writer, numbers)
        finally:
            signal.set_wakeup_fd(before)


class StopSignals:
    """The stop signals that come; `stop_signals` makes it."""

    def __init__(self, reader: socket.socket, writer: socket.socket, numbers: Collection[int]) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = numbers

    def came(self) -> int | None:
        """The number of a signal that has come already, if one has."""
        self._reader.setblocking(False)
        try:
            return self._next()
        except BlockingIOError:
            return None
        finally:
            self._reader.setblocking(True)

    def wait(self) -> int:
        """Wait for a signal and return its number."""
        return self._next()

    def stop(self, work: Callable[[], T]) -> T:
        """Call `work` in a thread, and return what it returns. A signal that comes meanwhile ends the process at once.

        A signal that comes within SAME_STOP belongs to the one before, and does nothing. Where the system has no more
        threads, `work` is called in this one, and no signal does anything.
        """
        return self._meanwhile("stop", work, _end_at_once)

    def drain(self, work: Callable[[], T], cut: Callable[[], object]) -> T:
        """The same, but a signal that comes meanwhile calls `cut`, which is to let `work` return soon."""
        return self._meanwhile("drain", work, lambda number: cut())

    def _meanwhile(self, role: str, work: Callable[[], T], on_signal: Callable[[int], object]) -> T:
        same_until = time.monotonic() + SAME_STOP
        done: list[T] = []
        failed: list[BaseException] = []

        def body() -> None:
            try:
                done.append(work())
            except BaseException as error:
                failed.append(error)
            with suppress(BlockingIOError):  # there is so much to read that the main thread wakes anyway
                self._writer.send(_OVER)

        try:
            thread = go(body, role)
        except NoThread:
            return work()
        while not done and not failed:
            number = self._reader.recv(1)[0]
            if number in self._numbers and time.monotonic() >= same_until:
                on_signal(number)
        thread.join()
        if failed:
            raise failed[0]
        return done[0]

    def _next(self) -> int:
        while (number := self._reader.recv(1)[0]) not in self._numbers:
            pass  # another handler's
        return number


@contextmanager
def _handled(numbers: Iterable[int], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Handle these signals, and hold no stop signal, during the `with` block."""
    can_hold = hasattr(signal, "pthread_sigmask")
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if can_hold else set()
    handlers = {number: signal.signal(number, handler) for number in numbers}
    try:
        if can_hold:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        yield
    finally:
        if can_hold:  # first, so that a signal that comes from now on is held again
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        for number, before in handlers.items():
            signal.signal(number, before)


def _nothing(number: int, frame: Any) -> None:
    """Keep the signal's default action from being taken."""


def _exit(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _end_at_once(number: int) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)  # the first process of a container does not take a signal's default action
