"""The guide's table of the Go specification: each row is complete, and each test that it names exists."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from pathlib import Path

import pytest
from helpers import Running
from playwright.sync_api import Browser, expect

ROOT = Path(__file__).parents[1]
SECTIONS = [  # of the Go specification, in the order of the table
    "Channel types",
    "Send statements",
    "Receive operator",
    "Select statements",
    "For statements with range clause",
    "Close",
    "Length and capacity",
    "The Go memory model",
]


def table() -> dict[str, list[list[str]]]:
    """The cells of each row, by the section of the specification."""
    page = (ROOT / "www" / "guide" / "index.html").read_text()
    found = re.search(r'<table class="sentences">(.*?)</table>', page, re.DOTALL)
    assert found
    sections = {}
    for body in re.findall(r"<tbody>(.*?)</tbody>", found[1], re.DOTALL):
        title, rows = re.findall(r'<th scope="rowgroup" colspan="3">(.*?)</th>', body), body.split("<tr>")[2:]
        assert len(title) == 1
        sections[title[0]] = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in rows]
    return sections


def test_every_section_of_the_specification_that_applies_has_rows() -> None:
    sections = table()
    assert list(sections) == SECTIONS
    assert all(sections.values())
    assert len(sections["The Go memory model"]) == 4  # its four rules for channels


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_has_a_sentence_what_is_done_here_and_tests_that_exist(section: str) -> None:
    files = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    defined = Counter(name for file in files for name in re.findall(r"^def (test_\w+)\(", file, re.MULTILINE))
    for row in table()[section]:
        assert len(row) == 3, row
        sentence, here, tests = row
        for cell in (sentence, here):
            assert unescape(re.sub(r"<.*?>", "", cell)).strip().endswith("."), row
        names = re.findall(r"<code>(\w+)</code>", tests)
        assert tests == " ".join(f"<code>{name}</code>" for name in names) != "", row
        assert [name for name in names if defined[name] != 1] == []


def test_no_sentence_stands_in_the_table_twice() -> None:
    sentences = Counter(row[0] for rows in table().values() for row in rows)
    assert [sentence for sentence, count in sentences.items() if count > 1] == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_table_can_be_read_on_any_screen_and_scrolled_by_keyboard(
    width: int, server: Running, browser: Browser
) -> None:
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        page = context.new_page()
        page.goto(f"{server.url}guide")
        contents = page.get_by_role("navigation", name="Contents")
        contents.get_by_role("link", name="Channels, sentence by sentence").click()
        box = page.get_by_role("region", name="The sentences and their tests")
        expect(box).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        wider = box.evaluate("box => box.scrollWidth > box.clientWidth")
        assert wider == (width == 390)
        box.focus()
        expect(box).to_be_focused()
        if wider:
            page.keyboard.press("ArrowRight")
            page.wait_for_function("box => box.scrollLeft > 0", arg=box.element_handle())
