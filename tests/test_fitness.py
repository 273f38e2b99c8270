"""WSGI servers that cannot carry a chat: each says so, in one line of the log and to the client. Real servers."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import LIMIT, Process, ask, handshake, until

from threadchat.web.app import create_app
from threadchat.web.fitness import WORKS

TESTS = Path(__file__).parent
GUNICORN = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket"]
APP = "threadchat:create_app()"

NO_SOCKET = "The chat needs the sockets of its clients, and this WSGI server does not hand them over. What works: "
NO_THREADS = "The chat needs a thread for each client, and this WSGI server serves one request at a time. What works: "
SEVERAL = "The chat is one process, and this WSGI server has several, each of which would be a chat of its own. What "
FORKED = "The chat was made before this process was forked, and a fork leaves its threads behind. What works: "
REPLACED = "The chat needs real threads, and gevent or eventlet has replaced them. What works: "

SERVERS = [
    (["wsgiref"], NO_SOCKET),
    (["waitress"], NO_SOCKET),
    (["cheroot"], NO_SOCKET),
    (["uvicorn"], NO_SOCKET),
    (["a2wsgi"], NO_SOCKET),
    (["gevent"], NO_SOCKET),
    (["threaded=False"], NO_THREADS),
    (["processes=2"], FORKED),
    (["gunicorn"], NO_THREADS),
    (["gunicorn", "--worker-class", "gthread"], NO_THREADS),
    (["gunicorn", "--workers", "2", "--threads", "10"], SEVERAL),
    (["gunicorn", "--preload", "--threads", "10"], FORKED),
]


@pytest.fixture
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    """The server of this name, with these arguments. It is stopped at the test's end."""
    name, *arguments = request.param
    if "=" not in name:
        pytest.importorskip(name)
    if name == "gunicorn":
        command = [*GUNICORN, "--graceful-timeout", "5", *arguments, APP]
    else:
        command = [sys.executable, str(TESTS / "wrong_server.py"), name]
    with Process(tmp_path, command) as process:
        assert process.port
        yield process
        process.end()


@pytest.mark.parametrize(
    ("process", "says"), SERVERS, ids=[" ".join(given) for given, _ in SERVERS], indirect=["process"]
)
def test_the_client_and_the_log_are_told_what_works(process: Process, says: str) -> None:
    until(lambda: answers(process), "the server's answer")
    answer = handshake(process)
    assert answer.status == 503
    assert says in answer.body.decode()
    assert "gunicorn --worker-class gthread --workers 1" in answer.body.decode()
    assert f"no client can join. {says}" in process.wait_for("no client can join")
    assert "Traceback" not in process.err
    assert ask(process, "GET", "/limits").status == 200


def answers(process: Process) -> bool:
    try:
        return ask(process, "GET", "/limits").status == 200
    except ConnectionError:  # wsgiref listens only after the address was printed
        return False


@pytest.mark.parametrize("process", [["wsgiref"]], indirect=True)
def test_the_log_is_told_as_soon_as_the_page_is_opened(process: Process) -> None:
    """Under uvicorn with a WebSocket library no handshake ever arrives here."""
    until(lambda: answers(process), "the server's answer")
    assert "no client can join" not in process.err
    assert ask(process, "GET", "/").status == 200
    assert NO_SOCKET in process.wait_for("no client can join")


@pytest.mark.parametrize("process", [["gunicorn", "--preload", "--threads", "10"]], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_chat_that_was_made_before_the_fork_does_not_keep_the_server_from_ending(
    process: Process, number: signal.Signals
) -> None:
    until(lambda: answers(process), "the server's answer")
    assert handshake(process).status == 503
    assert process.end(number) == 0


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_where_threads_have_been_replaced_no_chat_can_be_made(library: str) -> None:
    pytest.importorskip(library)
    patch = {
        "gevent": "from gevent import monkey; monkey.patch_all()",
        "eventlet": "import eventlet; eventlet.monkey_patch()",
    }
    code = f"{patch[library]}; from threadchat import create_app; create_app()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 1
    assert f"\nRuntimeError: {REPLACED}{WORKS}.\n" in done.stderr


def test_threads_that_are_replaced_later_are_noticed_too() -> None:
    pytest.importorskip("gevent")
    code = (
        "from threadchat import create_app; from werkzeug.test import Client; from gevent import monkey; "
        "app = create_app(); monkey.patch_all(); print(Client(app).get('/ws').text); app.hub.stop()"
    )
    command = [sys.executable, "-W", "ignore", "-c", f"{code}; import os; os._exit(0)"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert REPLACED in done.stdout


def test_a_worker_of_gunicorn_with_gevent_says_why_it_does_not_start(tmp_path: Path) -> None:
    pytest.importorskip("gevent")
    with Process(tmp_path, [*GUNICORN, "--worker-class", "gevent", APP]) as process:
        assert process.process.wait(LIMIT) != 0
    assert f"RuntimeError: {REPLACED}" in process.err


def test_a_queue_of_another_module_is_no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    class Queue(queue.Queue[None]):
        pass

    monkeypatch.setattr("queue.Queue", Queue)
    with pytest.raises(RuntimeError, match=r"^The chat needs real threads"):
        create_app()


FORK = """
import os
from werkzeug.test import Client
from threadchat import create_app

app = create_app()
pid = os.fork()
if not pid:
    app.close()  # which must not wait for the hub's thread
    print(Client(app).get("/ws").text)
else:
    _, status = os.waitpid(pid, 0)
    app.close()
    os._exit(os.waitstatus_to_exitcode(status))
"""


def test_a_fork_of_a_process_with_a_chat_ends_by_itself() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert FORKED in done.stdout
