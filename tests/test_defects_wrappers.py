"""Defects of werkzeug's requests, responses and middleware, and what threadchat does instead."""

from __future__ import annotations

import os
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from helpers import Running, Serve, ask, exchange, handshake
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import WSGIRequestHandler
from werkzeug.test import create_environ, run_wsgi_app
from werkzeug.utils import send_from_directory
from werkzeug.wrappers import Request, Response

from threadchat.web import www
from threadchat.web.app import create_app
from threadchat.web.proxies import behind_proxies


def test_werkzeug_does_not_expect_an_invalid_address() -> None:
    handler = object.__new__(WSGIRequestHandler)
    handler.path = "http://["
    with pytest.raises(ValueError, match="Invalid IPv6"):
        handler.make_environ()


def test_threadchat_refuses_an_invalid_address(server: Running) -> None:
    answer = exchange(server.port, b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.skipif(version("werkzeug") == "3.1.0", reason="the defect came later")
def test_werkzeugs_host_is_empty_for_a_name_with_an_underscore() -> None:
    assert Request(create_environ(headers={"Host": "my_host:8080"})).host == ""


def test_threadchat_compares_the_origin_with_the_header_itself(server: Running) -> None:
    assert handshake(server, Host="my_host:8080", Origin="http://my_host:8080").status == 101


def test_werkzeugs_request_and_its_environ_refer_to_each_other() -> None:
    environ = create_environ()
    request = Request(environ)
    assert request.environ is environ
    assert environ["werkzeug.request"] is request


def test_threadchats_environ_does_not_refer_to_its_request() -> None:
    environ = create_environ("/limits")
    with closing(create_app()) as app:
        _, status, _ = run_wsgi_app(app, environ)
    assert status == "200 OK"
    assert "werkzeug.request" not in environ


def test_werkzeug_takes_any_text_for_the_address_of_a_client() -> None:
    environ = create_environ(headers={"X-Forwarded-For": "\x1b[31mred"}, environ_base={"REMOTE_ADDR": "192.0.2.1"})
    addresses = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        addresses.append(environ["REMOTE_ADDR"])
        return Response("")(environ, start_response)

    run_wsgi_app(ProxyFix(app), environ)
    assert addresses == ["\x1b[31mred"]


def test_threadchat_takes_the_proxys_address_instead(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(serve(trusted_proxies=1), "GET", "/", {"X-Forwarded-For": "\x1b[31mred"}).status == 200
    assert "'\\x1b[31mred' where an address should be" in caplog.text


def test_werkzeug_takes_any_text_for_the_scheme_and_threadchat_the_scheme_of_pages() -> None:
    environ = create_environ(headers={"X-Forwarded-Proto": "wss"}, environ_base={"REMOTE_ADDR": "127.0.0.1"})
    schemes = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        schemes.append(environ["wsgi.url_scheme"])
        return Response("")(environ, start_response)

    for wrapped in (ProxyFix(app), behind_proxies(app, 1)):
        run_wsgi_app(wrapped, environ)
    assert schemes == ["wss", "https"]


def test_werkzeugs_etag_stays_the_same_when_a_files_content_changes_and_threadchats_does_not(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages are built with a fixed date, so an upgrade may keep a file's time, and by chance its size."""
    monkeypatch.setattr(www, "WWW", tmp_path)
    werkzeugs, ours = set(), set()
    for content in ("old", "new"):
        (tmp_path / "a.css").write_text(content)
        os.utime(tmp_path / "a.css", (0, 0))
        with closing(send_from_directory(tmp_path, "a.css", create_environ())) as answer:
            werkzeugs.add(answer.headers["ETag"])
        ours.add(ask(server, "GET", "/static/a.css").headers["ETag"])
    assert (len(werkzeugs), len(ours)) == (1, 2)
