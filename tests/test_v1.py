"""The protocol threadchat.v1 over real sockets: what is said, what is answered, and what a client that returns gets."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from typing import Any

import pytest
from helpers import LIMIT, V1, Peer, Running, Serve, until
from websockets.exceptions import ConnectionClosed

from threadchat.messages import event, message
from threadchat.protocols.v1 import PAGE

LONGEST = 512  # bytes of a message, at the defaults


def test_hello_says_where_one_is_and_who_is_here(serve: Serve) -> None:
    port = serve().port
    with V1(port, name="Ann") as ann:
        assert ann.hello == {
            "type": "hello",
            "room": "lobby",
            "token": ann.hello["token"],
            "top": 0,
            "recovered": False,
            "last": None,
            "name": "Ann",
            "by": base64.urlsafe_b64encode(hashlib.sha256(ann.session.encode()).digest()[:12]).decode(),  # 96 bits
            "count": 0,
            "here": [],
            "message_size": LONGEST,
        }
        ann.until(type="join")
        with V1(port, name="Bob") as bob:
            assert bob.hello["here"] == [{"name": "Ann", "by": ann.by}]
            assert bob.hello["count"] == bob.hello["top"] == 1


def test_a_message_reaches_all_with_its_name_number_and_time(serve: Serve) -> None:
    port = serve().port
    with V1(port, name="Ann") as ann, V1(port, name="Bob") as bob, Peer(port) as plain:
        ann.say("one\r\ntwo", n=1)
        got = bob.until(type="msg")
        assert got == ann.until(type="msg")
        assert {key: got[key] for key in ("name", "by", "n", "text")} == {
            "name": "Ann",
            "by": ann.by,
            "n": 1,
            "text": "one\ntwo",
        }
        assert got["id"] == 3  # after the two joins
        assert abs(got["at"] - 1_796_000_000) < 10**9
        assert plain.lines(1) == ["Ann: one two"]


def test_plain_clients_and_clients_of_v1_share_a_room(serve: Serve) -> None:
    port = serve(room_linger=0.001).port
    with V1(port, room="den", name="Ann") as ann, Peer(port, "/r/den/ws") as plain, Peer(port) as elsewhere:
        plain.talk("from a plain one")
        got = ann.until(type="msg")
        assert (got["name"], got["n"], got["text"]) == (None, None, "from a plain one")
        with Peer(port, "/r/den/ws?name=Cy") as named:
            assert ann.until(type="join")["name"] == "Cy"
            named.send(1, "hello")
            assert named.lines(1) == plain.lines(1) == ["Cy: hello"]
            assert ann.until(type="msg")["text"] == "hello"
        elsewhere.talk("nothing of the den came here")


def test_a_plain_client_gets_the_history_that_it_asks_for(serve: Serve) -> None:
    port = serve(history=3).port
    with V1(port, name="Ann") as ann:
        for number in range(1, 6):
            ann.say(f"{number}", n=number)
        ann.texts(5)
        with Peer(port, "/ws?history=2") as two, Peer(port, "/ws?history=9") as most, Peer(port) as none:
            assert two.lines(2) == ["Ann: 4", "Ann: 5"]
            assert most.lines(3) == ["Ann: 3", "Ann: 4", "Ann: 5"]
            ann.say("new", n=6)
            assert [peer.lines(1) for peer in (two, most, none)] == [["Ann: new"]] * 3
    for wrong in ("x", "-1", "", "1" * 10):
        with Peer(port, f"/ws?history={wrong}") as refused:
            assert refused.status == 400


@pytest.mark.parametrize(
    ("frame", "number", "says"),
    [
        ("{", None, "not JSON"),
        ("[" * 400, None, "not JSON"),
        ("1" * 3_000, None, "nothing that a client says"),
        ('{"type":"msg","text":"x","n":' + "9" * 3_000 + "}", None, "whole one"),
        ("[]", None, "nothing that a client says"),
        ("null", None, "nothing that a client says"),
        ('{"type":"dance","n":7}', 7, "nothing that a client says"),
        ('{"type":"msg","n":7}', 7, "nothing that a client says"),
        ('{"type":"msg","n":7,"text":5}', 7, "nothing that a client says"),
        ('{"type":"msg","n":0,"text":"x"}', None, "whole one"),
        ('{"type":"msg","n":1.0,"text":"x"}', None, "whole one"),
        ('{"type":"msg","n":true,"text":"x"}', None, "whole one"),
        ('{"type":"msg","n":9007199254740992,"text":"x"}', None, "whole one"),
        ('{"type":"msg","n":7,"text":" \\n "}', 7, "empty"),
        ('{"type":"msg","n":7,"text":""}', 7, "empty"),
        ('{"type":"msg","n":7,"text":"a\tb"}', None, "not JSON"),
        ('{"type":"msg","n":07,"text":"x"}', None, "not JSON"),
        ('{"type":"msg","n":7,"text":"x"}}', None, "not JSON"),
        ('\ufeff{"type":"msg","n":7,"text":"x"}', None, "not JSON"),
        ('\u00a0{"type":"msg","n":7,"text":"x"}', None, "not JSON"),
        ('{"type":"msg","n":7,"text":"\\ud83d"}', 7, "half a character"),
        (json.dumps({"type": "msg", "n": 7, "text": "x" * (LONGEST + 1)}), 7, "at most 512 bytes"),
        (json.dumps({"type": "msg", "n": 7, "text": "é" * (LONGEST // 2 + 1)}), 7, "at most 512 bytes"),
        ('{"type":"name","name":5}', None, "nothing that a client says"),
        ('{"type":"name","name":"\\u202e"}', None, "visible character"),
        ('{"type":"name","name":"\\u0410dmin"}', None, "reserved"),
    ],
)
def test_what_cannot_be_taken_is_answered_and_costs_nobody_else(
    serve: Serve, frame: str, number: int | None, says: str
) -> None:
    with V1(serve().port, name="Ann") as ann:
        ann.socket.send(frame)
        error = ann.until(type="error")
        assert error["n"] == number
        assert says in error["text"]
        ann.say("goes on, and the number is still free", n=1)
        assert ann.until(type="msg")["n"] == 1


def test_a_message_is_the_same_however_its_json_is_written(serve: Serve) -> None:
    ways = {
        1: '{"type":"msg","n":1,"text":"é x"}',
        2: '{"type": "msg", "n": 2, "text": "é x"}',
        3: '{"n":3,"type":"msg","text":"é x"}',
        4: '{"type":"msg","n":4,"text":"\\u00e9 x"}',
        5: ' \t\r\n{"type":"msg","n":5,"text":"é x"}\n',
        6: '{"type":"msg","n":6,"text":"é x","more":[{}]}',
        7: '{"type":"msg","n":7,"text":"y","text":" é x "}',
        999_999_999_999_999: '{"type":"msg","n":999999999999999,"text":" é x "}',
        2**53 - 1: '{"type":"msg","n":9007199254740991,"text":"é x"}',
    }
    with V1(serve().port, name="Ann") as ann:
        for number, way in ways.items():
            ann.socket.send(way)
            got = ann.until(type="msg")
            assert (got["text"], got["n"]) == ("é x", number), way


def test_the_longest_message_fits_however_json_writes_it(serve: Serve) -> None:
    with V1(serve().port, name="Ann") as ann:
        text = "\x01" + "x" * (LONGEST - 2) + "\x01"
        ann.socket.send('{"type": "msg", "n": 1, "text": "' + "".join(f"\\u{ord(each):04x}" for each in text) + '"}')
        assert ann.until(type="msg")["text"] == text


def test_a_frame_that_no_message_needs_ends_the_connection_with_1009(serve: Serve) -> None:
    with V1(serve().port, name="Ann") as ann:
        ann.socket.send(" " * (6 * LONGEST + 257))
        with pytest.raises(ConnectionClosed) as closed:
            ann.until(type="never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("session", ["short", "x" * 65, "with space in it here", "ümlaute-in-der-session"])
def test_a_session_that_is_none_is_refused(server: Running, session: str) -> None:
    with Peer(server.port, headers=f"Sec-WebSocket-Protocol: threadchat.v1, session.{session}\r\n") as peer:
        assert peer.status == 400


@pytest.mark.usefixtures("patience")
def test_promise_11_a_message_that_is_sent_again_is_acknowledged_and_taken_once(serve: Serve) -> None:
    port = serve().port
    with V1(port, name="Ann") as ann, V1(port, name="Bob") as bob:
        ann.say("once", n=4)
        ann.until(type="msg", n=4)
        for number in (4, 3):
            ann.say("once", n=number)
            assert ann.until(type="ack") == {"type": "ack", "n": number}
        ann.say("next", n=5)
        assert bob.texts(2) == ["once", "next"]
    with V1(port, session=ann.session) as again:
        assert again.hello["last"] == 5
        again.say("next", n=5)
        assert again.until(type="ack")["n"] == 5
    with V1(port, session="") as nobody:
        assert nobody.hello["last"] is None


@pytest.mark.usefixtures("patience")
def test_promise_11_a_session_that_recovers_and_has_said_nothing_yet_may_send_its_first_message_again(
    serve: Serve,
) -> None:
    port = serve().port
    with V1(port, name="Ann") as ann:
        token = ann.until(type="join")["token"]
    with V1(port, session=ann.session, since=token) as back:
        assert (back.hello["recovered"], back.hello["last"]) == (True, 0)
    with V1(port, session=ann.session, since="another.1.0") as back:
        assert (back.hello["recovered"], back.hello["last"]) == (False, None)


@pytest.mark.usefixtures("patience")
def test_promise_10_a_client_that_comes_back_gets_all_that_it_missed_once_and_in_order(serve: Serve) -> None:
    port = serve(message_rate=0).port
    with V1(port, name="Ann") as ann:
        with V1(port, name="Bob") as bob:
            ann.say("seen", n=1)
            seen = bob.until(type="msg")
        for number in range(2, 700):
            ann.say(f"{number}", n=number)
            ann.until(type="msg", n=number)
        with V1(port, session=bob.session, since=seen["token"]) as back:
            assert back.hello["recovered"]
            assert back.hello["name"] == "Bob"
            assert back.hello["token"] == seen["token"]
            ids = [back.receive()["id"] for _ in range(back.hello["top"] - seen["id"])]
            assert ids == list(range(seen["id"] + 1, back.hello["top"] + 1))
            ann.say("new", n=700)
            assert back.until(type="msg")["n"] == 700


def test_those_who_come_back_from_different_points_are_sent_the_same_pages(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands may come back at once: each page is made into a frame once, and not for each of them."""
    server = serve(history=0)
    room = server.app.rooms.lobby
    entries = room.log.append([message(f"{number}", "by") for number in range(1, 3 * PAGE)])
    read, pages = room.log.read, []

    def noted(after: int, most: int) -> Any:
        page = read(after, most)
        pages.append([entry.id for entry in page or ()])
        return page

    monkeypatch.setattr(room.log, "read", noted)
    for seen in (5, PAGE - 1):
        with V1(server.port, name="Ann", since=entries[seen - 1].token) as ann:
            assert [ann.until(type="msg")["id"] for _ in range(seen, 3 * PAGE - 1)] == [*range(seen + 1, 3 * PAGE)]
        assert [(page[0], page[-1]) for page in pages[:2]] == [(seen + 1, PAGE), (PAGE + 1, 2 * PAGE)]
        pages.clear()


@pytest.mark.parametrize(
    "kind", ["garbage", "empty parts", "another epoch", "the future", "another check", "no digits"]
)
def test_promise_10_a_token_that_cannot_be_trusted_is_a_gap_and_then_the_history(serve: Serve, kind: str) -> None:
    port = serve(history=2).port
    with V1(port, name="Ann") as ann:
        for number in range(1, 5):
            ann.say(f"{number}", n=number)
        token = ann.until(type="msg", n=4)["token"]
        epoch, number, check = token.split(".")
        wrong = {
            "garbage": "ß./?%00",
            "empty parts": "..",
            "another epoch": f"other.{number}.{check}",
            "the future": f"{epoch}.{int(number) + 1}.{check}",
            "another check": f"{epoch}.{number}.{check[:-1]}{'0' if check[-1] != '0' else '1'}",
            "no digits": f"{epoch}.²{number}.{check}",
        }[kind]
        with V1(port, name="Bob", since=wrong) as bob:
            assert not bob.hello["recovered"]
            assert bob.receive() == {"type": "gap"}
            assert bob.texts(2) == ["3", "4"]


def test_promise_10_what_was_trimmed_away_is_a_gap(serve: Serve) -> None:
    port = serve(keep=1, message_rate=0).port  # 1,024 entries are kept in any case, for those who are joining
    with V1(port, name="Ann") as ann:
        ann.say("first", n=1)
        old = ann.until(type="msg")["token"]
        for number in range(2, 1_400):
            ann.say(f"{number}", n=number)
        recent = ann.until(type="msg", n=1_399)["token"]
        with V1(port, since=old) as back:
            assert not back.hello["recovered"]
            assert back.receive() == {"type": "gap"}
        with V1(port, since=recent) as back:
            assert back.hello["recovered"]


def test_where_nothing_is_kept_nothing_is_recovered_and_no_history_shown(serve: Serve) -> None:
    port = serve(keep=0).port
    with V1(port, name="Ann") as ann:
        ann.say("gone", n=1)
        token = ann.until(type="msg")["token"]
        with V1(port, name="Bob", since=token) as bob:
            assert not bob.hello["recovered"]
            assert bob.receive() == {"type": "gap"}
            assert bob.receive()["type"] == "join"


@pytest.mark.usefixtures("patience")
def test_names_are_one_of_a_kind_and_are_kept_over_a_reconnect(serve: Serve) -> None:
    port = serve().port
    with V1(port, name="Ann") as ann, V1(port, name="ANN") as second, V1(port, name="\u0410nn") as third:
        assert [each.hello["name"] for each in (ann, second, third)] == ["Ann", "ANN 2", "\u0410nn 3"]
        with V1(port, session=ann.session) as tab:
            assert tab.hello["name"] == "Ann"
        ann.send(type="name", name="ann 2")
        assert second.until(type="name") == second_name(ann, "ann 2 2")
        second.send(type="name", name="Ann")
        assert ann.until(type="name", by=second.by)["name"] == "Ann"
    with V1(port) as guest, V1(port, name="server") as reserved:
        assert [guest.hello["name"], reserved.hello["name"]] == ["Guest", "Guest 2"]


def second_name(client: V1, name: str) -> Any:
    class Fact:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, dict) and (other["by"], other["name"]) == (client.by, name)

    return Fact()


def test_left_waits_for_the_session_to_come_back(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    waiting: list[Any] = []
    timers = server.app.rooms._timers
    monkeypatch.setattr(timers, "after", lambda seconds, function: waiting.append((seconds, function)))
    with V1(server.port, name="Ann") as ann:
        ann.until(type="join", name="Ann")
        with V1(server.port, name="Bob") as bob:
            assert ann.until(type="join", name="Bob")
        until(lambda: waiting)
        with V1(server.port, session=bob.session) as back:
            (seconds, leave) = waiting.pop()
            assert seconds == 5.0
            leave()
            ann.say("Bob is still here", n=1)
            assert ann.receive()["type"] == "msg"
            assert {each["by"] for each in back.hello["here"]} == {ann.by, bob.by}
        until(lambda: waiting)
        waiting.pop()[1]()
        assert ann.receive()["type"] == "leave"


def test_a_client_that_catches_up_when_the_server_stops_is_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    room = server.app.rooms.lobby
    stops: list[Any] = []

    def read_and_stop(after: int, most: int) -> Any:
        if not stops:
            stops.append(server.stop_in_thread())
            until(lambda: room._stopped)
        return []

    monkeypatch.setattr(room.log, "read", read_and_stop)
    with V1(server.port, name="Ann", at_once=True) as late:
        with pytest.raises(ConnectionClosed) as closed:
            late.until(type="never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    stops[0].join(LIMIT)
    assert not stops[0].is_alive()


@pytest.mark.usefixtures("patience")
def test_a_new_name_on_coming_back_is_said(serve: Serve) -> None:
    port = serve().port
    with V1(port, name="Bob") as bob:
        bob.until(type="join", name="Bob")  # else it may follow Ann's
        with V1(port, name="Ann") as ann:
            bob.until(type="join", name="Ann")
        with V1(port, name="Zoe", session=ann.session) as zoe:
            assert zoe.hello["name"] == "Zoe"
            assert bob.receive() == zoe.until(type="name", by=ann.by, name="Zoe")
            with V1(port, name="Cy") as late:
                assert late.hello["here"] == [{"name": "Bob", "by": bob.by}, {"name": "Zoe", "by": ann.by}]


def test_two_names_that_overtake_each_other_end_with_the_one_that_the_session_has(serve: Serve) -> None:
    room = serve().app.rooms.lobby
    person = room.people.arrive("by", "Ann")
    room.say(event("join", "by", "Ann"))
    until(lambda: room.log.top == 1)
    first = room.people.rename(person, "First")
    second = room.people.rename(person, "Second")
    for name in (second, first):  # two read pumps, each of which renamed and was then overtaken
        room.say(event("name", "by", name))
    until(lambda: room.log.top == 2)
    assert room.snapshot(1).here == (("by", "Second"),)
    room.depart(person)


def test_whoever_is_here_at_hello_and_what_follows_it_leave_nobody_out(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody joins while hello is made, in a room that shows newcomers no history."""
    server = serve(history=0)
    log = server.app.rooms.lobby.log
    recent = log.recent
    came: list[Peer] = []

    def somebody_joins(count: int) -> int:
        if not came:
            came.append(Peer(server.port, "/ws?name=Bob"))
            until(lambda: log.top == 1)
        return recent(count)

    monkeypatch.setattr(log, "recent", somebody_joins)
    with V1(server.port, name="Ann") as ann:
        assert ann.hello["top"] == 0
        assert ann.hello["here"] == []
        assert [ann.receive()["name"] for _ in range(2)] == ["Bob", "Ann"]
    came[0].close()


def test_left_waits_anew_each_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    waiting: list[Any] = []
    monkeypatch.setattr(server.app.rooms._timers, "after", lambda seconds, function: waiting.append(function))
    with V1(server.port, name="Ann") as ann:
        ann.until(type="join", name="Ann")
        with V1(server.port, name="Bob") as bob:
            ann.until(type="join", name="Bob")
        until(lambda: len(waiting) == 1)
        with V1(server.port, session=bob.session):
            pass
        until(lambda: len(waiting) == 2)
        waiting[0]()  # 5 seconds after the first time, and at once after the second
        ann.say("Bob may come back", n=1)
        assert ann.receive()["type"] == "msg"
        waiting[1]()
        assert ann.receive()["type"] == "leave"


def test_a_session_that_is_cut_off_while_it_catches_up_is_told_at_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of the history is not sent after the server has begun to stop."""
    server = serve()
    room = server.app.rooms.lobby
    room.log.append([message("x" * 100, "by") for _ in range(5 * PAGE)])
    stops: list[threading.Thread] = []
    read = room.log.read

    def read_and_stop(after: int, most: int) -> Any:
        if not stops:
            stops.append(server.stop_in_thread())
            until(lambda: all(connection.is_ending for connection in room._arriving))
        return read(after, most)

    with V1(server.port) as first:
        since = first.until(type="join")["token"]
        monkeypatch.setattr(room.log, "find", lambda text: 0)
        monkeypatch.setattr(room.log, "read", read_and_stop)
        with V1(server.port, since=since, at_once=True) as late:
            with pytest.raises(ConnectionClosed) as closed:
                late.until(type="msg", id=PAGE + 1)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
    stops[0].join(LIMIT)
    assert not stops[0].is_alive()
