"""The chat page in a browser, for the tests: how to open it, find its parts and talk to it.

The page's content security policy forbids `eval`, which playwright's `wait_for_function` needs. So the tests wait
through `expect`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any, Protocol

import pytest
from helpers import LIMIT
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from scripted_v1 import Line, Scripted, scripted_server

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()

# The waits before reconnecting are random. These scripts make them short, or far longer than any test.
SHORT_WAITS = "Math.random = () => 0.02"
LONG_WAITS = "Math.random = () => 600"

# The page's clock of timers, faster: five seconds of waiting take half a second. For the server's first word the page
# waits as long as ever, since the test has to say it.
QUICK_TIMERS = """{
    const real = setTimeout;
    const slow = /does not answer/;
    window.setTimeout = (work, ms) => real(work, slow.test(String(work)) ? ms : ms / 10);
}"""

# The same, and the page soon gives up a server that says nothing.
IMPATIENT_TIMERS = "{ const real = setTimeout; window.setTimeout = (work, ms) => real(work, ms / 10); }"


Visit = Callable[..., Page]


class Enter(Protocol):
    """The type of the fixture `enter`."""

    def __call__(
        self, *scripts: str, path: str = "", name: str = "Ann", hello: dict[str, Any] | None = None, **options: Any
    ) -> tuple[Page, Line]: ...


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """`visit(url, *scripts)` opens a page in a new browser context. The scripts run before the page's own."""
    contexts: list[BrowserContext] = []

    def open_page(url: str, *scripts: str, wait: bool = True, **options: Any) -> Page:
        context = browser.new_context(**options)
        context.set_default_timeout(1_000 * LIMIT)
        contexts.append(context)
        page = context.new_page()
        for script in scripts:
            page.add_init_script(script)
        page.goto(url)
        if wait:
            expect(status_of(page)).to_have_text("Connected ")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server that does what the test tells it to."""
    with scripted_server() as running:
        yield running


@pytest.fixture
def enter(scripted: Scripted, visit: Visit) -> Enter:
    """`enter(*scripts, hello={...})` opens a page of the scripted server. Returns it, connected, and the server's end.

    Without a name the page is that of a first visit.
    """

    def open_page(
        *scripts: str, path: str = "", name: str = "Ann", hello: dict[str, Any] | None = None, **options: Any
    ) -> tuple[Page, Line]:
        query = f"?name={name}" if name else ""
        page = visit(f"{scripted.url}{path}{query}", *scripts, wait=False, **options)
        line = scripted.join().hello(**(hello or {}))
        expect(status_of(page)).to_have_text("Connected ")
        return page, line

    return open_page


def log_of(page: Page) -> Locator:
    return page.get_by_role("log", name="Chat messages")


def scroller_of(page: Page) -> Locator:
    return page.get_by_role("region", name="The room")


def messages_of(page: Page) -> Locator:
    return log_of(page).locator("> .message")


def texts_of(page: Page) -> Locator:
    """What the messages say, without names and times."""
    return log_of(page).locator("> .message > .text")


def notices_of(page: Page) -> Locator:
    """The lines that are no messages, without the dates."""
    return log_of(page).locator("> .notice:not(.day)")


def outgoing_of(page: Page) -> Locator:
    return page.get_by_role("list", name="Not delivered yet").get_by_role("listitem")


def field_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Your message")


def name_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Your name")


def note_of(page: Page) -> Locator:
    return page.locator("#note")


def status_of(page: Page) -> Locator:
    return page.get_by_role("status")


def more_of(page: Page) -> Locator:
    return page.locator("#more")


def write(page: Page, text: str) -> None:
    field_of(page).fill(text)
    field_of(page).press("Enter")


def axe_complaints(page: Page) -> list[tuple[str, list[str]]]:
    """The rules of axe that the page breaks as it is now, with the elements that break them."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run().then(({ violations }) => violations)")
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found]


def scroll_to(page: Page, top: int) -> None:
    scroller_of(page).evaluate("(log, top) => { log.scrollTop = top; }", top)


def numbered(count: int, word: str = "row") -> list[str]:
    return [f"{word} {number}" for number in range(count)]
