"""The chat below a path of another application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from threading import Thread
from urllib.parse import quote

import pytest
from chat_page import Visit, field_of, name_of, texts_of
from helpers import LIMIT
from playwright.sync_api import expect
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server
from werkzeug.test import Client

from threadchat.web.app import create_app

# Paths as people see them; a browser sends them in percent-encoded UTF-8.
PATHS = ["/chat", "/a/b", "/what?", "/100%", "/a b", "/%3F", "/#1", "/caf\u00e9", "/a&b;c=d+e"]


def wsgi(path: str) -> str:
    """The path as WSGI has it (PEP 3333)."""
    return path.encode().decode("latin-1")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", ["", "name=Ann&since=a%3Fb", "x=\u00e9?%"])
def test_the_address_without_the_slash_leads_to_the_one_with_it(path: str, query: str) -> None:
    with closing(create_app()) as chat:
        client = Client(DispatcherMiddleware(NotFound(), {wsgi(path): chat}))
        answer = client.get("/", environ_overrides={"PATH_INFO": wsgi(path), "QUERY_STRING": wsgi(query)})
        assert answer.status_code == 308
        encoded = quote(query, safe="=&?%")
        assert answer.headers["Location"] == f"{quote(path)}/" + (f"?{encoded}" if query else "")


Mount = Callable[[str], str]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Serves a site that has the chat below the path. Gives the address of the chat, without the slash."""
    with ExitStack() as stack:

        def serve(path: str) -> str:
            chat = stack.enter_context(closing(create_app()))
            site = make_server("127.0.0.1", 0, DispatcherMiddleware(NotFound(), {wsgi(path): chat}), threaded=True)
            thread = Thread(target=site.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(site.server_close)
            stack.callback(thread.join, LIMIT)
            stack.callback(site.shutdown)
            return f"http://127.0.0.1:{site.server_port}{quote(path)}"

        yield serve


@pytest.mark.parametrize("path", PATHS)
def test_the_page_finds_everything_below_any_path(mount: Mount, visit: Visit, path: str) -> None:
    page = visit(mount(path))
    assert page.url.endswith(quote(path) + "/")
    name_of(page).press("Enter")
    field_of(page).fill("hello")
    field_of(page).press("Enter")
    expect(texts_of(page)).to_have_text(["hello"])
    page.goto("about:blank")
