"""Finds the threads that sleep for ever on channels: deadlocks and leaks. For the tests of programs that use `channel`.

    @pytest.fixture(autouse=True)
    def no_thread_sleeps_for_ever():
        with Detector():
            yield

If all threads sleep and nothing can wake them, each of them raises Deadlock at the statement where it sleeps. So does
the `with` statement at its end, also if the threads that sleep for ever are only some: a thread is leaked when it is
parked on a channel that no running thread can reach. Deadlock says for each thread where it sleeps, on which channel,
and how the statement reads in Go. A fixture, as above, looks when the test's own variables have gone.

Go's runtime does the first ("all goroutines are asleep - deadlock!"), and its goroutine leak profile, new in Go 1.26,
does the second with the garbage collector's marks. Here the marks are set by `gc.get_referents`: from the modules and
from the local variables of running threads, and then from those of each thread that one of these can wake.

The detector is cautious: a thread that waits for anything but a channel, the end of a thread or a threading.Condition
(on which Event, Queue and Semaphore are built) counts as running, and so does a thread that waits with a timeout. It
cannot see an object that only the middle of an expression, or a `with` statement, holds.
"""

from __future__ import annotations

import gc
import itertools
import sys
import threading
import types
from collections.abc import Iterable
from typing import Any

from threadchat.channel import Send
from threadchat.waits import Sleeper, Wait, wait_of

WATCHER = "deadlock detector"  # the name of its thread, which nobody waits for
LOOK_EVERY = 0.05  # seconds from one look at all threads to the next
LOOK_DEEPLY = 20  # every so many looks, at all objects too, which takes longer
LEAKED = "threads sleep on channels that no running thread can reach:"
ATOMS = (str, bytes, int, float, bool, type(None), types.CodeType)  # objects that refer to no channel


class Deadlock(Exception):
    """Threads sleep for ever. `sleepers` has one entry for each."""

    def __init__(self, what: str, sleepers: Iterable[Sleeper]) -> None:
        self.sleepers = tuple(sleepers)
        super().__init__("\n".join([what, *map(str, self.sleepers)]))


class Detector:
    """A context manager: raises Deadlock as soon as all threads sleep for ever, and at its end if some do.

    It reports only threads that were started since it was entered, and wakes all that it reports.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._error: Deadlock | None = None
        self._watching = threading.Thread(target=self._watch, name=WATCHER, daemon=True)
        self._before: set[int] = set()
        self._entered_by = 0

    def __enter__(self) -> Detector:
        self._entered_by = threading.get_ident()
        self._before = set(sys._current_frames()) - {self._entered_by}
        self._watching.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended.set()
        self._watching.join()
        if isinstance(error, Deadlock):
            return
        if self._error is None and (leaked := self._own(_leaked())):
            self._error = _report(LEAKED, leaked)
        if self._error is not None:
            raise self._error

    def _watch(self) -> None:
        for look in itertools.count(1):
            if self._ended.wait(LOOK_EVERY):
                return
            sleeping, what = self._own(_all_asleep()), "all threads are asleep: deadlock"
            if not sleeping and look % LOOK_DEEPLY == 0 and self._is_asleep():
                # Other threads run, but perhaps none that can wake the test's own.
                sleeping, what = self._own(_leaked()), LEAKED
                sleeping = sleeping if any(wait.ident == self._entered_by for wait in sleeping) else []
            if sleeping:
                self._error = _report(what, sleeping)
                return

    def _own(self, waits: list[Wait]) -> list[Wait]:
        """The waits of the threads that were started since the detector was entered, and of the one that entered it."""
        return [wait for wait in waits if wait.ident not in self._before]

    def _is_asleep(self) -> bool:
        frame = sys._current_frames().get(self._entered_by)
        return frame is not None and wait_of(self._entered_by, frame) is not None


def deadlock() -> list[Sleeper]:
    """All threads but the calling one, if all of them sleep for ever unless the calling thread wakes one; else none."""
    return [wait.sleeper() for wait in _all_asleep()]


def leaks() -> list[Sleeper]:
    """The threads parked on channels that no running thread can reach, nor a thread that a running one can wake."""
    return [wait.sleeper() for wait in _leaked()]


def _waits() -> tuple[list[Wait], list[types.FrameType]]:
    """The waits of all threads that sleep, and the innermost frames of those that do not. Detectors are left out."""
    waits, running = [], []
    frames = _frames()
    for ident in _threads() & frames.keys():
        wait = wait_of(ident, frames[ident])
        if wait is not None:
            waits.append(wait)
        else:
            running.append(frames[ident])
    return waits, running


def _frames() -> dict[int, types.FrameType]:
    """The innermost frames of all threads by their numbers; of the calling thread, the innermost outside this module.

    A frame of this module that could be reached from its own variables would be a reference cycle: all that a look has
    gone through would stay until the garbage collector runs.
    """
    frames = sys._current_frames()
    del frames[threading.get_ident()]
    caller: types.FrameType | None = sys._getframe(1)
    while caller is not None and caller.f_code.co_filename == __file__:
        caller = caller.f_back
    if caller is not None:
        frames[threading.get_ident()] = caller
    return frames


def _all_asleep() -> list[Wait]:
    """The waits of all threads but the calling one, if each of them sleeps and one at least is parked on a channel.

    While the threads are looked at, they may go on. A thread whose wait lasts until the end of this was asleep at the
    end of the first look; if that is true of all, they were all asleep at one instant, and nothing has woken them.
    """
    me = threading.get_ident()
    threads = _threads()
    waits = [wait for wait in _waits()[0] if wait.ident != me]
    asleep = {wait.ident for wait in waits}
    if asleep != threads - {me} or not any(wait.parked is not None for wait in waits):
        return []
    # A thread that starts another sleeps until that one runs, which is to be seen by its name, then by its frame.
    starting = any(each.ident is None for each in threading.enumerate())
    if starting or _threads() != threads:
        return []
    ends = [on for wait in waits for on in wait.on if isinstance(on, threading.Thread)]
    return waits if all(wait.lasts() for wait in waits) and all(end.ident in threads for end in ends) else []


def _threads() -> set[int]:
    """The numbers of all threads that have begun to run, without detectors."""
    watching = {each.ident for each in threading.enumerate() if each.name == WATCHER}
    return set(sys._current_frames()) - watching


def _leaked() -> list[Wait]:
    """The waits of the threads that nothing can wake, by two looks: what the first finds must last."""
    first = {wait.ident: wait for wait in _unreachable()}
    second = _unreachable() if first else []
    return [wait for wait in second if wait.ident in first and first[wait.ident].parked is wait.parked and wait.lasts()]


def _unreachable() -> list[Wait]:
    """The waits on channels that cannot be reached from a running thread, nor from one that can be woken."""
    waits, running = _waits()
    asleep = {wait.ident: wait for wait in waits}
    if not any(wait.parked is not None for wait in waits):
        return []
    wakes: dict[int, list[Wait]] = {}  # by the id of what it waits for
    for wait in waits:
        for on in wait.on:
            wakes.setdefault(id(on), []).append(wait)
    kept: list[Any] = []  # frames' variables, so that no id is used twice
    todo: list[Any] = [module for name, module in list(sys.modules.items()) if name != "threading"]
    todo += [each for each in gc.get_objects() if isinstance(each, types.GeneratorType) and not each.gi_running]
    for frame in running:
        todo += _variables(frame)
    seen: set[int] = set()
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, ATOMS):
            continue
        seen.add(id(thing))
        kept.append(thing)
        for wait in wakes.get(id(thing), []):
            if wait.ident in asleep and not isinstance(thing, threading.Thread):
                todo += _wake(wait, asleep)
        todo += _referents(thing)
        if not todo:  # a thread that can be woken may end, which wakes those that wait for its end
            for wait in waits:
                on = wait.on[0] if wait.on else None
                if wait.ident in asleep and isinstance(on, threading.Thread) and on.ident not in asleep:
                    todo += _wake(wait, asleep)
    return [wait for wait in asleep.values() if wait.parked is not None]


def _wake(wait: Wait, asleep: dict[int, Wait]) -> list[Any]:
    """Count the thread as one that can be woken. Returns what it can reach then."""
    del asleep[wait.ident]
    return _variables(wait.frame)


def _variables(frame: types.FrameType | None) -> list[Any]:
    """The local variables of a frame and its callers, and the modules' variables; not those of this module."""
    found: list[Any] = []
    while frame is not None:
        if frame.f_code.co_filename != __file__:
            found += [*frame.f_locals.values(), frame.f_globals]
        frame = frame.f_back
    return found


def _referents(thing: object) -> list[Any]:
    """What the object refers to. A thread's object does not lead to what the thread was started with."""
    if isinstance(thing, threading.Thread):
        return [value for name, value in list(vars(thing).items()) if name not in ("_target", "_args", "_kwargs")]
    if isinstance(thing, types.FrameType):
        return _variables(thing)
    if thing is vars(threading):
        return []  # it knows all threads
    return gc.get_referents(thing)


class _Trap(Send[Any]):
    """A case that raises when the parked thread asks for its channel."""

    __slots__ = ()

    @property
    def channel(self) -> Any:
        raise self.item

    @channel.setter
    def channel(self, value: object) -> None:
        pass


def _report(what: str, waits: list[Wait]) -> Deadlock:
    """The error about these threads. Each of them that is parked on channels wakes and raises one like it."""
    error = Deadlock(what, [wait.sleeper() for wait in waits])
    for wait in waits:
        if wait.parked is not None and wait.parked.claim():
            for channel in wait.on:
                channel._leave(wait.parked)
            wait.parked.refuse(_Trap(None, Deadlock(what, error.sleepers)))
    return error
