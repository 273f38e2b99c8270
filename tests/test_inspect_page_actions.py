"""The inspector's page in a real browser: what it has the server do, and the lessons. The server is a fake."""

from __future__ import annotations

from fake_inspector import EVIL, Inspector, Look, client
from helpers import until
from playwright.sync_api import Locator, Page, expect


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


def run_first_lesson(page: Page, answer: str) -> Locator:
    """Open the lessons, answer the first one and run it. Returns the dialog."""
    page.get_by_role("button", name="Lessons").click()
    dialog = page.get_by_role("dialog", name="Lessons")
    expect(dialog.get_by_role("button", name="Run it")).to_be_disabled()
    dialog.get_by_label(answer).check()
    dialog.get_by_role("button", name="Run it").click()
    expect(dialog.locator(".verdict")).to_be_visible()
    return dialog


def test_a_lesson_asks_first_and_then_shows_broken_beside_real(inspector: Inspector, look: Look) -> None:
    page = look()
    dialog = run_first_lesson(page, "It is evicted")
    expect(dialog.locator(".verdict")).to_have_text("That is not what happens.")
    expect(dialog.locator(".reason")).to_have_text("Nobody evicts it: its channel is never full.")
    expect(dialog.locator(".answer")).to_have_text("The answer is: Memory grows")
    expect(dialog.get_by_role("region", name="Without")).to_contain_text("48,211")
    expect(dialog.get_by_role("img", name="waiting: at most 9.0 messages")).to_be_visible()
    expect(dialog.get_by_role("region", name="With", exact=True)).to_contain_text("256")
    expect(dialog.locator(".result > p:not(.onward, .more)").last).to_have_text("That is why.")
    expect(dialog.get_by_role("link", name="Read about it in the guide")).to_have_attribute("href", "guide#too-slow")
    expect(dialog.locator(".more code")).to_have_text("threadchat exercise full")
    assert inspector.done == [{"action": "lesson", "name": "no-limit"}]


def test_the_lines_that_differ_are_marked_and_the_others_are_folded(inspector: Inspector, look: Look) -> None:
    page = look()
    dialog = run_first_lesson(page, "Memory grows")
    expect(dialog.locator(".verdict")).to_have_text("Yes, that is what happens.")
    expect(dialog.locator("legend code")).to_have_text("send")
    code = dialog.get_by_role("list", name="Source: Without")
    expect(code.locator("[data-changed]")).to_have_text(["receiver.park() (differs)"])
    expect(code.locator("li:visible")).to_have_text(["2 more lines", "receiver.park() (differs)", "return item"])
    code.get_by_role("button", name="2 more lines").click()
    expect(code.locator("li:visible")).to_have_count(4)
    expect(code).to_be_focused()


def test_a_lessons_result_has_a_link_and_is_still_there_for_those_who_come_back(
    inspector: Inspector, look: Look
) -> None:
    page = look()
    dialog = run_first_lesson(page, "It is evicted")
    expect(page).to_have_url(f"{inspector.url}#lesson=no-limit&answer=1")
    dialog.get_by_role("link", name="Next lesson: The next one").click()
    expect(page).to_have_url(f"{inspector.url}#lesson=convoy")
    expect(dialog.get_by_role("heading", name="The next one")).to_be_visible()
    expect(dialog.locator(".verdict")).to_have_count(0)
    dialog.get_by_role("link", name="No limit done").click()
    expect(dialog.locator(".verdict")).to_be_visible()
    link = dialog.get_by_role("link", name="Link to this result")
    address = link.evaluate("link => link.href")
    page.goto("about:blank")
    page.goto(address)
    expect(dialog.get_by_label("It is evicted")).to_be_checked()
    expect(dialog.locator(".reason")).to_have_text("Nobody evicts it: its channel is never full.")
    dialog.get_by_role("button", name="Close").click()
    expect(page).to_have_url(inspector.url)
    page.get_by_role("button", name="Lessons").click()
    expect(dialog.locator(".verdict")).to_be_visible()
    assert len(inspector.done) == 1, "it ran once"


def test_a_link_to_a_result_that_the_server_does_not_have_leads_to_the_question(
    inspector: Inspector, look: Look
) -> None:
    page = look()
    page.goto(f"{inspector.url}#lesson=convoy&answer=2")
    dialog = page.get_by_role("dialog", name="Lessons")
    expect(dialog.get_by_label("Memory grows")).to_be_checked()
    expect(dialog.get_by_role("button", name="Run it and see")).to_be_enabled()
    for hash in "#lesson=convoy&answer=9", "#lesson=convoy&answer=x":
        page.goto(inspector.url + hash)
        expect(dialog.get_by_role("radio", checked=True)).to_have_count(0)
    page.goto(f"{inspector.url}#lesson=nothing")
    expect(dialog).to_contain_text("There is no lesson nothing.")
    page.goto(f"{inspector.url}#events")
    expect(dialog).to_be_hidden()


def test_another_choice_changes_the_verdict_only_when_the_lesson_has_run_again(
    inspector: Inspector, look: Look
) -> None:
    page = look()
    dialog = run_first_lesson(page, "It is evicted")
    dialog.get_by_label("Memory grows").check()
    dialog.get_by_role("link", name="The next one").first.click()
    dialog.get_by_role("link", name="No limit done").click()
    expect(dialog.get_by_label("Memory grows")).to_be_checked()
    expect(dialog.locator(".verdict")).to_have_text("That is not what happens.")
    dialog.get_by_role("button", name="Run it again").click()
    expect(dialog.locator(".verdict")).to_have_text("Yes, that is what happens.")
    expect(page).to_have_url(f"{inspector.url}#lesson=no-limit&answer=2")


def test_on_a_phone_the_result_of_a_lesson_is_in_view(inspector: Inspector, look: Look) -> None:
    page = look(viewport={"width": 390, "height": 700})
    dialog = run_first_lesson(page, "It is evicted")
    expect(dialog.locator(".verdict")).to_be_in_viewport(ratio=1)
    expect(dialog.locator(".reason")).to_be_in_viewport(ratio=1)
    dialog.get_by_role("link", name="Next lesson").click()
    expect(dialog.get_by_role("heading", name="The next one")).to_be_in_viewport(ratio=1)
