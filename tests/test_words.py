"""What comes from the network, made fit for a terminal; colours, mentions and times."""

from __future__ import annotations

import time
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threadchat.terminal.words import COLOURS, JOINERS, clean, clock, colour_of, counted, mentions


@pytest.mark.parametrize(
    ("heard", "shown"),
    [
        ("plain text", "plain text"),
        ("zwei Zeilen\nÜmläute", "zwei Zeilen\nÜmläute"),
        ("a\tb", "a b"),
        ("a\r\nb\rc\u2028d\x0be", "a\nb\nc\nd\ne"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hx", "x"),
        ("\x1b[?1049hx", "x"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;cm0gLXJm\x9cx", "x"),
        ("\x9d0;title\x9cx", "x"),
        ("\x1bP$q\"p\x1b\\x", "x"),
        ("\x1b]0;without an end", ""),
        ("\x1bcx", "x"),
        ("\x1b(0x", "x"),
        ("x\x1b", "x"),
        ("x\x1b[", "x"),
        ("\x1b[31\x1b[32mx", "x"),
        ("bell\x07 backspace\x08 delete\x7f null\x00", "bell backspace delete null"),
        ("\u202egnihton", "gnihton"),
        ("a\u2066b\u2069\u200fc\ufeff", "abc"),
        ("half \ud83d of it", "half  of it"),
        ("👩\u200d👩\u200d👧 क्\u200dष", "👩\u200d👩\u200d👧 क्\u200dष"),
        ({"a\x1b[m": ["\x07", {"b": "\x1b[31m"}]}, {"a": ["", {"b": ""}]}),
        ([1, 2.5, None, True], [1, 2.5, None, True]),
    ],
)  # fmt: skip
def test_what_is_heard_is_shown_without_control_sequences(heard: Any, shown: Any) -> None:
    assert clean(heard) == shown


@given(st.text(st.characters(exclude_categories=[]) | st.sampled_from("\x1b[]\\;m0\x07\x9b\x9c\x9dP")))
def test_no_text_keeps_a_control_character_and_no_cleaning_makes_one(heard: str) -> None:
    shown = clean(heard)
    assert not [
        each for each in shown if unicodedata.category(each) in ("Cc", "Cf", "Cs") and each not in f"\n{JOINERS}"
    ]
    assert clean(shown) == shown


def test_a_name_that_is_mentioned_may_have_any_characters() -> None:
    assert mentions("A.B (2), hello", "A.B (2)")
    assert not mentions("AxB (2), hello", "A.B (2)")


def luminance(colour: int) -> float:
    """The relative luminance (WCAG 2) of one of the 256 colours of terminals, from 16 to 231."""
    cube = divmod(colour - 16, 36)[0], (colour - 16) // 6 % 6, (colour - 16) % 6
    linear = []
    for step in cube:
        value = (55 + 40 * step if step else 0) / 255
        linear.append(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", COLOURS)
def test_each_colour_can_be_read_on_black_and_on_white(colour: int) -> None:
    here = luminance(colour)
    assert (here + 0.05) / 0.05 >= 4
    assert 1.05 / (here + 0.05) >= 4


def test_a_name_has_one_colour_however_it_is_written_and_names_have_many() -> None:
    assert colour_of("Ann") == colour_of("ANN")
    assert {colour_of(f"Guest {number}") for number in range(200)} == set(COLOURS)


def test_a_time_of_another_day_has_its_date() -> None:
    now = time.time()
    assert clock(now) == time.strftime("%H:%M", time.localtime(now))
    assert clock(0) == time.strftime("%Y-%m-%d %H:%M", time.localtime(0))


@pytest.mark.parametrize("at", [float("inf"), float("-inf"), float("nan"), 1e300, -1e300, 10**30])
def test_a_time_that_is_none_is_shown_as_one_that_nobody_knows(at: float) -> None:
    assert clock(at) == "??:??"


def test_counts_agree_with_their_noun() -> None:
    assert [counted(number, "message") for number in (0, 1, 2)] == ["0 messages", "1 message", "2 messages"]
