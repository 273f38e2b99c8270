"""What happens in a room: its entries. Each is a line for plain clients, and a line of JSON for threadchat.v1.

An entry is made by the thread in which it comes up, a read pump for example. The room's log then numbers it (see
`log`). From that moment on it does not change, and every thread may read it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from zlib import crc32

# The kinds of entries, as threadchat.v1 names them.
MESSAGE, JOIN, LEAVE, NAME, ORDER = "msg", "join", "leave", "name", "order"
# What an organiser may order: the kinds of orders.
KICK, MUTE, PARDON, SLOW, LOCK, CLEAR = "kick", "mute", "pardon", "slow", "lock", "clear"

# What threadchat.v1 says when nothing can be said for the moment, and when it can again.
LOG_DOWN, LOG_UP = '{"type":"state","log":"down"}', '{"type":"state","log":"up"}'

# The newest lines of threadchat.v1, those of all rooms together. Any thread may use them, without a lock: each step is
# a single operation of Python's, and to make a line twice does no harm.
MOST_LINES = 512  # that are kept
_with_line: deque[Entry] = deque()  # the entries that have one, oldest first
# What the last batches come to, each by its log, its first id and its size, at the index that this has as a hash.
_batches: list[tuple[tuple[str, int, int], tuple[str, ...]]] = [(("", 0, 0), ())] * 64


class NotAMessage(ValueError):
    """The text cannot be a message. str() says why, in a sentence for people."""


class TooLong(NotAMessage):
    """The text has more bytes than a message may have."""


def clean_text(text: str, most: int) -> str:
    """A message's text as it is passed on: \\n between its lines, no white space around it, 1 to `most` bytes of UTF-8.

    Raises NotAMessage.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.strip()
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise NotAMessage("The text has half a character in it (a lone surrogate).") from None
    if size > most:
        raise TooLong(f"A message has at most {most} bytes.")
    if not text:
        raise NotAMessage("The message is empty.")
    return text


class Entry(str):
    """One entry. As a string it is the line that plain clients get; an empty one is not sent to them.

    Until the log has taken it, it has no `id` (1, 2, 3, ... in each room), `at` (seconds since 1970) and `epoch`.
    """

    __slots__ = ("at", "by", "epoch", "id", "json", "kind", "n", "name", "text")

    kind: str
    by: str  # the public tag of the session that it comes from
    name: str | None  # of the person, at that time
    n: int | None  # the number that the session gave it, if it is a message with one
    text: str  # the message; may have several lines
    id: int
    at: float
    epoch: str
    json: str  # the line of threadchat.v1, or "" while it is not kept

    @property
    def token(self) -> str:
        """The point of the log after this entry, for `since`: opaque, and safe in a URL."""
        return token(self.epoch, self.id, self.check)

    @property
    def check(self) -> int:
        """A check value of what the entry says: another entry with the same id has another one."""
        return crc32(f"{_written(self.at)}{self.by}{self.text}".encode("utf-8", "surrogatepass"), self.id)


def message(text: str, by: str, name: str | None = None, n: int | None = None) -> Entry:
    """What somebody says. Plain clients get it on one line, with the name before it if there is one."""
    line = text.replace("\n", " ") if "\n" in text else text
    entry = Entry(line if name is None else f"{name}: {line}")
    entry.kind, entry.by, entry.name, entry.n, entry.text, entry.json = MESSAGE, by, name, n, text, ""
    return entry


def event(kind: str, by: str, name: str) -> Entry:
    """Somebody comes (JOIN), has gone (LEAVE) or has a new name (NAME). Plain clients are not told."""
    entry = Entry()
    entry.kind, entry.by, entry.name, entry.n, entry.text, entry.json = kind, by, name, None, "", ""
    return entry


class Order(Entry):
    """What an organiser has ordered. Its text, a sentence, is what plain clients get.

    `target` is the tag of the session that it is about, `seconds` the pause of SLOW (0: none), `locked` whether LOCK
    locks. Each is None for the other orders. `marks` are what else the session was known by when the order came into
    force (see `moderation`); nobody is told of them.
    """

    __slots__ = ("locked", "marks", "order", "seconds", "target")

    order: str
    target: str | None
    seconds: float | None
    locked: bool | None
    marks: tuple[str, ...]


def order(
    kind: str,
    text: str,
    by: str,
    name: str | None,
    target: str | None = None,
    seconds: float | None = None,
    locked: bool | None = None,
) -> Order:
    """What the organiser `by` orders."""
    entry = Order(text)
    entry.kind, entry.by, entry.name, entry.n, entry.text, entry.json = ORDER, by, name, None, text, ""
    entry.order, entry.target, entry.seconds, entry.locked, entry.marks = kind, target, seconds, locked, ()
    return entry


def token(epoch: str, number: int, check: int) -> str:
    """The token of a point of the log, from its parts."""
    return f"{epoch}.{number}.{check:x}"


def json_lines(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The lines of threadchat.v1 for these entries, of which there is at least one, and which follow one another.

    A broadcast sends the same to many clients, but one that is served later gets more at once. Each line is made once.
    """
    batch = entries[0].epoch, entries[0].id, len(entries)
    index = hash(batch) % len(_batches)
    known, lines = _batches[index]
    if known != batch:
        lines = tuple([entry.json or _made(entry) for entry in entries])
        _batches[index] = batch, lines
    return lines


def _made(entry: Entry) -> str:
    entry.json = line = json_line(entry)
    _with_line.append(entry)
    if len(_with_line) > MOST_LINES:
        _with_line.popleft().json = ""
    return line


def json_line(entry: Entry) -> str:
    """One entry as threadchat.v1 has it."""
    number, name = entry.id, "null" if entry.name is None else quoted(entry.name)
    what = ""
    if entry.kind == MESSAGE:
        what = f',"n":{"null" if entry.n is None else entry.n},"text":{quoted(entry.text)}'
    elif isinstance(entry, Order):
        facts = {"target": entry.target, "seconds": entry.seconds, "locked": entry.locked}
        what = f',"order":"{entry.order}","text":{quoted(entry.text)}'
        what += "".join(f',"{key}":{json.dumps(value)}' for key, value in facts.items() if value is not None)
    return (
        f'{{"type":"{entry.kind}","token":"{entry.epoch}.{number}.{entry.check:x}","id":{number},"at":{_written(entry.at)},'
        f'"name":{name},"by":"{entry.by}"{what}}}'
    )


@lru_cache(maxsize=8)
def _written(at: float) -> str:
    """A time as JSON has it. Entries that are logged together have the same one, and to write it takes a while."""
    return repr(at)


def plain_lines(entries: Sequence[Entry]) -> Sequence[str]:
    """The lines that a plain client gets for these entries."""
    return [entry for entry in entries if entry]
