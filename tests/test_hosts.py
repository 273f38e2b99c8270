"""Which Host headers the server answers to."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from threadchat.options import Options
from threadchat.web.hosts import LOOPBACK, NETWORK, Hosts, hosts_of, resolved

# The hosts by which a browser on this machine may call a server on a loopback address; those by which a browser in the
# network may call a server on another address; and those that a stranger can point here.
ON_LOOPBACK = [
    "localhost",
    "LocalHost",
    "localhost.",
    "chat.localhost",
    "A.chat.LocalHost.",
    "127.0.0.1",
    "127.1.2.3",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
]
IN_THE_NETWORK = [
    "mymachine",
    "my_machine",
    "MyMachine.local",
    "192.168.1.20",
    "203.0.113.9",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fe80::1%wlan0.5]",
    "0.0.0.0",
]
STRANGE = [
    "evil.example",
    "evil.example.",
    "localhost.evil.example",
    "chat.localhost.evil.example",
    "evillocalhost.example",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io",
    "evil.local.example",
    "evil-local",
    "evillocal.example",
]
INVALID = [
    "",
    ":8080",
    ".",
    ".local",
    "localhost:80:80",
    "localhost:x",
    "localhost,evil.example",
    "evil.example,localhost",
    "evil.example@localhost",
    "localhost@evil.example",
    "localhost/",
    "http://localhost",
    "local host",
    "localhost\n",
    "localhost:8080\n",
    "localhost\x00",
    "[::1",
    "::1",
    "[::1]evil.example",
    "[localhost]",
    "[]",
    "[::zz]",
    "[fe80::1%]",
    "[fe80::1%eth0 evil.example]",
    "[fe80::1%eth0]evil.example",
    "[fe80::1%eth0%25]",
    "127.0.0.1%lo",
    "l\u00f6calhost",
    "localhos\u0442",
    "\u217a27.0.0.1",
    "\u0661\u0662\u0667.0.0.1",
]


@pytest.mark.parametrize("port", ["", ":8080", ":"])
@pytest.mark.parametrize("host", ON_LOOPBACK)
def test_on_loopback_loopback_names_are_answered(host: str, port: str) -> None:
    assert host + port in Hosts(LOOPBACK)


@pytest.mark.parametrize("host", [*STRANGE, *IN_THE_NETWORK])
def test_on_loopback_no_other_host_is_answered(host: str) -> None:
    assert host not in Hosts(LOOPBACK)
    assert f"{host}:8080" not in Hosts(LOOPBACK)


@pytest.mark.parametrize("host", [*ON_LOOPBACK, *IN_THE_NETWORK])
def test_in_a_network_addresses_and_local_names_are_answered(host: str) -> None:
    assert host in Hosts(NETWORK)
    assert f"{host}:8080" in Hosts(NETWORK)


@pytest.mark.parametrize("host", [host for host in STRANGE if "." in host])
def test_in_a_network_no_name_that_a_stranger_can_own_is_answered(host: str) -> None:
    assert host not in Hosts(NETWORK)
    assert f"{host}:8080" not in Hosts(NETWORK)


@pytest.mark.parametrize("patterns", [LOOPBACK, NETWORK])
@pytest.mark.parametrize("header", INVALID)
def test_an_invalid_header_is_not_answered(patterns: Sequence[str], header: str) -> None:
    assert header not in Hosts(patterns)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*", ["evil.example", "", "no host at all"], []),
        ("chat.example.org", ["chat.example.org", "CHAT.example.org.:8080"], ["example.org", "a.chat.example.org"]),
        ("Chat.Example.ORG", ["chat.example.org"], ["example.org"]),
        (".example.org", ["example.org", "a.example.org", "a.b.example.org"], ["evilexample.org", "org", "a.org"]),
        ("10.0.0.0/8", ["10.1.2.3", "10.0.0.0:80"], ["11.0.0.1", "[::1]", "10.1.2.3.evil.example"]),
        ("10.1.2.3", ["10.1.2.3"], ["10.1.2.4"]),
        ("fd00::/8", ["[fd00::1]:8080"], ["[fe80::1]", "10.1.2.3"]),
        ("<local>", ["chat", "localhost"], ["chat.local", "10.1.2.3"]),
    ],
)
def test_each_kind_of_pattern_matches_what_it_says(pattern: str, yes: list[str], no: list[str]) -> None:
    hosts = Hosts([pattern])
    assert [host for host in [*yes, *no] if host in hosts] == yes


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        " ",
        "example.org:8080",
        "http://example.org",
        "*.example.org",
        "a..b",
        ".",
        "10.0.0.1/8",
        "[::1]",
        "a\n",
        "<x>",
    ],
)
def test_an_invalid_pattern_is_a_value_error(pattern: str) -> None:
    with pytest.raises(ValueError, match="a host to allow is"):
        Hosts([pattern])
    with pytest.raises(ValueError, match="a host to allow is"):
        Options(allow_hosts=(pattern,))


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.9.9.9", "localhost", "chat.localhost"])
def test_a_server_on_loopback_answers_to_loopback_hosts(listen: str) -> None:
    hosts = Hosts(hosts_of(listen))
    assert f"{listen}:8080" in hosts
    assert "localhost:8080" in hosts
    assert "192.168.1.20:8080" not in hosts
    assert "evil.example:8080" not in hosts


@pytest.mark.parametrize("listen", ["::1", "[::1]", "127.1", "::ffff:127.0.0.1"])
def test_a_loopback_address_may_be_written_in_several_ways(listen: str) -> None:
    assert {*hosts_of(listen), listen} == {*LOOPBACK, listen}


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "*", "0", "[::]", "::ffff:0.0.0.0", "192.168.1.20", "fe80::1%1"])
def test_a_server_elsewhere_answers_to_addresses_and_local_names(monkeypatch: pytest.MonkeyPatch, listen: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "vm7.example.org")
    hosts = Hosts(hosts_of(listen))
    for host in ["localhost", "mymachine", "mymachine.local", "192.168.1.20", "[::1]", "vm7.example.org"]:
        assert f"{host}:8080" in hosts
    assert "example.org:8080" not in hosts
    assert "evil.example:8080" not in hosts


@pytest.mark.parametrize("address", ["192.0.2.1", "127.0.1.1"])
def test_a_server_that_listens_on_a_name_answers_to_it(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (address, 0))])
    assert "chat.example.org:8080" in Hosts(hosts_of("chat.example.org"))


@pytest.mark.parametrize("listen", ["no-such-host.invalid", ".nowhere", "<local>", "fe80::1%nowhere"])
def test_a_name_that_does_not_resolve_adds_nothing(listen: str) -> None:
    hosts = Hosts(hosts_of(listen))
    assert "evil.example" not in hosts
    assert "192.168.1.20" not in hosts


@pytest.mark.parametrize(
    ("listen", "sockaddr", "host"),
    [
        ("127.0.0.1", ("127.0.0.1", 80), "127.0.0.1"),
        ("127.1", ("127.0.0.1", 80), "127.0.0.1"),
        ("0", ("0.0.0.0", 80), "0.0.0.0"),
        ("::ffff:192.0.2.1", ("192.0.2.1", 80), "192.0.2.1"),
        ("[0:0::1]", ("::1", 80, 0, 0), "::1"),
        ("fe80::1%1", ("fe80::1", 80, 0, 1), "fe80::1%251"),
    ],
)
def test_an_address_stands_in_a_url_as_browsers_write_it(listen: str, sockaddr: tuple[object, ...], host: str) -> None:
    address = resolved(listen, 80)
    assert (address.sockaddr, address.host) == (sockaddr, host)


@pytest.mark.parametrize("listen", ["chat.localhost", "Chat.LocalHost."])
def test_a_name_below_localhost_is_not_looked_up(monkeypatch: pytest.MonkeyPatch, listen: str) -> None:
    look_up = socket.getaddrinfo
    asked: list[str] = []

    def note(name: str, *arguments: Any, **named: Any) -> Any:
        asked.append(name)
        return look_up(name, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", note)
    address = resolved(listen, 80)
    assert set(asked) == {"localhost"}
    assert ip_address(address.sockaddr[0]).is_loopback
    assert address.host == listen


def test_where_no_socket_is_for_both_all_addresses_are_the_ipv4_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    assert resolved("*", 80).sockaddr == ("0.0.0.0", 80)
