"""The lines of threadchat.v1: each is made once and is its own entry's, however the entries come together."""

from __future__ import annotations

from collections import Counter

import pytest

from threadchat import messages
from threadchat.log.memory import MemoryLog
from threadchat.messages import MOST_LINES, Entry, json_line, json_lines, message


def logged(count: int) -> list[Entry]:
    """So many messages of a new log, all with the same text."""
    return list(MemoryLog(count).append([message("the same", "by", "Ann") for _ in range(count)]))


def test_a_line_is_made_once_though_each_client_gets_other_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Counter[int] = Counter()
    monkeypatch.setattr(messages, "json_line", lambda entry: made.update([entry.id]) or json_line(entry))
    entries = logged(MOST_LINES // 2)
    for start in range(20):
        for end in range(start + 1, len(entries), 50):
            assert list(json_lines(entries[start:end])) == list(map(json_line, entries[start:end]))
    assert set(made.values()) == {1}


def test_the_lines_of_two_logs_are_not_mixed_up() -> None:
    one, other = logged(3), logged(3)
    assert list(json_lines(one)) == list(map(json_line, one))
    assert list(json_lines(other)) == list(map(json_line, other))
    assert json_lines(one) != json_lines(other)


def test_only_the_newest_lines_are_kept() -> None:
    entries = logged(3 * MOST_LINES)
    for start in range(0, len(entries), 256):
        json_lines(entries[start : start + 256])
    assert [entry.id for entry in entries if entry.json] == [entry.id for entry in entries[-MOST_LINES:]]
