"""Each race that a module lists has a test of the same number in the file that the list names, and the other way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "threadchat"
LISTS = {
    path.relative_to(PACKAGE).as_posix(): docstring.partition("\nThe races, ")[2]
    for path in sorted(PACKAGE.rglob("*.py"))
    if "\nThe races, " in (docstring := ast.get_docstring(ast.parse(path.read_text())) or "")
}
FILES = {
    module: re.findall(r"^each forced by a test of the same number in (tests/test_\w+\.py):$", races, re.MULTILINE)
    for module, races in LISTS.items()
}


def numbers(pattern: str, text: str) -> list[int]:
    return [int(number) for number in re.findall(pattern, text, re.MULTILINE)]


def test_the_modules_in_which_threads_meet_list_their_races() -> None:
    assert {"channel.py", "outbox.py", "hub.py", "client.py"} <= set(LISTS)


@pytest.mark.parametrize("module", LISTS)
def test_every_race_has_its_test_and_every_test_its_race(module: str) -> None:
    (file,) = FILES[module]
    listed = numbers(r"^(\d+)\. ", LISTS[module])
    assert listed == list(range(1, len(listed) + 1)) != []
    assert set(numbers(r"^def test_race_(\d+)_", (ROOT / file).read_text())) == set(listed)


def test_every_test_of_a_race_is_in_a_file_that_a_module_names() -> None:
    with_races = {path for path in (ROOT / "tests").rglob("*.py") if "\ndef test_race_" in path.read_text()}
    assert with_races == {ROOT / file for files in FILES.values() for file in files}
