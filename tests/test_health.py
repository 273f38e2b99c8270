"""/livez and /readyz: what supervisors and load balancers ask."""

from __future__ import annotations

from contextlib import closing

import pytest
from helpers import LIMIT, Held, Serve, ask, go, until
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from threadchat.web import health
from threadchat.web.app import create_app

PROBES = ["/livez", "/readyz"]


@pytest.mark.parametrize("path", PROBES)
def test_a_probe_of_any_name_is_told_ok_and_nobody_keeps_the_answer(serve: Serve, path: str) -> None:
    server = serve(allow_hosts=["chat.example.org"], key="secret")
    answer = ask(server, "GET", path, {"Host": "a-probe.example"})
    assert (answer.status, answer.body) == (200, b"ok\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    head = ask(server, "HEAD", path)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "3", b"")
    options = ask(server, "OPTIONS", path)
    assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    assert ask(server, "POST", path).status == 405


def test_probes_make_no_room(serve: Serve) -> None:
    server = serve()
    for path in PROBES:
        ask(server, "GET", path)
    assert len(server.app.rooms.hubs) == 1


@pytest.mark.parametrize("path", PROBES)
def test_a_mounted_chat_has_them_below_its_path(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(create_app()) as chat:
        client = Client(DispatcherMiddleware(NotFound(), {"/chat": chat}))
        assert client.get(path).status_code == 404
        answer = client.get(f"/chat{path}")
        # Under this server, which is none, no client could join.
        assert answer.status_code == (200 if path == "/livez" else 503)
        with monkeypatch.context() as patch:
            patch.setattr(chat._fitness, "_process", 0)  # as in a copy that a fork has made
            answer = client.get(f"/chat{path}")
        assert answer.status_code == 503
        assert "process" in answer.text


def test_a_hub_that_hangs_makes_the_process_not_alive_and_ready_all_the_same(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setattr(health, "ASK_EVERY", 0.0)
    rooms = server.app.rooms
    with rooms.enter("den") as den, rooms.enter("tea"):
        held = Held(den.hub)
        den.hub.broadcast.send("hello")
        assert held.at_work.wait(LIMIT)
        asked = [go(ask, server, "GET", "/livez") for _ in range(3)]
        for answer in asked:
            assert answer.result(LIMIT).status == 503
            assert answer.result().body == b"Hubs that do not answer: 1 of 3.\n"
        assert ask(server, "GET", "/readyz").status == 200
        held.goes_on.set()
        until(lambda: ask(server, "GET", "/livez").status == 200, "the hub that goes on")


def test_a_busy_hub_answers_as_soon_as_it_has_passed_its_messages_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setattr(health, "ANSWER_WAIT", LIMIT)
    hub = server.app.hub
    held = Held(hub)
    hub.broadcast.send("hello")
    assert held.at_work.wait(LIMIT)
    asked = go(ask, server, "GET", "/livez")
    until(lambda: hub.unregister.statistics().waiting_senders == 1, "the probe")
    held.goes_on.set()
    assert asked.result(LIMIT).status == 200


def test_frequent_probes_do_not_keep_the_hubs_busy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    asked = iter([0])
    monkeypatch.setattr(health, "_silent", lambda hubs: next(asked))
    monkeypatch.setattr(health, "ASK_EVERY", 3600.0)
    for _ in range(3):
        assert ask(server, "GET", "/livez").status == 200


def test_a_hub_that_has_failed_is_replaced_at_the_next_join_and_needs_no_restart(serve: Serve) -> None:
    server = serve()
    server.app.hub.stop()
    server.app.rooms.lobby._hub_thread.join(LIMIT)
    assert ask(server, "GET", "/livez").status == 200


def test_a_chat_that_was_closed_is_alive_and_not_ready(serve: Serve) -> None:
    server = serve()
    server.app.close()
    assert ask(server, "GET", "/livez").status == 200
    answer = ask(server, "GET", "/readyz")
    assert (answer.status, answer.body) == (503, b"The server is stopping.\n")
