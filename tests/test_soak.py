"""The soak: its figures add up for threadchat, and it finds each kind of fault in a faulty server."""

from __future__ import annotations

import json
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import soak_processes
from faulty_chat import FAULTS
from helpers import LIMIT, Process, until
from helpers.redis import needs_redis
from talker import Counts, Room, Talker
from talkers import Talkers

SOAK = Path(__file__).parents[1] / "scripts" / "benchmark" / "soak.py"
FAULTY = Path(__file__).with_name("faulty_chat.py")
OPTIONS = {  # of the soak, by the server's fault; "" is threadchat itself
    "": ["--minutes", "0.05", "--clients", "20", "--rate", "1000", "--talkers", "8", "--serve-option=--write-wait=5"],
    "keeps": ["--minutes", "0.02", "--clients", "2", "--rate", "3000"],
    "takes twice": ["--minutes", "0.05", "--clients", "1", "--rate", "1000", "--talkers", "16"],
    "forgets": ["--minutes", "0.05", "--clients", "1", "--rate", "1000", "--talkers", "8"],
}
FEW = ["--minutes", "0.02", "--clients", "3", "--rate", "1000"]
OF_V1 = ("missed", "twice", "different", "gaps")
COUNTED = ("lost", "repeated", "out_of_order", "healthy_evicted", "stuck_not_evicted")

Soaks = dict[str, tuple[int, dict[str, Any], str]]  # exit status, report, what was printed


@pytest.fixture(scope="module")
def soaks(tmp_path_factory: pytest.TempPathFactory) -> Soaks:
    """The results for threadchat and for a server with each fault. All soaks run at once, as they mostly wait."""
    done: Soaks = {}
    with ExitStack() as stack:
        running = {}
        for fault in ("", *FAULTS):
            folder = tmp_path_factory.mktemp("soak")
            command = [sys.executable, str(SOAK), "--json", str(folder / "json"), *OPTIONS.get(fault, FEW)]
            if fault:
                command += ["--server", f"{sys.executable} {FAULTY} {{port}} '{fault}'"]
            running[fault] = folder, stack.enter_context(Process(folder, command))
        for fault, (folder, process) in running.items():
            until(lambda process=process: process.ended, "the end of the soak", limit=6 * LIMIT)  # type: ignore[misc]
            assert (folder / "json").exists(), process.out + process.err
            report = json.loads((folder / "json").read_text())
            done[fault] = process.process.returncode, report, process.out + process.err
    return done


def test_a_soak_of_threadchat_finds_nothing_wrong_and_its_figures_add_up(soaks: Soaks) -> None:
    status, report, printed = soaks[""]
    assert (status, report["failures"]) == (0, []), printed
    assert [report[name] for name in COUNTED] == [0] * len(COUNTED)
    v1 = report["v1"]
    assert [v1[name] for name in OF_V1] == [0] * len(OF_V1)
    assert v1["said"] > 20
    assert v1["delivered"] >= 2 * v1["said"], "two clients in each of the rooms"
    assert sum(v1["endings"].values()) > 0
    assert report["clients"] == 20
    assert report["sent"] > 600, "more than one burst"
    assert report["delivered"] >= report["sent"] * 20 - report["visits"].get("reset", 0) * 5 * 20
    assert report["stuck_evicted"] + report["stuck_not_full_at_the_end"] >= 1
    assert report["start"]["threads"] == report["end"]["threads"]
    assert report["start"]["descriptors"] == report["end"]["descriptors"]
    assert report["peak"]["threads"] >= report["start"]["threads"] + 2 * 20
    assert report["peak"]["descriptors"] >= report["start"]["descriptors"] + 20
    assert report["peak"]["memory"] >= report["end"]["memory"] > 0
    assert report["stop_status"] == 0
    assert f"{report['sent']:,} messages" in printed


@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        ("loses for all", {"lost"}),
        ("loses", {"lost"}),
        ("repeats", {"repeated"}),
        ("reorders", {"out_of_order"}),
        ("evicts", {"healthy_evicted"}),
        ("leaks", set()),
        ("keeps", {"stuck_not_evicted"}),
        ("fails", set()),
        ("takes twice", {"twice"}),
        ("forgets", {"gaps"}),
    ],
)
def test_a_soak_finds_each_fault(soaks: Soaks, fault: str, counts: set[str]) -> None:
    status, report, printed = soaks[fault]
    assert status == 1, printed
    found = {name for name in COUNTED if report[name]} | {name for name in OF_V1 if report["v1"][name]}
    assert counts <= found, printed
    if fault in ("evicts", "leaks", "keeps", "fails"):  # the others may also look like lost messages
        assert sum(report[name] for name in COUNTED) == sum(report[name] for name in counts)
    left = {name for name in ("threads", "descriptors") if report["end"][name] > report["start"][name]}
    assert left == ({"threads", "descriptors"} if fault == "leaks" else set())
    assert report["stop_status"] == (3 if fault == "fails" else 0)
    assert "FAILED" in printed


def test_every_fault_is_tried() -> None:
    (marker,) = test_a_soak_finds_each_fault.pytestmark  # type: ignore[attr-defined]
    assert [fault for fault, _ in marker.args[1]] == list(FAULTS)


def entry(number: int, text: str = "", by: str = "x", epoch: str = "e") -> dict[str, Any]:
    words = {"type": "msg", "n": int(text.split()[0]), "text": text} if text else {"type": "join"}
    return {**words, "id": number, "by": by, "token": f"{epoch}.{number}.0"}


HELLO = {"type": "hello", "token": "e.1.0", "recovered": False, "last": None, "by": "me"}


@pytest.mark.parametrize(
    ("received", "faults"),
    [
        ([entry(1), entry(2, "1 x"), entry(3, "2 x"), entry(4, "1 y", by="y")], {}),
        ([entry(1), entry(3)], {"missed": 1}),
        ([entry(1), entry(2), entry(2)], {"twice": 1}),
        ([entry(1), entry(3), entry(2)], {"missed": 1, "twice": 1, "different": 1}),
        ([entry(1), entry(2, "1 x"), entry(3, "1 x")], {"twice": 1}),
        ([entry(1), entry(2, "1 x"), entry(3, "3 x")], {"missed": 1}),
        ([entry(1), entry(2, "1 x") | {"n": 2}], {"different": 1}),
        ([entry(1), {"type": "gap"}, entry(5)], {"gaps": 1}),
        ([entry(1), {"type": "state", "log": "down"}, {"type": "state", "log": "up"}, entry(2)], {"downs": 1}),
        ([entry(1, "1 x"), {"type": "gap"}, entry(1, "2 x", epoch="f")], {"gaps": 1}),
        ([entry(1, "1 x"), {"type": "gap"}, entry(1, "1 x", epoch="f")], {"gaps": 1}),  # sent again, which was asked
        ([entry(1, "1 x"), {"type": "gap"}, entry(1, "3 x", epoch="f")], {"gaps": 1, "missed": 1}),
        (
            [entry(1, "1 x"), entry(2, "2 x"), {"type": "gap"}, entry(1, "1 x", epoch="f"), entry(2, "3 x", epoch="f")],
            {"gaps": 1},
        ),
        ([entry(1, "1 x"), {"type": "gap"}, *(entry(id, "2 x", epoch="f") for id in (1, 2))], {"gaps": 1, "twice": 1}),
        ([entry(1), entry(2, epoch="f")], {"errors": 1}),
        ([entry(1), HELLO, entry(2)], {"errors": 1}),
        ([entry(1), HELLO, {"type": "gap"}, entry(2)], {"gaps": 1}),
    ],
)
def test_a_client_of_the_soak_sees_what_is_wrong(received: list[dict[str, Any]], faults: dict[str, int]) -> None:
    counts = Counts()
    talker = Talker(Room("room", counts), [0], None, counts)
    for line in received:
        talker.take(line, json.dumps(line))
    found = {name: vars(counts)[name] for name in (*OF_V1, "downs")} | {"errors": len(counts.errors)}
    assert {name: count for name, count in found.items() if count} == faults


def test_an_entry_of_a_past_epoch_may_come_late() -> None:
    counts = Counts()
    room = Room("room", counts)
    one, other = (Talker(room, [0], None, counts) for _ in range(2))
    for talker, line in (
        (one, entry(1, "1 x")),
        (one, {"type": "gap"}),
        (one, entry(1, "2 x", epoch="f")),
        (other, entry(1, "1 x")),
        (other, entry(2, "2 x")),
    ):
        talker.take(line, json.dumps(line))
    assert (counts.different, counts.missed, counts.twice, counts.errors) == (0, 0, 0, [])
    assert (room.epoch, room.top, room.said("x")) == ("f", 1, 2)
    changed = entry(2, "2 y")
    one.room.take(changed, json.dumps(changed))
    assert counts.different == 1, "what is past stays the same for all"


def test_two_clients_of_the_soak_and_the_log_must_have_the_same() -> None:
    counts = Counts()
    room = Room("room", counts)
    one, other = Talker(room, [0], None, counts), Talker(room, [0], None, counts)
    for talker, text in ((one, "1 hello"), (other, "1 HELLO")):
        talker.take(entry(1, text), json.dumps(entry(1, text)))
    assert counts.different == 1
    assert not room.compare([json.dumps(entry(1, "1 hello")), json.dumps(entry(2))]), "the log has a newer one"
    assert (counts.different, counts.missed) == (1, 0)
    one.take(entry(2), json.dumps(entry(2)))
    assert room.compare([json.dumps(entry(1, "1 hello")), json.dumps(entry(2, "1 other"))])
    assert counts.different == 2


def test_what_the_log_of_a_process_that_is_behind_lacks_is_compared_the_next_time() -> None:
    counts = Counts()
    room = Room("room", counts)
    client = Talker(room, [0], None, counts)
    for number in (1, 2):
        client.take(entry(number), json.dumps(entry(number)))
    assert not room.compare([json.dumps(entry(1))])
    assert (room.compared, counts.different) == (1, 0)
    assert room.compare([json.dumps(entry(1)), json.dumps(entry(2, "1 other"))])
    assert (room.compared, counts.different) == (2, 1)


def soaked(tmp_path: Path, *options: str) -> Process:
    return Process(tmp_path, [sys.executable, str(SOAK), *options])


def test_an_interrupted_soak_ends_its_traffic_and_reports(tmp_path: Path) -> None:
    file = tmp_path / "json"
    options = ("--minutes", "60", "--clients", "3", "--rate", "3000", "--talkers", "4")
    with soaked(tmp_path, *options, "--json", str(file)) as process:
        process.wait_for("threads")  # the first line of progress
        assert process.end(signal.SIGINT) == 0, process.out + process.err
    report = json.loads(file.read_text())
    assert report["minutes"] < 60
    assert report["failures"] == []
    assert report["delivered"] >= report["sent"] > 0
    assert report["v1"]["delivered"] > 0


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (f"{sys.executable} -m http.server --bind 127.0.0.1 {{port}}", "refused a handshake: HTTP/1.0 404"),
        (f"{sys.executable} -c 'print(\"in vain\")' {{port}}", "the server ended at once, with status 0"),
    ],
)
def test_a_server_that_cannot_be_soaked_is_a_failure(tmp_path: Path, command: str, reason: str) -> None:
    with soaked(tmp_path, "--server", command) as process:
        assert process.process.wait(LIMIT) == 1
        assert reason in process.err
        assert "Traceback" not in process.err


@pytest.mark.parametrize(
    "options",
    [
        ["--clients", "0"],
        ["--minutes", "0"],
        ["--rate", "no number"],
        ["--talkers", "-1"],
        ["--server", "a command without a port"],
        ["--server", "server {port}", "--serve-option=--pong-wait=5"],
        ["--json", "/no/such/folder/report.json"],
    ],
)
def test_invalid_options_are_refused(tmp_path: Path, options: list[str]) -> None:
    with soaked(tmp_path, *options) as process:
        assert process.process.wait(LIMIT) == 2
        assert "soak: error: " in process.err


def test_a_client_that_is_evicted_although_it_reads_is_counted() -> None:
    talkers = Talkers([0], 0, 0, rate=1.0, pause=1.0, nap=lambda chance: 0.0)
    counts = talkers.counts
    talker = Talker(Room("room", counts), [0], None, counts)
    for why, slept in (("1001", False), ("1008", True), ("1008", False)):
        talker.socket, talker.has_slept = socket.socket(), slept
        talkers._end(talker, why, "closed", 0.0)
    talkers.leave()
    assert counts.healthy_evicted == 1
    assert counts.endings == {"1001": 1, "1008": 2}


@needs_redis
def test_a_soak_of_several_processes_ends_one_after_the_other_and_nobody_misses_anything(tmp_path: Path) -> None:
    options = ["--minutes", "0.1", "--kill-every", "2", "--rate", "100", "--talkers", "8"]
    command = [sys.executable, str(SOAK), "--store", "redis://", "--processes", "2", *options]
    with Process(tmp_path, [*command, "--json", str(tmp_path / "json")]) as process:
        until(lambda: process.ended, "the end of the soak", limit=6 * LIMIT)
        assert process.process.returncode == 0, process.out + process.err
    report = json.loads((tmp_path / "json").read_text())
    assert report["failures"] == []
    assert [report[name] for name in OF_V1] == [0] * len(OF_V1)
    assert report["ended"]["SIGKILL"] >= 1
    assert report["said"] > 20
    assert report["delivered"] >= 2 * report["said"], "two clients in each of the rooms"


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"missed": 2}, "2 entries were missed"),
        ({"twice": 1}, "1 entries came twice, or were taken twice"),
        ({"healthy_evicted": 3}, "3 healthy clients were evicted"),
        ({"errors": ["not recovered from x"]}, "not recovered from x"),
        ({"ended": {}}, "no process was ended"),
        ({"stop_status": None}, "the server's exit status was None"),
    ],
)
def test_what_went_wrong_with_several_processes_is_a_sentence(wrong: dict[str, Any], found: str) -> None:
    right = vars(Counts()) | {"ended": {"SIGKILL": 1}, "stop_status": 0}
    assert soak_processes.failures(right) == []
    assert soak_processes.failures(right | wrong) == [found]
