"""Prints lessons on a terminal of 80 columns, without colours."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from threadchat.lessons.lesson import Chart, Lesson, Part, Result
from threadchat.lessons.run import LESSONS, run, said, source, why

WIDTH = 80  # characters in a line
BAR = 40  # characters in a chart's longest bar
BARS = 10  # equal steps of time in a chart


def catalogue() -> None:
    """Print the names and titles of all lessons."""
    print("Each lesson compares a part of the chat that is broken on purpose with the real one.")
    print("`threadchat lesson NAME` asks what you expect, then runs both.\n")
    for lesson in LESSONS.values():
        print(f"  {lesson.name:15}{lesson.title}")


def teach(lesson: Lesson, ask: bool) -> None:
    """Print the lesson and run both parts. With `ask`, wait for the reader's choice first.

    Raises LessonFailed if a part cannot be run, and EOFError at the end of the input.
    """
    print(f"{lesson.title}\n{'=' * len(lesson.title)}\n")
    _paragraph(lesson.question)
    for number, choice in enumerate(lesson.choices, 1):
        print(_filled(choice, f"  {number}  ", "     "))
    chosen = _ask(len(lesson.choices)) if ask else None

    _print_part("Broken", lesson.broken)
    broken = run(lesson, "broken")
    top = max(_values(broken.chart), default=0.0)
    _print_result(broken, top)
    if ask:
        input("\nPress Enter to run the real part. ")
    _print_part("Real", lesson.real)
    real = run(lesson, "real")
    _print_result(real, max([top, *_values(real.chart)]))

    print(f"\n{'--- Why ':-<{WIDTH}}\n")
    answer = "The answer is" if chosen is None else "Yes, it is" if chosen == lesson.answer else "Not quite. It is"
    _paragraph(f"{answer} {lesson.answer + 1}: {lesson.choices[lesson.answer]}")
    for paragraph in why(lesson, broken, real):
        _paragraph(paragraph)


def _ask(choices: int) -> int | None:
    """Ask until the answer is valid. Returns the index of the choice, or None if the reader gives no answer."""
    while True:
        answer = input(f"\nWhat do you think? 1 to {choices}, or just Enter: ").strip()
        if not answer:
            return None
        if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= choices:
            return int(answer) - 1


def _print_part(which: str, part: Part) -> None:
    file, first, lines = source(part)
    print(f"\n{f'--- {which}: {part.title} ({file}, line {first}) ':-<{WIDTH}}\n")
    print("\n".join(_listing(lines)))
    print("\nRunning ...", flush=True)


def _listing(lines: Sequence[str]) -> Iterator[str]:
    """The lines of source, at most WIDTH wide: docstrings are refilled, and a long comment goes above its line."""
    prose: list[str] = []  # lines of a docstring's paragraph
    in_docstring, indent = False, ""
    for line in lines:
        code = line.strip()
        if code:
            indent = "  " + line[: line.index(code)]
        is_prose = in_docstring or code.startswith('"""')
        in_docstring ^= code.count('"""') % 2 == 1
        if is_prose and code.strip('"'):
            prose.append(code)
            if in_docstring:
                continue
            code = ""
        if prose:
            yield _filled(" ".join(prose), indent, indent)
            prose = []
        if len(indent + code) > WIDTH and "  # " in code:
            code, _, comment = code.partition("  # ")
            yield _filled(comment, indent + "# ", indent + "# ")
        if code or not is_prose:
            yield _filled(code, indent, indent + ("# " if code.startswith("#") else "    "))
        elif in_docstring:
            yield ""


def _print_result(result: Result, top: float) -> None:
    """Print the values, and the chart as bars. A value of `top` has the longest bar."""
    print()
    column = max(map(len, result.seen)) + 4
    for label, value in result.seen.items():
        print(_filled(said(value), f"  {label:{column - 2}}", " " * column))
    if result.chart:
        print(f"\n  {result.chart.label}, in {result.chart.unit}:")
        points = [(0.0, 0.0), *result.chart.points]
        end, _ = points[-1]
        for number in range(BARS + 1):
            time = end * number / BARS
            height = [height for when, height in points if when <= time][-1]
            print(f"  {time:6.2f} s  {'#' * round(BAR * height / top):{BAR}} {said(height):>7}")


def _values(chart: Chart | None) -> list[float]:
    return [value for _, value in chart.points] if chart else []


def _paragraph(text: str) -> None:
    print(_filled(text, "", "") + "\n")


def _filled(text: str, first: str, others: str) -> str:
    """The text in lines of at most WIDTH. `first` is put before the first line, `others` before the others."""
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
