"""Go's `go` statement, for threads."""

from __future__ import annotations

import threading
from collections.abc import Callable


def go(function: Callable[[], object], name: str) -> threading.Thread:
    """`go function()`: run the function in a thread of its own, named after its role, and return the thread.

    The thread is a daemon: as in Go, the program ends when its main function returns. Raises RuntimeError or
    MemoryError if the system has no more threads.
    """
    thread = threading.Thread(target=function, name=name, daemon=True)
    thread.start()
    return thread
