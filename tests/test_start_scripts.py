"""scripts/serve, demo, lesson and exercise: commands from a clone, wherever it lies and however they are called.

And what scripts/test installs on a bare machine, with stand-ins for the commands that it looks for.
"""

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


@pytest.fixture
def bare(checkout: Path) -> Path:
    """A folder for PATH on which nothing is installed but what a shell needs. The user is root, and has apt-get."""
    shutil.copy(SCRIPTS / "test", checkout / "scripts" / "test")
    folder = checkout / "bin"
    folder.mkdir()
    for name in ("bash", "sh", "env", "dirname", "readlink", "getconf"):
        (folder / name).symlink_to(str(shutil.which(name)))
    stub(folder / "id", "echo 0")
    stub(folder / "apt-get", 'echo "apt-get $*" >&2')
    return checkout


def stub(path: Path, line: str = "") -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def test_the_tests_bring_what_a_bare_machine_lacks(bare: Path) -> None:
    missing = {"nginx-light": "nginx", "golang-go": "go", "tmux": "tmux", "redis-server": "redis-server"}
    for name in ("python3", "chromium", "openssl"):
        stub(bare / "bin" / name)
    script = bare / "scripts" / "test"
    script.write_text(script.read_text().replace("/usr/sbin", "/nothing"))  # where this machine has nginx

    def run() -> tuple[list[str], str]:
        done = subprocess.run(
            [script], env={"PATH": str(bare / "bin")}, capture_output=True, text=True, timeout=LIMIT, check=True
        )
        return [
            line.split()[-1] for line in done.stderr.splitlines() if line.startswith("apt-get install ")
        ], done.stderr

    assert run()[0] == list(missing)
    (bare / "bin" / "apt-get").unlink()
    installed, said = run()
    assert installed == []
    assert said.splitlines() == [
        f"{package} is missing, and only root can install it, with apt-get" for package in missing
    ]
    for command in missing.values():
        stub(bare / "bin" / command)
    assert run()[1] == ""
