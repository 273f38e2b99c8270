"""The client's WebSocket: how it is made, its deadlines, and how it ends."""

from __future__ import annotations

import shlex
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from helpers import LIMIT, Scripted, Seat, go, join, run
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Pong, TextMessage

from threadchat.terminal import dial
from threadchat.terminal.address import address_of
from threadchat.terminal.dial import LOST, CannotDial, Connection


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as scripted:
        yield scripted


def connection_to(url: str) -> Connection:
    return Connection(address_of(url), "", ["threadchat.v1"], [])


def pair(server: Scripted) -> tuple[Connection, Seat]:
    dialing = go(connection_to, server.url)
    seat = server.seat()
    return dialing.result(LIMIT), seat


def why_not(url: str, answer: Callable[[], object] = lambda: None) -> str:
    dialing = go(connection_to, url)
    answer()
    with pytest.raises(CannotDial) as failed:
        dialing.result(LIMIT)
    return str(failed.value)


def read_all(connection: Connection) -> list[str]:
    return list(connection)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


# How it is made


def test_a_port_where_nobody_listens_is_named() -> None:
    url = f"http://127.0.0.1:{unused_port()}/"
    assert why_not(url) == f"cannot reach {url}: Connection refused"


def test_a_host_that_does_not_exist_is_named() -> None:
    assert why_not("http://nowhere.invalid/").startswith("cannot reach http://nowhere.invalid:80/: ")


@pytest.mark.parametrize("instead", [b"", b"SSH-2.0-OpenSSH\r\n", b"\x00\xff" * 100, b"HTTP/1.1 200 OK\r\nContent"])
def test_what_is_no_chat_is_named(server: Scripted, instead: bytes) -> None:
    reason = why_not(server.url, lambda: server.hang_up(instead))
    assert "what answers there is no chat" in reason or "reset" in reason


def test_a_page_without_a_chat_is_named_with_its_status(server: Scripted) -> None:
    assert "has answered with status 200" in why_not(server.url, lambda: server.refuse(200))


def test_where_the_chat_has_moved_to_is_told(server: Scripted) -> None:
    moved = [(b"location", b"https://chat.example.org/ws")]
    assert "status 308: the chat is at https://chat.example.org/ws" in why_not(
        server.url, lambda: server.refuse(308, moved)
    )


def test_a_server_that_does_not_answer_is_given_up(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "DIAL_WAIT", 0.5)
    assert why_not(server.url) == f"cannot join {server.url}: it does not answer"


def test_a_server_without_tls_is_named(server: Scripted) -> None:
    url = server.url.replace("http", "https")
    assert "it does not speak TLS" in why_not(url, lambda: server.hang_up(b"HTTP/1.1 400 Bad Request\r\n\r\n"))


@pytest.fixture
def over_tls(server: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has the server speak TLS, with this certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=chat "
    command += f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run(shlex.split(command), check=True, capture_output=True, timeout=LIMIT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.url = server.url.replace("http", "https")
    plain = server._listener
    server._listener = context.wrap_socket(plain, server_side=True)
    server._listener.settimeout(LIMIT)
    return certificate


def test_a_certificate_that_nobody_vouches_for_is_named(server: Scripted, over_tls: Path) -> None:
    def refuse() -> None:
        with pytest.raises(ssl.SSLError):
            server._listener.accept()

    assert "its certificate is not trusted (self-signed certificate)" in why_not(server.url, refuse)


def test_over_tls_two_threads_read_and_write_at_the_same_time(
    server: Scripted, over_tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(over_tls))
    connection, seat = pair(server)
    lines = [f"{number} {'x' * 2000}" for number in range(300)]

    def serve() -> list[int]:
        for line in lines:
            seat.say(line)
        return [seat.hear()["n"] for _ in lines]

    serving = go(serve)

    def write() -> None:
        for number in range(len(lines)):
            connection.send(f'{{"n": {number}}}')

    writing = run(write)
    messages = iter(connection)
    assert [next(messages) for _ in lines] == lines
    join(writing)
    assert serving.result(LIMIT) == list(range(len(lines)))
    seat.cut()
    connection.close()


# Messages


def test_a_message_may_come_in_fragments_with_a_ping_between_them(server: Scripted) -> None:
    connection, seat = pair(server)
    with closing(connection):
        seat.answer(Message("one, ", message_finished=False))
        seat.answer(Ping(b"are you there?"))
        seat.answer(Message("two", message_finished=True))
        assert next(iter(connection)) == "one, two"
        pong = seat._next()
        assert isinstance(pong, Pong)
        assert bytes(pong.payload) == b"are you there?"
        seat.cut()


def test_frames_of_two_threads_are_not_mixed_though_the_server_reads_slowly(server: Scripted) -> None:
    connection, seat = pair(server)
    connection._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    reading = run(lambda: read_all(connection))
    long, count = "x" * 50_000, 60

    def write() -> None:
        for _ in range(count):
            connection.send(long)

    writing = run(write)
    for _ in range(count):
        seat.answer(Ping(b"p" * 100))
    heard = {"messages": 0, "pongs": 0}
    text = ""
    while heard != {"messages": count, "pongs": count}:
        match seat._next():
            case TextMessage() as part:
                text += part.data
                if part.message_finished:
                    assert text == long
                    heard["messages"] += 1
                    text = ""
            case Pong():
                heard["pongs"] += 1
            case other:
                raise AssertionError(f"the client sent {other}")
    join(writing)
    seat.cut()
    join(reading)
    connection.close()


def test_frames_behind_the_answer_to_the_handshake_are_not_lost(server: Scripted) -> None:
    dialing = go(connection_to, server.url)
    seat = server._arrival()
    answer = seat._protocol.send(AcceptConnection(subprotocol="threadchat.v1"))
    seat.socket.sendall(answer + seat._protocol.send(TextMessage("early")))
    with closing(dialing.result(LIMIT)) as connection:
        assert next(iter(connection)) == "early"
        seat.cut()


# How it ends


@pytest.mark.parametrize(("code", "reason"), [(1001, "the server is stopping"), (4001, ""), (1008, "é")])
def test_the_servers_close_frame_is_answered_and_kept(server: Scripted, code: int, reason: str) -> None:
    connection, seat = pair(server)
    with closing(connection):
        ending = go(seat.end, code, reason)
        assert list(connection) == []
        ending.result(LIMIT)
        assert (connection.code, connection.reason) == (code, reason)


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_connection_that_breaks_has_no_code(server: Scripted, how: str) -> None:
    connection, seat = pair(server)
    with closing(connection):
        if how == "reset":
            seat.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        seat.cut()
        assert list(connection) == []
        assert connection.code == LOST
        assert connection.reason in ("the server has gone", "Connection reset by peer")


@pytest.mark.parametrize(("sent", "code"), [(b"\x81\x02\xff\xff", 1007), (b"\xf1\x00", 1002), (b"\x83\x00", 1002)])
def test_what_breaks_the_protocol_ends_it_with_a_code(server: Scripted, sent: bytes, code: int) -> None:
    connection, seat = pair(server)
    with closing(connection):
        seat.socket.sendall(sent)
        reading = go(read_all, connection)
        closed = seat._next()
        assert isinstance(closed, CloseConnection)
        assert closed.code == code
        seat.cut()
        assert reading.result(LIMIT) == []


def test_a_silent_server_is_left(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "READ_WAIT", 0.01)
    connection, seat = pair(server)
    assert list(connection) == []
    assert (connection.code, connection.reason) == (LOST, "it does not answer")
    seat.cut()
    connection.close()


def test_a_server_that_does_not_read_is_left_and_nobody_waits_for_it(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "WRITE_WAIT", 0.05)
    monkeypatch.setattr(dial, "CLOSE_WAIT", 0.05)
    connection, _ = pair(server)
    reading = go(read_all, connection)
    while not reading.done():
        connection.send("x" * 100_000)
    assert connection.code == LOST
    connection.send("more")
    connection.ping()
    connection.leave()
    connection.close()
    connection.send("after the end")


def test_to_leave_is_to_say_so_and_to_wait_for_the_answer(server: Scripted) -> None:
    connection, seat = pair(server)
    reading = go(read_all, connection)
    connection.leave()
    connection.leave()
    assert seat.goodbye() == 1000
    assert reading.result(LIMIT) == []
    connection.close()


def test_a_server_that_does_not_answer_the_close_frame_is_not_waited_for(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "CLOSE_WAIT", 0.01)
    connection, seat = pair(server)
    connection.close()
    assert seat.goodbye() == 1000


def test_a_thread_that_reads_is_freed_by_an_abort(server: Scripted) -> None:
    connection, _ = pair(server)
    reading = go(read_all, connection)
    connection.abort()
    assert reading.result(LIMIT) == []
    connection.close()
