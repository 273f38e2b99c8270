"""The layout: which module may import which, read from the source.

ORDER is the direction of the imports: a module may import those of its own step and of the steps before it. OURS says
which of them each module does import. The inspector, the lessons and the exercises look at the rest from outside: only
the command line knows of them, and imports them when asked for them.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

import pytest

import threadchat
from threadchat.hub import Hub

PACKAGE = Path(threadchat.__file__).parent

CORE = {"runtime.runqueue", "channel", "outbox", "hub", "websocket.connection", "client", "options"}
LESSONS = (
    "no_limit",
    "blocking_send",
    "self_send",
    "two_writers",
    "lock_instead",
    "convoy",
    "nagle",
    "read_ahead",
)
EXERCISES = (
    "worker",
    "rendezvous",
    "close",
    "default",
    "timeout",
    "semaphore",
    "channel",
    "select",
    "hub",
    "full",
    "pumps",
    "stop",
)

# The steps of the layout, the first one at the bottom. A package stands for all its modules.
ORDER = (
    {"declarations", "options", "web.hosts", "web.origins"},  # which every module may import
    {"channel", "runtime"},
    {"outbox", "waits"},
    {"deadlock"},
    {"hub"},
    {"websocket"},
    {"subprotocol"},
    {"client"},
    {"names", "messages"},
    {"log", "people", "moderation", "tally"},
    {"room", "stored_room", "shared_room", "rooms"},
    {"protocols"},
    {"web"},
    {"inspector", "lessons", "exercises", "terminal"},
    {"serving", "welcome"},
    {"processes"},
    {"cli"},
    {"__main__", "__init__"},
)
NEIGHBOURS = (  # which do not import each other
    {"hub", "websocket"},
    {"inspector", "lessons"},
    {"inspector", "exercises"},
    {"lessons", "exercises"},
    {"inspector", "terminal"},
    {"lessons", "terminal"},
    {"exercises", "terminal"},
)

# What a module may import of ours ("threadchat" is the package's own namespace: its version) and of others besides
# the standard library. A new module belongs here, with what it may import.
OURS: dict[str, set[str]] = {
    "runtime.runqueue": set(),
    "runtime.hold": set(),
    "runtime.signals": {"runtime.hold", "runtime.threads"},
    "runtime.share": set(),
    "runtime.sibling": {"runtime.share", "runtime.threads"},
    "runtime.supervisor": set(),
    "runtime.system": set(),
    "runtime.threads": set(),
    "runtime.timers": {"channel", "runtime.threads"},
    "names": set(),
    "messages": set(),
    "people": {"names"},
    "tally": set(),
    "moderation": {"messages", "people", "websocket.connection"},
    "log.__init__": {"messages"},
    "log.memory": {"log", "messages"},
    "log.choose": {"log", "log.redis", "log.sqlite"},
    "log.lua": set(),
    "log.reader": {"log", "runtime.threads"},
    "log.redis": {
        "log",
        "log.lua",
        "log.memory",
        "log.redis_entries",
        "log.redis_line",
        "log.redis_news",
        "messages",
    },
    "log.redis_entries": {"log", "log.memory", "messages"},
    "log.redis_address": set(),
    "log.redis_line": {"log", "log.lua", "log.redis_address"},
    "log.redis_news": {"log", "log.redis_entries", "messages"},
    "log.sqlite": {"log", "log.memory", "messages"},
    "log.writer": {"channel", "log", "log.reader", "messages", "runtime.threads"},
    "room": {
        "channel",
        "client",
        "hub",
        "log",
        "log.memory",
        "messages",
        "moderation",
        "names",
        "options",
        "people",
        "runtime.threads",
        "runtime.timers",
        "tally",
        "websocket.connection",
    },
    "stored_room": {
        "channel",
        "hub",
        "log",
        "log.writer",
        "messages",
        "options",
        "people",
        "room",
        "runtime.timers",
        "tally",
        "websocket.connection",
    },
    "shared_room": {
        "channel",
        "client",
        "hub",
        "log",
        "log.writer",
        "messages",
        "options",
        "people",
        "room",
        "runtime.threads",
        "runtime.timers",
        "stored_room",
        "tally",
    },
    "rooms": {
        "channel",
        "hub",
        "log",
        "log.writer",
        "options",
        "room",
        "runtime.threads",
        "runtime.timers",
        "shared_room",
        "stored_room",
        "tally",
    },
    "protocols.__init__": set(),
    "protocols.plain": {
        "messages",
        "moderation",
        "people",
        "protocols.welcome",
        "room",
        "subprotocol",
        "websocket.connection",
    },
    "protocols.v1": {
        "messages",
        "moderation",
        "names",
        "people",
        "protocols.welcome",
        "room",
        "subprotocol",
        "websocket.connection",
    },
    "protocols.welcome": {"moderation", "room", "subprotocol", "websocket.connection"},
    "channel": set(),
    "waits": {"channel"},
    "deadlock": {"channel", "waits"},
    "outbox": {"channel", "runtime.runqueue"},
    "web.hosts": set(),
    "web.origins": set(),
    "declarations": set(),
    "options": {"declarations", "web.hosts", "web.origins"},
    "serving": {
        "channel",
        "log",
        "options",
        "runtime.share",
        "runtime.sibling",
        "runtime.signals",
        "runtime.supervisor",
        "runtime.threads",
        "web.app",
        "web.drain",
        "web.hosts",
        "web.metrics",
        "web.server",
        "web.together",
        "welcome",
    },
    "processes": {
        "runtime.share",
        "runtime.sibling",
        "runtime.signals",
        "runtime.supervisor",
        "runtime.threads",
        "serving",
        "web.drain",
    },
    "welcome": {"web.server"},
    "hub": {"channel", "outbox", "runtime.runqueue"},
    "websocket.rate": set(),
    "websocket.ready": set(),
    "websocket.pongs": {"websocket.ready"},
    "websocket.tls": {"websocket.ready"},
    "websocket.wire": set(),
    "websocket.connection": {
        "options",
        "websocket.pongs",
        "websocket.rate",
        "websocket.ready",
        "websocket.tls",
        "websocket.wire",
    },
    "subprotocol": {"websocket.connection"},
    "client": {
        "channel",
        "hub",
        "websocket.connection",
        "options",
        "runtime.system",
        "runtime.threads",
        "subprotocol",
    },
    "runtime.__init__": set(),
    "web.__init__": set(),
    "websocket.__init__": set(),
    "web.admission": set(),
    "web.deadlines": {"websocket.ready"},
    "web.entrance": set(),
    "web.throttled_log": set(),
    "web.www": set(),
    "web.health": {"channel", "hub", "rooms", "web.fitness"},
    "web.highlight": set(),
    "web.source": {"web.www"},
    "web.guide": {"web.highlight", "web.source"},
    "web.local": {"web.hosts"},
    "web.metrics": {
        "client",
        "hub",
        "log.writer",
        "rooms",
        "tally",
        "web.refusals",
        "web.together",
        "websocket.connection",
        "threadchat",
    },
    "web.together": {"runtime.sibling", "runtime.threads"},
    "web.refusals": {"rooms", "web.admission"},
    "web.upgrade": {"web.origins", "web.refusals", "web.throttled_log"},
    "web.app": {
        "declarations",
        "log",
        "log.choose",
        "channel",
        "hub",
        "client",
        "websocket.connection",
        "names",
        "options",
        "room",
        "rooms",
        "web.addresses",
        "web.admission",
        "web.deadlines",
        "web.entrance",
        "web.exits",
        "web.fitness",
        "web.guide",
        "web.health",
        "web.hosts",
        "web.keys",
        "web.local",
        "web.metrics",
        "web.origins",
        "web.refusals",
        "web.say",
        "web.spoken",
        "web.together",
        "web.throttled_log",
        "web.transcript",
        "web.upgrade",
        "web.visitors",
        "web.www",
    },
    "web.addresses": {"names", "room"},
    "web.allowance": set(),
    "web.say": {
        "log",
        "messages",
        "moderation",
        "names",
        "options",
        "protocols.v1",
        "room",
        "rooms",
        "web.allowance",
    },
    "web.transcript": {"messages", "moderation", "room", "web.deadlines"},
    "web.keys": {"web.admission", "web.allowance"},
    "web.visitors": {"moderation", "web.admission", "web.keys"},
    "web.exits": {"runtime.threads"},
    "web.drain": {"channel", "client", "hub", "rooms"},
    "web.fitness": {"web.exits"},
    "web.spoken": {
        "moderation",
        "protocols.plain",
        "protocols.v1",
        "protocols.welcome",
        "room",
        "subprotocol",
        "websocket.connection",
    },
    "web.handler": {"web.deadlines"},
    "web.proxies": {"web.throttled_log"},
    "web.server": {
        "channel",
        "options",
        "web.admission",
        "web.app",
        "web.deadlines",
        "web.drain",
        "web.handler",
        "web.hosts",
        "web.proxies",
        "web.throttled_log",
        "websocket.ready",
        "runtime.share",
        "runtime.system",
        "runtime.threads",
        "tally",
    },
    "cli": {
        "declarations",
        "options",
        "processes",
        "serving",
        "web.app",
        "web.metrics",
        "web.server",
        "runtime.sibling",
        "runtime.signals",
        "runtime.supervisor",
        "web.source",
        "runtime.system",
        "threadchat",
        "inspector.site",
        "inspector.access",
        "inspector.own_file",
        "inspector.own_hub",
        "inspector.notes",
        "inspector.watch",
        "lessons.lesson",
        "lessons.run",
        "lessons.show",
        "exercises.cards",
        "exercises.command",
        "terminal.join",
    },
    "terminal.__init__": set(),
    "terminal.address": set(),
    "terminal.words": set(),
    "terminal.roster": set(),
    "terminal.outgoing": set(),
    "terminal.dial": {"terminal.address", "websocket.ready"},
    "terminal.backoff": set(),
    "terminal.view": {"channel"},
    "terminal.pump": {"channel", "terminal.dial", "terminal.words"},
    "terminal.chat": {
        "channel",
        "runtime.threads",
        "terminal.backoff",
        "terminal.dial",
        "terminal.outgoing",
        "terminal.pump",
        "terminal.roster",
        "terminal.view",
        "terminal.words",
    },
    "terminal.lines": {"channel", "terminal.view"},
    "terminal.screen": {"channel", "terminal.view", "terminal.words"},
    "terminal.join": {
        "terminal.address",
        "terminal.chat",
        "terminal.dial",
        "terminal.lines",
        "terminal.screen",
    },
    "exercises.__init__": set(),
    "exercises.cards": set(),
    "exercises.connection": {"channel"},
    "exercises.schedule": set(),
    "exercises.standins": {"channel", "exercises.schedule", "runtime.threads"},
    "exercises.outcome": {"channel", "waits", "exercises.connection", "exercises.schedule", "exercises.standins"},
    "exercises.verdict": {"channel", "exercises.outcome", "exercises.schedule"},
    "exercises.checks.__init__": set(),
    "exercises.checks.helpers": {
        "channel",
        "exercises.schedule",
        "exercises.standins",
        "exercises.outcome",
        "exercises.verdict",
    },
    **{
        f"exercises.checks.{name}": {
            "channel",
            "exercises.schedule",
            "exercises.standins",
            "exercises.outcome",
            "exercises.verdict",
            "exercises.checks.helpers",
            "exercises.connection",
        }
        for name in EXERCISES
        if name != "stop"
    },
    "exercises.checks.stop": {
        "channel",
        "exercises.schedule",
        "exercises.outcome",
        "exercises.verdict",
        "exercises.checks.helpers",
        "exercises.checks.pumps",
        "exercises.connection",
    },
    "exercises.child": {
        "exercises.schedule",
        "exercises.standins",
        "exercises.outcome",
        "exercises.verdict",
        *(f"exercises.checks.{name}" for name in EXERCISES),
    },
    "exercises.checking": {"exercises.cards", "exercises.outcome", "exercises.verdict"},
    "exercises.folder": {"exercises.cards"},
    "exercises.reading": {"exercises.cards", "options", "web.www"},
    "exercises.show": {
        "exercises",
        "exercises.cards",
        "exercises.folder",
        "exercises.outcome",
        "exercises.reading",
        "exercises.verdict",
    },
    "exercises.command": {"exercises.cards", "exercises.checking", "exercises.folder", "exercises.show"},
    "lessons.__init__": set(),
    "lessons.lesson": set(),
    "lessons.peers": {"hub", "client", "websocket.connection", "web.app", "web.server", "options"},
    **{f"lessons.{name}": {*CORE, "lessons.lesson", "lessons.peers"} for name in LESSONS},
    "lessons.run": {"lessons.lesson", *(f"lessons.{name}" for name in LESSONS)},
    "lessons.show": {"lessons.lesson", "lessons.run"},
    "inspector.__init__": set(),
    "inspector.access": {"web.hosts", "web.local"},
    "inspector.actions": {"names", "room"},
    "inspector.journey": {"messages"},
    "inspector.kernel": set(),
    "inspector.evictions": {"inspector.kernel"},
    "inspector.notes": {"inspector.journey", "room"},
    "inspector.watched_channels": {
        "channel",
        "client",
        "hub",
        "messages",
        "outbox",
        "runtime.runqueue",
        "inspector.journey",
        "inspector.notes",
    },
    "inspector.watched_connection": {
        "channel",
        "options",
        "subprotocol",
        "websocket.connection",
        "inspector.evictions",
        "inspector.journey",
        "inspector.kernel",
        "inspector.notes",
        "inspector.watched_channels",
    },
    "inspector.watch": {
        "client",
        "hub",
        "inspector.evictions",
        "inspector.journey",
        "inspector.notes",
        "inspector.watched_channels",
        "inspector.watched_connection",
    },
    "inspector.watched_writer": {
        "channel",
        "log",
        "log.writer",
        "messages",
        "room",
        "stored_room",
        "inspector.journey",
        "inspector.notes",
        "inspector.watch",
        "inspector.watched_channels",
    },
    "inspector.watched_reader": {
        "log",
        "log.reader",
        "room",
        "inspector.journey",
        "inspector.watched_writer",
    },
    "inspector.states": {
        "channel",
        "log.reader",
        "log.writer",
        "shared_room",
        "stored_room",
        "outbox",
        "hub",
        "runtime.runqueue",
        "websocket.connection",
        "client",
        "inspector.watch",
        "inspector.watched_channels",
        "inspector.watched_connection",
        "inspector.watched_writer",
        "threadchat",
    },
    "inspector.survey": {"inspector.states", "inspector.watched_connection"},
    "inspector.own_file": {"channel"},
    "inspector.own_channels": {
        "channel",
        "hub",
        "messages",
        "protocols.v1",
        "room",
        "runtime.runqueue",
        "inspector.evictions",
        "inspector.journey",
        "inspector.watch",
        "inspector.watched_channels",
    },
    "inspector.own_faults": {
        "channel",
        "client",
        "messages",
        "waits",
        "inspector.kernel",
        "inspector.own_channels",
        "inspector.own_file",
    },
    "inspector.own_hub": {
        "channel",
        "runtime.threads",
        "waits",
        "inspector.own_channels",
        "inspector.own_faults",
        "inspector.own_file",
        "inspector.notes",
        "inspector.states",
        "inspector.watch",
        "inspector.watched_channels",
    },
    "inspector.room_log": {"messages", "room"},
    "inspector.camera": {
        "room",
        "inspector.journey",
        "inspector.kernel",
        "inspector.own_hub",
        "inspector.room_log",
        "inspector.states",
        "inspector.survey",
        "inspector.watch",
        "inspector.watched_channels",
        "inspector.watched_connection",
        "inspector.watched_reader",
        "inspector.watched_writer",
    },
    "inspector.sampler": {
        "channel",
        "room",
        "rooms",
        "inspector.camera",
        "inspector.notes",
        "inspector.watch",
        "inspector.watched_writer",
    },
    "inspector.perfetto": {"inspector.camera", "inspector.journey"},
    "inspector.bots": {"inspector.notes", "options", "room"},
    "inspector.lesson_processes": set(),
    "inspector.site": {
        "channel",
        "web.app",
        "web.deadlines",
        "web.guide",
        "web.local",
        "web.source",
        "web.www",
        "options",
        "room",
        "inspector.actions",
        "inspector.bots",
        "inspector.lesson_processes",
        "inspector.notes",
        "inspector.own_hub",
        "inspector.perfetto",
        "inspector.sampler",
        "inspector.watch",
        "inspector.watched_connection",
        "inspector.watched_reader",
        "inspector.watched_writer",
    },
    "__main__": {"cli", "runtime.hold", "runtime.signals", "runtime.system"},
    "__init__": {"channel", "declarations", "hub", "options", "web.app", "web.server", "web.visitors"},
}
OTHERS: dict[str, set[str]] = {
    "__init__": {"import_module(module), which nobody can check"},  # test_init.py checks it
    "websocket.wire": {"simple_websocket", "wsproto"},
    "cli": {"_typeshed"},
    "web.addresses": {"werkzeug"},
    "log.redis_address": {"redis"},
    "log.redis_line": {"redis", "hiredis"},
    "web.app": {"werkzeug", "_typeshed"},
    "web.deadlines": {"_typeshed"},
    "web.fitness": {"_typeshed"},
    "web.health": {"werkzeug"},
    "web.handler": {"werkzeug", "_typeshed"},
    "web.keys": {"werkzeug"},
    "web.local": {"werkzeug"},
    "web.metrics": {"werkzeug", "prometheus_client"},
    "web.together": {"prometheus_client"},
    "web.refusals": {"werkzeug"},
    "web.proxies": {"werkzeug", "_typeshed"},
    "web.server": {"werkzeug"},
    "web.say": {"werkzeug"},
    "web.spoken": {"werkzeug"},
    "web.transcript": {"werkzeug"},
    "web.upgrade": {"werkzeug"},
    "web.visitors": {"werkzeug", "_typeshed"},
    "web.www": {"werkzeug"},
    "lessons.peers": {"wsproto"},
    "inspector.bots": {"wsproto"},
    "inspector.actions": {"werkzeug"},
    "terminal.dial": {"wsproto"},
    "terminal.screen": {"prompt_toolkit"},
    "inspector.site": {"werkzeug"},
    "welcome": {"segno"},
}
HUB = "channel, outbox, runtime.runqueue"  # what the hub may import
LONGEST_RUN = 22  # lines; Go's has 20


def imported(source: str) -> set[str]:
    """The dotted names of all modules that the source imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, ["threadchat" if node.level else "", node.module]))
            submodules = {f"{base}.{alias.name}" for alias in node.names} & {f"threadchat.{room}" for room in OURS}
            names |= submodules or {base}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "__import__",
            "importlib.import_module",
            "import_module",
        ):
            names.add(f"{ast.unparse(node)}, which nobody can check")
    return names


def trespasses(module: str, source: str) -> list[str]:
    """The imports of the module that the rules do not allow, as sentences."""
    found = []
    for name in sorted(imported(source)):
        top, _, rest = name.partition(".")
        if top == "threadchat":
            room = rest or "threadchat"
            if room not in OURS[module]:
                allowed = ", ".join(sorted(OURS[module])) or "nothing of threadchat"
                found.append(f"{module} imports {room}, but may import only: {allowed}")
        elif top not in sys.stdlib_module_names and top not in OTHERS.get(module, set()):
            knowing = ", ".join(sorted(other for other in OTHERS if top in OTHERS[other])) or "no module"
            found.append(f"{module} imports {top}, which is for {knowing}")
    return found


def modules() -> dict[str, Path]:
    """The modules of the package, by their names in it."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


def test_the_rules_name_every_module() -> None:
    unnamed, gone = modules().keys() - OURS.keys(), OURS.keys() - modules().keys()
    assert not unnamed, f"say in OURS what these may import: {', '.join(sorted(unnamed))}"
    assert not gone, f"the rules name modules that are not there: {', '.join(sorted(gone))}"


@pytest.mark.parametrize("module", sorted(OURS))
def test_a_module_imports_only_what_it_may(module: str) -> None:
    found = trespasses(module, modules()[module].read_text())
    assert not found, "\n".join(found)


def step(module: str) -> int:
    """The number of the module's step in ORDER. A module's own name counts for more than its package's."""
    for name in (module, module.partition(".")[0]):
        for number, names in enumerate(ORDER):
            if name in names:
                return number
    raise AssertionError(f"ORDER has no step for {module}")


@pytest.mark.parametrize("module", sorted(OURS))
def test_imports_point_one_way(module: str) -> None:
    against = sorted(other for other in OURS[module] - {"threadchat"} if step(other) > step(module))
    assert not against, f"{module} imports {', '.join(against)}, which is a later step"


@pytest.mark.parametrize("module", sorted(OURS))
def test_neighbours_do_not_import_each_other(module: str) -> None:
    for pair in NEIGHBOURS:
        own = module.partition(".")[0]
        others = pair - {own} if own in pair else set()
        assert not {other for other in OURS[module] if other.partition(".")[0] in others}


def test_no_imports_form_a_circle() -> None:
    left = {module: OURS[module] - {"threadchat"} for module in OURS}
    while left:
        free = {module for module, needs in left.items() if not needs & left.keys()}
        assert free, f"the rules allow a circle among {', '.join(sorted(left))}"
        left = {module: needs for module, needs in left.items() if module not in free}


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("hub", "from threadchat.websocket.connection import Connection",
         f"hub imports websocket.connection, but may import only: {HUB}"),
        ("hub", "from threadchat import client", f"hub imports client, but may import only: {HUB}"),
        ("hub", "from . import client", f"hub imports client, but may import only: {HUB}"),
        ("hub", "from .client import Client", f"hub imports client, but may import only: {HUB}"),
        ("hub", "import threadchat.client", f"hub imports client, but may import only: {HUB}"),
        ("hub", "def f():\n    import threadchat.client",
         f"hub imports client, but may import only: {HUB}"),
        ("hub", "from threadchat import __version__",
         f"hub imports threadchat, but may import only: {HUB}"),
        ("channel", "from threadchat.options import Options",
         "channel imports options, but may import only: nothing of threadchat"),
        ("runtime.runqueue", "from threadchat.channel import Channel",
         "runtime.runqueue imports channel, but may import only: nothing of threadchat"),
        ("hub", "def f():\n    from threadchat.inspector.watch import Watch",
         f"hub imports inspector.watch, but may import only: {HUB}"),
        ("client", "import simple_websocket", "client imports simple_websocket, which is for websocket.wire"),
        ("client", "from wsproto.events import Ping",
         "client imports wsproto, which is for inspector.bots, lessons.peers, terminal.dial, websocket.wire"),
        ("cli", "import werkzeug.serving",
         "cli imports werkzeug, which is for inspector.actions, inspector.site, web.addresses, web.app, web.handler, "
         "web.health, web.keys, web.local, web.metrics, web.proxies, web.refusals, web.say, web.server, web.spoken, "
         "web.transcript, web.upgrade, web.visitors, web.www"),
        ("hub", "from threadchat.lessons import show",
         f"hub imports lessons.show, but may import only: {HUB}"),
        ("channel", "import numpy", "channel imports numpy, which is for no module"),
        ("channel", "import queue, threading\nfrom collections import deque", None),
        ("hub", "from threadchat.channel import Channel", None),
        ("channel", "from threadchat.runtime.runqueue import RunQueue",
         "channel imports runtime.runqueue, but may import only: nothing of threadchat"),
        ("cli", "from threadchat import __version__", None),
        ("cli", "def f():\n    from threadchat.lessons import run, show", None),
    ],
)  # fmt: skip
def test_the_check_finds_each_kind_of_trespass(module: str, source: str, found: str | None) -> None:
    assert trespasses(module, source) == ([found] if found else [])


def test_hub_run_is_short() -> None:
    lines = inspect.getsource(Hub.run).splitlines()
    assert len(lines) <= LONGEST_RUN, f"Hub.run has {len(lines)} lines; at most {LONGEST_RUN} are allowed"


def test_hub_run_has_one_select_and_the_hub_no_lock() -> None:
    source = modules()["hub"].read_text()
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert calls.count("select") == 2, "Hub.run waits in one place, and _wait_or_evict for one client"
    assert "threading" not in imported(source), "the hub is one thread and needs no lock"
