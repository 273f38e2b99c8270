"""The demo as a newcomer meets it: the command, the inspector's page in a real browser, the real server behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from helpers import THREADCHAT, Process, until
from playwright.sync_api import Browser, Page, expect

MINUTE = 60_000  # milliseconds: what a newcomer may wait for an eviction


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
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://127.0.0.1:{demo.port}/inspect")
    expect(page.get_by_text("chatty bot").first).to_be_visible()
    yield page
    page.close()
    assert complaints == []


def test_a_newcomer_sees_a_stuck_clients_buffer_fill_and_its_eviction_and_why(page: Page) -> None:
    page.get_by_role("button", name=re.compile("stops reading")).first.click()
    expect(page.get_by_text("stuck bot").first).to_be_visible()
    expect(page.get_by_text("its peer stopped reading")).to_be_visible(timeout=MINUTE)
    expect(page.get_by_text("evicted: not reading fast enough").first).to_be_visible()
    expect(page.get_by_text("256/256").first).to_be_visible()


def test_a_message_can_be_followed_to_every_client(page: Page) -> None:
    page.get_by_role("textbox", name=re.compile("say", re.IGNORECASE)).fill("where do I go?")
    page.get_by_role("button", name="Say", exact=True).click()
    page.get_by_role("button", name=re.compile(r"where do I go\?")).first.click()
    for step in ("typed", "read", "broadcast", "buffered", "coalesced", "written"):
        expect(page.get_by_text(step, exact=True).first).to_be_visible()


def test_a_lesson_runs_from_the_page(page: Page) -> None:
    page.get_by_role("button", name="Lessons").click()
    expect(page.get_by_role("heading", name="A buffer without a limit")).to_be_visible()
    page.get_by_role("button", name="A hub that unregisters through its own channel").click()
    page.get_by_text("nothing moves ever again").click()
    page.get_by_role("button", name="Run it and see").click()
    expect(page.get_by_text("It waits for itself: a deadlock", exact=False)).to_be_visible(timeout=MINUTE)
