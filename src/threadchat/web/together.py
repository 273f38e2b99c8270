"""The figures of all processes of a chat, whichever of them is asked (GET /metrics, see web/metrics.py).

A scrape meets any of the processes. So each says its figures to the others as well, at a Unix socket in a folder of
their own, and the one that is asked answers for all. Each figure has a label with the number of its process, and they
are not added up: when a process is replaced, its totals begin at 0, which Prometheus takes for that one alone.

A process that does not answer is left out, and `threadchat_process_up` is 0 for it.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from threadchat.runtime.sibling import Place
from threadchat.runtime.threads import go

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

ANSWER_WAIT = 2.0  # seconds for all the others together; Prometheus waits for ten
LABEL = "process"


class Source(Protocol):
    """What collects the figures of one process."""

    def collect(self) -> Iterable[Metric]: ...


class Together:
    """A process among those of the place. Raises OSError if it cannot listen for the others; `stop` ends that."""

    def __init__(self, place: Place, own: Source) -> None:
        self._place = place
        self._own = own
        path = place.figures(place.number)
        path.unlink(missing_ok=True)  # of the process that had this place before
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = go(self._answer, "figures")

    def collect(self) -> Iterator[Metric]:
        """The figures of all processes."""
        from prometheus_client.metrics_core import GaugeMetricFamily, Metric

        deadline = time.monotonic() + ANSWER_WAIT
        up = GaugeMetricFamily("threadchat_process_up", "Whether the process answers the others.", labels=[LABEL])
        together: dict[str, Metric] = {}
        for number in range(1, self._place.processes + 1):
            figures = _told(self._own) if number == self._place.number else self._asked(number, deadline)
            up.add_metric([str(number)], 0 if figures is None else 1)
            for name, help, kind, samples in figures or ():
                family = together.setdefault(name, Metric(name, help, kind))
                for sample, labels, value in samples:
                    family.add_sample(sample, {LABEL: str(number), **labels}, value)
        yield up
        yield from together.values()

    def stop(self) -> None:
        """Answer the others no more, and return when the thread has ended."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _answer(self) -> None:
        while True:
            try:
                asking, _ = self._listener.accept()
            except OSError:
                return  # stopped
            with asking, suppress(OSError):
                asking.settimeout(ANSWER_WAIT)
                asking.sendall(json.dumps(_told(self._own)).encode())

    def _asked(self, number: int, deadline: float) -> list[Any] | None:
        """What another process tells; None if it does not."""
        with socket.socket(socket.AF_UNIX) as asking, suppress(OSError, ValueError):
            answer = b""
            asking.settimeout(max(0.01, deadline - time.monotonic()))
            asking.connect(str(self._place.figures(number)))
            while piece := asking.recv(65_536):
                asking.settimeout(max(0.01, deadline - time.monotonic()))
                answer += piece
            told: list[Any] = json.loads(answer)
            return told
        return None


def _told(own: Source) -> list[Any]:
    """The figures of a process as JSON has them: name, help and type of each metric, and its samples."""
    return [
        [
            metric.name,
            metric.documentation,
            metric.type,
            [[each.name, each.labels, each.value] for each in metric.samples],
        ]
        for metric in own.collect()
    ]
