"""connection.py over real sockets: how a connection ends, its deadlines, and that no two frames mix."""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LIMIT,
    PING,
    PONG,
    TEXT,
    Clock,
    Connect,
    CountingReadiness,
    Frame,
    Observed,
    Peer,
    Running,
    ScriptedReadiness,
    Serve,
    Tap,
    all_gone,
    frame,
    join,
    pump_names,
    run,
    until,
)

from threadchat import client
from threadchat.hub import Ending
from threadchat.options import Options
from threadchat.websocket import connection, ready
from threadchat.websocket.connection import Connection, ConnectionClosed

BIG = 60_000  # bytes of a message that soon fills what the kernel holds for a peer that does not read
ENDLESS = 30_000_000  # bytes that fit into no kernel's buffers


def only_client(running: Running) -> Any:
    until(lambda: len(running.clients) == 1)
    return next(iter(running.clients))


@contextmanager
def stuck_peer(running: Running) -> Iterator[tuple[Peer, Any]]:
    """A peer that does not read, and its client, whose write pump is blocked inside a frame."""
    with Peer(running.port, receive_buffer=4096) as stuck:
        stuck_client = only_client(running)
        with Peer(running.port) as talker:
            until(lambda: len(running.clients) == 2)
            chat = stuck_client.connection
            while not (chat.blocked or chat.is_ending):  # the write wait may be over already
                say(talker, "x" * BIG)
                until(lambda: chat.blocked or chat.is_ending or len(stuck_client.send) == 0)
            talker.send(CLOSE)
            talker.receive_all()
        until(lambda: running.clients <= {stuck_client})
        yield stuck, stuck_client


@contextmanager
def evicted_peer(running: Running) -> Iterator[Peer]:
    """A peer that did not read and was evicted while its write pump was blocked inside a frame."""
    with stuck_peer(running) as (stuck, stuck_client):
        with Peer(running.port) as talker:
            until(lambda: len(running.clients) == 2)
            while stuck_client in running.clients:
                say(talker, "x" * BIG)
        yield stuck


def say(talker: Peer, message: str) -> None:
    """Send a message and wait for its echo. Pings that come before it are ignored."""
    talker.send(TEXT, message)
    while talker.receive().opcode != TEXT:
        pass


# The table of endings

Happens = Callable[[Connection, Peer], None]


def no_pong_comes(chat: Connection, peer: Peer) -> None:
    chat.send_ping()
    assert peer.receive().opcode == PING


def peer_sends(data: bytes) -> Happens:
    return lambda chat, peer: peer.socket.sendall(data)


def peer_ends_its_side(chat: Connection, peer: Peer) -> None:
    peer.socket.shutdown(socket.SHUT_WR)


def hub_ends(why: Ending) -> Happens:
    return lambda chat, peer: chat.end(*client.CLOSE_CODES[why])


def write_raises(error: type[OSError]) -> Happens:
    def write(chat: Connection, peer: Peer) -> None:
        def fail(data: Any) -> int:
            raise error

        assert isinstance(chat._socket, Tap)
        chat._socket.on_send = fail
        with pytest.raises(ConnectionClosed):
            chat.send(chat.encode(["a message"]))

    return write


ENDINGS = [  # the row of the table, what happens, and the code of the close frame, if there is one
    ("the peer sends a close frame", peer_sends(frame(CLOSE, struct.pack("!H", 4321))), 4321),
    ("the peer's side is closed or reset", peer_ends_its_side, None),
    ("the peer breaks the protocol", peer_sends(frame(TEXT, masked=False)), 1002),
    ("the peer breaks the protocol", peer_sends(frame(BINARY)), 1003),
    ("the peer breaks the protocol", peer_sends(frame(TEXT, b"\xff")), 1007),
    ("the peer breaks the protocol", peer_sends(frame(TEXT, "x" * (Options.message_size + 1))), 1009),
    ("no pong came within the pong wait", no_pong_comes, 1008),
    ("the hub evicts", hub_ends(Ending.EVICTED), 1008),
    ("the hub stops", hub_ends(Ending.STOPPED), 1001),
    ("a write fails, or takes too long", write_raises(BrokenPipeError), None),
    ("a write fails, or takes too long", write_raises(BlockingIOError), None),
]


@pytest.mark.parametrize(("row", "happens", "code"), ENDINGS)
def test_a_connection_ends_with_the_code_in_the_table(
    connect: Connect, row: str, happens: Happens, code: int | None
) -> None:
    chat, peer = connect(pong_wait=0.1 if happens is no_pong_comes else LIMIT, write_wait=0.1)
    happens(chat, peer)
    assert list(chat) == []
    chat.send_close()
    assert [each.close_code for each in peer.receive_all()] == ([code] if code else [])


def test_the_table_has_these_rows_and_codes() -> None:
    codes: dict[str, list[str]] = {}
    for row, _, code in ENDINGS:
        codes.setdefault(row, [])
        if str(code) not in codes[row]:
            codes[row].append(str(code))
    expected = {
        row: ", ".join({"None": "none", "4321": "the peer's own"}.get(code, code) for code in each)
        for row, each in codes.items()
    }
    assert connection.__doc__
    table = [line.strip(" |").split("|") for line in connection.__doc__.split("\n") if line.startswith("    |")]
    assert {row.strip(): sent.strip() for row, sent in table[2:]} == expected


# The peer closes


def test_the_log_has_the_peers_close_code_and_reason_in_one_printable_line(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "threadchat")
    running = serve()
    with Peer(running.port) as peer:
        peer.send(CLOSE, struct.pack("!H", 1000) + b"bye\nclient 7 left: \x1b[31m")
        peer.receive_all()
    all_gone(running)
    until(lambda: "left" in caplog.text)
    (message,) = [record.getMessage() for record in caplog.records if "left" in record.getMessage()]
    assert message.startswith('client 1 left room "lobby": 1000 bye')
    assert message.isprintable()


def test_the_end_of_file_ends_the_client_without_a_close_frame(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "threadchat")
    with Peer(server.port) as peer:
        only_client(server)
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.receive_all() == []
        all_gone(server)
    until(lambda: 'left room "lobby": 1006 the peer has gone' in caplog.text)


def test_a_reset_ends_the_client(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "threadchat")
    peer = Peer(server.port)
    say(peer, "hello")
    peer.reset()
    all_gone(server)
    until(lambda: f'left room "lobby": 1006 {os.strerror(104)}' in caplog.text)


def test_a_peer_that_resets_while_the_pump_is_blocked_is_gone(serve: Serve) -> None:
    running = serve(message_size=BIG, write_wait=60)
    with stuck_peer(running) as (stuck, _):
        stuck.reset()
        all_gone(running)


def test_a_writer_that_is_refused_after_the_peers_close_frame_sends_the_peers_code(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader has the peer's close frame, and at that moment the writer has a message."""
    chat, peer = connect()
    end = Connection.end

    def write_first(chat: Connection, code: int, reason: str | None = None, by_peer: bool = False) -> None:
        monkeypatch.undo()
        write()
        end(chat, code, reason, by_peer)

    def write() -> None:
        try:
            chat.send(chat.encode(["a message"]))
        except ConnectionClosed:
            chat.send_close()

    peer.leave(4321)
    monkeypatch.setattr(Connection, "end", write_first)
    assert list(chat) == []
    write()
    assert peer.receive() == Frame(TEXT, b"a message")
    assert peer.goodbye() == (4321, "")


# What comes before a fault


def test_messages_before_a_protocol_error_in_the_same_segment_are_passed_on(server: Running) -> None:
    with Peer(server.port) as other:
        with Peer(server.port) as peer:
            until(lambda: len(server.clients) == 2)
            peer.socket.sendall(frame(TEXT, "one") + frame(TEXT, "two") + frame(TEXT, "x", masked=False))
            frames = peer.receive_all()
        assert other.lines(2) == ["one", "two"]
    assert b"\n".join(each.payload for each in frames[:-1]) == b"one\ntwo"
    assert frames[-1].close_code == 1002
    all_gone(server)


# Pings and pongs


def test_a_peer_without_pongs_is_told_1008_within_the_pong_wait(serve: Serve) -> None:
    running = serve(pong_wait=0.2)
    with Peer(running.port) as peer:
        *pings, last = peer.receive_all()
    assert {each.opcode for each in pings} == {PING}
    assert last == Frame(CLOSE, struct.pack("!H", 1008) + b"no pong within the pong wait")
    all_gone(running)


def test_a_message_does_not_count_as_a_pong(serve: Serve) -> None:
    running = serve(pong_wait=0.3, ping_period=0.1)
    with Peer(running.port) as peer:
        got = peer.receive()
        while got.opcode != CLOSE:
            if got.opcode == PING:
                peer.send(TEXT, "x")
            got = peer.receive()
    assert got.close_code == 1008


def test_a_peer_that_answers_pings_stays_beyond_the_pong_wait(serve: Serve) -> None:
    running = serve(pong_wait=2.0, ping_period=0.3)
    with Peer(running.port) as peer:
        for _ in range(8):
            ping = peer.receive()
            assert ping.opcode == PING
            peer.send(PONG, ping.payload)
        peer.send(TEXT, "still here")
        assert peer.lines(1) == ["still here"]


def test_a_pong_that_has_arrived_in_time_counts_even_if_it_is_read_late(connect: Connect) -> None:
    chat, peer = connect(pong_wait=0.1)
    messages = iter(chat)
    peer.send(TEXT, "one")
    assert next(messages) == "one"  # and now the hub is busy with it, or the peer is slowed down
    chat.send_ping()
    deadline = time.monotonic() + 0.1
    peer.socket.sendall(frame(PONG) + frame(TEXT, "two"))
    until(lambda: time.monotonic() > deadline)
    assert next(messages) == "two"


def test_a_pong_waits_for_the_end_of_the_frame_that_another_thread_writes(connect: Connect) -> None:
    peers: list[Peer] = []
    lock = Observed()
    pong_written = threading.Event()

    def three_bytes(real: socket.socket, data: Any) -> int:
        if not peers:
            return real.send(data)
        if data[0] == 0x80 | PONG:
            pong_written.set()
        if data[0] == 0x80 | TEXT:
            peers[0].send(PING, "now")
            sent = real.send(data[:3])
            until(lambda: lock.waited_for.is_set() or pong_written.is_set(), "the pong")
            return sent
        return real.send(data[:3])

    chat, peer = connect(three_bytes)
    chat._writing = lock  # type: ignore[assignment]
    peers.append(peer)
    reader = run(lambda: list(chat))
    chat.send(chat.encode(["a text of many bytes"]))
    assert peer.receive() == Frame(TEXT, b"a text of many bytes")
    assert peer.receive() == Frame(PONG, b"now")
    peer.send(CLOSE)
    join(reader)


def test_no_frame_lands_inside_another_for_a_peer_that_reads_late(serve: Serve) -> None:
    running = serve(message_size=BIG, pong_wait=LIMIT, ping_period=0.05, write_wait=60)
    with stuck_peer(running) as (stuck, stuck_client):
        blocked_at = time.monotonic()
        for number in range(5):
            stuck.send(PING, str(number))
        until(lambda: time.monotonic() > blocked_at + 0.1, "the time of a ping")
        assert stuck_client.connection.blocked
        pongs: list[bytes] = []
        while len(pongs) < 5:
            got = stuck.receive()
            if got.opcode == TEXT:
                assert set(got.payload.split(b"\n")) == {b"x" * BIG}
            elif got.opcode == PING:
                assert got.payload == b""
            else:
                assert got.opcode == PONG
                pongs.append(got.payload)
        assert pongs == [b"0", b"1", b"2", b"3", b"4"]
        stuck.send(CLOSE, struct.pack("!H", 1000))
        frames = stuck.receive_all()
        assert {each.opcode for each in frames[:-1]} <= {TEXT, PING}
        assert frames[-1].close_code == 1000
    all_gone(running)


def test_a_frame_arrives_whole_when_the_kernel_takes_few_bytes_at_a_time(connect: Connect) -> None:
    turns = 0

    def few(real: socket.socket, data: Any) -> int:
        nonlocal turns
        turns += 1
        if turns == 1:
            return real.send(data)  # the answer to the handshake
        if turns % 3 == 0:
            raise BlockingIOError
        return real.send(data[:7])

    chat, peer = connect(few)
    text = "".join(map(str, range(200)))
    chat.send(chat.encode([text]))
    assert peer.receive() == Frame(TEXT, text.encode())
    chat.send_ping()
    assert peer.receive() == Frame(PING, b"")


# The server ends it


def test_an_evicted_peer_that_reads_again_gets_whole_frames_and_then_1008(serve: Serve) -> None:
    running = serve(message_size=BIG, send_buffer=2, write_wait=60)
    with evicted_peer(running) as stuck:
        frames = stuck.receive_all()
    assert {each.opcode for each in frames[:-1]} == {TEXT}
    assert frames[-1] == Frame(CLOSE, struct.pack("!H", 1008) + b"evicted: not reading fast enough")
    all_gone(running)


@pytest.mark.parametrize("data", [frame(PONG), frame(TEXT, "late")], ids=["a pong", "a message"])
def test_an_evicted_peer_that_still_sends_gets_the_close_frame_all_the_same(serve: Serve, data: bytes) -> None:
    running = serve(message_size=BIG, send_buffer=2, write_wait=60)
    with evicted_peer(running) as stuck:
        stuck.socket.sendall(data)
        frames = [stuck.receive()]
        stuck.socket.sendall(data)
        frames += stuck.receive_all()
    assert frames[-1].close_code == 1008
    all_gone(running)


def test_a_blocked_write_pump_is_freed_at_once_when_its_client_is_evicted(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CLOSE_WAIT", 0.1)
    monkeypatch.setattr(connection, "CLOSE_WAIT", 0.1)
    running = serve(message_size=BIG, send_buffer=2, write_wait=60)
    with evicted_peer(running):  # which does not read
        all_gone(running)


@pytest.mark.parametrize("code", [1001, 1002, 1008])
def test_end_frees_a_blocked_writer_which_finishes_its_frame_if_there_is_room(connect: Connect, code: int) -> None:
    chat, peer = connect(write_wait=60)
    ending = threading.Event()
    filled = 0

    def fill() -> None:
        nonlocal filled
        while not ending.is_set():
            chat.send(chat.encode(["x" * 10_000]))
            filled += 1
        chat.send_close()

    writer = run(fill)
    until(lambda: chat.blocked)
    ending.set()
    chat.end(code, "the reason")
    join(writer)
    frames = peer.receive_all()
    assert frames[:-1] == [Frame(TEXT, b"x" * 10_000)] * filled
    assert frames[-1] == Frame(CLOSE, struct.pack("!H", code) + b"the reason")


def test_a_reply_that_would_have_to_wait_is_not_sent(connect: Connect) -> None:
    chat, peer = connect()
    filled = 0
    while chat._writable.wait(0):
        chat.send(chat.encode(["x" * 1000]))
        filled += 1
    assert not chat.reply_nowait("while the kernel is full")
    for _ in range(filled):
        assert peer.receive() == Frame(TEXT, b"x" * 1000)
    with chat._writing:
        assert not chat.reply_nowait("while another thread writes")
    until(lambda: chat.reply_nowait("now"))
    assert peer.receive() == Frame(TEXT, b"now")
    chat.end(1001)
    chat.send_close()
    with pytest.raises(ConnectionClosed):
        chat.reply_nowait("behind the close frame")


def test_nothing_follows_a_frame_that_was_cut_off(connect: Connect) -> None:
    chat, peer = connect(write_wait=60)
    writer = run(lambda: chat.send(chat.encode(["x" * ENDLESS])))
    until(lambda: chat.blocked)
    chat.end(1008, "evicted")
    join(writer)
    with pytest.raises(ConnectionClosed):
        chat.send(chat.encode(["more"]))
    with pytest.raises(ConnectionClosed):
        chat.send_ping()
    chat.send_close()
    with peer.socket.makefile("rb") as wire:
        data = wire.read()
    whole = b"\x81\x7f" + struct.pack("!Q", ENDLESS) + b"x" * ENDLESS
    assert len(data) < len(whole)
    assert whole.startswith(data)


def test_the_first_end_decides(connect: Connect) -> None:
    chat, peer = connect()
    chat.end(1001, "first")
    chat.end(1008, "second")
    chat.send_close()
    assert chat.ending == "1001 first"
    assert peer.receive_all() == [Frame(CLOSE, struct.pack("!H", 1001) + b"first")]


def test_a_stop_sends_1001_to_all_peers(serve: Serve) -> None:
    running = serve()
    with Peer(running.port) as one, Peer(running.port) as other:
        until(lambda: len(running.clients) == 2)
        stopping = running.stop_in_thread()
        for peer in (one, other):
            (told,) = peer.receive_all()
            assert told == Frame(CLOSE, struct.pack("!H", 1001) + b"the server is stopping")
            peer.close()
        join(stopping)
    assert pump_names() == []


def test_a_stop_reaches_a_peer_that_still_sends_while_its_write_pump_is_blocked(serve: Serve) -> None:
    running = serve(message_size=BIG, write_wait=60)
    with stuck_peer(running) as (stuck, _):
        stopping = running.stop_in_thread()
        until(lambda: not running.clients)
        stuck.send(TEXT, "late")
        frames = [stuck.receive()]
        stuck.send(PONG)
        frames += stuck.receive_all()
        stuck.close()
        join(stopping)
    assert frames[-1].close_code == 1001
    assert pump_names() == []


def test_a_peer_that_takes_longer_than_the_write_wait_is_disconnected(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "threadchat")
    running = serve(message_size=BIG, write_wait=0.3)
    with stuck_peer(running):
        all_gone(running)
    until(lambda: 'left room "lobby": 1006 writing took longer than the write wait' in caplog.text)


def test_the_write_wait_is_for_the_whole_frame(connect: Connect) -> None:
    taking = False

    def one_byte_now_and_then(real: socket.socket, data: Any) -> int:
        nonlocal taking
        taking = not taking
        if not taking:
            raise BlockingIOError
        return real.send(data[:200])

    chat, peer = connect(one_byte_now_and_then, write_wait=0.2)
    reader = threading.Thread(target=lambda: peer.socket.makefile("rb").read())
    reader.start()
    with pytest.raises(ConnectionClosed):
        chat.send(chat.encode(["x" * ENDLESS]))
    assert chat.ending == "1006 writing took longer than the write wait"
    chat.send_close()
    join(reader)


# After the close handshake


def test_what_comes_after_the_peers_close_frame_is_read_and_does_not_reset_the_connection(server: Running) -> None:
    with Peer(server.port) as peer:
        peer.socket.sendall(frame(CLOSE, struct.pack("!H", 1000)) + frame(TEXT, "late") * 20_000)
        peer.socket.shutdown(socket.SHUT_WR)
        all_gone(server)
        assert peer.receive_all() == [Frame(CLOSE, struct.pack("!H", 1000))]


def test_messages_after_the_peers_close_frame_are_not_passed_on(server: Running) -> None:
    with Peer(server.port) as other:
        with Peer(server.port) as peer:
            until(lambda: len(server.clients) == 2)
            peer.socket.sendall(frame(TEXT, "in time") + frame(CLOSE) + frame(TEXT, "late"))
            peer.receive_all()
        until(lambda: len(server.clients) == 1)
        other.send(TEXT, "end")
        assert other.lines(2) == ["in time", "end"]


def test_a_message_a_close_frame_and_the_end_of_file_are_read_while_the_writer_is_blocked(
    connect: Connect,
) -> None:
    chat, peer = connect(write_wait=60)
    writer = run(lambda: chat.send(chat.encode(["x" * ENDLESS])))
    until(lambda: chat.blocked)
    peer.socket.sendall(frame(TEXT, "last words") + frame(CLOSE, struct.pack("!H", 1000)))
    peer.socket.shutdown(socket.SHUT_WR)
    arrived = select.poll()
    arrived.register(chat._socket, select.POLLRDHUP)
    assert arrived.poll(LIMIT * 1000)
    writer.join(0.1)  # a writer that ended the connection for this would have done so by then
    assert list(chat) == ["last words"]
    assert chat.ending == "1000"
    join(writer)


@pytest.mark.parametrize("who", ["the peer's fault", "the server's stop"])
def test_a_peer_that_never_answers_the_close_frame_is_cut_off(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr(client, "CLOSE_WAIT", 0.1)
    monkeypatch.setattr(connection, "CLOSE_WAIT", 0.1)
    running = serve()
    with Peer(running.port) as peer:
        only_client(running)
        if who == "the peer's fault":
            peer.send(BINARY, b"\x00")
        else:
            running.stop()
        assert len(peer.receive_all()) == 1
        all_gone(running)  # with the peer's side still open


def test_a_peer_that_floods_after_the_close_frame_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CLOSE_WAIT", 0.1)
    monkeypatch.setattr(connection, "CLOSE_WAIT", 0.1)
    running = serve()
    with Peer(running.port) as peer:
        only_client(running)
        peer.send(BINARY, b"\x00")
        data = frame(TEXT, "x" * 1000)
        with suppress(ConnectionError):  # without which this would never end
            while True:
                peer.socket.sendall(data)
        all_gone(running)


def test_a_server_that_overslept_does_not_wait_for_the_peer_without_end(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It floods, so that there is always something to read."""
    chat, peer = connect()
    clock = Clock()
    for module in (connection, ready):
        monkeypatch.setattr(module, "time", clock)
    chat._readable = ScriptedReadiness(clock, [(connection.CLOSE_WAIT * 10, lambda: peer.send(TEXT, "x"))] * 2)
    begun = clock.now
    chat.close()
    assert clock.now - begun == connection.CLOSE_WAIT * 10
    assert peer.rest() == b""


def test_ending_a_closed_connection_does_not_touch_a_later_socket_with_the_same_descriptor(connect: Connect) -> None:
    chat, peer = connect()
    number = chat._socket.fileno()
    peer.close()
    chat.close()
    assert isinstance(chat._socket, Tap)
    chat._socket.close()
    here, there = socket.socketpair()
    with here, there:
        if here.fileno() != number:
            os.dup2(here.fileno(), number)  # somebody else's by now
        try:
            chat.blocked = True
            chat.end(1008)
            chat.abort()
            here.sendall(b"open")
            assert there.recv(4) == b"open"
        finally:
            if here.fileno() != number:
                os.close(number)


# Messages


@pytest.mark.parametrize(
    ("sent", "received"), [("a\nb", "a b"), ("\n a\n\nb \t", "a  b"), ("a\r\nb", "a\r b"), ("a  b", "a  b")]
)
def test_a_newline_becomes_a_space_and_white_space_at_the_ends_is_removed(
    server: Running, sent: str, received: str
) -> None:
    with Peer(server.port) as peer:
        peer.send(TEXT, sent)
        assert peer.lines(1) == [received]


def test_an_empty_message_is_not_broadcast(server: Running) -> None:
    with Peer(server.port) as peer:
        for nothing in ("", " ", "\n", "\t \n"):
            peer.send(TEXT, nothing)
        peer.send(TEXT, "", fin=False)
        peer.send(CONTINUATION, "")
        peer.send(TEXT, "something")
        assert peer.lines(1) == ["something"]


def test_pending_messages_are_the_lines_of_one_frame(serve: Serve) -> None:
    running = serve(message_size=BIG, write_wait=60)
    with stuck_peer(running) as (stuck, stuck_client), Peer(running.port) as talker:
        until(lambda: len(running.clients) == 2)
        pending = ["x" * BIG] * len(stuck_client.send) + ["a", "b", "c"]
        for message in pending[-3:]:
            talker.send(TEXT, message)
        until(lambda: len(stuck_client.send) == len(pending))
        got = stuck.receive()
        while not got.payload.endswith(b"c"):
            got = stuck.receive()
        assert got == Frame(TEXT, "\n".join(pending).encode())


# What it costs


def test_a_half_close_while_the_writer_is_blocked_causes_no_busy_loop(connect: Connect) -> None:
    chat, peer = connect(write_wait=60)
    chat._writable = counting = CountingReadiness(chat._writable)
    writer = run(lambda: chat.send(chat.encode(["x" * ENDLESS])))
    until(lambda: chat.blocked)
    reader = run(lambda: list(chat))
    peer.socket.shutdown(socket.SHUT_WR)
    join(writer, reader)
    assert counting.waits < 10
    assert chat.ending == "1006 the peer has gone"


def test_an_idle_connection_uses_no_processor_time(connect: Connect) -> None:
    chat, peer = connect()
    chat._readable = counting = CountingReadiness(chat._readable)
    reader = run(lambda: list(chat))
    until(lambda: counting.waits == 1)
    peer.send(CLOSE)
    join(reader)
    assert counting.waits <= 2
