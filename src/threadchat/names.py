"""Names of people and of rooms: how they are cleaned, and when two of them look alike.

Unicode's own rules are used where the standard library has them (UAX #15: NFKC; casefolding). Names that look alike
are found by the idea of UTS #39, section 4: two strings are confusable if they have the same skeleton. The table here
has the letters that people meet, the Cyrillic and Greek twins of Latin letters and the digits that look like letters.
"""

from __future__ import annotations

import unicodedata

NAME_LENGTH = 24  # characters of a person's name, at most
ROOM_NAME_LENGTH = 64  # characters of a room's name, at most
LONGEST = 16  # times as long as it may be, a text is not cleaned at all: that would take the processor too long
RESERVED = ("admin", "administrator", "moderator", "organiser", "organizer", "server", "system", "threadchat")

# Letters beside the Latin ones that they look like.
_LOOKALIKES = str.maketrans(
    # Cyrillic, Greek, and others
    "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u04ae\u0430"
    "\u0435\u0455\u0456\u0458\u043e\u0440\u0441\u0443\u0445\u04bb\u0501\u04cf"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03b1\u03b9"
    "\u03bd\u03bf\u03c1\u03c5"
    "\u026101|I\u0131\u2113",
    "ABESlJKMHOPCTXYaesijopcyxhdlABEZHlKMNOPTYXaivopugOlllil",
)


class NotAName(ValueError):
    """The text cannot be a name. str() says why, in a sentence."""


def clean_name(text: str) -> str:
    """A person's name as it is shown: NFKC, one space between words, 1 to NAME_LENGTH characters. Raises NotAName."""
    return _clean(text, NAME_LENGTH, "name")


def clean_room_name(text: str) -> str:
    """A room's name as its address has it: as `clean_name`, and casefolded. Raises NotAName."""
    name = unicodedata.normalize("NFKC", _clean(text, ROOM_NAME_LENGTH, "room's name").casefold())
    if "/" in name or name in (".", ".."):
        raise NotAName("A room's name has no slash in it, and is not a dot or two.")
    return _clean(name, ROOM_NAME_LENGTH, "room's name")


def same_name(text: str) -> set[str]:
    """Some keys of a clean name. Two names are taken for the same one if they have a key in common."""
    folded = text.casefold()
    return {f"letters {folded}", f"shapes {_skeleton(text)}", f"folded shapes {_skeleton(folded).casefold()}"}


def quoted(name: str) -> str:
    """A name in quotes, for a line of the log. It can end neither the quotes nor the line, nor hide what stands there.

    Letters of any script stay as they are. Control and direction characters, quotes and backslashes are escaped.
    """
    return f'"{"".join(map(_escaped, name))}"'


def is_reserved(name: str) -> bool:
    """Whether the name could be taken for the server's or an organiser's."""
    return not _RESERVED_KEYS.isdisjoint(same_name(name))


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _skeleton(text: str) -> str:
    bare = text  # of ASCII, NFD is the same and nothing combines: so for most names this takes a third of the time
    if not text.isascii():
        bare = "".join(each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each))
    return bare.translate(_LOOKALIKES).replace("rn", "m")


def _clean(text: str, most: int, what: str) -> str:
    if len(text) > LONGEST * most:
        raise NotAName(f"A {what} has at most {most} characters.")
    visible = text
    if not (text.isascii() and text.isprintable()):  # as most names are; nothing below would change those
        visible = "".join(" " if each.isspace() else each for each in unicodedata.normalize("NFKC", text))
        # Cc, Cf, Cs, Co and Cn: control and direction characters, surrogates, private and unassigned ones
        visible = "".join(each for each in visible if not unicodedata.category(each).startswith("C"))
    name = " ".join(visible.split())
    if not any(unicodedata.category(each)[0] in "LNPS" for each in name):  # marks alone have nothing to stand on
        raise NotAName(f"A {what} needs at least one visible character.")
    if len(name) > most:
        raise NotAName(f"A {what} has at most {most} characters.")
    return name


# What the reserved names would be taken for. Made once, since this takes longer than all else that a name costs.
_RESERVED_KEYS = frozenset().union(*map(same_name, RESERVED))
