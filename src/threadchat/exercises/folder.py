"""The learner's folder: a file for each exercise, and the progress. What the learner wrote is never lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from threadchat.exercises.cards import Card

DEFAULT = "exercises"
PROGRESS = ".threadchat.json"


class NotOurs(OSError):
    """The folder cannot be used; str() says why, and what to do."""


class Folder:
    """The folder of this name; without a name the current one, if it is one of ours, or else `exercises` in it."""

    def __init__(self, name: str | None, cards: list[Card]) -> None:
        here = name is None and Path(PROGRESS).exists()
        self.path = Path() if here else Path(name or DEFAULT)
        self.cards = cards

    def file(self, card: Card) -> Path:
        """The learner's file for this exercise."""
        return self.path / card.file

    def exists(self) -> bool:
        """Whether the exercises were begun here."""
        return (self.path / PROGRESS).exists()

    def make(self) -> list[Path]:
        """Make the folder, and each file that is not there. Returns the new files. Raises NotOurs."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            strangers = [
                each.name for each in self.path.iterdir() if each.name not in {card.file for card in self.cards}
            ]
            if strangers and not self.exists():
                raise NotOurs(f"{self.path} has files of yours; name another folder: --folder NAME")
            made = [self.file(card) for card in self.cards if _write_new(self.file(card), card.start)]
            if not self.exists():
                self._save([], {})
        except NotOurs:
            raise
        except OSError as error:
            raise NotOurs(f"{self.path} cannot be used: {error.strerror}") from None
        return made

    def reset(self, card: Card) -> Path | None:
        """Begin the file anew. Returns where the learner's is kept; None if there was none."""
        file = self.file(card)
        kept = None
        try:
            with suppress(FileNotFoundError):
                old = file.read_bytes()
                kept = next(path for path in _free_names(file) if _write_new(path, old))
            file.write_text(card.start, encoding="utf-8")
            done, hints = self._progress()
            self._save([name for name in done if name != card.name], {**hints, card.name: 0})
        except OSError as error:
            raise NotOurs(f"{file} cannot be written: {error.strerror}") from None
        return kept

    def done(self) -> list[str]:
        """The names of the exercises that are done."""
        return self._progress()[0]

    def current(self) -> Card | None:
        """The first exercise that is not done; None if all are."""
        done = self.done()
        return next((card for card in self.cards if card.name not in done), None)

    def set_done(self, card: Card) -> None:
        """Note that the exercise is done."""
        done, hints = self._progress()
        if card.name not in done:
            self._save([*done, card.name], hints)

    def next_hint(self, card: Card) -> int:
        """How many hints of the exercise are to be shown now: one more each time."""
        done, hints = self._progress()
        shown = min(hints.get(card.name, 0) + 1, len(card.hints))
        self._save(done, {**hints, card.name: shown})
        return shown

    def _progress(self) -> tuple[list[str], dict[str, int]]:
        try:
            found = json.loads((self.path / PROGRESS).read_text(encoding="utf-8"))
            done, hints = found["done"], found["hints"]
            return [str(name) for name in done], {str(name): int(shown) for name, shown in hints.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return [], {}  # lost: the exercises that are done can be checked again

    def _save(self, done: list[str], hints: dict[str, int]) -> None:
        new = self.path / f"{PROGRESS}.new"
        new.write_text(json.dumps({"done": done, "hints": hints}) + "\n", encoding="utf-8")
        os.replace(new, self.path / PROGRESS)


def _write_new(path: Path, content: str | bytes) -> bool:
    """Write a file that is not there yet. Returns False, and writes nothing, if it is."""
    try:
        with path.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except FileExistsError:
        return False
    return True


def _free_names(file: Path) -> Iterator[Path]:
    """Names under which to keep a file: 01_worker.old.py, 01_worker.old-2.py, ..."""
    yield file.with_suffix(".old.py")
    for number in count(2):
        yield file.with_suffix(f".old-{number}.py")
