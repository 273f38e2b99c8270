"""The actions that a page may post: what is a valid one. See `site` for what each does."""

from __future__ import annotations

import json
import re
from typing import Any

from werkzeug.exceptions import BadRequest, Forbidden, UnsupportedMediaType
from werkzeug.wrappers import Request

from threadchat.names import NotAName, clean_room_name
from threadchat.room import LOBBY

HEADER = ("X-Threadchat", "inspect")
MOST_BYTES = 65_536  # in an action
MOST_BRACKETS = 100  # opening brackets in an action, outside its strings
NO_BRACKETS = re.compile(r'"(?:[^"\\]|\\.?)*+"?|[^"\[{]+', re.DOTALL)  # a string, or text that opens no array or object

Action = dict[str, Any]


def action(request: Request) -> Action:
    if request.headers.get(HEADER[0]) != HEADER[1]:
        raise Forbidden(f"An action needs the header {HEADER[0]}: {HEADER[1]}.")
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("An action must be sent as application/json.")
    request.max_content_length = MOST_BYTES
    try:
        body = request.get_data().decode()
        # Python 3.13 recurses in C for each nested array or object, and may overflow our threads' small stacks.
        if len(NO_BRACKETS.sub("", body)) > MOST_BRACKETS:
            raise BadRequest("An action must not be nested.")
        action = json.loads(body)
    except ValueError as error:
        raise BadRequest("An action must be valid JSON.") from error
    if not isinstance(action, dict):
        raise BadRequest("An action must be a JSON object.")
    return action


def text(action: Action, most_bytes: int) -> str:
    text = action.get("text")
    if not isinstance(text, str) or not text.strip():
        raise BadRequest("text must be a string that is not blank")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadRequest("text must be valid Unicode") from error
    if size > most_bytes:
        raise BadRequest(f"text must have at most {most_bytes} bytes")
    return text


def whole(action: Action, name: str, most: int, default: int | None = None) -> int:
    value = action.get(name, default)
    if type(value) is not int or not 1 <= value <= most:
        raise BadRequest(f"{name} must be a whole number from 1 to {most}")
    return value


def number(action: Action, name: str, most: float) -> float:
    value = action.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= most:
        raise BadRequest(f"{name} must be a number from 0 to {most:g}")
    return float(value)


def room(asked: object) -> str:
    """The clean name of the room that is asked for; the lobby where none is."""
    if asked is None:
        return LOBBY
    try:
        return clean_room_name(asked if isinstance(asked, str) else "")
    except NotAName as error:
        raise BadRequest(str(error)) from error
