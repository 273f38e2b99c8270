"""Origins: the form in which they are compared, and what is none. What a server makes of them is in test_upgrade.py."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from threadchat.declarations import OptionError
from threadchat.options import Options
from threadchat.web.origins import Origins, canonical_origin

CANONICAL = [
    ("*", "*"),
    ("NULL", "null"),
    ("https://example.org", "https://example.org"),
    ("https://example.org/", "https://example.org"),
    ("HTTPS://Example.ORG", "https://example.org"),
    ("https://example.org:443", "https://example.org"),
    ("http://example.org:80", "http://example.org"),
    ("http://example.org:0080", "http://example.org"),
    ("http://example.org:443", "http://example.org:443"),
    ("https://example.org:8443", "https://example.org:8443"),
    ("http://my_host", "http://my_host"),
    ("http://[::1]:8080/", "http://[::1]:8080"),
    ("http://[0:0:0::0001]", "http://[::1]"),
    ("https://ex\u00e4mple.org", "https://xn--exmple-cua.org"),
    ("https://EX\u00c4MPLE.org:443", "https://xn--exmple-cua.org"),
    ("https://\u4f8b\u3048.jp", "https://xn--r8jz45g.jp"),
    ("https://xn--strae-oqa.example", "https://xn--strae-oqa.example"),
]
OF_APPS = [
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "app://-",
    "app://.",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://1b5d9a5c-7a9f-4b5e-8b39-3a0bd0c0e3a1",
    "file://",
]


@pytest.mark.parametrize(("given", "sent"), [*CANONICAL, *zip(OF_APPS, OF_APPS, strict=True)])
def test_an_origin_takes_the_form_in_which_it_is_sent(given: str, sent: str) -> None:
    assert canonical_origin(given) == sent
    assert canonical_origin(sent) == sent
    assert Origins([given]).allow(sent, "http", "chat.example")


def test_the_file_scheme_may_have_three_slashes() -> None:
    assert canonical_origin("file:///") == "file://"


SITES = [pair for pair in CANONICAL if "://" in pair[1]]


def test_the_forms_are_those_of_a_real_browser(browser: Browser) -> None:
    page = browser.new_page()
    assert page.evaluate("urls => urls.map(url => new URL(url).origin)", [given for given, _ in SITES]) == [
        sent for _, sent in SITES
    ]
    page.close()


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "example.org",
        "localhost:3000",
        "https://",
        "https:///",
        "https:// a",
        "https://a/b",
        "https://a//",
        "https://a?b",
        "https://a#b",
        "https://user@a",
        "https://a:",
        "https://a:b",
        "https://a:65536",
        "https://a b",
        "https://a%20b",
        "https://[::1",
        "https://[::zz]",
        "https://[fe80::1%eth0]",
        "https://*.example.org",
        "https://a,https://b",
        "https://a\n",
        "ftp://a",
        "ws://a",
        "wss://a",
        "file://a",
        "https://ex\u00e4mple.org/b",
    ],
)
def test_an_origin_that_no_page_has_is_refused(origin: str) -> None:
    with pytest.raises(OptionError, match=r"^allow_origins: an origin to allow is the scheme, the .*; unlike '"):
        Options(allow_origins=(origin,))


@pytest.mark.parametrize("name", ["stra\u00dfe.example", "a\u200db.example", "\u00e4..example", "\u00e4" * 64])
def test_a_name_that_python_cannot_spell_as_browsers_do_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match=r"^allow_origins: an origin to allow is written in ASCII \(xn--"):
        Options(allow_origins=(f"https://{name}",))


@pytest.mark.parametrize(
    ("origin", "scheme", "may"),
    [
        ("http://chat.example", "http", True),
        ("https://chat.example", "http", True),  # behind a proxy that speaks TLS and does not say so
        ("https://chat.example", "https", True),
        ("http://chat.example", "https", False),
        ("http://chat.example", "wss", False),
        ("http://chat.example", "HTTPS", False),
    ],
)
def test_a_page_of_the_servers_own_host_may_connect_unless_it_lacks_the_tls_of_the_chat(
    origin: str, scheme: str, may: bool
) -> None:
    assert Origins([]).allow(origin, scheme, "chat.example") is may


@pytest.mark.parametrize("origin", ["", "null", "https://a/b", "https://stra\u00dfe.example", "file://", "*", "\x00"])
def test_what_a_stranger_sends_is_refused_and_no_error(origin: str) -> None:
    assert not Origins(["https://example.org"]).allow(origin, "http", "chat.example")
