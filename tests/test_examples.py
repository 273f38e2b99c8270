"""The examples, run as their first lines say."""

from __future__ import annotations

import http.client
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers import CLOSE, LIMIT, TEXT, Peer, Process, close_frame, until
from websockets.sync.client import connect

FOLDER = Path(__file__).parent / "examples"

PYTHON = [sys.executable, "flask_app.py", "0"]
GUNICORN = [
    *(sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket"),
    *("--worker-class", "gthread", "--workers", "1", "--threads", "100", "flask_app:app"),
]

Start = Callable[[], Process]


@pytest.fixture(params=[PYTHON, GUNICORN], ids=["python", "gunicorn"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts the example; what still runs at the test's end is killed."""
    pytest.importorskip("flask")
    if request.param is GUNICORN:
        pytest.importorskip("gunicorn")
    with ExitStack() as stack:

        def run() -> Process:
            process = stack.enter_context(Process(tmp_path, request.param, cwd=FOLDER))
            assert process.port
            until(lambda: get(process, "/")[0] == 200, "the site's answer")
            return process

        yield run


def get(process: Process, path: str, method: str = "GET") -> tuple[int, str, str]:
    """The status, the Location and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=LIMIT)
    try:
        connection.request(method, path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Location", ""), answer.read().decode()
    finally:
        connection.close()


CHAT = "/chat/ws"


def chat(process: Process) -> str:
    return f"ws://127.0.0.1:{process.port}{CHAT}"


def threads(process: Process) -> int:
    """How many threads serve: those of the process and, with gunicorn, of its worker."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in [str(process.pid), *children])


def test_the_site_and_the_chat_stand_side_by_side(start: Start) -> None:
    process = start()
    status, _, body = get(process, "/")
    assert status == 200
    assert "<title>My site</title>" in body
    assert 'href="/chat/"' in body
    status, _, body = get(process, "/chat/")
    assert status == 200
    assert "<title>threadchat</title>" in body
    assert get(process, "/chat/static/chat/chat.js")[0] == 200
    assert '"message_size": 1000' in get(process, "/chat/limits")[2]
    assert get(process, "/chatter")[0] == 404
    assert get(process, "/static/chat/chat.js")[0] == 404


def test_the_chat_without_its_slash_leads_to_the_one_with_it(start: Start) -> None:
    status, location, _ = get(start(), "/chat")
    assert status == 308
    assert location == "/chat/"


def test_two_clients_talk_and_leave_nothing_behind(start: Start) -> None:
    process = start()
    with connect(chat(process), compression=None) as one, connect(chat(process), compression=None) as two:
        one.send("hello")
        assert [one.recv(LIMIT), two.recv(LIMIT)] == ["hello", "hello"]
        two.send("hello yourself")
        assert [one.recv(LIMIT), two.recv(LIMIT)] == ["hello yourself", "hello yourself"]
        while_talking = threads(process)
    # The write pumps end. The others were the server's: werkzeug's end as well, gunicorn's wait for the next request.
    until(lambda: threads(process) <= while_talking - 2, "the end of the clients' threads")
    settled = threads(process)
    for _ in range(10):
        with connect(chat(process), compression=None) as ws:
            ws.send("again")
            assert ws.recv(LIMIT) == "again"
    # gunicorn takes one more thread where the one before was not quite free again. A pump for each would be 10 more.
    until(lambda: threads(process) <= settled + 3, "the end of the clients' threads")
    assert get(process, "/")[0] == 200


def test_no_http_follows_the_end_of_a_websocket(start: Start) -> None:
    process = start()
    with Peer(process.port, CHAT) as peer:
        peer.send(TEXT, "hello")
        assert peer.lines(1) == ["hello"]
        peer.send(CLOSE, b"\x03\xe8")
        peer.socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert [(frame.opcode, frame.close_code) for frame in peer.receive_all()] == [(CLOSE, 1000)]


def test_nothing_bad_is_logged_however_a_client_goes(start: Start) -> None:
    process = start()
    with connect(chat(process), compression=None) as polite:
        polite.send("hello")
        polite.recv(LIMIT)
    with Peer(process.port, CHAT) as rude:
        rude.send(TEXT, "hello")
        rude.lines(1)
        rude.reset()
    with Peer(process.port, CHAT) as silent:
        silent.send(TEXT, "hello")
        silent.lines(1)
    assert process.end() == 0
    assert "Traceback" not in process.err
    assert "rror" not in process.err
    assert "500" not in process.err
    assert "GET /chat/ws" not in process.err  # which werkzeug would log if it were answered a second time


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_takes_leave_of_the_clients_and_ends_it(start: Start, number: signal.Signals) -> None:
    process = start()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(chat(process), compression=None)) for _ in range(3)]
        clients[-1].send("here")
        assert [client.recv(LIMIT) for client in clients] == ["here"] * len(clients)
        process.process.send_signal(number)
        assert [close_frame(client).code for client in clients] == [1001] * len(clients)
        assert process.process.wait(LIMIT) == 0
    assert "Traceback" not in process.err
