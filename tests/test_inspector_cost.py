"""The inspector's cost on the way of each message, as a number of bytecode instructions.

The core's parts and the watched ones do the same work in the same run, from the hub to the socket. The system's work is
not counted, so that the inspector's share of what a real server does is smaller. The pictures come on top; SHARE bounds
them.
"""

from __future__ import annotations

import time

import pytest
from helpers import FAR, instructions

from threadchat.channel import Channel
from threadchat.client import Client
from threadchat.hub import Hub
from threadchat.inspector.journey import Followed
from threadchat.inspector.notes import Watch
from threadchat.inspector.sampler import SHARE
from threadchat.inspector.survey import DRAWN
from threadchat.inspector.watch import WatchedHub
from threadchat.inspector.watched_connection import WatchedConnection
from threadchat.messages import message
from threadchat.options import Options
from threadchat.websocket.connection import Connection

BATCHES, BATCH = 8, 20  # batches that the hub takes while the pumps write, and messages in each; as in the benchmark
ALLOWED = 0.05  # of the core's cost


class OpenSocket:
    """A socket that always has room."""

    def send(self, data: bytes) -> int:
        return len(data)


class Core:
    """A hub and its clients without threads: the test's thread does the work of the hub and of all write pumps."""

    def __init__(self, clients: int) -> None:
        self.options = Options()
        self.hub = self.make_hub()
        self.clients = [Client(self.hub, self.connect(), self.options, number) for number in range(clients)]
        for client in self.clients:
            client.connection._socket = OpenSocket()  # type: ignore[assignment]
        self.hub.clients = set(self.clients)

    def make_hub(self) -> Hub:
        return Hub()

    def connect(self) -> Connection:
        return Connection({}, self.options)

    def pass_on(self, batches: list[list[str]]) -> None:
        """Let the hub pass on these batches, and each write pump send them as one frame."""
        for batch in batches:
            self.hub._pass_on(batch)
        for client in self.clients:
            frame = client.send.receive_in_turn(client.connection.encode, until=time.monotonic() + FAR)
            client.connection.send(frame)


class Watched(Core):
    """The same with the watched parts. As many clients are drawn as the sampler draws at most."""

    def __init__(self, clients: int) -> None:
        self.watch = Watch()
        super().__init__(clients)
        for number, client in enumerate(self.clients):
            assert isinstance(client.connection, WatchedConnection)
            client.connection.outbound = client.send  # type: ignore[assignment]
            client.connection.watch = self.watch
            client.connection.drawn = number < DRAWN

    hub: WatchedHub

    def make_hub(self) -> WatchedHub:
        return WatchedHub(self.watch)

    def connect(self) -> Connection:
        return WatchedConnection(self.watch.shared, {}, self.options)


def batches() -> list[list[str]]:
    return [[f"message {batch} {number}" for number in range(BATCH)] for batch in range(BATCHES)]


@pytest.mark.parametrize("clients", [100, 1000])
def test_watching_costs_few_instructions(clients: int) -> None:
    core, watched = Core(clients), Watched(clients)
    work = batches()
    plain = instructions(lambda: core.pass_on(work))
    looked_at = instructions(lambda: watched.pass_on(work))
    assert [client.connection.messages_out for client in watched.clients] == [BATCHES * BATCH] * clients  # type: ignore[attr-defined]
    assert plain < looked_at < plain * (1 + ALLOWED - SHARE), f"{looked_at / plain - 1:.1%}"
    print(f"{clients} clients: {looked_at / plain - 1:.1%} more instructions a frame")


def test_a_room_at_which_nobody_looks_costs_at_most_what_one_without_followed_messages_does() -> None:
    seen, unseen = Watched(100), Watched(100)
    unseen.hub.rest()
    work = batches()
    assert instructions(lambda: unseen.pass_on(work)) <= instructions(lambda: seen.pass_on(work))
    assert type(unseen.hub.broadcast).send is Channel.send


def test_watching_costs_nothing_where_the_hub_meets_a_full_buffer() -> None:
    def give_way(server: Core) -> int:
        return instructions(lambda: server.hub._wait_or_evict(server.clients[0], ["message"]))

    assert give_way(Core(1)) == give_way(Watched(1)) > 0


def test_a_read_pump_runs_the_cores_code_while_no_message_is_to_be_followed() -> None:
    watched = Watched(1)
    journeys = watched.watch.journeys
    assert type(watched.hub.broadcast).send is not Channel.send
    while journeys.begin("peer", 1, "followed"):
        pass
    assert type(watched.hub.broadcast).send is Channel.send
    journeys.refill()
    assert type(watched.hub.broadcast).send is not Channel.send
    assert type(watched.clients[0].connection).__iter__ is Connection.__iter__


def test_the_hub_looks_for_followed_messages_only_while_one_is_on_its_way() -> None:
    watched = Watched(1)
    journeys = watched.watch.journeys
    idle = instructions(lambda: watched.pass_on(batches()))
    journey = journeys.begin("peer", 1, "followed")
    assert journey is not None
    one_coming = instructions(lambda: watched.pass_on(batches()))
    assert one_coming > idle + BATCHES * BATCH
    watched.pass_on([[Followed.on(journey, message("followed", "by"))]])
    assert instructions(lambda: watched.pass_on(batches())) == idle
