"""The join key: what opens the door, what a page is given for it, and what somebody who guesses learns."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from http.cookies import SimpleCookie

import pytest
from helpers import HANDSHAKE, V1, Answer, Clock, Running, Serve, ask
from websockets.exceptions import InvalidStatus
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from threadchat.options import Options
from threadchat.web import allowance
from threadchat.web.app import create_app

KEY = "open-sesame"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(allowance, "time", made)
    return made


def give(server: Running, key: object, **headers: str) -> Answer:
    return ask(server, "POST", "/key", headers, json.dumps({"key": key}).encode())


def cookie_of(answer: Answer) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0]


def wrong_cookie(server: Running) -> dict[str, str]:
    """The header of a cookie that has the right name and another value."""
    return {"Cookie": f"{cookie_of(give(server, KEY)).partition('=')[0]}=none"}


def guarded(server: Running, headers: dict[str, str]) -> dict[str, int]:
    """The status of each address that needs the key."""
    return {
        "ws": ask(server, "GET", "/ws", {**HANDSHAKE, **headers}).status,
        "room": ask(server, "GET", "/r/den/ws", {**HANDSHAKE, **headers}).status,
        "say": ask(server, "POST", "/say", {"Content-Type": "text/plain", **headers}, b"x").status,
        "log": ask(server, "GET", "/log.txt", headers).status,
        "jsonl": ask(server, "GET", "/log.jsonl", headers).status,
        "key": ask(server, "GET", "/key", headers).status,
    }


OPEN = {"ws": 101, "room": 101, "say": 201, "log": 200, "jsonl": 200, "key": 204}


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Basic {KEY}"}, {"Cookie": "threadchat-key-="}])
def test_without_the_key_the_page_is_served_and_the_chat_is_not(serve: Serve, headers: dict[str, str]) -> None:
    server = serve(key=KEY)
    assert guarded(server, headers) == dict.fromkeys(OPEN, 401)
    assert ask(server, "GET", "/log.txt").headers["WWW-Authenticate"] == "Bearer realm=threadchat"
    assert "den" not in server.app.rooms._rooms
    for page in ("/", "/r/den", "/static/chat/chat.js", "/guide", "/limits"):
        assert ask(server, "GET", page).status == 200


def test_programs_send_the_key_itself(serve: Serve) -> None:
    server = serve(key=KEY, room_linger=0.001)
    assert guarded(server, BEARER) == OPEN
    assert guarded(server, {"Authorization": f"bearer  {KEY}"}) == OPEN
    with V1(server.port, name="Ann", headers=BEARER) as ann:
        ann.say("hello", n=1)
        assert ann.until(type="msg", n=1)["text"] == "hello"
    with pytest.raises(InvalidStatus):
        V1(server.port)


def test_a_page_exchanges_the_key_for_a_cookie(serve: Serve) -> None:
    server = serve(key=KEY, room_linger=0.001)
    answer = give(server, KEY)
    assert (answer.status, answer.body, answer.headers["Cache-Control"]) == (204, b"", "no-store")
    (cookie,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
    assert cookie["httponly"]
    assert not cookie["secure"]
    assert (cookie["samesite"], cookie["path"]) == ("Strict", "/")
    assert KEY not in cookie.value
    assert guarded(server, {"Cookie": cookie_of(answer)}) == OPEN
    assert cookie_of(give(serve(key=KEY), KEY)) == cookie_of(answer), "it holds over a restart"
    assert cookie_of(give(serve(key="another"), "another")) != cookie_of(answer)


def test_the_cookie_keeps_to_where_the_chat_is_mounted_and_to_tls() -> None:
    with closing(create_app(Options(key=KEY))) as chat:
        client = Client(DispatcherMiddleware(NotFound(), {"/a b": chat}))
        answer = client.post("/a b/key", json={"key": KEY}, base_url="https://localhost/")
        assert answer.status_code == 204
        assert answer.headers["Set-Cookie"].partition("; ")[2] == "Secure; HttpOnly; Path=/a%20b/; SameSite=Strict"
        assert client.get("/a b/key", base_url="https://localhost/").status_code == 204


def test_a_chat_without_a_key_needs_none_and_gives_no_cookie(serve: Serve) -> None:
    server = serve(room_linger=0.001)
    assert guarded(server, {}) == guarded(server, {"Authorization": "Bearer x"}) == OPEN
    answer = give(server, "an old key")
    assert (answer.status, answer.headers["Set-Cookie"]) == (204, None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"key":"wrong"}'),
        (401, b'{"key":""}'),
        (401, b'{"key":"\\ud83d"}'),
        (400, b""),
        (400, b"[" * 2000),
        (400, b'{"key":5}'),
        (400, b'"open-sesame"'),
        (413, b'{"key":"' + b"x" * 3000 + b'"}'),
    ],
)
def test_what_is_not_the_key_is_refused(serve: Serve, status: int, body: bytes) -> None:
    answer = ask(serve(key=KEY), "POST", "/key", {}, body)
    assert (answer.status, answer.headers["Set-Cookie"]) == (status, None)


def test_a_page_of_another_site_cannot_give_the_key(serve: Serve) -> None:
    assert give(serve(key=KEY), KEY, Origin="http://evil.example").status == 403


def test_an_address_has_few_tries_wherever_it_makes_them(serve: Serve, clock: Clock) -> None:
    server = serve(key=KEY)
    for number in range(4):
        assert give(server, f"wrong {number}").status == 401
        assert ask(server, "GET", "/log.txt", {"Authorization": f"Bearer no {number}"}).status == 401
    assert ask(server, "GET", "/ws", {**HANDSHAKE, "Authorization": "Bearer no"}).status == 401
    assert ask(server, "GET", "/key", wrong_cookie(server)).status == 401
    for right in (give(server, KEY), ask(server, "GET", "/log.txt", BEARER)):
        assert (right.status, right.headers["Retry-After"]) == (429, "10")
    assert ask(server, "GET", "/log.txt").status == 401, "to send nothing is no try"
    clock.now += 10
    assert give(server, KEY).status == 204


def test_right_keys_and_the_same_wrong_one_again_use_no_tries_up(serve: Serve, clock: Clock) -> None:
    server = serve(key=KEY)
    wrong = wrong_cookie(server)
    for _ in range(30):
        assert give(server, KEY).status == 204
        assert ask(server, "GET", "/key", wrong).status == 401


def test_two_chats_on_one_host_do_not_lock_each_others_people_out(serve: Serve) -> None:
    one, other = serve(key=KEY), serve(key="another")
    both = {"Cookie": f"{cookie_of(give(one, KEY))}; {cookie_of(give(other, 'another'))}"}
    jar = SimpleCookie(both["Cookie"])
    assert len(jar) == 2, "a browser keeps both: it knows a cookie by its name, and not by the port"
    for server in (one, other):
        assert ask(server, "GET", "/key", both).status == 204


def test_an_organisers_key_takes_the_place_of_the_join_key(serve: Serve) -> None:
    server = serve(key=KEY, moderator_key="of-the-house")
    names = {cookie_of(give(server, key)).partition("=")[0] for key in (KEY, "of-the-house")}
    assert len(names) == 1


def test_no_key_and_no_cookie_is_ever_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(key=KEY)
    cookie = cookie_of(give(server, KEY))
    guarded(server, BEARER)
    guarded(server, {"Cookie": cookie})
    give(server, "a-wrong-one")
    assert "POST /key" in caplog.text
    for secret in (KEY, cookie.partition("=")[2], "a-wrong-one"):
        assert secret not in caplog.text
    assert KEY not in repr(server.app.options)
