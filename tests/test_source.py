"""Where definitions, and parts of them, are in the source."""

from __future__ import annotations

from pathlib import Path

import pytest

import threadchat
from threadchat.web import source, www

PACKAGE = Path(threadchat.__file__).parent


def test_a_function_has_all_its_lines_decorators_included() -> None:
    first, lines = source.python_source("websocket/connection.py", "Connection.ending")
    assert lines[0] == "@property"
    assert lines[1] == "def ending(self) -> str:"
    text = (PACKAGE / "websocket/connection.py").read_text().split("\n")
    assert [line.strip() for line in lines] == [line.strip() for line in text[first - 1 : first - 1 + len(lines)]]
    assert not text[first - 1 + len(lines)]  # the next line is blank


def test_a_function_that_does_not_exist_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match=r"hub\.py has no Hub\.walk"):
        source.python_source("hub.py", "Hub.walk")


def test_a_file_that_does_not_exist_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match=r"no file nothing\.py"):
        source.python_source("nothing.py", "f")


@pytest.mark.parametrize(
    ("what", "first", "last"),
    [
        ("hub", "// A hub is ", "}"),  # with the comment above it
        ("hub.run", "// run ", "}"),
        ('hub.run line "select {"', "select {", "select {"),
        ('hub.run from "select {" to "case"', "select {", "case c := <-h.register:"),
    ],
)
def test_lines_of_go_are_found(what: str, first: str, last: str) -> None:
    lines = source.excerpt("chat.go", source.find("chat.go", what)).split("\n")
    assert lines[0].startswith(first)
    assert lines[-1].strip() == last
    assert "\n".join(line.strip() for line in lines) in "\n".join(
        line.strip() for line in (www.WWW / "chat.go").read_text().split("\n")
    )
