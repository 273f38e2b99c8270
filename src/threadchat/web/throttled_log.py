"""Errors and warnings that may happen a thousand times a second, and are logged once a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

QUIET = 60.0  # seconds for which a text is not logged again


class ThrottledLog:
    """Logs each text once and then at most once in QUIET seconds. Any thread may call it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._mutex = threading.Lock()  # guards the next two
        self._quiet_until: dict[str, float] = {}
        self._suppressed: Counter[str] = Counter()

    def error(self, text: str, *details: object) -> None:
        """Log `text % details` as an error, unless the same text, whatever its details, was logged a short while ago.

        The next line with this text says how many were left out.
        """
        self._throttled(logging.ERROR, text, details)

    def warning(self, text: str, *details: object) -> None:
        """The same, as a warning."""
        self._throttled(logging.WARNING, text, details)

    def _throttled(self, level: int, text: str, details: tuple[object, ...]) -> None:
        with self._mutex:
            now = time.monotonic()
            if now < self._quiet_until.get(text, now):
                self._suppressed[text] += 1
                return
            self._quiet_until[text] = now + QUIET
            suppressed = self._suppressed.pop(text, 0)
        if suppressed:
            self._log.log(level, f"{text} (and %d times before)", *details, suppressed)
        else:
            self._log.log(level, text, *details)
