"""Go's `go` statement, for threads."""

from __future__ import annotations

import threading
from collections.abc import Callable


class NoThread(RuntimeError):
    """The system has no more threads, or no memory for one; str() says what was missing."""


def go(function: Callable[[], object], name: str) -> threading.Thread:
    """`go function()`: run the function in a thread of its own, named after its role, and return the thread.

    The thread is a daemon: as in Go, the program ends when its main function returns. Raises NoThread.
    """
    thread = threading.Thread(target=function, name=name, daemon=True)
    start(thread)
    return thread


def start(thread: threading.Thread) -> None:
    """Start a thread. Raises NoThread."""
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        raise NoThread(str(error) or "out of memory") from error
