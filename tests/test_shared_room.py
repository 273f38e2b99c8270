"""Several processes over one Redis are one chat. Here they are servers in one process, each with its own threads."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import pytest
from helpers import FAR, LIMIT, V1, Held, Peer, RedisServer, Running, Serve, ask, go, needs_redis, until
from websockets.exceptions import ConnectionClosed

from threadchat import shared_room, stored_room
from threadchat.channel import Closed
from threadchat.log import Addition, reader
from threadchat.log import redis as store_module
from threadchat.log.redis import RedisStore
from threadchat.log.writer import LogWriter
from threadchat.messages import Entry, message
from threadchat.shared_room import SharedRoom

pytestmark = needs_redis
KEY = {"Authorization": "Bearer the-organisers"}


@pytest.fixture
def redis(empty_redis: RedisServer) -> RedisServer:
    return empty_redis


@pytest.fixture
def start(serve: Serve, redis: RedisServer) -> Callable[..., Running]:
    """Starts one more server over the same Redis."""
    return lambda **options: serve(**{"store": redis.unix_url, "moderator_key": "the-organisers", **options})


@pytest.fixture
def both(start: Callable[..., Running]) -> tuple[Running, Running]:
    return start(), start()


def lobby(server: Running) -> SharedRoom:
    room = server.app.rooms.lobby
    assert isinstance(room, SharedRoom)
    return room


def tops(*servers: Running) -> set[int]:
    return {lobby(server).log.top for server in servers}


def kept(server: Running) -> Sequence[Entry]:
    log = lobby(server).log
    return log.read(log.start[0], 999) or ()


def log_of(server: Running) -> bytes:
    return ask(server, "GET", "/log.jsonl").body


def test_all_processes_see_everything_in_one_order(both: tuple[Running, Running]) -> None:
    one, two = both
    with V1(one.port, name="Ann") as ann, V1(two.port, name="Bob") as bob, Peer(two.port) as plain:
        ann.until(type="join", name="Bob")
        assert {each["name"] for each in bob.hello["here"]} == {"Ann"} or bob.hello["count"] == 0

        def talk(who: V1) -> None:
            for number in range(1, 101):
                who.say(f"{who.by} {number}", n=number)
                who.until(type="msg", by=who.by, n=number)

        for each in (go(talk, ann), go(talk, bob)):
            each.result(LIMIT)
        two.app.publish("the end", name="CI")
        assert plain.lines(201)[-1] == "CI: the end"
        until(lambda: tops(one, two) == {203})
    until(lambda: log_of(one) == log_of(two), "one log")
    numbers: dict[str, list[int]] = {}
    for line in map(json.loads, log_of(one).splitlines()):
        if line.get("n"):
            numbers.setdefault(line["by"], []).append(line["n"])
    assert [*numbers.values()] == [[*range(1, 101)]] * 2, "each once, and each person's own in their order"


@pytest.mark.usefixtures("patience")
def test_whoever_comes_back_to_another_process_misses_nothing_and_says_nothing_twice(
    both: tuple[Running, Running],
) -> None:
    one, two = both
    with V1(one.port, room="den", name="Ann") as ann:
        ann.say("1", n=1)
        seen = ann.until(type="msg")
    with V1(two.port, room="den", name="Bob") as bob:
        assert bob.texts(1) == ["1"], "history"
        bob.say("2", n=1)
        bob.until(text="2")
        with V1(two.port, room="den", session=ann.session, since=seen["token"]) as back:
            assert back.hello["recovered"]
            assert back.hello["name"] == "Ann"
            assert back.hello["last"] == 1
            assert back.texts(1) == ["2"]
            back.say("1", n=1)
            assert back.until(type="ack") == {"type": "ack", "n": 1}


def test_a_message_counts_where_it_was_said_and_a_delivery_for_each_client(both: tuple[Running, Running]) -> None:
    one, two = both
    with V1(one.port) as ann, V1(two.port) as bob:
        until(lambda: all(len(server.app.rooms.lobby.hub.clients) == 1 for server in both))
        for who, number in ((ann, 1), (ann, 2), (ann, 2), (bob, 1)):  # the third is a repeat
            who.say(f"{who.by} {number}", n=number)
            who.until(n=number)
        for who in (ann, bob):
            who.until(type="msg", by=bob.by)
        assert [server.app.rooms.tally.passed() for server in both] == [(2, 3), (1, 3)]


def test_a_session_with_connections_to_two_processes_joins_once_and_leaves_last(
    both: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadchat.room.LEAVE_WAIT", 0.0)
    one, two = both
    with V1(one.port, name="Bob") as bob:
        bob.until(type="join", name="Bob")
        with V1(two.port, name="Ann") as ann:
            bob.until(type="join", name="Ann")
            with V1(one.port, session=ann.session) as again:
                again.until(type="join", name="Ann")
                until(lambda: tops(one, two) == {2})
            until(lambda: not lobby(one).people.is_connected(ann.by))
            one.app.publish("in between")
            line = bob.receive()
            assert line.get("text") == "in between", line
        assert bob.receive()["type"] == "leave"


def test_orders_hold_in_every_process(both: tuple[Running, Running]) -> None:
    one, two = both
    with V1(one.port, name="Ann", headers=KEY) as ann, V1(two.port, name="Bob") as bob, V1(two.port, name="Cy") as cy:
        ann.until(type="join", name="Cy")
        ann.send(type="mute", by=bob.by)
        bob.until(order="mute")
        bob.say("x", n=1)
        assert bob.until(type="error")["text"] == "You are muted in this room."
        ann.send(type="slow", seconds=30)
        cy.until(order="slow")
        cy.say("first", n=1)
        cy.until(text="first")
        with V1(one.port, session=cy.session) as elsewhere:
            elsewhere.say("second", n=2)
            assert elsewhere.until(type="error")["text"].startswith("Slow mode is on: wait")
        ann.send(type="lock", locked=True)
        cy.until(order="lock")
        with pytest.raises(Exception, match="403"):
            V1(two.port, name="Dan")
        ann.send(type="clear")
        cy.until(order="clear")
        until(lambda: [each.kind for each in kept(two)] == ["order"])
        ann.send(type="kick", by=bob.by)
        bob.until(order="kick")
        with pytest.raises(ConnectionClosed) as closed:
            bob.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4001
        assert cy.until(order="kick")["target"] == bob.by


@pytest.mark.parametrize("kind", ["kick", "mute", "pardon"])
def test_an_order_against_an_organiser_is_refused_whatever_process_the_organiser_is_in(
    start: Callable[..., Running], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadchat.room.LEAVE_WAIT", 0.0)
    one, two, three = start(), start(), start()
    with V1(one.port, name="Ann", headers=KEY) as ann, V1(two.port, name="Bob", headers=KEY) as bob:
        ann.until(type="join", name="Bob")
        with V1(three.port, session=bob.session, headers=KEY):
            for each in (one, two, three):
                until(lambda each=each: bob.by in lobby(each)._here)  # type: ignore[misc]
            ann.send(type=kind, by=bob.by)
            assert ann.until(type="error")["text"] == "This is meant for others than organisers."
        until(lambda: not lobby(three).people.is_connected(bob.by))
        two.app.publish("behind the leave that is none")
        ann.send(type=kind, by=bob.by)
        assert ann.until(type="error")["text"] == "This is meant for others than organisers."
        assert not [entry for entry in kept(two) if entry.kind == "order"]
        assert not lobby(one).moderation.in_force
        bob.close()
        ann.until(type="leave", by=bob.by)
        ann.send(type=kind, by=bob.by)
        assert ann.until(type="order")["order"] == kind, "as in one process: whoever has gone is no organiser now"


def test_an_organiser_whose_process_died_is_none_any_more(both: tuple[Running, Running]) -> None:
    one, two = both
    with V1(one.port, name="Ann", headers=KEY) as ann, V1(two.port, name="Bob", headers=KEY) as bob:
        ann.until(type="join", name="Bob")
        died = lobby(two)._writer.reader
        assert died is not None
        died.stop()  # so that it does not say that Bob is still there
        died._store.bury(died._store.process)
        ann.until(type="leave", by=bob.by)
        ann.send(type="mute", by=bob.by)
        assert ann.until(type="order")["target"] == bob.by


def test_a_kick_takes_in_the_address_that_only_the_targets_process_knows(both: tuple[Running, Running]) -> None:
    one, two = both
    one_room, two_room = lobby(one), lobby(two)
    with V1(one.port, name="Ann", headers=KEY) as ann, V1(two.port, name="Bob") as bob:
        ann.until(type="join", name="Bob")
        moderation = two_room.moderation
        ((connection, seat),) = moderation._seats.items()
        moderation._seats[connection] = type(seat)(seat.by, "10.0.0.1", "10.0.0.1")
        ann.send(type="kick", by=bob.by)
        with pytest.raises(ConnectionClosed):
            bob.until(type="what never comes")
        assert "address 10.0.0.1" in moderation._out
        assert f"by {bob.by}" in one_room.moderation._out


def test_publish_and_say_answer_with_the_token_that_all_processes_know(both: tuple[Running, Running]) -> None:
    one, two = both
    token = one.app.publish("hello", room="den", name="CI")
    answer = ask(two, "POST", "/r/den/say", {"Content-Type": "text/plain"}, b"hi")
    assert answer.status == 201
    until(lambda: b'"hi"' in ask(one, "GET", "/r/den/log.jsonl").body)
    assert token.encode() in ask(two, "GET", "/r/den/log.jsonl").body
    assert answer.body.strip() in ask(one, "GET", "/r/den/log.jsonl").body
    assert ask(one, "GET", "/r/nobody-was-here/log.txt").status == 404


def test_a_room_that_another_process_has_opened_has_a_transcript_here(both: tuple[Running, Running]) -> None:
    one, two = both
    one.app.publish("hello", room="new")
    until(lambda: ask(two, "GET", "/r/new/log.txt").status == 200)


def test_secrets_are_the_same_in_all_processes(start: Callable[..., Running]) -> None:
    from threadchat.declarations import Made

    one, two = (start(moderator_key=Made(secret)) for secret in ("the-first-one", "the-second-one"))
    assert one.app.options.moderator_key == two.app.options.moderator_key == "the-first-one"


def test_after_a_stop_of_all_people_have_time_to_come_back(
    start: Callable[..., Running], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "RETURN_WAIT", FAR)
    server = start()
    with V1(server.port, name="Ann") as ann, V1(server.port, name="Bob") as bob:
        ann.until(type="join", name="Bob")
        server.stop()
    (stopped,) = redis.client().zrange(store_module.PROCESSES, 0, -1)
    monkeypatch.setattr(reader, "LOOK_EVERY", 0.05)
    server = start()
    with V1(server.port, session=ann.session) as back:
        assert {each["name"] for each in back.hello["here"]} == {"Ann", "Bob"}
        assert back.hello["name"] == "Ann"
        redis.client().zadd(store_module.PROCESSES, {str(stopped): 1})  # the time is over
        lobby(server)._writer.reader._returned_at = 0.0  # type: ignore[union-attr]
        assert back.until(type="leave")["by"] == bob.by, "and nobody else"


def test_whoever_was_in_a_process_that_died_leaves(
    both: tuple[Running, Running], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = both
    with V1(one.port, name="Ann") as ann, V1(two.port, name="Bob"):
        ann.until(type="join", name="Bob")
        died, alive = lobby(two)._writer.reader, lobby(one)._writer.reader
        assert died is not None
        assert alive is not None
        monkeypatch.setattr(died._store, "lease", dict)  # it says nothing more, as after kill -9
        redis.client().zadd(store_module.PROCESSES, {died._store.process: 1})
        alive._look_at = 0.0
        assert ann.until(type="leave")["name"] == "Bob"


def test_while_redis_is_away_people_are_told_and_nothing_is_lost(
    serve: Serve, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.config(appendfsync="always")  # what is killed may otherwise have lost what it has answered
    one, two = serve(store=redis_server.url), serve(store=redis_server.url)
    with V1(one.port, name="Ann") as ann, V1(two.port, name="Bob") as bob:
        for each in (ann, bob):
            each.until(type="join", name="Bob")
        redis_server.kill()
        for each in (ann, bob):
            assert each.until(type="state") == {"type": "state", "log": "down"}
        assert ask(one, "GET", "/readyz").body == b"The log is down.\n"
        assert ask(one, "GET", "/livez").status == 200
        ann.say("waits", n=1)
        redis_server.start()
        lines = [bob.receive()]
        while {"msg", "state"} - {line["type"] for line in lines}:
            lines.append(bob.receive())
        assert {"type": "state", "log": "up"} in lines
        assert [line["text"] for line in lines if line["type"] == "msg"] == ["waits"]
        until(lambda: one.app.rooms.log_is_up and ask(one, "GET", "/readyz").status == 200)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("idle", [True, False])
def test_after_a_loss_in_redis_people_come_back_are_told_of_a_gap_and_talk_on(
    start: Callable[..., Running], redis: RedisServer, idle: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LOOK_EVERY", 0.05)
    one, two = start(), start()
    with V1(one.port, name="Ann") as ann, V1(two.port, name="Bob") as bob:
        ann.say("1", n=1)
        token = bob.until(type="msg")["token"]
        redis.client().flushall()
        if not idle:
            ann.say("2", n=2)
        for each in (ann, bob):
            with pytest.raises(ConnectionClosed) as closed:
                each.until(type="what never comes")
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == shared_room.REPLACED
    with V1(two.port, session=bob.session, since=token) as back, V1(one.port, session=ann.session) as other:
        assert not back.hello["recovered"]
        assert back.receive() == {"type": "gap"}
        other.say("3", n=3)
        assert back.texts(1) == ["3"]
    until(lambda: log_of(one) == log_of(two), "one log")


def test_what_was_cleared_is_dropped_also_if_the_process_ended_at_once(
    start: Callable[..., Running], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> str:
        return str(redis.client().xrange("threadchat:{lobby}:log"))

    monkeypatch.setattr(reader, "LOOK_EVERY", 3_600.0)
    server = start()
    with V1(server.port, name="Ann", headers=KEY) as ann:
        ann.say("secret", n=1)
        ann.send(type="clear")
        ann.until(order="clear")
    server.stop()
    assert "secret" in said()
    monkeypatch.setattr(reader, "LOOK_EVERY", 0.02)
    start()
    until(lambda: "secret" not in said() and "clear" in said())


def test_race_1_what_comes_back_before_the_writer_knows_is_settled(start: Callable[..., Running]) -> None:
    server = start()
    room = lobby(server)
    store = room._writer._store
    write = store.write

    def late(additions: list[Addition]) -> Any:
        result = write(additions)
        newest = max(entry.id for each in additions for entry in each.entries)
        until(lambda: room.log.top >= newest, "the entry, by the reader")
        return result

    store.write = late  # type: ignore[method-assign, assignment]
    assert server.app.publish("hello") == room.log.token(1)


def test_race_2_two_who_are_given_one_name_at_once_get_two(
    both: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = both
    arrived, held = SharedRoom.arrived, threading.Event()

    def hold(room: SharedRoom, arrivals: Any) -> None:
        assert held.wait(LIMIT)
        arrived(room, arrivals)

    monkeypatch.setattr(SharedRoom, "arrived", hold)
    with V1(one.port, name="Ann") as first, V1(two.port, name="Ann") as second:
        assert first.hello["name"] == second.hello["name"] == "Ann"
        until(lambda: lobby(one)._writer.entries == lobby(two)._writer.entries == 1, "both joins in the log")
        held.set()
        changed = [each.until(type="name") for each in (first, second)]
        assert changed[0] == changed[1]
        assert changed[0]["name"].startswith("Ann ")
        until(lambda: tops(one, two) == {3}, "one change of name, and no other")
        names = [dict(lobby(each)._here) for each in both]
        assert names[0] == names[1]
        assert sorted(names[0].values()) == ["Ann", changed[0]["name"]]
        joins = [json.loads(line) for line in log_of(one).splitlines()[:2]]
        assert changed[0]["by"] == joins[1]["by"], "the later one"


def test_race_3_whoever_is_said_to_have_left_and_has_not_is_back_at_once(
    both: tuple[Running, Running], redis: RedisServer
) -> None:
    one, two = both
    with V1(one.port, name="Ann") as ann, V1(two.port, name="Bob") as bob:
        ann.until(type="join", name="Bob")
        process = lobby(two)._writer.reader._store.process  # type: ignore[union-attr]
        with closing(RedisStore(redis.unix_url)) as third:
            third.bury(process)
        assert ann.until(type="leave")["by"] == bob.by
        assert ann.receive()["type"] == "join"
        bob.say("still here", n=1)
        assert ann.texts(1) == ["still here"]
    until(lambda: log_of(one) == log_of(two), "one log")


def test_race_4_whoever_waits_while_the_log_turns_out_to_be_another_one_is_freed(
    start: Callable[..., Running], redis: RedisServer
) -> None:
    server = start()
    room = lobby(server)
    redis.client().flushall()
    with pytest.raises(Closed):
        room.post(message("into another log", "ann"))
    assert room.failed
    server.app.publish("in the new one")
    assert lobby(server) is not room
    assert [json.loads(line)["text"] for line in log_of(server).splitlines()] == ["in the new one"]


def test_race_6_whoever_is_there_is_told_before_the_room_has_ended(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    room = lobby(server)
    codes: list[int] = []

    def all_may_know() -> None:
        if room._ended:  # the hub calls this too, whenever it has passed something on
            codes.extend(client.connection.code for client in set(room.hub.clients))  # type: ignore[attr-defined]
        notify_all()

    with V1(server.port, name="Ann"):
        notify_all = room._recorded.notify_all
        monkeypatch.setattr(room._recorded, "notify_all", all_may_know)
        room.lose()
    assert codes[0] == shared_room.REPLACED[0]


def test_the_transcript_of_a_room_whose_log_was_replaced_is_the_new_one(
    start: Callable[..., Running], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LOOK_EVERY", 0.1)
    one, other = start(), start()
    with V1(one.port, room="tea") as ann:
        ann.say("old")
        assert ann.texts(1) == ["old"]
    redis.client().flushall()
    with V1(other.port, room="tea") as bob:
        bob.say("new")
        assert bob.texts(1) == ["new"]
    until(lambda: b'"text":"new"' in ask(one, "GET", "/r/tea/log.jsonl").body, "it, though nobody has entered the room")


def test_a_hub_that_is_slow_slows_down_those_who_speak(start: Callable[..., Running]) -> None:
    server = start()
    slow = lobby(server)
    held = Held(slow.hub)

    def speak() -> None:
        for number in range(5_000):
            slow.say(message(f"{number}", "ann"))

    speaking = go(speak)
    assert held.at_work.wait(LIMIT)
    until(lambda: slow.log.top >= stored_room.BEHIND)
    until(lambda: slow._recorded._waiters, "somebody who waits for the hub")  # type: ignore[attr-defined]
    top = slow.log.top
    assert top < stored_room.FAR_BEHIND + store_module.MOST + 2 * stored_room.BEHIND, "the log does not run away"
    held.goes_on.set()
    speaking.result(LIMIT)
    until(lambda: slow.log.top == 5_000)


def test_who_waits_for_a_repeat_is_told_at_once(start: Callable[..., Running]) -> None:
    server = start()
    room = lobby(server)
    assert room.post(message("a", "ann", None, 1))
    assert not room.post(message("a", "ann", None, 1))


def test_race_5_who_comes_from_a_process_that_has_read_more_waits_for_it(
    both: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = both
    monkeypatch.setattr(shared_room, "AHEAD_WAIT", LIMIT)
    with V1(one.port, name="Ann") as ann:
        until(lambda: tops(one, other) == {1})
        goes_on, arrived = threading.Event(), lobby(other).arrived
        monkeypatch.setattr(lobby(other), "arrived", lambda arrivals: goes_on.wait(LIMIT) and arrived(arrivals))
        ann.say("seen here alone", n=1)
        token = ann.until(type="msg")["token"]
        coming = go(V1, other.port, session=ann.session, since=token)
        until(lambda: lobby(other)._recorded._waiters)  # type: ignore[attr-defined]
        assert not coming.done()
        goes_on.set()
        with coming.result(LIMIT) as back:
            assert back.hello["recovered"]
            assert back.hello["top"] >= 2
    monkeypatch.setattr(shared_room, "AHEAD_WAIT", 0.01)
    never = f"{lobby(other).log.epoch}.999.0"  # in a tail that Redis has lost, and all processes with it
    with V1(other.port, name="Bob", since=never) as late:
        assert not late.hello["recovered"]
    monkeypatch.setattr(LogWriter, "is_up", False)
    with pytest.raises(ConnectionClosed) as closed:
        V1(other.port, name="Bob", since=never)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013


def test_who_goes_before_the_join_is_logged_is_forgotten_and_frees_the_name(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadchat.room.LEAVE_WAIT", 0.0)
    room = lobby(start())
    room.depart(room.people.arrive("a session that came and went", "Ann"))
    until(lambda: room.people.name_of("a session that came and went") is None)
    assert room.people.free_name("another", "Ann") == "Ann"


def test_who_comes_while_only_the_reader_is_down_is_told_when_it_is_up(start: Callable[..., Running]) -> None:
    server = start()
    log_reader = lobby(server)._writer.reader
    assert log_reader is not None
    log_reader.is_down = True  # and nobody was told, as in a room that is opened at this moment
    with V1(server.port, name="Ann") as ann:
        assert ann.until(type="state") == {"type": "state", "log": "down"}
        log_reader.is_down = False
        lobby(server).tell(True)
        assert ann.until(type="state") == {"type": "state", "log": "up"}
