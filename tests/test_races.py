"""Each race that a module lists has a test that bears its number, in the module's own test file, and the other way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTS = sorted(path.stem for path in (ROOT / "src" / "threadchat").glob("*.py") if "\nThe races, " in path.read_text())


def test_the_modules_that_threads_meet_in_list_their_races() -> None:
    assert {"channel", "client", "hub"} <= set(LISTS)


@pytest.mark.parametrize("module", LISTS)
def test_every_race_has_its_test_and_every_test_its_race(module: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / "src" / "threadchat" / f"{module}.py").read_text())) or ""
    _, _, races = docstring.partition("The races, ")
    tests = ROOT / "tests" / f"test_{module}.py"
    assert f"each forced by a test of the same number in tests/{tests.name}:" in races
    listed = [int(number) for number in re.findall(r"^(\d+)\. ", races, re.MULTILINE)]
    assert listed == list(range(1, len(listed) + 1))
    assert {int(number) for number in re.findall(r"^def test_race_(\d+)_", tests.read_text(), re.MULTILINE)} == set(
        listed
    )
