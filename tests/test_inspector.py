"""The inspector at its addresses: pictures, journeys, source, the trace, access, actions and lessons."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import CLOSE, TEXT, Inspected, Peer, Serve, ask, go, say_stuck, until
from werkzeug.test import Client as Caller

from threadchat.channel import Closed
from threadchat.inspector import camera as camera_module
from threadchat.inspector import journey as journey_module
from threadchat.inspector import lesson_processes as lessons_module
from threadchat.inspector import sampler as sampler_module
from threadchat.inspector.journey import MOST_ANNOUNCED, MOST_KEPT, Followed, Journeys
from threadchat.inspector.notes import EVENTS, Watch
from threadchat.inspector.perfetto import trace
from threadchat.inspector.sampler import PICTURES, VIEWERS
from threadchat.inspector.site import InspectedApp
from threadchat.inspector.survey import DRAWN
from threadchat.messages import message
from threadchat.options import Options
from threadchat.web.app import App

Inspect = Callable[..., Inspected]

STEPS = ["read", "broadcast", "buffered", "coalesced", "written"]


def follow(server: Inspected, peer: Peer, text: str) -> Any:
    """Send a message, wait until it has arrived everywhere, and return its journey."""
    known = {journey.number for journey in server.watch.journeys.all()}
    peer.send(TEXT, text)
    number = 0

    def done() -> bool:
        nonlocal number
        for journey in server.watch.journeys.all():
            if journey.number not in known:
                number = journey.number
                parts = journey.as_json()["deliveries"]
                return len(parts) == len(server.clients) and all(part["written"] for part in parts)
        return False

    until(done, "the journey's end")
    return server.get(f"/message/{number}")


# Pictures


def test_a_picture_shows_the_hub_its_channels_and_the_clients(inspect: Inspect) -> None:
    server = inspect(send_buffer=7)
    with Peer(server.port) as one, Peer(server.port) as two, server.look() as look:
        names = [name_of(one), name_of(two)]
        one.send(TEXT, "hello")
        assert one.lines(1) == two.lines(1) == ["hello"]
        picture = look.until(
            lambda picture: (
                picture["rates"]["deliveries"] > 0 and [each["frames_out"] for each in picture["clients"]] == [1, 1]
            ),
            "the deliveries",
        )
    assert picture["demo"] is False
    assert picture["cost_ms"] >= 0
    assert (picture["hub"]["clients"], picture["hub"]["messages"], picture["hub"]["batches"]) == (2, 1, 1)
    assert set(picture["channels"]) == {"register", "unregister", "broadcast"}
    first, second = picture["clients"]
    assert (first["number"], first["messages_in"], first["messages_out"], first["frames_out"]) == (1, 1, 1, 1)
    assert (second["number"], second["messages_in"], second["messages_out"]) == (2, 0, 1)
    assert [client["name"] for client in picture["clients"]] == names
    assert first["send"]["capacity"] == 7
    assert picture["crowd"]["count"] == 0
    assert sum(picture["crowd"]["fill"]) == 2
    assert picture["rates"]["messages_a_frame"] == 1.0


def name_of(peer: Peer) -> str:
    """The name of a client that has none: its address."""
    return f"127.0.0.1:{peer.socket.getsockname()[1]}"


def test_there_is_an_event_when_a_client_joins_and_when_it_leaves(inspect: Inspect) -> None:
    server = inspect()
    with server.look() as look:
        with Peer(server.port) as peer:
            joined = look.until_event("joined")
            assert (joined["client"], joined["name"]) == (1, name_of(peer))
            peer.send(CLOSE, b"\x03\xe8bye")
        left = look.until_event("left")
        assert (left["client"], left["name"], left["reason"]) == (1, joined["name"], "1000 bye")
        assert 0 < joined["t"] < left["t"]
        look.until(lambda picture: not picture["clients"], "the client's departure")


def test_there_is_an_event_with_the_reason_when_a_stuck_client_is_evicted(inspect: Inspect) -> None:
    server = inspect(send_buffer=3)
    with Peer(server.port), server.look() as look:
        client = look.until(lambda picture: picture["clients"], "the client")["clients"][0]
        assert not client["away"]
        server.hub.broadcast.send("x" * 1_000_000)
        look.until(lambda picture: picture["clients"][0]["away"], "the client being stuck")
        for _ in range(4):
            server.hub.broadcast.send("one more")
        event = look.until_event("evicted")
        assert event["client"] == 1
        assert event["reason"] == "1008 evicted: not reading fast enough"
        assert (event["waiting"], event["capacity"]) == (3, 3)
        assert look.picture()["hub"]["evicted"] == 1
    until(lambda: not server.clients)
    assert not [event for event in look.events if event["kind"] == "left"]  # one event for the end of each client


def test_of_many_clients_the_interesting_ones_are_drawn_and_all_are_counted(inspect: Inspect) -> None:
    server = inspect()
    peers = [Peer(server.port) for _ in range(DRAWN + 6)]
    try:
        with server.look(DRAWN + 6) as look:
            picture = look.until(lambda picture: sum(picture["crowd"]["fill"]) == len(peers), "all of them")
            assert [client["number"] for client in picture["clients"]] == [*range(1, DRAWN + 1), DRAWN + 6]
            assert picture["clients"][-1]["pinned"]
            assert picture["crowd"]["count"] == 5
            look.until(lambda picture: picture["crowd"]["reading"] == {"reading": len(peers)}, "all of them waiting")
            talkative = server.client(DRAWN + 3)
            next(peer for peer in peers if name_of(peer) == talkative.connection.peer).send(TEXT, "here I am")
            look.until(lambda picture: talkative.number in numbers(picture), "the client that talks")
            drawn = {client.number for client in server.clients if client.connection.drawn}
            assert talkative.number in drawn
            assert len(drawn) == DRAWN + 1
            noted = {client.number for client in server.clients if client.send.noted}
            assert noted >= drawn
            assert len(noted) <= DRAWN + 1 + 2  # and those that the hub serves first and last
    finally:
        for peer in peers:
            peer.close()


def numbers(picture: dict[str, Any]) -> list[int]:
    return [client["number"] for client in picture["clients"]]


def test_a_viewer_may_stay_longer_than_a_request_may_take(inspect: Inspect) -> None:
    with inspect(request_wait=1.0).look() as look:
        began = look.picture()["t"]
        look.until(lambda picture: picture["t"] > began + 1.5, "a picture long after that")


def test_a_slow_viewer_misses_pictures_and_no_events(inspect: Inspect) -> None:
    server = inspect()
    with server.inspected.sampler.viewing(frozenset()) as slow, server.look() as look:
        for _ in range(3 * PICTURES):
            look.picture()
        server.watch.note("joined", client=1)
        seen = [json.loads(next(slow)) for _ in range(PICTURES + 1)]
        assert seen[-1]["t"] - seen[-2]["t"] > 2 * sampler_module.INTERVAL
        assert [event["kind"] for picture in seen for event in picture["events"]] == ["joined"]


def test_a_viewer_that_takes_no_pictures_delays_neither_the_sampler_nor_the_hub(inspect: Inspect) -> None:
    server = inspect()
    with server.inspected.sampler.viewing(frozenset()), server.look() as look, Peer(server.port) as peer:
        look.until(
            lambda _: server.inspected.sampler._viewers[0].pictures.statistics().pending == PICTURES, "a full channel"
        )
        for number in range(1_000):
            peer.send(TEXT, str(number))
        assert peer.lines(1_000) == [str(number) for number in range(1_000)]
        before = look.picture()["t"]
        assert look.picture()["t"] > before


def test_the_number_of_viewers_is_limited(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    server = inspect()
    monkeypatch.setattr(sampler_module, "VIEWERS", 1)
    assert VIEWERS > 1
    with server.look() as look:
        look.picture()
        assert server.request("GET", "/live")[0] == 503
    until(lambda: not server.inspected.sampler._viewers, "the viewer's departure")
    with server.look() as look:
        look.picture()


def test_the_stop_ends_the_pictures(inspect: Inspect) -> None:
    server = inspect()
    with server.look() as look, Peer(server.port) as peer:
        look.picture()
        stopping = server.stop_in_thread()
        assert peer.receive_all()[-1].close_code == 1001
        peer.close()
        assert look.until_event("stopped")["client"] == 1
        with pytest.raises(EOFError):
            look.until(lambda _: False)
        stopping.join()
    with pytest.raises(Closed), server.inspected.sampler.viewing(frozenset()):
        pass


# Journeys


def test_a_message_is_followed_from_step_to_step_and_to_every_client(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as one, Peer(server.port), server.look() as look:
        journey = follow(server, one, "hello")
        event = look.until_event("message")
    assert (event["id"], event["client"], event["text"]) == (journey["id"], 1, "hello")
    assert (journey["text"], journey["client"]) == ("hello", 1)
    steps = journey["steps"]
    assert [step["step"] for step in steps] == STEPS
    times = [step["t"] for step in steps]
    assert times[:2] == sorted(times[:2])
    assert times[3:] == sorted(times[3:])
    assert times[2] <= max(part["buffered"] for part in journey["deliveries"])
    assert [step["thread"] for step in steps[:3]] == ["readPump-1", "readPump-1", "hub"]
    assert [part["client"] for part in journey["deliveries"]] == [1, 2]
    for part in journey["deliveries"]:
        assert times[1] <= part["buffered"] <= part["coalesced"] <= part["written"]
        assert (part["with"], part["evicted"]) == (1, False)


def test_each_step_names_the_line_of_the_core_that_made_it(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as peer:
        journey = follow(server, peer, "hello")
    core = Path(str(App.__init__.__code__.co_filename)).parents[1]
    lines = {
        step["step"]: (core / step["file"]).read_text().splitlines()[step["line"] - 1].strip()
        for step in journey["steps"]
    }
    assert lines == {
        "read": "for message in self.connection:",
        "broadcast": "self.hub.broadcast.send(said)",
        "buffered": "if rest := client.send.send_what_fits(messages):",
        "coalesced": "return work(items)",
        "written": "self.connection.send(frame)",
    }


@pytest.mark.parametrize(("text", "line"), [("a", "a"), (" a\nb ", "a b")])
def test_a_message_that_is_changed_on_its_way_is_still_followed(inspect: Inspect, text: str, line: str) -> None:
    server = inspect()
    with Peer(server.port) as peer:
        assert [step["step"] for step in follow(server, peer, text)["steps"]] == STEPS
        assert peer.lines(1) == [line]


def test_a_journey_tells_how_many_messages_share_a_frame_and_which_clients_were_evicted(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = inspect(send_buffer=2)
    with Peer(server.port) as peer, server.look() as look:
        look.until(lambda picture: picture["clients"], "the client")
        server.hub.gate.close()
        for text in ("first", "second"):
            peer.send(TEXT, text)
        until(lambda: server.hub.broadcast.fill == 1, "both messages")
        server.hub.gate.open()
        peer.lines(2)
        assert follow(server, peer, "third")["deliveries"][0]["with"] == 1
        first = server.watch.journeys.all()[0].as_json()
        assert first["deliveries"][0]["with"] == 2
        client = server.client()
        server.hub.run_queue.ready(lambda: None)  # takes the only turn, so the write pump does not run
        monkeypatch.setattr(server.hub.run_queue, "gosched", lambda: None)  # the hub would wait for the pump's turn
        say_stuck(client.stuck)
        for text in ("1", "2", "too many"):
            server.watch.journeys.announce("peer", text, None, follow=True)
            journey = server.watch.journeys.begin("peer", 1, text)
            assert journey is not None
            server.hub.broadcast.send(Followed.on(journey, message(text, "by")))
        look.until_event("evicted")
        server.hub.run_queue.next()
        told = [journey.as_json()["deliveries"] for journey in server.watch.journeys.all() if journey.text == "2"]
        assert told[0][0]["evicted"]
        assert told[0][0]["written"] is None


def test_an_old_or_unknown_message_is_not_found(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    server = inspect()
    assert server.request("GET", "/message/1")[0] == 404
    with Peer(server.port) as peer:
        number = follow(server, peer, "hello")["id"]
        monkeypatch.setattr(journey_module, "KEPT", 0.0)
        until(lambda: server.request("GET", f"/message/{number}")[0] == 404, "the journey being dropped")


def test_only_a_few_messages_a_second_are_followed() -> None:
    journeys = Journeys(lambda: 0.0)
    followed = [journeys.begin("peer", 1, str(number)) for number in range(100)]
    assert len([journey for journey in followed if journey]) == journey_module.A_SECOND
    journeys.refill()
    assert journeys.begin("peer", 1, "one more")
    journeys.announce("peer", "the inspector's own", 1.0, follow=True)
    assert journeys.begin("peer", 1, "another's") is None
    journey = journeys.begin("peer", 1, "the inspector's own")
    assert journey is not None
    assert journey.typed == 1.0


# Memory


def test_what_is_kept_is_bounded(inspect: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    for number in range(EVENTS + 10):
        watch.note("joined", client=number)
    assert len(watch.events(after=0)[1]) == EVENTS
    journeys = watch.journeys
    for number in range(MOST_KEPT + 10):
        journeys.announce("peer", str(number), None, follow=True)
        journeys.begin("peer", 1, str(number))
        journeys.announce("peer", f"never sent {number}", None, follow=True)
    assert len(journeys._announced) == MOST_ANNOUNCED
    journeys.forget_old()
    assert len(journeys.all()) == len(journeys.coming) == MOST_KEPT
    monkeypatch.setattr(camera_module, "KEPT", 3 * sampler_module.INTERVAL)
    monkeypatch.setattr(sampler_module, "SHARE", 1.0)  # so that the pictures are INTERVAL apart, whatever they cost
    server = inspect()
    with server.look() as look:
        for _ in range(8):
            look.picture()
    assert 1 < len(server.inspected.sampler.moments()) <= 4


def test_clients_that_have_gone_are_forgotten_but_what_they_received_still_counts(inspect: Inspect) -> None:
    server = inspect()
    with server.look() as look:
        for number in range(3):
            with Peer(server.port) as peer:
                peer.send(TEXT, str(number))
                peer.lines(1)
            until(lambda: not server.clients)  # otherwise the next message would go to this client too
        look.until(lambda picture: not server.hub.watched, "the clients' departure")
        assert server.inspected.sampler._cameras["lobby"]._survey.figures == {}
        assert server.watch.shared.present == {}
        assert server.hub.deliveries == 3
        assert server.hub.present() == ([], 3)


def test_a_client_whose_handshake_is_not_answered_is_forgotten_too(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = inspect()

    def refuse(connection: Any) -> None:
        raise Closed(server.hub.register)

    monkeypatch.setattr("threadchat.inspector.watched_connection.Connection.accept", refuse)
    with server.look() as look:
        with pytest.raises(AssertionError), Peer(server.port) as peer:
            assert peer.answer.startswith(b"HTTP/1.1 101")
        look.until(lambda picture: not server.hub.watched, "the client's departure")
        assert not look.events


# Source


def test_the_source_of_a_function_comes_with_its_line_number_and_the_go_lines(inspect: Inspect) -> None:
    told = inspect().get("/source?file=channel.py&function=Channel.receive")
    assert told["lines"][0].strip().startswith("def receive(self")
    core = Path(str(App.__init__.__code__.co_filename)).parents[1]
    assert (core / "channel.py").read_text().splitlines()[told["first_line"] - 1].strip() == told["lines"][0]
    assert "<-c.send" in told["go"]
    assert told["go_from"] == "chat.go"


@pytest.mark.parametrize(
    ("file", "function"),
    [
        ("", ""),
        ("channel.py", ""),
        ("channel.py", "nothing"),
        ("channel.py", "Channel.receive.nothing"),
        ("channel.py", "threading.Thread"),
        ("channel.py", "T"),
        ("../setup.cfg", "Channel"),
        ("site.py", "InspectedApp"),
    ],
)
def test_only_the_source_of_the_cores_functions_is_served(inspect: Inspect, file: str, function: str) -> None:
    assert inspect().request("GET", f"/source?file={file}&function={function}")[0] == 404


# The trace


def test_the_trace_is_valid_and_has_states_counters_and_flows(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as peer, server.look() as look:
        look.until(lambda picture: picture["clients"], "the client")
        follow(server, peer, "hello")
        for _ in range(3):
            look.picture()
        told = server.get("/trace")
    check_trace(told)
    events = told["traceEvents"]
    tracks = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    states = {(tracks[event["pid"], event["tid"]], event["name"]) for event in events if event.get("cat") == "state"}
    assert {("hub", "selecting"), ("readPump-1", "reading socket"), ("writePump-1", "receiving send-1")} <= states
    assert {event["name"] for event in events if event["ph"] == "C"} >= {"channel broadcast", "channel send-1"}
    assert [event["ph"] for event in events if event["ph"] in "stf"] == ["s", "t", "t", "t", "f"]
    assert any(event["name"].startswith("written: message") for event in events)


def check_trace(told: dict[str, Any]) -> None:
    """Check the rules of Chrome's trace event format, for the kinds of events that we use."""
    slices: dict[tuple[int, int], list[tuple[int, int]]] = {}
    flows: dict[str, list[tuple[int, str]]] = {}
    named = set()
    for event in told["traceEvents"]:
        assert event["ph"] in "MXCstf"
        assert isinstance(event["name"], str)
        track = event["pid"], event["tid"]
        assert all(type(number) is int for number in track)
        if event["ph"] == "M":
            named.add(track)
            continue
        assert type(event["ts"]) is int
        assert event["ts"] >= 0
        if event["ph"] == "X":
            assert track in named
            assert type(event["dur"]) is int
            assert event["dur"] >= 0
            slices.setdefault(track, []).append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] == "C":
            assert all(isinstance(value, int) for value in event["args"].values())
        else:
            flows.setdefault(event["id"], []).append((event["ts"], event["ph"]))
            inside = [start <= event["ts"] <= end for start, end in slices[track]]
            assert any(inside), "an arrow starts and ends in a slice"
    for spans in slices.values():
        open_until: list[int] = []
        for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while open_until and open_until[-1] <= start:
                open_until.pop()
            assert not open_until or end <= open_until[-1], (
                "slices of a track do not overlap, unless one encloses the other"
            )
            open_until.append(end)
    for steps in flows.values():
        assert steps == sorted(steps, key=lambda step: step[0])
        phases = "".join(phase for _, phase in steps)
        assert phases == f"s{'t' * (len(phases) - 2)}f"


def test_the_trace_of_an_unused_server_is_empty_and_valid() -> None:
    check_trace(trace([], []))


# Access


@pytest.mark.parametrize(
    ("address", "host", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8080", 200),
        ("127.0.0.1", "localhost:8080", 200),
        ("127.0.0.1", "chat.localhost", 200),
        ("::1", "[::1]:8080", 200),
        ("::ffff:127.0.0.1", "localhost", 200),
        ("127.0.0.1", "evil.example", 403),  # a name that its owner has pointed at this address
        ("127.0.0.1", "localhost.evil.example", 403),
        ("127.0.0.1", "", 403),
        ("192.0.2.7", "localhost", 403),
        ("::ffff:192.0.2.7", "localhost", 403),
        ("", "localhost", 403),
    ],
)
@pytest.mark.parametrize("path", ["/inspect/trace", "/inspect/source?file=hub.py&function=Hub.run"])
def test_only_this_machine_may_use_the_inspector(address: str, host: str, status: int, path: str) -> None:
    for anywhere in (False, True):
        app = InspectedApp(Options(), anywhere=anywhere)
        try:
            environ = {"REMOTE_ADDR": address, "HTTP_HOST": host}
            answer = Caller(app).get(path, environ_overrides=environ)
            assert answer.status_code == (200 if anywhere else status)
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        finally:
            app.close()


def test_the_page_and_the_chat_are_both_served(inspect: Inspect) -> None:
    server = inspect()
    caller = Caller(server.app)
    for method, path, status, text in (
        ("GET", "/inspect", 200, "static/inspect/inspect.js"),
        ("GET", "/", 200, "static/chat/chat.js"),
        ("GET", "/inspector", 404, "Not Found"),
        ("POST", "/inspect", 405, "Method Not Allowed"),
        ("GET", "/inspect/do", 405, "Method Not Allowed"),
        ("GET", "/inspect/live?watch=x", 400, "numbers, such as"),
    ):
        local = {"REMOTE_ADDR": "127.0.0.1"}
        answer = caller.open(path, method=method, environ_overrides=local, buffered=True)
        assert (answer.status_code, text in answer.text) == (status, True)


def test_a_plain_server_has_no_inspector() -> None:
    before = set(threading.enumerate())
    app = App(Options())
    try:
        assert Caller(app).get("/inspect", environ_overrides={"REMOTE_ADDR": "127.0.0.1"}).status_code == 404
        assert [thread.name for thread in threading.enumerate() if thread not in before] == ["hub"]
    finally:
        app.close()


# Actions


def test_a_message_from_the_inspector_comes_from_a_client_of_its_own_and_is_followed(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as peer, server.look() as look:
        assert server.do("say", text=" hello\n", typed=time.time() * 1000) == (200, {"ok": True})
        event = look.until_event("message")
        assert peer.lines(1) == ["hello"]
        picture = look.until(lambda picture: len(picture["clients"]) == 2, "the inspector's client")
        (inspector,) = [client for client in picture["clients"] if client["name"] == "inspector"]
        assert event["client"] == inspector["number"]
        steps = server.get(f"/message/{event['id']}")["steps"]
        assert [step["step"] for step in steps[:2]] == ["typed", "read"]
        assert steps[0]["t"] <= steps[1]["t"]
        assert server.do("say", text="again", typed=12) == (200, {"ok": True})
        assert peer.lines(1) == ["again"]
    (again,) = [journey for journey in server.watch.journeys.all() if journey.text == "again"]
    assert again.typed is None  # the time of typing was by another machine's clock


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content_Type": "application/json"}, b'{"action": "say", "text": "x"}', 403),
        ({"X_Threadchat": "inspect"}, b'{"action": "say", "text": "x"}', 415),
        ({"X_Threadchat": "inspect", "Content_Type": "application/json"}, b"{", 400),
        ({"X_Threadchat": "inspect", "Content_Type": "application/json"}, b"\xff", 400),
        ({"X_Threadchat": "inspect", "Content_Type": "application/json"}, b"[]", 400),
        ({"X_Threadchat": "inspect", "Content_Type": "application/json"}, b" " * 100_000, 413),
    ],
)
def test_an_action_without_the_header_or_with_invalid_json_is_refused(
    inspect: Inspect, headers: dict[str, str], body: bytes, status: int
) -> None:
    got, answer = inspect().request("POST", "/do", body, **headers)
    assert got == status
    assert set(answer) == {"error"}


@pytest.mark.parametrize(
    "action",
    [
        {"action": "say"},
        {"action": "say", "text": " "},
        {"action": "say", "text": "x" * 513},
        {"action": "say", "text": "\ud800"},
        {"action": "add", "kind": "loud"},
        {"action": "add", "kind": "quiet", "count": 0},
        {"action": "add", "kind": "quiet", "count": 1e3},
        {"action": "burst", "messages": "many"},
        {"action": "burst", "messages": True},
        {"action": "buffer", "messages": 0},
        {"action": "vanish"},
        {"action": "pace", "messages_a_second": -1},
        {"action": "pace", "messages_a_second": True},
        {"action": "fly"},
        {},
    ],
)
def test_an_invalid_action_is_refused_with_a_reason(
    inspect: Inspect, monkeypatch: pytest.MonkeyPatch, action: dict[str, Any]
) -> None:
    monkeypatch.setattr("threadchat.inspector.bots.STARTERS", {})
    status, answer = inspect(demo=True).do(**{"action": "", **action})
    assert status == 400
    assert answer["error"]


def test_without_the_demo_viewers_cannot_act_on_the_server(inspect: Inspect) -> None:
    server = inspect()
    for action in ("add", "burst", "pause", "resume", "buffer", "vanish", "remove", "pace"):
        assert server.do(action, kind="quiet", messages=1, client=1, messages_a_second=1)[0] == 400
    assert not server.hub.gate.shut


# Lessons


@pytest.fixture
def lesson(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces the command `threadchat lesson --json` by the given code."""

    def stand_in(code: str) -> None:
        monkeypatch.setattr(lessons_module, "COMMAND", (sys.executable, "-c", f"import json, sys\n{code}"))

    return stand_in


def test_the_command_lists_and_runs_the_lessons(inspect: Inspect, lesson: Callable[[str], None]) -> None:
    server = inspect()
    lesson("print(json.dumps({'name': sys.argv[1]} if sys.argv[1:] else [{'name': 'no-limit'}]))")
    assert server.get("/lessons") == [{"name": "no-limit"}]
    assert server.get("/lessons/no-limit") is None
    assert server.do("lesson", name="no-limit") == (200, {"ok": True, "lesson": {"name": "no-limit"}})
    assert server.get("/lessons/no-limit") == {"name": "no-limit"}, "the result is kept, for those who come back to it"
    for name in ("--yes", "", None, "../x"):
        assert server.do("lesson", name=name)[0] == 409


def test_a_lesson_that_fails_or_takes_too_long_is_an_error_with_the_reason(
    inspect: Inspect, lesson: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = inspect()
    lesson("sys.exit('there is no such lesson')")
    assert server.do("lesson", name="x") == (409, {"error": "there is no such lesson"})
    lesson("sys.exit(3)")
    assert server.do("lesson", name="x") == (409, {"error": "the lesson ended with status 3"})
    assert server.request("GET", "/lessons")[0] == 503
    lesson("sys.stdin = open('/dev/zero'); sys.stdin.read()")
    monkeypatch.setattr(lessons_module, "LONGEST", 0.1)
    assert server.do("lesson", name="x") == (409, {"error": "the lesson took longer than 0.1 seconds"})


def test_only_one_lesson_runs_at_a_time_and_the_stop_ends_it(
    inspect: Inspect, lesson: Callable[[str], None], tmp_path: Path
) -> None:
    server = inspect()
    lesson(f"open({str(tmp_path / 'runs')!r}, 'w').close(); import signal; signal.pause()")
    running = go(server.do, "lesson", name="x")
    until((tmp_path / "runs").exists, "the lesson")
    refused = {"error": "another lesson is running; try again when it has ended"}
    assert server.do("lesson", name="y") == (409, refused)
    server.stop()
    assert running.result()[0] == 409


def test_a_paused_server_stops(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as peer:
        server.hub.gate.close()
        peer.send(TEXT, "hello")
        stopping = server.stop_in_thread()
        assert peer.receive_all()[-1].close_code == 1001
    stopping.join()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Real-IP": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"Host": "["},
    ],
    ids=str,
)
@pytest.mark.parametrize("trusted_proxies", [0, 1])
def test_a_request_through_a_proxy_on_this_machine_is_refused(
    serve: Serve, headers: dict[str, str], trusted_proxies: int
) -> None:
    server = serve(make_app=InspectedApp, trusted_proxies=trusted_proxies)
    assert ask(server, "GET", "/inspect/trace", {"Host": "localhost"}).status == 200
    assert ask(server, "GET", "/inspect/trace", {"Host": "localhost", **headers}).status == 403


def test_a_pause_during_the_stop_has_no_effect(inspect: Inspect) -> None:
    server = inspect()
    with Peer(server.port) as peer:
        until(lambda: len(server.clients) == 1)
        server.hub.gate.close()
        server.hub.gate.open(for_good=True)
        server.hub.gate.close()
        peer.send(TEXT, "the hub goes on")
        assert peer.lines(1) == ["the hub goes on"]


def test_other_machines_need_the_key_of_the_chat(inspect: Callable[..., Inspected]) -> None:
    server = inspect(anywhere=True, key="open-sesame")
    assert server.request("GET", "")[0] == 200
    assert server.request("GET", "", Via="1.1 proxy")[0] == 401
    assert server.request("GET", "", Via="1.1 proxy", Authorization="Bearer open-sesame")[0] == 200
    assert server.do("pace", messages=1)[0] != 401
