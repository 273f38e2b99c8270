"""Words to the system, to Python and to the C library, whose defaults are made for processes with a few threads.

Where one of them does not know such a word, it is not said.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import random
import resource
import sys
import threading
from contextlib import suppress

STACK = 512 * 1024  # bytes a thread; where stacks lie 8 MB apart, as is usual, a change of thread costs a quarter more

# Seconds after which who waits for the interpreter's lock wakes, to ask who has it to let go. Here all let go soon; and
# when 9,000 peers leave at once, 9,000 threads wait: with the usual 5 ms they ask for as long as they take to leave.
SWITCH_INTERVAL = 0.1

PR_FUTEX_HASH, PR_FUTEX_HASH_SET_SLOTS = 78, 1  # <linux/prctl.h>
FUTEX_SLOTS = 32_768  # 64 bytes each; more than threads

# Words to glibc's malloc (its manual, "Memory Allocation Tunables"). By itself it has up to eight heaps for each
# processor, so that threads need not wait for each other, though these here wait for the interpreter's lock anyway; and
# each thread keeps up to seven pieces of each size that it has freed: with thousands of threads they add up for hours.
ONE_HEAP = "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0"


def start_with_one_heap() -> None:
    """Start this program anew, with one heap for all threads and nothing kept by each: glibc is only told at the start.

    Returns in the new one; and at once where there is no glibc, or somebody else has words for it (GLIBC_TUNABLES).
    To be called before anything is opened or started.
    """
    words = os.environ.get("GLIBC_TUNABLES")
    if words == ONE_HEAP:
        del os.environ["GLIBC_TUNABLES"]  # the programs that this one starts are no crowds
    elif words is None and platform.libc_ver()[0] == "glibc" and sys.executable:
        with suppress(OSError):
            arguments = [sys.executable, *sys.orig_argv[1:]]
            os.execve(sys.executable, arguments, os.environ | {"GLIBC_TUNABLES": ONE_HEAP})


def fit_for_a_crowd() -> None:
    """Prepare this process for thousands of threads. To be called before it starts any."""
    threading.stack_size(STACK)
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(10_000, 100, 100)  # a client's objects last: looking through them for garbage is vain
    _use_all_descriptors()
    _find_sleepers_soon()


def give_way_to_wakers() -> None:
    """Let the calling thread, when woken, wait until the one that woke it blocks (SCHED_BATCH, where there is it).

    Otherwise the system may run it at once, only to find that the other still holds the interpreter's lock: it goes to
    sleep again and has to be woken a second time.
    """
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def stay_on_one_processor() -> None:
    """Keep the calling thread, and those it starts from now on, on one of its processors (where the system can).

    As they share the interpreter's lock, hardly two of them ever run at once; and waking a thread on another processor,
    which may be asleep itself, takes longer than what the thread then does.
    """
    with suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})


def _use_all_descriptors() -> None:
    """Raise the limit on open files as far as this process may, as Go's runtime does: a client is a file."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS names a higher limit than it grants
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _find_sleepers_soon() -> None:
    """Let Linux file the sleeping threads in many slots.

    Who wakes a thread searches its slot. Since 6.16 each process has slots of its own, whose number goes by that of the
    processors (16 for two), not of the threads: of 20,000, more than a thousand sleep in each.
    """
    with suppress(AttributeError):
        arguments = map(ctypes.c_ulong, (PR_FUTEX_HASH_SET_SLOTS, FUTEX_SLOTS, 0, 0))
        ctypes.CDLL(None).prctl(PR_FUTEX_HASH, *arguments)
