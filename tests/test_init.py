"""What `import threadchat` offers: the public names, imported when they are first used."""

from __future__ import annotations

import ast
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import LIMIT

import threadchat

HEAVY = {"threading", "socket", "queue", "werkzeug", "simple_websocket", "wsproto"}


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has imported after it has run this code."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    return set(subprocess.check_output(command, text=True, timeout=LIMIT).split())


def test_each_public_name_can_be_imported() -> None:
    names: dict[str, object] = {}
    exec("from threadchat import *", names)
    assert set(threadchat.__all__) <= names.keys()
    assert set(threadchat.__all__) <= set(dir(threadchat))


def test_a_public_name_is_the_one_of_its_module() -> None:
    from threadchat.channel import Channel
    from threadchat.web.app import create_app

    assert threadchat.Channel is Channel
    assert threadchat.create_app is create_app


def test_the_package_alone_imports_nothing_of_the_program() -> None:
    modules = modules_after("import threadchat")
    assert {name for name in modules if name.startswith("threadchat")} == {"threadchat"}
    assert not modules & HEAVY


def test_channels_come_without_the_web_server() -> None:
    modules = modules_after("from threadchat import Channel, select")
    assert "threadchat.channel" in modules
    assert not modules & {"werkzeug", "simple_websocket", "wsproto", "threadchat.hub", "threadchat.web"}


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'threadchat' has no attribute 'nothing'"):
        threadchat.nothing  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        from threadchat import nothing  # type: ignore[attr-defined]  # noqa: F401


def test_type_checkers_and_the_interpreter_find_each_name_in_the_same_module() -> None:
    tree = ast.parse(Path(threadchat.__file__).read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {
        node.module: tuple(name.name for name in node.names)
        for node in ast.walk(checked)
        if isinstance(node, ast.ImportFrom)
    }
    assert seen == threadchat._MODULES
    names = [name for names in threadchat._MODULES.values() for name in names]
    assert sorted([*names, "__version__"]) == sorted(threadchat.__all__)


def test_help_shows_how_to_begin_and_each_public_name() -> None:
    text = pydoc.plain(pydoc.render_doc(threadchat))
    assert "from threadchat import Options, Server, create_app" in text
    for name in set(threadchat.__all__) - {"__version__"}:
        assert f"class {name}(" in text or f"{name}(" in text, name
    assert "message_size (bytes, default 512): the longest message" in text
