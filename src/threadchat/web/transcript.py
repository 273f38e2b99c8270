"""A room's log as a file: GET /log.txt and /log.jsonl, and the same below /r/NAME.

It has what the room still keeps (`--keep`), up to the newest entry at the time of the request. It is read page by page
while it is sent. `log.jsonl` has the lines of threadchat.v1. In `log.txt` a message of several lines goes on with
indented lines, so that no message can look like another entry; control characters are replaced, since people show such
files in terminals.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request, Response

from threadchat.messages import JOIN, LEAVE, MESSAGE, NAME, ORDER, Entry, json_line
from threadchat.moderation import Refusal, Visitor
from threadchat.room import Room
from threadchat.web.deadlines import deadline_of

PAGE = 256  # entries that are read, and sent, at once
TYPES = {"txt": "text/plain", "jsonl": "application/x-ndjson"}
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # all but the newline
EVENTS = {JOIN: "{0} joined", LEAVE: "{0} left", NAME: "{1} is now called {0}"}
GAP = {"txt": "* Entries are missing here: they were dropped while this was being read.\n", "jsonl": '{"type":"gap"}\n'}


def response(request: Request, room: Room, form: str, visitor: Visitor) -> Response:
    """The transcript in this form, a key of TYPES. Raises Forbidden if the visitor may not read it."""
    try:
        room.moderation.check_access(visitor)
    except Refusal as error:
        raise Forbidden(str(error)) from error
    line = _Text().line if form == "txt" else lambda entry: json_line(entry) + "\n"
    answer = Response(_pages(room, line, GAP[form], deadline_of(request.environ).begin_anew), mimetype=TYPES[form])
    answer.cache_control.no_store = True
    return answer


def _pages(room: Room, line: Callable[[Entry], str], gap: str, begin_anew: Callable[[], Any]) -> Iterator[str]:
    """The lines of the transcript, a page at a time. The peer has the whole time limit again for each page."""
    log, keep = room.log, room.options.keep
    top, seen = log.top, log.recent(keep)
    while seen < top:
        page: Sequence[Entry] | None = log.read(seen, PAGE)
        if page is None:
            yield gap
            seen = log.recent(keep)
            continue
        page = [entry for entry in page if entry.id <= top]
        yield "".join(map(line, page))
        begin_anew()
        seen += len(page)


class _Text:
    """Entries as lines for people: when, who, what. They must come in order."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # the latest by tag

    def line(self, entry: Entry) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.at))
        before = self._names.get(entry.by, "somebody")
        if entry.name is not None:
            self._names[entry.by] = entry.name
        if entry.kind == MESSAGE:
            what = f"{'(no name)' if entry.name is None else entry.name}: {entry.text}"
        elif entry.kind == ORDER:
            what = f"* {entry.text}"
        else:
            what = f"* {EVENTS[entry.kind].format(entry.name, before)}"
        clean = CONTROL.sub("\ufffd", what).replace("\n", "\n    ")
        return f"{when}Z {clean}\n"
