"""Prints exercises and the results of checks, in lines that fit the terminal; in colour if it is one."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from pathlib import Path

from threadchat.exercises import reading
from threadchat.exercises.cards import Card
from threadchat.exercises.folder import DEFAULT, Folder
from threadchat.exercises.verdict import Result

WIDEST = 88  # characters in a line
COMMAND = os.environ.get("THREADCHAT_EXERCISE", "threadchat exercise")  # as the learner types it; scripts/exercise
SERVE = COMMAND.removesuffix("exercise") + "serve"
DEMO = f"{COMMAND.removesuffix('exercise')}demo"
LONG = dict.fromkeys(("channel", "select", "stop"), " (20 to 25 minutes)")
BOLD, RED, GREEN, DIM = "1", "31;1", "32;1", "2"


def explain(card: Card, folder: Folder, made: int) -> None:
    """Print the task of an exercise. `made` is the number of files that were just made."""
    if made == len(folder.cards):
        _paragraph(
            f"Made the folder {folder.path} with a file for each of {made} exercises. Most take 5 to 15 minutes, "
            "and some 20 to 25. They lead from two threads and a channel to a chat hub of your own. They need Python, "
            "and no Go."
        )
        print()
    elif made:
        files = "1 file that was" if made == 1 else f"{made} files that were"
        _paragraph(f"Made {files} missing in {folder.path}.")
        print()
    _title(card, folder)
    for paragraph in card.task.split("\n\n"):
        print()
        _paragraph(paragraph)
    print()
    _where_to_read(card)
    print()
    _paragraph(f"Write it in {folder.file(card)}, in the editor of your choice. Then:")
    print()
    for word, what in (
        ("check", "see whether it is right, and what your threads do"),
        ("watch", "check whenever you save the file"),
        ("hint", "when you are stuck; one more each time"),
    ):
        command = _command(word, folder)
        print(f"    {command}{' ' * (len('watch') - len(word))}  {_colour(DIM, what)}")


def _where_to_read(card: Card) -> None:
    """Print the chapter of the guide that belongs to the exercise, and where the guide is."""
    _paragraph(f'To read about it: the chapter "{card.chapter.title}" of the guide.')
    print()
    address = f"    {reading.address(card.chapter)}"
    if reading.is_served():
        print(address)
        return
    print(f"{address}  {_colour(DIM, f'while `{SERVE}` runs')}")
    print(f"    {reading.file()}  {_colour(DIM, 'its text, without the code')}")


def result(card: Card, folder: Folder, found: Result) -> None:
    """Print what a check has found."""
    _title(card, folder)
    print()
    if found.printed:
        print("Your code printed:")
        print(textwrap.indent(found.printed.rstrip("\n"), "    ") + "\n")
    if found.finding is None:
        _right(card, folder, found.runs)
        return
    finding = found.finding
    print(_colour(RED, f"Not yet: {finding.name}" if finding.name else "Not yet."))
    about = card.about(finding.name)
    for paragraph in [*finding.paragraphs, *(about.split("\n\n") if about else [])]:
        print()
        _paragraph(paragraph)
    if finding.story:
        print()
        _paragraph(
            f"It goes well in most orders of the threads' steps. This is order {found.runs}, with the lines that each "
            "thread executed before another went on, and the last of them:"
        )
        print()
        print("\n".join(f"    {turn}" for turn in finding.story))


def _right(card: Card, folder: Folder, runs: int) -> None:
    print(_colour(GREEN, f"Right, in each of {runs} runs with the threads' steps in different orders."))
    print()
    for paragraph in card.why.split("\n\n"):
        _paragraph(paragraph)
    _go(card)
    print()
    following = folder.current()
    if following is None:
        all_done(folder)
    else:
        print(f"Next: {following.number}. {following.title}. To read it: {_command('', folder)}")


def hints(card: Card, shown: int) -> None:
    """Print the first hints of an exercise."""
    for number, hint in enumerate(card.hints[:shown], 1):
        print(_colour(BOLD, f"Hint {number} of {len(card.hints)}"))
        for paragraph in hint.split("\n\n"):
            _paragraph(paragraph)
        print()
    if shown == len(card.hints):
        _paragraph(f"These are all. `{COMMAND} solution {card.name}` shows a solution.")


def solution(card: Card) -> None:
    """Print the solution of an exercise, the Go beside it, and what it shows."""
    print(_colour(BOLD, f"{card.number}. {card.title}: a solution"))
    print()
    print(textwrap.indent(card.solution.rstrip(), "    "))
    _go(card)
    print()
    for paragraph in card.why.split("\n\n"):
        _paragraph(paragraph)


def catalogue(folder: Folder) -> None:
    """Print all exercises: those that are done, and the one that the learner is at."""
    done, current = folder.done(), folder.current()
    width = max(len(card.name) for card in folder.cards)
    for card in folder.cards:
        mark = "done" if card.name in done else "here" if card is current else ""
        colour = GREEN if mark == "done" else BOLD if mark else ""
        print(_colour(colour, f"{mark:4}  {card.number:2}  {card.name:{width}}  {card.title}{LONG.get(card.name, '')}"))


def was_reset(file: Path, kept: Path | None) -> None:
    """Say that a file was begun anew."""
    _paragraph(f"{file} is as it was at the beginning." + (f" What you wrote is in {kept}." if kept else ""))


def all_done(folder: Folder) -> None:
    """Say that nothing is left."""
    _paragraph(
        f"All {len(folder.cards)} exercises are done. What you have written is the heart of a chat server. Read the "
        "real one beside it, hub.py and client.py in the package threadchat. And let yours serve: this runs it with "
        "real browsers and with bots, shows its thread, its channels and its lines, and takes what you change when you "
        "save."
    )
    print(f"\n    {DEMO} --hub {_quoted(str(folder.file(folder.cards[-1])))}")


def waiting(file: Path) -> None:
    """Say that the file is watched."""
    print(_colour(DIM, f"\nWaiting for a change of {file}. Ctrl-C ends this."), flush=True)


def _title(card: Card, folder: Folder) -> None:
    print(_colour(BOLD, f"Exercise {card.number} of {len(folder.cards)}: {card.title}"))


def _go(card: Card) -> None:
    print(f"\nThe same in Go:\n\n{textwrap.indent(card.go.expandtabs(4).rstrip(), '    ')}")


def _command(action: str, folder: Folder) -> str:
    """The command as the learner has to type it."""
    words = [COMMAND, action]
    if folder.path not in (Path(), Path(DEFAULT)):
        words.append(f"--folder {_quoted(str(folder.path))}")
    return " ".join(filter(None, words))


def _quoted(text: str) -> str:
    return text if text.replace("/", "").replace("-", "").replace("_", "").replace(".", "").isalnum() else f"'{text}'"


def _paragraph(text: str) -> None:
    """Print a paragraph. Indented lines are code, and stay as they are."""
    if text.startswith("    "):
        print(text)
        return
    width = min(WIDEST, shutil.get_terminal_size().columns)
    print(textwrap.fill(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False))


def _colour(code: str, text: str) -> str:
    """The text in a colour, if the output is a terminal that shows colours and nobody has said no (no-color.org)."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not code else f"\x1b[{code}m{text}\x1b[0m"
