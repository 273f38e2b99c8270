"""A learner's file for --hub: what is taken, and what is refused, in one sentence with the line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from threadchat.channel import Channel
from threadchat.inspector import own_file
from threadchat.inspector.own_file import GONE, Loaded, NotAHub, load, stamp

HUB = """\
from threadchat.channel import Channel, select


class Hub:
    def __init__(self):
        self.register, self.unregister, self.broadcast = Channel(), Channel(), Channel(5)

    def run(self):
        pass
"""


class Place(Channel[Any]):
    """A channel for a place of the hub."""

    def __init__(self, name: str, capacity: int) -> None:
        super().__init__(capacity)
        self.name = name


def loaded(folder: Path, code: str, version: int = 1) -> Loaded:
    file = folder / "mine.py"
    file.write_text(code)
    return load(file, version, Place)


def test_what_is_assigned_to_the_hubs_places_is_replaced_by_channels_with_the_same_capacity(tmp_path: Path) -> None:
    hub = loaded(tmp_path, HUB.replace("    def run", "        self.inboxes = [self.register]\n\n    def run")).hub
    assert [(each.name, each.capacity) for each in (hub.register, hub.unregister, hub.broadcast)] == [
        ("register", 0),
        ("unregister", 0),
        ("broadcast", 5),
    ]
    assert hub.inboxes == [hub.register]  # the one that the server uses
    assert type(hub).__name__ == "Hub"


@pytest.mark.parametrize(
    "code",
    [
        "class Hub:\n    register, unregister, broadcast = Channel(), Channel(), Channel(5)\n    def run(self): pass",
        "@dataclass\nclass Hub:\n    register: Channel[Any] = field(default_factory=Channel)\n"
        "    unregister: Channel[Any] = field(default_factory=Channel)\n"
        "    broadcast: Channel[str] = field(default_factory=lambda: Channel(5))\n    def run(self): pass",
        "class Hub:\n    __slots__ = ('register', 'unregister', 'broadcast')\n    def __init__(self):\n"
        "        self.register, self.unregister, self.broadcast = Channel(), Channel(), Channel(5)\n"
        "    def run(self): pass",
    ],
    ids=["attributes of the class", "a dataclass", "slots"],
)
def test_a_hub_may_be_written_in_other_ways(tmp_path: Path, code: str) -> None:
    imports = "from __future__ import annotations\nfrom dataclasses import dataclass, field\nfrom typing import Any\n"
    hub = loaded(tmp_path, f"{imports}from threadchat.channel import Channel\n\n{code}\n").hub
    assert [hub.register.name, hub.unregister.name, hub.broadcast.capacity] == ["register", "unregister", 5]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("class Hub\n    pass\n", ", line 1, `class Hub`: expected ':'"),
        ("x = 1\n", " has no class Hub"),
        ("Hub = 5\n", " has no class Hub"),
        ("import sys\nsys.exit(3)\n", ", line 2, `sys.exit(3)`: SystemExit: 3"),
        ("import nowhere\n", ", line 1, `import nowhere`: ModuleNotFoundError: No module named 'nowhere'"),
        (HUB.replace("self.broadcast = Channel()", "_ = Channel()"), ": the Hub has no channel `broadcast`"),
        (HUB.replace("Channel(5)", "[]"), ": the Hub's `broadcast` is no Channel of threadchat.channel"),
        (HUB.replace("def run", "def walk"), ": the Hub has no method `run`"),
        (HUB + "    stop = 5\n", ": the Hub's `stop` is no method"),
        (
            HUB.replace("__init__(self)", "__init__(self, size)"),
            ": TypeError: Hub.__init__() missing 1 required positional argument: 'size'",
        ),
        (HUB.replace("Channel(5)", "Channel(-5)"), f", line 6, `{HUB.splitlines()[5].strip().replace('5', '-5')}`: "
         "ValueError: a channel's capacity must be 0 or more"),
        ("a\0b", ""),
    ],
)  # fmt: skip
def test_a_file_without_a_hub_is_refused_in_one_sentence(tmp_path: Path, code: str, says: str) -> None:
    with pytest.raises(NotAHub) as refused:
        loaded(tmp_path, code)
    assert str(refused.value).startswith(f"{tmp_path / 'mine.py'}{says}")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAHub, match=r"nothing.py cannot be read: No such file or directory$"):
        load(tmp_path / "nothing.py", 1, Place)
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    with pytest.raises(NotAHub, match=r"latin.py is not text in UTF-8$"):
        load(tmp_path / "latin.py", 1, Place)
    assert stamp(tmp_path / "nothing.py") == GONE


def test_a_file_that_does_not_come_to_an_end_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_file, "PATIENCE", 0.2)
    code = "import threading\nGO_ON = threading.Event()\nGO_ON.wait()\n"
    try:
        with pytest.raises(NotAHub, match=r"mine.py, line 3, `GO_ON.wait\(\)`, does not come to an end"):
            loaded(tmp_path, code)
    finally:
        sys.modules[own_file.MODULE].GO_ON.set()


def test_the_source_of_a_version_stays_when_the_file_changes(tmp_path: Path) -> None:
    first = loaded(tmp_path, HUB)
    second = loaded(tmp_path, HUB.replace("pass", "return"), version=2)
    assert (first.line(9), second.line(9)) == ("pass", "return")
    assert second.name == f"{first.name}, save 2"
    assert first.definition("Hub.run") == (8, ["    def run(self):", "        pass"])
    assert first.definition("Hub.stop") is None
    assert second.around(9, 1) == (8, ["    def run(self):", "        return"])


def test_a_file_may_import_what_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_a_hub.py").write_text("SIZE = 7\n")
    code = "from beside_a_hub import SIZE\n" + HUB.replace("Channel(5)", "Channel(SIZE)")
    assert loaded(tmp_path, code).hub.broadcast.capacity == 7
