"""The options: each is declared once, a wrong value gets a sentence that names it, and every list of them agrees."""

from __future__ import annotations

import dataclasses
import pickle
import pydoc
import re
from typing import Any

import pytest

from threadchat.declarations import Group, Option, OptionError, declared
from threadchat.options import ALL_OPTIONS, Options, ServerOptions
from threadchat.web.hosts import Hosts

FLAGS = {option.name: option.flag for option in ALL_OPTIONS}
DAY = 86_400
CLIENTS = "a whole number of clients, at least 1"
ORIGINS = 'several strings, such as ("https://example.org",)'
HOSTS = 'several strings, such as ("chat.example.org",)'
SECONDS = "must be a number of seconds above 0 and at most 86400"


# What is declared


@pytest.mark.parametrize("options", [Options, ServerOptions])
def test_each_field_is_declared_as_an_option_with_its_own_default(options: type) -> None:
    for field, option in zip(dataclasses.fields(options), declared(options), strict=True):
        assert (field.name, field.default) == (option.name, option.default)
        assert option.accepts(option.default)


def test_the_defaults_are_the_go_examples_constants_and_our_limits() -> None:
    assert dataclasses.asdict(Options()) == {
        "send_buffer": 256,
        "message_size": 512,
        "frame_size": 8_192,
        "history": 200,
        "keep": 10_000,
        "keep_days": 0,
        "store": "memory:",
        "synchronous": "normal",
        "max_rooms": 1_000,
        "room_linger": 600.0,
        "pong_wait": 60.0,
        "ping_period": None,
        "write_wait": 10.0,
        "request_wait": 10.0,
        "message_rate": 100,
        "max_clients": 10_000,
        "max_clients_per_address": 256,
        "max_unread_requests": 1_000,
        "compression": False,
        "key": None,
        "moderator_key": None,
        "allow_origins": (),
        "allow_hosts": (),
        "metrics_from_anywhere": False,
    }
    assert Options().ping_every == 54.0


def test_all_options_are_those_of_the_chat_and_of_the_server_by_group() -> None:
    assert len(ALL_OPTIONS) == len(declared(Options)) + len(declared(ServerOptions)) == len(FLAGS)
    groups = [option.group for option in ALL_OPTIONS]
    assert groups == sorted(groups, key=list(Group).index)
    assert set(groups) == set(Group)


def test_options_are_explained_before_others_refer_to_them() -> None:
    order = [option.name for option in ALL_OPTIONS]
    for earlier, later in [
        ("host", "allow_hosts"),
        ("max_clients", "max_clients_per_address"),
        ("pong_wait", "ping_period"),
        ("inspect", "inspect_from_anywhere"),
    ]:
        assert order.index(earlier) < order.index(later)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("port", "8080"),
        ("max_clients", "10,000 clients"),
        ("message_rate", "100 messages a second"),
        ("pong_wait", "60 seconds"),
        ("ping_period", "nine tenths of the pong wait"),
        ("compression", "off"),
        ("allow_origins", "none"),
        ("processors", "one"),
    ],
)
def test_a_default_is_said_with_its_unit(name: str, says: str) -> None:
    (option,) = (option for option in ALL_OPTIONS if option.name == name)
    assert option.default_text(option.default) == says


def test_help_explains_each_option_of_the_class() -> None:
    text = pydoc.plain(pydoc.render_doc(Options))
    assert "pong_wait (seconds, default 60.0): how long a client may take until its next pong" in text
    assert "compression (default False): compress messages" in text
    for option in declared(Options):
        assert f"{option.name} (" in text


# What an option may be


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (Options, {"send_buffer": 1, "message_size": 1, "max_clients": 1}),
        (Options, {"message_rate": 0}),
        (Options, {"pong_wait": 1, "ping_period": 0.5}),
        (Options, {"pong_wait": DAY, "write_wait": 1e-3}),
        (Options, {"allow_origins": ("*", "null", "https://example.org", "http://[::1]:8080", "tauri://localhost")}),
        (Options, {"allow_hosts": ("*", ".example.org", "10.0.0.0/8")}),
        (Options, {"key": "x"}),
        (Options, {"key": "!~" * 100}),
        (ServerOptions, {"port": 0}),
        (ServerOptions, {"port": 65_535, "trusted_proxies": 3, "processors": "all", "log_level": "error"}),
    ],
)
def test_what_makes_sense_is_taken_as_it_is(options: Any, given: dict[str, Any]) -> None:
    made = options(**given)
    assert {name: getattr(made, name) for name in given} == given


def test_a_list_of_strings_becomes_a_tuple() -> None:
    given: Any = ["https://example.org"]
    options = Options(allow_origins=given)
    assert options == Options(allow_origins=("https://example.org",))
    assert hash(options) == hash(Options(allow_origins=("https://example.org",)))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"send_buffer": 0}, "send_buffer must be a whole number of messages, at least 1, not 0"),
        ({"send_buffer": "256"}, "send_buffer must be a whole number of messages, at least 1, not '256'"),
        ({"send_buffer": 2.0}, "send_buffer must be a whole number of messages, at least 1, not 2.0"),
        ({"send_buffer": None}, "send_buffer must be a whole number of messages, at least 1, not None"),
        ({"send_buffer": True}, "send_buffer must be a whole number of messages, at least 1, not True"),
        ({"frame_size": 0}, "frame_size must be a whole number of bytes, at least 1, not 0"),
        ({"message_size": 0}, "message_size must be a whole number of bytes, at least 1, not 0"),
        ({"message_rate": -1}, "message_rate must be a whole number of messages a second, at least 0, not -1"),
        ({"message_rate": False}, "message_rate must be a whole number of messages a second, at least 0, not False"),
        ({"max_clients": 0}, f"max_clients must be {CLIENTS}, not 0"),
        ({"max_clients_per_address": 0}, f"max_clients_per_address must be {CLIENTS}, not 0"),
        ({"max_unread_requests": 0}, "max_unread_requests must be a whole number of requests, at least 1, not 0"),
        ({"pong_wait": 0}, f"pong_wait {SECONDS}, not 0"),
        ({"pong_wait": float("nan")}, f"pong_wait {SECONDS}, not nan"),
        ({"pong_wait": float("inf")}, f"pong_wait {SECONDS}, not inf"),
        ({"pong_wait": DAY + 1}, f"pong_wait {SECONDS}, not 86401"),
        ({"pong_wait": None}, f"pong_wait {SECONDS}, not None"),
        ({"pong_wait": True}, f"pong_wait {SECONDS}, not True"),
        ({"pong_wait": "60"}, f"pong_wait {SECONDS}, not '60'"),
        ({"ping_period": -1.0}, f"ping_period {SECONDS}, not -1.0"),
        ({"write_wait": 0}, f"write_wait {SECONDS}, not 0"),
        ({"request_wait": 0}, f"request_wait {SECONDS}, not 0"),
        ({"ping_period": 60}, "ping_period (60 seconds) must be less than pong_wait (60 seconds)"),
        ({"compression": 1}, "compression must be True or False, not 1"),
        ({"key": "x", "moderator_key": "x"}, "moderator_key must differ from key"),
        ({"compression": None}, "compression must be True or False, not None"),
        (
            {"allow_origins": "https://a.example"},
            f"allow_origins must be {ORIGINS}, not 'https://a.example'",
        ),
        ({"allow_origins": (1,)}, f"allow_origins must be {ORIGINS}, not (1,)"),
        ({"allow_origins": None}, f"allow_origins must be {ORIGINS}, not None"),
        (
            {"allow_origins": ("*", "example.org")},
            "allow_origins: an origin to allow is the scheme, the host and perhaps the port of a page, such as "
            "https://example.org or capacitor://localhost, without a path; or *, null or file://; unlike 'example.org'",
        ),
        ({"allow_hosts": "localhost"}, f"allow_hosts must be {HOSTS}, not 'localhost'"),
    ],
    ids=str,
)  # fmt: skip
def test_anything_else_gets_a_sentence_that_names_the_option(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
        Options(**given)


@pytest.mark.parametrize(
    "given",
    [{"allow_origins": ("HTTPS://Ex\u00e4mple.org:443/",)}, {"allow_hosts": ("ex\u00e4mple.org",)}],
    ids=["origin", "host"],
)
def test_what_browsers_spell_differently_takes_their_form(given: dict[str, Any]) -> None:
    made = Options(**given)
    assert made.allow_origins in ((), ("https://xn--exmple-cua.org",))
    assert made.allow_hosts in ((), ("xn--exmple-cua.org",))
    assert dataclasses.replace(made) == made


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("ex\u00e4mple.org", "xn--exmple-cua.org"),
        (".EX\u00c4MPLE.org", "chat.xn--exmple-cua.org"),
        ("fe80::1%eth0", "[fe80::1]"),
    ],
)
def test_a_host_that_no_browser_spells_so_is_allowed_as_browsers_spell_it(pattern: str, host: str) -> None:
    assert host in Hosts(Options(allow_hosts=(pattern,)).allow_hosts)


@pytest.mark.parametrize("pattern", ["stra\u00dfe.example", "ex\u00e4mple.org:8080", "a%b", "http://ex\u00e4mple.org"])
def test_a_host_that_has_no_such_form_is_refused(pattern: str) -> None:
    with pytest.raises(OptionError, match=r"^allow_hosts: a host to allow is"):
        Options(allow_hosts=(pattern,))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"port": 65_536}, "port must be a whole number from 0 to 65535, not 65536"),
        ({"port": -1}, "port must be a whole number from 0 to 65535, not -1"),
        ({"host": None}, "host must be a string, not None"),
        ({"trusted_proxies": -1}, "trusted_proxies must be a whole number of proxies, at least 0, not -1"),
        ({"processors": "two"}, "processors must be one or all, not 'two'"),
        ({"log_level": "loud"}, "log_level must be debug, info, warning or error, not 'loud'"),
        ({"inspect": "yes"}, "inspect must be True or False, not 'yes'"),
        ({"hub": " "}, "hub must be the name of a file, not ' '"),
    ],
)
def test_the_servers_options_are_checked_in_the_same_way(given: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError) as raised:
        ServerOptions(**given)
    assert str(raised.value) == says


@pytest.mark.parametrize("wrong", ["", "with space", "x" * 201, "schlüssel", 5, True, b"bytes"])
def test_no_message_shows_a_secret(wrong: Any) -> None:
    with pytest.raises(OptionError) as raised:
        Options(key=wrong)
    assert str(raised.value) == "key must be 1 to 200 visible ASCII characters"
    assert "s3cret" not in repr(Options(key="s3cret"))


# The error


def test_the_error_can_name_the_options_as_the_command_line_does() -> None:
    with pytest.raises(OptionError) as raised:
        Options(pong_wait=5, ping_period=6)
    assert str(raised.value) == "ping_period (6 seconds) must be less than pong_wait (5 seconds)"
    assert raised.value.told(FLAGS) == "--ping-period (6 seconds) must be less than --pong-wait (5 seconds)"


def test_braces_in_a_value_are_no_placeholders() -> None:
    value: Any = "{pong_wait}{0}"
    with pytest.raises(OptionError) as raised:
        Options(send_buffer=value)
    assert raised.value.told(FLAGS).endswith("not '{pong_wait}{0}'")
    with pytest.raises(OptionError) as raised:
        Options(allow_origins=(value,))
    assert raised.value.told(FLAGS).endswith("unlike '{pong_wait}{0}'")


def test_the_error_survives_pickling() -> None:
    with pytest.raises(OptionError) as raised:
        Options(send_buffer=0)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert str(copy) == str(raised.value)


# What the command line makes of an argument


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        ("send_buffer", "7", 7),
        ("send_buffer", "7.5", "7.5"),
        ("send_buffer", "", ""),
        ("send_buffer", "9" * 5000, "9" * 5000),  # too long for int()
        ("pong_wait", "2.5", 2.5),
        ("pong_wait", "soon", "soon"),
        ("log_level", "debug", "debug"),
        ("host", "::1", "::1"),
    ],
)  # fmt: skip
def test_an_argument_is_read_or_left_for_the_check_to_refuse(name: str, argument: str, value: object) -> None:
    (option,) = (option for option in ALL_OPTIONS if option.name == name)
    assert option.parse(argument) == value
    assert option.accepts(value) is (value != argument or name in ("log_level", "host"))


def test_flags_are_the_names_with_dashes_and_in_the_singular_where_they_are_repeated() -> None:
    def flag(option: Option) -> str:
        name = option.name.removesuffix("s") if option.repeatable else option.name
        return f"--{name.replace('_', '-')}"

    assert [option.flag for option in ALL_OPTIONS] == list(map(flag, ALL_OPTIONS))
