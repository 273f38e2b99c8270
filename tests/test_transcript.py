"""The transcript: what a room keeps, as text and as JSON, without making the room."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from helpers import V1, Peer, Serve, ask

from threadchat.messages import message
from threadchat.web import transcript

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ "


def test_the_text_says_when_who_and_what(serve: Serve) -> None:
    server = serve()
    with V1(server.port, name="Ann") as ann, Peer(server.port) as plain:
        ann.say("one\ntwo", n=1)
        ann.texts(1)
        plain.send(1, "\x1b[31mred\x85!")
        ann.texts(1)
        ann.send(type="name", name="Anna")
        ann.until(type="name")
        answer = ask(server, "GET", "/log.txt")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert answer.headers["Cache-Control"] == "no-store"
    lines = answer.body.decode().split("\n")
    assert [re.sub(f"^{TIME}", "", line) for line in lines] == [
        "* Ann joined",
        "Ann: one",
        "    two",
        "(no name): \ufffd[31mred\ufffd!",
        "* Ann is now called Anna",
        "",
    ]
    assert all(re.match(TIME, line) for line in lines if line and not line.startswith(" "))


def test_the_json_has_the_lines_of_the_protocol(serve: Serve) -> None:
    server = serve(room_linger=60)
    with V1(server.port, room="den", name="Ann") as ann:
        ann.say("one\ntwo", n=1)
        seen = [ann.receive(), ann.receive()]
        answer = ask(server, "GET", "/r/DEN/log.jsonl")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.body.decode().splitlines()] == seen
    assert ask(server, "HEAD", "/r/den/log.jsonl").body == b""


def test_it_is_read_page_by_page_up_to_what_was_newest(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    log = server.app.rooms.lobby.log
    count = 3 * transcript.PAGE + 7
    log.append([message(f"{number}", "by") for number in range(count)])
    read, pages = log.read, []

    def read_and_append(after: int, most: int) -> Any:
        pages.append(most)
        page = read(after, most)
        log.append([message("too late", "by")])
        return page

    monkeypatch.setattr(log, "read", read_and_append)
    answer = ask(server, "GET", "/log.jsonl")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    texts = [json.loads(line)["text"] for line in answer.body.decode().splitlines()]
    assert texts == [f"{number}" for number in range(count)]
    assert pages == [transcript.PAGE] * 4


def test_what_is_dropped_meanwhile_is_a_gap(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(keep=10)
    log = server.app.rooms.lobby.log
    log.append([message(f"{number}", "by") for number in range(20)])
    read = log.read

    def fill_and_read(after: int, most: int) -> Any:
        monkeypatch.undo()
        log.append([message("new", "by") for _ in range(3_000)])
        return read(after, most)

    monkeypatch.setattr(log, "read", fill_and_read)
    answer = ask(server, "GET", "/log.jsonl")
    assert json.loads(answer.body.decode().splitlines()[0]) == {"type": "gap"}


def test_nothing_is_shown_where_nothing_is_kept(serve: Serve) -> None:
    server = serve(keep=0)
    server.app.publish("secret")
    answer = ask(server, "GET", "/log.txt")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("path", ["/r/den/log.txt", "/r/den/log.jsonl", "/r/%E2%80%AE/log.txt", "/log.csv"])
def test_a_room_that_is_not_there_is_not_found_and_not_made(serve: Serve, path: str) -> None:
    server = serve()
    assert ask(server, "GET", path).status == 404
    assert set(server.app.rooms._rooms) == {"lobby"}


def test_each_page_has_the_whole_time_limit(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    server.app.rooms.lobby.log.append([message("x", "by") for _ in range(2 * transcript.PAGE)])
    requests = server.server._server.requests
    began: list[Any] = []
    was_read = requests.was_read

    def begin(connection: Any) -> None:
        began.append(connection)
        was_read(connection)

    monkeypatch.setattr(requests, "was_read", begin)
    assert ask(server, "GET", "/log.txt").status == 200
    assert len(began) == 3  # the request, and two pages
