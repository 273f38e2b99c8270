"""A run of the learner's program that has come to its end: what its threads did, and in which lines."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import Any

from threadchat.channel import Send
from threadchat.exercises import connection, standins
from threadchat.exercises.schedule import Failed, Schedule, Task
from threadchat.waits import Wait, cases_of, name_of

STORY = 8  # turns of threads that are told
WORDS = {"send": ("sends to", "send to", "sent to"), "receive": ("receives from", "receive from", "received from")}


@dataclass(frozen=True)
class Sleeper:
    """A thread that sleeps for ever. `line` is in the learner's file, or 0 if it sleeps in the check's own code.

    `called` says from where the function was called in which it sleeps, if that is in the learner's file too.
    """

    task: Task
    line: int
    code: str
    called: str
    waits: str
    go: str
    cases: tuple[tuple[Any, str, str], ...]  # channel, "send" or "receive", and what the code calls the channel

    @property
    def name(self) -> str:
        return self.task.name

    def does(self, operation: str, channel: Any = None) -> bool:
        """Whether it waits to send or to receive: on this channel, or on any."""
        return any(op == operation and (channel is None or ch is channel) for ch, op, _ in self.cases)

    def __str__(self) -> str:
        where = f"at line {self.line}, `{self.code}`{self.called}" if self.line else f"(the check) at `{self.code}`"
        return f"{self.name} {where}: {self.waits}." + (f" In Go: {self.go}" if self.go else "")


class Code:
    """The learner's file: its source, and, during a run, what it defines."""

    def __init__(self, file: str, source: str) -> None:
        self.file = file
        self.source = source
        self.tree = ast.parse(source)
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        self._compiled = compile(source, file, "exec")
        self._names: dict[str, Any] = {}
        self.printed = ""

    def begin(self) -> None:
        """Execute the file, for one run."""
        self.printed = ""
        self._names = standins.namespace(self.file, self._write)
        exec(self._compiled, self._names)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._names[name]
        except KeyError:
            raise Failed(f"Your file has no `{name}` any more: the exercise needs it.") from None

    def calls(self, *names: str) -> list[ast.Call]:
        """The calls of functions or methods of these names, in the order of their lines."""
        found = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        return [node for node in found if ast.unparse(node.func).rpartition(".")[2] in names]

    def _write(self, *values: object, sep: str | None = " ", end: str | None = "\n", **others: Any) -> None:
        if len(self.printed) < 2_000:
            self.printed += (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)


class Outcome:
    """A run that has come to its end. `rest` names the threads that may sleep for ever ("*": all).

    `busy` says of a run that did not end in time that it was busy, and not waiting or short of the processor.
    """

    def __init__(
        self, schedule: Schedule, code: Code, in_time: bool, rest: tuple[str, ...] = (), busy: bool = True
    ) -> None:
        self.schedule = schedule
        self.code = code
        self.in_time = in_time
        self.busy = busy
        ended = schedule.ending in ("deadlock", "ended")
        self._asleep = [task for task in schedule.tasks if ended and task.asleep and task.until is None]
        self._rest = rest

    @cached_property
    def asleep(self) -> list[Sleeper]:
        """The threads that sleep for ever."""
        return [_sleeper(task, self.schedule, self.code) for task in self._asleep]

    @property
    def deadlock(self) -> bool:
        """Whether all threads sleep for ever, the check's own included."""
        return self.schedule.ending == "deadlock"

    def error(
        self, kind: type[BaseException] | tuple[type[BaseException], ...]
    ) -> tuple[Task, BaseException, int] | None:
        """The first error of the kind, with the thread that it ended, and the line of the learner's file."""
        for task in self.schedule.tasks:
            if isinstance(task.error, kind):
                return task, task.error, self.line_of(task.error)
        return None

    def line_of(self, error: BaseException) -> int:
        """The line of the learner's file where the error was raised; 0 if that was elsewhere."""
        lines = [line for frame, line in _walk(error) if frame.f_code.co_filename == self.code.file]
        return lines[-1] if lines else 0

    def raised(self) -> list[str]:
        """Where the learner's code has raised errors."""
        failed = [(task.name, task.error) for task in self.schedule.tasks if task.error and self.line_of(task.error)]
        return [
            f"{name} at {at(self, self.line_of(error))}: raised {type(error).__name__}."
            for name, error in failed
            if not isinstance(error, Failed)
        ]

    def facts(self) -> list[str]:
        """What the threads do: where the learner's have raised errors, and where they sleep for ever."""
        said = ["All threads are asleep: deadlock."] if self.deadlock else []
        return [*self.raised(), *said, *map(str, self.noted()), *relations(self, self.noted())]

    def noted(self) -> list[Sleeper]:
        """The threads that sleep for ever, without those that may, unless all do."""
        if self.deadlock:
            return self.asleep
        if "*" in self._rest or all(task.name in self._rest for task in self._asleep):
            return []
        return [each for each in self.asleep if each.name not in self._rest]

    def sleeper(self, name: str) -> Sleeper | None:
        """The thread of that name, if it sleeps for ever."""
        return next((each for each in self.asleep if each.name == name), None)

    def text(self, line: int) -> str:
        """A line of the learner's file."""
        return linecache.getline(self.code.file, line).strip()

    def source_of(self, line: int) -> str:
        """The name of the learner's function that has the line."""
        functions = [node for node in ast.walk(self.code.tree) if isinstance(node, ast.FunctionDef)]
        inner = [node for node in functions if node.lineno <= line <= (node.end_lineno or 0)]
        return max(inner, key=lambda node: node.lineno).name if inner else ""


def story(schedule: Schedule) -> tuple[str, ...]:
    """The last turns of the threads: the lines that they executed, and the code of the last one.

    They are the last ones before the step that is wrong, if the check knows which that is.
    """
    file = schedule.file
    turns: list[tuple[Task, list[int]]] = []
    for task, line in schedule.history if schedule.cut is None else schedule.cut:
        if not turns or turns[-1][0] is not task:
            turns.append((task, []))
        turns[-1][1].append(line)
    told = [f"{task.name}: {_lines(lines)}  {_shortened(file, lines[-1])}" for task, lines in turns[-STORY:]]
    return tuple(["...", *told] if len(turns) > STORY else told)


def _shortened(file: str, line: int) -> str:
    text = linecache.getline(file, line).strip()
    return text if len(text) <= 40 else f"{text[:36]} ..."


def relations(outcome: Outcome, sleepers: Sequence[Sleeper]) -> Iterator[str]:
    """For each channel on which a thread waits, and no other: what the threads do that could wake it."""
    waits = {(id(each.cases[0][0]), each.cases[0][1]): each for each in sleepers if len(each.cases) == 1}
    for sleeper in waits.values():
        channel, operation, name = sleeper.cases[0]
        other = "receive" if operation == "send" else "send"
        users = outcome.schedule.users(channel, other)
        does, do, done = WORDS[other]
        if not users:
            yield f"No thread has ever tried to {do} `{name}`."
        elif users == [sleeper.name]:
            yield f"The only thread that ever {does} `{name}` is {sleeper.name} itself."
        else:
            for user in users:
                found = outcome.sleeper(user)
                if found is None:
                    yield f"{user} has {done} `{name}`, but it has ended."
                elif user != sleeper.name:
                    where = f"at line {found.line}" if found.line else "as well"
                    yield f"{user} {does} `{name}`, but it is asleep {where}."


def at(outcome: Outcome, line: int) -> str:
    """A line of the learner's file, quoted."""
    return f"line {line}, `{outcome.text(line)}`"


def _sleeper(task: Task, schedule: Schedule, code: Code) -> Sleeper:
    frame = own_frame(task.frame(), code.file)
    assert frame is not None
    line = frame.f_lineno if frame.f_code.co_filename == code.file else 0
    text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    caller, called = frame.f_back, ""
    if line and caller is not None and caller.f_code.co_filename == code.file:
        called = f", called from line {caller.f_lineno}, `{linecache.getline(code.file, caller.f_lineno).strip()}`"
    if _inside(task.frame(), connection.__file__):
        waits = "waits for a line from the other side" if line else "waits until the line is read"
        return Sleeper(task, line, text, called, waits, "", ())
    if isinstance(task.waits_for, standins.Parked):
        waits, go = Wait(0, frame, task.waits_for, task.on).described()
        cases = tuple(
            (channel, "send" if isinstance(case, Send) else "receive", name_of(channel, frame))
            for channel, case in cases_of(task.waits_for, task.on)
        )
        own = schedule.names.get(id(cases[0][0])) if len(cases) == 1 and not line else None
        if own:  # the check says it
            channel, operation, name = cases[0]
            if operation == "receive":
                text, waits, go = f"{own}.receive()", f"receives from `{own}`", f"<-{own}"
            else:
                waits, go = f"sends to `{own}`", go.replace(name, own, 1)
            cases = ((channel, operation, own),)
        return Sleeper(task, line, text, called, waits, go, cases)
    return Sleeper(task, line, text, called, _waits(task.waits_for, frame), "", ())


def _waits(thing: Any, frame: FrameType) -> str:
    """The words for what a thread waits for that is no channel."""
    if isinstance(thing, Task):
        return f"waits for the end of {thing.name}"
    name = name_of(thing, frame)
    name = f" `{name}`" if not name.startswith("<") else ""
    if isinstance(thing, standins.Lock):
        holder = thing.holder.name if thing.holder else "nobody"
        return f"waits for the lock{name}, which {holder} holds"
    return f"waits for the {type(thing).__name__}{name}"


def own_frame(frame: FrameType | None, file: str) -> FrameType | None:
    """The innermost frame of the learner's file, or else of a check."""
    inner = frame
    while frame is not None and frame.f_code.co_filename != file:
        frame = frame.f_back
    if frame is not None:
        return frame
    while inner is not None and not _of_a_check(inner):
        inner = inner.f_back
    outer = inner
    while outer is not None and (not _of_a_check(outer) or outer.f_globals["__name__"].endswith(".helpers")):
        outer = outer.f_back
    return outer or inner


def _inside(frame: FrameType | None, file: str) -> bool:
    """Whether the frame, or one of its callers, is of this file."""
    while frame is not None and frame.f_code.co_filename != file:
        frame = frame.f_back
    return frame is not None


def _of_a_check(frame: FrameType) -> bool:
    return frame.f_globals.get("__package__") == "threadchat.exercises.checks"


def _walk(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _lines(lines: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        elif not runs or line != runs[-1][-1]:
            runs.append([line])
    said = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs[-4:]]
    text = ", ".join(said)
    return f"line {text}" if len(runs) == 1 and len(runs[0]) == 1 else f"lines {text}"


def check_line(error: BaseException) -> str:
    """The line of the check where the error was raised."""
    places = [
        linecache.getline(frame.f_code.co_filename, line).strip() for frame, line in _walk(error) if _of_a_check(frame)
    ]
    return places[-1] if places else ""
