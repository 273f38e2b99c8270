"""What the chat does without what Windows lacks. It was not tried on a real Windows: here the functions are hidden."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers import LIMIT, THREADCHAT, Peer, Process, ask, until

# Python imports it when it starts, in each process; so it hides these from all that is imported later.
SITECUSTOMIZE = """
import sys
hidden = {
    "_socket": "socketpair AF_UNIX",  # the socket module then makes a pair of TCP sockets
    "select": "poll epoll",
    "signal": "SIGALRM SIGHUP SIGPIPE alarm pthread_kill pthread_sigmask setitimer sigpending sigtimedwait sigwait",
    "os": "fork forkpty getuid killpg setsid "
    "sched_getaffinity sched_param sched_setaffinity sched_setscheduler SCHED_BATCH",
}
assert not {"select", "selectors", "socket"} & sys.modules.keys(), "it comes too late"
sys.modules |= dict.fromkeys(["fcntl", "grp", "pwd", "resource", "termios"])
for module, names in hidden.items():
    for name in names.split():
        delattr(__import__(module), name)

import ctypes, platform
def load(name):
    raise TypeError("LoadLibrary() argument 1 must be str, not None")
ctypes.CDLL = load
platform.libc_ver = lambda *_: ("", "")
"""

Start = Callable[..., Process]


@pytest.fixture
def windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes that the test starts miss what Windows lacks."""
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.fixture
def start(windows: None, tmp_path: Path) -> Iterator[Start]:
    """Starts a command of threadchat."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(Process(tmp_path, [*THREADCHAT, *arguments]))


def test_the_test_hides_what_it_says(windows: None) -> None:
    code = "import os, select, signal, socket; print(hasattr(os, 'fork'), hasattr(select, 'poll'), "
    code += "hasattr(signal, 'sigwait'), socket.socketpair()[0].family.name); import resource"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout == "False False False AF_INET\n"
    assert "ModuleNotFoundError: import of resource halted" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_people_join_and_talk_and_a_signal_stops_it(start: Start, number: signal.Signals) -> None:
    process = start("serve", "--port", "0")
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(process.port)) for _ in range(3)]
        process.wait_for("client 3 joined")
        peers[0].talk("hello")
        for peer in peers[1:]:
            assert peer.lines(1) == ["hello"]
        process.process.send_signal(number)
        assert peers[0].receive().close_code == 1001
        process.process.send_signal(number)  # at once: it belongs to the first
        for peer in peers[1:]:
            assert peer.receive().close_code == 1001
        for peer in peers:
            peer.close()
        assert process.process.wait(LIMIT) == 0
    last = "stopped: 3 clients told (close code 1001), 8 threads ended (accept, hub, 3 readPump, 3 writePump)"
    assert process.out.splitlines()[-1] == last


def test_a_client_that_does_not_read_is_evicted_and_the_others_go_on(start: Start) -> None:
    process = start("serve", "--port", "0", "--send-buffer", "2", "--message-size", "60000", "--message-rate", "0")
    with Peer(process.port, receive_buffer=4096), Peer(process.port) as peer:
        process.wait_for("client 2 joined")
        while "client 1 left" not in process.err:
            peer.talk("x" * 60_000)
        assert "1008 evicted" in process.wait_for("client 1 left")
        peer.talk("still here")
    assert process.end() == 0


def test_the_page_and_the_guide_are_there(start: Start) -> None:
    process = start("serve", "--port", "0", "--host", "*")
    assert b"<title>threadchat</title>" in ask(process, "GET", "/").body
    assert ask(process, "GET", "/guide").status == 200
    assert process.end() == 0
    assert process.err == ""


def test_the_demo_opens_the_browser_and_its_bots_talk(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f"#!/bin/sh\necho $1 > {seen}\n")
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s &")
    process = start("demo", "--log-level", "info")
    process.wait_for("client 3 joined")
    until(lambda: seen.exists() and seen.read_text().endswith("\n"), "the browser")
    assert seen.read_text().strip() == f"http://127.0.0.1:{process.port}/inspect"
    headers = {"X-Threadchat": "inspect", "Content-Type": "application/json"}
    said = ask(process, "POST", "/inspect/do", headers, json.dumps({"action": "say", "text": "hello"}).encode())
    assert said.status == 200
    assert process.end() == 0


def test_the_lessons_say_that_they_do_not_run_there(start: Start) -> None:
    process = start("lesson", "convoy")
    assert process.process.wait(LIMIT) == 2
    why = "the lessons do not run here: they limit their memory and time as Linux and macOS can, not Windows"
    assert process.out + process.err == f"threadchat lesson: {why}\n"


def test_the_inspector_says_so_too(start: Start) -> None:
    process = start("serve", "--port", "0", "--inspect")
    answer = ask(process, "GET", "/inspect/lessons")
    assert answer.status >= 400
    assert b"the lessons do not run here" in answer.body
    assert process.end() == 0
    assert process.err == ""
