"""Errors that happen often are logged once a minute."""

from __future__ import annotations

import logging

import pytest
from helpers import Clock

from threadchat.web import throttled_log
from threadchat.web.throttled_log import ThrottledLog


def test_a_text_is_logged_once_and_then_once_a_minute_with_the_number_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    monkeypatch.setattr(throttled_log, "time", clock)
    throttled = ThrottledLog(logging.getLogger("threadchat"))
    for number in range(1000):
        throttled.error("no room for %s", number)
    throttled.error("no time")
    clock.now += throttled_log.QUIET
    throttled.error("no room for %s", "the last")
    throttled.error("no time")
    assert [record.getMessage() for record in caplog.records] == [
        "no room for 0",
        "no time",
        "no room for the last (and 999 times before)",
        "no time",
    ]
    assert {record.levelname for record in caplog.records} == {"ERROR"}


def test_a_warning_is_throttled_too(caplog: pytest.LogCaptureFixture) -> None:
    throttled = ThrottledLog(logging.getLogger("threadchat"))
    throttled.warning("no address in %s", 1)
    throttled.warning("no address in %s", 2)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("WARNING", "no address in 1")]
