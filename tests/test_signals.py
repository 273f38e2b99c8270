"""The signals that stop the program: while it imports, while it stops, and for the commands that they interrupt."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from helpers import LIMIT, THREADCHAT, Peer, Process, until

from threadchat import serving
from threadchat.options import Options
from threadchat.runtime import signals
from threadchat.runtime.hold import STOP_SIGNALS, held, hold
from threadchat.runtime.signals import StopSignals, interrupting, stop_signals
from threadchat.runtime.threads import NoThread

SERVE = [*THREADCHAT, "serve", "--port", "0"]
IN_CONTAINER = ["unshare", "--pid", "--fork", "--kill-child"]  # what follows is the first process of its name space

# Python imports it when it starts. It then stops at the import of the command line, until there is a line to read.
PAUSE = """
import sys
class Pause:
    def find_spec(self, name, path=None, target=None):
        if name == "threadchat.cli":
            open("importing", "w").close()
            with open("go-on") as go_on:
                go_on.readline()
sys.meta_path.insert(0, Pause())
"""


@pytest.fixture(params=["plain", "first process"])
def command(request: pytest.FixtureRequest) -> list[str]:
    """The server's command, as such and as the first process of a container."""
    if request.param == "plain":
        return SERVE
    try:
        subprocess.run([*IN_CONTAINER, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not start a process in a name space of its own")
    return [*IN_CONTAINER, *SERVE]


def innermost(process: Process) -> int:
    """The process that Python runs in: the process itself, or the one that `unshare` has started."""

    def children() -> str:
        return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()

    if "unshare" not in Path(f"/proc/{process.pid}/cmdline").read_text():
        return process.pid
    until(children, "the process in its name space")
    return int(children())


# Before it listens


@pytest.fixture
def paused(command: list[str], tmp_path: Path) -> Iterator[Process]:
    """A server that is importing its modules, and goes on when the file `go-on` has a line."""
    (tmp_path / "sitecustomize.py").write_text(PAUSE)
    os.mkfifo(tmp_path / "go-on")
    with Process(tmp_path, command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}) as process:
        until((tmp_path / "importing").exists, "the import")
        yield process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_a_signal_while_it_imports_ends_it_without_a_word(
    paused: Process, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    os.kill(innermost(paused), number)
    (tmp_path / "go-on").write_text("go on\n")
    assert paused.process.wait(LIMIT) == status
    assert paused.out + paused.err == ""


def test_a_signal_that_was_sent_before_it_listens_ends_it_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        signal.raise_signal(signal.SIGINT)
        assert serving.serve(Options(), "127.0.0.1", 0) == 130
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert capsys.readouterr() == ("", "")


def test_where_signals_cannot_be_held_ctrl_c_while_it_imports_prints_no_traceback(tmp_path: Path) -> None:
    """Windows. What sitecustomize deletes is not there for the program."""
    (tmp_path / "sitecustomize.py").write_text("import signal; del signal.pthread_sigmask, signal.sigpending" + PAUSE)
    os.mkfifo(tmp_path / "go-on")
    with Process(tmp_path, SERVE, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}) as process:
        until((tmp_path / "importing").exists, "the import")
        assert process.end(signal.SIGINT) == 130
        assert process.out + process.err == ""


def test_no_thread_of_a_running_server_holds_the_signals_so_that_what_it_starts_does_not_either(tmp_path: Path) -> None:
    with Process(tmp_path, [*SERVE, "--inspect"]) as process, Peer(process.port) as peer:
        peer.talk("here")
        threads = list(Path(f"/proc/{process.pid}/task").glob("*/status"))
        assert len(threads) >= 5  # main, accept, hub and two pumps
        for status in threads:
            (blocked,) = re.findall(r"SigBlk:\s*(\w+)", status.read_text())
            assert not [number for number in STOP_SIGNALS if int(blocked, 16) & 1 << number - 1]


# While it stops


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_in_the_same_instant_belongs_to_the_first(
    tmp_path: Path, first: signal.Signals, second: signal.Signals
) -> None:
    with Process(tmp_path, SERVE) as process, ExitStack() as stack:
        peers = [stack.enter_context(Peer(process.port)) for _ in range(3)]
        process.wait_for("client 3 joined")
        process.process.send_signal(first)
        assert peers[0].receive().close_code == 1001
        process.process.send_signal(second)
        assert [peer.receive().close_code for peer in peers[1:]] == [1001, 1001]
        for peer in peers:
            peer.close()
        assert process.process.wait(LIMIT) == 0
        assert "3 clients told" in process.out


def test_a_second_signal_after_half_a_second_ends_it_at_once(command: list[str], tmp_path: Path) -> None:
    with Process(tmp_path, command) as process, Peer(process.port) as silent:
        python = innermost(process)
        os.kill(python, signal.SIGTERM)
        assert silent.receive().close_code == 1001  # the stop is under way, and waits two seconds for an answer

        def ended_by_another() -> bool:
            with suppress(ProcessLookupError):
                os.kill(python, signal.SIGTERM)
            return process.ended

        until(ended_by_another, "the end")
        assert process.process.returncode == (-signal.SIGTERM if python == process.pid else 128 + signal.SIGTERM)
        assert "stopped" not in process.out


def test_a_signal_after_the_stop_changes_nothing(tmp_path: Path) -> None:
    """Otherwise the second of two signals would decide the exit status when the first one has been obeyed quickly."""
    code = "import threadchat.__main__, os, signal, sys; status = threadchat.__main__.main(); "
    code += "os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGTERM); sys.exit(status)"
    with Process(tmp_path, [sys.executable, "-c", code, "serve", "--port", "0"]) as process:
        assert process.port
        assert process.end() == 0
        assert process.err == ""


def test_when_its_terminal_is_closed_it_takes_leave_of_its_clients(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    with closing(os.fdopen(its, "rb+", buffering=0)) as terminal:
        process = subprocess.Popen(
            SERVE, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(its, termios.TIOCSCTTY, 0),
        )  # fmt: skip
    with process, closing(os.fdopen(ours, "rb", buffering=0)) as screen:
        address = re.search(rb":(\d+)/", screen.readline())
        assert address
        with Peer(int(address[1])) as peer:
            screen.close()
            assert peer.receive().close_code == 1001
            peer.close()
        assert process.wait(LIMIT) == 0


def test_after_nohup_it_goes_on_when_its_terminal_is_closed(tmp_path: Path) -> None:
    with Process(tmp_path, ["nohup", *SERVE]) as process, Peer(process.port) as peer:
        process.process.send_signal(signal.SIGHUP)
        peer.talk("still here")
        peer.talk("and still")
        process.process.send_signal(signal.SIGTERM)
        assert peer.receive().close_code == 1001
        peer.close()
        assert process.process.wait(LIMIT) == 0


def test_the_last_line_names_the_threads_that_are_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    over = threading.Event()
    stray = threading.Thread(target=over.wait, name="stray-7")
    monkeypatch.setattr(StopSignals, "wait", lambda _: signal.SIGTERM)
    try:
        assert serving.serve(Options(), "127.0.0.1", 0, started=lambda _: stray.start()) == 0
    finally:
        over.set()
        stray.join()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("2 threads ended (accept, hub); still running: stray")


# A lesson is interrupted


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_lesson_with_its_process_and_no_traceback(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    # Without -W error: after Ctrl-C `subprocess` kills its process, and does not wait for its end.
    with Process(tmp_path, [sys.executable, "-m", "threadchat", "lesson", "convoy", "--json"]) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(children.read_text, "the lesson's process")
        part = int(children.read_text())
        until(lambda: len(os.listdir(f"/proc/{part}/task")) > 2, "its threads")
        assert process.end(number) == status
        until(lambda: not Path(f"/proc/{part}").exists(), "the end of the lesson's process")
        assert process.err == ""


# In this process


def test_afterwards_the_signals_are_handled_and_held_as_before() -> None:
    def look() -> tuple[object, ...]:
        wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(wakeup)
        return wakeup, signal.pthread_sigmask(signal.SIG_BLOCK, ()), *map(signal.getsignal, STOP_SIGNALS)

    before = look()
    hold()
    held_now = look()
    try:
        for let_through in (stop_signals, interrupting):
            with let_through():
                assert look()[1] == set()
            assert look() == held_now
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before[1])  # type: ignore[arg-type]
    assert look() == before


def test_a_signal_that_is_ignored_is_not_one_that_was_held(monkeypatch: pytest.MonkeyPatch) -> None:
    before, handler = signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        hold()
        signal.raise_signal(signal.SIGHUP)
        assert held() is None
        signal.raise_signal(signal.SIGTERM)
        assert held() == signal.SIGTERM
        with stop_signals() as received:
            assert received.came() == signal.SIGTERM
            assert received.came() is None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGHUP, handler)


def test_other_signals_that_have_a_handler_do_not_stop_it() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with stop_signals() as received:
            signal.raise_signal(signal.SIGUSR1)
            assert received.came() is None
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGTERM)
            assert received.wait() == signal.SIGTERM
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_stop_that_fails_fails_for_the_caller() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with stop_signals() as received, pytest.raises(ZeroDivisionError):
        received.stop(fail)


def test_a_stop_goes_on_where_the_system_has_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(*_: object) -> None:
        raise NoThread

    monkeypatch.setattr(signals, "go", no_more)
    with stop_signals() as received:
        assert received.stop(threading.current_thread) is threading.main_thread()
