"""The benchmark: what its tables say of given figures, and one short run of each kind."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import load
import pytest
import report
import servers
import tables
from helpers import LIMIT, TEXT, Process, frame, go, until
from helpers.redis import needs_redis
from rounds import Outcome, Results, Setting, plan

BENCH = Path(__file__).parents[1] / "scripts" / "benchmark"
CLOSED, CALM, CROWD = Setting("saturation", 100, 16), Setting("calm", 100), Setting("crowd", 1000)
IN_GIT = subprocess.run(["git", "-C", str(BENCH), "rev-parse", "HEAD"], capture_output=True).returncode == 0


def outcome(name: str, *values: float, failures: int = 0, **more: float) -> Outcome:
    return Outcome([{name: value, **more} for value in values], ["it failed"] * failures)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    results = Results({(CLOSED, "threadchat"): outcome("x", 10, 200, 30), (CLOSED, "go"): outcome("x", 10, 100, 10)})
    assert results.ratios(CLOSED, "go", "x") == [1, 2, 3]
    assert results.ratio(CLOSED, "go", "x") == 2
    assert results.ratio(CLOSED, "threadchat", "x", ours="go") == 0.5


@pytest.mark.parametrize("theirs", [outcome("x", 10, 5, failures=1), outcome("x", 10, 0, 5)])
def test_where_a_round_failed_a_ratio_is_that_of_the_medians(theirs: Outcome) -> None:
    results = Results({(CLOSED, "threadchat"): outcome("x", 10, 20, 30), (CLOSED, "go"): theirs})
    assert results.ratios(CLOSED, "go", "x") == []
    assert results.ratio(CLOSED, "go", "x") == 20 / (theirs.figure("x") or 0)


def test_every_other_round_goes_backwards() -> None:
    one, other = servers.Server("one", ()), servers.Server("other", ())
    order = [server.name for _, server in plan([CALM], [one, other], 3)]
    assert order == ["one", "other", "other", "one", "one", "other"]


def test_the_readmes_tables_say_how_far_threadchat_is_ahead() -> None:
    name = "deliveries_a_second"
    results = Results(
        {
            (CLOSED, "threadchat"): outcome(name, 3_000_000, 2_000_000, cpu_us_a_delivery=0.25),
            (CLOSED, "go"): outcome(name, 1_000_000, 1_000_000, dropped=99),
            (CLOSED, "ws"): outcome(name, 500_000, 400_000, load_cpu=0.95, server_cpu=0.5, lost=7),
            (CALM, "threadchat"): outcome("latency_p50_ms", 2, cpu_us_a_delivery=33),
            (CALM, "barest"): outcome("latency_p50_ms", 1.5, cpu_us_a_delivery=25),
            (CROWD, "threadchat"): outcome("memory_kb_a_client", 55),
        }
    )
    lines = list(tables.readme(results))
    assert "| 100 clients | 2,500,000 | 2.50 (1M; 99 dropped) | 5.50 (450k) `*` |" in lines
    assert "| 100 clients | 0.25 |  |  |" in lines
    assert "| 100 clients | 2.00; 33.0 |  |  | 1.50; 25.0 |" in lines
    assert "| 1,000 clients | 55.0 |" in lines
    assert "threadchat lost 0 messages, repeated 0 and dropped 0 clients." in lines
    assert "ws lost 14 messages, repeated 0 and dropped 0 clients." in lines
    assert not [line for line in lines if line.startswith("go lost")]


def test_the_comparison_of_two_commits_marks_what_has_become_worse() -> None:
    name = "deliveries_a_second"
    results = Results(
        {
            (CLOSED, "old"): outcome(name, 1000, 1000, 1000, cpu_us_a_delivery=1),
            (CLOSED, "new"): outcome(name, 940, 930, 990, cpu_us_a_delivery=1.04),
            (CALM, "old"): outcome("latency_p50_ms", 2, cpu_us_a_delivery=1),
            (CALM, "new"): outcome("latency_p50_ms", 1, cpu_us_a_delivery=1.06),
        }
    )
    lines = list(tables.compared(results, "old", "new"))
    assert f"| {CLOSED}: deliveries a second | 1,000 | 940 | **0.940** | 0.93 to 0.99 |" in lines
    assert f"| {CLOSED}: CPU us | 1.00 | 1.04 | 1.040 | 1.04 to 1.04 |" in lines
    assert f"| {CALM}: median ms | 2.00 | 1.00 | 0.500 | 0.50 to 0.50 |" in lines
    assert f"| {CALM}: CPU us | 1.00 | 1.06 | **1.060** | 1.06 to 1.06 |" in lines


@pytest.mark.skipif(not IN_GIT, reason="this is not a git checkout")
def test_a_commit_is_measured_with_its_own_files(tmp_path: Path) -> None:
    server = servers.committed("old", "HEAD", tmp_path)
    environment, python = server.command[:2], server.command[2]
    code = "import threadchat, threadchat.web.www as www; print(threadchat.__file__, www.__file__)"
    found = subprocess.run([*environment, python, "-c", code], capture_output=True, text=True).stdout.split()
    assert [Path(file).is_relative_to(tmp_path / "old" / "src") for file in found] == [True, True]
    assert (tmp_path / "old" / "www" / "chat.go").exists()
    with pytest.raises(servers.Failed, match="git has no no-such-commit"):
        servers.committed("new", "no-such-commit", tmp_path)


@pytest.mark.skipif(not IN_GIT, reason="this is not a git checkout")
def test_the_checkout_is_measured_against_a_commit(tmp_path: Path) -> None:
    short = ("--clients", "4", "--seconds", "0.1", "--rounds", "1", "--scenario", "calm")
    command = [sys.executable, str(BENCH), "--against", "HEAD", *short, "--json", str(tmp_path / "json")]
    with Process(tmp_path, command) as process:
        assert process.process.wait(3 * LIMIT) == 0, process.err
        assert "old: " in process.out
        assert "| calm, 4 clients: median ms | " in process.out
    measured = json.loads((tmp_path / "json").read_text())["measured"]
    assert [(run["server"], run["failures"]) for run in measured] == [("old", []), ("new", [])]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--against", "HEAD", "--server", "go"], "goes with neither"),
        (["--other", "barest=chat {port}"], "already taken"),
        (["--processes", "1"], "must be at least 2"),
    ],
)
def test_invalid_options_of_the_benchmark_are_refused(tmp_path: Path, options: list[str], why: str) -> None:
    with Process(tmp_path, [sys.executable, str(BENCH), *options]) as process:
        assert process.process.wait(LIMIT) == 2
        assert why in process.err


def test_the_load_has_joined_with_threadchat_v1_only_when_it_was_told_hello() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        joining = go(load.Load, listener.getsockname()[1], 1, v1=True)
        server = listener.accept()[0]
        with server:
            server.recv(4096)
            server.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            with pytest.raises(TimeoutError):
                joining.result(0.1)
            server.sendall(frame(TEXT, '{"type":"hello"}', masked=False))
            joined = joining.result(LIMIT)
        (client,) = joined.clients.values()
        until(lambda: joined.receive(0.1) == 0 and joined.dropped == 1, "the end of the connection")
        joined.drop(client)
        assert joined.dropped == 1, "once"
        joined.poll.close()


@needs_redis
def test_several_processes_over_a_redis_are_measured_apart(tmp_path: Path) -> None:
    short = ("--clients", "4", "--seconds", "0.2", "--rounds", "1", "--in-flight", "4")
    scenarios = ("--scenario", "saturation", "--scenario", "calm")
    command = [
        sys.executable,
        str(BENCH),
        "--server",
        servers.REDIS,
        *scenarios,
        *short,
        "--json",
        str(tmp_path / "json"),
    ]
    with Process(tmp_path, command) as process:
        assert process.process.wait(3 * LIMIT) == 0, process.err
        assert "CPU a delivery in its busiest process" in process.out
    saturation, calm = (run["rounds"][0] for run in json.loads((tmp_path / "json").read_text())["measured"])
    for figures in (saturation, calm):
        assert figures["cpu_us_a_delivery_worst"] >= 0.99 * figures["cpu_us_a_delivery"] > 0, "one is above the mean"
        assert figures["redis_cpu_us_a_message"] > 0
        assert [figures[name] for name in ("lost", "repeated", "dropped")] == [0, 0, 0]
    assert saturation["deliveries_a_second"] == pytest.approx(4 * saturation["messages_a_second"], rel=0.5)
    assert calm["own_echo_p50_ms"] > 0


def test_the_goals_of_several_processes_are_against_one_in_memory() -> None:
    calm, closed = Setting("calm", 100), Setting("saturation", 10, 64)
    results = Results(
        {
            (calm, "threadchat"): outcome("own_echo_p50_ms", 1.0),
            (calm, servers.REDIS): outcome("own_echo_p50_ms", 3.0),
            (closed, servers.REDIS): outcome("messages_a_second", 30_000),
            (CLOSED, "threadchat"): outcome("cpu_us_a_delivery", 0.2),
            (CLOSED, servers.REDIS): outcome("cpu_us_a_delivery", 0.22),
        }
    )
    goals = [goal.row(results) for goal in report.GOALS if servers.REDIS in goal.text]
    assert [row[3:] for row in goals] == [("0.91", "met"), ("", "not measured"), ("2.00", "MISSED"), ("30,000", "met")]
