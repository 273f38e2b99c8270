"""Prints lessons on a terminal of 80 columns, without colours."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from threadchat.lessons.lesson import Chart, Lesson, Part, Result, Source
from threadchat.lessons.run import LESSONS, after, run, said, why

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
        print(_filled(choice.text, f"  {number}  ", "     "))
    chosen = _ask(len(lesson.choices)) if ask else None

    _print_part("Broken", lesson.broken, lesson.change.broken)
    broken = run(lesson, "broken")
    top = max(_values(broken.chart), default=0.0)
    _print_result(broken, top)
    if ask:
        input("\nPress Enter to run the real part. ")
    _print_part("Real", lesson.real, lesson.change.real)
    real = run(lesson, "real")
    _print_result(real, max([top, *_values(real.chart)]))

    print(f"\n{'--- Why ':-<{WIDTH}}\n")
    if chosen is not None and chosen != lesson.answer:
        _paragraph(f"Not quite. {lesson.choices[chosen].why_not}")
    answer = "Yes, it is" if chosen == lesson.answer else "The answer is"
    _paragraph(f"{answer} {lesson.answer + 1}: {lesson.choices[lesson.answer].text}")
    for paragraph in why(lesson, broken, real):
        _paragraph(paragraph)
    print(f"To read about it: threadchat serve, then /guide#{lesson.chapter}")
    if lesson.exercise:
        print(f"To write it yourself: threadchat exercise {lesson.exercise}")
    following = after(lesson)
    print(f"Next: threadchat lesson {following.name}" if following else "That was the last lesson.")


def _ask(choices: int) -> int | None:
    """Ask until the answer is valid. Returns the index of the choice, or None if the reader gives no answer."""
    while True:
        answer = input(f"\nWhat do you think? 1 to {choices}, or just Enter: ").strip()
        if not answer:
            return None
        if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= choices:
            return int(answer) - 1


def _print_part(which: str, part: Part, source: Source) -> None:
    print(f"\n{f'--- {which}: {part.title} ':-<{WIDTH}}\n")
    print(f"  {source.file}, line {source.first_line}; > marks what differs\n")
    print("\n".join(_listing(source)))
    print("\nRunning ...", flush=True)


def _listing(source: Source) -> Iterator[str]:
    """The lines of source, at most WIDTH wide, with a mark at each changed line. Of folded ones there is the number."""
    folded = 0
    for number, line in enumerate([*source.lines, ""], source.first_line):
        if number in source.folded:
            folded += 1
            continue
        if folded:
            yield f"  ... {folded} lines"
            folded = 0
        if number < source.first_line + len(source.lines):
            yield _code(line, "> " if number in source.changed else "  ")


def _code(line: str, mark: str) -> str:
    """A line of source. A comment that does not fit behind the code goes above it."""
    code = line.strip()
    indent = mark + line[: len(line) - len(line.lstrip())]
    if len(indent + code) > WIDTH and "  # " in code:
        code, _, comment = code.partition("  # ")
        return f"{_filled(comment, indent + '# ', indent + '# ')}\n{_filled(code, indent, indent + '    ')}"
    return _filled(code, indent, indent + ("# " if code.startswith("#") else "    "))


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
