"""Runs the parts of a lesson, and reports a lesson as JSON.

Each part runs in a process of its own, because it may leave threads in a deadlock, sockets and memory behind; they end
with the process. The command is `python -m threadchat.lessons.run NAME broken` (or `real`); it prints the Result as
JSON.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import traceback
from dataclasses import asdict
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
from threadchat.lessons.lesson import Chart, Lesson, LessonFailed, Part, Result, Source, Value

LESSONS = {
    module.LESSON.name: module.LESSON
    for module in (no_limit, blocking_send, self_send, two_writers, lock_instead, convoy, nagle, read_ahead)
}
LIMIT = 25  # seconds that a part may take; most take a few
MEMORY = 512 * 1024 * 1024  # bytes that a part may use
STACK = 128 * 1024  # bytes for each thread


def run(lesson: Lesson, which: Literal["broken", "real"]) -> Result:
    """Run one part in a process of its own. Raises LessonFailed."""
    command = [sys.executable, "-m", __name__, lesson.name, which]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode == -signal.SIGALRM:
        raise LessonFailed(f"{lesson.name}: the {which} part took longer than {LIMIT} seconds")
    if done.returncode:
        raise LessonFailed(f"{lesson.name}: {(done.stderr.splitlines() or ['no reason given'])[-1]}")
    result = json.loads(done.stdout)
    return Result(result["seen"], Chart(**result["chart"]) if result["chart"] else None)


def outline(lesson: Lesson) -> dict[str, Any]:
    """What a reader may know before the lesson is run, for JSON: all but the answer, the parts and the explanation."""
    return {
        "name": lesson.name,
        "title": lesson.title,
        "chapter": lesson.chapter,
        "exercise": lesson.exercise,
        "question": lesson.question,
        "choices": [choice.text for choice in lesson.choices],
    }


def report(lesson: Lesson) -> dict[str, Any]:
    """Run both parts, and return the whole lesson with the results, for JSON. Raises LessonFailed."""
    sources = lesson.change.broken, lesson.change.real
    broken, real = run(lesson, "broken"), run(lesson, "real")
    return {
        **outline(lesson),
        "answer": lesson.answer,
        "reasons": [choice.why_not for choice in lesson.choices],
        "broken": _part_report(lesson.broken, sources[0], broken),
        "real": _part_report(lesson.real, sources[1], real),
        "why": "\n\n".join(why(lesson, broken, real)),
    }


def why(lesson: Lesson, broken: Result, real: Result) -> list[str]:
    """The paragraphs of the explanation and the verdict, each without line breaks."""
    paragraphs = [*lesson.why.split("\n\n"), lesson.verdict(broken, real)]
    return [" ".join(paragraph.split()) for paragraph in paragraphs if paragraph]


def after(lesson: Lesson) -> Lesson | None:
    """The lesson that comes next; None after the last one."""
    lessons = list(LESSONS.values())
    return next(iter(lessons[lessons.index(lesson) + 1 :]), None)


def said(value: Value) -> str:
    """A value as text for the reader, such as 12,345 or 1.2."""
    if isinstance(value, float) and value < 100:
        return f"{value:.2g}"
    return value if isinstance(value, str) else f"{value:,.0f}"


def _part_report(part: Part, source: Source, result: Result) -> dict[str, Any]:
    return {
        "title": part.title,
        "source": asdict(source),
        "seen": [[label, said(value)] for label, value in result.seen.items()],
        "chart": asdict(result.chart) if result.chart else None,
    }


def _run_here(part: Part) -> None:
    """Run the part in this process, print its Result as JSON, and end the process."""
    signal.alarm(LIMIT)  # the signal's default action ends the process, whatever its threads do
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    threading.stack_size(STACK)
    try:
        print(json.dumps(asdict(part.run())), flush=True)
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # unlike sys.exit, does not wait for the part's threads


if __name__ == "__main__":
    _name, _which = sys.argv[1:]
    _lesson = LESSONS[_name]
    if _which == "broken":
        _lesson.change.make()
    _run_here(getattr(_lesson, _which))
