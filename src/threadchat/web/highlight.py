"""Python and Go source as HTML, with spans for the guide's stylesheet to colour."""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from collections.abc import Iterable, Iterator
from html import escape


def highlighted(text: str, language: str) -> list[str]:
    """The lines of a source file as HTML. `language` is "python" or "go".

    Spans have the classes k(eyword), s(tring), c(omment), n(umber) and d(efined name). A token of several lines is a
    span in each of them, which does not include the line's indentation.
    """
    html, done = "", 0
    for start, end, kind in _python_tokens(text) if language == "python" else _go_tokens(text):
        spans = re.sub(r"\S.*", rf'<span class="{kind}">\g<0></span>', escape(text[start:end]))
        html += escape(text[done:start]) + spans
        done = end
    return (html + escape(text[done:])).split("\n")


def _python_tokens(text: str) -> Iterable[tuple[int, int, str]]:
    """The start, the end and the class of each token that has one."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name, word = tokenize.tok_name[token.type], token.string
        if name in ("COMMENT", "NUMBER", "STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END"):
            kind = "s" if name.startswith("FSTRING") else name[0].lower()
        elif keyword.iskeyword(word) or (word in ("match", "case") and re.match(r"\s*\w+ .*:\s*(#.*)?$", token.line)):
            kind = "k"
        else:
            kind = "d" if before in ("def", "class") else ""
        before = word
        if kind:
            (row, column), (last_row, last_column) = token.start, token.end
            yield starts[row - 1] + column, starts[last_row - 1] + last_column, kind


_GO_TOKEN = re.compile(
    r"""
    (?P<c> //.* )
    | (?P<s> "(?:\\.|[^"\\\n])*" | `[^`]*` | '(?:\\.|[^'\\\n])+' )
    | (?P<n> \b\d+\b )
    | (?P<k> \b(?:break|case|chan|const|continue|default|defer|else|for|func|go|if|import|interface|map|package|range
        |return|select|struct|switch|type|var)\b )
    | (?P<d> (?<=^func\ )\w+ | (?<=\)\ )\w+(?=\() )
    """,
    re.VERBOSE | re.MULTILINE,
)


def _go_tokens(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _GO_TOKEN.finditer(text):
        yield match.start(), match.end(), match.lastgroup or ""
