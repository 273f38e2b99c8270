"""The run queue, alone and in the server: which thread runs next, how many at once, and that none holds up another."""

from __future__ import annotations

import os
import random
import selectors
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT, TEXT, Peer, Process, Running, Serve, frame, go, switching_often, until

from threadchat.hub import Hub
from threadchat.runtime.runqueue import RUN_QUEUE, RunQueue, RunQueueStatistics
from threadchat.websocket import wire
from threadchat.websocket.connection import Connection


def result(future: Future[Any]) -> Any:
    return future.result(LIMIT)


def enter(queue: RunQueue) -> None:
    """Wait for a turn."""
    turn = threading.Lock()
    turn.acquire()
    queue.ready(turn.release)
    assert turn.acquire(timeout=LIMIT), "no turn"


def in_line(queue: RunQueue, count: int) -> None:
    until(lambda: queue.statistics().waiting == count, f"{count} in line")


def all_free(queue: RunQueue) -> bool:
    """Whether every turn has come back and no thread waits for one."""
    return queue.statistics() == RunQueueStatistics(queue.turns, queue.turns, 0)


# The queue alone


@pytest.mark.parametrize("turns", [1, 2, 5])
def test_as_many_threads_have_a_turn_as_there_are_turns_and_the_next_one_waits(turns: int) -> None:
    queue = RunQueue(turns)
    for number in range(turns):
        result(go(enter, queue))
        assert queue.statistics() == RunQueueStatistics(turns, turns - number - 1, 0)
    another = go(enter, queue)
    in_line(queue, 1)
    assert not another.done()
    queue.next()
    result(another)
    for number in range(turns):
        assert queue.statistics() == RunQueueStatistics(turns, number, 0)
        queue.next()
    assert all_free(queue)


def test_there_is_one_turn_unless_more_are_asked_for() -> None:
    assert RunQueue().statistics() == RunQueueStatistics(turns=1, free=1, waiting=0)


def test_a_run_queue_without_a_turn_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one turn"):
        RunQueue(0)


def test_the_process_has_one_run_queue_for_all_hubs() -> None:
    assert RUN_QUEUE.turns == 1
    assert Hub().run_queue is Hub().run_queue is RUN_QUEUE
    assert Hub().new_outbox(1).run_queue is RUN_QUEUE
    other = RunQueue()
    assert Hub(other).new_outbox(1).run_queue is other


def test_turns_are_given_in_the_order_of_asking() -> None:
    """Whether `wake` wakes a thread or does something else."""
    queue = RunQueue()
    order: list[int] = []

    def ask(number: int) -> None:
        enter(queue)
        order.append(number)

    enter(queue)
    for number in range(10):
        if number % 3 == 2:
            go(ask, number)
        else:
            queue.ready(lambda number=number: order.append(number))  # type: ignore[misc]
        in_line(queue, number + 1)
    for number in range(10):
        assert order == list(range(number))
        queue.next()
        until(lambda number=number: len(order) > number)  # type: ignore[misc]
    assert order == list(range(10))
    queue.next()
    assert all_free(queue)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("aAb", "Aab"),
        ("abcdAB", "AaBbcd"),
        ("abABCD", "AaBbCD"),
        ("ABC", "ABC"),
        ("abc", "abc"),
    ],
)
def test_urgent_threads_go_first_but_have_at_most_every_other_turn_while_others_wait(asked: str, given: str) -> None:
    """Capital letters are urgent."""
    queue = RunQueue()
    order: list[str] = []
    enter(queue)
    for name in asked:
        queue.ready(lambda name=name: order.append(name), urgent=name.isupper())  # type: ignore[misc]
    for _ in asked:
        queue.next()
    assert "".join(order) == given
    queue.next()
    assert all_free(queue)


def test_a_thread_that_is_ready_while_a_turn_is_free_is_woken_at_once() -> None:
    queue = RunQueue(2)
    woken: list[str] = []
    for name in ("first", "second", "third"):
        queue.ready(lambda name=name: woken.append(name))  # type: ignore[misc]
    assert woken == ["first", "second"]
    queue.next()
    assert woken == ["first", "second", "third"]


@pytest.mark.parametrize("turns", [1, 3])
def test_a_turn_that_is_given_back_while_no_thread_waits_is_free_again(turns: int) -> None:
    queue = RunQueue(turns)
    for _ in range(3):
        for _ in range(turns):
            enter(queue)
        for _ in range(turns):
            queue.next()
        assert all_free(queue)


def test_a_wake_may_itself_use_the_queue() -> None:
    queue = RunQueue()
    result(go(queue.ready, queue.next))
    enter(queue)
    queue.ready(queue.next)
    result(go(queue.next))
    assert all_free(queue)


@pytest.mark.parametrize("turns", [1, 3])
def test_gosched_returns_when_all_threads_in_line_have_had_their_turn_and_keeps_none(turns: int) -> None:
    queue = RunQueue(turns)
    result(go(queue.gosched))
    order: list[int] = []
    for _ in range(turns):
        enter(queue)
    for number in (0, 1):
        queue.ready(lambda number=number: order.append(number))  # type: ignore[misc]
    waiting = go(queue.gosched)
    in_line(queue, 3)
    queue.ready(lambda: order.append(2))
    for number in (0, 1):
        assert order == list(range(number))
        assert not waiting.done()
        queue.next()
    queue.next()
    result(waiting)
    until(lambda: order == [0, 1, 2], "the next in line to have the turn")
    queue.next()
    for _ in range(turns - 1):
        queue.next()
    assert all_free(queue)


@pytest.mark.parametrize("turns", [2, 4])
def test_as_many_threads_are_awake_as_there_are_turns(turns: int) -> None:
    queue = RunQueue(turns)
    all_awake = threading.Barrier(turns, timeout=LIMIT)

    def visit() -> None:
        enter(queue)
        all_awake.wait()
        queue.next()

    for future in [go(visit) for _ in range(3 * turns)]:
        result(future)
    assert all_free(queue)


@pytest.mark.parametrize("turns", [1, 2, 3, 7])
def test_no_more_threads_are_awake_than_there_are_turns(turns: int) -> None:
    queue = RunQueue(turns)
    counting = threading.Lock()
    awake, most, visits = 0, 0, 0

    def visit(seed: int) -> None:
        nonlocal awake, most, visits
        chance = random.Random(seed)
        parked = threading.Lock()
        parked.acquire()
        for _ in range(100):
            if chance.random() < 0.5:
                enter(queue)
            else:
                queue.ready(parked.release)
                parked.acquire()
            with counting:
                awake += 1
                most = max(most, awake)
                visits += 1
            os.sched_yield()
            with counting:
                awake -= 1
            queue.next()

    with switching_often():
        for future in [go(visit, seed) for seed in range(20)]:
            result(future)
    assert visits == 2000
    assert 1 <= most <= turns
    assert all_free(queue)


def test_a_blocked_thread_that_has_given_its_turn_back_holds_no_other_up() -> None:
    queue = RunQueue()
    freed = threading.Event()

    def block() -> bool:
        enter(queue)
        queue.next()
        return freed.wait(LIMIT)

    def visit() -> None:
        enter(queue)
        queue.next()

    blocked = go(block)
    for _ in range(3):
        for future in [go(visit) for _ in range(5)]:
            result(future)
    assert not blocked.done()
    freed.set()
    assert result(blocked)


# In the server


def all_idle(server: Running, count: int) -> None:
    """Wait until each client's write pump waits for messages, and the hub for anything."""
    until(
        lambda: (
            sum(client.send.statistics().waiting_receivers for client in server.clients) == count
            and server.app.hub.broadcast.statistics().waiting_receivers == 1
        ),
        f"{count} idle clients",
    )


@pytest.fixture
def crowd(serve: Serve) -> Iterator[Callable[..., tuple[Running, list[Peer]]]]:
    """Starts a server with `size` clients, all idle: `crowd(size, **options)`."""
    with ExitStack() as stack:

        def gather(size: int, **options: Any) -> tuple[Running, list[Peer]]:
            server = serve(**options)
            peers = [stack.enter_context(Peer(server.port)) for _ in range(size)]
            all_idle(server, size)
            return server, peers

        yield gather


Crowd = Callable[..., tuple[Running, list[Peer]]]


class Listener:
    """One of many peers that one thread reads from. Expects a text, the lines of which are the messages."""

    def __init__(self, peer: Peer) -> None:
        self.socket = peer.socket
        self.heard = 0
        self._bytes = b""

    def hear(self, text: bytes) -> bool:
        """Read what has arrived. Returns whether all of the text has come by now."""
        data = self.socket.recv(65536)
        assert data, f"the connection ended after {self.heard} of {len(text)} bytes"
        data = self._bytes + data
        at = 0
        while len(data) - at >= 2:
            start, size = at + 2, data[at + 1]
            assert size != 127, "a longer frame than a few hundred messages make"
            if size == 126:
                start, size = at + 4, int.from_bytes(data[at + 2 : at + 4], "big")
            if len(data) < max(start + size, at + 4):
                break
            assert data[at] == 0x80 | TEXT, f"evicted: {data[start:]!r}"
            end = self.heard + size
            assert data[start : start + size] == text[self.heard : end], "lost, or out of order"
            assert text[end : end + 1] == b"\n", "a message in parts"
            self.heard, at = end + 1, start + size
        self._bytes = data[at:]
        return self.heard == len(text)


def hear(peers: Sequence[Peer], messages: Sequence[str]) -> None:
    """Check that each peer receives all messages in their order, and nothing else."""
    text = "".join(f"{message}\n" for message in messages).encode()
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            selector.register(peer.socket, selectors.EVENT_READ, Listener(peer))
        while selector.get_map():
            ready = selector.select(LIMIT)
            missing = Counter(len(text) - key.data.heard for key in selector.get_map().values())
            assert ready, f"silence; bytes missing: number of peers: {missing}"
            for key, _ in ready:
                if key.data.hear(text):
                    selector.unregister(key.fileobj)


def talk(server: Running, messages: Sequence[str]) -> None:
    """Broadcast the messages as fast as the hub takes them."""
    for message in messages:
        server.app.hub.broadcast.send(message)


def test_a_broadcast_to_many_idle_clients_is_encoded_once(crowd: Crowd) -> None:
    server, peers = crowd(50)
    before = wire.text_frames.cache_info()
    for number in range(10):
        message = f"once {number}"
        server.app.hub.broadcast.send(message)
        hear(peers, [message])
        all_idle(server, 50)
    after = wire.text_frames.cache_info()
    assert after.misses - before.misses == 10
    assert after.hits - before.hits == 10 * 49


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        url: str = request.getfixturevalue("redis_server").url
        return url
    return "memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'chat.db'}"


def test_a_client_that_has_spoken_gets_the_broadcast_first(
    crowd: Crowd, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, peers = crowd(30, store=store)
    numbers = {str(peer.socket.getsockname()[1]): number for number, peer in enumerate(peers)}
    order: list[int] = []
    real = Connection.send

    def noting(self: Connection, data: bytes) -> None:
        order.append(numbers[self.peer.rpartition(":")[2]])  # this lets nobody else run before it is noted
        real(self, data)

    monkeypatch.setattr(Connection, "send", noting)
    for speaker in (17, 3, 29):
        order.clear()
        enter(server.app.hub.run_queue)  # no pump has a turn before all of them are in line
        peers[speaker].send(TEXT, "who hears me?")
        in_line(server.app.hub.run_queue, len(peers))
        server.app.hub.run_queue.next()
        hear(peers, ["who hears me?"])
        until(lambda: len(order) == len(peers))
        assert order[0] == speaker
        assert sorted(order) == list(range(len(peers)))
        all_idle(server, len(peers))


def test_no_more_than_one_write_pump_is_awake_in_a_burst(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    server, peers = crowd(50)
    encode = Connection.encode
    counting = threading.Lock()
    awake, most, frames = 0, 0, 0

    def counted(self: Connection, lines: Sequence[str]) -> bytes:
        nonlocal awake, most, frames
        with counting:
            awake += 1
            most = max(most, awake)
            frames += 1
        os.sched_yield()
        encoded = encode(self, lines)
        with counting:
            awake -= 1
        return encoded

    monkeypatch.setattr(Connection, "encode", counted)
    messages = [f"burst {number}" for number in range(2000)]
    with switching_often():
        talking = go(talk, server, messages)
        hear(peers, messages)
        result(talking)
    assert frames >= 50
    assert most == 1
    all_idle(server, 50)
    assert all_free(server.app.hub.run_queue)


def test_a_write_pump_that_is_blocked_in_a_send_holds_no_turn(crowd: Crowd) -> None:
    server, peers = crowd(5)
    with Peer(server.port, receive_buffer=4096):
        until(lambda: len(server.clients) == 6)
        stuck = max(server.clients, key=lambda client: client.number)
        number = 0
        while not stuck.connection.blocked:
            message = f"{number} " + "x" * 4000
            server.app.hub.broadcast.send(message)
            hear(peers, [message])
            number += 1
        messages = [f"on it goes {number}" for number in range(200)]  # fewer than a client's buffer holds
        talking = go(talk, server, messages)
        hear(peers, messages)
        result(talking)
        all_idle(server, 5)
        assert stuck in server.clients
        assert stuck.connection.blocked
        assert all_free(server.app.hub.run_queue)


def test_promise_7_at_full_load_no_client_that_reads_is_evicted_and_nothing_is_lost(tmp_path: Path) -> None:
    """One client talks and all listen. The server is in a process of its own, so that listening costs it nothing."""
    command = [sys.executable, "-m", "threadchat", "serve", "--port", "0", "--message-rate", "0"]
    with Process(tmp_path, command) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.port)) for _ in range(300)]
        for burst in range(10):
            messages = [f"{burst}{number}" for number in range(5000)]
            talking = go(peers[0].socket.sendall, b"".join(frame(TEXT, message) for message in messages))
            hear(peers, messages)
            result(talking)
        assert server.end() == 0
        assert {peer.receive_all()[-1].close_code for peer in peers} == {1001}
        assert "evicted" not in server.err


def test_only_the_write_pumps_give_way_to_the_threads_that_wake_them(crowd: Crowd) -> None:
    server, _ = crowd(3)
    ours = os.sched_getscheduler(0)
    assert ours != os.SCHED_BATCH
    policies: dict[str, int] = {}
    for thread in threading.enumerate():
        assert thread.native_id is not None
        policies[thread.name] = os.sched_getscheduler(thread.native_id)
    batch = {name for name, policy in policies.items() if policy == os.SCHED_BATCH}
    assert batch == {f"writePump-{client.number}" for client in server.clients}
    assert len(batch) == 3
    assert {policy for name, policy in policies.items() if name not in batch} == {ours}
