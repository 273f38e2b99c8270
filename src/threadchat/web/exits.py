"""The end of the process: a chat that is still open is closed, so that its clients are told and its threads end.

An application that mounts a chat need not do it. The process may end in three ways:

- The main thread returns or raises, as at Ctrl-C in `flask run` and `site.run()`. Python waits for the threads that are
  no daemons, a server among them perhaps; then it calls what `atexit` has. The clients' threads are still alive.
- A worker of gunicorn is told to stop, or its master has gone. It accepts no more requests, waits for those that it has
  for --graceful-timeout (30 seconds), and then for its threads, until it is killed. A WebSocket does not end by itself.
- A signal without a handler (SIGTERM in `flask run`) ends the process at once. There is nothing to do.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from functools import cache, partial
from typing import Any, Protocol
from weakref import WeakSet

from threadchat.runtime.threads import go

LOOK_EVERY = 0.5  # seconds from one look at gunicorn's worker to the next


class Closable(Protocol):
    """A chat. `close` may be called again, and by several threads."""

    def close(self) -> None: ...


_open: WeakSet[Closable] = WeakSet()
_mutex = threading.Lock()  # guards the set


def opened(chat: Closable) -> None:
    """Close this chat before the process ends, unless somebody has closed it by then. Any thread may call it."""
    with _mutex:
        _open.add(chat)
    _watch_gunicorn()


def closed(chat: Closable) -> None:
    """Forget this chat. Any thread may call it."""
    with _mutex:
        _open.discard(chat)


@cache
def gunicorn_worker() -> Any:
    """The worker of gunicorn that this process is, or None.

    gunicorn does not hand it over, but its signal handlers are methods of it.
    """
    worker = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return worker if any(base.__module__ == "gunicorn.workers.base" for base in type(worker).__mro__) else None


@cache
def _watch_gunicorn() -> None:
    worker = gunicorn_worker()
    if worker is not None:
        go(partial(_close_when_it_stops, worker), "gunicorn")


def _close_when_it_stops(worker: Any) -> None:
    """Runs in a thread of its own. There is nothing to wait on: gunicorn tells only its own settings file."""
    while worker.alive and worker.ppid == os.getppid():
        time.sleep(LOOK_EVERY)
    _close_all()


@atexit.register
def _close_all() -> None:
    with _mutex:
        chats = list(_open)
    for chat in chats:
        chat.close()
