"""The log in memory: numbers without gaps, tokens that say whether what follows can be given, and each repeat once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import LIMIT
from hypothesis import given
from hypothesis import strategies as st

from threadchat.log.memory import LEAST, MOST_BYTES, MemoryLog
from threadchat.messages import JOIN, Entry, event, message
from threadchat.web import www

GO_TEST = Path(__file__).parent / "parity" / "log_test.go"


def texts(entries: object) -> list[str]:
    assert isinstance(entries, list)
    return [entry.text for entry in entries]


def filled(count: int, keep: int = 10_000) -> MemoryLog:
    log = MemoryLog(keep)
    for number in range(1, count + 1):
        log.append([message(f"{number}", "by", n=number)])
    return log


def test_entries_are_numbered_without_gaps_also_where_repeats_are_left_out() -> None:
    log = MemoryLog(100)
    first = log.append([message("a", "x", n=1), message("a", "x", n=1), message("b", "y", n=1), message("c", "z")])
    assert [(entry.id, entry.text) for entry in first] == [(1, "a"), (2, "b"), (3, "c")]
    assert not log.append([message("older", "x", n=1)])
    assert [entry.id for entry in log.append([message("d", "x", n=9), message("e", "x", n=8)])] == [4]
    assert log.top == 4
    assert (log.last("x"), log.last("z"), log.last("nobody")) == (9, None, None)


def test_what_follows_a_token_can_be_read_page_by_page() -> None:
    log = filled(10)
    after = log.find(log.token(4))
    assert after == 4
    page = log.read(after, 3)
    assert texts(page) == ["5", "6", "7"]
    assert texts(log.read(10, 3)) == []
    assert log.find(log.token(0)) == 0
    assert log.find(log.token(10)) == 10


def test_two_logs_do_not_take_each_others_tokens() -> None:
    assert filled(3).find(filled(3).token(2)) is None


def test_a_token_of_an_entry_that_was_replaced_is_not_taken() -> None:
    one, other = filled(2), filled(2)
    other.epoch = one.epoch  # as after a backup was restored
    one.append([message("lost", "by", n=3)])
    other.append([message("another", "by", n=3)])
    assert other.find(one.token(2)) == 2
    assert other.find(one.token(3)) is None


@given(st.text(max_size=30))
def test_a_token_that_is_garbage_is_not_taken(text: str) -> None:
    assert filled(3).find(text) is None


def test_the_oldest_are_trimmed_away_and_the_log_says_so() -> None:
    log = filled(3 * LEAST, keep=LEAST)
    assert LEAST <= len(log._entries) <= LEAST + LEAST // 16
    first = log._entries[0].id
    assert log.read(first - 2, 1) is None
    assert texts(log.read(first - 1, 1)) == [str(first)]
    assert log.find(log.token(first - 1)) == first - 1, "nothing is missing after the last one that was trimmed"
    assert log.find(f"{log.epoch}.{first - 2}.0") is None
    assert log.top == 3 * LEAST


def test_the_log_tells_how_far_it_reaches() -> None:
    log = MemoryLog(2, least=2)
    assert log.extent == (log.epoch, 1, 0, 0)
    for text in ("a", "bc", "def", "ghij"):
        log.append([message(text, "by")])
    assert log.extent == (log.epoch, 3, 4, 7)
    log.clear(4)
    assert log.extent == (log.epoch, 4, 4, 4)


def test_long_messages_are_trimmed_sooner_but_a_send_buffer_full_is_kept_for_all() -> None:
    log = MemoryLog(1_000_000)
    for _ in range(2 * LEAST):
        log.append([message("x" * (MOST_BYTES // LEAST), "by")])
    assert LEAST <= len(log._entries) <= LEAST + LEAST // 8
    assert log._bytes == sum(len(entry.text) for entry in log._entries)


def test_a_newcomers_history_has_so_many_messages_and_joins_count_a_tenth() -> None:
    log = MemoryLog(100)
    for number in range(10):
        log.append([event(JOIN, f"{number}", "Ann"), message(f"{number}", "by")])
    recent = log.read(log.recent(3), 100)
    assert recent is not None
    assert [entry.text for entry in recent if entry.kind == "msg"] == ["7", "8", "9"]
    assert len(recent) == 5
    assert log.recent(0) == log.top
    assert MemoryLog(0).recent(5) == 0


def test_a_sessions_last_number_outlives_its_entry_for_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryLog(1)
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    log.append([message("early", "x", n=5)])
    log.append([message("filler", "y") for _ in range(2 * LEAST)])
    assert log.last("x") == 5
    now += 601
    log.append([message("filler", "y") for _ in range(2 * LEAST)])
    assert log.last("x") is None


def test_an_entry_is_its_plain_line() -> None:
    assert message("two\nlines", "by", "Ann") == "Ann: two lines"
    assert message("two\nlines", "by") == "two lines"
    assert event(JOIN, "by", "Ann") == ""
    assert isinstance(message("x", "by"), Entry)


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_the_guides_log_in_go_writes_down_the_same_and_joins_without_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [("ann", "a", 1), ("ann", "a", 1), ("bea", "b\nb", 7), ("bea", "ü", 5), ("", "c", 0), ("ann", "d", 2)]
    monkeypatch.setattr("threadchat.log.memory.time.time", lambda: 1_800_000_000.25)
    log = MemoryLog(100)
    taken = [entry for by, text, n in said for entry in log.append([message(text, by, n=n or None)])]
    tokens = [entry.token for entry in taken]
    tokens += [f"x{tokens[0]}", f"{tokens[0]}0", f"{log.epoch}.2{tokens[0][-9:]}", f"{log.epoch}.99.0", "", "..", "é"]
    found = [log.find(token) for token in tokens]
    expected = [f"taken {entry.id} {entry.token}" for entry in taken]
    expected += ["a gap" if number is None else f"found {number}" for number in found]
    assert 0 < found.count(None) < len(found)

    asked = [{"by": by, "text": text, "n": n} for by, text, n in said]
    (tmp_path / "given.json").write_text(
        json.dumps({"epoch": log.epoch, "at": str(taken[0].at), "entries": asked, "tokens": tokens})
    )
    for source in (www.WWW / "guide" / "log.go", GO_TEST):
        (tmp_path / source.name).write_text(source.read_text())
    done = subprocess.run(
        ["go", "test", "-v", "log.go", "log_test.go"],
        cwd=tmp_path,
        env={**os.environ, "GO111MODULE": "off"},
        capture_output=True,
        text=True,
        timeout=15 * LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--- PASS: TestJoinMissesNothing" in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith(("taken", "found", "a gap"))] == expected


def test_a_newcomer_is_shown_no_more_than_is_kept() -> None:
    log = filled(20, keep=5)
    assert log.recent(200) == 15


def test_four_send_buffers_are_kept_however_large_they_are() -> None:
    """An eviction alone discards one."""
    log = MemoryLog(1, least=5_000)
    log.append([message("x" * 1_000, "by") for _ in range(9_000)])
    assert log.read(log.top - 5_000, 1)
