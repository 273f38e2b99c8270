"""The guide, served at /guide: a page that explains this program with its own code.

Every fragment of code is taken from the source when the page is made, so that none can go stale. www/guide.html names
them by placeholders:

    {{python client.py Client.write_pump}}                      a function, a method or a class
    {{go chat.go client.readPump from "for {" to "return"}}     of it, the lines from one text to the next other
    {{python hub.py Hub.run line "select("}}                    of it, the first line with a text
    {{value connection.py STUCK_AFTER}}                         a number that is assigned in a module or a class
    {{table connection.py}}                                     the table in a module's docstring

What matches nothing raises LookupError. BESIDE holds what corresponds in the Go twin, www/chat.go, to a function here.
Any thread may call anything here. All files are read once.
"""

from __future__ import annotations

import ast
import io
import keyword
import re
import textwrap
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# The pages' folder: inside the package when it was installed, beside src/ in a checkout.
WWW = next(www for www in (PACKAGE / "www", PACKAGE.parents[1] / "www") if www.is_dir())

# Our function, and what in chat.go does the same: a name and, where it is only a part, which one. What is missing here
# is Go's runtime, its libraries, or ours alone.
BESIDE = {
    ("hub.py", "Hub"): "hub",
    ("hub.py", "Hub.__init__"): "newHub",
    ("hub.py", "Hub.run"): "hub.run",
    ("hub.py", "Hub.new_outbox"): 'serveWs line "make(chan"',
    ("hub.py", "Hub._wait_or_evict"): 'hub.run from "default:" to "part(c)"',
    ("hub.py", "Hub._evict"): 'hub.run from "part :=" to "close(c.send)"',
    ("client.py", "Client"): "client",
    ("client.py", "Client.__init__"): 'serveWs line "&client{"',
    ("client.py", "Client.read_pump"): "client.readPump",
    ("client.py", "Client.write_pump"): "client.writePump",
    ("client.py", "Client.unregister"): 'client.readPump line "unregister <- c"',
    ("client.py", "serve_ws"): "serveWs",
    ("channel.py", "Channel.__init__"): 'newHub from "make(chan" to "broadcast:"',
    ("channel.py", "Channel.send"): 'client.readPump line "broadcast <- message"',
    ("channel.py", "Channel.send_nowait"): 'hub.run from "c.send <- message" to "default:"',
    ("channel.py", "Channel.send_what_fits"): 'hub.run from "c.send <- message" to "default:"',
    ("channel.py", "Channel.receive"): 'client.writePump line "<-c.send"',
    ("outbox.py", "Outbox.turn"): 'client.writePump from "message, open" to "}"',
    ("channel.py", "Channel.take_pending"): 'client.writePump from "len(c.send)" to "}"',
    ("channel.py", "Channel.close"): 'hub.run line "close(c.send)"',
    ("channel.py", "Channel.__len__"): 'client.writePump line "len(c.send)"',
    ("channel.py", "select"): 'hub.run from "select {" to "<-h.broadcast"',
    ("websocket/connection.py", "Connection.accept"): 'serveWs from "Upgrade(" to "}"',
    ("websocket/connection.py", "Connection.__iter__"): 'client.readPump from "ReadMessage()" to "}"',
    ("websocket/connection.py", "Connection.send"): 'client.writePump from "NextWriter(" to "frame.Write(message)"',
    ("websocket/connection.py", "Connection.send_ping"): 'client.writePump from "PingMessage" to "}"',
    ("websocket/connection.py", "Connection.send_close"): 'client.writePump line "CloseMessage"',
    ("web/app.py", "App._serve_ws"): 'main from "/ws" to "})"',
    ("web/server.py", "Server.start"): 'main line "quiet.Serve("',
}


@cache
def page() -> str:
    """The guide as HTML. Raises LookupError, with a sentence, for a placeholder that matches nothing."""
    return re.sub(r"\{\{(.*?)\}\}", lambda placeholder: _filled(placeholder[1]), _text("guide/index.html"))


def python_source(file: str, function: str) -> tuple[int, list[str]]:
    """The number of the first line, and the lines, of a function ("client.py", "Client.write_pump"), not indented.

    Raises LookupError if there is none.
    """
    where = _whole(file, function)
    return where.start, textwrap.dedent("\n".join(_lines(file, where))).split("\n")


def go_beside(file: str, function: str) -> str:
    """What corresponds in Go to a function of ours, not indented; "" where nothing does."""
    if (file, function) not in BESIDE:
        return ""
    return textwrap.dedent("\n".join(_lines("chat.go", _where("chat.go", BESIDE[file, function]))))


def _filled(placeholder: str) -> str:
    """What stands in the page for a placeholder."""
    kind, _, rest = placeholder.strip().partition(" ")
    file, _, what = rest.partition(" ")
    if kind in ("python", "go"):
        where = _where(file, what)
        painted = textwrap.dedent("\n".join(_painted(file)[where.start - 1 : where.stop - 1]))
        # A line of comment or docstring may be wrapped, below its own beginning, and no other.
        code = re.sub(r'^( *)(<span class="[cs]">.*)\n', _prose, painted + "\n", flags=re.MULTILINE)
        caption = f"{file}, line {where.start}"
        return f'<figure class="code {kind}"><figcaption>{caption}</figcaption><pre><code>{code}</code></pre></figure>'
    if kind == "value":
        return _value(file, what)
    if kind == "table":
        return _table(file)
    raise LookupError(f"the guide knows no placeholder {placeholder!r}")


def _prose(line: re.Match[str]) -> str:
    return f'<span class="prose in{len(line[1])}">{line[1]}{line[2]}\n</span>'


# Where things stand


@cache
def _text(file: str) -> str:
    folder = PACKAGE if file.endswith(".py") else WWW
    try:
        return (folder / file).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise LookupError(f"there is no file {file}") from error


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse(_text(file))


def _lines(file: str, where: range) -> list[str]:
    return _text(file).split("\n")[where.start - 1 : where.stop - 1]


def _where(file: str, what: str) -> range:
    """The numbers of the lines that a placeholder names: a definition's, or those from a text to another in it."""
    parts = re.fullmatch(r'(\S+)(?: from "(?P<first>.+?)" to "(?P<last>.+?)"| line "(?P<line>.+?)")?', what)
    if not parts:
        raise LookupError(f"{what!r} names no lines of {file}")
    where = _whole(file, parts[1])
    if first := parts["first"] or parts["line"]:
        where = range(_line_with(first, file, where), where.stop)
        last = where.start if parts["line"] else _line_with(parts["last"], file, where[1:])
        where = range(where.start, last + 1)
    return where


def _line_with(text: str, file: str, where: range) -> int:
    for number, line in zip(where, _lines(file, where), strict=True):
        if text in line:
            return number
    raise LookupError(f"no line of {file} from {where.start} to {where.stop - 1} has {text!r}")


def _whole(file: str, name: str) -> range:
    try:
        return _definitions(file)[name]
    except KeyError:
        raise LookupError(f"{file} has no {name}") from None


@cache
def _definitions(file: str) -> dict[str, range]:
    """The lines of each definition of the file, by its name: Client.write_pump, and in Go client.writePump."""
    return dict(_python_definitions(_tree(file)) if file.endswith(".py") else _go_definitions(_text(file)))


def _python_definitions(node: ast.AST, inside: str = "") -> Iterator[tuple[str, range]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            first = min(part.lineno for part in (child, *child.decorator_list))
            yield inside + child.name, range(first, (child.end_lineno or first) + 1)
            yield from _python_definitions(child, f"{inside}{child.name}.")


_GO_DEFINITION = re.compile(
    r"^(?://.*\n)*"  # the comment above belongs to it
    r"(?:type (?P<type>\w+) struct|func (?:\(\w+ \*(?P<receiver>\w+)\) )?(?P<function>\w+)\()"
    r"(?:.*\n)*?}$",  # gofmt indents all but the last brace
    re.MULTILINE,
)


def _go_definitions(text: str) -> Iterator[tuple[str, range]]:
    for match in _GO_DEFINITION.finditer(text):
        name = ".".join(filter(None, (match["receiver"], match["type"] or match["function"])))
        first = text.count("\n", 0, match.start()) + 1
        yield name, range(first, first + match[0].count("\n") + 1)


def _value(file: str, name: str) -> str:
    for node in ast.walk(_tree(file)):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                # An option's declaration is a call whose first argument is the default.
                value = node.value.args[0] if isinstance(node.value, ast.Call) else node.value
                return f"{ast.literal_eval(value):,g}"
    raise LookupError(f"{file} assigns nothing to {name}")


def _table(file: str) -> str:
    """The rows between bars in the module's docstring, the first one the head, as a table."""
    rows = re.findall(r"^ *\|(.*)\|$", ast.get_docstring(_tree(file)) or "", re.MULTILINE)
    if not rows:
        raise LookupError(f"the docstring of {file} has no table")
    cells = [[escape(cell.strip()) for cell in row.split("|")] for row in rows]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in cells[0])
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in cells[2:])
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


# Colours


@cache
def _painted(file: str) -> list[str]:
    """The lines of the file as HTML, with spans of the classes k(eyword), s(tring), c(omment), n(umber), d(efined)."""
    text = _text(file)
    html, done = "", 0
    for start, end, kind in _python_tokens(text) if file.endswith(".py") else _go_tokens(text):
        # What goes over several lines is a span in each, that does not hold the line's indentation.
        spans = re.sub(r"\S.*", rf'<span class="{kind}">\g<0></span>', escape(text[start:end]))
        html += escape(text[done:start]) + spans
        done = end
    return (html + escape(text[done:])).split("\n")


def _python_tokens(text: str) -> Iterable[tuple[int, int, str]]:
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name, word = tokenize.tok_name[token.type], token.string
        if name in ("COMMENT", "NUMBER", "STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END"):
            kind = "s" if name.startswith("FSTRING") else name[0].lower()
        elif keyword.iskeyword(word) or (word in ("match", "case") and re.match(r"\s*\w+ .*:$", token.line)):
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


def _go_tokens(text: str) -> Iterable[tuple[int, int, str]]:
    for match in _GO_TOKEN.finditer(text):
        yield match.start(), match.end(), match.lastgroup or ""
