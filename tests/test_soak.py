"""The soak: its figures add up for threadchat, and it finds each kind of fault in a faulty server."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from faulty_chat import FAULTS
from helpers import LIMIT, Process, until

SOAK = Path(__file__).parents[1] / "scripts" / "benchmark" / "soak.py"
FAULTY = Path(__file__).with_name("faulty_chat.py")
OPTIONS = {  # of the soak, by the server's fault; "" is threadchat itself
    "": ["--minutes", "0.05", "--clients", "20", "--rate", "1000", "--serve-option=--write-wait=5"],
    "keeps": ["--minutes", "0.02", "--clients", "2", "--rate", "3000"],
}
FEW = ["--minutes", "0.02", "--clients", "3", "--rate", "1000"]
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
    ],
)
def test_a_soak_finds_each_fault(soaks: Soaks, fault: str, counts: set[str]) -> None:
    status, report, printed = soaks[fault]
    assert status == 1, printed
    assert counts <= {name for name in COUNTED if report[name]}, printed
    if fault in ("evicts", "leaks", "keeps", "fails"):  # the others may also look like lost messages
        assert sum(report[name] for name in COUNTED) == sum(report[name] for name in counts)
    left = {name for name in ("threads", "descriptors") if report["end"][name] > report["start"][name]}
    assert left == ({"threads", "descriptors"} if fault == "leaks" else set())
    assert report["stop_status"] == (3 if fault == "fails" else 0)
    assert "FAILED" in printed


def test_every_fault_is_tried() -> None:
    (marker,) = test_a_soak_finds_each_fault.pytestmark  # type: ignore[attr-defined]
    assert [fault for fault, _ in marker.args[1]] == list(FAULTS)


def soaked(tmp_path: Path, *options: str) -> Process:
    return Process(tmp_path, [sys.executable, str(SOAK), *options])


def test_an_interrupted_soak_ends_its_traffic_and_reports(tmp_path: Path) -> None:
    file = tmp_path / "json"
    with soaked(tmp_path, "--minutes", "60", "--clients", "3", "--rate", "3000", "--json", str(file)) as process:
        process.wait_for("threads")  # the first line of progress
        assert process.end(signal.SIGINT) == 0, process.out + process.err
    report = json.loads(file.read_text())
    assert report["minutes"] < 60
    assert report["failures"] == []
    assert report["delivered"] >= report["sent"] > 0


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
        ["--server", "a command without a port"],
        ["--server", "server {port}", "--serve-option=--pong-wait=5"],
        ["--json", "/no/such/folder/report.json"],
    ],
)
def test_invalid_options_are_refused(tmp_path: Path, options: list[str]) -> None:
    with soaked(tmp_path, *options) as process:
        assert process.process.wait(LIMIT) == 2
        assert "soak: error: " in process.err
