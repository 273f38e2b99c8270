"""The measurement of a herd that comes back: its figures add up, and whoever is refused is counted."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import herd
import pytest
from helpers import LIMIT, Process, go, until

HERD = Path(__file__).parents[1] / "scripts" / "benchmark" / "herd.py"


@pytest.mark.parametrize("how", [[], ["--new", "--rooms", "2"]])
def test_all_come_back_and_those_who_are_there_hear_each_other(tmp_path: Path, how: list[str]) -> None:
    options = ["--clients", "20", "--watchers", "2", "--pause", "0.01", "--then", "0"]
    with Process(tmp_path, [sys.executable, str(HERD), *options, *how]) as process:
        until(lambda: process.ended, "the end of the measurement", limit=2 * LIMIT)
        assert process.process.returncode == 0, process.out + process.err
        figures = json.loads(process.out)
    assert figures["connected"] == 20
    assert figures["refused"] == {}
    assert figures["recovered"] == (0 if how else 20)
    assert 0 < figures["answered_seconds"][-1] <= figures["greeted_seconds"][-1] <= figures["seconds"]
    assert figures["cpu_us_a_client"] > 0
    assert figures["messages"] > 0
    assert 0 < figures["longest_wait"] < LIMIT


def test_other_servers_are_measured_with_plain_lines(tmp_path: Path) -> None:
    with Process(tmp_path, [sys.executable, str(HERD), "--clients", "5", "--peer", "barest"]) as process:
        until(lambda: process.ended, "the end of the measurement", limit=2 * LIMIT)
        assert process.process.returncode == 0, process.out + process.err
        figures = json.loads(process.out)
    assert (figures["connected"], figures["refused"]) == (5, {})
    assert figures["cpu_us_a_client"] >= figures["of_it_system"] >= 0


def test_whoever_is_refused_or_cut_off_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        coming = herd.Returning(listener.getsockname()[1], [b"GET / HTTP/1.1\r\n\r\n"] * 3)
        came = go(coming.come)
        for answer in (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"", b'HTTP/1.1 101 S\r\n\r\n{"type":"hello"}'):
            with listener.accept()[0] as accepted:
                accepted.recv(100)
                accepted.sendall(answer)
        came.result(LIMIT)
        coming.leave()
    assert coming.ended == {"answered 503": 1, "closed by the server": 1}
    assert len(coming.answered) == len(coming.greeted) == 1
