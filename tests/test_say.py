"""Messages without a WebSocket: POST /say and /r/NAME/say, and `App.publish`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT, V1, Answer, Clock, Peer, Running, Serve, ask, go, until

from threadchat.log import OnItsWay, StoreDown
from threadchat.log.writer import SAID_BUFFER, LogWriter
from threadchat.messages import message
from threadchat.rooms import NoRoom
from threadchat.web import allowance

PLAIN = {"Content-Type": "text/plain"}
JSON = {"Content-Type": "application/json"}


def say(server: Running, text: str, path: str = "/say", **headers: str) -> Answer:
    return ask(server, "POST", path, {**PLAIN, **headers}, text.encode())


def test_a_posted_text_reaches_all_and_is_answered_with_its_token(serve: Serve) -> None:
    server = serve()
    with V1(server.port, name="Ann") as ann, Peer(server.port) as plain:
        answer = say(server, "build\r\ndone ")
        got = ann.until(type="msg")
        assert (answer.status, answer.body.decode()) == (201, got["token"] + "\n")
        assert answer.headers["Cache-Control"] == "no-store"
        assert (got["name"], got["n"], got["text"]) == (None, None, "build\ndone")
        assert plain.lines(1) == ["build done"]
    with V1(server.port, since=answer.body.decode().strip()) as back:
        assert back.hello["recovered"]


def test_json_brings_a_name_and_is_answered_in_json(serve: Serve) -> None:
    server = serve()
    with V1(server.port, name="Ann") as ann, Peer(server.port) as plain:
        answer = ask(server, "POST", "/say", JSON, json.dumps({"text": "é", "name": "Deploy"}).encode())
        got = ann.until(type="msg")
        assert answer.status == 201
        assert json.loads(answer.body) == {"token": got["token"]}
        assert (got["name"], got["text"]) == ("Deploy", "é")
        assert plain.lines(1) == ["Deploy: é"]
        assert ask(server, "POST", "/say?name=CI", JSON, b'{"text":"x"}').status == 201
        assert ann.until(type="msg")["name"] == "CI"


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=utf-8", "application/x-www-form-urlencoded", None])
def test_what_curl_sends_is_taken_as_text(serve: Serve, kind: str | None) -> None:
    server = serve()
    with V1(server.port, name="Ann") as ann:
        body = b"100% of a=b&c"
        assert ask(server, "POST", "/say?name=CI", {"Content-Type": kind} if kind else {}, body).status == 201
        got = ann.until(type="msg")
        assert (got["name"], got["text"]) == ("CI", body.decode())


def test_a_room_gets_its_posts_whatever_its_spelling(serve: Serve) -> None:
    server = serve(room_linger=0.001)
    with V1(server.port, room="den", name="Ann") as ann, Peer(server.port) as lobby:
        assert say(server, "for the den", "/r/DEN/say").status == 201
        assert ann.until(type="msg")["text"] == "for the den"
        assert say(server, "for the lobby", "/r/lobby/say").status == 201
        assert lobby.lines(1) == ["for the lobby"]
    assert say(server, "x", "/r/%E2%80%AE/say").status == 404


def test_the_posts_of_one_address_have_one_tag_and_it_does_not_tell_the_address(serve: Serve) -> None:
    server, other = serve(), serve()
    with V1(server.port) as ann, V1(other.port) as elsewhere:
        tags = []
        for client, each in [(ann, server), (ann, server), (elsewhere, other)]:
            say(each, "x")
            tags.append(client.until(type="msg")["by"])
        assert tags[0] == tags[1] != tags[2]
        assert len(tags[0]) == 24


def test_a_post_cannot_take_the_name_of_somebody_who_is_there(serve: Serve) -> None:
    server = serve()
    with V1(server.port, name="Ann") as ann:
        assert say(server, "I am Ann", "/say?name=ANN").status == 201
        assert ann.until(type="msg")["name"] == "ANN 2"
        with V1(server.port, name="Ann 2") as second:  # the post has not kept it
            assert second.hello["name"] == "Ann 2"


@pytest.mark.parametrize(
    ("status", "headers", "body", "says"),
    [
        (400, PLAIN, b" \n ", "empty"),
        (400, PLAIN, b"\xff", "UTF-8"),
        (400, JSON, b"{", "JSON"),
        (400, JSON, b"[" * 3000, "JSON"),
        (400, JSON, b"[]", "text"),
        (400, JSON, b'{"text":5}', "text"),
        (400, JSON, b'{"text":"x","name":5}', "name"),
        (400, JSON, b'{"text":"\\ud83d"}', "half a character"),
        (400, JSON, b'{"text":"x","name":"\\u0410dmin"}', "reserved"),
        (400, JSON, b'{"text":"x","name":"\\u202e"}', "visible character"),
        (413, PLAIN, b"x" * 513, "at most 512 bytes"),
        (413, PLAIN, b"x" * 100_000, "exceeds"),
        (413, JSON, b'{"text":"' + b"x" * 513 + b'"}', "at most 512 bytes"),
        (415, {"Content-Type": "image/png"}, b"x", "text/plain"),
        (403, {**PLAIN, "Origin": "http://evil.example"}, b"x", "origin"),
    ],
)
def test_what_cannot_be_said_is_refused_and_nobody_hears_it(
    serve: Serve, status: int, headers: dict[str, str], body: bytes, says: str
) -> None:
    server = serve()
    with Peer(server.port) as peer:
        answer = ask(server, "POST", "/say", headers, body)
        assert answer.status == status
        assert says in answer.body.decode()
        peer.talk("nobody heard it")


def test_the_servers_own_page_may_post(serve: Serve) -> None:
    server = serve()
    assert say(server, "x", Origin=f"http://127.0.0.1:{server.port}").status == 201


def test_the_longest_message_can_be_posted_however_json_writes_it(serve: Serve) -> None:
    text = "\x01" + "x" * 510 + "\x01"
    body = '{"text": "' + "".join(f"\\u{ord(each):04x}" for each in text) + '", "name": "' + "\\u0041" * 24 + '"}'
    assert ask(serve(), "POST", "/say", JSON, body.encode()).status == 201


def test_an_address_that_posts_too_fast_is_told_so(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "time", Clock())
    server = serve(message_rate=1)
    assert say(server, "one").status == 201
    refused = say(server, "two")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert say(serve(message_rate=0), "no limit").status == 201


def test_other_methods_are_refused(serve: Serve) -> None:
    answer = ask(serve(), "GET", "/say")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


def test_too_many_rooms_are_answered_with_503(serve: Serve) -> None:
    server = serve(max_rooms=1)
    assert say(server, "x", "/r/den/say").status == 503
    with pytest.raises(NoRoom):
        server.app.publish("x", room="den")


def test_the_application_publishes_from_any_thread(serve: Serve) -> None:
    server = serve(room_linger=0.001)
    with V1(server.port, name="Ann") as ann, V1(server.port, room="den") as den:
        assert server.app.publish("hello") == ann.until(type="msg")["token"]
        sent = [go(server.app.publish, f"{number}", "DEN", "Server") for number in range(20)]
        tokens = {each.result(LIMIT) for each in sent}
        heard = [den.until(type="msg") for _ in sent]
        assert {each["token"] for each in heard} == tokens
        assert {each["text"] for each in heard} == {f"{number}" for number in range(20)}
        assert {(each["name"], each["by"]) for each in heard} == {("Server", "server")}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"text": b"bytes"}, TypeError),
        ({"text": None}, TypeError),
        ({"text": "x", "name": 5}, TypeError),
        ({"text": "x", "room": 5}, TypeError),
        ({"text": ""}, ValueError),
        ({"text": "x" * 513}, ValueError),
        ({"text": "half a character: \ud83d"}, ValueError),
        ({"text": "x", "name": "\u202e"}, ValueError),
        ({"text": "x", "room": "a/b"}, ValueError),
    ],
)
def test_what_cannot_be_published_raises_in_the_caller(
    serve: Serve, given: dict[str, Any], error: type[Exception]
) -> None:
    server = serve()
    with Peer(server.port) as peer:
        with pytest.raises(error):
            server.app.publish(**given)
        peer.talk("nobody heard it")


@pytest.fixture
def stored(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Running:
    """A server with a store, where a request that waits for the log looks often whether it is down."""
    monkeypatch.setattr("threadchat.web.say.LOG_WAIT", 0.01)
    return serve(store=f"sqlite:{tmp_path / 'chat.db'}", moderator_key="the-organisers")


def writer_of(server: Running) -> LogWriter:
    assert server.app.rooms.writer is not None
    return server.app.rooms.writer


@contextmanager
def busy(server: Running) -> Iterator[None]:
    """While the block runs, the store of the server writes what Ann says, and does not end."""
    store, at_work, goes_on = writer_of(server)._store, threading.Event(), threading.Event()
    write = store.write

    def held(additions: Any) -> Any:
        at_work.set()
        goes_on.wait(LIMIT)
        return write(additions)

    store.write = held  # type: ignore[method-assign]
    try:
        server.app.rooms.lobby.say(message("0", "ann"))
        assert at_work.wait(LIMIT)
        yield
    finally:
        goes_on.set()


def test_a_post_that_waits_as_the_log_goes_down_is_told_so_and_said_once(
    stored: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, down = writer_of(stored)._store, threading.Event()
    write = store.write

    def fails(additions: Any) -> Any:
        if down.is_set():
            raise StoreDown("the disk is full")
        return write(additions)

    monkeypatch.setattr(store, "write", fails)
    with V1(stored.port, name="Ann") as ann:
        ann.until(type="join")
        down.set()
        waiting = say(stored, "waits")
        assert waiting.status == 202
        assert b"This message is said once it is up again" in waiting.body
        later = say(stored, "comes later")
        assert (later.status, later.headers["Retry-After"]) == (503, "10")
        assert b"Come back later" in later.body
        down.clear()
        assert ann.texts(1) == ["waits"]
        until(lambda: say(stored, "and then").status == 201)
        assert ann.texts(1) == ["and then"], "the first one once, and the second one never"


def test_who_is_muted_is_told_so_before_the_log_is_asked(stored: Running) -> None:
    """Nobody would ask again for a post that has stopped waiting."""
    with V1(stored.port, headers={"Authorization": "Bearer the-organisers"}) as organiser:
        assert say(stored, "one").status == 201
        organiser.send(type="mute", by=organiser.until(type="msg")["by"])
        organiser.until(order="mute")
        with busy(stored):
            refused = go(say, stored, "two")
            until(lambda: refused.done() or len(writer_of(stored).said))
            writer_of(stored).is_down = True
            assert refused.result(LIMIT).status == 403
            writer_of(stored).is_down = False


def test_a_post_that_the_writer_does_not_take_is_not_said(stored: Running) -> None:
    writer, room = writer_of(stored), stored.app.rooms.lobby
    with busy(stored):
        for number in range(1, SAID_BUFFER + 1):
            room.say(message(f"{number}", "ann"))  # the writer's channel is full then
        patient = go(room.post, message("waits, as the log is not down", "bob"), None, 0.01)
        until(lambda: writer.said.statistics().waiting_senders == 1)
        writer.is_down = True
        with pytest.raises(StoreDown) as refused:
            patient.result(LIMIT)
        assert not isinstance(refused.value, OnItsWay)
        writer.is_down = False
    room.post(message("the end", "ann"))
    assert "bob" not in {entry.by for entry in room.log.read(0, 999) or ()}
