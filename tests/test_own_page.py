"""A learner's hub in the inspector's page: which file runs, what is wrong, and the line. The server is a fake.

One test has the real server, and a browser that comes back when a new hub takes over.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from chat_page import Visit, texts_of, write
from fake_inspector import EVICTION, EVIL, Inspector, Look, client, log_of
from helpers import THREADCHAT, Process, until
from playwright.sync_api import expect

from threadchat.exercises.cards import read_cards

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
COME_BACK = 30_000  # milliseconds; bounds a failure: a page that has lost its server waits a moment at random
FAULT: dict[str, Any] = {
    "kind": "asleep",
    "title": "Deadlock",
    "sentences": ["The thread hub is at line 36, `self.unregister.send(client)`: it sends to `unregister`.", EVIL],
    "mistake": "sends to itself",
    "about": "Only the hub's thread receives from `unregister`.",
    "line": 36,
    "first_line": 34,
    "lines": ["        for client in clients:", "            if full:", "                self.unregister.send(client)"],
}


def own(*faults: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """What a picture says of a learner's hub."""
    return {
        "file": "mine.py, save 2", "version": 2, "for": 12.0, "problem": "", "faults": faults,
        "channels": [{"name": "done", "pending": 0, "capacity": 1, "closed": False}], "threads": [], **changed
    }  # fmt: skip


def test_a_fault_is_told_with_its_line_and_goes_when_it_is_mended(inspector: Inspector, look: Look) -> None:
    page = look()
    section = page.get_by_role("region", name="Your hub")
    inspector.show(client(1))
    expect(page.locator("#rows")).to_contain_text("bot")
    expect(section).to_be_hidden()
    inspector.show(client(1), own=own(), events=[{"kind": "hub", "text": "`mine.py` was saved: a new hub runs"}])
    expect(section).to_contain_text("Your hub: mine.py, save 2, started 12 s ago")
    expect(section).to_contain_text("Its other channels: done (0 of 1).")
    expect(log_of(page).first).to_contain_text("mine.py was saved: a new hub runs")
    inspector.show(client(1), own=own(FAULT))
    expect(section.get_by_role("heading")).to_have_text("Deadlock: sends to itself")
    expect(section.locator("p code").first).to_have_text("self.unregister.send(client)")
    expect(section).to_contain_text(EVIL)
    expect(section.locator("[aria-current]")).to_have_attribute("data-line", "36")
    expect(section.locator("[aria-live]")).to_have_text("Deadlock: line 36.")
    left = {"name": "hub-1", "abandoned": True, "file": "mine.py", "line": 7, "code": "FREE.wait()"}
    inspector.show(client(1), own=own(problem="mine.py, line 1, `class Hub`: expected ':'.", threads=[left]))
    expect(section.get_by_role("heading")).to_have_count(0)
    expect(section.locator(".own-problem")).to_have_text("mine.py, line 1, class Hub: expected ':'.")
    abandoned = "The thread hub-1 did not end with its hub: it is at line 7 of mine.py, FREE.wait()."
    expect(section).to_contain_text(abandoned)
    hasty = {**EVICTION, "client": 2, "cause": "hasty", "waited": None, "quiet": None}
    inspector.show(client(1), own=own(), events=[hasty])
    expect(page.locator("#why p")).to_have_text(
        ": its write pump had not had its turn, and 256 of 256 messages waited. Nobody else waited."
    )
    section.get_by_role("button", name="Show its thread").click()
    expect(page.locator("#detail-title")).to_have_text("hub")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_in_it_and_nothing_is_wider_than_the_window(
    inspector: Inspector, look: Look, width: int, scheme: str
) -> None:
    page = look(color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 800})
    page.evaluate(AXE)
    inspector.show(client(1), own=own({**FAULT, "lines": [*FAULT["lines"][:2], 12 * "x" * 12]}, problem="mine.py " * 9))
    expect(page.get_by_role("region", name="Your hub").get_by_role("heading")).to_be_visible()
    found = page.evaluate("axe.run('#own').then(({ violations }) => violations)")
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    transport = page.locator("#transport").bounding_box()
    assert transport is not None
    assert width < 1280 or transport["y"] + transport["height"] <= 800  # the drawing has made room


def test_two_browsers_talk_over_a_hub_of_ones_own_and_come_back_to_the_next(tmp_path: Path, visit: Visit) -> None:
    solution = next(card.solution for card in read_cards() if card.name == "stop")
    file, new = tmp_path / "mine.py", tmp_path / "new.py"
    file.write_text(solution)
    command = [*THREADCHAT, "serve", "--port", "0", "--hub", str(file), "--log-level", "warning"]
    with Process(tmp_path, command) as process:
        until(lambda: "threadchat listens" in process.out, "the address")
        assert process.out.splitlines()[0] == f"the inspector: http://127.0.0.1:{process.port}/inspect"
        pages = [visit(f"http://127.0.0.1:{process.port}/?name={name}") for name in ("Ann", "Bob")]
        write(pages[0], "over my own hub")
        for page in pages:
            expect(texts_of(page)).to_have_text(["over my own hub"])
        new.write_text(solution.replace("Send(client.send, value)", "Send(client.send, value.upper())"))
        new.replace(file)
        process.wait_for("was saved: a new hub runs")
        for page in pages:
            write(page, "back")  # a page that comes back later has what was said from the log, where no hub changes it
        for page in pages:
            expect(texts_of(page)).to_have_count(3, timeout=COME_BACK)
        write(pages[1], "over the next")
        for page in pages:
            expect(texts_of(page).last).to_contain_text("OVER THE NEXT", timeout=COME_BACK)
            page.context.close()
        assert process.end() == 0
