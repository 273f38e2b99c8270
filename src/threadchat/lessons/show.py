"""Run a lesson and show it, on a terminal or as JSON.

Each part runs in a process of its own, which ends with all that the part leaves behind: threads in a deadlock, sockets,
memory. It is `python -m threadchat.lessons.show NAME broken` (or `real`), and prints what was seen as JSON.
"""

from __future__ import annotations

import inspect
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from threadchat.lessons import (
    blocking_send,
    convoy,
    lock_instead,
    nagle,
    no_limit,
    read_ahead,
    self_send,
    two_writers,
)
from threadchat.lessons.lesson import Chart, Lesson, Part, Result, Value

LESSONS = {
    module.LESSON.name: module.LESSON
    for module in (no_limit, blocking_send, self_send, two_writers, lock_instead, convoy, nagle, read_ahead)
}
LIMIT = 25  # seconds that a part may take; it takes five at most
MEMORY = 512 * 1024 * 1024  # bytes that a part may use
STACK = 128 * 1024  # bytes a thread

WIDTH = 79  # characters a line
BAR = 40
BARS = 10


class LessonFailed(OSError):
    """A part could not be run; str() says why."""


def _outline(lesson: Lesson) -> dict[str, Any]:
    return {
        "name": lesson.name,
        "title": lesson.title,
        "question": lesson.question,
        "choices": list(lesson.choices),
    }


def outlines() -> list[dict[str, Any]]:
    """What there is to know of each lesson before it is run, for JSON."""
    return [_outline(lesson) for lesson in LESSONS.values()]


def report(lesson: Lesson) -> dict[str, Any]:
    """Run both parts; all of the lesson, for JSON. Raises LessonFailed."""
    broken, real = run(lesson, "broken"), run(lesson, "real")
    return {
        **_outline(lesson),
        "answer": lesson.answer,
        "broken": _part_report(lesson.broken, broken),
        "real": _part_report(lesson.real, real),
        "why": _why(lesson, broken, real),
    }


def run(lesson: Lesson, which: Literal["broken", "real"]) -> Result:
    """Run one part in a process of its own. Raises LessonFailed."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, lesson.name, which], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode == -signal.SIGALRM:
        raise LessonFailed(f"{lesson.name}: the {which} part took longer than {LIMIT} seconds")
    if done.returncode:
        raise LessonFailed(f"{lesson.name}: {(done.stderr.splitlines() or ['no reason given'])[-1]}")
    result = json.loads(done.stdout)
    return Result(result["seen"], Chart(**result["chart"]) if result["chart"] else None)


def catalogue() -> None:
    """Print the names of all lessons."""
    print("Lessons: a part of the chat broken on purpose, beside the real one.")
    print("`threadchat lesson NAME` asks you first, then runs both.\n")
    for lesson in LESSONS.values():
        print(f"  {lesson.name:15}{lesson.title}")


def teach(lesson: Lesson, ask: bool) -> None:
    """Print the lesson and run both parts; with `ask` it waits for the reader's choice. Raises LessonFailed."""
    print(f"{lesson.title}\n{'=' * len(lesson.title)}\n")
    _paragraph(lesson.question)
    for number, choice in enumerate(lesson.choices, 1):
        _paragraph(choice, f"  {number}  ")
    chosen = _ask(len(lesson.choices)) if ask else None

    _heading("Broken", lesson.broken)
    broken = run(lesson, "broken")
    top = max(_values(broken.chart), default=0.0)
    _print_result(broken, top)
    if ask:
        input("\nEnter goes on to the real part. ")
    _heading("Real", lesson.real)
    real = run(lesson, "real")
    _print_result(real, max([top, *_values(real.chart)]))

    print(f"\n--- Why {'-' * (WIDTH - 8)}\n")
    says = "The answer is" if chosen is None else "Yes, it is" if chosen == lesson.answer else "Not quite. It is"
    _paragraph(f"{says} {lesson.answer + 1}: {lesson.choices[lesson.answer]}")
    for paragraph in _why(lesson, broken, real).split("\n\n"):
        _paragraph(paragraph)


def _ask(choices: int) -> int | None:
    """The reader's choice, counted from 0; None for no answer."""
    while True:
        answer = input(f"What do you think? 1 to {choices}, or just Enter: ").strip()
        if not answer:
            return None
        if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= choices:
            return int(answer) - 1


def _source(part: Part) -> tuple[str, int, list[str]]:
    """The file's name, the number of the first line and the lines that define the part."""
    lines, first = inspect.getsourcelines(part.source)
    file = Path(inspect.getsourcefile(part.source) or "").name
    return file, first, textwrap.dedent("".join(lines)).splitlines()


def _part_report(part: Part, result: Result) -> dict[str, Any]:
    file, first, lines = _source(part)
    return {
        "title": part.title,
        "source": {"file": file, "first_line": first, "lines": lines},
        "seen": [[label, _said(value)] for label, value in result.seen.items()],
        "chart": asdict(result.chart) if result.chart else None,
    }


def _why(lesson: Lesson, broken: Result, real: Result) -> str:
    """The paragraphs, each in one line, separated by blank lines."""
    paragraphs = [*lesson.why.split("\n\n"), lesson.verdict(broken, real)]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs if paragraph)


def _said(value: Value) -> str:
    """The value for people: 12,345 or 1.2 or the text itself."""
    if isinstance(value, float) and value < 100:
        return f"{value:.2g}"
    return value if isinstance(value, str) else f"{value:,.0f}"


def _heading(which: str, part: Part) -> None:
    file, first, lines = _source(part)
    print(f"\n{f'--- {which}: {part.title} ({file}, line {first}) ':-<{WIDTH}}\n")
    in_docstring = False
    for line in lines:
        indent = " " * (4 + len(line) - len(line.lstrip()))
        prose = in_docstring or line.lstrip().startswith('"""')
        in_docstring ^= line.count('"""') % 2 == 1
        next_indent = indent if prose else indent + "    "
        print(textwrap.fill(line.strip(), WIDTH, initial_indent=indent, subsequent_indent=next_indent))
    print("\nIt runs ...", flush=True)


def _print_result(result: Result, top: float) -> None:
    """The values, and the chart as bars, the longest of which would be `top`."""
    print()
    column = max(map(len, result.seen)) + 4
    for label, value in result.seen.items():
        print(
            textwrap.fill(_said(value), WIDTH, initial_indent=f"  {label:{column - 2}}", subsequent_indent=" " * column)
        )
    if result.chart:
        print(f"\n  {result.chart.label}, in {result.chart.unit}:")
        points = [(0.0, 0.0), *result.chart.points]
        end, _ = points[-1]
        for number in range(BARS + 1):
            time = end * number / BARS
            height = [height for when, height in points if when <= time][-1]
            print(f"  {time:6.2f} s  {'#' * round(BAR * height / top):{BAR}} {_said(height):>7}")


def _values(chart: Chart | None) -> Sequence[float]:
    return [value for _, value in chart.points] if chart else []


def _paragraph(text: str, mark: str = "") -> None:
    print(textwrap.fill(text, WIDTH, initial_indent=mark, subsequent_indent=" " * len(mark)))
    if not mark:
        print()


def _run_here(part: Part) -> None:
    """Run the part in this process, print what was seen, and end the process."""
    signal.alarm(LIMIT)  # by default it ends the process, whatever its threads do
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    threading.stack_size(STACK)
    try:
        print(json.dumps(asdict(part.run())), flush=True)
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # threads that wait for ever are not waited for


if __name__ == "__main__":
    _name, _which = sys.argv[1:]
    _run_here(getattr(LESSONS[_name], _which))
