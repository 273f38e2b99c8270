"""What a thread waits for: on which line, on which channel, and how the statement reads in Go.

It is read from the thread's frames, from outside. Channels do not know of it and pay nothing.
"""

from __future__ import annotations

import ast
import itertools
import linecache
import queue
import re
import threading
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from threadchat import channel as channel_module
from threadchat.channel import Channel

INSIDE = (channel_module.__file__, threading.__file__, queue.__file__)
SLEEPS = (channel_module._Parked.sleep.__code__, threading.Thread.join.__code__, threading.Condition.wait.__code__)


@dataclass(frozen=True)
class Sleeper:
    """A thread that sleeps: its name, the file and line, the code there, what it waits for, and the Go statement."""

    thread: str
    file: str
    line: int
    code: str
    waits: str
    go: str

    def __str__(self) -> str:
        go = f" (in Go: {self.go})" if self.go else ""
        return f"{self.thread}: {self.file}, line {self.line}: {self.code}\n    {self.waits}{go}"


class Wait:
    """What a thread waits for: one of these channels, the end of a thread, or a condition.

    `frame` is the innermost frame of the code that called into a channel or into `threading`. `waiter` is the thread's
    lock in a condition's line.
    """

    def __init__(
        self,
        ident: int,
        frame: types.FrameType,
        parked: channel_module._Parked | None,
        on: list[Any],
        waiter: object = None,
    ) -> None:
        self.ident = ident
        self.frame = frame
        self.parked = parked
        self.on = on
        self.waiter = waiter

    def lasts(self) -> bool:
        """Whether the thread has slept ever since this was made."""
        if self.parked is not None:
            return not self.parked.claimed()
        (on,) = self.on
        return on.is_alive() if isinstance(on, threading.Thread) else _waits_in(on, self.waiter)

    def sleeper(self) -> Sleeper:
        """The report."""
        name = next((each.name for each in threading.enumerate() if each.ident == self.ident), f"thread {self.ident}")
        file, line = self.frame.f_code.co_filename, self.frame.f_lineno
        waits, go = self.described()
        return Sleeper(name, file, line, linecache.getline(file, line).strip(), waits, go)

    def described(self) -> tuple[str, str]:
        """What the thread waits for as a sentence without a subject, and the Go statement."""
        if self.parked is None:
            (on,) = self.on
            if isinstance(on, threading.Thread):
                return f"waits for the end of the thread {on.name}", ""
            return f"waits for a {type(on).__name__}", ""
        code, line = statement(self.frame), linecache.getline(self.frame.f_code.co_filename, self.frame.f_lineno)
        cases = list(cases_of(self.parked, self.on))
        if len(cases) == 1 and "select(" not in code:
            channel, item = cases[0]
            name = name_of(channel, self.frame)
            if item is not None:
                return f"sends to `{name}`", f"{name} <- {_sent(code)}"
            return f"receives from `{name}`", f"for x := range {name}" if line.lstrip().startswith(
                "for "
            ) else f"<-{name}"
        names = [(name_of(channel, self.frame), item) for channel, item in cases]
        said = [f"receive from `{name}`" if item is None else f"send to `{name}`" for name, item in names]
        go = [f"case <-{name}:" if item is None else f"case {name} <- x:" for name, item in names]
        return (
            "selects: " + ", or ".join(said) if said else "selects over no channel",
            f"select {{ {' '.join(go)} }}" if go else "select {}",
        )


def cases_of(parked: channel_module._Parked, channels: Iterable[Channel[Any]]) -> Iterator[tuple[Channel[Any], Any]]:
    """The places where the thread stands in line: the channel, and the Send or None for a receive."""
    for channel in dict.fromkeys(channels):
        yield from ((channel, None) for each in list(channel._receivers) if each is parked)
        yield from ((channel, case) for each, case in list(channel._senders) if each is parked)


def name_of(thing: object, frame: types.FrameType | None) -> str:
    """What the code calls the object: a variable of the frame or of its callers, or an attribute of one of them.

    A name that stands in the statement that is executed comes before all others.
    """
    while frame is not None:
        names = list(_names_in(thing, frame))
        if names:
            words = set(re.findall(r"\w+", statement(frame)))
            return next((name for name in names if words.issuperset(name.split("."))), names[0])
        frame = frame.f_back
    return repr(thing)


def _names_in(thing: object, frame: types.FrameType) -> Iterator[str]:
    variables = list(frame.f_locals.items())
    for name, value in variables:
        yield from ([name] if value is thing else [])
    for name, value in variables:
        for attribute in _attributes(value):
            if getattr(value, attribute, None) is thing:
                yield attribute if name == "self" else f"{name}.{attribute}"
    yield from (name for name, value in list(frame.f_globals.items()) if value is thing)


def statement(frame: types.FrameType) -> str:
    """The source of the expression that the frame executes, such as a call."""
    code, instruction = frame.f_code, frame.f_lasti // 2
    first, last, begin, end = next(itertools.islice(code.co_positions(), instruction, None), (None,) * 4)
    if first is None or last is None or begin is None or end is None:
        return linecache.getline(code.co_filename, frame.f_lineno)
    lines = [linecache.getline(code.co_filename, line).encode() for line in range(first, last + 1)]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][begin:]
    return b"".join(lines).decode(errors="replace")


def _attributes(value: object) -> list[str]:
    if isinstance(value, types.ModuleType | type | types.FunctionType):
        return []
    slots = [getattr(each, "__slots__", ()) for each in type(value).__mro__]
    return [*getattr(value, "__dict__", {}), *(name for names in slots for name in names if isinstance(names, tuple))]


def _sent(code: str) -> str:
    """What the line of code sends, as the code has it."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return "x"
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "send"
            and node.args
        ):
            return ast.unparse(node.args[0])
    return "x"


def wait_of(ident: int, innermost: types.FrameType) -> Wait | None:
    """What the thread waits for; None if it runs, or wakes by itself."""
    frame: types.FrameType | None = innermost
    outermost = innermost  # of the frames inside these modules
    found: tuple[channel_module._Parked | None, list[Any], object] | None = None
    while frame is not None and frame.f_code.co_filename in INSIDE:
        here = frame.f_locals
        if found is None and frame.f_code in SLEEPS:
            if here.get("timeout") is not None:
                return None
            if frame.f_code is channel_module._Parked.sleep.__code__:
                found = (here["self"], list(here["channels"]), None)
            else:
                found = (None, [here["self"]], here.get("waiter"))
            if frame.f_code is threading.Condition.wait.__code__ and not _waits_in(here["self"], here.get("waiter")):
                return None  # it has been notified
        outermost, frame = frame, frame.f_back
    return Wait(ident, frame or outermost, *found) if found is not None else None


def _waits_in(condition: Any, waiter: object) -> bool:
    """Whether the lock is in the condition's line: its thread has not been notified."""
    return any(each is waiter for each in list(condition._waiters))
