"""The READMEs: their links lead somewhere, what they show is what is tested, and the first one stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from options_table import options_table

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
READMES = [
    README,
    *(ROOT / folder / "README.md" for folder in ("scripts/benchmark", "tests", "tests/examples")),
    *(ROOT / "tests" / "examples" / name for name in ("chaos.md", "processes.md")),
]
LINKS = [
    (page, target)
    for page in READMES
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text())
    if "://" not in target
]
LONGEST = 150  # lines


@pytest.mark.parametrize(("page", "target"), LINKS, ids=[f"{page.parent.name}:{target}" for page, target in LINKS])
def test_each_link_leads_to_a_file_or_folder(page: Path, target: str) -> None:
    assert (page.parent / target).exists()


def test_no_link_names_a_line() -> None:
    assert not [target for _, target in LINKS if "#" in target], "a line number goes stale"


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= LONGEST


def test_each_script_that_is_named_exists() -> None:
    named = {name for page in READMES for name in re.findall(r"\bscripts/[a-z_]+", page.read_text())}
    assert {"scripts/serve", "scripts/test", "scripts/bench"} <= named
    assert all((ROOT / name).exists() for name in named)


@pytest.mark.parametrize("name", ["README.md", "tests/examples/processes.md"])
def test_whoever_installs_it_makes_a_virtual_environment_first(name: str) -> None:
    """Without one, pip refuses on a Debian (PEP 668)."""
    before, command, _ = (ROOT / name).read_text().partition("pip install '.")
    assert command
    assert "python3 -m venv" in before[-200:]


def test_the_table_of_options_is_made_from_their_declarations() -> None:
    page = ROOT / "tests" / "examples" / "README.md"
    assert options_table() in page.read_text(), "paste what `python tests/options_table.py` prints"


def test_the_configuration_for_nginx_is_the_one_that_is_tested() -> None:
    examples = ROOT / "tests" / "examples"
    (shown,) = re.findall(r"```nginx\n(.*?)```", (examples / "README.md").read_text(), re.DOTALL)
    assert shown
    assert (examples / "nginx.conf").read_text().endswith(shown)
