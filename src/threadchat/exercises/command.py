"""`threadchat exercise`: explains the exercises, checks the learner's files, and keeps the progress."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from threadchat.exercises import show
from threadchat.exercises.cards import Card, read_cards
from threadchat.exercises.checking import check
from threadchat.exercises.folder import Folder, NotOurs

ACTIONS = {
    "check": "check the exercise that you are at, or the one named",
    "watch": "the same whenever you save the file, until Ctrl-C",
    "hint": "show one more hint",
    "solution": "show a solution, the same in Go, and what it shows",
    "list": "list the exercises",
    "reset": "begin a file anew; the old one is kept under another name",
}
HELP = "; ".join(f"{name}: {what}" for name, what in ACTIONS.items())
EXERCISE = "a number, a name or a file, such as 4, default or 04_default.py; alone (`exercise 4`), it shows the text"
LOOK_EVERY = 0.2  # seconds between two looks at a file
GONE = (0, 0)

Refuse = Callable[[str, str, Sequence[str]], NoReturn]


def run(words: Sequence[str], folder_name: str | None, refuse: Refuse) -> int:
    """Run the command. Returns the exit status: 1 if a check has found something.

    `words` are an action, an exercise (by name or number), or both. `refuse` is called with what is wrong, the word
    that is, and the words that would be right.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the learner's lines may have signs that the terminal lacks
    cards = read_cards()
    action, card = _understood(words, cards, refuse)
    folder = Folder(folder_name, cards)
    try:
        if action in ("", "list", "solution") or folder.exists():
            return _do(action, card, folder)
        refuse(f"there are no exercises in {folder.path} yet; `{show.COMMAND}` makes them", "", ())
    except NotOurs as error:
        refuse(str(error), "", ())


def _understood(words: Sequence[str], cards: list[Card], refuse: Refuse) -> tuple[str, Card | None]:
    by_word = {card.name: card for card in cards} | {str(card.number): card for card in cards}
    for each in cards:
        by_word |= dict.fromkeys((each.file, each.file.removesuffix(".py"), f"{each.number:02}"), each)
    rest = list(words)
    action = rest.pop(0) if rest and rest[0] in ACTIONS else ""
    card = by_word.get(Path(rest[0]).name) if rest else None
    if rest and card is None:
        known = [card.name for card in cards]
        refuse(f"there is no exercise {rest[0]!r}", rest[0], known if action else [*ACTIONS, *known])
    if len(rest) > 1:
        refuse(f"unexpected argument {rest[1]!r}", "", ())
    return action, card


def _do(action: str, named: Card | None, folder: Folder) -> int:
    card = named or folder.current()
    if action == "list":
        show.catalogue(folder)
    elif card is None:
        show.all_done(folder)
    elif action == "check":
        return _check(card, folder)
    elif action == "watch":
        return _watch(card, folder, stay=named is not None)
    elif action == "hint":
        show.hints(card, folder.next_hint(card))
    elif action == "solution":
        show.solution(card)
    elif action == "reset":
        show.was_reset(folder.file(card), folder.reset(card))
    else:
        show.explain(card, folder, len(folder.make()))
    return 0


def _check(card: Card, folder: Folder) -> int:
    if not folder.file(card).exists():
        raise NotOurs(f"{folder.file(card)} is not there; `{show.COMMAND}` makes what is missing")
    result = check(card, folder.file(card))
    if result.finding is None:
        folder.set_done(card)
    show.result(card, folder, result)
    return int(result.finding is not None)


def _watch(card: Card | None, folder: Folder, stay: bool) -> int:
    """Check the file now and after each change. Goes on to the next exercise, unless it is to stay at this one."""
    try:
        while card is not None:
            seen = _stamp(folder.file(card))
            right = not _check(card, folder)
            if right and (stay or folder.current() is None):
                return 0
            if right:
                card = folder.current()
                assert card
                print()
                show.explain(card, folder, 0)
                seen = _stamp(folder.file(card))
            show.waiting(folder.file(card))
            while _stamp(folder.file(card)) in (seen, GONE):  # some editors remove the file before they write it
                time.sleep(LOOK_EVERY)
    except KeyboardInterrupt:
        print()
    return 0


def _stamp(file: Path) -> tuple[int, int]:
    """Changes whenever the file does, also if an editor replaces the file. GONE if there is no file."""
    try:
        status = file.stat()
    except OSError:
        return GONE
    return status.st_mtime_ns, status.st_size
