"""The promises of threadchat, each tested under its number with real sockets, real threads and many clients."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
from helpers import (
    CLOSE,
    LIMIT,
    PING,
    PONG,
    TEXT,
    THREADCHAT,
    Frame,
    Peer,
    Process,
    Running,
    Serve,
    frame,
    join,
    pump_names,
    say_stuck,
    until,
)
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connecting

from threadchat.client import Client
from threadchat.websocket.connection import Connection

connect = partial(connecting, compression=None, open_timeout=LIMIT, ping_interval=None)  # however slow the machine is

CLIENTS = 200
SENDERS = 4
MESSAGES = 200


async def receive_lines(websocket: ClientConnection, count: int) -> list[str]:
    lines: list[str] = []
    while len(lines) < count:
        lines += str(await websocket.recv()).split("\n")
    return lines


async def chat(url: str, clients: int, senders: int, messages: int, connected: Callable[[], None]) -> list[list[str]]:
    """All clients connect; `senders` of them send `messages` each, all at once. Returns what each client received."""
    websockets = await asyncio.gather(*(connect(url) for _ in range(clients)))
    connected()

    async def send(number: int) -> None:
        for count in range(messages):
            await websockets[number].send(f"{number}:{count}")

    receivers = [asyncio.create_task(receive_lines(websocket, senders * messages)) for websocket in websockets]
    await asyncio.gather(*(send(number) for number in range(senders)))
    received = await asyncio.gather(*receivers)
    await asyncio.gather(*(websocket.close() for websocket in websockets))
    return received


def test_promises_1_2_and_3_one_order_no_gap_two_threads_a_client(serve: Serve) -> None:
    server = serve(message_rate=0)
    before = set(threading.enumerate())
    during: list[int] = []
    names: list[str] = []

    def connected() -> None:
        until(lambda: len(pump_names()) == 2 * CLIENTS)
        during.append(len(set(threading.enumerate()) - before))
        names.extend(pump_names())

    received = asyncio.run(chat(server.ws_url, CLIENTS, SENDERS, MESSAGES, connected))

    assert all(lines == received[0] for lines in received), "one order for all"
    assert len(received[0]) == len(set(received[0])) == SENDERS * MESSAGES, "nothing lost, nothing twice"
    for number in range(SENDERS):
        own = [line for line in received[0] if line.startswith(f"{number}:")]
        assert own == [f"{number}:{count}" for count in range(MESSAGES)], "each sender's own order"
    assert during == [2 * CLIENTS], "exactly two threads a client"
    assert sorted(names) == sorted(
        f"{role}Pump-{number}" for role in ("read", "write") for number in range(1, CLIENTS + 1)
    )
    until(lambda: set(threading.enumerate()) <= before, "the end of the clients' threads")


def test_promise_2_a_client_that_joins_during_the_talk_misses_nothing(server: Running) -> None:
    with Peer(server.port) as speaker:
        for number in range(50):
            with Peer(server.port) as newcomer:
                speaker.send(TEXT, str(number))
                newcomer.send(TEXT, "own")
                assert sorted(newcomer.lines(2)) == sorted([str(number), "own"])
            speaker.lines(2)


def test_promise_4_frames_never_interleave(serve: Serve) -> None:
    """A peer that does not read pings and is pinged while long frames for it are cut short by the kernel."""
    server = serve(ping_period=0.05, pong_wait=LIMIT, message_size=4000, message_rate=0)
    with Peer(server.port, receive_buffer=4096) as slow, Peer(server.port) as speaker:
        until(lambda: len(server.clients) == 2)
        (slow_client,) = (client for client in server.clients if client.number == 1)
        sent = 0
        while not slow_client.connection.blocked:
            speaker.send(TEXT, f"{sent}:" + "x" * 3900)
            speaker.send(PONG)
            sent += 1
            got = speaker.receive()
            while got.opcode != TEXT:
                got = speaker.receive()
        for number in range(5):  # the read pump answers these while the write pump is inside its frame
            slow.send(PING, str(number))
        lines: list[str] = []
        pongs: list[bytes] = []
        while len(lines) < sent or len(pongs) < 5:
            got = slow.receive()
            assert got.fin
            assert got.opcode in (TEXT, PING, PONG), got
            if got.opcode == TEXT:
                lines += got.payload.decode().split("\n")
            elif got.opcode == PONG:
                pongs.append(got.payload)
        assert [int(line.partition(":")[0]) for line in lines] == list(range(sent))
        assert pongs == [b"0", b"1", b"2", b"3", b"4"]
        server.app.hub.stop()
        assert slow.receive_all()[-1].close_code == 1001


def test_promise_5_a_sender_that_floods_is_slowed_down_and_nothing_piles_up(serve: Serve) -> None:
    server = serve(message_rate=0)
    hub = server.app.hub
    busy = Client(hub, Connection({}, server.app.options), server.app.options, 0)
    hub.register.send(busy)
    with Peer(server.port) as flooder, ExitStack() as stack:
        stack.callback(say_stuck, busy.stuck)
        fill = busy.send.capacity + 1
        for _ in range(fill):
            hub.broadcast.send("fill")
        until(lambda: busy.send.statistics().waiting_senders == 1, "the hub being busy with one client")
        message = frame(TEXT, "x" * 500)
        flooder.socket.setblocking(False)
        sent, cut = 0, message

        def flood() -> bool:
            """Send until TCP takes no more. Returns whether the read pump had read what it will before that."""
            nonlocal sent, cut
            reads_no_more = hub.broadcast.statistics().waiting_senders == 1
            with suppress(BlockingIOError):
                while True:
                    cut = cut[flooder.socket.send(cut) :]
                    if not cut:
                        sent, cut = sent + 1, message
            return reads_no_more

        until(flood, "the read pump that waits")
        (client,) = server.clients - {busy}
        assert hub.broadcast.statistics().waiting_senders == 1  # one message of the flood, and its read pump waits
        assert len(hub.broadcast) == hub.broadcast.capacity
        assert len(client.connection._wire._buffer) <= 4096
        say_stuck(busy.stuck)
        flooder.socket.settimeout(LIMIT)
        assert flooder.lines(fill + sent) == ["fill"] * fill + ["x" * 500] * sent
        flooder.socket.sendall(cut)
        assert flooder.lines(1) == ["x" * 500]


def speak_until(condition: Callable[[], object], speaker: Peer, *listeners: Peer) -> list[str]:
    """Send messages until the condition holds, each after all peers have received the one before. Returns them all."""
    said: list[str] = []
    while not condition():
        said.append(f"{len(said)}:" + "x" * 490)
        speaker.send(TEXT, said[-1])
        for peer in (speaker, *listeners):
            assert peer.lines(1) == said[-1:]
    return said


def test_promise_6_a_client_that_stops_reading_is_evicted_and_the_others_do_not_notice(serve: Serve) -> None:
    server = serve(message_rate=0)
    with ExitStack() as stack:
        stuck, speaker, *others = (stack.enter_context(Peer(server.port)) for _ in range(10))
        until(lambda: len(server.clients) == 10)
        said = speak_until(lambda: len(server.clients) == 9, speaker, *others)
        until(lambda: "writePump-1" not in pump_names(), "the end of the stuck client's write pump")
        frames = stuck.receive_all()
        assert frames[-1].opcode == CLOSE
        assert frames[-1].close_code == 1008
        assert b"evicted" in frames[-1].payload
        lines = b"\n".join(frame.payload for frame in frames if frame.opcode == TEXT).decode().split("\n")
        assert lines == said[: len(lines)], "the stuck client missed no message before its eviction"
        assert len(said) - len(lines) >= server.app.options.send_buffer
    until(lambda: pump_names() == [])


def count_aloud(server: Running, numbers: int) -> list[str]:
    """Broadcast that many consecutive numbers, as fast as the hub takes them. Returns the messages."""
    said = [str(number) for number in range(numbers)]
    for line in said:
        server.app.hub.broadcast.send(line)
    return said


def test_promise_7_a_burst_evicts_no_healthy_client(serve: Serve) -> None:
    """The burst has twenty times as many messages as a buffer holds, as fast as the hub can send them."""
    server = serve()
    clients, burst = 50, 5000

    async def receive_burst() -> list[list[str]]:
        websockets = await asyncio.gather(*(connect(server.ws_url) for _ in range(clients)))
        speaker = asyncio.to_thread(count_aloud, server, burst)
        said_and_received = await asyncio.gather(
            speaker, *(receive_lines(websocket, burst) for websocket in websockets)
        )
        await asyncio.gather(*(websocket.close() for websocket in websockets))
        return said_and_received

    said, *received = asyncio.run(receive_burst())
    assert len(said) == burst
    assert received == [said] * clients


def test_promise_7_a_peer_that_reads_is_not_evicted_even_if_its_socket_is_full_at_times(serve: Serve) -> None:
    server = serve()
    burst = [f"{number}:".ljust(500, "x") for number in range(3000)]
    with Peer(server.port, receive_buffer=4096) as slow, Peer(server.port) as quick:
        received: dict[Peer, list[str]] = {}

        def read(peer: Peer) -> None:
            received[peer] = peer.lines(len(burst))

        readers = [threading.Thread(target=read, args=(peer,)) for peer in (slow, quick)]
        for reader in readers:
            reader.start()
        for message in burst:
            server.app.hub.broadcast.send(message)
        for reader in readers:
            reader.join(LIMIT)
        assert received == {slow: burst, quick: burst}


def test_promise_7_the_hub_waits_for_a_pump_that_gets_no_turn(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    its_turn = threading.Event()
    write_pump = Client.write_pump

    def late_write_pump(client: Client) -> None:
        its_turn.wait(LIMIT)
        write_pump(client)

    monkeypatch.setattr(Client, "write_pump", late_write_pump)
    server = serve(send_buffer=4)
    with Peer(server.port) as peer:
        speaker = threading.Thread(target=count_aloud, args=(server, 10))
        speaker.start()
        until(lambda: server.clients)
        (client,) = server.clients
        until(lambda: client.send.statistics().waiting_senders == 1, "the hub waiting for the pump")
        its_turn.set()
        assert peer.lines(10) == [str(number) for number in range(10)]
        speaker.join(LIMIT)


def test_promise_7_nobody_is_removed_because_the_server_itself_slept(tmp_path: Path) -> None:
    """It is stopped before its ping, for longer than the pong wait (Ctrl-Z, docker pause)."""
    pong_wait = 4.0  # seconds
    command = [*THREADCHAT, "serve", "--port=0", f"--pong-wait={pong_wait}", "--ping-period=2", "--write-wait=0.1"]
    with Process(tmp_path, command) as process, ExitStack() as stack:
        peers = [stack.enter_context(Peer(process.port)) for _ in range(20)]
        process.process.send_signal(signal.SIGSTOP)
        asleep = time.monotonic()
        until(lambda: time.monotonic() > asleep + pong_wait + 0.5, "the end of the sleep")
        process.process.send_signal(signal.SIGCONT)
        for peer in peers:
            assert peer.receive().opcode == PING
            peer.send(PONG)
        peers[0].send(TEXT, "nobody is missing")
        for peer in peers:
            while (got := peer.receive()).opcode == PING:
                peer.send(PONG)
            assert got == Frame(TEXT, b"nobody is missing")
        assert process.end() == 0


def test_promise_8_a_stop_tells_every_client_and_leaves_no_thread(serve: Serve) -> None:
    before = set(threading.enumerate())
    server = serve(message_rate=0)
    with ExitStack() as stack:
        idle = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        polite, mute, blocked, speaker = (stack.enter_context(Peer(server.port)) for _ in range(4))
        until(lambda: len(server.clients) == 4)
        (client,) = (client for client in server.clients if client.number == 3)
        said = speak_until(lambda: client.connection.blocked and len(client.send) > 2, speaker)
        stopping = server.stop_in_thread()
        assert polite.lines(len(said)) == said
        goodbye = polite.receive()
        assert goodbye.close_code == 1001
        polite.send(CLOSE, goodbye.payload)
        assert polite.receive_all() == []
        for peer in (mute, blocked, speaker):  # none of them answers the close frame
            assert peer.receive_all()[-1].close_code == 1001
        join(stopping)
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))
    assert set(threading.enumerate()) <= before


def bad_inputs() -> dict[str, tuple[bytes, int]]:
    return {
        "too long": (frame(TEXT, "x" * 513), 1009),
        "binary": (frame(2, b"x"), 1003),
        "not UTF-8": (frame(TEXT, b"\xff"), 1007),
        "unmasked": (frame(TEXT, "x", masked=False), 1002),
        "reserved opcode": (frame(3), 1002),
        "continuation of nothing": (frame(0), 1002),
    }


@pytest.mark.parametrize("name", bad_inputs())
def test_promise_9_bad_input_harms_only_the_sender(server: Running, name: str) -> None:
    data, code = bad_inputs()[name]
    with Peer(server.port) as bad, Peer(server.port) as good:
        bad.socket.sendall(frame(TEXT, "before") + data + frame(TEXT, "after"))
        *_, last = bad.receive_all()
        assert last.close_code == code
        assert len(last.payload) > 2, "it says what was wrong"
        good.send(TEXT, "the server goes on")
        assert good.lines(2) == ["before", "the server goes on"]
    until(lambda: pump_names() == [])


def test_promise_9_bad_http_harms_only_the_sender(server: Running) -> None:
    with Peer(server.port) as good, socket.create_connection(("127.0.0.1", server.port)) as bad:
        bad.sendall(b"GET / nonsense HTTP/1.1\r\n\r\n")
        assert bad.recv(65536).startswith(b"HTTP/1.1 400 ")
        good.send(TEXT, "the server goes on")
        assert good.lines(1) == ["the server goes on"]
