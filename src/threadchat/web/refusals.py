"""Why requests and connections are refused, in a word for each reason, by which they are counted (see web/metrics.py).

| word          | what was refused                                                                        | status  |
| ------------- | --------------------------------------------------------------------------------------- | ------- |
| `address`     | a client from an address that has as many as it may (`--max-clients-per-address`)       | 503     |
| `clients`     | a client, because there are as many as there may be (`--max-clients`)                   | 503     |
| `descriptors` | a connection, because the process has no file descriptor left for it                    | 503     |
| `draining`    | a client, because the server is about to restart                                        | 503     |
| `forbidden`   | somebody who was put out or muted, a room that is locked, an address for this machine   | 403     |
| `host`        | a request for a host that is not this server's                                          | 421     |
| `key`         | a request without the key                                                               | 401     |
| `log`         | somebody who comes into a room that is not there yet, or a POST, because the log is down | 503     |
| `origin`      | a page of another site                                                                  | 403     |
| `rate`        | too many messages, or tries of a key, from one address                                  | 429     |
| `request`     | a request that is none of the chat's: no handshake, no message                          | 400 ... |
| `rooms`       | a client, because there are as many rooms as there may be                               | 503     |
| `server`      | a client, because the chat cannot work under this WSGI server                           | 503     |
| `stopping`    | a client, because the server is stopping                                                | 503     |
| `threads`     | a connection, because the system has no thread for it                                   | 503     |
"""

from __future__ import annotations

import math

from werkzeug.exceptions import Forbidden, HTTPException, ServiceUnavailable

from threadchat.rooms import Draining, LogDown, NoRoom
from threadchat.web.admission import RETRY_AFTER, Full, FullForAddress

_BY_STATUS = {401: "key", 403: "forbidden", 421: "host", 429: "rate", 503: "stopping"}
_LIMITS: dict[type, str] = {Full: "clients", FullForAddress: "address", NoRoom: "rooms", LogDown: "log"}
_REQUEST = (400, 405, 411, 413, 415, 426)
REASONS = (
    *("address", "clients", "descriptors", "draining", "forbidden", "host", "key", "log", "origin", "rate"),
    *("request", "rooms", "server", "stopping", "threads"),
)


class ForeignOrigin(Forbidden):
    """A page of another site asks."""


class Unavailable(ServiceUnavailable):
    """503, for one of REASONS."""

    def __init__(self, reason: str, description: str, retry_after: int | None = None) -> None:
        super().__init__(description, retry_after=retry_after)
        self.reason = reason


def unavailable(error: Full | NoRoom) -> Unavailable:
    """The answer to a client for whom there is no room now. It says when to try again."""
    match error:
        case Draining():
            reason, retry_after = "draining", max(1, math.ceil(error.seconds))
        case _:
            reason, retry_after = _LIMITS[type(error)], RETRY_AFTER
    return Unavailable(reason, f"Come back later: {error}.", retry_after)


def reason_of(error: HTTPException) -> str | None:
    """Why a request was refused; None for one that asked for something that is not there."""
    match error:
        case Unavailable():
            return error.reason
        case ForeignOrigin():
            return "origin"
    return "request" if error.code in _REQUEST else _BY_STATUS.get(error.code or 0)
