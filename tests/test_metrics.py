"""/metrics: the figures, who may have them, and the dashboard that shows them, tried with a real Prometheus."""

from __future__ import annotations

import http.client
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from helpers import (
    HANDSHAKE,
    LIMIT,
    TEXT,
    THREADCHAT,
    V1,
    Held,
    Peer,
    Process,
    Running,
    Serve,
    all_gone,
    ask,
    handshake,
    needs_redis,
    until,
)
from werkzeug.test import Client

from threadchat import __version__, cli
from threadchat.options import Options
from threadchat.web.app import create_app
from threadchat.web.refusals import REASONS

parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is missing")

DASHBOARD = Path(__file__).parent / "examples" / "grafana.json"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
BIG = "x" * 1_000_000  # bytes: more than the kernel holds for a peer that does not read


def scrape(server: Running) -> dict[str, float]:
    """The samples, by name and labels as the text has them: 'threadchat_refusals_total{reason="key"}'."""
    answer = ask(server, "GET", "/metrics")
    assert answer.status == 200
    samples = {}
    for family in parser.text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return samples


# The figures


def test_it_counts_what_the_log_writer_does_where_there_is_a_store(serve: Serve, tmp_path: Path) -> None:
    server = serve(store=f"sqlite:{tmp_path / 'chat.db'}")
    for text in ("one", "two"):
        server.app.publish(text)
    found = scrape(server)
    assert found["threadchat_log_up"] == 1
    assert found["threadchat_log_pending_entries"] == 0
    assert found["threadchat_log_entries_total"] == found["threadchat_log_groups_total"] == 2
    assert found["threadchat_log_seconds_total"] > 0
    assert found["threadchat_log_failures_total"] == 0
    assert "threadchat_log_up" not in scrape(serve())


def test_it_counts_clients_rooms_messages_and_deliveries(serve: Serve) -> None:
    server = serve()
    with Peer(server.port) as ann, Peer(server.port) as bob, Peer(server.port, "/r/den/ws?name=Eve") as eve:
        until(lambda: sum(len(hub.clients) for hub in server.app.rooms.hubs) == 3)
        for peer in (ann, eve):
            peer.send(TEXT, "hello")
            peer.lines(1)
        bob.lines(1)
        found = scrape(server)
    assert found["threadchat_clients"] == 3
    assert found["threadchat_rooms"] == 2
    assert found["threadchat_messages_total"] == 2  # Eve's join is none
    assert found["threadchat_deliveries_total"] == 3
    assert found["threadchat_hub_pending_messages"] == 0
    assert found[f'threadchat_build_info{{python="{platform.python_version()}",version="{__version__}"}}'] == 1
    assert found["threadchat_threads"] >= 8  # three clients, two hubs
    assert found["process_open_fds"] > 3
    assert not [name for name in found if re.search(r'"(den|Eve|lobby)"', name)]


def test_what_waits_for_a_hub_is_seen(serve: Serve) -> None:
    server = serve()
    hub = server.app.hub
    held = Held(hub)
    hub.broadcast.send("the hub is at work")
    assert held.at_work.wait(LIMIT)
    for _ in range(2):
        hub.broadcast.send("hello")
    assert scrape(server)["threadchat_hub_pending_messages"] == 2
    held.goes_on.set()
    until(lambda: scrape(server)["threadchat_messages_total"] == 3)


def test_totals_stay_when_a_room_has_ended(serve: Serve) -> None:
    server = serve(room_linger=0.001)
    with Peer(server.port, "/r/den/ws") as peer:
        peer.talk("hello")
    until(lambda: len(server.app.rooms.hubs) == 1, "the end of the room")
    found = scrape(server)
    assert (found["threadchat_messages_total"], found["threadchat_deliveries_total"]) == (1, 1)
    tally = server.app.rooms.tally
    until(lambda: len(tally._running) == 1, "the end of its hub")
    assert tally.passed() == (1, 1)


def test_ends_are_counted_by_close_code_and_a_peers_own_code_makes_no_label(serve: Serve) -> None:
    server = serve()
    for code in (1000, 4999, 1008):
        with Peer(server.port) as peer:
            peer.leave(code, "evicted: not reading fast enough" if code == 1008 else "")
            assert peer.receive_all()
    all_gone(server)
    until(lambda: sum(server.app.rooms.tally.counted("disconnects").values()) == 3)
    found = scrape(server)
    ends = {name: value for name, value in found.items() if name.startswith("threadchat_disconnects") and value}
    assert ends == {f'threadchat_disconnects_total{{code="{code}"}}': 1 for code in ("1000", "1008", "other")}
    assert found["threadchat_evictions_total"] == 0  # it only said so


def test_an_eviction_is_counted(serve: Serve) -> None:
    server = serve(send_buffer=1)
    with Peer(server.port, receive_buffer=4096):
        until(lambda: server.clients)
        (stuck,) = server.clients
        server.app.hub.broadcast.send(BIG)
        until(lambda: len(stuck.stuck), "the client being stuck")
        for _ in range(2):
            server.app.hub.broadcast.send("one too many")
        until(lambda: not server.clients, "the eviction")
    until(lambda: scrape(server)["threadchat_evictions_total"] == 1)
    assert scrape(server)['threadchat_disconnects_total{code="1008"}'] == 1


def test_recoveries_are_counted_by_result(serve: Serve) -> None:
    server = serve()
    with V1(server.port) as ann:
        ann.say("hello")
        token = ann.until(type="msg")["token"]
    for since in (token, token, "garbage"):
        V1(server.port, since=since).close()
    found = scrape(server)
    assert found['threadchat_recoveries_total{result="recovered"}'] == 2
    assert found['threadchat_recoveries_total{result="gap"}'] == 1


def test_refusals_are_counted_by_reason(serve: Serve) -> None:
    server = serve(max_clients=1, key="secret", message_rate=1, allow_hosts=["127.0.0.1"])
    key = {"Authorization": "Bearer secret"}
    reasons: dict[str, Callable[[], object]] = {
        "host": lambda: handshake(server, Host="evil.example"),
        "origin": lambda: handshake(server, Origin="https://evil.example"),
        "request": lambda: handshake(server, Upgrade=None),
        "key": lambda: handshake(server),
        "forbidden": lambda: ask(server, "GET", "/metrics", {"Via": "a proxy"}),
        "rate": lambda: [ask(server, "POST", "/say", key, b"hi") for _ in range(9)],
    }
    before = scrape(server)
    assert len([name for name in before if name.startswith("threadchat_refusals_total")]) == len(REASONS)
    for refuse in reasons.values():
        refuse()
    with Peer(server.port, headers="Authorization: Bearer secret\r\n"):
        assert handshake(server, **key).status == 503
    found = scrape(server)
    for reason in (*reasons, "clients"):
        name = f'threadchat_refusals_total{{reason="{reason}"}}'
        assert (before[name], found[name] > 0) == (0, True), reason
    all_gone(server)
    assert ask(server, "GET", "/nothing").status == 404
    server.app.close()
    assert handshake(server, **key).status == 503
    last = scrape(server)
    changed = {name for name in last if "refusals" in name and last[name] != found[name]}
    assert changed == {'threadchat_refusals_total{reason="stopping"}'}


def test_too_many_rooms_or_clients_of_an_address_are_told_apart(serve: Serve) -> None:
    server = serve(max_rooms=1, max_clients_per_address=1, trusted_proxies=1)
    headers = {**HANDSHAKE, "X-Forwarded-For": "192.0.2.7"}
    assert ask(server, "GET", "/r/den/ws", headers).status == 503
    with Peer(server.port, headers="X-Forwarded-For: 192.0.2.7\r\n"):
        assert ask(server, "GET", "/ws", headers).status == 503
    assert server.app.rooms.tally.counted("refusals") == {"rooms": 1, "address": 1}


# Who gets them


def test_this_machine_alone_is_answered(serve: Serve) -> None:
    server = serve(key="secret", allow_hosts=["chat.example.org"])
    assert ask(server, "GET", "/metrics", {"Host": "localhost"}).status == 200
    for headers in ({"Host": "chat.example.org"}, {"X-Forwarded-For": "127.0.0.1"}):
        refused = ask(server, "GET", "/metrics", {"Host": "localhost", **headers})
        assert refused.status == 403
        assert b"--metrics-from-anywhere" in refused.body
    assert ask(server, "POST", "/metrics").status == 405
    assert ask(server, "HEAD", "/metrics").body == b""


def test_told_so_it_answers_other_machines_too_with_the_key_and_under_the_chats_names() -> None:
    with closing(
        create_app(Options(metrics_from_anywhere=True, key="secret", allow_hosts=("chat.example.org",)))
    ) as chat:
        there: dict[str, Any] = {"environ_overrides": {"REMOTE_ADDR": "192.0.2.7"}}
        http, key = Client(chat), {"Host": "chat.example.org", "Authorization": "Bearer secret"}
        assert http.get("/metrics", headers=key, **there).status_code == 200
        assert http.get("/metrics", headers={"Host": "chat.example.org"}, **there).status_code == 401
        assert http.get("/metrics", headers={**key, "Host": "evil.example"}, **there).status_code == 421


def test_without_prometheus_client_one_sentence_says_what_to_install(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    answer = ask(serve(), "GET", "/metrics")
    assert answer.status == 404
    assert b"Metrics need prometheus-client: pip install &#39;threadchat[metrics]&#39;." in answer.body
    with pytest.raises(SystemExit, match="2"):
        cli.main(["serve", "--metrics-from-anywhere"])
    expected = "threadchat serve: Metrics need prometheus-client: pip install 'threadchat[metrics]'\n"
    assert capsys.readouterr().err == expected


def test_a_scraper_that_asks_for_openmetrics_gets_it(server: Running) -> None:
    answer = ask(server, "GET", "/metrics", {"Accept": "application/openmetrics-text;version=1.0.0"})
    assert answer.headers.get_content_type() == "application/openmetrics-text"
    assert answer.body.endswith(b"# EOF\n")
    assert ask(server, "GET", "/metrics").headers.get_content_type() == "text/plain"


# The dashboard


def expressions() -> list[str]:
    """The queries of the dashboard, as Grafana sends them."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    return [query.replace("$__rate_interval", "1m").replace("$instance", ".*") for query in found]


def test_the_dashboard_asks_for_figures_that_there_are(serve: Serve, tmp_path: Path) -> None:
    names = {name.partition("{")[0] for name in scrape(serve(store=f"sqlite:{tmp_path / 'chat.db'}"))}
    names.add("threadchat_process_up")  # of several processes
    asked = {name for query in expressions() for name in re.findall(r"\b(?:threadchat|process)_\w+", query)}
    assert asked <= names
    assert {name for name in names if name.startswith("threadchat_")} <= asked


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def chat(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    """A server with SQLite, or two processes over Redis."""
    options = ["--store", f"sqlite:{tmp_path / 'chat.db'}"]
    if request.param == "redis":
        options = ["--store", request.getfixturevalue("redis_server").url, "--processes", "2"]
    folder = tmp_path / "chat"
    folder.mkdir()
    with Process(folder, [*THREADCHAT, "serve", "--port", "0", *options]) as process:
        yield process
        process.end()


@pytest.fixture
def prometheus(chat: Process, tmp_path: Path) -> Iterator[Process]:
    """A Prometheus that scrapes the server ten times a second. It reads its list of targets after five seconds."""
    if PROMETHEUS is None:
        pytest.skip("Prometheus is missing (apt-get install prometheus)")
    job = {"job_name": "threadchat", "static_configs": [{"targets": [f"127.0.0.1:{chat.port}"]}]}
    config = {"global": {"scrape_interval": "100ms", "scrape_timeout": "100ms"}, "scrape_configs": [job]}
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    command = [
        *(PROMETHEUS, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"),
        *("--web.listen-address=127.0.0.1:0", "--log.format=json"),
    ]
    with Process(tmp_path, command) as process:
        yield process


def test_a_real_prometheus_answers_each_query_of_the_dashboard(chat: Process, prometheus: Process) -> None:
    listening = json.loads(prometheus.wait_for('"Listening on"'))["address"]
    port = int(listening.rpartition(":")[2])

    def results(query: str) -> list[Any]:
        """What it answers; nothing while it starts."""
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)) as connection:
            connection.request("GET", f"/api/v1/query?query={quote(query)}")
            response = connection.getresponse()
            if response.status == 503:
                return []
            answer = json.load(response)
        assert answer["status"] == "success", (query, answer)
        found: list[Any] = answer["data"]["result"]
        return found

    until(lambda: results("count_over_time(threadchat_clients[1m]) >= 2"), "two scrapes")
    with V1(chat.port, room="den") as ann, V1(chat.port, room="den") as bob:
        until(lambda: results("sum(threadchat_clients) == 2"), "that the hubs know both")
        for number in range(1, 11):
            ann.say(str(number), n=number)
        assert ann.texts(10) == bob.texts(10)
        # Whichever of the processes they are in.
        until(lambda: results("sum(threadchat_messages_total) == 10"), "what was said")
        until(lambda: results("sum(threadchat_deliveries_total) == 20"), "what was heard")
        for query in expressions():
            until(lambda: results(query), query)  # noqa: B023


def test_promtool_finds_no_fault_with_the_names(server: Running) -> None:
    if PROMTOOL is None:
        pytest.skip("promtool is missing (apt-get install prometheus)")
    text = ask(server, "GET", "/metrics").body
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, timeout=LIMIT, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
