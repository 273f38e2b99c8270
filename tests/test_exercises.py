"""The exercises: each solution is right, and each known mistake is found and named. A check never hangs."""

from __future__ import annotations

import ast
import shutil
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import test_hub
from helpers import LIMIT
from right_answers import RIGHT, changed

from threadchat.exercises import checking, show
from threadchat.exercises.cards import Card, Chapter, Wrong, parse, read_cards
from threadchat.exercises.checking import check
from threadchat.exercises.folder import Folder
from threadchat.exercises.verdict import Result

CARDS = read_cards()
WORKER = CARDS[0]
PATIENCE = 6.0  # seconds, in place of checking.LIMIT: the tests' machine may be busy


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that finds nothing makes all its runs, also on a busy machine."""
    monkeypatch.setattr(checking, "LIMIT", PATIENCE)


def checked(card: Card, source: str, folder: Path) -> Result:
    file = folder / card.file
    file.write_text(source, encoding="utf-8")
    return check(card, file)


def found(card: Card, source: str, folder: Path) -> str:
    """What the check finds wrong, as one text."""
    finding = checked(card, source, folder).finding
    assert finding
    return "\n".join(finding.paragraphs)


def test_the_exercises_are_numbered_from_1_without_a_gap() -> None:
    assert [card.number for card in CARDS] == list(range(1, len(CARDS) + 1))
    assert len({card.name for card in CARDS}) == len(CARDS)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_has_all_its_parts_and_its_python_compiles(card: Card) -> None:
    assert card.hints
    assert len(card.wrong) >= 3
    assert card.why
    assert card.go
    for source in (card.start, card.solution, *(wrong.code for wrong in card.wrong)):
        ast.parse(source)
        assert max(map(len, source.splitlines())) <= 100
    assert '"""' not in card.task


@pytest.mark.skipif(not shutil.which("gofmt"), reason="there is no Go here")
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_go_is_written_as_gofmt_has_it(card: Card) -> None:
    source = f"package exercise\n\n{card.go}"
    done = subprocess.run(["gofmt"], input=source, capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout == source, done.stderr


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_solution_is_right(card: Card, tmp_path: Path) -> None:
    result = checked(card, card.solution, tmp_path)
    assert result.finding is None
    assert result.runs >= 100


@pytest.mark.parametrize(("name", "source"), RIGHT, ids=[name for name, _ in RIGHT])
def test_another_right_answer_is_right_too(name: str, source: str, tmp_path: Path) -> None:
    (card,) = (card for card in CARDS if card.name == name)
    assert checked(card, source, tmp_path).finding is None


@pytest.mark.parametrize(
    "test",
    [
        test_hub.test_every_client_gets_every_message_in_the_hubs_order,
        test_hub.test_a_client_is_registered_when_the_send_returns,
        test_hub.test_an_unregistered_client_still_receives_what_was_sent_before_and_then_its_channel_is_closed,
        test_hub.test_a_client_that_the_hub_does_not_know_can_be_unregistered,
        test_hub.test_a_stuck_client_stays_as_long_as_its_buffer_has_room,
        test_hub.test_after_a_stop_a_send_to_the_hub_raises_closed,
    ],
)
def test_the_last_solutions_hub_passes_the_real_hubs_tests_of_what_both_do(test: Callable[[Any], None]) -> None:
    """The others are about what the real hub does better: batches, the eviction of stuck clients alone, goodbyes."""
    names: dict[str, Any] = {"__name__": "exercise"}
    exec(CARDS[-1].solution, names)
    hub = names["Hub"]()
    thread = threading.Thread(target=hub.run)
    thread.start()
    try:
        test(hub)
    finally:
        hub.stop()
        thread.join(LIMIT)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_start_is_said_to_be_unwritten(card: Card, tmp_path: Path) -> None:
    assert "is still to be written: line" in found(card, card.start, tmp_path)


WRONG = [pytest.param(card, wrong, id=f"{card.name}: {wrong.name}") for card in CARDS for wrong in card.wrong]


@pytest.mark.parametrize(("card", "wrong"), WRONG)
def test_a_known_mistake_is_found_named_and_explained(
    card: Card, wrong: Wrong, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = checked(card, wrong.code, tmp_path)
    assert result.finding
    assert result.finding.name == wrong.name
    assert result.finding.paragraphs
    assert wrong.text or wrong.name == "polling", "polling is explained by the check"
    show.result(card, Folder(str(tmp_path), CARDS), result)
    printed = " ".join(capsys.readouterr().out.split())
    assert f"Not yet: {wrong.name}" in printed
    assert " ".join(wrong.text.split()) in printed


# Other code with the same mistakes: what each changes in the solution.
ALSO_WRONG = [
    ("channel", "the newest comes first", [("self._buffer.popleft()", "self._buffer.pop()")]),
    ("channel", "polling", [
        ("        self._woken.wait()", "        while not self._woken.wait(0.05):\n            pass"),
    ]),
    ("select", "a lost wake-up", [
        ("    with LOCK:\n        ready = ",
         "    for channel in random.sample((first, second), 2):\n"
         "        if channel.buffer:\n"
         "            return channel, channel.receive()\n"
         "    with LOCK:\n        ready: list[Channel] = []\n        _ = "),
    ]),
    ("pumps", "the set belongs to the hub's thread", [
        ("hub.register.send(client)", "hub.clients.add(client)"),
    ]),
    ("pumps", "close by the wrong side", [("self.hub.unregister.send(self)", "self.send.close()")]),
    ("pumps", "a forgotten unregister", [("self.hub.unregister.send(self)", "self.connection.close()")]),
    ("stop", "the set belongs to the hub's thread", [
        ("        select(Send(self.done, None), default=True)\n",
         "        select(Send(self.done, None), default=True)\n        print(len(self.clients), 'are told')\n"),
    ]),
    ("stop", "Closed is not caught", [
        ("        except Closed:\n            pass  # the hub has stopped",
         "        except KeyError:\n            pass  # the hub has stopped"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "mistake", "changes"), ALSO_WRONG, ids=[f"{name}: {mistake}" for name, mistake, _ in ALSO_WRONG]
)
def test_other_code_with_a_known_mistake_is_named_too(
    name: str, mistake: str, changes: list[tuple[str, str]], tmp_path: Path
) -> None:
    (card,) = (card for card in CARDS if card.name == name)
    finding = checked(card, changed(name, *changes), tmp_path).finding
    assert finding
    assert finding.name == mistake
    assert mistake in {wrong.name for wrong in card.wrong}


def test_the_line_where_a_thread_uses_the_hubs_set_is_told(tmp_path: Path) -> None:
    source = changed("pumps", ("self.hub.unregister.send(self)", "self.hub.part_with(self)"))
    number = {line.strip(): number for number, line in enumerate(source.splitlines(), 1)}
    inner, outer = "if client in self.clients:", "self.hub.part_with(self)"
    assert found(CARDS[10], source, tmp_path) == (
        f"The thread Ann's request uses `clients` at line {number[inner]}, `{inner}`, "
        f"called from line {number[outer]}, `{outer}`. So does the thread hub."
    )


RACES = {
    ("semaphore", "check then act"),
    ("channel", "a lost wake-up"),
    ("channel", "check then act"),
    ("channel", "wakes before the item is there"),
    ("select", "a lost wake-up"),
    ("pumps", "registered too late"),
}


@pytest.mark.parametrize(("name", "mistake"), sorted(RACES))
def test_a_race_is_forced_in_the_same_run_each_time_and_its_story_is_told(
    name: str, mistake: str, tmp_path: Path
) -> None:
    (card,) = (card for card in CARDS if card.name == name)
    (wrong,) = (wrong for wrong in card.wrong if wrong.name == mistake)
    result = checked(card, wrong.code, tmp_path)
    assert result.finding
    assert result.finding.story, "without a switch at the wrong place all goes well"
    again = checked(card, wrong.code, tmp_path)
    assert again.finding
    assert (again.finding.name, again.runs) == (mistake, result.runs)


def test_the_story_of_a_race_ends_where_it_goes_wrong(tmp_path: Path) -> None:
    """Not with the threads that leave afterwards."""
    card = CARDS[5]
    (wrong,) = (wrong for wrong in card.wrong if wrong.name == "check then act")
    finding = checked(card, wrong.code, tmp_path).finding
    assert finding
    assert finding.story[-1].endswith("  return job()")
    assert not any("-= 1" in turn for turn in finding.story)


# Code that does other things


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("worker", changed("worker", ("lambda: shout(lines, loud)", "shout")),
         "`go` calls its function without arguments: `lambda: shout(...)`."),
        ("close", changed("close", ("    for _ in lines:\n", "    while True:\n        lines.receive()\n")),
         "Catch Closed, or loop with `for`, which ends when the channel is closed and empty."),
        ("timeout",
         changed("timeout", ("        return None\n", "        return None\n    finally:\n        answers.close()\n")),
         "Catch Closed, if another thread may close the channel meanwhile."),
        ("timeout", changed("timeout", ("start(ask, f", "go(lambda: answers.send(ask()), f")),
         "You asked server 3 three times."),
        ("timeout", changed("timeout", ("receive(timeout=seconds)", "receive(timeout=1.0 - 1.0 / 64)")),
         "should return 'answer 2' after 1 second. It returned None after 0.9844 seconds."),
        ("rendezvous", changed("rendezvous", ("Channel(), Channel()", "Channel(1), Channel(1)")),
         "Alice has sent her parcel and gone on"),
        ("hub", changed("hub", ("select(self.register, self.unregister, self.broadcast)",
         "self.broadcast, self.broadcast.receive()")), "sends to `register`. In Go: register <- ann"),
    ],
)  # fmt: skip
def test_an_error_is_explained_with_what_to_do(name: str, source: str, said: str, tmp_path: Path) -> None:
    (card,) = (card for card in CARDS if card.name == name)
    text = found(card, source, tmp_path)
    assert said in text
    assert "`hub.register`" not in text, "a channel has one name in a report"


def test_no_known_mistake_repeats_what_every_story_begins_with() -> None:
    """A race's story begins with "It goes well in most orders"."""
    assert not [wrong.name for card in CARDS for wrong in card.wrong if "goes well" in wrong.text]


def worker(body: str) -> str:
    """The first exercise's solution, with other code in the worker's thread."""
    return (
        "from threadchat.runtime.threads import go\n\ndef start(lines, loud):\n"
        "    go(lambda: shout(lines, loud), 'worker')\n\ndef shout(lines, loud):\n"
        + textwrap.indent(textwrap.dedent(body), "    ")
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("while True: pass", "line 7"),
        ("while True:\n    x = 1", "goes round and round in lines 7-8"),
        ("import time\nwhile True: time.sleep(0.1)", "wakes again and again"),
        ("import os\nos._exit(3)", "has ended before the check was done: exit status 3"),
        ("import os\nos.kill(os.getpid(), 9)", "has ended before the check was done: exit status -9"),
        ("raise SystemExit", "raised SystemExit at line 7"),
        ("lines.receive()\n1 / 0", "raised ZeroDivisionError at line 8, `1 / 0`: division by zero"),
        ("shout(lines, loud)", "raised RecursionError"),
        ("lines.close()", "The thread main (the check) at `lines.send(line)` sends to a closed channel: that raised "
         "Closed. In Go it would panic. The channel was closed by worker."),
        ("lines.receive()\nloud.close()\nloud.send('')", "at line 9, `loud.send('')` sends to a closed channel"),
        ("lines.close()\nlines.close()", "at line 8, `lines.close()` closes a channel that is closed already"),
        ("loud.close()\nloud.receive()", "`loud.receive()` receives from a channel that is closed and empty"),
        ("import os\nos.read(os.pipe()[0], 1)", "The thread worker at line 8, `os.read(os.pipe()[0], 1)` does not come "
         "to an end: it waits for something that is no channel"),
        ("import queue", "need neither `queue`"),
        ("import threading\nthreading.Semaphore()",
         "The exercises do not need `threading.Semaphore`: a channel does what it does."),
        ("import threading\nthreading.RLock()", "The exercises do not need `threading.RLock`. Of threading the "
         "check knows Condition, Event, Lock, Thread, "),
        ("from time import localtime", "The exercises do not need `time.localtime`."),
        ("input()", "raised EOFError"),
        ("loud.send(lines.receive())", "I sent 'hello' to `lines` and received 'hello' from `loud`, not 'HELLO'."),
        ("lines.receive()\nloud.receive()", "receives from `loud`. In Go: <-loud"),
        ("import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
         "waits for the lock `lock`, which worker holds"),
        ("import threading\nthreading.Event().wait()", "waits for the Event"),
    ],
)  # fmt: skip
def test_wrong_code_is_explained(body: str, said: str, tmp_path: Path) -> None:
    assert said in found(WORKER, worker(body), tmp_path)


@pytest.mark.parametrize("body", ["9 ** 9 ** 9", "any(iter(int, 1))", "import itertools\nmax(itertools.count())"])
def test_a_check_ends_in_time_whatever_the_code_does(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "LIMIT", 2.0)
    began = time.monotonic()
    text = found(WORKER, worker(body), tmp_path)
    assert "was ended" in text or "does not come to an end" in text
    assert time.monotonic() - began < LIMIT


def test_what_the_code_gets_for_threading_and_time_behaves_as_the_real_ones(tmp_path: Path) -> None:
    body = """
    import threading, time

    def told(lock, condition, event, seen):
        with condition:
            seen.append("told")
            condition.notify()
        event.set()

    lock, event, seen = threading.Lock(), threading.Event(), []
    condition = threading.Condition(lock)
    began = time.monotonic()
    assert not event.wait(2) and time.monotonic() - began == 2
    time.sleep(1)
    assert time.time() - began == 3
    assert lock.acquire() and lock.locked()
    assert not lock.acquire(blocking=False) and not lock.acquire(timeout=1)
    lock.release()
    try:
        lock.release()
    except RuntimeError:
        seen.append("not locked")
    for action in (condition.wait, condition.notify):
        try:
            action()
        except RuntimeError:
            seen.append("not held")
    other = threading.Thread(target=told, args=(lock, condition, event, seen), name="other")
    with condition:
        assert not condition.wait(1) and not condition.wait_for(lambda: False, timeout=1)
        other.start()
        assert other.is_alive() and condition.wait_for(lambda: "told" in seen)
    event.wait()
    other.join()
    other.join(1)
    assert not other.is_alive() and event.is_set()
    event.clear()
    assert not event.is_set() and threading.current_thread().name == "worker"
    assert seen == ["not locked", "not held", "not held", "told"]
    try:
        threading.Thread().join()
    except RuntimeError:
        while True:
            loud.send(lines.receive().upper())
    """
    assert checked(WORKER, worker(body), tmp_path).finding is None


def test_a_thread_that_catches_every_error_does_not_outlive_its_run(tmp_path: Path) -> None:
    body = """
    while True:
        try:
            loud.send(lines.receive().upper())
        except BaseException:
            pass
    """
    assert checked(WORKER, worker(body), tmp_path).finding is None


def test_memory_is_bounded(tmp_path: Path) -> None:
    assert "MemoryError" in found(WORKER, worker("x = bytearray(1 << 33)"), tmp_path)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"def start(:\n", "Python cannot read line 1, `def start(:`"),
        (b"\xff\xfe", "The file cannot be read"),
        (b"x = '\x00'", "Python cannot read the file: source code string cannot contain null bytes"),
        (b"", "Your file has no `start` any more"),
        (b"start = 3", "raised TypeError"),
        (b"import nothing_of_this_name", "No module named"),
    ],
)
def test_a_file_that_python_cannot_use_is_explained(source: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a file with spaces.py"
    file.write_bytes(source)
    finding = check(WORKER, file).finding
    assert finding
    assert said in "\n".join(finding.paragraphs)


def test_what_the_code_prints_is_shown_of_one_run(tmp_path: Path) -> None:
    source = WORKER.solution.replace("while True:", "print('here', 1)\n    while True:")
    assert checked(WORKER, source, tmp_path).printed == "here 1\n"
    endless = worker("while True: print('x' * 100)")
    assert len(checked(WORKER, endless, tmp_path).printed) < 5_000


def test_a_race_is_told_with_the_lines_in_their_order(tmp_path: Path) -> None:
    """Two threads that each read a number, add 1 and write it: a switch between the two steps loses one."""
    source = """
    from threadchat.channel import Channel
    from threadchat.runtime.threads import go

    total = 0

    def add(done):
        global total
        seen = total
        total = seen + 1
        done.send(None)

    def start(lines, loud):
        done = Channel()
        go(lambda: add(done), "first")
        go(lambda: add(done), "second")
        done.receive()
        done.receive()
        assert total == 2
        go(lambda: shout(lines, loud), "worker")

    def shout(lines, loud):
        while True:
            loud.send(lines.receive().upper())
    """
    result = checked(WORKER, textwrap.dedent(source), tmp_path)
    assert result.finding
    assert result.runs > 1, "in most orders nothing is lost"
    assert "raised AssertionError" in result.finding.paragraphs[0]
    assert any(turn.startswith(("first: ", "second: ")) for turn in result.finding.story)


def test_parts_of_a_card_are_found_by_their_headings() -> None:
    text = (
        "# A title\n\nDo it.\n\n    x = 1\n\n## Chapter\n\n[To read](there)\n\n## Start\n\n```python\ny = 2\n```\n\n"
        "## Hint\n\nOne.\n\n## Hint\n\nTwo.\n\n"
        "## Solution\n\n```python\nz\n```\n\n## Go\n\n```go\ng\n```\n\n## Why\n\nSo.\n\n"
        "## Wrong: bad\n\nNo.\n\n```python\nw\n```\n"
    )
    card = parse("07-name.md", text)
    assert replace(card, start="") == Card(
        7,
        "name",
        "A title",
        "Do it.\n\n    x = 1",
        Chapter("To read", "there"),
        "",
        ("One.", "Two."),
        "z\n",
        "g\n",
        "So.",
        (Wrong("bad", "No.", "w\n"),),
    )
    assert card.start == '"""A title\n\nDo it.\n\n    x = 1\n"""\n\ny = 2\n'
    assert card.file == "07_name.py"
