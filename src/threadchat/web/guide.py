"""The guide, served at /guide: a page that explains this program with its own code.

Each fragment of code is taken from the source when the page is made, so that none can go stale. www/guide/index.html
names them by placeholders, with the files, definitions and lines as in source.py:

    {{python client.py Client.write_pump}}                      a function, a method or a class
    {{go chat.go client.readPump from "for {" to "return"}}     part of it
    {{python hub.py Hub.run line "select("}}                    one line of it
    {{value hub.py BROADCAST_BUFFER}}                           a number that is assigned in a module or a class
    {{table websocket/connection.py}}                           the table in a module's docstring
    {{lesson convoy}}                                           the command for a lesson, and the lesson's title: a link
                                                                to it in the inspector, if that may be opened
    {{exercise 01-worker}}                                      the command for an exercise, and the exercise's title
    {{inspector}}                                               a link to the inspector, if it may be opened; if not,
                                                                the command that opens it
    {{demo}}                                                    the same, for what only the demo can do

BESIDE holds what corresponds in the Go twin, www/chat.go, to a function here. Any thread may call any function.
"""

from __future__ import annotations

import ast
import re
import textwrap
from functools import cache
from html import escape

from threadchat.web import source
from threadchat.web.highlight import highlighted

# What does the same in chat.go as a function here. What is missing is Go's runtime or a library of Go's, or has no
# counterpart.
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
    ("outbox.py", "Outbox.receive_in_turn"): 'client.writePump from "message, open" to "}"',
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

DEMO = "<code>threadchat demo</code>"


@cache
def page(inspected: bool = False) -> str:
    """The guide as HTML. `inspected`: whether it is for somebody whom this server's inspector answers.

    Raises LookupError, with a sentence, for the first placeholder that matches nothing.
    """
    template = source.text("guide/index.html")
    return re.sub(r"\{\{(.*?)\}\}", lambda placeholder: _filled(placeholder[1], inspected), template)


def go_beside(file: str, function: str) -> str:
    """What corresponds in Go to a function of ours, without indentation; "" if nothing does."""
    if (file, function) not in BESIDE:
        return ""
    return source.excerpt("chat.go", source.find("chat.go", BESIDE[file, function]))


def _filled(placeholder: str, inspected: bool = False) -> str:
    """The HTML that takes the place of a placeholder."""
    kind, _, rest = placeholder.strip().partition(" ")
    file, _, what = rest.partition(" ")
    match kind:
        case "python" | "go":
            return _figure(kind, file, what)
        case "value":
            return _value(file, what)
        case "table":
            return _table(file)
        case "lesson":
            return _lesson(file, inspected)
        case "exercise":
            return _exercise(file)
        case "inspector":
            return '<a href="inspect">the inspector</a>' if inspected else DEMO
        case "demo":
            return f'<a href="inspect">the inspector</a> of {DEMO}' if inspected else DEMO
    raise LookupError(f"the guide knows no placeholder {placeholder!r}")


def _figure(language: str, file: str, what: str) -> str:
    where = source.find(file, what)
    code = textwrap.dedent("\n".join(_highlighted(file)[where.start - 1 : where.stop - 1])) + "\n"
    # The browser may wrap a line of a comment or a docstring, below the line's own beginning, and no other line.
    code = re.sub(r'^( *)(<span class="[cs]">.*)\n', _prose, code, flags=re.MULTILINE)
    caption = f"{file}, line {where.start}"
    # The keyboard must be able to scroll long lines. A script removes the tab stop where there are none: see scroll.js.
    pre = f'<pre tabindex="0" role="group" aria-label="{caption}"><code>{code}</code></pre>'
    return f'<figure class="code {language}"><figcaption>{caption}</figcaption>{pre}</figure>'


def _prose(line: re.Match[str]) -> str:
    return f'<span class="prose in{len(line[1])}">{line[1]}{line[2]}\n</span>'


@cache
def _highlighted(file: str) -> list[str]:
    return highlighted(source.text(file), "python" if file.endswith(".py") else "go")


def _value(file: str, name: str) -> str:
    for node in ast.walk(source.tree(file)):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                # An option's declaration is a call whose first argument is the default.
                value = node.value.args[0] if isinstance(node.value, ast.Call) else node.value
                return f"{ast.literal_eval(value):,g}"
    raise LookupError(f"{file} assigns nothing to {name}")


def _table(file: str) -> str:
    """The rows between bars in the module's docstring as a table. The first row is the head, the second a rule."""
    rows = re.findall(r"^ *\|(.*)\|$", ast.get_docstring(source.tree(file)) or "", re.MULTILINE)
    if not rows:
        raise LookupError(f"the docstring of {file} has no table")
    cells = [[escape(cell.strip()) for cell in row.split("|")] for row in rows]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in cells[0])
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in cells[2:])
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def _lesson(name: str, inspected: bool) -> str:
    """The command for a lesson, and its title from the source: this package must not import the lessons."""
    for node in ast.walk(source.tree(f"lessons/{name.replace('-', '_')}.py")):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Lesson":
            title = next(ast.literal_eval(given.value) for given in node.keywords if given.arg == "title")
            shown = f"<q>{escape(title)}</q>"
            if inspected:
                shown = f'<a href="inspect#lesson={name}">{shown}</a>'
            return f"<code>threadchat lesson {name}</code> ({shown})"
    raise LookupError(f"there is no lesson {name}")


def _exercise(card: str) -> str:
    """The command for an exercise, and its title from the card's first line."""
    title = source.text(f"exercises/cards/{card}.md").partition("\n")[0].removeprefix("# ")
    return f"<code>threadchat exercise {card.partition('-')[2]}</code> (<q>{escape(title)}</q>)"
