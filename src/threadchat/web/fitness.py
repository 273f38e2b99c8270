"""May this WSGI server carry a chat? It needs real threads, the socket of each WebSocket, and one process or a store.

| what is missing                         | where                                                          |
| --------------------------------------- | -------------------------------------------------------------- |
| the process in which the chat was made  | gunicorn --preload, os.fork                                    |
| real threads                            | gevent and eventlet, which replace them                        |
| the socket                              | waitress, cheroot, uvicorn, a2wsgi, wsgiref, mod_wsgi, uWSGI   |
| more than one thread                    | gunicorn's sync worker, or gthread without --threads;          |
|                                         | werkzeug's server with threaded=False                          |
| a store that several processes share    | gunicorn --workers 2 without --store redis://...               |
"""

from __future__ import annotations

import _thread
import os
import queue
import select
import socket
from typing import TYPE_CHECKING

from threadchat.web.exits import gunicorn_worker

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

WORKS = (
    "threadchat serve, Flask's and werkzeug's own server with threads, or gunicorn --worker-class gthread --workers 1 "
    "--threads 100 without --preload; with a store that is shared (redis://...), any number of workers"
)
REPLACED = "The chat needs real threads, and gevent or eventlet has replaced them"
SOCKETS = ("werkzeug.socket", "gunicorn.socket")  # in which a server hands over the socket


class Fitness:
    """What a chat needs of the server that calls it.

    Made together with the chat, and in the same thread. Raises RuntimeError, with a sentence, where no server would do.
    `shared` is whether the chat has a store that several processes share.
    """

    def __init__(self, shared: bool = False) -> None:
        if _replaced():
            raise RuntimeError(_sentence(REPLACED))
        self._process = os.getpid()
        self._shared = shared
        worker = gunicorn_worker()
        self._one_thread = worker is not None and worker.cfg.threads == 1  # which the first client would keep

    @property
    def forked(self) -> bool:
        """Whether this is a copy that a fork has made: the chat's threads have stayed behind."""
        return os.getpid() != self._process

    def problem(self, environ: WSGIEnvironment) -> str:
        """Why the server of this request cannot carry the chat, and which ones can, as a sentence; "" if it can."""
        why = self._why_not(environ)
        return _sentence(why) if why else ""

    def _why_not(self, environ: WSGIEnvironment) -> str:
        if self.forked:
            return "The chat was made before this process was forked, and a fork leaves its threads behind"
        if _replaced():
            return REPLACED
        if not any(name in environ for name in SOCKETS):
            return "The chat needs the sockets of its clients, and this WSGI server does not hand them over"
        if not environ.get("wsgi.multithread") or self._one_thread:
            return "The chat needs a thread for each client, and this WSGI server serves one request at a time"
        if environ.get("wsgi.multiprocess") and not self._shared:
            return "The chat is one process, and this WSGI server has several, each of which would be a chat of its own"
        return ""


def _sentence(why: str) -> str:
    return f"{why}. What works: {WORKS}."


def _replaced() -> bool:
    """Whether something has put its own functions in the place of Python's (monkey patching)."""
    own = {"_thread": _thread.start_new_thread, "queue": queue.Queue, "select": select.select, "socket": socket.socket}
    return any(part.__module__ != module for module, part in own.items())
