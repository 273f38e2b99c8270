"""The chat page's log: scrolling, many rows, batches."""

from __future__ import annotations

import pytest
from chat_page import (
    Enter,
    field_of,
    log_of,
    messages_of,
    more_of,
    notices_of,
    numbered,
    outgoing_of,
    scroll_to,
    scroller_of,
    texts_of,
    write,
)
from playwright.sync_api import Page, expect
from scripted_v1 import Line

MAX_ROWS = 5000  # as in www/chat/log.js


@pytest.fixture
def full(enter: Enter) -> tuple[Page, Line]:
    """A page with 100 messages, far more than fit into its window."""
    page, line = enter()
    line.say(*numbered(100))
    expect(messages_of(page)).to_have_count(100)
    return page, line


def bottom_of(page: Page) -> int:
    return int(scroller_of(page).evaluate("log => log.scrollHeight - log.clientHeight"))


def test_new_rows_scroll_into_view_at_the_bottom(full: tuple[Page, Line]) -> None:
    page, _ = full
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)
    expect(messages_of(page).first).not_to_be_in_viewport()
    expect(more_of(page)).to_be_hidden()


def test_new_rows_do_not_move_the_rows_that_are_read(full: tuple[Page, Line]) -> None:
    page, line = full
    scroll_to(page, 500)
    line.say("one more")
    expect(more_of(page)).to_have_text("1 new message")
    line.say(*numbered(30, "more"))
    expect(more_of(page)).to_have_text("31 new messages")
    assert scroller_of(page).evaluate("log => log.scrollTop") == 500


@pytest.mark.parametrize("way", ["click", "keyboard", "by hand"])
def test_the_new_messages_button_leads_to_the_bottom(full: tuple[Page, Line], way: str) -> None:
    page, line = full
    scroll_to(page, 0)
    line.say("news")
    button = page.get_by_role("button", name="1 new message")
    expect(button).to_be_visible()
    if way == "click":
        button.click()
        expect(field_of(page)).to_be_focused()
    elif way == "keyboard":
        button.press("Enter")
        expect(scroller_of(page)).to_be_focused()
    else:
        scroll_to(page, bottom_of(page))
    expect(more_of(page)).to_be_hidden()
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)
    line.say("later news")
    expect(messages_of(page)).to_have_count(102)
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)
    expect(more_of(page)).to_be_hidden()


def test_what_one_says_oneself_scrolls_into_view(full: tuple[Page, Line]) -> None:
    page, line = full
    scroll_to(page, 0)
    write(page, "from above")
    expect(outgoing_of(page)).to_be_in_viewport(ratio=1)
    line.echo(line.receive())
    expect(texts_of(page).last).to_have_text("from above")
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)
    expect(more_of(page)).to_be_hidden()


def test_ones_own_text_from_another_place_is_not_counted_as_new_twice(full: tuple[Page, Line]) -> None:
    page, line = full
    write(page, "mine")
    expect(outgoing_of(page)).to_have_count(1)
    scroll_to(page, 0)
    line.echo(line.receive())
    expect(outgoing_of(page)).to_have_count(0)
    line.say("news")
    expect(more_of(page)).to_have_text("1 new message")


def test_a_smaller_window_stays_at_the_bottom(full: tuple[Page, Line]) -> None:
    page, _ = full
    page.set_viewport_size({"width": 600, "height": 300})
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)


def test_a_growing_field_hides_no_message(full: tuple[Page, Line]) -> None:
    page, _ = full
    field_of(page).fill("\n".join(numbered(30)))
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)


def test_a_log_that_becomes_lower_while_it_scrolls_stays_at_the_bottom(full: tuple[Page, Line]) -> None:
    page, line = full
    page.evaluate("""() => {
        // Both in one frame, so that the event of the scrolling comes when the log is lower already.
        const scroller = document.getElementById("scroller"), field = document.getElementById("msg");
        scroller.scrollTop -= 5;
        scroller.scrollTop += 5;
        field.value = "one\\ntwo\\nthree\\nfour";
        field.dispatchEvent(new InputEvent("input", { bubbles: true }));
    }""")
    line.say("the next one")
    expect(messages_of(page)).to_have_count(101)
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)


def test_a_burst_shows_in_order_and_old_rows_go(enter: Enter) -> None:
    page, line = enter()
    lines = numbered(MAX_ROWS + 200)
    for start in range(0, len(lines), 400):
        line.say(*lines[start : start + 400], at=1_790_000_000)
    expect(texts_of(page).last).to_have_text(lines[-1], timeout=30_000)
    shown = log_of(page).evaluate("log => Array.from(log.querySelectorAll('.text'), row => row.textContent)")
    assert shown == lines[-MAX_ROWS:]
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)

    # Old rows go from above what is being read, and it does not move on the screen.
    row = messages_of(page).nth(2000)
    text = row.locator(".text").text_content()
    assert text is not None
    row.evaluate("row => row.scrollIntoView()")
    row = log_of(page).get_by_text(text, exact=True)
    place = row.bounding_box()
    line.say(*numbered(150, "new"), at=1_790_000_000)
    expect(more_of(page)).to_have_text("150 new messages")
    assert log_of(page).locator("> *").count() == MAX_ROWS
    assert row.bounding_box() == place


def test_five_thousand_rows_do_not_make_the_page_slow(enter: Enter) -> None:
    page, line = enter()
    for start in range(0, MAX_ROWS, 500):
        line.say(*numbered(500, f"row with some words to fill a line {start} "))
    expect(messages_of(page)).to_have_count(MAX_ROWS, timeout=30_000)
    # How long the page computes for a row that comes, and for a key: the median of twenty.
    row, key = page.evaluate("""() => {
        const log = document.getElementById("log"), field = document.getElementById("msg");
        const scroller = document.getElementById("scroller");
        const median = work => {
            const times = [];
            for (let i = 0; i < 20; i++) {
                const start = performance.now();
                work();
                scroller.scrollTop = scroller.scrollHeight;  // makes the browser lay the page out
                times.push(performance.now() - start);
            }
            return times.sort((one, other) => one - other)[10];
        };
        const row = median(() => log.append(log.lastElementChild.cloneNode(true)));
        const key = median(() => {
            field.value += "x\\n";
            field.dispatchEvent(new InputEvent("input", { bubbles: true }));
        });
        return [row, key];
    }""")
    print(f"5,000 rows: {row:.1f} ms for a row, {key:.1f} ms for a key")
    assert max(row, key) < 50  # milliseconds: longer is a long task


def test_a_batch_is_one_change_of_the_page(enter: Enter) -> None:
    page, line = enter()
    log_of(page).evaluate("""log => {
        const observer = new MutationObserver(records => {
            log.dataset.changes = Number(log.dataset.changes ?? 0) + records.length;
        });
        observer.observe(log, { childList: true });
    }""")
    line.say(*numbered(1000))
    expect(messages_of(page)).to_have_count(1000)
    expect(log_of(page)).to_have_attribute("data-changes", "1")


def test_rows_need_no_animation_frames(enter: Enter) -> None:
    # A hidden page is given none.
    page, line = enter("window.requestAnimationFrame = () => 0")
    line.say("unseen")
    expect(messages_of(page)).to_have_count(1)


def test_the_history_stands_above_the_line_where_one_joined(enter: Enter) -> None:
    page, line = enter(hello={"top": 3})
    line.send(line.entry(id=2, text="old"), line.entry(id=3, text="older than me"))
    expect(notices_of(page)).to_have_text(["You joined here"])  # the history is complete
    line.say("new")
    rows = log_of(page).locator("> :not(.day)")
    expect(rows).to_contain_text(["old", "older than me", "You joined here", "new"])
    expect(more_of(page)).to_be_hidden()


def test_a_screen_reader_reads_what_is_new_and_not_the_history(enter: Enter) -> None:
    page, line = enter(hello={"top": 2})
    log_of(page).evaluate("""log => {
        window.heard = [];
        const append = log.append.bind(log);
        log.append = (...rows) => {
            if (log.getAttribute("aria-live") === "polite") heard.push(...rows.map(row => row.textContent));
            append(...rows);
        };
    }""")
    line.send(line.entry(id=1, text="old"))
    expect(messages_of(page)).to_have_count(1)
    expect(log_of(page)).to_have_attribute("aria-live", "off")
    line.send(line.entry(id=2, text="old too"))
    expect(log_of(page)).to_have_attribute("aria-live", "polite")
    line.say("new")
    expect(messages_of(page)).to_have_count(3)
    heard = page.evaluate("heard")
    assert len(heard) == 1
    assert "new" in heard[0]


def test_a_history_without_its_newest_entries_has_the_line_too(enter: Enter) -> None:
    page, line = enter(hello={"top": 9})
    line.send(line.entry(id=2, text="old"))
    line.say("new", id=10)
    expect(log_of(page).locator("> :not(.day)")).to_contain_text(["old", "You joined here", "new"])


def test_without_a_history_there_is_no_line(enter: Enter) -> None:
    page, line = enter()
    expect(page.get_by_text("It is quiet here.")).to_be_visible()
    line.say("new")
    expect(messages_of(page)).to_have_count(1)
    expect(page.get_by_text("It is quiet here.")).to_be_hidden()
    expect(notices_of(page)).to_have_count(0)
