"""What a lesson consists of: a question, a change that breaks a function of the chat, and what it does to a run."""

from __future__ import annotations
import __future__

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Value = str | int | float

CHART_POINTS = 100
AROUND = 2  # lines that are shown before a changed line, and after it
PACKAGE = Path(__file__).parents[1]


class LessonFailed(OSError):
    """A lesson could not be run or shown; str() says why."""


@dataclass(frozen=True)
class Chart:
    """A value over time: points of (seconds since the run began, value)."""

    label: str
    unit: str
    points: list[tuple[float, float]]

    @classmethod
    def of(cls, label: str, unit: str, points: list[tuple[float, float]]) -> Chart:
        """A chart of about CHART_POINTS of these points, including the last one."""
        return cls(label, unit, points[: -1 : 1 + len(points) // CHART_POINTS] + points[-1:])


@dataclass(frozen=True)
class Result:
    """What one run showed: a value for each label, in the order in which to show them. The labels name the units."""

    seen: dict[str, Value]
    chart: Chart | None = None


@dataclass(frozen=True)
class Source:
    """The source of a function, dedented, as it is shown.

    first_line: the number of its first line in the file.
    changed: the numbers of the lines that differ between the broken function and the real one.
    folded: the numbers of those that are like their counterparts, and not near a difference.
    """

    file: str
    first_line: int
    lines: list[str]
    changed: list[int]
    folded: list[int]


@dataclass(frozen=True)
class Change:
    """A change to one function of the chat, which breaks it on purpose.

    In the method `name` of the class `owner`, the lines `old` become the lines `new`. Both are given without the
    indentation of their place. `uses` are names that `new` needs and the function's module does not have. Without the
    program's source the properties and `make` raise LessonFailed.
    """

    owner: type
    name: str
    old: str
    new: str
    uses: Mapping[str, object] = field(default_factory=dict)

    @property
    def real(self) -> Source:
        """The function as it is."""
        first, lines, at = self._read()
        return _shown(self._file, first, lines, at, len(self.old.splitlines()))

    @property
    def broken(self) -> Source:
        """The function with the change."""
        first, lines, at = self._read()
        indent = lines[at][: -len(lines[at].lstrip())]
        new = textwrap.indent(self.new, indent).splitlines()
        lines[at : at + len(self.old.splitlines())] = new
        return _shown(self._file, first, lines, at, len(new))

    def make(self) -> None:
        """Break the chat: for the rest of this process, the class has the changed function."""
        source = self.broken
        text = "\n" * (source.first_line - 1) + "\n".join(source.lines)  # the lines keep their numbers
        code = compile(text, str(PACKAGE / source.file), "exec", __future__.annotations.compiler_flag)
        names = {**self._function.__globals__, **self.uses}
        exec(code, names)
        broken = names[self.name]
        broken.__code__ = broken.__code__.replace(co_qualname=self._function.__qualname__)
        setattr(self.owner, self.name, broken)

    @property
    def _function(self) -> Callable[..., object]:
        function: Callable[..., object] = getattr(self.owner, self.name)
        return function

    @property
    def _file(self) -> str:
        return Path(inspect.getsourcefile(self._function) or "").relative_to(PACKAGE).as_posix()

    def _read(self) -> tuple[int, list[str], int]:
        """The number of the function's first line, its lines, and the index of the first line to change."""
        try:
            found, first = inspect.getsourcelines(self._function)
        except OSError as error:
            raise LessonFailed("the lessons need the source of the chat, and its .py files are not here") from error
        lines = textwrap.dedent("".join(found)).splitlines()
        old = [line.strip() for line in self.old.splitlines()]
        for at in range(len(lines)):
            if [line.strip() for line in lines[at : at + len(old)]] == old:
                return first, lines, at
        raise LookupError(f"{self._function.__qualname__} has no line {self.old!r}")


@dataclass(frozen=True)
class Choice:
    """A possible answer. `why_not` says what is wrong with it; it is empty for the right one."""

    text: str
    why_not: str = ""


@dataclass(frozen=True)
class Part:
    """One of the two parts that a lesson compares: the chat with the change, or the real one.

    run: tries the part. It may leave threads and sockets behind, so it needs a process of its own (see `run.run`).
    """

    title: str
    run: Callable[[], Result]


@dataclass(frozen=True)
class Lesson:
    """A lesson.

    chapter: the id of the guide's chapter about it.
    exercise: the name of the exercise in which the reader writes that part; empty if there is none.
    verdict: sums up the figures measured on the reader's machine, from the results of the broken and the real part.
    """

    name: str
    title: str
    chapter: str
    question: str
    choices: tuple[Choice, ...]
    change: Change
    broken: Part
    real: Part
    why: str
    verdict: Callable[[Result, Result], str] = lambda broken, real: ""
    exercise: str = ""

    @property
    def answer(self) -> int:
        """The index of the right choice."""
        (right,) = (index for index, choice in enumerate(self.choices) if not choice.why_not)
        return right


def _shown(file: str, first: int, lines: list[str], at: int, changed: int) -> Source:
    """The source in which `changed` lines from the index `at` on differ."""
    function = ast.parse("\n".join(lines)).body[0]
    assert isinstance(function, ast.FunctionDef)
    head, *others = function.body
    has_docstring = isinstance(head, ast.Expr) and isinstance(head.value, ast.Constant)
    prose = range(head.lineno - 1, head.end_lineno or 0) if has_docstring else range(0)
    begins = (others[0] if has_docstring and others else head).lineno - 1  # what is before it is the head
    shown = {*range(begins), *range(at - AROUND, at + changed + AROUND)} - {*prose}
    folded = [index for index in range(len(lines)) if index not in shown]
    # To say that one line is folded takes a line too.
    folded = [index for index in folded if index - 1 in folded or index + 1 in folded]
    return Source(
        file,
        first,
        lines,
        [first + index for index in range(at, at + changed)],
        [first + index for index in folded],
    )
