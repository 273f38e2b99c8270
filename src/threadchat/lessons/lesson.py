"""What a lesson consists of: a question, a broken part and the real one, the result of each, and the explanation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Value = str | int | float

CHART_POINTS = 100


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
class Part:
    """One of the two parts that a lesson compares.

    source: the class or function to show to the reader.
    run: tries the part. It may leave threads and sockets behind, so it needs a process of its own (see `run.run`).
    """

    title: str
    source: Callable[..., object]
    run: Callable[[], Result]


@dataclass(frozen=True)
class Lesson:
    """A lesson.

    answer: the index of the right choice.
    verdict: sums up the figures measured on the reader's machine, from the results of the broken and the real part.
    """

    name: str
    title: str
    question: str
    choices: tuple[str, ...]
    answer: int
    broken: Part
    real: Part
    why: str
    verdict: Callable[[Result, Result], str] = lambda broken, real: ""
