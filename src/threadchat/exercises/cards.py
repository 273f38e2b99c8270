"""The cards: one file for each exercise, with all that is not code of ours. They are in the folder `cards`.

A card is Markdown. Its title is the exercise's; then comes the task. Each section after that begins with a heading:
"Chapter" (of the guide, to read about it: its title and its id, as a link), "Start" (the file that the learner gets,
below the task), "Hint" (one or more), "Solution", "Go" (the same in Go), "Why" (what the solution shows), and
"Wrong: NAME" for each wrong solution that people really write.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Wrong:
    """A wrong solution: the mistake's name, what it is about (empty if the general rules say it), and the code."""

    name: str
    text: str
    code: str


@dataclass(frozen=True)
class Chapter:
    """A chapter of the guide: its title, and its id in the page."""

    title: str
    id: str


@dataclass(frozen=True)
class Card:
    """An exercise."""

    number: int
    name: str
    title: str
    task: str
    chapter: Chapter
    start: str
    hints: tuple[str, ...]
    solution: str
    go: str
    why: str
    wrong: tuple[Wrong, ...]

    def about(self, mistake: str) -> str:
        """What the mistake of this name is about; empty if the card does not say."""
        return next((each.text for each in self.wrong if each.name == mistake), "")

    @property
    def file(self) -> str:
        """The name of the learner's file."""
        return f"{self.number:02}_{self.name}.py"


def read_cards() -> list[Card]:
    """All cards, in the order of the exercises."""
    folder = files("threadchat.exercises") / "cards"
    found = sorted(
        (each.name, each.read_text(encoding="utf-8")) for each in folder.iterdir() if each.name.endswith(".md")
    )
    return [parse(name, text) for name, text in found]


def parse(file: str, text: str) -> Card:
    """The card in a file of this name, such as 01-worker.md."""
    number, _, name = file.removesuffix(".md").partition("-")
    head, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    title, _, task = head.removeprefix("# ").partition("\n")
    found = [(heading.strip(), body.strip()) for heading, _, body in (each.partition("\n") for each in sections)]
    one = dict(found)
    task = task.strip()
    return Card(
        number=int(number),
        name=name,
        title=title.strip(),
        task=task,
        chapter=_chapter(one["Chapter"]),
        start=f'"""{title.strip()}\n\n{_wrapped(task)}\n"""\n\n{_code(one["Start"])}',
        hints=tuple(body for heading, body in found if heading == "Hint"),
        solution=_code(one["Solution"]),
        go=_code(one["Go"]),
        why=one["Why"],
        wrong=tuple(
            Wrong(heading.removeprefix("Wrong: "), body.partition("```")[0].strip(), _code(body))
            for heading, body in found
            if heading.startswith("Wrong: ")
        ),
    )


def _chapter(section: str) -> Chapter:
    """The chapter that the section links to."""
    found = re.fullmatch(r"\[(.+)\]\((.+)\)", section)
    assert found, section
    return Chapter(found[1], found[2])


def _code(section: str) -> str:
    """The section's block of code."""
    found = re.search(r"^```\w*\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found, section
    return found[1]


def _wrapped(text: str) -> str:
    """The text in lines of at most 88 characters: paragraphs are filled, indented lines stay as they are."""
    done = []
    for paragraph in text.split("\n\n"):
        is_code = paragraph.startswith("    ")
        done.append(paragraph if is_code else textwrap.fill(" ".join(paragraph.split()), 88, break_on_hyphens=False))
    return "\n\n".join(done)
