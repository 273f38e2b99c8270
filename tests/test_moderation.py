"""The organiser: what each order does, whom it concerns, and that it is said in the room."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from helpers import CLOSE, HANDSHAKE, TEXT, V1, Answer, Clock, Peer, Running, Serve, ask, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from werkzeug.wrappers import Request

from threadchat import moderation
from threadchat.messages import message, order
from threadchat.moderation import Moderation, Visitor

KEY = "the-organisers"
BEARER = {"Authorization": f"Bearer {KEY}"}


class Organiser(V1):
    """Ann, who has the organiser's key."""

    def __init__(self, server: Running, **how: Any) -> None:
        super().__init__(server.port, name="Ann", headers=BEARER, **how)

    def order(self, kind: str, **facts: Any) -> dict[str, Any]:
        """Give an order, and return its entry."""
        self.send(type=kind, **facts)
        return self.until(type="order")


def host(serve: Serve, **options: Any) -> Running:
    return serve(moderator_key=KEY, **options)


def from_address(address: str) -> dict[str, str]:
    """As a proxy says where a client is."""
    return {"X-Forwarded-For": address}


def say(server: Running, text: str = "x", headers: dict[str, str] | None = None) -> Answer:
    return ask(server, "POST", "/say", {"Content-Type": "text/plain", **(headers or {})}, text.encode())


def closed(client: V1) -> tuple[int, str]:
    """How the server has closed the connection."""
    with pytest.raises(ConnectionClosed) as raised:
        client.until(type="never")
    assert raised.value.rcvd is not None
    return raised.value.rcvd.code, raised.value.rcvd.reason


def is_out(server: Running, **how: Any) -> bool:
    """Whether somebody who comes is sent away at once, without a hello."""
    with pytest.raises(ConnectionClosed) as raised:
        V1(server.port, **how)
    return raised.value.rcvd is not None and raised.value.rcvd.code == 4001


# Who may order, and what


def test_hello_tells_organisers_alone_that_they_are(serve: Serve) -> None:
    server = host(serve)
    with Organiser(server) as ann, V1(server.port, name="Bob") as bob:
        assert ann.hello["moderator"] is True
        assert "moderator" not in bob.hello
    cookie = ask(server, "POST", "/key", {}, b'{"key":"the-organisers"}').headers["Set-Cookie"].partition(";")[0]
    with V1(server.port, headers={"Cookie": cookie}) as page, V1(server.port, headers={"Cookie": f"{cookie}x"}) as not_:
        assert page.hello["moderator"] is True
        assert "moderator" not in not_.hello


def test_the_organisers_key_opens_the_door_as_well(serve: Serve) -> None:
    server = host(serve, key="join")
    with Organiser(server) as ann:
        assert ann.hello["moderator"] is True
    with V1(server.port, headers={"Authorization": "Bearer join"}) as bob:
        assert "moderator" not in bob.hello
    with pytest.raises(InvalidStatus):
        V1(server.port)
    assert ask(server, "GET", "/key").status == 401
    assert ask(host(serve), "GET", "/key").status == 204


@pytest.mark.parametrize(
    "line",
    [
        {"type": "kick", "by": "BOB"},
        {"type": "mute", "by": "BOB"},
        {"type": "pardon", "by": "BOB"},
        {"type": "slow", "seconds": 5},
        {"type": "lock", "locked": True},
        {"type": "clear"},
    ],
)
def test_nobody_else_may_order(serve: Serve, line: dict[str, Any]) -> None:
    server = host(serve)
    with V1(server.port, name="Eve") as eve, V1(server.port, name="Bob") as bob:
        eve.send(**{key: bob.by if value == "BOB" else value for key, value in line.items()})
        assert eve.until(type="error")["text"] == "Only an organiser may do this."
        bob.say("still here", n=1)
        assert bob.until(type="msg", n=1)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"type": "kick"}, "not an order"),
        ({"type": "kick", "by": 5}, "not an order"),
        ({"type": "kick", "by": "Bob"}, "Nobody with this tag"),
        ({"type": "mute", "by": "ANN"}, "others than organisers"),
        ({"type": "slow", "seconds": -1}, "not an order"),
        ({"type": "slow", "seconds": True}, "not an order"),
        ({"type": "slow", "seconds": 1e9}, "not an order"),
        ({"type": "lock"}, "not an order"),
        ({"type": "lock", "locked": 1}, "not an order"),
    ],
)
def test_an_order_that_cannot_be_followed_is_answered(serve: Serve, line: dict[str, Any], says: str) -> None:
    with Organiser(host(serve)) as ann:
        ann.send(**{key: ann.by if value == "ANN" else value for key, value in line.items()})
        assert says in ann.until(type="error")["text"]
        ann.say("goes on", n=1)
        assert ann.until(type="msg", n=1)


def test_what_is_ordered_is_said_in_the_room_and_stands_in_the_log(serve: Serve) -> None:
    server = host(serve)
    with Organiser(server) as ann, V1(server.port, name="Bob") as bob, Peer(server.port) as plain:
        entry = ann.order("mute", by=bob.by)
        assert entry == bob.until(type="order")
        facts = {"order": "mute", "text": "Ann muted Bob.", "name": "Ann", "by": ann.by, "target": bob.by}
        assert facts.items() <= entry.items()
        assert {"token", "id", "at"} <= entry.keys()
        assert plain.lines(1) == ["Ann muted Bob."]
        orders: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"type": "pardon", "by": bob.by}, {"text": "Ann pardoned Bob.", "target": bob.by}),
            ({"type": "slow", "seconds": 30}, {"seconds": 30}),
            ({"type": "slow", "seconds": 0}, {"text": "Ann turned slow mode off.", "seconds": 0}),
            ({"type": "lock", "locked": True}, {"text": "Ann locked the room.", "locked": True}),
            ({"type": "lock", "locked": False}, {"text": "Ann unlocked the room.", "locked": False}),
        ]
        for given, facts in orders:
            ann.send(**given)
            assert facts.items() <= bob.until(type="order").items()
        assert "* Ann muted Bob.\n" in ask(server, "GET", "/log.txt").body.decode()
        with V1(server.port, since=entry["token"]) as back:
            assert back.until(type="order")["order"] == "pardon"


# kick


def test_a_session_that_is_put_out_hears_it_and_stays_out(serve: Serve) -> None:
    server = host(serve)
    with Organiser(server) as ann, V1(server.port, name="Bob") as bob, V1(server.port, session=bob.session) as tab:
        bob.send(type="name", name="Robert")
        for each in (ann, bob, tab):
            each.until(type="name")
        assert ann.order("kick", by=bob.by)["text"] == "Ann put Robert out of the room."
        for each in (bob, tab):
            assert each.until(type="order")["order"] == "kick"
            assert closed(each) == (4001, "by the organiser")
        assert is_out(server, session=bob.session)
        assert is_out(server, session=bob.session, name="Another")
        with V1(server.port, room="den", session=bob.session) as elsewhere:
            assert elsewhere.hello["room"] == "den"
        ann.order("pardon", by=bob.by)
        with V1(server.port, session=bob.session) as back:
            back.say("sorry", n=2)
            assert ann.until(type="msg")["text"] == "sorry"


def test_plain_clients_can_be_put_out(serve: Serve) -> None:
    server = host(serve)
    with Organiser(server) as ann, Peer(server.port) as plain:
        plain.talk("hello")
        by = ann.until(type="msg")["by"]
        assert ann.order("kick", by=by)["text"] == "Ann put somebody without a name out of the room."
        frames = plain.receive_all()
        assert [frame.opcode for frame in frames] == [TEXT, CLOSE]
        assert frames[-1].close_code == 4001


def test_a_peer_that_does_not_read_is_put_out_too(serve: Serve) -> None:
    server = host(serve, message_rate=0, write_wait=60)
    with Organiser(server) as ann, Peer(server.port, "/ws?name=Bob", receive_buffer=2048) as bob:
        by = ann.until(type="join", name="Bob")["by"]
        ann.order("kick", by=by)
        until(lambda: len(server.clients) == 1, "the end of the client")
        del bob


def test_an_address_is_taken_in_only_if_nobody_else_uses_it(serve: Serve) -> None:
    server = host(serve, trusted_proxies=1)
    with (
        Organiser(server) as ann,
        V1(server.port, name="Bob", headers=from_address("203.0.113.7")) as bob,
        V1(server.port, name="Cy", headers=from_address("203.0.113.8")) as cy,
        V1(server.port, name="Dee", headers=from_address("203.0.113.8")) as dee,
    ):
        ann.order("kick", by=bob.by)
        assert closed(bob)[0] == 4001
        assert is_out(server, name="Rob", headers=from_address("203.0.113.7"))
        assert say(server, headers=from_address("203.0.113.7")).status == 403
        assert ask(server, "GET", "/log.txt", from_address("203.0.113.7")).status == 403
        ann.order("kick", by=cy.by)
        assert closed(cy)[0] == 4001
        assert say(server, headers=from_address("203.0.113.8")).status == 201
        dee.say("still here", n=1)
        assert ann.until(type="msg", n=1)
        for free in (from_address("203.0.113.9"), {**from_address("203.0.113.7"), **BEARER}):
            with V1(server.port, headers=free) as other:
                assert other.hello
        ann.order("pardon", by=bob.by)
        with V1(server.port, headers=from_address("203.0.113.7")):
            pass


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_neither_this_machines_address_nor_a_proxys_is_taken_in(serve: Serve, header: str) -> None:
    server = host(serve)
    with Organiser(server) as ann, V1(server.port, name="Bob") as bob:
        ann.order("kick", by=bob.by)
        assert say(server).status == 201
        with V1(server.port, name="Cy") as cy:
            assert cy.hello["name"] == "Cy"
    visitors = server.app._visitors
    request = Request({"REMOTE_ADDR": "203.0.113.7", f"HTTP_{header.upper().replace('-', '_')}": "x"})
    assert visitors.visitor(request).address == ""
    assert visitors.visitor(Request({"REMOTE_ADDR": "203.0.113.7"})).address == "203.0.113.7"


# mute


def test_a_session_that_is_muted_says_nothing_whatever_it_is_called(serve: Serve) -> None:
    server = host(serve)
    with Organiser(server) as ann, V1(server.port, name="Bob") as bob:
        bob.say("first", n=1)
        ann.until(type="msg", n=1)
        ann.order("mute", by=bob.by)
        bob.say("second", n=2)
        assert bob.until(type="error") == {"type": "error", "n": 2, "text": "You are muted in this room."}
        bob.send(type="name", name="Bob was here")
        assert bob.until(type="error")["n"] is None
        with V1(server.port, session=bob.session, name="Robert") as tab:
            tab.say("second", n=2)
            assert tab.until(type="error")["n"] == 2
            assert tab.hello["last"] == 1, "the refusal has used no number up"
        ann.say("we read each other", n=1)
        assert bob.until(type="msg", by=ann.by)
        ann.order("pardon", by=bob.by)
        bob.say("second", n=2)
        assert ann.until(type="msg", by=bob.by)["n"] == 2


def test_a_plain_client_that_is_muted_is_told_and_nobody_else(serve: Serve) -> None:
    server = host(serve)
    with Organiser(server) as ann, Peer(server.port, "/ws?name=Bob") as bob:
        bob.send(TEXT, "hello")
        ann.order("mute", by=ann.until(type="msg")["by"])
        assert bob.lines(2) == ["Bob: hello", "Ann muted Bob."]
        bob.send(TEXT, "and more")
        assert bob.lines(1) == ["(You are muted in this room.)"]
        ann.say("quiet now", n=1)
        assert ann.receive()["text"] == "quiet now"


def test_an_address_that_posts_can_be_muted_and_put_out(serve: Serve) -> None:
    server = host(serve)
    with Organiser(server) as ann:
        assert ask(server, "POST", "/say?name=CI", {}, b"spam").status == 201
        by = ann.until(type="msg")["by"]
        assert ann.order("mute", by=by)["text"] == "Ann muted CI."
        refused = say(server)
        assert refused.status == 403
        assert "muted" in refused.body.decode()
        assert ask(server, "GET", "/log.txt").status == 200
        assert say(server, headers=BEARER).status == 201, "organisers are free of it"
        ann.order("kick", by=by)
        assert ask(server, "GET", "/log.txt").status == 403
        assert server.app.publish("the application is nobody's visitor")


# slow


def test_slow_mode_counts_for_each_session(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(moderation, "time", clock)
    server = host(serve)
    with Organiser(server) as ann, V1(server.port, name="Bob") as bob, V1(server.port, session=bob.session) as tab:
        ann.order("slow", seconds=10)
        with V1(server.port, name="Cy") as cy:
            assert cy.hello["slow"] == 10
            for client, number in ((bob, 1), (cy, 1)):
                client.say("one", n=number)
                assert client.until(type="msg", by=client.by)["n"] == number
        for client in (bob, tab):
            client.say("two", n=2)
            error = client.until(type="error")
            assert (error["n"], error["text"]) == (2, "Slow mode is on: wait 10 seconds more.")
        bob.say("one", n=1)
        assert bob.until(type="ack")["n"] == 1, "what was taken is no new message"
        for number in (1, 2):
            ann.say("organisers are free of it", n=number)
            assert ann.until(type="msg", by=ann.by)["n"] == number
        clock.now += 10
        bob.say("two", n=2)
        assert ann.until(type="msg", by=bob.by)["n"] == 2
        ann.order("slow", seconds=0)
        bob.say("three", n=3)
        assert ann.until(type="msg", by=bob.by)["n"] == 3


def test_slow_mode_lets_one_of_many_at_once_through(serve: Serve) -> None:
    server = host(serve, message_rate=0)
    with Organiser(server) as ann, V1(server.port, name="Bob") as bob, Peer(server.port, "/ws?name=Cy") as plain:
        ann.order("slow", seconds=3_600)
        bob.socket.send('{"type":"msg","text":"first","n":1}')
        for number in range(2, 50):
            bob.say("more", n=number)
        assert [bob.until(type="error")["n"] for _ in range(2, 50)] == list(range(2, 50))
        plain.send(TEXT, "one")
        plain.send(TEXT, "two")
        assert set(plain.lines(4)[2:]) == {"Cy: one", "(Slow mode is on: wait 3600 seconds more.)"}
        first, second = say(server), say(server)
        assert (first.status, second.status) == (201, 429)
        assert 3_590 < int(second.headers["Retry-After"]) <= 3_600
        assert ask(server, "GET", "/log.jsonl").body.count(b'"msg"') == 3


# lock


@pytest.mark.usefixtures("patience")
def test_a_lock_keeps_out_those_who_have_not_been_in(serve: Serve) -> None:
    server = host(serve)
    with Organiser(server) as ann:
        with V1(server.port, name="Bob") as bob, V1(server.port, name="Cy") as cy:
            ann.until(type="join", name="Cy")
        ann.order("lock", locked=True)
        for session in (bob.session, cy.session):
            with V1(server.port, session=session) as back:
                assert back.hello["locked"] is True
        with pytest.raises(InvalidStatus) as refused:
            V1(server.port, name="Dee")
        assert refused.value.response.status_code == 403
        assert ask(server, "GET", "/ws", HANDSHAKE).status == 403
        assert say(server).status == 403
        assert ask(server, "GET", "/log.txt").status == 403
        assert ask(server, "GET", "/log.txt", BEARER).status == 200
        with Organiser(server, session=""):
            pass
        with V1(server.port, room="den", name="Dee") as elsewhere:
            assert "locked" not in elsewhere.hello
        ann.order("lock", locked=False)
        with V1(server.port, name="Dee") as dee:
            assert "locked" not in dee.hello
        assert say(server).status == 201


# clear


def test_clear_drops_what_was_said_and_ids_go_on(serve: Serve) -> None:
    server = host(serve)
    with Organiser(server) as ann, V1(server.port, name="Bob") as bob:
        bob.say("secret", n=1)
        first = ann.until(type="msg")
        bob.say("another", n=2)
        last = ann.until(type="msg", n=2)
        entry = ann.order("clear")
        assert entry["id"] == last["id"] + 1
        assert entry["token"].partition(".")[0] == last["token"].partition(".")[0]
        for token in (first["token"], last["token"]):
            with V1(server.port, since=token) as back:
                assert not back.hello["recovered"]
                assert back.receive() == {"type": "gap"}
                assert back.receive()["order"] == "clear"
        with V1(server.port, since=entry["token"]) as back, V1(server.port) as new:
            assert back.hello["recovered"]
            assert new.receive()["order"] == "clear"
            with V1(server.port, since=new.hello["token"]) as again:
                assert again.hello["recovered"], "a newcomer's first token is good"
        assert b"secret" not in ask(server, "GET", "/log.txt").body
        bob.say("another", n=2)
        assert bob.until(type="ack")["n"] == 2, "what was taken is not taken again"
        bob.say("new", n=3)
        assert ann.until(type="msg", n=3)["id"] > entry["id"]


# The state by itself


def test_a_message_that_was_on_its_way_is_taken_unless_its_session_was_put_out() -> None:
    state = Moderation(threading.Lock())
    state.obey(order("mute", "", "ann", "Ann", target="bob"))
    state.check_message(message("x", "bob"), None)
    with pytest.raises(moderation.Refusal):
        state.check_message(message("x", "bob"), Visitor("bob"))
    state.obey(order("kick", "", "ann", "Ann", target="bob"))
    with pytest.raises(moderation.PutOut):
        state.check_message(message("x", "bob"), None)


def test_those_who_have_been_there_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moderation, "MOST_KNOWN", 3)
    state = Moderation(threading.Lock())
    for by in "abcad":
        state.know(by, None)
    state.obey(order("lock", "", "ann", "Ann", locked=True))
    for by in "cad":
        state.check_access(Visitor(by))
    with pytest.raises(moderation.Refusal):
        state.check_access(Visitor("b"))


def test_nothing_is_in_force_any_more_once_all_was_taken_back() -> None:
    state = Moderation(threading.Lock())
    assert not state.in_force
    for there, back in [
        (order("kick", "", "ann", "Ann", target="bob"), order("pardon", "", "ann", "Ann", target="bob")),
        (order("mute", "", "ann", "Ann", target="bob"), order("pardon", "", "ann", "Ann", target="bob")),
        (order("slow", "", "ann", "Ann", seconds=1.0), order("slow", "", "ann", "Ann", seconds=0.0)),
        (order("lock", "", "ann", "Ann", locked=True), order("lock", "", "ann", "Ann", locked=False)),
    ]:
        state.obey(there)
        assert state.in_force
        state.obey(back)
        assert not state.in_force
