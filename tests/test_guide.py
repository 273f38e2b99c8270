"""The guide: its code is the source's, its links lead somewhere, and it can be read on any screen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from html import escape
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
from helpers import LIMIT, Inspected, Running, Serve, ask, contrast, errors, until
from playwright.sync_api import Browser, Page, expect

import threadchat
from threadchat.exercises.cards import read_cards
from threadchat.lessons.run import LESSONS
from threadchat.web import guide, source, www

PACKAGE = Path(threadchat.__file__).parent
AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
GO_PATH = Path("/usr/share/gocode")  # where Debian's packages put Go's sources
VOID = {"meta", "link", "img", "br", "input"}  # elements without an end tag, of those that the guide has


class Outline(HTMLParser):
    """The page's tags, links, headings and code. Raises AssertionError if a tag does not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.links: list[str] = []
        self.chapters: list[str] = []
        self.headings: list[tuple[str, str]] = []  # the tag and the id of each
        self.fragments: list[tuple[str, str]] = []  # the caption and the code of each
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        assert len(attributes) == len(attrs), f"<{tag}> at {self.getpos()} has an attribute twice"
        if "id" in attributes:
            self.ids[attributes["id"]] += 1
        if tag == "a":
            self.links.append(attributes["href"])
        elif tag == "section":
            self.chapters.append(attributes["aria-labelledby"])
        elif tag in ("h1", "h2", "h3"):
            self.headings.append((tag, attributes.get("id", "")))
        elif tag in ("figcaption", "pre"):
            self._text = ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> at {self.getpos()} is not HTML"

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()} ends something else"
        if tag == "figcaption":
            self.fragments.append((self._text, ""))
        elif tag == "pre":
            self.fragments[-1] = (self.fragments[-1][0], self._text)


@pytest.fixture(scope="module")
def outline() -> Outline:
    parsed = Outline()
    parsed.feed(guide.page())
    parsed.close()
    parsed.fragments = [(caption, code) for caption, code in parsed.fragments if code]
    return parsed


# Its placeholders


def test_every_placeholder_is_filled(outline: Outline) -> None:
    assert "{{" not in guide.page()
    template = (www.WWW / "guide" / "index.html").read_text()
    assert len(outline.fragments) == template.count("{{python ") + template.count("{{go ") > 40


def test_each_fragment_is_in_the_source_at_the_line_that_its_caption_names(outline: Outline) -> None:
    for caption, code in outline.fragments:
        file, _, first = caption.partition(", line ")
        lines = ((PACKAGE if file.endswith(".py") else www.WWW) / file).read_text().split("\n")
        start = int(first) - 1
        assert (
            code == textwrap.dedent("\n".join(lines[start : start + code.rstrip("\n").count("\n") + 1])).rstrip() + "\n"
        )


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of www/ that takes its place, for the test to change."""

    def forget() -> None:
        for cached in (guide.page, guide._highlighted, source.text, source.tree, source._definitions):
            cached.cache_clear()

    shutil.copytree(str(www.WWW), tmp_path / "www")
    monkeypatch.setattr(www, "WWW", tmp_path / "www")
    forget()
    yield tmp_path / "www"
    forget()


@pytest.mark.parametrize(
    ("placeholder", "what"),
    [
        ("python nothing.py f", "no file nothing.py"),
        ("python hub.py Hub.walk", "hub.py has no Hub.walk"),
        ("go chat.go hub.walk", "chat.go has no hub.walk"),
        ('python hub.py Hub.run from "nowhere" to "else"', "'nowhere'"),
        ('python hub.py Hub.stop from "def stop" to "def run"', "'def run'"),
        ('python hub.py Hub.run line "nowhere"', "'nowhere'"),
        ("python hub.py Hub.run somewhere", "names no lines"),
        ("value hub.py NOTHING", "assigns nothing to NOTHING"),
        ("table hub.py", "no table"),
        ("ruby chat.rb run", "knows no placeholder"),
        ("lesson convoys", "no file lessons/convoys.py"),
        ("lesson lesson", "there is no lesson lesson"),
        ("exercise 13-more", "no file exercises/cards/13-more.md"),
    ],
)
def test_a_placeholder_that_matches_nothing_is_a_lookup_error(placeholder: str, what: str, pages: Path) -> None:
    with (pages / "guide" / "index.html").open("a") as template:
        template.write("{{" + placeholder + "}}")
    with pytest.raises(LookupError, match=what):
        guide.page()


def delete(name: str) -> Callable[[Path], None]:
    return lambda pages: (pages / name).unlink()


@pytest.mark.parametrize(
    ("damage", "missing"),
    [
        (delete("guide/index.html"), "there is no file guide/index.html"),
        (delete("chat.go"), "there is no file chat.go"),
        (lambda pages: (pages / "chat.go").write_text("package main\n"), "chat.go has no "),
    ],
    ids=["no template", "no Go source", "no anchor"],
)
def test_without_a_part_of_the_guide_the_chat_starts_and_the_guide_says_what_is_missing(
    serve: Serve, pages: Path, damage: Callable[[Path], None], missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(pages)
    server = serve()
    assert ask(server, "GET", "/").status == 200
    for _ in range(3):
        answer = ask(server, "GET", "/guide")
        assert answer.status == 404
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert missing in answer.body.decode()
    (error,) = errors(caplog)
    assert error.startswith("the guide cannot be shown: ")
    assert missing in error


def test_without_any_page_the_chat_starts_and_tells_its_limits(serve: Serve, pages: Path) -> None:
    shutil.rmtree(pages)
    server = serve()
    assert [ask(server, "GET", path).status for path in ("/", "/guide", "/static/chat/chat.js")] == [404] * 3
    assert ask(server, "GET", "/limits").status == 200


def test_without_sources_the_guide_says_what_is_missing(
    serve: Serve, pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(www, "PACKAGE", tmp_path)
    answer = ask(serve(), "GET", "/guide")
    assert answer.status == 404
    assert b"there is no file hub.py" in answer.body


def test_code_is_escaped_and_coloured() -> None:
    filled = guide._filled('go chat.go client.writePump line "<-c.send"')
    assert '<span class="k">case</span> message, open := &lt;-c.send:' in filled
    filled = guide._filled("python hub.py Hub.stop")
    assert '<span class="k">def</span> <span class="d">stop</span>(self)' in filled
    assert '<span class="prose in4">    <span class="s">&quot;&quot;&quot;Make' in filled


def test_an_interior_line_of_a_docstring_is_coloured_without_its_indentation() -> None:
    filled = guide._filled("python channel.py Channel.close")
    assert '<span class="prose in4">    <span class="s">Raises Closed' in filled


def test_values_and_tables_are_the_sources() -> None:
    assert guide._filled("value options.py message_size") == "512"
    assert guide._filled("value websocket/connection.py STUCK_AFTER") == "0.25"
    table = guide._filled("table websocket/connection.py")
    assert "<td>the hub evicts</td><td>1008</td>" in table
    assert "---" not in table


# Go beside Python


@pytest.mark.parametrize(("file", "function"), guide.BESIDE)
def test_each_pair_exists_on_both_sides(file: str, function: str) -> None:
    first, lines = source.python_source(file, function)
    name = function.split(".")[-1]
    assert lines[0].startswith((f"def {name}(", f"class {name}"))
    assert lines[0] in (PACKAGE / file).read_text().split("\n")[first - 1]
    assert guide.go_beside(file, function).strip()


def test_a_go_function_has_all_its_lines_its_comment_included() -> None:
    go = guide.go_beside("client.py", "serve_ws")
    assert go.startswith("// serveWs serves")
    assert go.endswith("\tc.readPump()\n}")


def test_a_function_without_a_counterpart_in_go_has_nothing_beside_it() -> None:
    assert guide.go_beside("runtime/runqueue.py", "RunQueue.next") == ""


NEEDS_GORILLA = pytest.mark.skipif(
    not (GO_PATH / "src/github.com/gorilla/websocket").is_dir(), reason="needs github.com/gorilla/websocket"
)


@pytest.mark.skipif(shutil.which("gofmt") is None, reason="needs Go")
@pytest.mark.parametrize("name", [pytest.param("chat.go", marks=NEEDS_GORILLA), "guide/log.go"])
def test_the_go_compiles_and_is_formatted_as_gofmt_has_it(name: str) -> None:
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PATH)}
    for command in (["gofmt", "-d", name], ["go", "vet", name]):
        done = subprocess.run(
            command, cwd=str(www.WWW), env=environment, capture_output=True, text=True, timeout=15 * LIMIT
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# The page


def test_every_tag_that_is_opened_is_closed(outline: Outline) -> None:
    assert outline.open == []


def test_no_id_is_given_twice(outline: Outline) -> None:
    assert [name for name, count in outline.ids.items() if count > 1] == []


def test_every_link_within_the_page_leads_to_a_place_in_it(outline: Outline) -> None:
    inside = [link.removeprefix("#") for link in outline.links if link.startswith("#")]
    assert len(inside) > 15
    assert set(inside) <= set(outline.ids)


def test_every_chapter_has_its_heading_and_stands_in_the_contents(outline: Outline) -> None:
    names = [name for _, name in outline.headings if name in outline.chapters]
    assert names == outline.chapters
    linked = {link.removeprefix("#") for link in outline.links}
    assert {name for name in outline.chapters if not name.startswith("from-")} <= linked


# On a screen


@pytest.fixture
def visit(server: Running, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The guide in a window with these options. The browser's console must stay empty."""
    complaints: list[str] = []
    with browser.new_context(**request.param) as context:
        context.set_default_timeout(1_000 * LIMIT)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("requestfailed", lambda failed: complaints.append(failed.url))
        page.goto(f"{server.url}guide")
        yield page
    assert complaints == []


WIDE = {"viewport": {"width": 1440, "height": 900}}
SCHEMES = ("light", "dark")
SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


@pytest.mark.parametrize("visit", [WIDE, PHONE], indirect=True, ids=["wide", "phone"])
def test_the_page_does_not_scroll_sideways(visit: Page) -> None:
    wide, room = visit.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide == room == visit.evaluate("innerWidth")


@pytest.mark.parametrize(
    ("visit", "side_by_side"), [(WIDE, True), (PHONE, False)], indirect=["visit"], ids=["wide", "phone"]
)
def test_go_stands_beside_python_where_there_is_room_and_above_it_where_not(visit: Page, side_by_side: bool) -> None:
    for pair in visit.locator(".beside").all():
        go, python = (pair.locator("> *").nth(index).bounding_box() for index in (0, 1))
        assert go
        assert python
        if side_by_side:
            assert go["x"] + go["width"] < python["x"]
            assert (go["y"], go["height"]) == (python["y"], python["height"])
        else:
            assert go["y"] + go["height"] < python["y"]


@pytest.mark.parametrize("visit", [{**WIDE, "color_scheme": scheme} for scheme in SCHEMES], indirect=True, ids=SCHEMES)
def test_all_text_and_code_has_enough_contrast_to_be_read(visit: Page) -> None:
    shown = ("h1", ".lead", "nav a", "p", "p > code", "figcaption", ".code figcaption", "td", "th", ".steps h3")
    kinds = tuple(f".code .{kind}" for kind in "kscdn")
    readable = {name: contrast(visit, name) for name in (*shown, *kinds)}
    assert min(readable.values()) >= 4.5, readable


@pytest.mark.parametrize("visit", [WIDE, PHONE], indirect=True, ids=["wide", "phone"])
def test_a_listing_is_a_tab_stop_if_it_scrolls_and_the_arrow_keys_scroll_it(visit: Page) -> None:
    listings = visit.locator(".code pre")
    expect(visit.locator(".code pre:not([tabindex])")).not_to_have_count(0)  # once the script has measured them
    scrolls, stops = "pre => pre.scrollWidth > pre.clientWidth", "pre => pre.tabIndex === 0"
    which = listings.evaluate_all(f"all => all.map({scrolls})")
    assert 0 < sum(which) < len(which)
    assert listings.evaluate_all(f"all => all.map({stops})") == which
    listing = listings.nth(which.index(True))
    listing.focus()

    def is_scrolled_by_a_key() -> bool:
        visit.keyboard.press("ArrowRight")  # a page that still lays out its text may lose the first one
        return bool(listing.evaluate("pre => pre.scrollLeft > 0"))

    until(is_scrolled_by_a_key)


@pytest.mark.parametrize("visit", [{**PHONE, "java_script_enabled": False}], indirect=True)
def test_without_scripts_every_listing_is_a_tab_stop(visit: Page) -> None:
    expect(visit.locator(".code pre:not([tabindex='0'])")).to_have_count(0)


@pytest.mark.parametrize("visit", [WIDE], indirect=True)
def test_the_contents_lead_to_the_chapters(visit: Page) -> None:
    visit.get_by_role("navigation", name="Contents").get_by_role("link", name="A thousand threads").click()
    expect(visit.get_by_role("heading", name="A thousand threads")).to_be_in_viewport()


@pytest.mark.parametrize(
    "visit",
    [{"viewport": {"width": width, "height": 800}, "color_scheme": scheme} for width, scheme in SCREENS],
    indirect=True,
    ids=[f"{width} {scheme}" for width, scheme in SCREENS],
)
def test_axe_finds_nothing(visit: Page) -> None:
    for label in ("Receive", "Choose 300 times", "A quarter of a second", "One pump runs"):
        visit.get_by_role("button", name=label).click()
    first = visit.locator("main > section").first
    first.locator("h2").scroll_into_view_if_needed()
    first.locator(".pause").scroll_into_view_if_needed()
    expect(visit.locator(".progress")).to_be_visible(timeout=1000 * LIMIT)  # it has been read
    visit.evaluate(AXE)
    found = visit.evaluate("axe.run().then(({ violations }) => violations)")
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


# The ends of the chapters


def test_every_chapter_ends_with_the_next_one_and_with_where_to_watch_it() -> None:
    page = guide.page()
    ends = re.findall(r'<div class="pause">(.*?)</div>', page, re.DOTALL)
    chapters = re.findall(r'^<section aria-labelledby="([\w-]+)">\n<h2 id="\1">(.*?)</h2>', page, re.MULTILINE)
    assert len(ends) == len(chapters) - 2  # not after the reference and the last one
    for end, (name, title) in zip(ends, chapters[1:], strict=False):
        assert f'Next: <a href="#{name}">{title}</a>' in end
        assert "threadchat demo" in end or "threadchat lesson" in end
        assert "<b>Try it.</b>" in end


def test_every_lesson_is_named_at_the_end_of_a_chapter() -> None:
    for lesson in LESSONS.values():
        assert f"<code>threadchat lesson {lesson.name}</code> (<q>{escape(lesson.title)}</q>)" in guide.page()


def test_each_lesson_names_a_chapter_that_ends_with_it_and_an_exercise_of_that_chapter() -> None:
    chapters = dict(re.findall(r'<h2 id="([\w-]+)">.*?</h2>.*?<div class="pause">(.*?)</div>', guide.page(), re.DOTALL))
    exercises = {card.name: card.chapter.id for card in read_cards()}
    for lesson in LESSONS.values():
        assert f"<code>threadchat lesson {lesson.name}</code>" in chapters[lesson.chapter]
        assert exercises.get(lesson.exercise, "") == (lesson.chapter if lesson.chapter in exercises.values() else "")


def test_each_exercise_names_its_chapter_and_each_chapter_ends_with_its_exercises() -> None:
    template = (www.WWW / "guide" / "index.html").read_text()
    chapters = re.split(r'^<section aria-labelledby="([\w-]+)">\n(?=<h2)', template, flags=re.MULTILINE)[1:]
    asked = {
        (chapter, card)
        for chapter, text in zip(chapters[::2], chapters[1::2], strict=True)
        for card in re.findall(r"{{exercise (\S+)}}", text.partition('<div class="pause">')[2])
    }
    cards = read_cards()
    assert asked == {(card.chapter.id, f"{card.number:02}-{card.name}") for card in cards}
    assert template.count("{{exercise ") == len(cards)
    for card in cards:
        assert f'<h2 id="{card.chapter.id}">{escape(card.chapter.title)}</h2>' in template
        assert f"<code>threadchat exercise {card.name}</code> (<q>{escape(card.title)}</q>)" in guide.page()


def test_every_chapter_is_short_enough_for_one_sitting() -> None:
    template = (www.WWW / "guide" / "index.html").read_text()
    for chapter in re.split(r'^<section aria-labelledby="[\w-]+">\n(?=<h2)', template, flags=re.MULTILINE)[1:]:
        if "sentences" not in chapter:  # the reference
            prose = re.sub(r"<svg.*?</svg>|{{.*?}}|<[^>]*>", " ", chapter, flags=re.DOTALL)
            assert len(prose.split()) < 800, chapter[:80]  # four minutes


def test_the_guide_links_to_the_inspector_and_its_lessons_if_there_is_one_that_answers_the_reader(
    server: Running, inspect: Callable[..., Inspected]
) -> None:
    links = {"inspect", *(f"inspect#lesson={name}" for name in LESSONS)}
    elsewhere = {"X-Forwarded-For": "203.0.113.9"}
    asked: list[tuple[Running, dict[str, str], int]] = [
        (server, {}, 404),
        (inspect(), {}, 200),
        (inspect(), elsewhere, 403),
        (inspect(anywhere=True), elsewhere, 200),
    ]
    for running, headers, status in asked:
        page = ask(running, "GET", "/guide", headers).body.decode()
        assert set(re.findall(r'href="(inspect.*?)"', page)) == (links if status == 200 else set())
        assert ask(running, "GET", "/inspect", headers).status == status


def test_the_chat_page_links_to_the_guide(serve: Serve, browser: Browser) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(serve().url)
        with context.expect_page() as opened:  # in a tab of its own: the chat's messages would be lost
            page.get_by_role("link", name="Guide").click()
        expect(opened.value).to_have_title("threadchat: the guide")
