"""The inspector's page with a store: the log writer, its lag, and a message on its longer way. The server is a fake."""

from __future__ import annotations

from typing import Any

import pytest
from fake_inspector import JOURNEY, Inspector, Look, channel, client, row_of, thread
from helpers import until
from playwright.sync_api import Page, expect
from test_inspect_page import AXE

STORED: dict[str, Any] = {
    **JOURNEY,
    "group": 12,
    "steps": [
        {"step": step, "t": 10 + ms / 1000, "thread": by, "file": "log/writer.py", "line": 170}
        for step, ms, by in [
            ("typed", 0, ""),
            ("read", 1.25, "readPump-1"),
            ("said", 1.5, "readPump-1"),
            ("grouped", 1.75, "logWriter"),
            ("stored", 2, "logWriter"),
            ("returned", 2.5, "logReader"),
            ("buffered", 3, "hub"),
            ("coalesced", 3.5, "writePump-1"),
            ("written", 4.5, "writePump-1"),
        ]
    ],
}
RATES = {"messages": 2.0, "deliveries": 4.0, "frames": 4.0, "messages_a_frame": 1.0}


def log_writer(state: str = "receiving", on: str = "said", **changed: Any) -> dict[str, Any]:
    """A LogWriter of the protocol."""
    return {
        "thread": thread("logWriter", state, on),
        "said": channel("said", changed.pop("pending", 0)),
        "down": state == "down",
        "in_hand": 0,
        "behind": 0,
        "groups": 40,
        "entries": 120,
        "failures": 0,
        **changed,
    }


def log_reader(state: str = "listening", **changed: Any) -> dict[str, Any]:
    """A LogReader of the protocol."""
    return {
        "thread": thread("logReader", state, "store"),
        "down": state == "down",
        "behind": 0,
        "entries": 9,
        **changed,
    }


def show(inspector: Inspector, writer: dict[str, Any] | None, **changed: Any) -> None:
    rates = {**RATES, "groups": 3.0, "entries_a_group": 3.25, "append": 0.0004}
    inspector.show(client(1), client(2), log_writer=writer, rates=rates, **changed)


def box_of(page: Page, element: str) -> dict[str, float]:
    box = page.locator(element).bounding_box()
    assert box is not None
    return {"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]}


def test_the_log_writer_stands_between_the_read_pumps_and_the_hub_with_its_figures(
    inspector: Inspector, look: Look
) -> None:
    page = look()
    writer = page.locator("#log-writer")
    expect(row_of(page, 1)).to_be_visible()
    expect(writer).to_be_hidden()  # the rooms are in memory
    expect(page.locator("#wires > *")).to_have_count(2 * 2 + 2 * 3)
    show(inspector, log_writer(pending=7, in_hand=3, behind=2))
    expect(writer).to_be_visible()
    for figure in "10 to be stored", "2 not passed on", "3.3 a group", "0.4 ms a group", "0 failures", "receiving":
        expect(writer).to_contain_text(figure)
    expect(page.locator('[data-name="said"]')).to_contain_text("7/256")
    expect(page.locator("#wires > *")).to_have_count(2 * 2 + 2 * 3 + 4)  # said to the writer, the writer to the hub
    said, box, hub = box_of(page, '[data-name="said"]'), box_of(page, "#log-writer"), box_of(page, "#hub")
    assert said["x"] + said["width"] < box["x"]
    assert box["y"] + box["height"] < hub["y"]
    into = page.locator("#wires .wire").first.get_attribute("d") or ""
    end = page.evaluate("d => Number(d.trim().split(/[ C,]+/).at(-1))", into)
    assert said["y"] < box_of(page, "#canvas")["y"] + end < said["y"] + said["height"], "the read pumps send to said"
    writer.locator(".hub-figures").hover()
    expect(page.locator("#hint")).to_contain_text("written 120 entries in 40 groups; the store has failed 0 times")
    expect(page.locator("#hint")).to_contain_text("Now 10 of all rooms")
    show(inspector, None)
    expect(writer).to_be_hidden()
    expect(page.locator("#wires > *")).to_have_count(2 * 2 + 2 * 3)


def test_a_log_reader_stands_between_the_log_writer_and_the_hub(inspector: Inspector, look: Look) -> None:
    page = look()
    show(inspector, log_writer())
    expect(page.locator("#log-reader")).to_be_hidden()  # no other process uses the store
    show(inspector, log_writer(), log_reader=log_reader(behind=4))
    reader = page.locator("#log-reader")
    expect(reader).to_contain_text("listening")
    expect(reader).to_contain_text("4 to come")
    expect(page.locator("#wires > *")).to_have_count(2 * 2 + 2 * 3 + 6)
    assert box_of(page, "#log-reader")["y"] + box_of(page, "#log-reader")["height"] < box_of(page, "#hub")["y"]
    reader.click()
    expect(page.locator("#detail")).to_contain_text("waits until the store has something new, for 1.5 s.")
    expect(page.locator("#detail .note").first).to_contain_text("brought 9 entries from the store")
    show(inspector, log_writer(), log_reader=log_reader("down"))
    expect(page.locator("#hint")).to_contain_text("The store cannot be read")
    expect(reader).to_have_attribute("data-family", "stuck")


def test_a_store_that_is_down_is_said_first_and_the_tour_leaves_out_what_is_otherwise_with_a_store(
    inspector: Inspector, look: Look
) -> None:
    page = look()
    page.get_by_role("button", name="Tour", exact=True).click()
    expect(page.locator("#tour .note")).to_have_text("Tour, 1 of 6")
    page.get_by_role("button", name="Leave the tour").click()
    events = [{"kind": "store", "text": "the store is down: what is said waits"}]
    show(inspector, log_writer("down", "store", pending=200, failures=9), events=events)
    expect(page.locator("#hint")).to_contain_text("The store is down")
    expect(page.locator("#hint")).to_contain_text("said fills, 200 of 256")
    expect(page.locator("#log-writer")).to_have_attribute("data-family", "stuck")
    expect(page.locator("#log > li")).to_contain_text("the store is down: what is said waits")
    show(inspector, log_writer("behind", "hub", behind=512), paused=True)
    expect(page.locator("#hint")).to_contain_text("Its log is 512 entries ahead of it")
    page.get_by_role("button", name="Tour", exact=True).click()
    expect(page.locator("#tour .note")).to_have_text("Tour, 1 of 4")


def test_behind_the_log_writer_its_channel_and_a_message_is_what_belongs_to_them(
    inspector: Inspector, look: Look
) -> None:
    inspector.journey = STORED
    page = look()
    show(inspector, log_writer("behind", "hub"))
    page.locator("#log-writer").click()
    detail = page.locator("#detail")
    expect(detail).to_contain_text("has run ahead, and waits for hub, for 1.5 s.")
    expect(detail.locator(".note").first).to_contain_text("Since the start it has written 120 entries")
    expect(detail.locator(".changes")).to_contain_text("behind")
    show(inspector, log_writer("receiving", "said"))
    page.locator('[data-name="said"]').click()
    expect(detail.get_by_role("heading", name="channel said")).to_be_visible()
    expect(detail.locator(".changes")).to_have_text("logWriterreceiving")  # and not the hub, which selects elsewhere
    detail.get_by_role("button", name="who sends").click()
    expect(detail).to_contain_text("StoredRoom.say")
    page.locator(".room-log button").click()
    expect(detail).to_contain_text("the hub has passed on")
    until(lambda: "/inspect/source?file=stored_room.py&function=StoredRoom._pass_on" in inspector.asked, "its source")
    show(inspector, log_writer(), events=[{"kind": "message", "id": 41, "client": 1, "text": "hello"}])
    page.get_by_role("button", name="hello").click()
    detail = page.get_by_role("region", name="The journey of a message")
    expect(detail.locator(".steps strong")).to_have_text([step["step"] for step in STORED["steps"]])
    expect(detail.locator(".note")).to_contain_text("The log writer had a group of 12 entries.")
    tops = detail.locator(".steps li").evaluate_all("items => [...new Set(items.map(item => item.offsetTop))]")
    assert len(tops) == 1, "side by side"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing(inspector: Inspector, look: Look, scheme: str, width: int) -> None:
    inspector.journey = STORED
    page = look(color_scheme=scheme, reduced_motion="reduce", viewport={"width": width, "height": 800})
    page.evaluate(AXE)

    def check(what: str) -> None:
        found = page.evaluate("axe.run().then(({ violations }) => violations)")
        assert [(what, each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found] == []

    said = {"kind": "message", "id": 41, "client": 1, "text": "hello"}
    show(inspector, log_writer("down", "store", pending=200, failures=9), log_reader=log_reader("down"), events=[said])
    expect(page.locator("#hint")).to_contain_text("The store is down")
    check("the store is down")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#log-writer").click()
    check("its detail")
    page.locator("#detail .close").click()
    page.get_by_role("button", name="hello").click()
    expect(page.locator(".steps")).to_be_visible()
    check("the journey")
