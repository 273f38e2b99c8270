"""What a lesson is made of: a question, a broken part beside the real one, what is seen of each, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Value = str | int | float

CHART_POINTS = 100


@dataclass(frozen=True)
class Chart:
    """How a value went: points of (seconds since the run began, value)."""

    label: str
    unit: str
    points: list[tuple[float, float]]

    @classmethod
    def of(cls, label: str, unit: str, points: list[tuple[float, float]]) -> Chart:
        """A chart of about CHART_POINTS of these points, the last one among them."""
        return cls(label, unit, points[: -1 : 1 + len(points) // CHART_POINTS] + points[-1:])


@dataclass(frozen=True)
class Result:
    """What was seen in one run: a value for each label, which says the unit, in the order to show them in."""

    seen: dict[str, Value]
    chart: Chart | None = None


@dataclass(frozen=True)
class Part:
    """One of the two parts to compare.

    source: the class or function to show.
    run: tries it. It may leave threads and sockets behind, so it is called in a process that ends with it.
    """

    title: str
    source: Callable[..., object]
    run: Callable[[], Result]


@dataclass(frozen=True)
class Lesson:
    """A lesson. `answer` is the index of the right choice; `verdict` says in a sentence what the reader's own figures,
    the broken part's and the real one's, come to.
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
