"""Process settings for thousands of threads: stack size, switch interval, malloc, file limit, processor.

The defaults of Linux, glibc and Python are made for processes with a few threads. A setting that the platform lacks is
skipped. A limit of the system's that is too small to go on is a TooSmall.
"""

from __future__ import annotations

import gc
import os
import platform
import random
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

STACK = 512 * 1024  # bytes a thread; with the usual 8 MB between stacks, a thread switch costs a quarter more

# How long a thread waits for the interpreter's lock before it asks the holder to release it, in seconds. Here every
# holder releases it soon anyway. When 9,000 peers leave at once, 9,000 threads wait for it, and with the usual 5 ms the
# machine is busy with their asking.
SWITCH_INTERVAL = 0.1

LEAST_STACK = 256 * 1024  # bytes for the main thread, which uses half of it

KEPT_FREE = 32  # descriptors that connections leave to what else the process opens, such as the pages' files
LEAST_ROOM = 24  # descriptors besides: the server's own, about eight, and the connections of a browser or two

PR_FUTEX_HASH, PR_FUTEX_HASH_SET_SLOTS = 78, 1  # <linux/prctl.h>
FUTEX_SLOTS = 32_768  # 64 bytes each; more than there are threads

# Settings of glibc's malloc (its manual, "Memory Allocation Tunables"). By default it has up to eight heaps for each
# processor, so that threads need not wait for each other; these threads wait for the interpreter's lock anyway. And it
# keeps up to seven freed pieces of each size for each thread: with thousands of threads this grows for hours.
ONE_HEAP = "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0"
STARTED_ANEW = "_THREADCHAT_STARTED_ANEW"  # in the environment of the process that start_with_one_heap started


class TooSmall(OSError):
    """The system gives this process too little of something; str() says of what, and what to do about it."""


def start_with_one_heap() -> None:
    """Start this program anew, with the settings of ONE_HEAP, because glibc reads them only when a process starts.

    Returns in the new process. Returns at once where there is no glibc, where the user has set GLIBC_TUNABLES, and in a
    process that was started anew: the system may have removed the settings there (from a program with file
    capabilities, for example), and a second try would remove them again. To be called before anything is opened or
    started.
    """
    tunables = os.environ.get("GLIBC_TUNABLES")
    if os.environ.pop(STARTED_ANEW, None):
        if tunables == ONE_HEAP:
            del os.environ["GLIBC_TUNABLES"]  # programs that this one starts have few threads
    elif tunables is None and platform.libc_ver()[0] == "glibc" and sys.executable:
        environment = os.environ | {"GLIBC_TUNABLES": ONE_HEAP, STARTED_ANEW: "1"}
        with suppress(OSError):
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def was_started_plainly(orig_argv: Sequence[str], main: str) -> bool:
    """Whether the interpreter was started for this program and nothing else, so that it can be started the same way.

    `orig_argv` is `sys.orig_argv`, and `main` the path of the main script (`sys.argv[0]`). False under a debugger, a
    profiler or another program that runs this one (`python -m pdb -m threadchat`), and for code from standard input or
    `-c`: the second process would run something else, or nothing.
    """
    if sys.gettrace() or sys.getprofile():
        return False
    if "-m" in orig_argv:
        place = orig_argv.index("-m") + 1
        return place < len(orig_argv) and orig_argv[place] == "threadchat"
    return main in orig_argv and main not in ("-", "-c")


def give_main_thread_room() -> None:
    """Raise the limit on the main thread's stack if it is so low that the program would crash. Raises TooSmall.

    The other threads have stacks of STACK bytes, whatever the limit is.
    """
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft == resource.RLIM_INFINITY or soft >= LEAST_STACK:
        return
    try:
        resource.setrlimit(resource.RLIMIT_STACK, (LEAST_STACK, hard))
    except (ValueError, OSError) as error:
        least, has = LEAST_STACK // 1024, soft // 1024
        raise TooSmall(f"the stack may have only {has} KB, but {least} are needed: raise `ulimit -s`") from error


def fit_for_a_crowd() -> None:
    """Prepare this process for thousands of threads. To be called before it starts the first.

    Raises TooSmall if it may not even have a few clients.
    """
    threading.stack_size(STACK)
    sys.setswitchinterval(SWITCH_INTERVAL)
    # A client's objects live long: to search them for garbage finds none. What is new is searched in small pieces, as
    # all threads wait meanwhile: with 100 in place of 10, one search lasts seven times as long while thousands come in.
    gc.set_threshold(10_000, 10, 1_000)
    _use_all_descriptors()
    _spread_sleeping_threads()


def most_descriptors() -> int | None:
    """The number below which all descriptors of this process are; None where there is no such limit."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit


def give_way_to_wakers() -> None:
    """Let the calling thread, when it is woken, wait until the thread that woke it blocks (Linux: SCHED_BATCH).

    Otherwise the system may run the woken thread at once. It finds that the other thread still holds the interpreter's
    lock, goes back to sleep, and has to be woken a second time.
    """
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def stay_on_one_processor(number: int | None = None) -> None:
    """Keep the calling thread, and the threads that it starts from now on, on one of its processors (Linux).

    Processes with other numbers stay on other processors, as far as there are so many; one without stays on any.

    Threads that share the interpreter's lock hardly ever run at the same time. To wake a thread on another processor,
    which may be asleep itself, takes longer than the work that the thread then does.
    """
    with suppress(AttributeError, OSError):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {random.choice(mine) if number is None else mine[number % len(mine)]})


def own_command(arguments: Sequence[str]) -> list[str]:
    """What starts this program anew, with these arguments."""
    if was_started_plainly(sys.orig_argv, sys.argv[0]):
        return [sys.executable, *sys.orig_argv[1:]]
    return [sys.executable, "-m", "threadchat", *arguments]


def _use_all_descriptors() -> None:
    """Raise the limit on open files as far as this process may, as Go's runtime does. Each client is an open file."""
    if resource is None:
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS names a higher limit than it grants
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    limit = most_descriptors()
    least = _first_free_descriptor() + KEPT_FREE + LEAST_ROOM
    if limit is not None and limit < least:
        raise TooSmall(f"only {limit} files may be open, but at least {least} are needed: raise `ulimit -n`")


def _first_free_descriptor() -> int:
    try:
        with open(os.devnull, "rb") as file:
            return file.fileno()
    except OSError:  # there is none below the limit
        return most_descriptors() or 0


def _spread_sleeping_threads() -> None:
    """Let Linux keep the sleeping threads in many slots.

    To wake a thread, the kernel searches one slot. Since Linux 6.16 each process has slots of its own. Their number
    depends on the number of processors (16 slots for two), not of threads: with 20,000 threads, more than a thousand
    sleep in each.
    """
    with suppress(ImportError, AttributeError, TypeError):  # TypeError: Windows' CDLL needs a name
        import ctypes  # not at the top: some Pythons are built without it

        arguments = map(ctypes.c_ulong, (PR_FUTEX_HASH_SET_SLOTS, FUTEX_SLOTS, 0, 0))
        ctypes.CDLL(None).prctl(PR_FUTEX_HASH, *arguments)
