"""Hostile and unlucky peers: none of them does harm to the other clients or to the server.

In each scenario a hundred innocent clients talk all the time, and each of them must receive all messages, in order.
Afterwards the server must have as many threads and descriptors as before, and hardly more memory. `--scale` multiplies
what the hostile peers do.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from helpers import BINARY, CLOSE, CONTINUATION, LIMIT, PING, TEXT, Peer, drip, frame, go, until
from innocents import INNOCENTS, Chat, OpenChat, all_descriptors

REQUEST_WAIT = 2.0


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    """One chat for all scenarios that need no options of their own."""
    all_descriptors()
    with Chat(tmp_path_factory.mktemp("chat"), "--request-wait", f"{REQUEST_WAIT}") as chat:
        with chat.undisturbed():
            pass
        first = chat.figures()
        yield chat
        last = chat.figures()
        assert (last.threads, last.descriptors) == (first.threads, first.descriptors)
        chat.innocents.close()
        assert chat.process.end() == 0
        assert "Traceback" not in chat.process.err
        assert "ERROR" not in chat.process.err


@pytest.fixture
def open_chat(tmp_path: Path) -> Iterator[OpenChat]:
    """Opens a chat with the given arguments for `threadchat serve`."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(Chat(tmp_path, *arguments))


def connection(chat: Chat) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", chat.port), LIMIT))


def last_frame(peer: Peer, opcode: int = CLOSE) -> bytes:
    """Skip frames until one has this opcode. Returns that frame's payload."""
    while (got := peer.receive()).opcode != opcode:
        pass
    return got.payload


def hear(peer: Peer, lines: list[str]) -> None:
    """Receive until all these lines have come, in order; other lines may come in between."""
    wanted = iter([*lines, ""])
    line = next(wanted)
    while line:
        got = peer.receive()
        for heard in got.payload.decode().split("\n"):
            if heard == line:
                line = next(wanted)


def close_code(payload: bytes) -> int:
    return int.from_bytes(payload[:2], "big")


def stops_reading(chat: Chat, scale: int) -> None:
    with Peer(chat.port, receive_buffer=4096) as peer:
        until(lambda: chat.parted(peer), "the eviction")
        assert close_code(last_frame(peer)) == 1008


def reads_a_byte_at_a_time(chat: Chat, scale: int) -> None:
    with Peer(chat.port, receive_buffer=4096) as peer:
        while not chat.parted(peer):
            peer.read_a_byte()
            chat.next_round()
        assert close_code(last_frame(peer)) == 1008


def resets_in_the_middle_of_a_frame(chat: Chat, scale: int) -> None:
    for size in range(1, 1 + 50 * scale):
        peer = Peer(chat.port)
        peer.socket.sendall(frame(TEXT, "hostile")[: size % 12 + 1])
        peer.reset()


def floods(chat: Chat, scale: int) -> None:
    """The server takes the first 100 messages at once and then 100 a second, and loses none."""
    count = 250 + 50 * scale
    with Peer(chat.port) as peer:
        lines = [f"flood {number} from {peer.socket.getsockname()[1]}" for number in range(count)]
        begun = time.monotonic()
        sending = go(peer.socket.sendall, b"".join(frame(TEXT, line) for line in lines))
        hear(peer, lines)
        sending.result(LIMIT)
        assert time.monotonic() - begun > (count - 100) / 100 - 0.01
        chat.hears(lines[-1])
        assert [line for line in chat.innocents.others if line in lines] == lines


def sends_a_frame_of_10_mb(chat: Chat, scale: int) -> None:
    for _ in range(scale):
        with Peer(chat.port) as peer:
            size, piece = 10_000_000, bytes(100_000)
            peer.socket.sendall(b"\x81\xff" + struct.pack("!Q", size) + bytes(4) + piece)
            assert close_code(last_frame(peer)) == 1009
            with suppress(ConnectionError):  # raised when the server closes the connection
                for _ in range(size // len(piece) - 1):
                    peer.socket.sendall(piece)


def sends_a_message_in_endless_fragments(chat: Chat, scale: int) -> None:
    with Peer(chat.port) as peer, suppress(ConnectionError):
        peer.socket.sendall(frame(TEXT, "x" * 100, fin=False))
        for _ in range(50 * scale):
            peer.socket.sendall(frame(CONTINUATION, "x" * 100, fin=False))
        assert close_code(last_frame(peer)) == 1009


def opens_1000_connections_and_says_nothing(chat: Chat, scale: int) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connection(chat)) for _ in range(1000)]
        with Peer(chat.port) as peer:
            line = f"let in on port {peer.socket.getsockname()[1]}"
            peer.send(TEXT, line)
            chat.hears(line)
        for peer_socket in silent:
            assert peer_socket.recv(1) == b""


def sends_its_request_a_byte_at_a_time(chat: Chat, scale: int) -> None:
    with connection(chat) as peer:
        assert not drip(peer, b"GET /ws HTTP/1.1\r\nX: " + b"x" * 5000, chat.next_round)


def sends_a_header_of_100_kb(chat: Chat, scale: int) -> None:
    for _ in range(10 * scale):
        with connection(chat) as peer, suppress(ConnectionError):
            peer.sendall(b"GET /ws HTTP/1.1\r\nX: " + b"x" * 100_000)
            assert peer.recv(65_536).startswith(b"HTTP/1.1 431 ")


def comes_and_goes(chat: Chat, scale: int) -> None:
    for number in range(100 * scale):
        match number % 4:
            case 0:
                Peer(chat.port).reset()
            case 1:
                Peer(chat.port).close()
            case 2:
                with Peer(chat.port) as peer:
                    peer.send(CLOSE, b"\x03\xe8")
                    last_frame(peer)
            case 3:
                with connection(chat) as half:
                    half.sendall(b"GET /ws HTTP/1.1\r\n")


def is_evicted_and_disconnects_in_the_same_instant(chat: Chat, scale: int) -> None:
    """Ten peers are evicted by the same message. As soon as one of them is, they all disconnect."""
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(chat.port, receive_buffer=4096)) for _ in range(10)]
        until(lambda: any(chat.parted(peer) for peer in peers), "the eviction")
        for peer in peers:
            peer.reset()


def sends_invalid_frames(chat: Chat, scale: int) -> None:
    for data, code in ((frame(BINARY, "x"), 1003), (frame(TEXT, b"\xff"), 1007), (frame(5), 1002)):
        with Peer(chat.port) as peer:
            peer.socket.sendall(data)
            assert close_code(last_frame(peer)) == code


Hostile = Callable[[Chat, int], None]
HOSTILE: list[Hostile] = [
    stops_reading,
    reads_a_byte_at_a_time,
    resets_in_the_middle_of_a_frame,
    floods,
    sends_a_frame_of_10_mb,
    sends_a_message_in_endless_fragments,
    opens_1000_connections_and_says_nothing,
    sends_its_request_a_byte_at_a_time,
    sends_a_header_of_100_kb,
    comes_and_goes,
    is_evicted_and_disconnects_in_the_same_instant,
    sends_invalid_frames,
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.__name__)
def test_no_client_notices_a_peer_that(chat: Chat, scale: int, hostile: Hostile) -> None:
    with chat.undisturbed():
        hostile(chat, scale)


def test_no_client_notices_all_of_them_at_once(chat: Chat, scale: int) -> None:
    with chat.undisturbed():
        acting: list[Future[None]] = [go(hostile, chat, scale) for hostile in HOSTILE]
        for each in acting:
            each.result(LIMIT * scale * 2)


def test_no_client_notices_a_peer_that_vanishes(open_chat: OpenChat) -> None:
    """The peer does not end the connection and does not answer pings, as if its cable had been cut."""
    chat = open_chat("--pong-wait", "10")  # enough for the innocents, who talk one after the other
    with chat.undisturbed(), Peer(chat.port) as peer:
        payload = last_frame(peer)
        assert close_code(payload) == 1008
        assert b"no pong" in payload


def test_no_client_notices_floods_of_tiny_frames_or_of_pings_whose_answers_are_not_read(
    open_chat: OpenChat, scale: int
) -> None:
    """The rate of messages is not limited here. At scale 1 a flood has 20,000 frames, at scale 50 a million."""
    chat = open_chat("--message-rate", "0", "--write-wait", "1")
    count = 20_000 * scale
    with chat.undisturbed():
        for tiny, last in (
            ([frame(TEXT)] * count, frame(TEXT, "a million tiny frames")),
            ([frame(TEXT, fin=False), *[frame(CONTINUATION, fin=False)] * count], frame(CONTINUATION, "in fragments")),
        ):
            with Peer(chat.port) as peer:
                sending = go(peer.socket.sendall, b"".join(tiny) + last)
                hear(peer, ["a million tiny frames" if last[0] & 0x0F == TEXT else "in fragments"])
                sending.result(LIMIT)
        with Peer(chat.port, receive_buffer=4096) as peer, suppress(ConnectionError):
            while True:  # until the server gives up and resets the connection
                peer.socket.sendall(frame(PING, bytes(125)) * 100)


def test_peers_that_leave_while_the_server_stops_delay_neither_the_stop_nor_the_others(open_chat: OpenChat) -> None:
    chat = open_chat()
    with ExitStack() as stack:
        leaving = [stack.enter_context(Peer(chat.port)) for _ in range(INNOCENTS)]
        with chat.innocents.talking():
            pass
        chat.process.process.terminate()
        for number, peer in enumerate(leaving):
            peer.reset() if number % 2 else peer.close()
        for innocent in chat.innocents.peers:
            assert close_code(last_frame(innocent)) == 1001
            innocent.close()
        assert chat.process.process.wait(LIMIT) == 0
    assert "Traceback" not in chat.process.err
