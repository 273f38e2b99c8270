"""The chat page and the key of a chat that has one."""

from __future__ import annotations

import json

import pytest
from chat_page import LONG_WAITS, Enter, Visit, axe_complaints, field_of, status_of
from playwright.sync_api import Locator, Page, Route, expect
from scripted_v1 import Scripted

KEY = "open sesame"


class Door:
    """What the server answers to the page's key: scripted here, because the scripted server takes no POST."""

    def __init__(self, scripted: Scripted, page: Page) -> None:
        scripted.shut = True
        self._scripted = scripted
        self.given: list[str] = []
        self.tries_left = 2
        page.route("**/key", self._answer)

    def _answer(self, route: Route) -> None:
        if route.request.method != "POST":
            route.fulfill(status=401 if self._scripted.shut else 204)
            return
        self.given.append(json.loads(route.request.post_data or "")["key"])
        if self.given[-1] == KEY:
            self._scripted.shut = False
            route.fulfill(status=204)
        else:
            self.tries_left -= 1
            route.fulfill(status=401 if self.tries_left >= 0 else 429)


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit("about:blank", LONG_WAITS, wait=False)


@pytest.fixture
def door(scripted: Scripted, page: Page) -> Door:
    return Door(scripted, page)


def key_of(page: Page) -> Locator:
    return page.get_by_label("The key of this chat")


def test_the_key_in_the_address_is_given_once_and_is_gone_from_it(scripted: Scripted, page: Page, door: Door) -> None:
    with page.expect_websocket():  # while the test waits here, playwright answers the page
        page.goto(f"{scripted.url}r/tea?name=Ann#key=open%20sesame")
    assert scripted.join().hello().name == "Ann"
    expect(status_of(page)).to_have_text("Connected ")
    expect(page).to_have_url(f"{scripted.url}r/tea?name=Ann")
    assert door.given == [KEY]
    expect(key_of(page)).to_be_hidden()
    page.go_back()
    assert "key=" not in page.url


def test_without_the_key_the_page_asks_for_it(scripted: Scripted, page: Page, door: Door) -> None:
    page.goto(f"{scripted.url}?name=Ann")
    expect(status_of(page)).to_have_text("This chat has a key. ")
    expect(key_of(page)).to_be_focused()
    expect(page.get_by_role("textbox", name="Your message")).to_be_hidden()
    for answer in ("This is not the key.", "This is not the key.", "Too many wrong keys. Wait for a moment."):
        key_of(page).fill("wrong")
        with page.expect_response("**/key"):
            key_of(page).press("Enter")
        expect(page.locator("#key-note")).to_have_text(answer)
        expect(key_of(page)).to_have_accessible_description(answer)
    assert axe_complaints(page) == []
    key_of(page).fill(KEY)
    with page.expect_websocket():
        page.get_by_role("button", name="Come in").click()
    scripted.join().hello()
    expect(status_of(page)).to_have_text("Connected ")
    expect(key_of(page)).to_be_hidden()
    expect(field_of(page)).to_be_visible()


def test_a_wrong_key_in_the_address_is_said_to_be_wrong(scripted: Scripted, page: Page, door: Door) -> None:
    page.goto(f"{scripted.url}#key=wrong")
    expect(page.locator("#key-note")).to_have_text("This is not the key.")
    expect(status_of(page)).to_have_text("This chat has a key. ")
    with page.expect_websocket():
        page.evaluate("location.hash = 'key=open+sesame'")  # the right address in the same tab
    scripted.join().hello()
    expect(status_of(page)).to_have_text("Connected ")


def test_a_key_that_was_changed_is_asked_for(scripted: Scripted, enter: Enter) -> None:
    page, line = enter("Math.random = () => 0")
    Door(scripted, page)
    line.cut()
    expect(status_of(page)).to_have_text("This chat has a key. ")
    key_of(page).fill(KEY)
    with page.expect_websocket():
        key_of(page).press("Enter")
    again = scripted.join()
    assert (again.since, again.session) == ("t0", line.session)
