"""tls.py, and the chat mounted in servers that speak TLS."""

from __future__ import annotations

import select
import shlex
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from helpers import BINARY, CLOSE, LIMIT, PING, PONG, TEXT, Frame, Observed, Peer, Process, frame, run, tcp_pair, until
from helpers import join as wait_for

from threadchat.websocket.tls import TlsSocket

HERE = Path(__file__).parent
SERVERS = {
    "run_simple": [sys.executable, "tls_site.py", "{pem}"],
    "gunicorn": [
        *(sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "--certfile", "{pem}"),
        *("--keyfile", "{pem}", "--worker-class", "gthread", "--workers", "1", "--threads", "50", "tls_site:app"),
    ],
}

Join = Callable[..., Peer]


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its certificate, for 127.0.0.1."""
    pem = tmp_path_factory.mktemp("tls") / "pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
    command += f"-addext subjectAltName=IP:127.0.0.1 -keyout {pem} -out {pem}.crt"
    subprocess.run(shlex.split(command), check=True, capture_output=True, timeout=LIMIT)
    with pem.open("a") as file:
        file.write(Path(f"{pem}.crt").read_text())
    return pem


@contextmanager
def serving(server: str, pem: Path, folder: Path) -> Iterator[Process]:
    """The chat in one of the SERVERS. Afterwards it must have logged no traceback."""
    if server == "gunicorn":
        pytest.importorskip("gunicorn")
    with Process(folder, [word.format(pem=pem) for word in SERVERS[server]], cwd=HERE) as process:
        assert process.port
        yield process
        assert "Traceback" not in process.err


@pytest.fixture(scope="module", params=SERVERS)
def site(request: pytest.FixtureRequest, pem: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serving(request.param, pem, tmp_path_factory.mktemp(request.param)) as process:
        yield process
        assert process.end() == 0


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def join(request: pytest.FixtureRequest, site: Process, pem: Path) -> Iterator[Join]:
    """Joins the chat: `join(receive_buffer=None, behind=b"")`. The end of TLS without a close_notify is an error."""
    trust = ssl.create_default_context(cafile=f"{pem}.crt")
    trust.minimum_version = trust.maximum_version = ssl.TLSVersion[request.param]
    with ExitStack() as stack:

        def dial(receive_buffer: int | None = None, behind: bytes = b"") -> Peer:
            plain = socket.socket()
            stack.enter_context(plain)
            plain.settimeout(LIMIT)
            if receive_buffer is not None:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            plain.connect(("127.0.0.1", site.port))
            tls = trust.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
            return stack.enter_context(Peer(site.port, over=tls, behind=behind))

        yield dial


def exchange(tls: socket.socket, data: bytes, last: bytes) -> bytes:
    """Send the data, and read at the same time, until what was read ends with `last`. (One thread: it is not ours.)"""
    assert isinstance(tls, ssl.SSLSocket)
    tls.setblocking(False)
    got, rest = bytearray(), memoryview(data)
    while not got.endswith(last):
        assert any(select.select([tls], [tls] if rest else [], [], LIMIT))
        with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while rest:
                rest = rest[tls.send(rest) :]
        with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while True:
                more = tls.recv(65_536)
                assert more, "the server has ended the connection"
                got += more
    tls.settimeout(LIMIT)
    return bytes(got)


def test_messages_of_one_record_are_all_passed_on(join: Join) -> None:
    peer = join()
    said = [f"{number} ".ljust(100, "x") for number in range(90)]
    peer.socket.sendall(b"".join(frame(TEXT, line) for line in said))
    assert peer.lines(90) == said


def test_long_messages_arrive_whole(join: Join) -> None:
    peer, other = join(), join()
    for number in range(5):
        line = str(number) * 100_000
        peer.talk(line)
        assert other.lines(1) == [line]


def test_messages_that_come_in_one_record_with_the_request_are_not_lost(join: Join, site: Process) -> None:
    if "gunicorn" in str(site.process.args):
        pytest.skip("gunicorn keeps what it has read behind a request, and hands it to nobody")
    said = [f"{number} ".ljust(100, "x") for number in range(100)]
    assert join(behind=b"".join(frame(TEXT, line) for line in said)).lines(100) == said


def test_a_message_that_comes_in_many_records_arrives(join: Join) -> None:
    peer = join()
    for byte in frame(TEXT, "in many records"):
        peer.socket.sendall(bytes([byte]))
    assert peer.lines(1) == ["in many records"]


def test_two_threads_use_one_connection_at_once(join: Join) -> None:
    """The read pump reads what the peer sends, while the write pump sends it back."""
    peer = join()
    said = [f"{number} ".ljust(number % 3000, "x").strip() for number in range(2000)]
    peer._buffer += exchange(peer.socket, b"".join(frame(TEXT, line) for line in said), b"1999 " + b"x" * 1994)
    assert peer.lines(len(said)) == said


def test_a_ping_is_answered(join: Join) -> None:
    peer = join()
    peer.send(PING, "here?")
    assert peer.receive() == Frame(PONG, b"here?")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(CLOSE, struct.pack("!H", 4321)), 4321),
        (frame(TEXT, "x", masked=False), 1002),
        (frame(BINARY, "x"), 1003),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, "x" * 100_001), 1009),
    ],
)
def test_a_connection_ends_with_a_close_code_and_a_close_notify(join: Join, data: bytes, code: int) -> None:
    peer = join()
    peer.socket.sendall(data)
    assert [got.close_code for got in peer.receive_all()] == [code]


def test_a_peer_that_does_not_read_is_evicted_and_the_others_talk(join: Join) -> None:
    stuck, talker = join(receive_buffer=4096), join()
    for number in range(20):
        talker.talk(f"{number} ".ljust(100_000, "x"))
    *frames, last = stuck.receive_all()
    assert {got.opcode for got in frames} == {TEXT}
    assert last == Frame(CLOSE, struct.pack("!H", 1008) + b"evicted: not reading fast enough")


def test_a_peer_that_resets_or_ends_tls_is_gone_and_the_others_talk(join: Join) -> None:
    peers = [join() for _ in range(3)]
    assert isinstance(peers[0].socket, ssl.SSLSocket)
    peers[0].reset()
    peers[1].socket.close()
    for number in range(5):
        peers[2].talk(str(number))


@pytest.mark.parametrize("server", SERVERS)
def test_a_stop_tells_the_clients_1001(server: str, pem: Path, tmp_path: Path) -> None:
    trust = ssl.create_default_context(cafile=f"{pem}.crt")
    with serving(server, pem, tmp_path) as site, socket.create_connection(("127.0.0.1", site.port), LIMIT) as plain:
        with trust.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as tls:
            peer = Peer(site.port, over=tls)
            peer.talk("hello")
            site.process.send_signal(signal.SIGTERM)
            assert peer.goodbye() == (1001, "the server is stopping")
            assert peer.receive_all() == []
        assert site.process.wait(LIMIT) == 0


# TlsSocket alone


class FakeTls:
    """In place of an SSLSocket: its operations on the encryption raise `wants`, or take as long as `busy` is set."""

    def __init__(self, plain: socket.socket) -> None:
        self.fileno = plain.fileno
        self.wants: type[ssl.SSLError] | None = None
        self.done = threading.Event()
        self.busy = 0  # threads that are inside an operation

    def recv(self, size: int) -> bytes:
        self._operate()
        return b"x"

    def send(self, data: memoryview) -> int:
        self._operate()
        return len(data)

    def unwrap(self) -> None:
        self._operate()

    def pending(self) -> int:
        return 0

    def _operate(self) -> None:
        self.busy += 1
        if self.wants:
            raise self.wants
        self.done.wait(LIMIT)
        self.busy -= 1


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = tcp_pair()
    with here, there:
        here.setblocking(False)
        yield here, there


@pytest.fixture
def fake(ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> FakeTls:
    return FakeTls(ends[0])


def over(fake: FakeTls) -> TlsSocket:
    return TlsSocket(fake)  # type: ignore[arg-type]


@pytest.mark.parametrize("first", ["recv", "send", "shutdown"])
@pytest.mark.parametrize("second", ["recv", "send", "shutdown"])
def test_two_threads_are_never_in_openssl_at_once(fake: FakeTls, first: str, second: str) -> None:
    tls = over(fake)
    tls._lock = lock = Observed()  # type: ignore[assignment]
    operations: dict[str, Callable[[], object]] = {
        "recv": lambda: tls.recv(1),
        "send": lambda: tls.send(b"x"),
        "shutdown": lambda: tls.shutdown(socket.SHUT_WR),
    }
    with ExitStack() as stack:
        stack.callback(fake.done.set)
        one = run(operations[first], harmless=(TypeError,))  # from the shutdown of what is no socket
        until(lambda: fake.busy == 1)
        other = run(operations[second], harmless=(TypeError,))
        until(lambda: lock.waited_for.is_set() or fake.busy > 1)
        assert fake.busy == 1
        stack.close()
        wait_for(one, other)


def test_both_directions_are_shut_down_without_waiting_for_openssl(pem: Path) -> None:
    trust = ssl.create_default_context()
    here, there = tcp_pair()
    with trust.wrap_socket(here, server_hostname="x", do_handshake_on_connect=False) as end, there:
        tls = TlsSocket(end)
        with tls._lock:
            tls.shutdown(socket.SHUT_RDWR)
        assert there.recv(1) == b""


def test_a_read_that_must_write_first_waits_for_room(fake: FakeTls, ends: tuple[socket.socket, socket.socket]) -> None:
    tls = over(fake)
    with suppress(BlockingIOError):
        while True:
            ends[0].send(b"x" * 65_536)
    ends[1].send(b"x")
    fake.wants = ssl.SSLWantWriteError
    with pytest.raises(BlockingIOError):
        tls.recv(1)
    assert not tls.to_read.wait(0)
    fake.wants = ssl.SSLWantReadError
    with pytest.raises(BlockingIOError):
        tls.recv(1)
    assert tls.to_read.wait(0)


def test_a_write_that_must_read_first_waits_for_bytes_or_a_moment(
    fake: FakeTls, ends: tuple[socket.socket, socket.socket]
) -> None:
    """For a moment, because the reader may be the one that reads them."""
    tls = over(fake)
    fake.wants = ssl.SSLWantReadError
    with pytest.raises(BlockingIOError):
        tls.send(b"x")
    assert not tls.to_write.wait(0.01)
    assert tls.to_write.wait(LIMIT)
    ends[1].send(b"x")
    assert tls.to_write.wait(0.01)
    fake.wants = ssl.SSLWantWriteError
    with pytest.raises(BlockingIOError):
        tls.send(b"x")
    assert tls.to_write.wait(0)


def test_a_send_takes_all_that_the_kernel_takes_record_after_record(
    fake: FakeTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = over(fake)
    sent: list[int] = []

    def record(data: memoryview) -> int:
        if len(sent) == 3:
            raise ssl.SSLWantWriteError
        sent.append(min(len(data), 16_384))
        return sent[-1]

    monkeypatch.setattr(fake, "send", record)
    assert tls.send(b"x" * 100_000) == 3 * 16_384
    assert not tls.to_write.must_read
