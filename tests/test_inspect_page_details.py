"""The inspector's page in a real browser: what is behind a thread, a channel or a message. The server is a fake."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable

from fake_inspector import WWW, Inspector, Look, client, gauge_of, row_of, write_pump_of
from helpers import Inspected, ask, until
from playwright.sync_api import expect


def test_a_message_is_followed_from_step_to_step(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(client(1), client(2), events=[{"kind": "message", "id": 41, "client": 1, "text": "hello"}])
    page.get_by_role("button", name="hello").click()
    detail = page.get_by_role("region", name="The journey of a message")
    steps = detail.locator(".steps > li")
    expect(steps.locator("strong")).to_have_text(["typed", "read", "broadcast", "buffered", "coalesced", "written"])
    expect(steps.locator(".at")).to_have_text(["0.00 ms", "1.25 ms", "1.50 ms", "2.00 ms", "3.00 ms", "4.50 ms"])
    expect(steps.nth(1)).to_contain_text("readPump-1\nclient.py:61")
    expect(detail.get_by_role("row", name="1 a")).to_have_text("1 a2.003.0054.50")
    expect(detail.get_by_role("row", name="2 b")).to_contain_text("evicted")


def test_the_page_says_that_a_message_is_too_old(inspector: Inspector, look: Look, errors: list[str]) -> None:
    page = look()
    inspector.show(client(1), events=[{"kind": "message", "id": 7, "client": 1, "text": "long ago"}])
    page.get_by_role("button", name="long ago").click()
    expect(page.locator("#detail")).to_contain_text("This message is too old")
    errors.clear()  # the browser reports the 404


def test_a_thread_shows_the_line_it_is_at_with_the_go_beside(inspector: Inspector, look: Look) -> None:
    page = look()
    write_pump_of(page, 2).click()
    detail = page.get_by_role("region", name="writePump-2")
    expect(detail.locator("[aria-current]")).to_have_text("receiver.park()")
    expect(detail.locator("[aria-current]")).to_have_attribute("data-line", "136")
    expect(detail.get_by_label("The same in Go")).to_have_text("message, ok := <-c.send")
    expect(detail.locator(".frames > li")).to_have_text(
        ["Client.write_pump client.py:80", "Channel.receive channel.py:136"]
    )
    assert "/inspect/source?file=channel.py&function=Channel.receive" in inspector.asked
    detail.get_by_role("button", name="Client.write_pump").click()
    expect(detail.get_by_role("heading", name="Client.write_pump in channel.py")).to_be_visible()
    detail.get_by_role("button", name="Channel.receive").click()
    expect(detail.locator("[aria-current]")).to_have_text("receiver.park()")
    inspector.show(client(1), client(2, state="running", line=137))
    expect(detail.locator("[aria-current]")).to_have_text("return item")
    expect(detail.locator(".changes")).to_contain_text("running")


def test_all_functions_of_a_stack_are_asked_for_at_once(inspector: Inspector, look: Look) -> None:
    inspector.sources_together = threading.Barrier(2)
    page = look()
    write_pump_of(page, 2).click()
    expect(page.get_by_role("heading", name="Channel.receive in channel.py")).to_be_visible()
    assert len([address for address in inspector.asked if address.startswith("/inspect/source")]) == 2


def test_a_channel_shows_its_fill_and_a_pinned_client_is_watched(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(client(1), client(2, pending=200))
    gauge_of(page, 2).click()
    detail = page.get_by_role("region", name="channel send-2")
    expect(detail).to_contain_text("200 of 256 messages are waiting in it")
    expect(detail).to_contain_text("At most 200 of 256.")
    detail.get_by_role("button", name="Pin client 2").click()
    expect(detail.get_by_role("button", name="Client 2 is pinned")).to_have_attribute("aria-pressed", "true")
    until(lambda: "/inspect/live?watch=2" in inspector.asked, "a connection that watches client 2")
    inspector.show(client(2, pending=201))
    expect(detail).to_contain_text("201 of 256")


def test_in_a_crowd_a_client_that_is_looked_into_is_watched(inspector: Inspector, look: Look) -> None:
    page = look()
    inspector.show(
        client(1, pending=1), client(2), crowd={"count": 7, "fill": [9] + 15 * [0], "reading": {}, "writing": {}}
    )
    expect(page.get_by_role("group", name="All clients")).to_contain_text("7 not drawn")
    write_pump_of(page, 2).click()
    until(lambda: "/inspect/live?watch=2" in inspector.asked, "a connection that watches client 2")
    page.keyboard.press("Escape")
    until(lambda: inspector.asked[-1] == "/inspect/live", "a connection that watches nobody")


def test_a_pinned_client_has_its_row_however_many_there_are(inspector: Inspector, look: Look) -> None:
    page = look()
    row_of(page, 2).get_by_role("button", name="Pin client 2").click()
    crowded = {"count": 70, "fill": [101] + 15 * [0], "reading": {}, "writing": {}}
    inspector.show(*(client(number) for number in range(30, 60)), client(2), crowd=crowded)
    expect(page.locator(".row")).to_have_count(24)
    expect(row_of(page, 2)).to_be_visible()


def test_each_function_that_a_channel_shows_at_its_ends_is_there_and_those_of_channels_have_a_counterpart_in_go(
    inspect: Callable[..., Inspected],
) -> None:
    server = inspect()
    script = (WWW / "inspect" / "channel-detail.js").read_text()
    functions = re.findall(r'\["([\w/]+\.py)", "([\w.]+)"\]', script)
    assert len(functions) == 8
    for file, function in functions:
        answer = ask(server, "GET", f"/inspect/source?file={file}&function={function}")
        told = json.loads(answer.body)
        assert told["lines"]
        assert bool(told["go"]) == (file in ("channel.py", "outbox.py"))
