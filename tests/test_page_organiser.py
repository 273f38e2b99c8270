"""The chat page and the real server: who has the key comes in, and who has the organiser's key keeps order."""

from __future__ import annotations

import re

import pytest
from chat_page import Visit, field_of, note_of, notices_of, status_of, texts_of, write
from helpers import Running, Serve
from playwright.sync_api import Page, expect

PUT_OUT = re.compile("You were put out of this room")


@pytest.fixture
def server(serve: Serve) -> Running:
    return serve(key="open-sesame", moderator_key="boss")


def come_in(visit: Visit, server: Running, name: str, key: str) -> Page:
    return visit(f"{server.url}r/tea?name={name}#key={key}")


def test_without_the_key_the_page_asks_for_it_and_goes_on_with_its_cookie(server: Running, visit: Visit) -> None:
    page = visit(f"{server.url}r/tea?name=Ann", wait=False)
    field = page.get_by_label("The key of this chat")
    field.fill("wrong")
    field.press("Enter")
    expect(page.get_by_text("This is not the key.")).to_be_visible()
    field.fill("open-sesame")
    field.press("Enter")
    expect(status_of(page)).to_have_text("Connected ")
    page.reload()
    expect(status_of(page)).to_have_text("Connected ")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert "open-sesame" not in cookie["value"]


def test_an_organiser_mutes_clears_and_puts_out(server: Running, visit: Visit) -> None:
    ann, bob = come_in(visit, server, "Ann", "boss"), come_in(visit, server, "Bob", "open-sesame")
    write(bob, "hello")
    expect(texts_of(ann)).to_have_text(["hello"])
    write(bob, "/kick Ann")
    expect(note_of(bob)).to_have_text("/kick is for organisers.")
    field_of(bob).fill("")
    write(ann, "/mute Bob")
    expect(notices_of(bob).last).to_have_text("Ann muted Bob.")
    write(bob, "let me speak")
    expect(note_of(bob)).to_have_text("Not sent: You are muted in this room.")
    write(ann, "/clear")
    for page in (ann, bob):
        expect(notices_of(page).last).to_have_text("Ann cleared the room.")
        expect(texts_of(page)).to_have_count(0)
    write(ann, "/kick Bob")
    expect(notices_of(ann).last).to_have_text("Ann put Bob out of the room.")
    expect(status_of(bob)).to_have_text(PUT_OUT)
    bob.reload()
    expect(status_of(bob)).to_have_text(PUT_OUT)
    write(ann, "/pardon Bob")
    bob.get_by_role("button", name="Reconnect now").click()
    expect(status_of(bob)).to_have_text("Connected ")
