"""Is the chat alive, and does it take new clients? GET /livez and /readyz, for supervisors and load balancers.

    | request     | 200                             | 503                                                         |
    | ----------- | ------------------------------- | ----------------------------------------------------------- |
    | GET /livez  | the hub of each room answers    | one does not, or the log writer fails: only a restart helps |
    | GET /readyz | new clients are taken           | it drains, stops, has no log, or the WSGI server is unfit    |

Both answer everybody, under any host name: a probe may have a name of its own for the server, and learns nothing else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from werkzeug.wrappers import Request, Response

from threadchat.channel import Case, Closed, Send, WouldBlock, select
from threadchat.hub import Hub
from threadchat.rooms import Rooms
from threadchat.web.fitness import Fitness

PATHS = ("/livez", "/readyz")
STOPPING = "The server is stopping."
ANSWER_WAIT = 1.0  # seconds for a hub to take what is sent to it
ASK_EVERY = 1.0  # seconds for which the hubs' answers hold, so that frequent probes do not keep them busy


class Health:
    """Answers the probes of one chat. Any thread may call it."""

    def __init__(self, rooms: Rooms, fitness: Fitness) -> None:
        self._rooms = rooms
        self._fitness = fitness
        self._mutex = threading.Lock()  # held while the hubs are asked; guards the next two
        self._ask_again = 0.0  # when to ask them next, by time.monotonic()
        self._unanswered = ""  # what is wrong, since they were asked last

    def answer(self, endpoint: str, request: Request) -> Response:
        """The answer at `livez` or `readyz`."""
        problem = self._not_live() if endpoint == "livez" else self._not_ready(request)
        response = Response(f"{problem or 'ok'}\n", 503 if problem else 200, mimetype="text/plain")
        response.cache_control.no_store = True
        return response

    def _not_live(self) -> str:
        """What only a restart helps against; "" if there is nothing. Blocks for ANSWER_WAIT, or a little longer."""
        if self._fitness.forked:
            return "The hubs are in another process."
        if (writer := self._rooms.writer) is not None and writer.failed:
            return "The log writer has failed."
        with self._mutex:
            if time.monotonic() >= self._ask_again:
                hubs = self._rooms.hubs
                silent = _silent(hubs)
                self._unanswered = f"Hubs that do not answer: {silent} of {len(hubs)}." if silent else ""
                self._ask_again = time.monotonic() + ASK_EVERY
            return self._unanswered

    def _not_ready(self, request: Request) -> str:
        """Why no new client is taken; "" if new ones are."""
        if self._rooms.stopped:
            return STOPPING
        if self._rooms.drains_until is not None:
            return "The server is about to restart."
        if not self._rooms.log_is_up:
            return "The log is down."
        return self._fitness.problem(request.environ)


def _silent(hubs: Sequence[Hub]) -> int:
    """How many hubs do not take an unregistration within ANSWER_WAIT.

    It is that of nobody: a hub passes over a client that it does not know. A hub that has ended does not count: it was
    told to, or is replaced at the next join.
    """
    nobody: Any = object()
    asked: list[Case] = []
    for hub in hubs:
        try:
            hub.unregister.send_nowait(nobody)  # it waits for something to do
        except WouldBlock:
            asked.append(Send(hub.unregister, nobody))
        except Closed:
            pass
    deadline = time.monotonic() + ANSWER_WAIT
    with suppress(TimeoutError):
        while asked:  # these are at work, or hang
            try:
                case, _ = select(*asked, timeout=max(0.0, deadline - time.monotonic()))
            except Closed as closed:
                case = closed.case
            asked.remove(case)
    return len(asked)
