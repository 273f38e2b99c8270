"""The chat page's log: scrolling, many rows, batches."""

from __future__ import annotations

import pytest
from chat_page import (
    Visit,
    field_of,
    log_of,
    messages_of,
    more_of,
    numbered,
    rows_of,
    say,
    scroll_to,
    visit_without_server,
    write,
)
from helpers import Running
from playwright.sync_api import Page, expect

MAX_ROWS = 5000  # as in www/chat/log.js


@pytest.fixture
def full_page(server: Running, visit: Visit) -> Page:
    """A page with 100 messages, far more than fit into its window."""
    page = visit(server.url)
    say(server, numbered(100))
    expect(messages_of(page)).to_have_count(100)
    return page


def bottom_of(page: Page) -> int:
    return int(log_of(page).evaluate("log => log.scrollHeight - log.clientHeight"))


def test_new_rows_scroll_into_view_at_the_bottom(full_page: Page) -> None:
    expect(messages_of(full_page).last).to_be_in_viewport(ratio=1)
    expect(messages_of(full_page).first).not_to_be_in_viewport()
    expect(more_of(full_page)).to_be_hidden()


def test_new_rows_do_not_move_the_rows_that_are_read(server: Running, full_page: Page) -> None:
    scroll_to(full_page, 500)
    say(server, ["one more"])
    expect(more_of(full_page)).to_have_text("1 new message")
    say(server, numbered(30, "more"))
    expect(more_of(full_page)).to_have_text("31 new messages")
    assert log_of(full_page).evaluate("log => log.scrollTop") == 500


@pytest.mark.parametrize("way", ["click", "keyboard", "by hand"])
def test_the_new_messages_button_leads_to_the_bottom(server: Running, full_page: Page, way: str) -> None:
    scroll_to(full_page, 0)
    say(server, ["news"])
    button = full_page.get_by_role("button", name="1 new message")
    expect(button).to_be_visible()
    if way == "click":
        button.click()
        expect(field_of(full_page)).to_be_focused()
    elif way == "keyboard":
        button.press("Enter")
        expect(log_of(full_page)).to_be_focused()
    else:
        scroll_to(full_page, bottom_of(full_page))
    expect(more_of(full_page)).to_be_hidden()
    expect(messages_of(full_page).last).to_be_in_viewport(ratio=1)
    say(server, ["later news"])
    expect(messages_of(full_page)).to_have_count(102)
    expect(messages_of(full_page).last).to_be_in_viewport(ratio=1)
    expect(more_of(full_page)).to_be_hidden()


def test_what_one_says_oneself_scrolls_into_view(full_page: Page) -> None:
    scroll_to(full_page, 0)
    write(full_page, "from above")
    expect(messages_of(full_page).last).to_have_text("from above")
    expect(messages_of(full_page).last).to_be_in_viewport(ratio=1)
    expect(more_of(full_page)).to_be_hidden()


def test_a_smaller_window_stays_at_the_bottom(full_page: Page) -> None:
    full_page.set_viewport_size({"width": 600, "height": 300})
    expect(messages_of(full_page).last).to_be_in_viewport(ratio=1)


def test_a_burst_shows_in_order_and_old_rows_go(server: Running, visit: Visit) -> None:
    page = visit(server.url)
    lines = numbered(MAX_ROWS + 200)
    say(server, lines)
    expect(rows_of(page).last).to_have_text(lines[-1], timeout=30_000)
    shown = log_of(page).evaluate("log => Array.from(log.children, row => row.textContent)")
    assert shown == lines[-MAX_ROWS:]
    expect(messages_of(page).last).to_be_in_viewport(ratio=1)

    # Old rows go from above what is being read, and it does not move on the screen.
    row = rows_of(page).nth(2000)
    text = row.text_content()
    assert text is not None
    row.evaluate("row => row.scrollIntoView()")
    row = log_of(page).get_by_text(text, exact=True)
    place = row.bounding_box()
    say(server, numbered(150, "new"))
    expect(more_of(page)).to_have_text("150 new messages")
    assert rows_of(page).count() == MAX_ROWS
    assert row.bounding_box() == place


def test_a_batch_is_one_change_of_the_page(server: Running, visit: Visit) -> None:
    page, socket = visit_without_server(server, visit)
    log_of(page).evaluate("""log => {
        const observer = new MutationObserver(records => {
            log.dataset.changes = Number(log.dataset.changes ?? 0) + records.length;
        });
        observer.observe(log, { childList: true });
    }""")
    socket.send("\n".join(numbered(1000)))
    expect(messages_of(page)).to_have_count(1000)
    expect(log_of(page)).to_have_attribute("data-changes", "1")


def test_rows_need_no_animation_frames(server: Running, visit: Visit) -> None:
    # A hidden page is given none.
    page = visit(server.url, "window.requestAnimationFrame = () => 0")
    page.evaluate("document.getElementById('msg').value = 'unseen'")
    page.evaluate("document.getElementById('form').requestSubmit()")
    expect(messages_of(page)).to_have_text(["unseen"])
