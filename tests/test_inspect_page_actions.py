"""The inspector's page in a real browser: what it has the server do, and the lessons. The server is a fake."""

from __future__ import annotations

from fake_inspector import EVIL, Inspector, Look, client
from helpers import until
from playwright.sync_api import expect


def test_each_action_is_posted_as_the_protocol_says(inspector: Inspector, look: Look) -> None:
    page = look()
    posts = 0

    def press(name: str) -> None:
        page.get_by_role("button").filter(has_text=name).or_(page.get_by_role("button", name=name)).click()
        posted()

    def enter(label: str, text: str) -> None:
        page.get_by_label(label).fill(text)
        page.get_by_label(label).press("Enter")
        posted()

    def posted() -> None:
        """Each action is a request of its own, so the next waits for it."""
        nonlocal posts
        posts += 1
        until(lambda: len(inspector.done) == posts, "the action's request")

    press("Add a client that stops reading")
    press("Add 100, each of which only listens")
    press("Burst of 1,000")
    press("Hold the hub")
    inspector.show(client(1), client(2), paused=True)
    press("Release the hub")
    enter("Send buffer", "64")
    enter("Talkers say", "0.5")
    press("Make client 1,")
    press("Have client 2,")
    enter("Say something", " hello ")
    say = inspector.done[-1]
    assert isinstance(say.pop("typed"), int)
    assert inspector.done == [
        {"action": "add", "kind": "stuck", "count": 1},
        {"action": "add", "kind": "quiet", "count": 100},
        {"action": "burst", "messages": 1000},
        {"action": "pause"},
        {"action": "resume"},
        {"action": "buffer", "messages": 64},
        {"action": "pace", "messages_a_second": 0.5},
        {"action": "vanish", "client": 1},
        {"action": "remove", "client": 2},
        {"action": "say", "text": "hello"},
    ]
    assert {headers["X-Threadchat"] for headers in inspector.headers} == {"inspect"}
    assert {headers["Content-Type"] for headers in inspector.headers} == {"application/json"}


def test_what_the_server_refuses_is_shown_as_text(inspector: Inspector, look: Look, errors: list[str]) -> None:
    page = look()
    inspector.refusal = f"There is no such client. {EVIL}"
    page.get_by_role("button", name="Burst").click()
    expect(page.locator("#done")).to_have_text(inspector.refusal)
    errors.clear()  # the browser reports the 400


def test_without_the_demo_there_is_nothing_to_do_but_to_say_something(inspector: Inspector, look: Look) -> None:
    page = look()
    expect(page.get_by_role("button", name="Burst")).to_be_visible()
    inspector.show(client(1), demo=False)
    expect(page.get_by_role("button", name="Burst")).to_be_hidden()
    expect(page.get_by_role("button").filter(has_text="Make client 1,")).to_be_hidden()
    expect(page.get_by_role("button", name="Say")).to_be_visible()


def test_a_lesson_asks_first_and_then_shows_broken_beside_real(inspector: Inspector, look: Look) -> None:
    page = look()
    page.get_by_role("button", name="Lessons").click()
    dialog = page.get_by_role("dialog", name="Lessons")
    expect(dialog.get_by_role("button", name="Run it")).to_be_disabled()
    dialog.get_by_label("It is evicted").check()
    dialog.get_by_role("button", name="Run it").click()
    expect(dialog.locator(".verdict")).to_have_text("What happens: Memory grows")
    expect(dialog.get_by_role("region", name="Without")).to_contain_text("48,211")
    expect(dialog.get_by_role("img", name="waiting: at most 9.0 messages")).to_be_visible()
    expect(dialog.get_by_role("region", name="With", exact=True)).to_contain_text("256")
    expect(dialog.locator(".result > p").last).to_have_text("That is why.")
    assert inspector.done == [{"action": "lesson", "name": "no-limit"}]
