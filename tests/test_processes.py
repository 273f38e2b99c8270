"""Several processes that are one chat: over real sockets and a real Redis, and with stand-ins that start at once."""

from __future__ import annotations

import errno
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT, REDIS, THREADCHAT, V1, Clock, Peer, Process, RedisServer, ask, go, needs_redis, until
from test_supervisor import HAND_OVER
from websockets.exceptions import ConnectionClosed

from threadchat import cli, processes
from threadchat.runtime import threads
from threadchat.runtime.sibling import read_report
from threadchat.serving import CannotServe

SERVE = [*THREADCHAT, "serve", "--port", "0"]


def children(process: Process) -> list[int]:
    """The processes that it has started, and that have not ended."""
    found = []
    for path in Path(f"/proc/{process.pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            found += [int(pid) for pid in path.read_text().split()]
    return sorted(pid for pid in found if not ended(pid))


def ended(pid: int) -> bool:
    try:
        return bool(re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    except OSError:
        return True


def figures(process: Process, name: str) -> dict[str, float]:
    """The values of a figure without other labels, by the process's number."""
    text = ask(process, "GET", "/metrics").body.decode()
    return {
        number: float(value) for number, value in re.findall(rf'^{name}{{process="(\d+)"}} (\S+)', text, re.MULTILINE)
    }


# A chat of two processes


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    if REDIS is None:
        pytest.skip(needs_redis.kwargs["reason"])
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def command(redis: RedisServer) -> list[str]:
    return [*SERVE, "--store", redis.unix_url, "--processes", "2", "--drain", "0.5"]


@pytest.fixture(scope="module")
def chat(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with Process(tmp_path_factory.mktemp("chat"), [*command, "--max-clients", "10"]) as process:
        assert process.port
        yield process
        process.end(signal.SIGINT)


def test_two_processes_are_one_chat_and_share_its_clients(chat: Process) -> None:
    assert chat.out.count("threadchat listens: open ") == 1
    assert "2 processes serve it." in chat.out
    pids = children(chat)
    assert len(pids) == 2
    allowed = os.sched_getaffinity(0)
    assert [len(os.sched_getaffinity(pid)) for pid in pids] == [1, 1]
    assert len({*os.sched_getaffinity(pids[0]), *os.sched_getaffinity(pids[1])}) == min(2, len(allowed))
    with ExitStack() as stack:
        clients = [stack.enter_context(V1(chat.port, room="den", name=f"client {number}")) for number in range(10)]
        for number, client in enumerate(clients):
            client.say(f"hello from {number}", n=1)
        heard = [client.texts(10) for client in clients]
        assert sorted(heard[0]) == [f"hello from {number}" for number in range(10)]
        assert heard == [heard[0]] * 10  # in one order
        pytest.importorskip("prometheus_client")
        there = figures(chat, "threadchat_clients")
        assert there.keys() == {"1", "2"}
        assert sum(there.values()) == 10
        assert min(there.values()) >= 2  # the slack is four
        assert figures(chat, "threadchat_process_up") == {"1": 1, "2": 1}
    assert re.search(r"INFO process [12]: client \d+ joined", chat.err)


def test_one_after_the_other_is_replaced_and_nobody_is_refused(chat: Process) -> None:
    """Told to stop, each of the two is replaced while it drains; then one is killed."""
    over = False

    def connect_all_the_time() -> int:
        answered = 0
        while not over:
            with socket.create_connection(("127.0.0.1", chat.port), LIMIT) as asking:  # raises, if it is refused
                asking.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert asking.recv(15).startswith(b"HTTP/1.1 200")
                answered += 1
        return answered

    def until_it_is_closed(client: V1) -> int:
        with pytest.raises(ConnectionClosed) as closed:
            client.until(type="never")
        return closed.value.rcvd.code if closed.value.rcvd else 1006

    first = children(chat)
    connecting: Future[int] = go(connect_all_the_time)
    with ExitStack() as stack:
        ann = stack.enter_context(V1(chat.port, name="Ann"))
        for pid in first:
            os.kill(pid, signal.SIGTERM)
            until(lambda pid=pid: ended(pid) and len(children(chat)) == 2, "another process in its place")  # type: ignore[misc]
        assert until_it_is_closed(ann) == 1012
        over = True
        assert connecting.result(LIMIT) > 1
        again = stack.enter_context(V1(chat.port, name="Ann", session=ann.session))
        assert again.hello["name"] == "Ann"
    assert not set(first) & set(children(chat))
    killed = children(chat)[0]
    os.kill(killed, signal.SIGKILL)
    assert re.search(r"ERROR process [12] has ended, and is replaced: killed by SIGKILL", chat.wait_for("SIGKILL"))
    until(lambda: len(children(chat)) == 2, "another process in its place")
    with V1(chat.port) as client:
        client.say("still here", n=1)
        assert client.until(type="msg", text="still here")


def test_the_limit_of_clients_is_for_all_processes_together(chat: Process) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Peer(chat.port)) for _ in range(12)]
        assert sorted(client.status for client in clients) == [101] * 10 + [503] * 2


# Handed a socket, and told to stop


def test_a_socket_that_was_handed_over_is_for_all_of_them_and_one_sentence_says_what_the_stop_has_done(
    command: list[str], tmp_path: Path
) -> None:
    notify = tmp_path / "notify"
    hand_over = [sys.executable, "-c", HAND_OVER, "0", *command, "--host", "192.0.2.7"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervising:
        supervising.bind(str(notify))
        supervising.settimeout(LIMIT)
        environment = {**os.environ, "NOTIFY_SOCKET": str(notify), "TMPDIR": str(tmp_path)}
        with Process(tmp_path, hand_over, env=environment) as process, ExitStack() as stack:
            assert supervising.recv(100) == b"READY=1"
            pids = children(process)
            assert len(pids) == 2
            assert len(list(tmp_path.glob("threadchat-*"))) == 1
            clients = [stack.enter_context(Peer(process.port)) for _ in range(6)]
            until(lambda: process.err.count("joined") == 6, "the clients")
            process.process.send_signal(signal.SIGTERM)
            assert {client.receive().close_code for client in clients} == {1012}
            stack.close()
            assert process.process.wait(LIMIT) == 0
        assert supervising.recv(100) == b"STOPPING=1"
        supervising.setblocking(False)
        with pytest.raises(BlockingIOError):  # the others tell the supervisor nothing
            supervising.recv(100)
    last = process.out.splitlines()[-1]
    come_back = "6 clients told to come back (close code 1012)"
    assert last == f"stopped: {come_back}, 0 clients told (close code 1001), 2 processes ended"
    assert all(map(ended, pids))
    assert not list(tmp_path.glob("threadchat-*"))
    assert not re.search("Traceback|ERROR", process.err)


# What cannot be had


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "--processes needs a store that several processes can share: --store redis://HOST"),
        (("--store", "sqlite:chat.db"), "--processes needs a store that several processes can share"),
        (("--inspect",), "the inspector, --hub and the demo show a chat of one process: leave --processes out"),
        (("--hub", "hub.py"), "the inspector, --hub and the demo show a chat of one process"),
    ],
)
def test_what_several_processes_cannot_have_is_refused_with_a_sentence(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["serve", "--processes", "2", *arguments])
    assert sentence in capsys.readouterr().err


def test_the_demo_is_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo", "--processes", "2", "--store", "redis://localhost"])
    assert "the demo show a chat of one process" in capsys.readouterr().err


def test_where_no_process_can_start_the_reason_is_said_once(tmp_path: Path) -> None:
    nowhere = f"unix://{tmp_path / 'nobody'}"
    with Process(tmp_path, [*SERVE, "--store", nowhere, "--processes", "2"]) as process:
        assert process.process.wait(LIMIT) == 2
        assert process.err.count(nowhere) == 1
        assert process.err.splitlines()[-1].startswith(f"threadchat serve: {nowhere} cannot be used")
        assert process.out == ""


def test_a_port_that_is_taken_is_said_before_any_process_is_started(command: list[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Process(tmp_path, [*command, "--port", str(port)]) as process:
            assert process.process.wait(LIMIT) == 2
    assert process.err == (
        f"threadchat serve: port {port} is taken: choose another with --port, or let --port 0 find a free one\n"
    )


# Stand-ins: processes that report what they are told to, and end as they are told to

STAND_IN = """
import json, os, signal, sys, time
place = json.loads(os.environ["_THREADCHAT_PLACE"])
def report(**what):
    os.write(place["reports"], json.dumps(what).encode() + b"\\n")
def first(what):
    "Whether this is the first of them all to do this."
    try:
        os.close(os.open(f"{FOLDER}/{what}", os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False
def stop(*_):
    report(leaves=True)
    report(stopped=1)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
"""
RUN = """
import socket, sys
from threadchat import processes
with socket.create_server(("127.0.0.1", 0)) as listener:
    processes.run([sys.executable, "-c", sys.argv[1]], 2, "127.0.0.1", listener)
"""
Run = Callable[[str], int]


def stand_in(folder: Path, code: str) -> str:
    return STAND_IN.replace("{FOLDER}", str(folder)) + code


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs two processes with this code, until a signal or their end. Returns the exit status."""
    monkeypatch.setattr(processes, "PAUSES", (0.0,))

    def run(code: str) -> int:
        text = stand_in(tmp_path, code)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return processes.run([sys.executable, "-S", "-E", "-c", text], 2, "127.0.0.1", listener)

    return run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_signal_to_stop_is_passed_on(run: Run, tmp_path: Path, number: signal.Signals) -> None:
    code = f"""
def stop(number, frame):
    open(f"{{FOLDER}}/{{place['number']}}", "w").write(str(int(number)))
    os._exit(0)
signal.signal({number:d}, stop)
report(ready="")
if not first("ready"):
    os.kill(os.getppid(), {number:d})
time.sleep(60)
"""
    assert run(code.replace("{FOLDER}", str(tmp_path))) == 0
    assert [(tmp_path / place).read_text() for place in "12"] == [str(int(number))] * 2


def test_race_2_when_the_first_process_is_killed_the_others_stop_by_themselves(tmp_path: Path) -> None:
    code = """
from threadchat.runtime import threads
from threadchat.runtime.sibling import Sibling
def stop(*_):
    sibling.report(leaves=True)  # nobody is there
    os.rename(f"{FOLDER}/{os.getpid()}", f"{FOLDER}/{os.getpid()}-stopped")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
sibling = Sibling.of_this_process()
open(f"{FOLDER}/{os.getpid()}", "w").close()
sibling.report(ready="welcome")
time.sleep(60)
"""
    code = stand_in(tmp_path, code).replace("{FOLDER}", str(tmp_path))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # what it leaves behind
    with Process(tmp_path, [sys.executable, "-c", RUN, code], env=environment) as process:
        until(lambda: "2 processes serve it" in process.out, "the processes")
        pids = children(process)
        process.process.kill()
        until(lambda: all((tmp_path / f"{pid}-stopped").exists() and ended(pid) for pid in pids), "the others' end")


def test_processes_that_end_at_once_are_not_started_for_ever(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CannotServe, match="the processes end as soon as they start: exit status 3"):
        run('report(ready=""); sys.exit(3)')
    assert 2 <= caplog.text.count("has ended, and is replaced: exit status 3") <= 4


def test_one_that_dies_is_replaced_for_as_long_as_another_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last one of the first place stops them all."""
    monkeypatch.setattr(processes, "YOUNG", 0.0)  # all are settled
    code = """
report(ready="welcome")
if place["number"] == 1:
    for name in "abcd":
        if first(name):
            os._exit(3)
    os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""
    assert run(code) == 0
    assert caplog.text.count("process 1 has ended, and is replaced: exit status 3") == 4
    said = capsys.readouterr().out.splitlines()
    assert said == ["welcome", "2 processes serve it.", "stopped: 2 clients told (close code 1001), 2 processes ended"]


def test_race_1_one_that_ends_while_all_are_told_to_stop_is_not_replaced(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    code = """
signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
report(ready="")
if place["number"] == 1:
    os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""
    assert run(code) == 3
    assert "replaced" not in caplog.text


def test_race_3_one_that_is_told_to_stop_twice_and_dies_meanwhile_is_replaced_once(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    code = """
report(ready="")
if place["number"] == 1:
    if first("leaves"):
        report(leaves=True)
        report(leaves=True)
        os.kill(os.getpid(), signal.SIGKILL)
    os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""
    caplog.set_level("INFO")
    assert run(code) in (0, 128 + signal.SIGKILL)  # its end may be noticed only when all are told to stop
    assert caplog.text.count("process 1 stops, and is replaced") == 1
    assert "process 1 has ended, and is replaced" not in caplog.text


def test_race_4_one_that_was_sent_the_signal_too_drains_to_its_end(run: Run, tmp_path: Path) -> None:
    code = """
name = "other"
def note(*_):
    first(name)
    os._exit(0)
signal.signal(signal.SIGTERM, note)
report(ready="")
if place["number"] == 1 and first("leaves"):
    name = "cut"
    report(leaves=True)
    while not os.path.exists(f"{FOLDER}/replaced"):
        time.sleep(0.001)
    os.kill(os.getppid(), signal.SIGTERM)
    while not os.path.exists(f"{FOLDER}/other"):
        time.sleep(0.001)
    os._exit(0)
elif place["number"] == 1:
    first("replaced")
time.sleep(60)
"""
    assert run(code.replace("{FOLDER}", str(tmp_path))) == 0
    assert (tmp_path / "other").exists()
    assert not (tmp_path / "cut").exists()


def test_a_further_signal_is_passed_on_as_well(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is not enough for these; the second one, after half a second, ends them at once."""
    monkeypatch.setattr("threadchat.runtime.signals.SAME_STOP", 0.0)
    code = """
def again(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if not first("told"):  # both have been told once
        os.kill(os.getppid(), signal.SIGTERM)
signal.signal(signal.SIGTERM, again)
report(ready="")
if not first("ready"):
    os.kill(os.getppid(), signal.SIGTERM)
while True:
    time.sleep(60)
"""
    assert run(code.replace("{FOLDER}", str(tmp_path))) == 128 + signal.SIGTERM


def test_one_that_hangs_is_killed_a_while_after_the_second_signal(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are told twice, and one of them takes no notice."""
    monkeypatch.setattr("threadchat.runtime.signals.SAME_STOP", 0.0)
    monkeypatch.setattr(processes, "LAST_WAIT", 0.1)
    monkeypatch.setattr(processes, "LOOK_EVERY", 0.01)
    code = """
def told(*_):
    if place["number"] == 2:
        os._exit(0)
    if first("told"):
        os.kill(os.getppid(), signal.SIGTERM)
signal.signal(signal.SIGTERM, told)
open(f"{FOLDER}/{place['number']}", "w").write(str(os.getpid()))
report(ready="")
if not first("ready"):
    os.kill(os.getppid(), signal.SIGTERM)
while True:
    time.sleep(60)
"""
    assert run(code.replace("{FOLDER}", str(tmp_path))) == 128 + signal.SIGKILL
    assert all(ended(int((tmp_path / place).read_text())) for place in "12")


def test_a_third_signal_does_not_put_off_the_end_of_one_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "time", clock := Clock())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        siblings = processes.Processes([], 0, "127.0.0.1", listener, tmp_path, False)
        siblings.send(signal.SIGTERM)
        assert siblings._patience_ends == math.inf
        siblings.send(signal.SIGTERM)
        ends = clock.now + processes.LAST_WAIT
        clock.now += processes.LAST_WAIT / 2
        siblings.send(signal.SIGTERM)
        assert siblings._patience_ends == ends


@pytest.mark.parametrize("missing", ["process", "thread"])
def test_one_that_cannot_be_replaced_yet_is_replaced_when_it_has_ended(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    """The third start fails: the one in place of the first process, which is told to stop."""
    starts: list[object] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **named: Any) -> Any:
        if missing == "process" and len(starts) == 2:
            starts.append("no process")
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        if len(starts) == 3:
            (tmp_path / "replaced").touch()
        starts.append(popen(*arguments, **named))
        return starts[-1]

    def follow(function: Callable[[], object], name: str) -> threading.Thread:
        if missing == "thread" and len(starts) == 3:
            raise threads.NoThread("can't start new thread")
        return threads.go(function, name)

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(processes, "go", follow)
    code = """
report(ready="")
if place["number"] == 1:
    if first("leaves"):
        report(leaves=True)
        sys.exit(0)
    while not os.path.exists(f"{FOLDER}/replaced"):
        time.sleep(0.001)
    os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""
    assert run(code.replace("{FOLDER}", str(tmp_path))) == 0
    assert len(starts) == 4
    assert re.search("process 1 cannot be replaced yet: .*(unavailable|thread)", caplog.text)
    assert "process 1 has ended, and is replaced: exit status 0" in caplog.text
    assert all(ended(each.pid) for each in starts if isinstance(each, popen))


def test_a_welcome_that_cannot_be_printed_stops_them(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_reads(line: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(processes, "say", nobody_reads)
    with pytest.raises(BrokenPipeError):
        run('report(ready=""); time.sleep(60)')


def test_a_report_that_breaks_off_says_nothing() -> None:
    assert read_report(b'{"ready": "wel') == {}


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit status 0"), (-9, "killed by SIGKILL"), (-63, "killed by signal 63")]
)
def test_how_a_process_has_ended_is_said_in_words(status: int, words: str) -> None:
    assert processes.described(status) == words
