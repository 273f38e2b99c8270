"""The examples, run as their first lines say."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from helpers import CLOSE, LIMIT, TEXT, Answer, Peer, Process, ask, until

FOLDER = Path(__file__).parent / "examples"

PYTHON = [sys.executable, "flask_app.py"]
FLASK = [sys.executable, "-m", "flask", "--app", "flask_app", "run", "--port", "0"]
GUNICORN = [
    *(sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket"),
    *("--worker-class", "gthread", "--workers", "1", "--threads", "100", "flask_app:site"),
]

Start = Callable[[], Process]


@pytest.fixture(params=[PYTHON, FLASK, GUNICORN], ids=["python", "flask", "gunicorn"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts the example. A process that still runs at the test's end is killed."""
    pytest.importorskip("flask")
    if request.param is GUNICORN:
        pytest.importorskip("gunicorn")
    with ExitStack() as stack:

        def run() -> Process:
            process = stack.enter_context(Process(tmp_path, request.param, cwd=FOLDER, env={**os.environ, "PORT": "0"}))
            assert process.port
            until(lambda: get(process, "/").status == 200, "the site's answer")
            return process

        yield run


def get(process: Process, path: str) -> Answer:
    return ask(process, "GET", path, {"Connection": "close"})


CHAT = "/chat/ws"


def join(process: Process) -> Peer:
    return Peer(process.port, CHAT)


def threads(process: Process) -> int:
    """The number of threads that serve: those of the process and, with gunicorn, those of its worker."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in [str(process.pid), *children])


def test_the_site_and_the_chat_stand_side_by_side(start: Start) -> None:
    process = start()
    home = get(process, "/")
    assert home.status == 200
    assert b"<title>My site</title>" in home.body
    assert b'href="/chat/"' in home.body
    page = get(process, "/chat/")
    assert page.status == 200
    assert b"<title>threadchat</title>" in page.body
    assert len(page.headers.get_all("Date", [])) == 1, "the server's"
    assert get(process, "/chat/static/chat/chat.js").status == 200
    assert b'"message_size": 1000' in get(process, "/chat/limits").body
    assert get(process, "/chatter").status == 404
    assert get(process, "/static/chat/chat.js").status == 404


def test_the_address_without_the_slash_redirects_to_the_one_with_it(start: Start) -> None:
    answer = get(start(), "/chat")
    assert answer.status == 308
    assert answer.headers["Location"] == "/chat/"


def test_two_clients_talk_and_leave_nothing_behind(start: Start) -> None:
    process = start()
    with join(process) as one, join(process) as two:
        one.talk("hello")
        assert two.lines(1) == ["hello"]
        two.talk("hello yourself")
        assert one.lines(1) == ["hello yourself"]
        while_talking = threads(process)
    # The write pumps end. The read pumps are threads of the server's: werkzeug's end, gunicorn's wait for a request.
    until(lambda: threads(process) <= while_talking - 2, "the end of the clients' threads")
    settled = threads(process)
    for _ in range(10):
        with join(process) as peer:
            peer.talk("again")
    # gunicorn starts another thread if the last one is not free yet. A pump left by each client would make 10 more.
    until(lambda: threads(process) <= settled + 3, "the end of the clients' threads")
    assert get(process, "/").status == 200


def test_no_http_follows_the_end_of_a_websocket(start: Start) -> None:
    process = start()
    with join(process) as peer:
        peer.talk("hello")
        peer.leave()
        peer.socket.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert [(frame.opcode, frame.close_code) for frame in peer.receive_all()] == [(CLOSE, 1000)]


def test_no_error_is_logged_however_a_client_leaves(start: Start) -> None:
    process = start()
    with join(process) as polite:
        polite.talk("hello")
        polite.leave()
        assert polite.goodbye() == (1000, "")
    with join(process) as rude:
        rude.talk("hello")
        rude.reset()
    with join(process) as silent:
        silent.talk("hello")
    assert process.end(signal.SIGINT) == 0
    assert "Traceback" not in process.err
    assert "rror" not in process.err
    assert not re.search(r"\b500\b", process.err)  # the status, not a part of a port
    assert "GET /chat/ws" not in process.err  # which werkzeug would log if it were answered a second time


@contextmanager
def three_who_talk(process: Process) -> Iterator[list[Peer]]:
    with ExitStack() as stack:
        clients = [stack.enter_context(join(process)) for _ in range(3)]
        clients[-1].send(TEXT, "here")
        assert [client.lines(1) for client in clients] == [["here"]] * len(clients)
        yield clients


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_and_tells_the_clients_1001(start: Start, number: signal.Signals) -> None:
    process = start()
    with three_who_talk(process) as clients:
        process.process.send_signal(number)
        if number == signal.SIGTERM and "gunicorn" not in process.err:
            assert process.process.wait(LIMIT) == -number  # Flask's own server leaves it to the system, which is quick
            assert [client.receive_all() for client in clients] == [[]] * len(clients)
        else:
            assert [client.goodbye()[0] for client in clients] == [1001] * len(clients)
            assert process.process.wait(LIMIT) == 0
    assert "Traceback" not in process.err


@pytest.mark.parametrize("start", [GUNICORN, [*GUNICORN, "--max-requests", "10"]], indirect=True, ids=["HUP", "10"])
def test_the_clients_of_a_worker_that_gunicorn_replaces_are_told_1001(start: Start) -> None:
    """Else the new worker would have to wait for 30 seconds until the old one is killed."""
    process = start()
    with three_who_talk(process) as clients:
        if "--max-requests" in str(process.process.args):
            for _ in range(10):
                get(process, "/")
        else:
            process.process.send_signal(signal.SIGHUP)
        assert [client.goodbye()[0] for client in clients] == [1001] * len(clients)
    with three_who_talk(process):
        pass
    assert "Traceback" not in process.err


@pytest.mark.parametrize("start", [[*FLASK, "--debug", "--no-reload"]], indirect=True, ids=["debug"])
def test_the_debugger_takes_no_websocket_that_ends_for_an_error(start: Start) -> None:
    process = start()
    with join(process) as one, join(process) as two:
        one.talk("hello")
        one.leave()
        assert one.goodbye() == (1000, "")
        assert two.lines(1) == ["hello"]
        two.talk("the chat goes on")
        two.reset()
    process.wait_for(r"GET /chat/ws HTTP/1\.1.*\" 101")
    assert get(process, "/").status == 200
    assert process.end(signal.SIGINT) == 0
    assert "Traceback" not in process.err
    assert '" 500' not in process.err


def test_what_the_readme_shows_is_the_example() -> None:
    (shown,) = re.findall(r"```python\n(from flask .*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    example = (FOLDER / "flask_app.py").read_text().replace("  # type: ignore[method-assign]", "")
    assert shown in example
