"""Channels against the Go specification and against Go itself: the same programs run in Python, in Go and in a model.

The model (parity/model.py) walks through everything that can happen in a program and so knows which outcomes the
specification allows. Each outcome seen in Go or in Python must be one of them; deadlocks and panics are outcomes too.
The suite runs 100 generated programs, `scripts/test tests/test_parity.py --scale 100` runs 10,000.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, seed, settings
from parity.broken import FOUND_BY
from parity.generated import programs
from parity.language import Program, close, program, receive, select, send
from parity.model import outcomes
from parity.rules import RULES
from parity.running import LIMIT, Interpreter

PARITY = Path(__file__).parent / "parity"
GO = shutil.which("go")

PROGRAMS = 100  # generated, in each round; `--scale` says how many rounds
RUNS = {"Go": 10, "Python": 5}  # of each generated program; the order of its goroutines differs from run to run
RUNS_OF_A_RULE = 40
ATTEMPTS = 2000  # runs of a rule's program to find a broken part; some need an unusual order of the threads
SAMPLE = 200  # generated programs, at least one of which finds a broken part
SELECTS = 2000  # whose choices are counted
CHANCE = 60  # the bound of `chi_square`

BROKEN = {part.__name__: rule for part, rule in FOUND_BY.items()}

Start = Callable[[], Interpreter]


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Start]:
    """A function for each language that starts the interpreter in it: Python, and Go if it is installed."""
    languages: dict[str, Start] = {"Python": lambda: Interpreter([sys.executable, "-m", "parity.interpreter"], 200)}
    if GO:
        binary = tmp_path_factory.mktemp("go") / "interpreter"
        subprocess.run([GO, "build", "-o", binary, PARITY / "interpreter.go"], check=True)
        # A new process after two programs: the more goroutines are left over, the longer takes a look at all of them.
        languages["Go"] = lambda: Interpreter([binary], 2)
    return languages


@pytest.fixture(scope="module", params=["Go", "Python"])
def start(request: pytest.FixtureRequest, languages: dict[str, Start]) -> Start:
    """A function that starts the interpreter in one of the languages."""
    if request.param not in languages:
        pytest.skip("Go is not installed; scripts/test installs it where it runs as root and with apt-get")
    return languages[request.param]


@pytest.fixture(scope="module")
def seen(start: Start) -> dict[str, Counter[str]]:
    """The outcomes seen when the program of each rule ran."""
    with start() as interpreter:
        return {rule: interpreter.run(written, RUNS_OF_A_RULE) for rule, (written, _) in RULES.items()}


@pytest.mark.parametrize("rule", RULES)
def test_the_model_keeps_the_rule(rule: str) -> None:
    written, allowed = RULES[rule]
    assert outcomes(written) == allowed


@pytest.mark.parametrize("rule", RULES)
def test_go_and_python_keep_the_rule(seen: dict[str, Counter[str]], rule: str) -> None:
    _, allowed = RULES[rule]
    assert seen[rule].total() == RUNS_OF_A_RULE
    assert seen[rule].keys() <= allowed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "round_" in metafunc.fixturenames:
        metafunc.parametrize("round_", range(metafunc.config.getoption("--scale")))


def test_generated_programs_have_no_other_outcomes_than_the_model_allows(
    languages: dict[str, Start], round_: int
) -> None:
    with ExitStack() as stack:
        interpreters = {language: stack.enter_context(start()) for language, start in languages.items()}

        @seed(round_)
        @settings(max_examples=PROGRAMS, derandomize=False, database=None)
        @given(programs())
        def check(generated: Program) -> None:
            allowed = outcomes(generated)
            for language, interpreter in interpreters.items():
                assert interpreter.run(generated, RUNS[language]).keys() <= allowed, language

        check()


# Uniform choice

CHOICES = program(
    [
        close("a"),
        close("b"),
        *[select(receive("a"), receive("b"), send("c", 1), receive("a"), send("d", 2))] * SELECTS,
    ],
    a=0,
    b=1,
    c=SELECTS,
    d=SELECTS,
)  # each of the five cases can always proceed
SHARES = {"<-a: zero": 2 / 5, "<-b: zero": 1 / 5, "c<-1: sent": 1 / 5, "d<-2: sent": 1 / 5}


def chi_square(interpreter: Interpreter) -> float:
    """How far the choices are from uniform. A uniform choice exceeds 60 once in 10^12 times (3 degrees of freedom)."""
    [outcome] = interpreter.run(CHOICES, 1)
    counts = Counter(outcome.split("; ")[2:])
    assert counts.total() == SELECTS
    assert counts.keys() <= SHARES.keys()
    return sum((counts[case] - share * SELECTS) ** 2 / (share * SELECTS) for case, share in SHARES.items())


def test_select_chooses_uniformly_among_the_cases_that_can_proceed(start: Start) -> None:
    with start() as interpreter:
        assert chi_square(interpreter) < CHANCE


# Channels that are broken on purpose


def start_broken(name: str, limit: float = 0.5) -> Interpreter:
    """Start the interpreter in Python with a broken part. A run of more than `limit` seconds has lost a goroutine."""
    return Interpreter([sys.executable, "-m", "parity.broken", name, str(limit)], programs_each=1000)


@pytest.fixture(scope="module")
def sample() -> list[tuple[Program, set[str]]]:
    """Generated programs, always the same, with the outcomes that the model allows."""
    generated = []

    @settings(max_examples=SAMPLE, derandomize=True)
    @given(programs())
    def collect(written: Program) -> None:
        generated.append((written, outcomes(written)))

    collect()
    return generated


@pytest.mark.parametrize("name", BROKEN)
def test_its_rule_finds_the_broken_part(name: str) -> None:
    written, allowed = RULES[BROKEN[name]]
    with start_broken(name) as interpreter:
        assert any(not interpreter.run(written, 1).keys() <= allowed for _ in range(ATTEMPTS))


@pytest.mark.parametrize("name", BROKEN)
def test_a_generated_program_finds_the_broken_part(name: str, sample: list[tuple[Program, set[str]]]) -> None:
    with start_broken(name) as interpreter:
        assert any(not interpreter.run(written, RUNS["Python"]).keys() <= allowed for written, allowed in sample)


def test_counting_finds_a_select_that_takes_the_first_case() -> None:
    with start_broken("select_takes_the_first", LIMIT) as interpreter:
        assert chi_square(interpreter) > CHANCE
