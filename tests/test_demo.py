"""The demo from end to end: the command, the inspector's page in a real browser, and the server behind it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_inspector import NO_TOUR
from helpers import LIMIT, THREADCHAT, Process, ask, until
from playwright.sync_api import Browser, Page, expect

NOTE_SIGNS = """signs => {
    window.noted = {};
    new MutationObserver(() => {
        for (const sign of signs) if (document.body.textContent.includes(sign)) noted[sign] = true;
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("demo")
    with Process(folder, [*THREADCHAT, "demo", "--no-browser", "--port", "0"]) as process:
        until(lambda: "the inspector: " in process.out, "the address of the inspector")
        yield process
        assert process.end() == 0
        assert process.err == ""


@pytest.fixture
def page(demo: Process, browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(1_000 * LIMIT)
    page.add_init_script(NO_TOUR)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://127.0.0.1:{demo.port}/inspect")
    expect(page.get_by_text("chatty bot").first).to_be_visible()
    yield page
    page.close()
    assert complaints == []


def test_the_page_shows_how_a_stuck_clients_buffer_fills_and_why_it_is_evicted(page: Page) -> None:
    signs = ["stuck bot", "wait for client", "Nobody waits for it", "evicted: its peer took no more bytes", "256/256"]
    page.evaluate(NOTE_SIGNS, signs)  # each is there for a while only
    page.get_by_role("button", name=re.compile("stops reading")).first.click()
    until(lambda: page.evaluate("noted").keys() >= set(signs), lambda: f"all signs, not {page.evaluate('noted')}")
    expect(page.locator("#why")).to_contain_text("its peer took no more bytes")


def test_a_message_can_be_followed_to_every_client(page: Page) -> None:
    page.get_by_role("textbox", name=re.compile("say", re.IGNORECASE)).fill("where do I go?")
    page.get_by_role("button", name="Say", exact=True).click()
    page.get_by_role("button", name=re.compile(r"where do I go\?")).first.click()
    for step in ("typed", "read", "broadcast", "buffered", "coalesced", "written"):
        expect(page.get_by_text(step, exact=True).first).to_be_visible()


def test_a_lesson_runs_in_the_page(page: Page) -> None:
    page.get_by_role("button", name="Lessons").click()
    expect(page.get_by_role("heading", name="A buffer without a limit")).to_be_visible()
    page.get_by_role("link", name="A hub that unregisters through its own channel").click()
    page.get_by_text("so it waits for ever").click()
    page.get_by_role("button", name="Run it and see").click()
    expect(page.get_by_text("It waits for itself: a deadlock", exact=False)).to_be_visible()


def test_a_deeply_nested_action_is_refused(demo: Process) -> None:
    """Python 3.13 crashes when it parses such a body in a thread with a small stack."""
    headers = {"X-Threadchat": "inspect", "Content-Type": "application/json"}
    hidden = '{"text": "\\"[", "a": ' + "[" * 60_000
    utf_16 = f'["\u2230"{"[" * 30_000}'.encode("utf-16-le")  # this character has the byte of a quotation mark
    for body in (b"[" * 60_000, b'{"a":' * 12_000, hidden.encode(), utf_16, b'"\\' * 30_000):
        assert ask(demo, "POST", "/inspect/do", headers, body).status == 400
    brackets = b'{"action": "say", "text": "[[ \\" {{ %s"}' % (b"[" * 200)
    assert ask(demo, "POST", "/inspect/do", headers, brackets).status == 200


def test_a_signal_while_the_browser_opens_stops_the_demo_in_order(tmp_path: Path) -> None:
    """`webbrowser` waits up to five seconds for a Firefox: here one that does not end before it is told to."""
    opened, end = tmp_path / "opened", tmp_path / "end"
    os.mkfifo(end)
    firefox = tmp_path / "firefox"
    firefox.write_text(f"#!/bin/sh\n: > {opened}\nread line < {end}\n")
    firefox.chmod(0o755)
    # Python knows a browser by its name only where there is a display.
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "BROWSER": "firefox", "DISPLAY": ":0"}
    with Process(tmp_path, [*THREADCHAT, "demo"], env=environment) as process:
        until(opened.exists, "the browser")
        try:
            assert process.end() == 0
        finally:
            end.write_text("now\n")
