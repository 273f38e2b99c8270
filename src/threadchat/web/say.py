"""Messages without a WebSocket: POST /say and /r/NAME/say, for curl and CI jobs, and the application's own.

The body is the text (text/plain, or what `curl -d` sends), with the name in the address, `?name=Deploy`; or JSON,
`{"text": "done", "name": "Deploy"}`. The answer is 201 with the token of the entry: as a line, or as `{"token": ...}`.

    | what is wrong                                                   | status |
    | --------------------------------------------------------------- | ------ |
    | the body is not UTF-8, not such JSON, or cannot be a message    | 400    |
    | the name cannot be one, or is reserved                          | 400    |
    | the page that sends it is not of an allowed origin              | 403    |
    | an organiser has put the address out, muted it, or locked up    | 403    |
    | the text is longer than a message may be                        | 413    |
    | the body has another type                                       | 415    |
    | this address has sent too many in the last second, or slow mode | 429    |
    | the log is down                                                 | 503    |

If the log goes down while a message waits for it, the answer is 202 without a token: the message is said once the log
is up again, unless the server stops before. To send it again may say it twice. A message has no number here by which
the log would know it again: a session's numbers rise, so that several jobs would have to agree on them. A program that
cannot do with less speaks threadchat.v1.
"""

from __future__ import annotations

import json
import math
from typing import Any

from werkzeug.exceptions import BadRequest, Forbidden, RequestEntityTooLarge, TooManyRequests, UnsupportedMediaType
from werkzeug.wrappers import Request, Response

from threadchat.log import OnItsWay, StoreDown
from threadchat.messages import NotAMessage, TooLong, clean_text, message
from threadchat.moderation import Refusal, TooSoon, Visitor
from threadchat.names import NAME_LENGTH, NotAName, clean_name
from threadchat.options import Options
from threadchat.protocols.v1 import frame_size
from threadchat.room import SERVER, Room
from threadchat.rooms import LogDown
from threadchat.web.allowance import Allowance

PLAIN = ("", "text/plain", "application/x-www-form-urlencoded")  # "": none at all; the last one is what `curl -d` says
JSON = "application/json"
LOG_WAIT = 2.0  # seconds; so often a request that waits for the log looks whether that is down
LATER = "The log is down. This message is said once it is up again: to send it again may say it twice."


class Say:
    """Answers the requests of one chat. Any thread may call it."""

    def __init__(self, options: Options) -> None:
        self._size = options.message_size
        self._allowance = Allowance(options.message_rate, options.message_rate) if options.message_rate else None

    def check_rate(self, source: str) -> None:
        """Count a message from this source. Raises TooManyRequests (429)."""
        if self._allowance is not None and (wait := self._allowance.take(source)):
            raise TooManyRequests("There are too many messages from this address.", retry_after=math.ceil(wait))

    def read(self, request: Request) -> tuple[str, str | None]:
        """The clean text and the name that the request brings. Raises HTTPException."""
        request.max_content_length = frame_size(self._size) + 6 * 4 * NAME_LENGTH
        text, name = _read_json(request) if request.mimetype == JSON else _read_plain(request)
        try:
            return clean_text(text, self._size), name
        except TooLong as error:
            raise RequestEntityTooLarge(str(error)) from error
        except NotAMessage as error:
            raise BadRequest(str(error)) from error

    def answer(self, request: Request, room: Room, visitor: Visitor) -> Response:
        """Pass on what the request says, and answer once the log has it. Raises HTTPException, LogDown and Closed."""
        text, name = self.read(request)
        name = name if visitor.account is None else visitor.account
        status, token, line = 201, None, LATER
        try:
            room.moderation.check_access(visitor)
            room.moderation.check_speech(visitor)  # nobody asks again for one who has stopped waiting
            entry = message(text, visitor.by, None if name is None else room.people.free_name(visitor.by, name))
            room.post(entry, visitor, LOG_WAIT)
            token = line = entry.token
        except OnItsWay:
            status = 202  # not 503, with which curl --retry would send it again
        except StoreDown as error:
            raise LogDown from error
        except NotAName as error:
            raise BadRequest(str(error)) from error
        except TooSoon as error:
            raise TooManyRequests(str(error), retry_after=math.ceil(error.wait)) from error
        except Refusal as error:
            raise Forbidden(str(error)) from error
        body = json.dumps({"token": token}) if request.mimetype == JSON else line
        mimetype = JSON if request.mimetype == JSON else "text/plain"
        response = Response(body + "\n", status, mimetype=mimetype)
        response.cache_control.no_store = True
        return response


def publish(room: Room, text: str, name: str | None) -> str:
    """Say something for the application; wait for a log that is down. Returns the entry's token.

    Raises TypeError, ValueError and Closed.
    """
    for what, value in (("text", text), *([("name", name)] if name is not None else [])):
        if not isinstance(value, str):
            raise TypeError(f"{what} must be a string, not {value!r}")
    clean = clean_text(text, room.options.message_size)
    entry = message(clean, SERVER, None if name is None else clean_name(name))
    room.post(entry)
    return entry.token


def _read_plain(request: Request) -> tuple[str, str | None]:
    if request.mimetype not in PLAIN:
        raise UnsupportedMediaType("The body is a message as text/plain, or application/json.")
    try:
        return request.get_data(cache=False).decode(), request.args.get("name")
    except UnicodeDecodeError as error:
        raise BadRequest("The message is not UTF-8.") from error


def _read_json(request: Request) -> tuple[str, str | None]:
    said: Any
    try:
        said = json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError) as error:
        raise BadRequest("This is not JSON.") from error
    match said:
        case {"text": str(text), "name": str() | None as name}:
            return text, name
        case {"text": str(text)} if "name" not in said:
            return text, request.args.get("name")
    raise BadRequest('The JSON of a message is {"text": "...", "name": "..."}, and the name may be left out.')
