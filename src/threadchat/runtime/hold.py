"""Keeps the signals that stop the program pending, from its first moment until it is ready for them (see `signals`).

Then none is lost, and none ends it in a traceback. This imports as little as possible, so that the moment comes early.
"""

from __future__ import annotations

import signal

# Ctrl-C; what `kill` and process managers send; the terminal was closed; Windows' Ctrl-Break.
STOP_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)


def hold() -> None:
    """Keep the stop signals pending, also in the program that this process is replaced with (not on Windows).

    The first process of a container needs this most: the system drops a signal that it neither holds nor handles.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def ignore() -> None:
    """Let the stop signals do nothing from now on: the program is about to end, and its exit status is decided.

    To hold them is not enough. A thread that had let them through may live a moment longer than `Thread.join` waits,
    and would take one.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def held() -> int | None:
    """A stop signal that has come since `hold`, if there is one; SIGINT before the others."""
    if hasattr(signal, "sigpending"):
        pending = signal.sigpending()
        return next((number for number in obeyed() if number in pending), None)
    return None


def obeyed() -> list[int]:
    """The stop signals, without SIGHUP and SIGBREAK where they were ignored from the start, as after `nohup`.

    A shell without job control lets a program in the background ignore SIGINT, so that Ctrl-C does not reach it. This
    one obeys `kill -INT` all the same.
    """
    always = (signal.SIGINT, signal.SIGTERM)
    return [number for number in STOP_SIGNALS if number in always or signal.getsignal(number) is not signal.SIG_IGN]
