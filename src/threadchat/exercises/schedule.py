"""Runs the threads of a learner's program one at a time, in a chosen order, on a clock of its own.

Each thread is a real one, and has a gate: a lock that it must get before it goes on. Only one gate is open at a time. A
thread that would sleep (in a channel, for a lock, in `time.sleep`) tells the schedule, which opens another thread's
gate. Before each line of the learner's file, and before each operation on a channel or a lock, the schedule may switch
as well. So every order of the threads' steps can be brought about, and the same plan brings about the same order again:
a race that shows once in a thousand runs is forced.

No thread waits for time to pass. When all threads sleep and some of them have a deadline, the clock jumps to the
earliest. When all sleep for ever, that is known at once, and exactly: it is a deadlock.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

LINES = 20_000  # that a program may execute without an end
NAPS = 1_000  # times that the clock may jump
STUBBORN = 100  # errors that a thread may catch instead of ending
PATIENCE = 0.05  # seconds to wait for the end of such a thread
HISTORY = 400  # steps that are kept to tell how it came to a failure


class Failed(Exception):
    """Raised by a check: the learner's code does something wrong. `name` is the mistake's, if it is a known one."""

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text)
        self.name = name


class _Over(BaseException):
    """Raised in the threads of a program that is over, so that they end."""


class Plan:
    """An order of the threads' steps: straight on. A thread runs until it sleeps; then the one ready for longest."""

    def preempt(self, step: int) -> bool:
        """Whether to switch before this step, the how manieth of the run, to another thread that is ready."""
        return False

    def choose(self, ready: Sequence[Task]) -> Task:
        """The next thread. `ready` has one or more, the one that has been ready for longest first."""
        return ready[0]


class SwitchOnce(Plan):
    """Straight on, but before one step another thread is let go first: the `which`-th of those that are ready."""

    def __init__(self, step: int, which: int) -> None:
        self._step = step
        self._which = which

    def preempt(self, step: int) -> bool:
        return step == self._step

    def choose(self, ready: Sequence[Task]) -> Task:
        which, self._which = self._which, 0
        return ready[which % len(ready)]


class Chance(Plan):
    """Any order. The seed decides it."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._often = self._random.choice((0.05, 0.2, 0.5))

    def preempt(self, step: int) -> bool:
        return self._random.random() < self._often

    def choose(self, ready: Sequence[Task]) -> Task:
        return self._random.choice(ready)


@dataclass(eq=False)
class Task:
    """A thread of the program. `waits_for` is the channel's parked thread, lock, thread, ... for which it sleeps."""

    name: str
    thread: threading.Thread | None = None
    gate: Any = field(default_factory=threading.Lock)
    ready_since: int = 0
    asleep: bool = False
    ended: bool = False
    until: float | None = None  # when it wakes by itself, on the schedule's clock
    woken: bool = False  # rather than by the clock
    waits_for: Any = None
    on: list[Any] = field(default_factory=list)  # the channels of a parked thread
    error: BaseException | None = None

    def frame(self) -> FrameType | None:
        """The thread's innermost frame."""
        return sys._current_frames().get(self.thread.ident or 0) if self.thread else None


_local = threading.local()


def schedule() -> Schedule:
    """The schedule to which the calling thread belongs."""
    found: Schedule = _local.schedule
    return found


class Schedule:
    """One run of a program. `file` is the learner's. Its methods are for the threads of the program."""

    def __init__(self, file: str, plan: Plan) -> None:
        self.file = file
        self.now = 0.0  # seconds
        self.steps = 0
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self.history: list[tuple[Task, int]] = []  # the lines that were executed, of the learner's file
        self.uses: dict[int, tuple[Any, dict[str, list[str]]]] = {}  # of each channel: the threads, by operation
        self.names: dict[int, str] = {}  # of channels, in the check's own words
        self.touches: dict[str, list[int]] = {}  # of the hub's set, by thread: the lines of its first use, inner first
        self.cut: list[tuple[Task, int]] | None = None  # the history up to the step that is wrong, if that is known
        self.naps = 0  # times that the clock has jumped
        self.ending = ""  # "ended", "deadlock", "busy" or "polling"
        self.choices = 1  # the most threads that were ready at a step
        self._plan = plan
        self._counter = 0
        self._ended = False
        self._errors = 0
        self._over = threading.Lock()
        self._over.acquire()

    def run(self, main: Callable[[], object], seconds: float) -> bool:
        """Run the program from `main` until nothing moves any more. Returns False if it takes longer than this.

        For a thread outside the program. The program's threads stay as they are, until `end`.
        """
        task = self.add(threading.Thread(daemon=True, name="main", target=lambda: self.life(task, main)))
        assert task.thread
        task.thread.start()
        self._open(task)
        return self._over.acquire(timeout=max(0.0, seconds))

    def end(self) -> None:
        """End the program's threads that sleep: each raises an error where it does. For the same thread as `run`."""
        self._ended = True
        for task in self.tasks:
            if task.thread is not None and not task.ended:
                with suppress(RuntimeError):  # its gate is open already
                    task.gate.release()
                threading.Thread.join(task.thread, PATIENCE)

    def add(self, thread: threading.Thread) -> Task:
        """Make a task of a thread that is about to be started."""
        task = Task(thread.name, thread)
        task.gate.acquire()
        self._counter += 1
        task.ready_since = self._counter
        self.tasks.append(task)
        return task

    def life(self, task: Task, body: Callable[[], object]) -> None:
        """What the task's thread does from its beginning to its end."""
        task.gate.acquire()
        if self._ended:
            return
        _local.schedule = self
        sys.settrace(self._trace)
        try:
            body()
        except BaseException as error:
            if self._ended:
                return
            task.error = error
            if isinstance(error, Failed):
                self._finish("ended")
        finally:
            sys.settrace(None)
        task.ended = True
        for other in self.tasks:
            if other.waits_for is task:
                self.wake(other)
        self._go_on()

    def point(self) -> None:
        """A place where the schedule may switch to another thread."""
        me = self.current
        assert me
        if self._ended:
            self._leave()
        self.steps += 1
        if self.steps > LINES:
            self._finish("busy")
        others = self._ready(without=me)
        self.choices = max(self.choices, len(others))
        if others and self._plan.preempt(self.steps):
            self._counter += 1
            me.ready_since = self._counter
            self._open(self._plan.choose(others))
            self._wait(me)

    def sleep(self, waits_for: Any, seconds: float | None = None, on: Sequence[Any] = ()) -> bool:
        """Let the current thread sleep until it is woken. Returns False if the seconds have passed before."""
        me = self.current
        assert me
        if self._ended:
            self._leave()
        me.asleep, me.woken, me.waits_for, me.on = True, False, waits_for, list(on)
        me.until = None if seconds is None else self.now + max(0.0, seconds)
        self._go_on()
        self._wait(me)
        return me.woken

    def wake(self, task: Task) -> None:
        """Make a sleeping task ready."""
        if task.asleep:
            task.woken = True
            self._rise(task)

    def wake_all(self, waits_for: Any) -> None:
        """Make all tasks ready that sleep for this."""
        for task in self.tasks:
            if task.asleep and task.waits_for is waits_for:
                self.wake(task)

    def use(self, channel: Any, operation: str) -> None:
        """Note that the current thread does this to the channel."""
        assert self.current
        _, by_operation = self.uses.setdefault(id(channel), (channel, {}))
        names = by_operation.setdefault(operation, [])
        if self.current.name not in names:
            names.append(self.current.name)

    def mark(self) -> None:
        """Note that what has just happened is wrong: the story of the run ends here."""
        if self.cut is None:
            self.cut = list(self.history)

    def users(self, channel: Any, operation: str) -> list[str]:
        """The names of the threads that have done this to the channel."""
        _, by_operation = self.uses.get(id(channel), (channel, {}))
        return by_operation.get(operation, [])

    def _rise(self, task: Task) -> None:
        self._counter += 1
        task.ready_since = self._counter
        task.asleep, task.until, task.waits_for = False, None, None

    def _ready(self, without: Task | None = None) -> list[Task]:
        ready = [task for task in self.tasks if not task.asleep and not task.ended and task is not without]
        return sorted(ready, key=lambda task: task.ready_since)

    def _go_on(self) -> None:
        """Let another thread run. The current one sleeps or has ended."""
        ready = self._ready()
        if not ready:
            timed = [task for task in self.tasks if task.asleep and task.until is not None]
            if not timed:
                self._finish("ended" if self.tasks[0].ended else "deadlock")
                return  # the thread that has ended as the last one
            self.naps += 1
            if self.naps > NAPS:
                self._finish("polling")
            first = min(timed, key=lambda task: (task.until, task.ready_since))
            assert first.until is not None
            self.now = max(self.now, first.until)
            self._rise(first)
            ready = [first]
        self._open(self._plan.choose(ready))

    def _leave(self) -> NoReturn:
        """End the calling thread: the program is over."""
        self._errors += 1
        if self._errors > STUBBORN:
            for_ever = threading.Lock()
            for_ever.acquire()
            for_ever.acquire()
        raise _Over

    def _wait(self, task: Task) -> None:
        """Sleep until the task's gate is open."""
        task.gate.acquire()
        if self._ended:
            self._leave()

    def _open(self, task: Task) -> None:
        self.current = task
        task.gate.release()

    def _finish(self, ending: str) -> None:
        """End the run. The calling thread goes no further, unless it has ended."""
        if not self.ending:
            self.ending = ending
            self._over.release()
        sys.settrace(None)
        if self.current and not self.current.ended:
            self._wait(self.current)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._trace_line if frame.f_code.co_filename == self.file else None

    def _trace_line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self.point()  # raises an error if the program is over, and Python then traces no more
            assert self.current
            self.history.append((self.current, frame.f_lineno))
            if len(self.history) > 2 * HISTORY:
                del self.history[:HISTORY]
        return self._trace_line
