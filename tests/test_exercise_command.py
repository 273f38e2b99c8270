"""`threadchat exercise`: the folder, the progress, the watch, and what is printed. Nothing of the learner's is lost."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from helpers import LIMIT, THREADCHAT, Running, until

from threadchat import cli
from threadchat.exercises import reading
from threadchat.exercises.cards import read_cards

CARDS = read_cards()
WORKER, RENDEZVOUS = CARDS[:2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exercise(*words: str) -> int:
    return cli.main(["exercise", *words])


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says instead of doing it."""
    with pytest.raises(SystemExit) as ended:
        exercise(*words)
    assert ended.value.code == 2
    return capsys.readouterr().err


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command prints, without line breaks."""
    exercise(*words)
    return " ".join(capsys.readouterr().out.split())


def test_without_an_action_it_makes_the_files_and_explains_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert exercise() == 0
    text = capsys.readouterr().out
    assert f"Exercise 1 of {len(CARDS)}: {WORKER.title}" in text
    assert "threadchat exercise check" in text
    assert max(map(len, text.splitlines())) <= 88
    assert {path.name for path in Path("exercises").glob("*.py")} == {card.file for card in CARDS}
    for card in CARDS:
        assert Path("exercises", card.file).read_text() == card.start


def test_it_says_where_to_read_about_the_exercise(
    capsys: pytest.CaptureFixture[str], server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for card in CARDS:
        assert f'the chapter "{card.chapter.title}" of the guide. http' in printed(capsys, card.name)
    monkeypatch.setattr(reading, "CHAT", "http://127.0.0.1:1/")  # where nothing listens
    text = printed(capsys)
    assert "http://127.0.0.1:1/guide#go-beside-python while `threadchat serve` runs" in text
    assert f"{reading.file()} its text" in text
    assert f'<h2 id="{WORKER.chapter.id}">' in Path(reading.file()).read_text()
    monkeypatch.setattr(reading, "CHAT", server.url)
    text = printed(capsys)
    assert f"{server.url}guide#go-beside-python Write it in" in text
    assert "threadchat serve" not in text


def test_nothing_that_the_learner_wrote_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    exercise()
    file = Path("exercises", WORKER.file)
    file.write_text("mine")
    Path("exercises", RENDEZVOUS.file).unlink()
    assert "Made 1 file that was missing" in printed(capsys)
    assert file.read_text() == "mine"
    for number in range(3):
        file.write_text(f"mine {number}")
        exercise("reset")
    assert file.read_text() == WORKER.start
    kept = {path.read_text() for path in Path("exercises").glob("01_worker.old*.py")}
    assert kept == {"mine 0", "mine 1", "mine 2"}


def test_reset_of_a_file_that_is_gone_makes_it_anew(capsys: pytest.CaptureFixture[str]) -> None:
    exercise()
    file = Path("exercises", WORKER.file)
    file.unlink()
    assert "What you wrote" not in printed(capsys, "reset", "1")
    assert file.read_text() == WORKER.start


def test_a_folder_with_other_files_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("exercises").mkdir()
    Path("exercises", "thesis.txt").write_text("mine")
    assert "exercises has files of yours; name another folder: --folder NAME" in refused(capsys)
    assert [path.name for path in Path("exercises").iterdir()] == ["thesis.txt"]


def test_a_name_that_is_a_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("exercises").write_text("mine")
    assert "exercises cannot be used: " in refused(capsys)


@pytest.mark.parametrize("name", ["with spaces and 'quotes'", "überall/tief", "-dash", "100%", "a\nb"])
def test_a_folder_may_have_any_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = f"--folder={name}"
    exercise(folder)
    Path(name, WORKER.file).write_text(WORKER.solution)
    assert exercise(folder, "check") == 0
    assert "Right" in capsys.readouterr().out


def test_inside_the_folder_no_name_is_needed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exercise("--folder", "mine")
    assert "threadchat exercise check --folder mine" in printed(capsys, "--folder", "mine")
    monkeypatch.chdir("mine")
    assert "threadchat exercise check see" in printed(capsys)
    assert exercise("check") == 1
    assert not Path("exercises").exists()


def test_a_check_that_is_right_leads_to_the_next_exercise(capsys: pytest.CaptureFixture[str]) -> None:
    exercise()
    assert exercise("check") == 1
    Path("exercises", WORKER.file).write_text(WORKER.solution)
    assert exercise("check") == 0
    text = capsys.readouterr().out
    assert "for line in lines" not in text
    assert "loud <- strings.ToUpper(line)" in text
    assert f"Next: 2. {RENDEZVOUS.title}" in text
    assert f"Exercise 2 of {len(CARDS)}" in printed(capsys)
    assert "done 1 worker" in printed(capsys, "list")
    exercise("reset", "worker")
    assert f"Exercise 1 of {len(CARDS)}" in printed(capsys)


def test_when_all_are_done_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    exercise()
    Path("exercises", ".threadchat.json").write_text(
        '{"done": [' + ", ".join(f'"{card.name}"' for card in CARDS) + '], "hints": {}}'
    )
    assert f"All {len(CARDS)} exercises are done" in printed(capsys)
    assert f"All {len(CARDS)} exercises are done" in printed(capsys, "check")
    assert f"Exercise 1 of {len(CARDS)}" in printed(capsys, "worker")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"done": 3, "hints": {}}', '{"done": [], "hints": {"worker": "x"}}']
)
def test_progress_that_cannot_be_read_begins_anew(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    exercise()
    Path("exercises", ".threadchat.json").write_text(content)
    assert f"Exercise 1 of {len(CARDS)}" in printed(capsys)
    assert "Hint 1" in printed(capsys, "hint")


def test_each_hint_comes_when_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    exercise()
    capsys.readouterr()
    first, second = printed(capsys, "hint"), printed(capsys, "hint")
    assert "Hint 1 of 2" in first
    assert "Hint 2 of 2" not in first
    assert "Hint 2 of 2" in second
    assert "threadchat exercise solution worker" in printed(capsys, "hint")


def test_the_solution_comes_with_the_go(capsys: pytest.CaptureFixture[str]) -> None:
    text = (exercise("solution", "close"), capsys.readouterr().out)[1]
    assert "    lines.close()" in text
    assert "    close(lines)" in text
    assert not Path("exercises").exists(), "reading a solution makes no files"


@pytest.mark.parametrize("word", ["4", "04", "default", "04_default", "04_default.py", "exercises/04_default.py"])
def test_an_exercise_has_a_number_a_name_and_a_file(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    exercise()
    capsys.readouterr()
    assert "Exercise 4 of 12" in printed(capsys, word)


def test_the_help_says_how_to_name_an_exercise_and_the_list_which_take_longer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        exercise("--help")
    assert "EXERCISE is a number, a name or a file, such as 4, default or 04_default.py" in " ".join(
        capsys.readouterr().out.split()
    )
    assert "8 select Your own select (20 to 25 minutes)" in printed(capsys, "list")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chek"], "there is no exercise 'chek'; did you mean check?"),
        (["check", "workr"], "there is no exercise 'workr'; did you mean worker?"),
        (["hint", "99"], "there is no exercise '99'"),
        (["check", "1", "2"], "unexpected argument '2'"),
        (["check"], "there are no exercises in exercises yet; `threadchat exercise` makes them"),
        (["--foldr", "x"], "there is no option --foldr; did you mean --folder?"),
    ],
)
def test_a_mistake_ends_with_a_hint(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(capsys, *words)
    assert not Path("exercises").exists()


def test_a_check_of_a_file_that_is_gone_says_how_to_get_it_back(capsys: pytest.CaptureFixture[str]) -> None:
    exercise()
    Path("exercises", WORKER.file).unlink()
    assert "`threadchat exercise` makes what is missing" in refused(capsys, "check")


def test_a_folder_that_cannot_be_written_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be used" in refused(capsys, "--folder", "/proc/nothing")


def in_a_terminal(folder: Path, **variables: str) -> str:
    """What the list of exercises looks like in a terminal."""
    reader, writer = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | variables
    subprocess.run([*THREADCHAT, "exercise"], cwd=folder, stdout=writer, env=environment, timeout=LIMIT, check=True)
    os.close(writer)
    text = b""
    try:
        while piece := os.read(reader, 65_536):
            text += piece
    except OSError:  # Linux: the other side is closed
        pass
    os.close(reader)
    return text.decode()


def test_there_is_colour_in_a_terminal_and_nowhere_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b[1mExercise 1" in in_a_terminal(tmp_path, TERM="xterm")
    assert "\x1b" not in in_a_terminal(tmp_path, TERM="xterm", NO_COLOR="1")
    assert "\x1b" not in in_a_terminal(tmp_path, TERM="dumb")
    exercise()
    assert "\x1b" not in capsys.readouterr().out


def test_what_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    exercise()
    Path("exercises", WORKER.file).write_text(WORKER.solution.replace("    while", "    print('\u2713')\n    while"))
    command = [*THREADCHAT, "exercise", "check"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT, check=True)
    assert "Your code printed:\n    \\u2713\n" in done.stdout


# The watch


class Watching:
    """`threadchat exercise watch`, and what it has printed."""

    def __init__(self, folder: Path) -> None:
        self.text = ""
        self.process = subprocess.Popen(
            [*THREADCHAT, "exercise", "watch"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.text += line

    def says(self, text: str, times: int = 1) -> None:
        until(lambda: self.text.count(text) >= times, lambda: f"{text!r} in {self.text!r}")

    def end(self) -> tuple[int, str]:
        """Press Ctrl-C. Returns the exit status, and what was printed to standard error."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        assert self.process.stderr
        assert self.process.stdout
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return status, errors


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    exercise()
    watching = Watching(tmp_path)
    yield watching
    if watching.process.poll() is None:
        watching.end()


def test_the_watch_checks_after_each_change_goes_on_and_ends_quietly_on_ctrl_c(watching: Watching) -> None:
    file = Path("exercises", WORKER.file)
    watching.says("Waiting for a change")
    file.write_text(WORKER.wrong[0].code)
    watching.says(f"Not yet: {WORKER.wrong[0].name}")
    watching.says("Waiting for a change", times=2)
    file.unlink()  # as some editors do
    file.with_suffix(".new").write_text(WORKER.solution)
    os.replace(file.with_suffix(".new"), file)
    watching.says("Right, in each of")
    watching.says(f"Exercise 2 of {len(CARDS)}")
    watching.says("Waiting for a change", times=3)
    assert watching.end() == (0, "")


def test_ctrl_c_during_a_check_ends_quietly_too(watching: Watching) -> None:
    watching.says("Waiting for a change")
    Path("exercises", WORKER.file).write_text("while True:\n    [].sort()\nopen('/dev/null')")
    assert watching.end() == (0, "")
