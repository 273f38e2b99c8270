"""The process settings: each takes effect, and one that the platform lacks is skipped."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT, THREADCHAT, Peer, Process, ask, go

from threadchat import cli
from threadchat.runtime import system
from threadchat.runtime.system import give_way_to_wakers, own_command, stay_on_one_processor

THREADS = 100

# A process with many threads, each of which allocates. It tells what it has of what it could ask for.
CROWD = f"""
import ctypes, gc, json, os, resource, sys, threading
if sys.argv[1:] == ["fit"]:
    from threadchat.runtime.system import fit_for_a_crowd, start_with_one_heap
    start_with_one_heap()
    fit_for_a_crowd()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.open_memstream.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
started, over = threading.Barrier({THREADS} + 1), threading.Event()
def allocate():
    libc.malloc(2_000)
    for size in (600, 700, 800, 900, 1_000):
        for piece in [libc.malloc(size) for _ in range(7)]:
            libc.free(piece)
    started.wait()
    over.wait()
class Heap(ctypes.Structure):  # struct mallinfo2 of <malloc.h>
    _fields_ = [(name, ctypes.c_size_t) for name in "1 2 3 4 5 6 7 used free 10".split()]
libc.mallinfo2.restype = Heap
before = libc.mallinfo2().used
threads = [threading.Thread(target=allocate) for _ in range({THREADS})]
for thread in threads:
    thread.start()
started.wait()
text, size = ctypes.c_char_p(), ctypes.c_size_t()
out = ctypes.c_void_p(libc.open_memstream(ctypes.byref(text), ctypes.byref(size)))
libc.malloc_info(0, out)
libc.fclose(out)
slots = libc.prctl({system.PR_FUTEX_HASH}, 2, 0, 0, 0)  # PR_FUTEX_HASH_GET_SLOTS
kept = libc.mallinfo2().used - before
over.set()
print(json.dumps({{
    "heaps": text.value.count(b"<heap nr="), "slots": slots, "stack": threading.stack_size(),
    "kept": kept, "words": os.environ.get("GLIBC_TUNABLES"),
    "interval": sys.getswitchinterval(), "garbage": gc.get_threshold()[0],
    "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
}}))
"""


def crowd(*arguments: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", CROWD, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512)),
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_process_that_is_fit_for_a_crowd_has_other_settings_than_by_default() -> None:
    unfit, fit = crowd(), crowd("fit")
    assert unfit["heaps"] > fit["heaps"] == 1
    assert fit["words"] is None  # for the programs that it starts
    assert unfit["interval"] < fit["interval"] == pytest.approx(system.SWITCH_INTERVAL)
    assert unfit["garbage"] < fit["garbage"]
    assert unfit["descriptors"] < fit["descriptors"] == 512
    assert fit["stack"] == system.STACK
    if unfit["slots"] != -1:  # this Linux has slots for each process
        assert unfit["slots"] < THREADS < fit["slots"] == system.FUTEX_SLOTS


def test_a_thread_keeps_nothing_of_what_it_has_freed() -> None:
    one_heap = "glibc.malloc.arena_max=1"  # without which it would not be known how much is in use
    kept, not_kept = crowd(GLIBC_TUNABLES=one_heap)["kept"], crowd("fit")["kept"]
    assert kept - not_kept > THREADS * 7 * (600 + 700 + 800 + 900 + 1_000) / 2


def test_settings_of_the_users_own_for_malloc_stay() -> None:
    words = "glibc.malloc.arena_max=3"
    told = crowd("fit", GLIBC_TUNABLES=words)
    assert told["words"] == words
    assert told["heaps"] == 3


# Limits that are too small


def limited(limit: str, *command: str) -> list[str]:
    """The command, started by a shell after `ulimit` with these arguments."""
    return ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *command]


def serve_with(limit: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Start the server, which must end by itself."""
    return subprocess.run(limited(limit, *command), capture_output=True, text=True, timeout=LIMIT, check=False)


SERVE = [*THREADCHAT, "serve", "--port", "0"]


@pytest.mark.parametrize("limit", [5, 8, 33])
def test_it_says_at_the_start_how_many_open_files_are_too_few(limit: int) -> None:
    done = serve_with(f"-n {limit}", *SERVE)
    assert (done.returncode, done.stdout) == (2, "")
    said = rf"threadchat serve: only {limit} files may be open, but at least \d+ are needed: raise `ulimit -n`\n"
    assert re.fullmatch(said, done.stderr)


def test_with_as_many_open_files_as_it_asks_for_a_few_people_can_talk(tmp_path: Path) -> None:
    least = re.search(r"at least (\d+)", serve_with("-n 33", *SERVE).stderr)
    assert least
    with Process(tmp_path, limited(f"-n {least[1]}", *SERVE)) as process, ExitStack() as stack:
        peers = [stack.enter_context(Peer(process.port)) for _ in range(12)]
        assert ask(process, "GET", "/").status == 200
        peers[0].talk("hello")
        for peer in peers[1:]:
            assert peer.lines(1) == ["hello"]


def test_descriptors_that_are_in_use_already_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 256
    monkeypatch.setattr(system, "most_descriptors", lambda: limit)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(system, "_first_free_descriptor", lambda: limit - 60)
    system._use_all_descriptors()
    monkeypatch.setattr(system, "_first_free_descriptor", lambda: limit - 40)
    with pytest.raises(system.TooSmall, match="only 256 files may be open, but at least 272 are needed"):
        system._use_all_descriptors()


@pytest.mark.parametrize("command", [SERVE, [*THREADCHAT, "demo"], [*THREADCHAT, "lesson"]])
def test_it_says_at_the_start_that_the_stack_is_too_small(command: list[str]) -> None:
    done = serve_with("-s 128", *command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "threadchat: the stack may have only 128 KB, but 256 are needed: raise `ulimit -s`\n"


@pytest.mark.parametrize("script", ["serve", "demo", "lesson"])
def test_the_scripts_say_it_too_where_python_itself_cannot_start(script: str) -> None:
    done = serve_with("-s 64", str(Path(__file__).parents[1] / "scripts" / script), "--port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "the stack may have only 64 KB, but 256 are needed: raise `ulimit -s`\n"


def test_a_stack_that_may_grow_is_let_grow(tmp_path: Path) -> None:
    with Process(tmp_path, limited("-S -s 128", *SERVE)) as process:
        assert process.port
        soft, _ = resource.prlimit(process.pid, resource.RLIMIT_STACK)
        assert soft == system.LEAST_STACK
        assert process.end() == 0


@pytest.mark.parametrize("role", ["hub", "accept"])
@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_it_says_at_the_start_that_it_gets_no_thread(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], role: str, error: Exception
) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name == role:
            raise error
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--port", "0"])
    assert ended.value.code == 2
    reason = str(error) or "out of memory"
    said = f"threadchat serve: cannot start a thread: {reason} (see `ulimit -u` and `ulimit -v`)\n"
    assert capsys.readouterr() == ("", said)


# Started anew


PYTHON = Path(sys.executable)


@pytest.mark.parametrize("command", [[PYTHON, "-m", "threadchat"], [PYTHON.with_name("threadchat")]])
def test_the_program_starts_with_one_heap(tmp_path: Path, command: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    with Process(tmp_path, [*command, "serve", "--port", "0"]) as process:
        assert process.port
        assert "GLIBC_TUNABLES=" in Path(f"/proc/{process.pid}/environ").read_text()


def test_a_program_that_cannot_be_started_anew_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def execve(path: str, arguments: list[str], environment: dict[str, str]) -> None:
        tried.append(path)
        raise OSError

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    system.start_with_one_heap()
    assert tried == [sys.executable]
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    system.start_with_one_heap()
    assert tried == [sys.executable]


def test_the_program_is_started_anew_once_where_the_system_removes_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda path, arguments, environment: started.append(dict(environment)))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    system.start_with_one_heap()
    (environment,) = started
    monkeypatch.setattr(os, "environ", {name: value for name, value in environment.items() if name != "GLIBC_TUNABLES"})
    system.start_with_one_heap()
    assert len(started) == 1
    assert system.STARTED_ANEW not in os.environ


@pytest.mark.parametrize(
    ("orig_argv", "main", "plainly"),
    [
        (["python", "-m", "threadchat", "serve"], "/site-packages/threadchat/__main__.py", True),
        (["python", "-W", "error", "-m", "threadchat", "serve"], "/site-packages/threadchat/__main__.py", True),
        (["python", "/bin/threadchat", "serve"], "/bin/threadchat", True),
        (["python", "-m", "pdb", "-m", "threadchat", "serve"], "/site-packages/threadchat/__main__.py", False),
        (["python", "-m", "debugpy", "--listen", "5678", "-m", "threadchat"], "/threadchat/__main__.py", False),
        (["python", "-m", "cProfile", "/bin/threadchat", "serve"], "/bin/threadchat", False),
        (["python", "debugger.py", "/bin/other"], "/bin/threadchat", False),
        (["python", "-"], "-", False),
        (["python", "-c", "..."], "-c", False),
        (["python", "-m"], "-m", False),
    ],
)
def test_only_an_interpreter_that_was_started_for_this_program_is_started_anew(
    orig_argv: list[str], main: str, plainly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "gettrace", lambda: None)  # coverage's
    assert system.was_started_plainly(orig_argv, main) is plainly
    monkeypatch.setattr(sys, "gettrace", lambda: print)
    assert not system.was_started_plainly(orig_argv, main)


def test_the_debugger_runs_the_program_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setenv("BROWSER", "true")
    # The demo, which needs no option: the debugger of Python 3.13.0 takes the program's options for its own.
    command = [PYTHON, "-m", "pdb", "-c", "continue", "-m", "threadchat", "demo"]
    with Process(tmp_path, list(map(str, command))) as process:
        assert process.port
        assert "GLIBC_TUNABLES=" not in Path(f"/proc/{process.pid}/environ").read_text()


def test_the_slots_are_left_alone_where_the_c_library_has_no_prctl(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    system._spread_sleeping_threads()
    assert asked == [None]


def result(future: Future[Any]) -> Any:
    return future.result(LIMIT)


def in_thread(function: Callable[[], None], look: Callable[[], object]) -> tuple[object, object]:
    """What is seen before and after the call, in a thread of its own: the test's own is left as it is."""

    def body() -> tuple[object, object]:
        before = look()
        function()
        return before, look()

    before, after = result(go(body))
    return before, after


def policy() -> object:
    return os.sched_getscheduler(0)


def processors() -> object:
    return os.sched_getaffinity(0)


def refuse(*_: object) -> None:
    raise PermissionError("the system does not let you")


def test_giving_way_concerns_the_calling_thread_alone() -> None:
    before, after = in_thread(give_way_to_wakers, policy)
    assert (before, after) == (policy(), os.SCHED_BATCH)


@pytest.mark.parametrize("missing", ["sched_setscheduler", "SCHED_BATCH", "sched_param"])
def test_giving_way_is_skipped_where_the_system_lacks_it(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, missing)
    before, after = in_thread(give_way_to_wakers, policy)
    assert before == after


def test_giving_way_is_skipped_where_the_system_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    before, after = in_thread(give_way_to_wakers, policy)
    assert before == after


def test_staying_on_one_processor_concerns_the_thread_and_those_that_it_starts_from_then_on() -> None:
    ours = processors()

    def body() -> tuple[set[int], object, set[int], object]:
        asked, over = threading.Event(), threading.Event()

        def stay_where_it_is() -> object:
            asked.set()
            assert over.wait(LIMIT)
            return processors()

        earlier = go(stay_where_it_is)
        assert asked.wait(LIMIT)
        before = os.sched_getaffinity(0)
        stay_on_one_processor()
        over.set()
        return before, result(earlier), os.sched_getaffinity(0), result(go(processors))

    before, earlier, after, later = result(go(body))
    assert before == earlier == ours
    assert len(after) == 1
    assert after <= before
    assert later == after
    assert processors() == ours


@pytest.mark.parametrize("missing", ["sched_setaffinity", "sched_getaffinity"])
def test_staying_on_one_processor_is_skipped_where_the_system_lacks_it(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.sched_getaffinity
    monkeypatch.delattr(os, missing)
    before, after = in_thread(stay_on_one_processor, lambda: look(0))
    assert before == after


def test_processes_with_other_numbers_stay_on_other_processors_as_far_as_there_are_so_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7, 2, 4})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, processors: chosen.append(processors))
    for number in range(4):
        stay_on_one_processor(number)
    assert chosen == [{2}, {4}, {7}, {2}]


def test_the_program_is_started_anew_as_it_was_started_or_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    plainly = ["/usr/bin/python3", "-W", "error", "-m", "threadchat", "serve", "--port", "0"]
    monkeypatch.setattr(sys, "orig_argv", plainly)
    assert own_command(["serve"]) == [sys.executable, *plainly[1:]]
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", "-m", "pdb", "-m", "threadchat", "serve"])
    assert own_command(["serve"]) == [sys.executable, "-m", "threadchat", "serve"]


@pytest.mark.parametrize("refused", ["sched_setaffinity", "sched_getaffinity"])
def test_staying_on_one_processor_is_skipped_where_the_system_refuses(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.sched_getaffinity
    monkeypatch.setattr(os, refused, refuse)
    before, after = in_thread(stay_on_one_processor, lambda: look(0))
    assert before == after
