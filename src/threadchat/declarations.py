"""How an option is declared, and what is made of the declaration: checks, error messages, help.

An option is a field of a frozen dataclass (see `options`). The functions `whole_number`, `seconds`, `switch`, `choice`,
`text`, `secret` and `strings` stand where the field's default would: each returns a dataclass field whose metadata has
the `Option`. The command line and README's table are made from the same `Option`.
"""

from __future__ import annotations

import inspect
import re
import secrets
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from string import Formatter
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_WAIT = 86_400.0  # seconds: a day, well within what poll() and a lock can wait for
LONGEST_SECRET = 200  # characters
SECRET_LENGTH = 16  # characters of a secret that is made: 80 bits
SECRET_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # those that nobody takes for one another
_SECRET = re.compile(f"[!-~]{{1,{LONGEST_SECRET}}}")
DOCSTRING_WIDTH = 110  # characters a line


class OptionError(ValueError):
    """An option has a value that it cannot have. str() is a sentence that names the option as in Python.

    OptionError(sentence, *values): in the sentence {0}, {1}, ... stand for the values, and {pong_wait} for the name of
    the option pong_wait.
    """

    def __str__(self) -> str:
        return self.told({})

    def told(self, names: Mapping[str, str]) -> str:
        """The sentence, with these names for the options: {"pong_wait": "--pong-wait"}."""
        sentence, *values = self.args
        return Formatter().vformat(sentence, values, _Names(names))


class Made(str):
    """A secret that was made because none was given. A store may remember an older one (see `web.app`)."""

    __slots__ = ()


class _Names(dict[str, str]):
    """Other names for the options; an option without one keeps its own."""

    def __missing__(self, name: str) -> str:
        return name


class Group(Enum):
    """Options that are explained together, in the order in which they are explained."""

    LISTEN = "where it listens"
    ADMISSION = "who may connect"
    MESSAGES = "messages"
    ROOMS = "rooms and what is kept of them"
    TIME = "time limits"
    INSPECTOR = "the inspector"
    PROCESS = "the process"


@dataclass(frozen=True, kw_only=True)
class Option:
    """The declaration of an option, except for its type, which the dataclass has.

    name: its name in Python.
    flag: its name on the command line.
    metavar: what stands for its value in the command line's help; empty for a switch.
    unit: of a number, in the plural.
    unset: what happens by default, if the default is None or empty.
    help: what it does. Code stands in backticks.
    wants: what a value must be; completes the sentence "NAME must be ...".
    accepts: whether a value is what `wants` says.
    parse: turns an argument of the command line into a value; an argument that it cannot read it returns as it is, and
    `accepts` then refuses it.
    read_each: turns one of several values into its usual form; raises ValueError, with a sentence, for a wrong one.
    make: makes the value of a secret where the command line gives the option without one. No message shows a secret.
    """

    default: Any
    group: Group
    help: str
    wants: str
    accepts: Callable[[Any], bool]
    name: str = ""
    flag: str = ""
    metavar: str = ""
    unit: str = ""
    unset: str = "none"
    parse: Callable[[str], Any] = str
    read_each: Callable[[str], str] | None = None
    make: Callable[[], Made] | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it has several values, each of which is given to the command line by itself."""
        return isinstance(self.default, tuple)

    def default_text(self, default: Any) -> str:
        """A default in words, with its unit: 10,000 clients."""
        match default:
            case bool():
                return "on" if default else "off"
            case None | ():
                return self.unset
            case int():
                return f"{default:,} {self.unit}" if self.unit else str(default)
            case float():
                return f"{default:g} {self.unit}"
            case _:
                return str(default)


def declared(options: type) -> tuple[Option, ...]:
    """The declarations of all options of a dataclass, in its order, with their names."""
    return tuple(
        replace(option, name=each.name, flag=option.flag or f"--{each.name.replace('_', '-')}")
        for each in fields(options)
        for option in [each.metadata["option"]]
    )


def check(options: Any) -> None:
    """For `__post_init__`: raise OptionError for the first option with a wrong value.

    Lists become tuples, and each of several values takes its usual form.
    """
    for option in declared(type(options)):
        value = getattr(options, option.name)
        if not option.accepts(value):
            unlike = "" if option.make else ", not {0!r}"
            raise OptionError(f"{{{option.name}}} must be {option.wants}{unlike}", value)
        if option.read_each is not None:
            try:
                object.__setattr__(options, option.name, tuple(map(option.read_each, value)))
            except ValueError as error:
                raise OptionError(f"{{{option.name}}}: {{0}}", str(error)) from None


def explained(options: type[T]) -> type[T]:
    """A decorator that puts the help of each option into the docstring of the dataclass, for help()."""
    paragraphs = [inspect.cleandoc(options.__doc__ or ""), ""]
    for option in declared(options):
        unit = f"{option.unit}, " if option.unit else ""
        line = f"{option.name} ({unit}default {option.default!r}): {option.help.replace('`', '')}."
        paragraphs.append(textwrap.fill(line, DOCSTRING_WIDTH, subsequent_indent="    "))
    options.__doc__ = "\n".join(paragraphs)
    return options


def whole_number(default: int, group: Group, unit: str, help: str, least: int = 1, most: int | None = None) -> Any:
    """An option that is an int from `least` to `most`."""

    def accepts(value: Any) -> bool:
        return _is_number(value, int) and least <= value and (most is None or value <= most)

    kind = f"a whole number of {unit}" if unit else "a whole number"
    return _field(
        default=default,
        group=group,
        help=help,
        wants=f"{kind}, at least {least}" if most is None else f"{kind} from {least} to {most}",
        accepts=accepts,
        metavar=unit.partition(" ")[0].upper() or "NUMBER",
        unit=unit,
        parse=_reader(int),
    )


def seconds(default: float | None, group: Group, help: str, unset: str = "") -> Any:
    """An option that is a time in seconds. None or 0 is a value if it is the default; `unset` says what None means."""

    def accepts(value: Any) -> bool:
        if value is None:
            return default is None
        if not _is_number(value, int | float):
            return False
        return bool(0 < value <= LONGEST_WAIT or value == default == 0)  # false for NaN

    return _field(
        default=default,
        group=group,
        help=help,
        wants=f"a number of seconds {'from' if default == 0 else 'above'} 0 and at most {LONGEST_WAIT:g}",
        accepts=accepts,
        metavar="SECONDS",
        unit="seconds",
        unset=unset,
        parse=_reader(float),
    )


def switch(group: Group, help: str) -> Any:
    """An option that is a bool, off by default."""
    return _field(
        default=False,
        group=group,
        help=help,
        wants="True or False",
        accepts=lambda value: isinstance(value, bool),
    )


def choice(default: str, choices: tuple[str, ...], group: Group, help: str) -> Any:
    """An option that is one of a few words."""
    return _field(
        default=default,
        group=group,
        help=help,
        wants=f"{', '.join(choices[:-1])} or {choices[-1]}",
        accepts=lambda value: value in choices,
        metavar="{" + ",".join(choices) + "}",
    )


def text(default: str, group: Group, metavar: str, help: str) -> Any:
    """An option that is any str."""
    return _field(
        default=default,
        group=group,
        help=help,
        wants="a string",
        accepts=lambda value: isinstance(value, str),
        metavar=metavar,
    )


def file(group: Group, help: str) -> Any:
    """An option that is the name of a file, or None."""
    return _field(
        default=None,
        group=group,
        help=help,
        wants="the name of a file",
        accepts=lambda value: value is None or (isinstance(value, str) and bool(value.strip())),
        metavar="FILE",
    )


def secret(group: Group, help: str) -> Any:
    """An option that is a str which nobody may guess, or None. The command line makes one where none is given."""
    return _field(
        default=None,
        group=group,
        help=help,
        wants=f"1 to {LONGEST_SECRET} visible ASCII characters",
        accepts=lambda value: value is None or (isinstance(value, str) and bool(_SECRET.fullmatch(value))),
        metavar="SECRET",
        parse=lambda argument: argument,  # argparse calls this with what `make` has made, too
        make=lambda: Made("".join(secrets.choice(SECRET_LETTERS) for _ in range(SECRET_LENGTH))),
    )


def strings(flag: str, group: Group, help: str, example: str, read_each: Callable[[str], str]) -> Any:
    """An option that is a tuple of str, empty by default; on the command line `flag` adds one."""
    return _field(
        default=(),
        group=group,
        help=help,
        wants=f'several strings, such as ("{example}",)',
        accepts=lambda value: isinstance(value, tuple | list) and all(isinstance(each, str) for each in value),
        flag=flag,
        metavar=flag.rpartition("-")[2].upper(),
        read_each=read_each,
    )


def _field(**declaration: Any) -> Any:
    option = Option(**declaration)
    return field(default=option.default, repr=option.make is None, metadata={"option": option})


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _reader(number: Callable[[str], Any]) -> Callable[[str], Any]:
    """A `parse` for numbers."""

    def parse(argument: str) -> Any:
        try:
            return number(argument)
        except ValueError:
            return argument

    return parse
