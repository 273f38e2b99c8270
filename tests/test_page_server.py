"""The chat page and the real server: people talk, go, come back, and miss nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from chat_page import (
    IMPATIENT_TIMERS,
    LONG_WAITS,
    SHORT_WAITS,
    Visit,
    field_of,
    log_of,
    messages_of,
    name_of,
    note_of,
    notices_of,
    outgoing_of,
    status_of,
    texts_of,
    write,
)
from frozen_path import Path, path_to
from helpers import LIMIT, Inspected, Running, Serve, until, websocket
from playwright.sync_api import expect


@pytest.fixture
def server(serve: Serve) -> Running:
    """A server for each test: its rooms outlast their people."""
    return serve()


@pytest.fixture
def path(server: Running) -> Iterator[Path]:
    with path_to(server.port) as made:
        yield made


def room(server: Running, name: str) -> str:
    return f"{server.url}r/{name}"


@pytest.mark.usefixtures("patience")
def test_two_people_talk(server: Running, visit: Visit) -> None:
    ann, bea = visit(room(server, "two") + "?name=Ann"), visit(room(server, "two") + "?name=Bea")
    write(ann, "hello from Ann")
    expect(texts_of(bea)).to_have_text(["hello from Ann"])
    expect(messages_of(bea).locator(".name")).to_have_text(["Ann"])
    field_of(bea).fill("hello @ann,\nfrom Bea")
    bea.get_by_role("button", name="Send").click()
    for page in (ann, bea):
        expect(texts_of(page)).to_have_text(["hello from Ann", "hello @ann,\nfrom Bea"])
        expect(outgoing_of(page)).to_have_count(0)
        expect(page.locator("#here")).to_have_text("2 here")
    expect(ann.locator("mark")).to_have_text(["@ann"])
    expect(notices_of(ann)).to_have_text(["Bea joined"])
    expect(field_of(bea)).to_be_focused()


@pytest.mark.usefixtures("patience")
def test_a_latecomer_sees_the_history_and_keeps_it_over_a_reload(server: Running, visit: Visit) -> None:
    ann = visit(room(server, "late") + "?name=Ann")
    for text in ("one", "two"):
        write(ann, text)
    expect(messages_of(ann)).to_have_count(2)
    late = visit(room(server, "late") + "?name=Late")
    write(late, "three")
    expect(log_of(late).locator("> :not(.day)")).to_contain_text(["one", "two", "You joined here", "three"])
    late.reload()
    expect(log_of(late).locator("> :not(.day)")).to_contain_text(["one", "two", "three", "You joined here"])
    expect(notices_of(ann)).to_have_text(["Late joined"])  # and not that he left, and joined again
    expect(messages_of(late).locator("nth=2")).to_have_class("message mine")


@pytest.mark.usefixtures("patience")
def test_a_first_visit_gets_a_name_and_chooses_another(server: Running, visit: Visit) -> None:
    ann = visit(room(server, "names") + "?name=Ann")
    page = visit(room(server, "names"))
    expect(name_of(page)).to_have_attribute("placeholder", "Guest")
    name_of(page).fill("Ann")
    name_of(page).press("Enter")
    expect(field_of(page)).to_have_attribute("placeholder", "Write as Ann 2")
    expect(notices_of(ann)).to_have_text(["Guest joined", "Guest is now called Ann 2"])
    write(page, "/name admin")
    expect(note_of(page)).to_have_text("The name admin is reserved.")
    expect(field_of(page)).to_have_attribute("placeholder", "Write as Ann 2")


def test_people_with_the_plain_protocol_are_shown_too(server: Running, visit: Visit) -> None:
    page = visit(room(server, "plain") + "?name=Ann")
    address = f"{server.ws_url.removesuffix('ws')}r/plain/ws"
    with websocket(address) as nameless, websocket(f"{address}?name=Carl") as carl:
        nameless.send("without a name")
        carl.send("with one")
        expect(messages_of(page)).to_have_count(2)
        shown = sorted(messages_of(page).locator(".name").all_inner_texts())
        assert shown == ["Carl", "somebody"]
        write(page, "two\nlines")
        until(lambda: carl.recv(LIMIT) == "Ann: two lines", "the page's message")


@pytest.mark.parametrize(
    "dead", [{"up": True, "down": True}, {"up": True, "down": False}, {"up": False, "down": True}], ids=str
)
def test_no_text_vanishes_on_a_path_that_is_dead_without_a_close(
    server: Running, path: Path, visit: Visit, dead: dict[str, bool]
) -> None:
    name = f"dead{dead['up']:d}{dead['down']:d}"
    page = visit(f"http://127.0.0.1:{path.port}/r/{name}?name=Ann", SHORT_WAITS)
    other = visit(room(server, name) + "?name=Bea")
    write(page, "before")
    expect(texts_of(page)).to_have_text(["before"])
    path.freeze(**dead)
    write(page, "into the void")
    write(page, "and after it")
    write(other, "meanwhile")
    expect(outgoing_of(page).first).to_have_text("into the voidon its way")
    expect(outgoing_of(page).first).to_have_text("into the voidnot delivered yet", timeout=LIMIT * 1000)
    expect(outgoing_of(page)).to_have_count(0, timeout=LIMIT * 1000)
    for reader in (page, other):
        expect(messages_of(reader)).to_have_count(4)
        assert sorted(texts_of(reader).all_inner_texts()) == ["and after it", "before", "into the void", "meanwhile"]
    assert texts_of(page).all_inner_texts() == texts_of(other).all_inner_texts()


def test_in_a_storm_everything_is_said_once_and_nothing_is_missed(server: Running, path: Path, visit: Visit) -> None:
    page = visit(f"http://127.0.0.1:{path.port}/r/storm?name=Ann", IMPATIENT_TIMERS)
    other = visit(room(server, "storm") + "?name=Bea")
    # Of the very first text nobody would know after a reload whether it was taken, and the page would ask.
    write(page, "and calm before the storm")
    expect(messages_of(page)).to_have_count(1)
    troubles: list[Callable[[], object]] = [
        path.freeze,
        path.cut,
        lambda: path.freeze(up=False),
        page.reload,
        lambda: page.evaluate("window.dispatchEvent(new Event('online'))"),
        lambda: path.freeze(down=False),
    ]
    said: list[str] = []
    for trouble in troubles * 3:
        for moment in ("before", "after"):
            text = f"{len(said)}, {moment} {getattr(trouble, '__name__', '')}"
            said.append(text)
            write(page, text)
            write(other, f"and {text}")
            if moment == "before":
                trouble()
    for reader in (page, other):
        expect(messages_of(reader)).to_have_count(2 * len(said) + 1, timeout=3 * LIMIT * 1000)
        expect(outgoing_of(reader)).to_have_count(0)
    shown = texts_of(other).all_inner_texts()
    assert texts_of(page).all_inner_texts() == shown
    assert [text for text in shown if not text.startswith("and")] == said  # once each, and in order
    expect(page.locator(".gap")).to_have_count(0)


def test_a_page_that_was_evicted_comes_back_and_has_missed_nothing(serve: Serve, visit: Visit) -> None:
    server = serve(message_size=30_000, send_buffer=8, message_rate=0)
    with path_to(server.port) as path:
        page = visit(f"http://127.0.0.1:{path.port}/?name=Ann", SHORT_WAITS)
        until(lambda: len(server.clients) == 1, "the page in the hub")
        (evicted,) = server.clients
        path.stall()
        said: list[str] = []
        with websocket(f"{server.ws_url}?name=Bea", max_size=None) as bea:
            while evicted in server.clients:
                said.append(f"{len(said)} " + "x" * 25_000)
                bea.send(said[-1])
                assert bea.recv(LIMIT) == f"Bea: {said[-1]}"
        path.cut()
        expect(texts_of(page)).to_have_text(said, timeout=LIMIT * 1000)
        expect(page.locator(".gap")).to_have_count(0)


def test_a_path_that_died_while_the_page_was_hidden_is_noticed(server: Running, path: Path, visit: Visit) -> None:
    page = visit(f"http://127.0.0.1:{path.port}/r/hidden?name=Ann", LONG_WAITS)
    other = visit(room(server, "hidden") + "?name=Bea")
    path.freeze()
    write(other, "said meanwhile")
    expect(messages_of(other)).to_have_count(1)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(texts_of(page)).to_have_text(["said meanwhile"], timeout=LIMIT * 1000)
    expect(status_of(page)).to_have_text("Connected ")


def test_after_a_restart_of_the_server_the_page_goes_on(serve: Serve, visit: Visit) -> None:
    old = serve()
    page = visit(f"{old.url}?name=Ann", SHORT_WAITS)
    write(page, "before")
    expect(texts_of(page)).to_have_text(["before"])
    old.stop()
    expect(status_of(page)).not_to_have_text("Connected ")  # what is written before may have been delivered
    write(page, "in between")
    field_of(page).fill("a draft")
    serve(port=old.port)
    expect(status_of(page)).to_have_text("Connected ", timeout=LIMIT * 1000)
    # What was kept in memory is gone, and the page says so; what was never sent is said now.
    expect(notices_of(page)).to_have_text(["Messages may be missing here."])
    expect(texts_of(page)).to_have_text(["before", "in between"])
    expect(field_of(page)).to_have_value("a draft")


def test_a_room_has_one_spelling_and_a_way_to_the_lobby(server: Running, visit: Visit) -> None:
    page = visit(room(server, "Tea%20Room"))
    expect(page.get_by_role("heading", level=1)).to_have_text("tea room")
    assert page.url == room(server, "tea%20room")
    page.get_by_role("button", name="Rooms").click()
    page.get_by_role("link", name="The lobby").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("lobby")
    assert page.url == server.url


def test_a_text_that_is_too_fast_or_too_long_for_the_server_comes_back(serve: Serve, visit: Visit) -> None:
    server = serve(message_size=16)
    page = visit(f"{server.url}?name=Ann")
    # The page counts as the server does; here it is deceived.
    page.evaluate("TextEncoder.prototype.encode = () => ({ length: 1 })")
    write(page, "longer than sixteen bytes")
    expect(field_of(page)).to_have_value("longer than sixteen bytes")
    expect(note_of(page)).to_have_text("Not sent: A message has at most 16 bytes.")
    expect(outgoing_of(page)).to_have_count(0)


def test_the_page_talks_while_the_inspector_watches(inspect: Callable[..., Inspected], visit: Visit) -> None:
    server = inspect()
    with server.look() as look:
        page = visit(f"{server.url}?name=Ann")
        write(page, "watched")
        expect(texts_of(page)).to_have_text(["watched"])
        joined = look.until_event("joined")
        assert joined["client"] in server.hub.watched
