"""Names: how they are cleaned, which of them look alike, and who gets which."""

from __future__ import annotations

import ast
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threadchat.names import NAME_LENGTH, NotAName, clean_name, clean_room_name, is_reserved, quoted, same_name
from threadchat.people import People


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ann", "Ann"),
        ("  Ann \t of\n the  hill ", "Ann of the hill"),
        ("\u202eAnn\u200b", "Ann"),  # a direction mark and a space without width
        ("\uff21nn", "Ann"),  # a wide letter
        ("\u0644\u064a\u0644\u0649", "\u0644\u064a\u0644\u0649"),
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_a_name_is_cleaned(text: str, name: str) -> None:
    assert clean_name(text) == name


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Ann", '"Ann"'),
        ("J\u00f6rg O'Hara", '"J\u00f6rg O\'Hara"'),
        ('Eve" from nowhere', r'"Eve\" from nowhere"'),
        ("a\\", r'"a\\"'),
        ("a\n\r\x1b[31m\u2028", r'"a\n\r\x1b[31m\u2028"'),
        ("\u202ennA\u2067\ufeff", r'"\u202ennA\u2067\ufeff"'),
        ("\ud800", r'"\ud800"'),
    ],
)
def test_a_name_is_quoted_for_the_log(name: str, line: str) -> None:
    assert quoted(name) == line


@given(st.text(max_size=40))
def test_a_quoted_name_ends_where_its_quotes_do(text: str) -> None:
    line = quoted(text)
    assert line.isprintable()
    assert ast.literal_eval(line) == text


@pytest.mark.parametrize("text", ["", " ", "\u202e", "\u0301", "\x00\x1f", "\ud83d", "x" * (NAME_LENGTH + 1)])
def test_what_shows_nothing_or_too_much_is_no_name(text: str) -> None:
    with pytest.raises(NotAName):
        clean_name(text)


@given(st.text(max_size=40))
def test_a_clean_name_stays_as_it_is(text: str) -> None:
    for clean in (clean_name, clean_room_name):
        try:
            name = clean(text)
        except NotAName:
            continue
        assert clean(name) == name


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Ann", "ANN", True),
        ("Stra\u00dfe", "STRASSE", True),
        ("Ann", "\u0410nn", True),  # Cyrillic A
        ("ANN", "\u0430nn", True),  # Cyrillic a, in another case
        ("Ian", "lan", True),  # capital i, small L
        ("modern", "modem", True),
        ("B\u00f6b", "Bob", True),
        ("Ian", "Lan", False),
        ("Ann", "Anna", False),
        ("Jo", "J0", True),
    ],
)
def test_names_that_look_alike_count_as_the_same(one: str, other: str, same: bool) -> None:
    assert bool(same_name(one) & same_name(other)) is same


@pytest.mark.parametrize("name", ["admin", "ADMIN", "Server", "\u0430dmin", "\u0405ystem", "Adm\u0131n"])
def test_names_for_the_server_and_its_organisers_are_reserved(name: str) -> None:
    assert is_reserved(name)
    assert not is_reserved("Administrata")


def test_a_name_belongs_to_a_session_until_it_is_forgotten() -> None:
    people = People()
    ann, other = people.arrive("a", "Ann"), people.arrive("b", "ann")
    assert (ann.name, other.name) == ("Ann", "ann 2")
    assert people.arrive("a", None) is ann
    assert not people.depart(ann)
    assert people.depart(ann)
    assert people.arrive("c", "Ann").name == "Ann 3"
    assert people.forget_if_gone("a")
    assert not people.forget_if_gone("b")
    assert people.forget_if_gone("nobody knows")
    assert people.arrive("d", "Ann").name == "Ann"


def test_a_name_that_is_given_up_is_free() -> None:
    people = People()
    ann = people.arrive("a", "Ann")
    assert people.rename(ann, "Ann") == "Ann"
    assert people.rename(ann, "ANN") == "ANN"
    assert people.rename(ann, "Zoe") == "Zoe"
    assert people.arrive("b", "Ann").name == "Ann"
    with pytest.raises(NotAName, match="reserved"):
        people.rename(ann, "admin")
    with pytest.raises(NotAName, match="visible"):
        people.rename(ann, " ")
    assert ann.name == "Zoe"


def test_many_of_one_name_get_names_of_their_own_that_are_not_too_long() -> None:
    people = People()
    names = {people.arrive(str(number), "x" * NAME_LENGTH).name for number in range(2_000)}
    assert len(names) == 2_000
    assert max(map(len, names)) == NAME_LENGTH


@pytest.mark.parametrize("text", ["\ufdfa" * 1_000_000, "\u0300\u0316" * 20_000, "\u200b" * 1_000_000 + "Ann"])
def test_a_text_that_is_far_too_long_is_refused_before_it_is_looked_at(text: str) -> None:
    """It would take the processor from everybody: NFKC makes eighteen characters of the first one."""
    for clean in (clean_name, clean_room_name):
        began = time.thread_time()
        with pytest.raises(NotAName, match="at most"):
            clean(text)
        assert time.thread_time() - began < 0.01


def test_of_two_who_were_given_one_name_in_two_processes_the_later_one_gets_another() -> None:
    people = People()
    ann = people.arrive("ann", "Sam")
    assert people.hear("bob", "Sam", {}) is ann, "nobody else has heard of her name yet"
    assert ann.name != "Sam"
    assert people.name_of("bob") == "Sam"
    assert people.arrive("cy", "sam").name != "sam"
    assert people.hear("dan", ann.name, {"ann": ann.name}) is None, "she was earlier: his process gives him another"
    assert people.arrive("eve", ann.name).name != ann.name
    assert people.hear("dan", "Dan", {}) is None
    assert people.arrive("fay", "Dan").name != "Dan"
    assert people.forget_if_gone("dan")
    assert people.arrive("gus", "Dan").name == "Dan"
