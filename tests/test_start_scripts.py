"""scripts/serve, demo, lesson and exercise: commands from a clone, wherever it lies and however they are called."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import LIMIT

SCRIPTS = Path(__file__).parents[1] / "scripts"
COMMANDS = ("serve", "demo", "lesson", "exercise")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the scripts. Its scripts/venv only says how it was called."""
    folder = tmp_path / "a checkout"
    (folder / "scripts").mkdir(parents=True)
    for name in COMMANDS:
        shutil.copy(SCRIPTS / name, folder / "scripts" / name)
    venv = folder / "scripts" / "venv"
    venv.write_text('#!/bin/sh\necho "$0" "$@"\n')
    venv.chmod(0o755)
    return folder


def check(script: Path, checkout: Path, command: str, elsewhere: Path) -> None:
    """Call the script from another folder, and look at what it runs."""
    done = subprocess.run(
        [script, "--port", "0", "two words"], cwd=elsewhere, capture_output=True, text=True, timeout=LIMIT, check=True
    )
    extra = " terminal" if command == "serve" else ""  # for the code for phones
    assert done.stdout == f"{checkout}/scripts/venv{extra} -- threadchat {command} --port 0 two words\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_it_runs_the_command_of_its_own_checkout(checkout: Path, tmp_path: Path, command: str) -> None:
    check(checkout / "scripts" / command, checkout, command, tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_it_can_be_called_by_a_link(checkout: Path, tmp_path: Path, command: str) -> None:
    link = tmp_path / "bin" / command
    link.parent.mkdir()
    link.symlink_to(checkout / "scripts" / command)
    check(link, checkout, command, tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_it_works_in_a_checkout_that_was_moved_or_is_a_link(checkout: Path, tmp_path: Path, command: str) -> None:
    moved = checkout.rename(tmp_path / "moved")
    check(moved / "scripts" / command, moved, command, tmp_path)
    (tmp_path / "linked").symlink_to(moved)
    check(tmp_path / "linked" / "scripts" / command, moved, command, tmp_path)
