"""What comes from the network is made fit for a terminal here; and names get their colours."""

from __future__ import annotations

import re
import time
import unicodedata
from typing import Any
from zlib import crc32

# ECMA-48: a control sequence (CSI ... letter), a control string (OSC, DCS and the like, up to its end), an escape.
SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"
    "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\\\|\x9c|$)"
    "|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
JOINERS = "\u200c\u200d"  # format characters that scripts and emoji are written with

# Of the 256 colours of terminals, those that can be read on black and on white: a contrast of 4 and more on both.
COLOURS = (27, 28, 30, 31, 63, 64, 98, 129, 130, 131, 161, 163)


def clean(heard: Any) -> Any:
    """What the server said, a value of JSON, with every text in it fit for a terminal. Line breaks stay.

    Control sequences are taken out whole, so that no rest of one is left in a text; then all control and direction
    characters, and halves of characters.
    """
    match heard:
        case str():
            return _clean_text(heard)
        case list():
            return [clean(each) for each in heard]
        case dict():
            return {_clean_text(name): clean(value) for name, value in heard.items()}
    return heard


def _clean_text(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    text = "\n".join(SEQUENCE.sub("", text).splitlines())
    return "".join(
        each if each in f"\n{JOINERS}" or unicodedata.category(each) not in ("Cc", "Cf", "Cs") else " " * (each == "\t")
        for each in text
    )


def mentions(text: str, name: str) -> bool:
    """Whether the text addresses this name, as the page sees it: `@Ann`, or `Ann:` and `Ann,` where a line begins."""
    called = rf"@{re.escape(name)}(?!\w)|^{re.escape(name)}[:,]"
    return bool(name) and re.search(called, text, re.IGNORECASE | re.MULTILINE) is not None


def colour_of(name: str) -> int:
    """The name's colour, the same at all times: one of COLOURS."""
    return COLOURS[crc32(name.casefold().encode()) % len(COLOURS)]


def clock(at: float) -> str:
    """The time of day, with the date in front of it if that is not today's."""
    try:
        then, now = time.localtime(at), time.localtime()
    except (OverflowError, ValueError, OSError):  # the server says a time that this machine does not have
        return "??:??"
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)


def counted(number: int, noun: str) -> str:
    """The number with the noun in singular or plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
