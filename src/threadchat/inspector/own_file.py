"""A learner's file with a class `Hub`, for --hub: how it is read, and what must be in it.

The class has the channels and methods of the exercises' hub: `register`, `unregister` and `broadcast`, and `run`;
from the last exercise on also `stop`. Their places in the object take channels that can be watched: what the learner
assigns there is replaced by a channel with the same capacity.
"""

from __future__ import annotations

import ast
import linecache
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadchat.channel import Channel

INBOXES = ("register", "unregister", "broadcast")
PATIENCE = 3.0  # seconds that a file may take until it has been executed, and the hub made
MODULE = "threadchat_hub_of_a_file"  # its name in sys.modules, where dataclasses look
GONE = (0, 0)

Replace = Callable[[str, int], Channel[Any]]  # makes the channel for this place, with this capacity


class NotAHub(Exception):
    """The file has no hub that can serve the chat. str() says in a sentence why not, and where."""


@dataclass(frozen=True)
class Loaded:
    """The hub of one version of the file. `name` is what the code's file is called, in tracebacks too."""

    hub: Any
    name: str
    source: str

    def line(self, number: int) -> str:
        """A line of the file, without white space around it."""
        return linecache.getline(self.name, number).strip()

    def around(self, number: int, more: int = 3) -> tuple[int, list[str]]:
        """The number of the first of some lines around this one, and the lines."""
        lines = self.source.splitlines()
        first = max(1, number - more)
        return first, lines[first - 1 : number + more]

    def definition(self, name: str) -> tuple[int, list[str]] | None:
        """The number of the first line of a function ("Hub.run"), and its lines; None if there is none."""
        node: ast.AST = ast.parse(self.source)
        for part in name.replace(".<locals>", "").split("."):
            inside = [each for each in ast.walk(node) if each is not node and getattr(each, "name", "") == part]
            if not inside:
                return None
            node = inside[0]
        assert isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
        return node.lineno, self.source.splitlines()[node.lineno - 1 : node.end_lineno]


def stamp(file: Path) -> tuple[int, int]:
    """Changes whenever the file does, also if an editor replaces the file. GONE if there is no file."""
    try:
        status = file.stat()
    except OSError:
        return GONE
    return status.st_mtime_ns, status.st_size


def load(file: Path, version: int, replace: Replace) -> Loaded:
    """Execute the file and make its hub. Takes PATIENCE at most. Raises NotAHub."""
    name = str(file) if version == 1 else f"{file}, save {version}"
    try:
        source = file.read_text(encoding="utf-8")
        code = compile(source, name, "exec")
    except OSError as error:
        raise NotAHub(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NotAHub(f"{file} is not text in UTF-8") from None
    except SyntaxError as error:
        text = f", `{error.text.strip()}`" if error.text and error.text.strip() else ""
        raise NotAHub(f"{file}, line {error.lineno}{text}: {error.msg}") from None
    except ValueError as error:  # null bytes, in Python 3.11
        raise NotAHub(f"{file}: {error}") from None
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    if str(file.resolve().parent) not in sys.path:
        sys.path.append(
            str(file.resolve().parent)
        )  # for what the file imports of the learner's; last: it hides nothing
    made: list[Any] = []
    failed: list[BaseException] = []

    def execute() -> None:
        try:
            made.append(_make(file, code, replace))
        except BaseException as error:  # SystemExit too
            failed.append(error)

    thread = threading.Thread(target=execute, name="load", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if failed:
        raise _why(failed[0], file, name) from None
    if not made:
        raise NotAHub(f"{file}{_where(thread, name)} does not come to an end when the file is loaded")
    return Loaded(made[0], name, source)


def _make(file: Path, code: types.CodeType, replace: Replace) -> Any:
    module = types.ModuleType(MODULE)
    module.__file__ = str(file)
    sys.modules[MODULE] = module
    exec(code, vars(module))
    hub_class = vars(module).get("Hub")
    if not isinstance(hub_class, type):
        raise NotAHub(f"{file} has no class Hub")
    inboxes: Mapping[str, Any] = {name: _Inbox(name, replace) for name in INBOXES}
    hub = type(hub_class.__name__, (hub_class,), {**inboxes, "__module__": MODULE})()
    for name in INBOXES:
        if name not in vars(hub) and isinstance(given := getattr(hub_class, name, None), Channel):
            setattr(hub, name, given)  # an attribute of the class
        if name not in vars(hub):
            raise NotAHub(f"{file}: the Hub has no channel `{name}`")
        if not isinstance(vars(hub)[name], Channel):
            raise NotAHub(f"{file}: the Hub's `{name}` is no Channel of threadchat.channel")
    if not callable(getattr(hub, "run", None)):
        raise NotAHub(f"{file}: the Hub has no method `run`")
    if not callable(getattr(hub, "stop", _nothing)):
        raise NotAHub(f"{file}: the Hub's `stop` is no method")
    return hub


class _Inbox:
    """A place of the hub for a channel, as a descriptor of its class."""

    def __init__(self, name: str, replace: Replace) -> None:
        self._name = name
        self._replace = replace

    def __get__(self, hub: Any, kind: type | None = None) -> Any:
        if hub is None or self._name not in vars(hub):
            raise AttributeError(f"the Hub has no {self._name!r} yet")
        return vars(hub)[self._name]

    def __set__(self, hub: Any, value: Any) -> None:
        vars(hub)[self._name] = self._replace(self._name, value.capacity) if type(value) is Channel else value


def _why(error: BaseException, file: Path, name: str) -> NotAHub:
    if isinstance(error, NotAHub):
        return error
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    where = f", line {lines[-1]}, `{linecache.getline(name, lines[-1] or 0).strip()}`" if lines else ""
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    return NotAHub(f"{file}{where}: {what}")


def _where(thread: threading.Thread, name: str) -> str:
    """The line of the file where the thread is."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_code.co_filename != name:
        frame = frame.f_back
    return f", line {frame.f_lineno}, `{linecache.getline(name, frame.f_lineno).strip()}`," if frame else ""


def _nothing() -> None: ...
