"""Where a definition is in this program's source and in the Go twin, www/chat.go.

A file is named relative to the package ("web/server.py"), or to www/ if it is neither Python nor Markdown ("chat.go").
A definition has its name ("Client.write_pump", "serve_ws") and in Go the receiver's type before a method
("client.writePump"). Each file is read once. Any thread may call any function.

All functions raise LookupError, with a sentence, for what is not there: a file, a definition, a text.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from functools import cache

from threadchat.web import www


def python_source(file: str, function: str) -> tuple[int, list[str]]:
    """The number of the first line of a definition, and its lines without their indentation, decorators included."""
    where = find(file, function)
    return where.start, excerpt(file, where).split("\n")


def excerpt(file: str, where: range) -> str:
    """These lines of the file, without their common indentation."""
    return textwrap.dedent("\n".join(_lines(file, where)))


def find(file: str, what: str) -> range:
    """The numbers of the lines that are named by `what`, which is one of

    - a definition: `hub.run`;
    - a part of it, from the first line with a text to the next line with another: `hub.run from "default:" to "}"`;
    - the first line of it with a text: `hub.run line "select"`.
    """
    parts = re.fullmatch(r'(\S+)(?: from "(?P<first>.+?)" to "(?P<last>.+?)"| line "(?P<line>.+?)")?', what)
    if not parts:
        raise LookupError(f"{what!r} names no lines of {file}")
    where = _whole(file, parts[1])
    if first := parts["first"] or parts["line"]:
        where = range(_line_with(first, file, where), where.stop)
        last = where.start if parts["line"] else _line_with(parts["last"], file, where[1:])
        where = range(where.start, last + 1)
    return where


@cache
def text(file: str) -> str:
    """The whole file."""
    folder = www.PACKAGE if file.endswith((".py", ".md")) else www.WWW
    try:
        return folder.joinpath(*file.split("/")).read_text(encoding="utf-8")
    except (OSError, KeyError) as error:  # KeyError: in a zip file
        raise LookupError(f"there is no file {file}") from error


@cache
def tree(file: str) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(text(file))


def _lines(file: str, where: range) -> list[str]:
    return text(file).split("\n")[where.start - 1 : where.stop - 1]


def _line_with(part: str, file: str, where: range) -> int:
    for number, line in zip(where, _lines(file, where), strict=True):
        if part in line:
            return number
    raise LookupError(f"no line of {file} from {where.start} to {where.stop - 1} has {part!r}")


def _whole(file: str, name: str) -> range:
    try:
        return _definitions(file)[name]
    except KeyError:
        raise LookupError(f"{file} has no {name}") from None


@cache
def _definitions(file: str) -> dict[str, range]:
    """The lines of each definition of the file."""
    return dict(_python_definitions(tree(file)) if file.endswith(".py") else _go_definitions(text(file)))


def _python_definitions(node: ast.AST, inside: str = "") -> Iterator[tuple[str, range]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            first = min(part.lineno for part in (child, *child.decorator_list))
            yield inside + child.name, range(first, (child.end_lineno or first) + 1)
            yield from _python_definitions(child, f"{inside}{child.name}.")


_GO_DEFINITION = re.compile(
    r"^(?://.*\n)*"  # the comment above belongs to it
    r"(?:type (?P<type>\w+) struct|func (?:\(\w+ \*(?P<receiver>\w+)\) )?(?P<function>\w+)\()"
    r"(?:.*\n)*?}$",  # gofmt indents every brace but the last
    re.MULTILINE,
)


def _go_definitions(source: str) -> Iterator[tuple[str, range]]:
    for match in _GO_DEFINITION.finditer(source):
        name = ".".join(filter(None, (match["receiver"], match["type"] or match["function"])))
        first = source.count("\n", 0, match.start()) + 1
        yield name, range(first, first + match[0].count("\n") + 1)
