"""What `threadchat serve` says once it listens."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import segno
from helpers import THREADCHAT, Tmux

from threadchat.web import server as module
from threadchat.web.app import create_app
from threadchat.web.server import Server
from threadchat.welcome import BLACK_ON_WHITE, HALVES, PLAIN, QUIET, qr_code, welcome

HERE, THERE, ELSEWHERE = "http://127.0.0.1:80/", "http://192.0.2.7:80/", "http://[2001:db8::7]:80/"
EVERYONE = "Everyone who reaches the port can read and write."
Listen = Callable[[str], Server]


@dataclass
class Listening:
    """A server's addresses."""

    url: str
    local_url: str
    network_urls: list[str]


def told(url: str, local_url: str, network_urls: list[str], proxies: int = 0, qr: bool = False) -> list[str]:
    return list(welcome(cast(Any, Listening(url, local_url, network_urls)), proxies, qr))


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Makes a server that listens on an address; nobody answers there."""
    with ExitStack() as stack:

        def start(host: str) -> Server:
            server = Server(stack.enter_context(closing(create_app())), host, 0)
            stack.callback(server.stop_accepting)
            return server

        yield start


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives this machine addresses in a network."""
    ways = {socket.AF_INET: "192.0.2.7", socket.AF_INET6: "2001:db8::7"}
    monkeypatch.setattr(module, "get_interface_ip", ways.__getitem__)
    names = ["127.0.1.1", "192.0.2.7", "198.51.100.7", "2001:db8::8", "fe80::1"]
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        if host == socket.gethostname():
            return [(None, None, None, "", (name, 0)) for name in names]
        return real(host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


# The sentences


def test_on_a_loopback_address_only_this_machine_can_reach_it() -> None:
    assert told(HERE, HERE, []) == [
        f"threadchat listens: open {HERE} (Ctrl-C stops it)",
        f"Only this machine can reach it (see --host). {EVERYONE}",
    ]


def test_behind_a_proxy_others_can_reach_it_too() -> None:
    assert told(HERE, HERE, [], proxies=1)[1:] == [EVERYONE]


def test_on_all_addresses_it_names_those_in_the_network_and_on_this_machine() -> None:
    assert told(THERE, HERE, [THERE, ELSEWHERE]) == [
        f"threadchat listens: open {THERE} (Ctrl-C stops it)",
        f"on this machine: {HERE}",
        f"also in the network: {ELSEWHERE}",
        EVERYONE,
    ]


def test_on_one_address_of_the_network_there_is_no_other() -> None:
    assert told(THERE, THERE, [THERE])[1:] == [EVERYONE]


def test_a_key_is_part_of_each_address() -> None:
    lines = list(welcome(cast(Any, Listening(THERE, HERE, [THERE, ELSEWHERE])), 0, False, "a/b", "c"))
    assert lines == [
        f"threadchat listens: open {THERE}#key=a%2Fb (Ctrl-C stops it)",
        f"on this machine: {HERE}#key=a%2Fb",
        f"also in the network: {ELSEWHERE}#key=a%2Fb",
        f"for the organiser: {THERE}#key=c",
        "Everyone who has the key, which the address brings along, can read and write.",
    ]


# The addresses


def test_a_server_on_loopback_is_not_in_the_network(listen: Listen, network: None) -> None:
    server = listen("127.0.0.1")
    assert (server.network_urls, server.local_url) == ([], server.url)


def test_a_server_on_all_addresses_has_those_that_others_can_reach(listen: Listen, network: None) -> None:
    server = listen("0.0.0.0")
    assert server.url == f"http://192.0.2.7:{server.port}/"
    assert server.local_url == f"http://127.0.0.1:{server.port}/"
    assert server.network_urls == [server.url, f"http://198.51.100.7:{server.port}/"]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
def test_a_server_on_all_addresses_of_both_kinds_has_both(listen: Listen, network: None) -> None:
    server = listen("*")
    own = ["192.0.2.7", "[2001:db8::7]", "198.51.100.7", "[2001:db8::8]"]
    assert server.network_urls == [f"http://{host}:{server.port}/" for host in own]


def test_without_a_network_there_is_no_address_in_it(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "get_interface_ip", {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}.__getitem__)
    monkeypatch.setattr(socket, "gethostname", lambda: "nobody-knows-me.invalid")
    server = listen("0.0.0.0")
    assert (server.network_urls, server.url) == ([], server.local_url)


# The code for phones


def modules(lines: list[str]) -> list[list[bool]]:
    """The modules of a QR code, True for a dark one, read from its lines."""
    pairs = {character: pair for pair, character in HALVES.items()}
    rows: list[list[bool]] = []
    for line in lines:
        assert line.startswith(BLACK_ON_WHITE)
        assert line.endswith(PLAIN)
        halves = [pairs[character] for character in line.removeprefix(BLACK_ON_WHITE).removesuffix(PLAIN)]
        rows += [[upper for upper, _ in halves], [lower for _, lower in halves]]
    return rows


@pytest.mark.parametrize("url", [THERE, ELSEWHERE, f"http://192.0.2.7:65535/#key={'x' * 60}"])
def test_the_code_has_each_module_and_a_margin(url: str) -> None:
    rows = modules(list(qr_code(url, "utf-8")))
    expected = [[bool(module) for module in row] for row in segno.make_qr(url).matrix_iter(border=QUIET)]
    assert rows[: len(expected)] == expected
    assert not any(any(row) for row in rows[len(expected) :])
    assert not any(any(row) for row in rows[:QUIET])


def test_without_segno_or_without_its_characters_there_is_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(qr_code(THERE, "ascii")) == []
    monkeypatch.setitem(sys.modules, "segno", None)
    assert list(qr_code(THERE, "utf-8")) == []


@pytest.mark.parametrize(
    ("network", "terminal", "wanted", "shown"),
    [
        ([THERE], True, True, True),
        ([THERE], True, False, False),
        ([THERE], False, True, False),
        ([], True, True, False),
    ],
)
def test_the_code_is_for_a_terminal_and_a_network(
    monkeypatch: pytest.MonkeyPatch, network: list[str], terminal: bool, wanted: bool, shown: bool
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("threadchat.welcome.qr_code", lambda text, encoding: [f"the code of {text}"])
    assert (f"the code of {THERE}" in told(THERE, THERE, network, qr=wanted)) == shown


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is missing")
@pytest.mark.parametrize("arguments", [[], ["--no-qr"]])
def test_in_a_terminal_the_code_stands_below_the_addresses(tmp_path: Path, arguments: list[str]) -> None:
    command = [*THREADCHAT, "serve", "--host", "0.0.0.0", "--port", "0", *arguments]
    with closing(Tmux(tmp_path, command, lines=40)) as terminal:
        screen = terminal.shows(EVERYONE)
        if "Only this machine" in screen:
            pytest.skip("this machine has no network")
        if arguments:
            assert "█" not in screen
        else:
            terminal.shows("▀▀▀▀▀▀▀ ")
        terminal.presses("C-c")
        assert terminal.status == 0
        assert "stopped: 0 clients told" in terminal.screen()
