"""GET /metrics: what Prometheus scrapes, in its text format, or in OpenMetrics where it asks for that.

The figures are collected at the time of the scrape; what is counted before is in `tally`. By default this machine alone
is answered (see web/local.py). No figure names a room or a person. Labels have few values, which are all there from
the first scrape on, so that `rate()` sees the first event too.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request, Response

from threadchat import __version__
from threadchat.client import CLOSE_CODES
from threadchat.hub import Ending
from threadchat.log.writer import LogWriter
from threadchat.rooms import Rooms
from threadchat.tally import Tally
from threadchat.web.refusals import REASONS
from threadchat.web.together import Together
from threadchat.websocket.connection import Connection

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PATH = "/metrics"
NEAR = (PATH, "--metrics-from-anywhere")  # what answers this machine alone, and what changes that
MISSING = "Metrics need prometheus-client: pip install 'threadchat[metrics]'."
# Close codes that the server sends or that say something; a peer may send any other.
CODES = ("1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1011", "1012", "1013", "4001")
OTHER = "other"
EVICTED = "{} {}".format(*CLOSE_CODES[Ending.EVICTED])


def count_end(tally: Tally, connection: Connection) -> None:
    """Count a connection that has ended, if its handshake was answered."""
    if not connection.accepted:
        return
    tally.count("disconnects", str(connection.code) if str(connection.code) in CODES else OTHER)
    if connection.ending == EVICTED and not connection.by_peer:
        tally.count("evictions")


def is_possible() -> bool:
    """Whether prometheus-client is installed."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        return False
    return True


def answer(request: Request, rooms: Rooms, together: Together | None) -> Response:
    """The metrics of a chat, of all its processes. Raises NotFound, which says what is missing, without its library."""
    if not is_possible():
        raise NotFound(MISSING)
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(together or Collector(rooms))
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    response = Response(encode(registry), content_type=content_type)
    response.cache_control.no_store = True
    return response


class Collector:
    """Collects the figures of one process."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def collect(self) -> Iterator[Metric]:
        """The metrics at this instant."""
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        tally, hubs = self._rooms.tally, self._rooms.hubs
        messages, deliveries = tally.passed()
        build = {"version": __version__, "python": platform.python_version()}
        yield InfoMetricFamily("threadchat_build", "The version of the chat, and of Python.", value=build)
        clients = sum(len(hub.clients) for hub in hubs)
        yield GaugeMetricFamily("threadchat_clients", "Clients that the hubs know.", value=clients)
        yield GaugeMetricFamily("threadchat_rooms", "Rooms, the lobby included.", value=len(hubs))
        yield GaugeMetricFamily(
            "threadchat_hub_pending_messages",
            "Messages that wait for a hub, in all rooms.",
            value=sum(len(hub.broadcast) for hub in hubs),
        )
        yield GaugeMetricFamily("threadchat_threads", "Threads of the process.", value=threading.active_count())
        yield CounterMetricFamily("threadchat_messages", "Messages that were said here, and taken.", value=messages)
        yield CounterMetricFamily(
            "threadchat_deliveries",
            "Messages that hubs have passed on, one for each message and client.",
            value=deliveries,
        )
        yield CounterMetricFamily(
            "threadchat_evictions",
            "Clients that were evicted because they did not read.",
            value=tally.counted("evictions").get("", 0),
        )
        yield from _of_connections(tally)
        if (writer := self._rooms.writer) is not None:
            yield from _of_writer(writer, self._rooms.log_is_up)
        yield from ProcessCollector(registry=CollectorRegistry()).collect()  # processor time, memory, open files


def _of_connections(tally: Tally) -> Iterator[Metric]:
    """How connections and requests have ended, and what those who came back were told."""
    from prometheus_client.metrics_core import CounterMetricFamily

    def counter(event: str, help: str, label: str, values: Iterable[str]) -> CounterMetricFamily:
        counted = tally.counted(event)
        family = CounterMetricFamily(f"threadchat_{event}", help, labels=[label])
        for value in values:
            family.add_metric([value], counted.get(value, 0))
        return family

    back = "Clients that came back with a token: they got what they had missed, or were told of a gap."
    yield counter("disconnects", "Connections that have ended, by close code.", "code", (*CODES, OTHER))
    yield counter("refusals", "Requests and connections that were refused, by reason.", "reason", REASONS)
    yield counter("recoveries", back, "result", ("recovered", "gap"))


def _of_writer(writer: LogWriter, is_up: bool) -> Iterator[Metric]:
    """What the log writer does, where there is a store."""
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily("threadchat_log_up", "Whether what is said can be logged.", value=int(is_up))
    yield GaugeMetricFamily("threadchat_log_pending_entries", "Entries that wait for the log writer.", len(writer.said))
    yield CounterMetricFamily("threadchat_log_groups", "Groups of entries that were written.", value=writer.groups)
    yield CounterMetricFamily("threadchat_log_entries", "Entries that were written.", value=writer.entries)
    yield CounterMetricFamily("threadchat_log_seconds", "Seconds that the store took.", value=writer.seconds)
    yield CounterMetricFamily("threadchat_log_failures", "Failures of the store.", value=writer.failures)
