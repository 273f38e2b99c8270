"""`create_app(identify=...)`: the application that has mounted the chat says who people are."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import HANDSHAKE, TEXT, V1, Answer, Peer, Process, Running, ask, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from werkzeug.exceptions import Forbidden, TooManyRequests
from werkzeug.wrappers import Request

from threadchat import Identity, create_app
from threadchat.web.visitors import Identify

FOLDER = Path(__file__).parent / "examples"

Known = Callable[..., Running]


def as_asked(request: Request) -> Identity | None:
    """For tests: the header X-User says who it is. A real application asks its own session."""
    user = request.headers.get("X-User")
    if user == "banned":
        raise Forbidden("You are not welcome.")
    return None if user is None else Identity(user.removesuffix("!") or None, moderator=user.endswith("!"))


@pytest.fixture
def known() -> Iterator[Known]:
    """Starts a server that identifies people by `identify`."""
    running: list[Running] = []

    def start(identify: Identify = as_asked, **options: Any) -> Running:
        running.append(Running(make_app=partial(create_app, identify=identify), **options))
        return running[-1]

    yield start
    for each in running:
        each.stop()


def user(name: str) -> dict[str, str]:
    return {"X-User": name}


def test_the_name_is_the_applications_and_cannot_be_changed(known: Known) -> None:
    server = known()
    with V1(server.port, name="Somebody else", headers=user("Ann")) as ann, V1(server.port, name="Ann") as guest:
        assert (ann.hello["name"], guest.hello["name"]) == ("Ann", "Ann 2")
        ann.send(type="name", name="Bob")
        assert "account" in ann.until(type="error")["text"]
        guest.send(type="name", name="Cy")
        assert ann.until(type="name")["name"] == "Cy"
        with Peer(server.port, "/ws?name=x", headers="X-User: Dee\r\n") as plain, V1(server.port) as unknown:
            plain.send(TEXT, "hello")
            assert unknown.until(type="msg")["name"] == "Dee"
        assert ask(server, "POST", "/say?name=x", user("Eve"), b"hello").status == 201
        assert ann.until(type="msg", name="Eve")


def test_posts_of_different_accounts_have_different_tags(known: Known) -> None:
    server = known()
    with V1(server.port) as ann:
        tags = []
        for name in ("Bob", "Cy", "Bob"):
            assert ask(server, "POST", "/say", user(name), b"x").status == 201
            tags.append(ann.until(type="msg")["by"])
        assert tags[0] == tags[2] != tags[1]


def test_what_it_raises_is_the_answer_wherever_it_is_asked(known: Known) -> None:
    server = known()
    banned = user("banned")
    answers: list[Answer] = [
        ask(server, "GET", "/ws", {**HANDSHAKE, **banned}),
        ask(server, "GET", "/r/den/ws", {**HANDSHAKE, **banned}),
        ask(server, "POST", "/say", banned, b"x"),
        ask(server, "GET", "/log.txt", banned),
    ]
    assert [answer.status for answer in answers] == [403] * 4
    assert all(b"You are not welcome." in answer.body for answer in answers)
    assert ask(server, "GET", "/", banned).status == 200, "the page is for everybody"
    assert set(server.app.rooms._rooms) == {"lobby"}
    assert not server.clients


def test_its_headers_are_part_of_the_answer(known: Known) -> None:
    def busy(request: Request) -> Identity | None:
        raise TooManyRequests(retry_after=7)

    answer = ask(known(busy), "GET", "/log.txt")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")


def test_it_may_name_organisers(known: Known) -> None:
    server = known()
    with V1(server.port, headers=user("Ann!")) as ann, V1(server.port, headers=user("Bob")) as bob:
        assert (ann.hello["name"], ann.hello["moderator"]) == ("Ann", True)
        ann.send(type="mute", by=bob.by)
        assert bob.until(type="order")["text"] == "Ann muted Bob."
    with V1(server.port, name="Chosen", headers=user("!")) as nameless:
        assert (nameless.hello["name"], nameless.hello["moderator"]) == ("Chosen", True)


def test_an_account_that_is_put_out_does_not_come_back_as_another_session(known: Known) -> None:
    server = known()
    with (
        V1(server.port, headers=user("Ann!")) as ann,
        V1(server.port, headers=user("Bob")) as bob,
        V1(server.port, headers=user("Bob")) as phone,
    ):
        ann.send(type="kick", by=bob.by)
        for each in (bob, phone):
            with pytest.raises(ConnectionClosed) as closed:
                each.until(type="never")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4001
        with pytest.raises(ConnectionClosed):
            V1(server.port, headers=user("Bob"))
        assert ask(server, "POST", "/say", user("Bob"), b"x").status == 403
        assert ask(server, "GET", "/log.txt", user("Bob")).status == 403
        assert ask(server, "POST", "/say", user("Cy"), b"x").status == 201


def test_the_key_is_asked_for_first(known: Known) -> None:
    asked: list[Request] = []

    def remember(request: Request) -> None:
        asked.append(request)

    server = known(remember, key="k")
    with pytest.raises(InvalidStatus):
        V1(server.port)
    assert not asked
    with V1(server.port, headers={"Authorization": "Bearer k"}):
        assert len(asked) == 1


# The example

COMMANDS = {
    "python": [sys.executable, "flask_login_app.py"],
    "gunicorn": [
        *(sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket"),
        *("--worker-class", "gthread", "--workers", "1", "--threads", "100", "flask_login_app:site"),
    ],
}


@pytest.fixture(params=COMMANDS)
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    pytest.importorskip("flask")
    pytest.importorskip(request.param if request.param == "gunicorn" else "flask")
    with Process(tmp_path, COMMANDS[request.param], cwd=FOLDER, env={**os.environ, "PORT": "0"}) as process:
        assert process.port
        until(lambda: ask(process, "GET", "/", {"Connection": "close"}).status == 200, "the site's answer")
        yield process


def log_in(process: Process, name: str) -> str:
    """The cookie of somebody who has logged in."""
    form = {"Content-Type": "application/x-www-form-urlencoded", "Connection": "close"}
    answer = ask(process, "POST", "/login", form, f"name={name}".encode())
    assert answer.status == 302
    cookie: str = answer.headers["Set-Cookie"].partition(";")[0]
    return cookie


def test_the_example_lets_in_those_who_have_logged_in(example: Process) -> None:
    with Peer(example.port, "/chat/ws") as stranger:
        assert stranger.status == 401
    hellos = {}
    for name in ("Ann", "Bob"):
        cookie = log_in(example, name)
        headers = f"Cookie: {cookie}\r\nSec-WebSocket-Protocol: threadchat.v1\r\n"
        with Peer(example.port, "/chat/ws?name=Other", headers=headers) as peer:
            assert peer.status == 101
            hellos[name] = json.loads(peer.receive().payload.split(b"\n")[0])
        said = ask(example, "POST", "/chat/say", {"Cookie": cookie, "Connection": "close"}, b"hello")
        assert said.status == 201
        assert name in ask(example, "GET", "/chat/log.txt", {"Cookie": cookie, "Connection": "close"}).body.decode()
    assert {name: (hello["name"], hello.get("moderator")) for name, hello in hellos.items()} == {
        "Ann": ("Ann", True),
        "Bob": ("Bob", None),
    }
    assert ask(example, "GET", "/chat/log.txt", {"Connection": "close"}).status == 401
    assert "Traceback" not in example.err
