"""The demo's bots and actions: each does what it says to a real server, and the inspector's pictures show it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from helpers import FAR, LIMIT, TEXT, THREADCHAT, Inspected, Look, Peer, Process, go, pump_names, until

from threadchat.inspector import bots as bots_module
from threadchat.inspector.bots import STARTERS, STARTING_PACE, SWEEP
from threadchat.inspector.watched_connection import WatchedClient
from threadchat.websocket import connection as connection_module

LINE = "x" * 400


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, inspect: Callable[..., Inspected]) -> Callable[..., Inspected]:
    """A function that starts a server with the demo's actions, and without bots."""
    monkeypatch.setattr(bots_module, "STARTERS", {})
    return lambda **options: inspect(demo=True, **options)


def test_the_bots_have_the_key_of_the_chat(inspect: Callable[..., Inspected]) -> None:
    server = inspect(demo=True, key="open-sesame")
    until(lambda: len(server.clients) == sum(STARTERS.values()), "all bots")


def add(server: Inspected, look: Look, kind: str, count: int = 1) -> list[dict[str, Any]]:
    """Add bots, wait until they are ready, and return them as they are in the picture."""
    before = set(server.hub.watched)
    assert server.do("add", kind=kind, count=count) == (200, {"ok": True})

    def new(picture: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            client
            for client in picture["clients"]
            if client["number"] not in before and client["write_pump"]["state"] == "receiving"
        ]

    return new(look.until(lambda picture: len(new(picture)) == count, "the bots"))


def of(picture: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the client with this number in a picture, or an empty dict."""
    return next((client for client in picture["clients"] if client["number"] == number), {})


def test_the_demo_starts_with_a_few_bots_that_talk(inspect: Callable[..., Inspected]) -> None:
    server = inspect(demo=True)
    with server.look() as look:
        picture = look.until(lambda picture: picture["rates"]["messages"] > 0, "messages")
        assert picture["demo"] is True
        names = sorted(client["name"] for client in picture["clients"])
    assert names == sorted(f"{kind} bot" for kind, count in bots_module.STARTERS.items() for _ in range(count))


def test_a_chatty_bot_sends_and_a_quiet_one_reads(demo: Callable[..., Inspected]) -> None:
    server = demo()
    with server.look() as look:
        (quiet,) = add(server, look, "quiet")
        (chatty,) = add(server, look, "chatty")
        picture = look.until(lambda picture: of(picture, quiet["number"])["messages_out"] >= 5, "what was said")
        assert of(picture, chatty["number"])["messages_in"] >= 5
        assert of(picture, quiet["number"])["messages_in"] == 0
        assert (chatty["name"], quiet["name"]) == ("chatty bot", "quiet bot")
        journey = next(journey for journey in server.watch.journeys.all() if journey.client == chatty["number"])
        assert journey.typed is not None
        assert journey.typed <= journey.read


def test_the_pace_is_that_of_all_chatty_bots_together(demo: Callable[..., Inspected]) -> None:
    server = demo()
    assert server.do("pace", messages_a_second=1)[0] == 409  # there is no chatty bot
    with server.look() as look:
        add(server, look, "chatty", 2)
        assert server.do("pace", messages_a_second=0) == (200, {"ok": True})
        look.until(lambda picture: picture["rates"]["messages"] == 0, "silence")
        assert server.do("pace", messages_a_second=200) == (200, {"ok": True})
        look.until(lambda picture: picture["rates"]["messages"] > 60, "the higher rate")


def test_a_stuck_bot_fills_its_channel_and_is_evicted_and_an_event_says_why(demo: Callable[..., Inspected]) -> None:
    server = demo()
    with server.look() as look:
        (stuck,) = add(server, look, "stuck")
        (quiet,) = add(server, look, "quiet")

        talk_over = threading.Event()

        def talk() -> None:  # slowly enough that a picture shows the channel while it fills
            while not talk_over.wait(0.02):
                for _ in range(5):
                    server.hub.broadcast.send(LINE)

        talk_ended = go(talk)

        def filling(picture: dict[str, Any]) -> bool:
            client = of(picture, stuck["number"])
            return (client["write_pump"]["state"], client["away"], client["send"]["pending"] > 20) == (
                "stuck", True, True
            )  # fmt: skip

        look.until(filling)
        look.until(lambda picture: picture["hub"]["evicted"] == 1)
        talk_over.set()
        talk_ended.result(LIMIT)
        event = look.until_event("evicted")
        assert (event["client"], event["name"]) == (stuck["number"], "stuck bot")
        assert event["reason"] == "1008 evicted: not reading fast enough"
        assert (event["waiting"], event["capacity"]) == (256, 256)
        picture = look.until(lambda picture: not of(picture, stuck["number"]), "its going")
        assert of(picture, quiet["number"])
    until(lambda: not any(name.endswith(f"-{stuck['number']}") for name in pump_names()), "the end of its pumps")


def test_a_bot_that_stops_reading_is_evicted_within_twelve_seconds_of_the_demos_pace(
    inspect: Callable[..., Inspected],
) -> None:
    """Counted in messages: on a slow machine the bots may fall behind their pace."""
    server = inspect(demo=True)
    with server.look() as look:
        look.until(lambda picture: picture["rates"]["messages"] > 0, "messages")
        before, pictures = set(server.hub.watched), []
        assert server.do("add", kind="stuck") == (200, {"ok": True})

        def gone(picture: dict[str, Any]) -> bool:
            pictures.append(picture)
            return any(event["kind"] == "evicted" for event in look.events)

        look.until(gone, "its eviction")
    (number,) = {client["number"] for picture in pictures for client in picture["clients"]} - before
    seen = [(picture, of(picture, number)) for picture in pictures if of(picture, number)]
    first, last = (int(picture["hub"]["messages"]) for picture in (seen[0][0], pictures[-1]))
    assert last - first < 12 * STARTING_PACE * STARTERS["chatty"]

    def begins(sign: Callable[[dict[str, Any]], bool]) -> int:
        return int(next(picture["hub"]["messages"] for picture, client in seen if sign(client))) - first

    steps = [
        begins(lambda client: client["unread"]["bytes"] > 1_000),  # in the peer's kernel
        begins(lambda client: client["kernel"]["bytes"] > 1_000),  # in the server's
        begins(lambda client: client["waits"] > 0),
        begins(lambda client: client["send"]["pending"] > 100),
        last - first,
    ]
    assert steps == sorted(steps), "each sign shows before the next one"


def test_a_slow_bot_reads_at_its_own_pace(demo: Callable[..., Inspected], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bots_module, "SLOW_BYTES", 100_000)
    monkeypatch.setattr(connection_module, "STUCK_AFTER", FAR)
    server = demo()
    with server.look() as look:
        (quiet,) = add(server, look, "quiet")
        (slow,) = add(server, look, "slow")
        for _ in range(40):
            server.hub.broadcast.send(LINE)
        picture = look.until(lambda picture: of(picture, quiet["number"])["messages_out"] == 40, "the fast one")
        assert of(picture, slow["number"])["write_pump"]["state"] == "writing"
        look.until(
            lambda picture: (
                of(picture, slow["number"])["messages_out"] == 40
                and of(picture, slow["number"])["write_pump"]["state"] == "receiving"
            ),
            "the slow one",
        )


def test_a_bot_that_vanishes_answers_nothing_any_more_and_sends_no_fin(demo: Callable[..., Inspected]) -> None:
    server = demo(write_wait=0.5)
    with server.look() as look:
        (quiet,) = add(server, look, "quiet")
        client = server.client(quiet["number"])
        assert server.do("vanish", client=quiet["number"]) == (200, {"ok": True})
        server.hub.broadcast.send("into the void")
        until(lambda: retransmits(client) >= 2, "the kernel sending it again, since there is no answer")
        assert not client.connection.ended

        def left(picture: dict[str, Any]) -> bool:
            for _ in range(10):
                server.hub.broadcast.send(LINE)
            return any(event["kind"] == "left" for event in look.events)

        look.until(left)
        event = look.until_event("left")
        assert event["client"] == quiet["number"]
        assert event["reason"].startswith("1006 writing took longer than the write wait")
        assert server.do("vanish", client=quiet["number"])[0] == 409


def retransmits(client: WatchedClient) -> int:
    """How often in a row the kernel has sent a segment again (tcpi_retransmits of struct tcp_info)."""
    connected = client.connection._socket
    assert isinstance(connected, socket.socket)
    told = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    return told[2]


@pytest.mark.parametrize(("kind", "reason"), [("quiet", "1000 bye"), ("chatty", "1000 bye"), ("stuck", "1000 bye")])
def test_a_bot_that_is_removed_leaves_with_a_close_frame(
    demo: Callable[..., Inspected], kind: str, reason: str
) -> None:
    server = demo()
    with server.look() as look:
        (bot,) = add(server, look, kind)
        assert server.do("remove", client=bot["number"]) == (200, {"ok": True})
        assert look.until_event("left")["reason"] == reason
        look.until(lambda picture: not picture["clients"], "its going")


def test_only_bots_can_be_removed(demo: Callable[..., Inspected]) -> None:
    server = demo()
    with Peer(server.port) as peer:
        for action in ("remove", "vanish"):
            for client in (1, 99):
                status, answer = server.do(action, client=client)
                assert (status, answer) == (409, {"error": f"client {client} is not a bot"})
        peer.send(TEXT, "still here")
        assert peer.lines(1) == ["still here"]


def test_one_bot_sends_a_burst_and_all_of_it_arrives(demo: Callable[..., Inspected]) -> None:
    server = demo()
    assert server.do("burst", messages=1)[0] == 409  # there is no bot to send it
    with server.look() as look, Peer(server.port) as peer:
        add(server, look, "stuck")
        assert server.do("burst", messages=1)[0] == 409
        (quiet,) = add(server, look, "quiet")
        assert server.do("burst", messages=500) == (200, {"ok": True})
        assert peer.lines(500) == [f"burst {number} of 500" for number in range(1, 501)]
        picture = look.until(lambda picture: picture["hub"]["messages"] == 500, "all of it")
        assert of(picture, quiet["number"])["messages_in"] == 500


def test_the_hub_can_be_paused_and_goes_on_where_it_was(demo: Callable[..., Inspected]) -> None:
    server = demo()
    with server.look() as look, Peer(server.port) as peer:
        assert server.do("pause") == (200, {"ok": True})
        peer.send(TEXT, "one")
        look.until(lambda picture: picture["hub"]["thread"]["state"] == "paused", "the hub at its gate, with a message")
        peer.send(TEXT, "two")
        picture = look.until(lambda picture: picture["channels"]["broadcast"]["pending"] == 1, "what waits")
        assert picture["hub"]["paused"]
        assert server.do("resume") == (200, {"ok": True})
        assert peer.lines(2) == ["one", "two"]
        assert not look.picture()["hub"]["paused"]


def test_the_send_channels_of_present_and_future_clients_can_be_resized(demo: Callable[..., Inspected]) -> None:
    server = demo()
    with server.look() as look, Peer(server.port):
        assert server.do("buffer", messages=7) == (200, {"ok": True})
        look.until(lambda picture: of(picture, 1) and of(picture, 1)["send"]["capacity"] == 7, "the new size")
        with Peer(server.port):
            look.until(lambda picture: of(picture, 2) and of(picture, 2)["send"]["capacity"] == 7, "the new client's")


def test_the_number_of_bots_is_limited(demo: Callable[..., Inspected], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bots_module, "MOST_BOTS", 3)
    server = demo()
    assert server.do("add", kind="quiet", count=2) == (200, {"ok": True})
    assert server.do("add", kind="quiet", count=2)[0] == 409


def test_one_thread_runs_all_bots_and_ends_with_the_server(demo: Callable[..., Inspected]) -> None:
    before = threads()
    server = demo()
    with server.look() as look, ExitStack() as stack:
        stack.callback(server.stop)
        for kind in bots_module.KINDS:
            add(server, look, kind, 2)
        own = threads() - before
        assert sorted(thread.name for thread in own if "Pump" not in thread.name) == [
            "accept", "bots", "hub", "request", "sampler"
        ]  # fmt: skip
        assert len(pump_names()) == 4 * len(bots_module.KINDS)
    assert not threads() & own


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def test_a_bot_that_is_leaving_a_paused_server_does_nothing_else(demo: Callable[..., Inspected]) -> None:
    server = demo()
    assert server.do("add", kind="chatty", count=2) == (200, {"ok": True})
    until(lambda: len(server.clients) == 2, "the bots")
    server.hub.gate.close()
    until(lambda: server.hub.broadcast.statistics().pending, "something for the hub")
    first, second = sorted(server.hub.watched)
    assert server.do("remove", client=first) == (200, {"ok": True})
    assert server.do("remove", client=first)[0] in (200, 409)
    assert server.do("pace", messages_a_second=5) == (200, {"ok": True})
    assert server.do("burst", messages=3) == (200, {"ok": True})
    server.hub.gate.open()
    until(lambda: {client.number for client in server.clients} == {second}, "the other alone")


def test_the_bots_stay_connected_if_reverse_proxies_are_trusted(tmp_path: Path) -> None:
    command = [*THREADCHAT, "demo", "--no-browser", "--port", "0", "--trusted-proxies", "1"]
    with Process(tmp_path, command) as process:
        sweeps = f"http://127.0.0.1:{process.port}/inspect/live"
        with urlopen(sweeps, timeout=LIMIT) as live:
            pictures = (json.loads(line[6:]) for line in live if line.startswith(b"data: "))
            began = next(pictures)["t"]
            last = next(picture for picture in pictures if picture["t"] > began + 3 * SWEEP)
        assert last["hub"]["clients"] == sum(STARTERS.values())
        assert process.end() == 0
