"""Every wait of the server's threads ends: the rows of the table in tests/README.md, each met by a stop."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from helpers import (
    FAR,
    LIMIT,
    PING,
    REDIS,
    TEXT,
    Held,
    Peer,
    RedisServer,
    Running,
    Serve,
    ask,
    go,
    join,
    needs_redis,
    open_socket,
    say_stuck,
    until,
)

from threadchat import shared_room, stored_room
from threadchat.channel import Channel, Closed, WouldBlock
from threadchat.log import StoreDown
from threadchat.log import redis as store
from threadchat.log.writer import LogWriter
from threadchat.messages import message
from threadchat.room import LOBBY
from threadchat.runtime import share
from threadchat.runtime.sibling import Place
from threadchat.shared_room import SharedRoom
from threadchat.web import drain, health, metrics
from threadchat.web.together import Together
from threadchat.websocket import connection

SECONDS = 30.0  # that a stop may take, on a machine that is very busy; what it could wait for in vain takes far longer
V1 = "Sec-WebSocket-Protocol: threadchat.v1\r\n"


class Scene:
    """A server in which a thread waits. `told` are the peers that a stop must tell 1001."""

    redis: RedisServer

    def __init__(self, serve: Serve, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.told: list[Peer] = []
        self.after: list[Callable[[], object]] = []  # called once the stop has begun
        self.monkeypatch = monkeypatch
        self._serve, self.stack = serve, stack

    def serve(self, **options: Any) -> Running:
        self.server = self._serve(**{"write_wait": FAR, "request_wait": FAR, "pong_wait": FAR, **options})
        return self.server

    def peer(self, path: str = "/ws", headers: str = "", receive_buffer: int | None = None, told: bool = True) -> Peer:
        made = Peer(self.server.port, path, headers=headers, receive_buffer=receive_buffer)
        self.stack.callback(made.close)
        if told:
            self.told.append(made)
        return made

    def joining(self, path: str = "/ws") -> Future[Peer]:
        """A peer whose handshake is not answered yet. It must be refused, or answered and told."""
        future = go(Peer, self.server.port, path)

        def check() -> None:
            with future.result(LIMIT) as peer:
                assert peer.status == 503 or peer.receive_all()[-1].close_code == 1001

        self.stack.callback(check)
        return future

    def does_not_read(self, told: bool = True) -> Peer:
        """A peer, the first one, for which a write is blocked."""
        hub = self.server.app.hub
        stuck = self.peer(receive_buffer=4096, told=told)
        until(lambda: hub.clients)
        (client,) = self.server.clients
        hub.broadcast.send("x" * 500_000)
        until(lambda: client.connection.blocked, "a blocked write")
        return stuck

    def hub_waits(self) -> Peer:
        """Make the hub wait for a peer that does not read, until the stop has begun. Returns another peer."""
        self.monkeypatch.setattr(connection, "STUCK_AFTER", FAR)
        hub = self.serve(send_buffer=1).app.hub
        self.does_not_read(told=False)
        (client,) = hub.clients
        self.after.append(lambda: say_stuck(client.stuck))
        other = self.peer()
        until(lambda: len(hub.clients) == 2)
        for _ in range(2):
            hub.broadcast.send("for a buffer that is full")
        until(lambda: client.send.statistics().waiting_senders == 1, "the hub waiting for the peer")
        return other

    def hub_is_full(self) -> Peer:
        """The same, and the hub's buffer is full."""
        other = self.hub_waits()
        with suppress(WouldBlock):
            while True:
                self.server.app.hub.broadcast.send_nowait("fill")
        return other

    def hub_is_at_work(self) -> None:
        """Make the hub, which has one client, record a message until the stop has begun."""
        held = Held(self.serve().app.hub)
        peer = self.peer(told=False)
        peer.send(TEXT, "hello")
        assert held.at_work.wait(LIMIT)
        self.after += [held.goes_on.set, peer.close]

    def drain(self, seconds: float) -> None:
        """Drain the server, and cut that short when the stop has begun."""
        cut = Channel[None]()
        draining = go(drain.drain, self.server.app.rooms, seconds, cut, lambda: False)
        self.after[:0] = [cut.close, lambda: draining.result(LIMIT)]

    def fill_log(self, entries: int, size: int) -> str:
        """Fill the lobby's log. Returns the token of its beginning."""
        log = self.server.app.rooms.lobby.log
        log.append([message("x" * size, "by") for _ in range(entries)])
        return log.token(0)


def is_in(role: str, *functions: str) -> bool:
    """Whether a thread of this role executes these functions, one within the other."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread.name.startswith(role) and thread.ident in frames:
            frame, names = frames[thread.ident], set()
            while frame is not None:
                names.add(frame.f_code.co_name)
                frame = frame.f_back  # type: ignore[assignment]
            if names >= set(functions):
                return True
    return False


def read_pump_receives(scene: Scene) -> None:
    scene.serve()
    scene.peer()
    until(lambda: is_in("readPump", "_receive", "wait"))


def read_pump_sends_to_a_full_hub(scene: Scene) -> None:
    scene.hub_is_full().send(TEXT, "too much")
    until(lambda: scene.server.app.hub.broadcast.statistics().waiting_senders == 1)


def read_pump_pauses(scene: Scene) -> None:
    scene.serve(message_rate=1)
    peer = scene.peer()
    for _ in range(100):
        peer.send(TEXT, "too fast")
    until(lambda: is_in("readPump", "_pause"))


def read_pump_waits_for_the_write_pump_to_finish_its_frame(scene: Scene) -> None:
    scene.serve()
    scene.does_not_read().send(PING)
    until(lambda: is_in("readPump", "_send"))


def write_pump_is_idle(scene: Scene) -> None:
    hub = scene.serve().app.hub
    scene.peer()
    until(lambda: [client.send.statistics().waiting_receivers for client in hub.clients] == [1])


def write_pump_stands_in_the_run_queue(scene: Scene) -> None:
    hub = scene.serve().app.hub
    scene.peer()
    until(lambda: [client.send.statistics().waiting_receivers for client in hub.clients] == [1])
    hub.run_queue.ready(lambda: None)  # takes the only turn
    scene.after.append(hub.run_queue.next)
    hub.broadcast.send("for the write pump")
    until(lambda: hub.run_queue.statistics().waiting == 1)


def write_pump_is_in_a_blocked_write(scene: Scene) -> None:
    scene.serve()
    scene.does_not_read()


def hub_selects(scene: Scene) -> None:
    hub = scene.serve().app.hub
    until(lambda: hub.done.statistics().waiting_receivers == 1)


def hub_waits_for_a_stuck_client(scene: Scene) -> None:
    scene.hub_waits()


def request_sends_the_past_before_it_registers(scene: Scene) -> None:
    room = scene.serve().app.rooms.lobby
    scene.peer(f"/ws?since={scene.fill_log(4_000, 500)}", V1, receive_buffer=4096)
    until(lambda: any(each.blocked for each in room._arriving), "a blocked write")


def request_sends_the_rest_once_it_is_registered(scene: Scene) -> None:
    server = scene.serve()
    scene.fill_log(200, 2_500)
    scene.peer("/ws", V1, receive_buffer=4096)
    until(lambda: any(client.connection.blocked for client in server.clients), "a blocked write")


def request_sends_a_history_of_plain_lines(scene: Scene) -> None:
    server = scene.serve()
    scene.fill_log(200, 2_500)
    scene.peer("/ws?history=200", receive_buffer=4096)
    until(lambda: any(client.connection.blocked for client in server.clients), "a blocked write")


def request_says_join_to_a_full_hub(scene: Scene) -> None:
    scene.hub_is_full()
    scene.peer(headers=V1)
    until(lambda: scene.server.app.hub.broadcast.statistics().waiting_senders == 1)


def request_registers(scene: Scene) -> None:
    scene.hub_waits()
    scene.joining()
    until(lambda: scene.server.app.hub.register.statistics().waiting_senders == 1)


def request_unregisters(scene: Scene) -> None:
    leaver = scene.hub_waits()
    scene.told.remove(leaver)
    leaver.leave()
    until(lambda: scene.server.app.hub.unregister.statistics().waiting_senders == 1)


def request_enters_a_room_while_another_is_made(scene: Scene) -> None:
    rooms = scene.serve().app.rooms
    made, make_hub = threading.Event(), rooms._make_hub
    scene.after.append(made.set)
    rooms._make_hub = lambda name: (made.wait(LIMIT), make_hub(name))[1]
    scene.joining("/r/den/ws")
    until(lambda: is_in("request", "_new_room", "wait"))
    scene.joining()
    until(lambda: sum(is_in(thread.name, "_enter") for thread in threading.enumerate()) >= 2)


def request_is_read(scene: Scene) -> None:
    idle = open_socket(scene.serve(), b"GET / HTTP/1.1\r\n")
    scene.after.append(lambda: idle.recv(1) == b"" or pytest.fail("it was answered"))
    scene.after.append(idle.close)
    until(lambda: is_in("request", "parse_request"))


def request_asks_the_hubs_whether_they_answer(scene: Scene) -> None:
    scene.monkeypatch.setattr(health, "ANSWER_WAIT", FAR)
    scene.hub_is_at_work()
    asked = go(ask, scene.server, "GET", "/livez")
    scene.after.append(lambda: asked.result(LIMIT))
    until(lambda: scene.server.app.hub.unregister.statistics().waiting_senders == 1)


def request_waits_for_the_answers_that_another_asks_for(scene: Scene) -> None:
    request_asks_the_hubs_whether_they_answer(scene)
    asked = go(ask, scene.server, "GET", "/livez")
    scene.after.append(lambda: asked.result(LIMIT))
    until(lambda: "_not_live" in [frame.f_code.co_name for frame in sys._current_frames().values()], "the second one")


def drain_waits_until_the_next_goodbye_is_due(scene: Scene) -> None:
    scene.serve()
    scene.drain(FAR)
    until(lambda: is_in("Thread", "drain", "_wait"))


def drain_tells_a_hub_that_a_client_is_to_go(scene: Scene) -> None:
    scene.monkeypatch.setattr(drain, "HUB_WAIT", FAR)
    scene.hub_is_at_work()
    scene.drain(0.5)
    until(lambda: is_in("Thread", "_part_with"))


def timers_sleep(scene: Scene) -> None:
    timers = scene.serve().app.rooms._timers
    timers.after(FAR, lambda: None)
    until(lambda: timers._changed.statistics().waiting_receivers == 1)


def take_store_down(scene: Scene) -> LogWriter:
    """Serve with a store that is down. Returns the log writer."""
    server = scene.serve(store=f"sqlite:{scene.folder / 'chat.db'}", message_rate=0)
    writer = server.app.rooms._writer
    assert writer is not None

    def down(*arguments: object) -> NoReturn:
        raise StoreDown("no disk")

    writer._store.write = writer._store.load = down  # type: ignore[method-assign, assignment]
    return writer


def log_writer_is_idle(scene: Scene) -> None:
    server = scene.serve(store=f"sqlite:{scene.folder / 'chat.db'}")
    writer = server.app.rooms._writer
    assert writer is not None
    scene.peer()
    until(lambda: writer.said.statistics().waiting_receivers == 1)


def log_writer_waits_for_a_store_that_is_down(scene: Scene) -> None:
    writer = take_store_down(scene)
    scene.peer().send(TEXT, "x")
    until(lambda: is_in("logWriter", "_until_it_works", "wait"))
    assert writer.is_down


def read_pump_sends_to_a_full_log_writer(scene: Scene) -> None:
    writer = take_store_down(scene)
    peer = scene.peer()
    for _ in range(3 * writer.said.capacity):
        peer.send(TEXT, "x")
    until(lambda: is_in("readPump", "read_pump", "say", "send"))


def request_enters_a_room_that_is_being_loaded(scene: Scene) -> None:
    take_store_down(scene)
    scene.joining("/r/den/ws")
    until(lambda: is_in("request", "open", "wait_for"))


def run_ahead_of_the_hub(scene: Scene, behind: str, role: str, *functions: str) -> None:
    """Hold the lobby's hub, and talk until the thread waits. `behind` names the limit that is reached."""
    server = scene.serve(store=f"sqlite:{scene.folder / 'chat.db'}", message_rate=0)
    scene.monkeypatch.setattr(stored_room, behind, 2)
    peer = scene.peer()
    until(lambda: server.app.hub.clients)
    scene.after.append(Held(server.app.hub).goes_on.set)

    def waits() -> bool:
        peer.send(TEXT, "x")
        return is_in(role, *functions, "_wait_for_hub", "wait_for")

    until(waits)


def read_pump_waits_for_a_hub_that_is_behind(scene: Scene) -> None:
    run_ahead_of_the_hub(scene, "BEHIND", "readPump", "say")


def log_writer_waits_for_a_hub_that_is_behind(scene: Scene) -> None:
    run_ahead_of_the_hub(scene, "FAR_BEHIND", "logWriter", "accept")


def serve_shared(scene: Scene) -> LogWriter:
    """Serve with a Redis. Returns the log writer."""
    if REDIS is None:
        pytest.skip(needs_redis.kwargs["reason"])
    scene.monkeypatch.setattr(store, "TIMEOUT", 1.5)
    scene.redis = scene.stack.enter_context(RedisServer())
    writer = scene.serve(store=scene.redis.url, message_rate=0).app.rooms._writer
    assert writer is not None
    return writer


def log_reader_waits_for_what_is_new(scene: Scene) -> None:
    serve_shared(scene)
    scene.peer()
    until(lambda: is_in("logReader", "_read", "news", "ask_all"))


def log_reader_waits_for_a_redis_that_is_down(scene: Scene) -> None:
    writer = serve_shared(scene)
    scene.peer()
    scene.redis.kill()
    until(lambda: is_in("logReader", "_step", "wait"))
    until(lambda: writer.reader is not None and writer.reader.is_down)


def log_writer_waits_for_an_answer(scene: Scene) -> None:
    serve_shared(scene)
    peer = scene.peer()
    until(lambda: scene.server.app.hub.clients)
    scene.redis.pause()
    peer.send(TEXT, "x")
    until(lambda: is_in("logWriter", "write", "ask_all"))


def request_waits_for_what_it_has_said(scene: Scene) -> None:
    scene.monkeypatch.setattr(SharedRoom, "is_far_behind", True)  # the reader leaves it out
    serve_shared(scene)
    publishing = go(scene.server.app.publish, "x")
    until(lambda: is_in("Thread", "publish", "post", "wait_for"))

    def check() -> None:
        with pytest.raises(Closed):
            publishing.result(LIMIT)

    scene.stack.callback(check)


def request_waits_for_what_the_client_has_seen_elsewhere(scene: Scene) -> None:
    scene.monkeypatch.setattr(shared_room, "AHEAD_WAIT", FAR)
    serve_shared(scene)
    ahead = f"{scene.server.app.rooms.lobby.log.epoch}.1.0"
    scene.told.append(scene.stack.enter_context(Peer(scene.server.port, f"/ws?since={ahead}", headers=V1)))
    until(lambda: is_in("request", "reaches", "wait_for"))


def hub_of_a_room_that_is_taken_out_ends(scene: Scene) -> None:
    rooms = scene.serve(room_linger=0.001).app.rooms
    goes_on = threading.Event()
    with rooms.enter("den") as room:
        room.hub.record = lambda items: goes_on.wait(LIMIT) and ()  # type: ignore[assignment, return-value]
    until(lambda: set(rooms._rooms) == {LOBBY})
    until(lambda: is_in("hub-den", "_part_with_all", "wait"))
    scene.after.append(lambda: until(lambda: is_in("Thread", "stop", "join"), "the stop waiting for the hub"))
    scene.after.append(goes_on.set)


def accept_has_too_many_unread_requests(scene: Scene) -> None:
    server = scene.serve(max_unread_requests=1)
    for _ in range(2):
        scene.after.append(open_socket(server).close)
    until(lambda: is_in("accept", "add", "wait"))


def accept_gives_way_to_another_process(scene: Scene) -> None:
    scene.monkeypatch.setattr(share, "PATIENCE", 1.0)
    server = scene.serve()
    table = scene.folder / "table"
    share.make_table(table, 2)
    for number in (1, 2):
        own = share.Share(table, number)
        own.count(0)
        server.server._server._share = server.server._server._share or own
    for _ in range(5):
        scene.peer()
    scene.stack.callback(open_socket(server).close)
    until(lambda: is_in("accept", "may_take"))


def request_asks_other_processes_for_their_figures(scene: Scene) -> None:
    pytest.importorskip("prometheus_client")
    server = scene.serve()
    place = Place(1, 2, "127.0.0.1", 80, str(scene.folder), -1, -1)
    silent = scene.stack.enter_context(socket.socket(socket.AF_UNIX))
    silent.bind(str(place.figures(2)))
    silent.listen()
    server.app.together = together = Together(place, metrics.Collector(server.app.rooms))
    scene.stack.callback(together.stop)
    asking = go(ask, server, "GET", "/metrics")
    scene.stack.callback(lambda: asking.result(LIMIT))
    until(lambda: is_in("request", "_asked"))


def stop_waits_for_a_peer_that_does_not_close(scene: Scene) -> None:
    scene.serve()
    scene.peer()
    scene.after.append(lambda: until(lambda: is_in("Thread", "wait_until_empty"), "the stop waiting for the client"))


WAITS = {
    function.__name__.replace("_", " "): function
    for function in (
        read_pump_receives,
        read_pump_sends_to_a_full_hub,
        read_pump_pauses,
        read_pump_waits_for_the_write_pump_to_finish_its_frame,
        write_pump_is_idle,
        write_pump_stands_in_the_run_queue,
        write_pump_is_in_a_blocked_write,
        hub_selects,
        hub_waits_for_a_stuck_client,
        request_is_read,
        request_enters_a_room_while_another_is_made,
        request_sends_the_past_before_it_registers,
        request_says_join_to_a_full_hub,
        request_registers,
        request_sends_the_rest_once_it_is_registered,
        request_sends_a_history_of_plain_lines,
        request_unregisters,
        request_asks_the_hubs_whether_they_answer,
        request_waits_for_the_answers_that_another_asks_for,
        drain_waits_until_the_next_goodbye_is_due,
        drain_tells_a_hub_that_a_client_is_to_go,
        timers_sleep,
        log_writer_is_idle,
        log_writer_waits_for_a_store_that_is_down,
        read_pump_sends_to_a_full_log_writer,
        request_enters_a_room_that_is_being_loaded,
        read_pump_waits_for_a_hub_that_is_behind,
        log_writer_waits_for_a_hub_that_is_behind,
        log_reader_waits_for_what_is_new,
        log_reader_waits_for_a_redis_that_is_down,
        log_writer_waits_for_an_answer,
        request_waits_for_what_it_has_said,
        request_waits_for_what_the_client_has_seen_elsewhere,
        hub_of_a_room_that_is_taken_out_ends,
        accept_has_too_many_unread_requests,
        accept_gives_way_to_another_process,
        request_asks_other_processes_for_their_figures,
        stop_waits_for_a_peer_that_does_not_close,
    )
}


@pytest.mark.parametrize("wait", WAITS)
def test_a_stop_ends_the_wait_in_seconds_and_tells_the_peer(
    serve: Serve, wait: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        scene = Scene(serve, stack, monkeypatch, tmp_path)
        WAITS[wait](scene)
        began = time.monotonic()
        stopping = scene.server.stop_in_thread()
        if scene.after:
            until(lambda: scene.server.app.rooms._stopped or is_in("Thread", "stop"), "the stop")
        for each in scene.after:
            each()
        for peer in scene.told:
            assert peer.receive_all()[-1].close_code == 1001
        join(stopping)
        assert time.monotonic() - began < SECONDS


def test_the_table_of_waits_has_a_row_for_each() -> None:
    table = (Path(__file__).parent / "README.md").read_text().partition("## Every wait ends")[2].partition("\n## ")[0]
    assert re.findall(r"^\| ([a-z ]+?) +\|", table, re.MULTILINE) == ["it waits", *WAITS]
