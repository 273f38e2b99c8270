"""Addresses as people write them."""

from __future__ import annotations

import pytest

from threadchat.terminal.address import NotAnAddress, address_of


@pytest.mark.parametrize(
    ("text", "room", "secure", "authority", "path"),
    [
        ("http://127.0.0.1:8080/", None, False, "127.0.0.1:8080", "/ws"),
        ("http://127.0.0.1:8080", None, False, "127.0.0.1:8080", "/ws"),
        ("HTTP://Chat.Example.ORG", None, False, "chat.example.org:80", "/ws"),
        ("https://chat.example.org", None, True, "chat.example.org:443", "/ws"),
        ("ws://host:1/ws", None, False, "host:1", "/ws"),
        ("wss://host/r/kitchen/ws", None, True, "host:443", "/r/kitchen/ws"),
        ("localhost:8080", None, False, "localhost:8080", "/ws"),
        ("[::1]:8080", None, False, "[::1]:8080", "/ws"),
        ("http://[fe80::1%eth0]:8080/", None, False, "[fe80::1]:8080", "/ws"),
        ("http://bücher.example/", None, False, "xn--bcher-kva.example:80", "/ws"),
        ("http://host/r/kitchen", None, False, "host:80", "/r/kitchen/ws"),
        ("http://host/r/kitchen/", None, False, "host:80", "/r/kitchen/ws"),
        ("http://host/r/K%C3%BCche", None, False, "host:80", "/r/K%C3%BCche/ws"),
        ("http://host/r/Küche", None, False, "host:80", "/r/K%C3%BCche/ws"),
        ("http://host/chat/r/kitchen", None, False, "host:80", "/chat/r/kitchen/ws"),
        ("http://host/chat/", None, False, "host:80", "/chat/ws"),
        ("http://host/", "a room/2", False, "host:80", "/r/a%20room%2F2/ws"),
        ("http://host/chat/r/kitchen", "attic", False, "host:80", "/chat/r/attic/ws"),
        ("http://host/?name=Ann#key=k", None, False, "host:80", "/ws"),
    ],
)
def test_an_address_is_found_in(text: str, room: str | None, secure: bool, authority: str, path: str) -> None:
    address = address_of(text, room)
    assert (address.secure, address.authority, address.path) == (secure, authority, path)


def test_the_link_of_an_ipv6_address_is_for_the_connection_alone() -> None:
    assert address_of("http://[fe80::1%eth0]:8080/").host == "fe80::1%eth0"


@pytest.mark.parametrize(
    ("text", "key"),
    [("http://h/#key=s-3_c", "s-3_c"), ("http://h/#key=a%2Bb", "a+b"), ("http://h/#top", None), ("h", None)],
)
def test_a_key_may_stand_behind_the_number_sign(text: str, key: str | None) -> None:
    assert address_of(text).key == key


def test_as_text_it_is_what_one_opens_in_a_browser() -> None:
    assert str(address_of("wss://host/r/kitchen/ws#key=secret")) == "https://host:443/r/kitchen/"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ftp://host/", "begins with http"),
        ("http://", "no host"),
        ("", "no host"),
        ("/tmp", "no host"),
        ("http://host:port/", "not an address"),
        ("http://host:99999/", "not an address"),
        ("http://[::1/", "not an address"),
        ("http://ann:secret@host/", "--key"),
        ("http://a b/", "no host"),
        (f"http://{'ü' * 80}/", "not an address"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_named(text: str, why: str) -> None:
    with pytest.raises(NotAnAddress, match=why):
        address_of(text)
