"""The lessons: each broken part fails in exactly the way described, and the real part does not.

No test compares durations.
"""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from helpers import LIMIT

from threadchat import cli
from threadchat.hub import Hub
from threadchat.lessons import show
from threadchat.lessons.lesson import Change, Chart, Result, Source, Value
from threadchat.lessons.run import LESSONS, after, run

THREADCHAT = [sys.executable, "-W", "error", "-m", "threadchat"]


def both(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run both parts of a lesson, and return what each showed."""
    with ThreadPoolExecutor() as pool:
        broken, real = pool.map(lambda which: run(LESSONS[name], which).seen, ("broken", "real"))
    assert broken.keys() == real.keys(), "both parts show the same things"
    return broken, real


# Each lesson


def test_no_limit_messages_pile_up_without_a_limit_and_the_client_is_evicted_with_one() -> None:
    broken, real = both("no-limit")
    for seen in (broken, real):
        assert seen["received by the client that reads"] == seen["messages sent to everybody"] == 20_000
    assert broken["how its connection ended"] == "it is still open"
    assert broken["waiting for the other client, at most"] >= broken["waiting for it at the end"] > 10_000
    assert real["how its connection ended"].startswith("1008 evicted")
    assert 0 < real["waiting for the other client, at most"] <= 256
    assert real["waiting for it at the end"] == 0


def test_blocking_send_a_waiting_hub_serves_no_client_and_the_real_one_evicts() -> None:
    broken, real = both("blocking-send")
    heard = "received by the 3 clients that read"
    assert broken[heard] < 2_000
    assert broken["how its connection ended"] == "it is still open"
    assert broken["messages waiting for the stuck client"] == 256
    assert broken["where the hub's thread waits"] == ("Hub.run > Hub._pass_on > Hub._wait_or_evict > select")
    assert real[heard] == 2_000
    assert real["how its connection ended"].startswith("1008 evicted")
    assert real["where the hub's thread waits"] == "Hub.run > select"


def test_self_send_a_hub_that_sends_to_itself_deadlocks_and_the_real_one_goes_on() -> None:
    broken, real = both("self-send")
    assert broken["threads that send to `unregister`"] == 1
    assert broken["threads that receive from it"] == 0
    assert broken["where the hub's thread waits"] == (
        "Hub.run > Hub._pass_on > Hub._wait_or_evict > Hub._evict > Channel.send"
    )
    assert broken["received by the client that reads"] < 2_000
    assert real["threads that send to `unregister`"] == 0
    assert real["threads that receive from it"] == 1
    assert real["received by the client that reads"] == 2_000
    assert real["how the other's connection ended"].startswith("1008 evicted")


def test_two_writers_a_pong_lands_inside_a_frame_and_with_the_lock_after_it() -> None:
    broken, real = both("two-writers")
    frame, before = "bytes in the frame, by its header", "bytes before the pong"
    pong = "8a 05 70 6f 6e 67 21"
    assert broken["the bytes around the pong"] == f"78 78 78 {pong} 78 78 78"
    assert 0 < broken[before] < broken[frame]
    assert broken["so the pong is"] == "inside the frame"
    assert broken["how the client closes the connection"].startswith("1007 ")
    assert real["the bytes around the pong"] == f"78 78 78 {pong} 81 07 74", "and then the next frame"
    assert real[before] == real[frame] == broken[frame]
    assert real["so the pong is"] == "after the frame"
    assert real["how the client closes the connection"] == "not at all: there is no error"


def test_lock_instead_clients_read_different_orders_and_from_the_hub_the_same() -> None:
    broken, real = both("lock-instead")
    assert broken["what one client reads"] == "Red wins!, Blue wins!"
    assert broken["what the other client reads"] == "Blue wins!, Red wins!"
    assert real["what one client reads"] == real["what the other client reads"] == "Red wins!, Blue wins!"


def test_convoy_many_pumps_are_awake_at_once_and_with_the_run_queue_one() -> None:
    broken, real = both("convoy")
    assert broken["most pumps awake at once"] > 20
    assert real["most pumps awake at once"] == 1
    assert broken["write pumps"] == real["write pumps"] == 1_000


@pytest.mark.parametrize(
    ("broken", "real", "says"),
    [
        ((8000, 60.0, 30.0), (1000, 15.0, 15.0), "8.0 times as many .* 4.0 times the .* 2.0 times as long"),
        ((2000, 18.0, 30.0), (1000, 15.0, 15.0), "difference in CPU time is small"),
        ((8000, 60.0, 10.0), (1000, 15.0, 20.0), "even arrived sooner"),
    ],
)
def test_the_verdict_on_the_convoy_follows_from_the_measured_figures(
    broken: tuple[float, ...], real: tuple[float, ...], says: str
) -> None:
    labels = [
        "thread switches per message",
        "CPU time per message, in ms",
        "time until all had written it, median, in ms",
    ]
    results = [Result(dict(zip(labels, values, strict=True))) for values in (broken, real)]
    assert re.search(says, LESSONS["convoy"].verdict(*results))


def test_nagle_the_kernel_delays_the_second_message_and_with_tcp_nodelay_it_does_not() -> None:
    broken, real = both("nagle")
    held_back = "second messages the kernel held back"
    assert broken[held_back] != 0
    assert real[held_back] == 0


def test_read_ahead_a_flood_fills_the_memory_and_the_real_read_pump_slows_the_sender() -> None:
    broken, real = both("read-ahead")
    sent, in_memory = "messages that it could send", "messages in the server's memory"
    assert broken[sent] == broken[in_memory] == 20_000
    assert real[in_memory] == 256 + 1, "the channel to the hub is full, and the read pump holds one message"
    assert 257 < real[sent] < 10_000, "the rest is in the kernel's buffers, which are bounded"


# The process that runs a part


def part_of_its_own(code: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a part with this code as its body, which returns a Result, in a process as the lessons do."""
    program = f"""
import threading
from threadchat.lessons import run
from threadchat.lessons.lesson import Part, Result
{before}
def try_it():
    {code}
run._run_here(Part("", try_it))
"""
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_a_part_that_takes_too_long_is_ended() -> None:
    done = part_of_its_own("threading.Event().wait()", before="run.LIMIT = 1")
    assert done.returncode == -signal.SIGALRM


def test_a_part_that_takes_too_much_memory_is_ended() -> None:
    done = part_of_its_own("bytearray(2 * run.MEMORY)")
    assert done.returncode == 1
    assert done.stderr.endswith("MemoryError\n")


def test_a_part_may_leave_blocked_threads_behind() -> None:
    done = part_of_its_own("threading.Thread(target=threading.Event().wait).start(); return Result({'x': 1})")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"seen": {"x": 1}, "chart": None}


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("kill -ALRM $$", "no-limit: the broken part took longer than 25 seconds"),
        (
            "echo Traceback >&2; echo 'OSError: Too many open files' >&2; exit 1",
            "no-limit: OSError: Too many open files",
        ),
        ("exit 1", "no-limit: no reason given"),
    ],
)
def test_a_lesson_that_cannot_run_ends_with_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], script: str, says: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(SystemExit) as ended:
        cli.main(["lesson", "no-limit", "--json"])
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"threadchat lesson: {says}\n")


@pytest.mark.parametrize("how", [["--json"], ["--yes"]])
def test_without_the_source_of_the_chat_a_lesson_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: list[str]
) -> None:
    def none(function: object) -> None:
        raise OSError("could not get source code")

    monkeypatch.setattr("inspect.getsourcelines", none)
    with pytest.raises(SystemExit) as ended:
        cli.main(["lesson", "no-limit", *how])
    assert ended.value.code == 2
    said = "threadchat lesson: the lessons need the source of the chat, and its .py files are not here\n"
    assert capsys.readouterr().err == said


# The command


def lesson(*arguments: str, stdin: int = subprocess.DEVNULL) -> str:
    """Run `threadchat lesson`, and return what it prints."""
    command = [*THREADCHAT, "lesson", *arguments]
    return subprocess.run(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT, check=True
    ).stdout


def test_as_json_a_lesson_is_one_object() -> None:
    got = json.loads(lesson("lock-instead", "--json"))
    told = LESSONS["lock-instead"]
    assert {key: got[key] for key in ("name", "title", "question", "choices", "answer")} == {
        "name": "lock-instead",
        "title": told.title,
        "question": told.question,
        "choices": [choice.text for choice in told.choices],
        "answer": told.answer,
    }
    assert [paragraph.split() for paragraph in got["why"].split("\n\n")] == [
        paragraph.split() for paragraph in told.why.split("\n\n")
    ]
    assert "\n" not in got["why"].replace("\n\n", ""), "a paragraph is one line"
    assert got["reasons"] == [choice.why_not for choice in told.choices]
    assert got["broken"] == {
        "title": told.broken.title,
        "source": asdict(told.change.broken),
        "seen": [
            ["what one client reads", "Red wins!, Blue wins!"],
            ["what the other client reads", "Blue wins!, Red wins!"],
            ["different orders", "2"],
        ],
        "chart": None,
    }
    assert got["real"]["source"]["file"] == "client.py"
    assert got["real"]["source"]["lines"][0] == "def read_pump(self) -> None:", "a method's source is dedented"
    assert got["real"]["seen"][2] == ["different orders", "1"]


def test_without_a_name_the_lessons_are_listed() -> None:
    listed = lesson()
    for name, told in LESSONS.items():
        assert re.search(rf"^  {name} +{re.escape(told.title)}$", listed, re.MULTILINE)
    outlines = json.loads(lesson("--json"))
    assert [outline["name"] for outline in outlines] == list(LESSONS)
    assert all(
        outline.keys() == {"name", "title", "chapter", "exercise", "question", "choices"} for outline in outlines
    )


def test_on_a_terminal_it_asks_until_the_answer_is_valid_and_waits_before_the_real_part() -> None:
    terminal, end = pty.openpty()
    os.write(terminal, b"9\nperhaps\n2\n\n")
    with subprocess.Popen([*THREADCHAT, "lesson", "lock-instead"], stdin=end, stdout=end, stderr=end) as process:
        os.close(end)
        printed = all_that_comes_from(terminal)
    assert process.returncode == 0
    assert printed.count("What do you think?") == 3
    assert printed.count("Press Enter") == 1
    assert "\nYes, it is 2: Not always" in printed


def all_that_comes_from(terminal: int) -> str:
    """What is printed on a terminal until nobody has its other end, which is closed then."""
    printed = b""
    with suppress(OSError), open(terminal, "rb", buffering=0) as screen:
        while some := screen.read(65_536):
            printed += some
    return printed.decode().replace("\r\n", "\n")


def test_without_a_terminal_it_asks_nothing() -> None:
    printed = lesson("lock-instead")
    assert "What do you think?" not in printed
    assert "Press Enter" not in printed
    asked, broken, real, why = re.split("^--- .*\n", printed, flags=re.MULTILINE)
    assert "  2  Not always" in asked
    assert "what the other client reads  Blue wins!, Red wins!" in broken
    assert "what the other client reads  Red wins!, Blue wins!" in real
    assert why.startswith("\nThe answer is 2: Not always")


def test_it_asks_nothing_where_only_the_input_is_a_terminal() -> None:
    terminal, end = pty.openpty()
    try:
        printed = lesson("lock-instead", stdin=end)
    finally:
        os.close(terminal)
        os.close(end)
    assert "What do you think?" not in printed
    assert "The answer is 2" in printed


class Terminal(io.StringIO):
    """A terminal on which this text is typed, followed by Ctrl-D."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the running of lessons by made-up results. The captured output counts as a terminal."""
    monkeypatch.setattr(cli, "_can_ask", lambda: sys.stdin.isatty())
    labels = (
        "thread switches per message",
        "CPU time per message, in ms",
        "time until all had written it, median, in ms",
    )
    seen: dict[str, Value] = {**dict.fromkeys(labels, 1234.5), "time until the second arrived, median, in ms": 0.0321}
    charts = {
        "broken": Chart("waiting", "messages", [(0.0, 0.0), (0.5, 600.0), (1.0, 1200.0)]),
        "real": Chart("waiting", "messages", [(0.0, 0.0), (0.4, 300.0)]),
    }
    monkeypatch.setattr(show, "run", lambda lesson, which: Result(seen, charts[which]))


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(
    ("typed", "says"), [("2\n\n", "Yes, it is 2"), ("1\n\n", "The answer is 2"), ("\n\n", "The answer is 2")]
)
def test_it_says_whether_the_choice_was_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, says: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert cli.main(["lesson", "no-limit"]) == 0
    printed = capsys.readouterr().out
    assert f"\n{says}: They wait in the server's memory" in printed
    assert ("Not quite. TCP throws nothing away" in printed) == (typed[0] == "1")
    assert (
        "\nTo read about it: threadchat serve, then /guide#too-slow\nTo write it yourself: threadchat exercise full\n"
        in printed
    )
    assert printed.endswith("\nNext: threadchat lesson blocking-send\n")


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("typed", ["", "2\n"])
def test_the_reader_may_leave_at_each_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert cli.main(["lesson", "no-limit"]) == 130
    assert "--- Why" not in capsys.readouterr().out


@pytest.mark.usefixtures("made_up")
def test_with_yes_it_asks_nothing_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    assert cli.main(["lesson", "no-limit", "--yes"]) == 0
    assert "--- Why" in capsys.readouterr().out


@pytest.mark.usefixtures("made_up")
def test_values_are_rounded_and_both_charts_have_the_same_scale(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show.teach(LESSONS["nagle"], ask=False)
    printed = capsys.readouterr().out
    assert "\n  thread switches per message                   1,234\n" in printed
    assert "\n  time until the second arrived, median, in ms  0.032\n" in printed
    bars = re.findall(r"^ +([\d.]+) s  (#*) +([\d,]+)$", printed, re.MULTILINE)
    assert len(bars) == 2 * (show.BARS + 1)
    assert bars[0] == ("0.00", "", "0")
    assert bars[5] == ("0.50", "#" * 20, "600")
    assert bars[10] == ("1.00", "#" * 40, "1,200")
    assert bars[-1] == ("0.40", "#" * 10, "300")
    assert "the second message took 0.032 ms with Nagle's\nalgorithm and 0.032 ms without it.\n\n" in printed


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_fits_80_columns(capsys: pytest.CaptureFixture[str], name: str) -> None:
    show.teach(LESSONS[name], ask=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == []


def test_a_listing_marks_what_differs_and_folds_what_does_not() -> None:
    told = LESSONS["two-writers"].change
    assert (
        "\n".join(show._listing(told.broken))
        == """\
  def _send(self, frame: bytes, closing: bool = False) -> None:
      \"\"\"Send a control frame; `closing` if it is the close frame. Raises
          ConnectionClosed.\"\"\"
>     with nullcontext():  # without a lock
          if self._closing and not closing:
              raise ConnectionClosed
  ... 2 lines"""
    )


def test_long_source_lines_are_wrapped() -> None:
    lines = [
        "def f(self) -> None:",
        "    if first_of_two_conditions(self, 12345) and second_of_two_conditions(self, 67890):",
        "        return  # in the comment it says at some length why this is so, and what else there is",
        "",
        "    # a comment that stands alone and is as long as a comment may be where a line has 120",
        "    return  # short",
    ]
    assert (
        "\n".join(show._listing(Source("f.py", 7, lines, [12], [])))
        == """\
  def f(self) -> None:
      if first_of_two_conditions(self, 12345) and second_of_two_conditions(self,
          67890):
          # in the comment it says at some length why this is so, and what else
          # there is
          return

      # a comment that stands alone and is as long as a comment may be where a
      # line has 120
>     return  # short"""
    )


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_well_formed(name: str) -> None:
    told = LESSONS[name]
    assert (Path(show.__file__).parent / f"{name.replace('-', '_')}.py").exists()
    assert sum(not choice.why_not for choice in told.choices) == 1, "one answer is right"
    reasons = [choice.why_not for choice in told.choices if choice.why_not]
    assert len(set(reasons)) == len(told.choices) - 1, "each wrong answer has a reason of its own"
    assert told.question.endswith("?")


@pytest.mark.parametrize("name", LESSONS)
def test_both_sides_show_one_function_and_differ_in_the_marked_lines_alone(name: str) -> None:
    broken, real = LESSONS[name].change.broken, LESSONS[name].change.real
    assert (broken.file, broken.first_line, broken.lines[0]) == (real.file, real.first_line, real.lines[0])

    def unmarked(source: Source) -> list[str]:
        return [line for number, line in enumerate(source.lines, source.first_line) if number not in source.changed]

    assert unmarked(broken) == unmarked(real)
    for source in (broken, real):
        assert 1 <= len(source.changed) <= 4
        shown = len(source.lines) - len(source.folded)
        assert shown <= 10, "short enough to be read at a glance"
        assert not set(source.folded) & set(source.changed)


def test_a_change_that_does_not_fit_the_function_is_an_error() -> None:
    with pytest.raises(LookupError, match=re.escape("Hub._evict has no line 'self.clients.discard(client)'")):
        _ = Change(Hub, "_evict", "self.clients.discard(client)", "pass").broken


def test_the_last_lesson_has_no_next_one() -> None:
    *_, last = LESSONS.values()
    assert [after(lesson) for lesson in LESSONS.values()] == [*list(LESSONS.values())[1:], None]
    assert after(last) is None


def test_a_chart_keeps_about_a_hundred_points_including_the_last() -> None:
    points = [(float(number), 0.0) for number in range(20_000)]
    kept = Chart.of("", "", points).points
    assert 90 < len(kept) < 110
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert Chart.of("", "", points[:25]).points == points[:25]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("goroutines", "threadchat lesson lists those there are"), ("convoi", "did you mean convoy?")],
)
def test_an_unknown_lesson_costs_one_line_with_a_hint(capsys: pytest.CaptureFixture[str], name: str, hint: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["lesson", name])
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"threadchat lesson: there is no lesson {name!r}; {hint}\n")
