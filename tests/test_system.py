"""The words to the system: each is heard, and where there is no such word nothing happens."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from helpers import LIMIT, go

from threadchat import system
from threadchat.system import give_way_to_wakers, stay_on_one_processor

THREADS = 100

# A process with many threads, each of which allocates. It tells what it has of what it could ask for.
CROWD = f"""
import ctypes, gc, json, resource, sys, threading
if sys.argv[1:] == ["fit"]:
    from threadchat.system import fit_for_a_crowd
    fit_for_a_crowd()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.open_memstream.restype = ctypes.c_void_p
started, over = threading.Barrier({THREADS} + 1), threading.Event()
def allocate():
    libc.malloc(2_000)
    started.wait()
    over.wait()
threads = [threading.Thread(target=allocate) for _ in range({THREADS})]
for thread in threads:
    thread.start()
started.wait()
text, size = ctypes.c_char_p(), ctypes.c_size_t()
out = ctypes.c_void_p(libc.open_memstream(ctypes.byref(text), ctypes.byref(size)))
libc.malloc_info(0, out)
libc.fclose(out)
slots = libc.prctl({system.PR_FUTEX_HASH}, 2, 0, 0, 0)  # PR_FUTEX_HASH_GET_SLOTS
over.set()
print(json.dumps({{
    "heaps": text.value.count(b"<heap nr="), "slots": slots, "stack": threading.stack_size(),
    "interval": sys.getswitchinterval(), "garbage": gc.get_threshold()[0],
    "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
}}))
"""


def crowd(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", CROWD, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512)),
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_process_that_is_fit_for_a_crowd_has_what_it_would_not_have_by_itself() -> None:
    unfit, fit = crowd(), crowd("fit")
    assert unfit["heaps"] > fit["heaps"] == 1
    assert unfit["interval"] < fit["interval"] == pytest.approx(system.SWITCH_INTERVAL)
    assert unfit["garbage"] < fit["garbage"]
    assert unfit["descriptors"] < fit["descriptors"] == 512
    assert fit["stack"] == system.STACK
    if unfit["slots"] != -1:  # this Linux has slots for each process
        assert unfit["slots"] < THREADS < fit["slots"] == system.FUTEX_SLOTS


def test_no_word_is_said_where_the_c_library_does_not_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    system._find_sleepers_soon()
    system._share_one_heap()
    assert asked == [None, None]


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


def test_who_gives_way_does_so_for_itself_alone() -> None:
    before, after = in_thread(give_way_to_wakers, policy)
    assert (before, after) == (policy(), os.SCHED_BATCH)


@pytest.mark.parametrize("missing", ["sched_setscheduler", "SCHED_BATCH", "sched_param"])
def test_giving_way_is_nothing_where_the_system_knows_no_such_thing(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, missing)
    before, after = in_thread(give_way_to_wakers, policy)
    assert before == after


def test_giving_way_is_nothing_where_the_system_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    before, after = in_thread(give_way_to_wakers, policy)
    assert before == after


def test_who_stays_on_one_processor_takes_along_the_threads_that_it_starts_from_then_on() -> None:
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
def test_staying_on_one_processor_is_nothing_where_the_system_knows_no_such_thing(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.sched_getaffinity
    monkeypatch.delattr(os, missing)
    before, after = in_thread(stay_on_one_processor, lambda: look(0))
    assert before == after


@pytest.mark.parametrize("refused", ["sched_setaffinity", "sched_getaffinity"])
def test_staying_on_one_processor_is_nothing_where_the_system_refuses(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.sched_getaffinity
    monkeypatch.setattr(os, refused, refuse)
    before, after = in_thread(stay_on_one_processor, lambda: look(0))
    assert before == after
