"""The command line: `threadchat serve`, `join`, `demo`, `lesson` and `exercise`.

The options of `serve` and `demo` are made from their declarations in `options`. A mistake of the user costs one or two
lines on standard error and exit status 2. Any other exception is a defect of the program and ends in a traceback.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from threadchat import __version__
from threadchat.declarations import Option, OptionError, declared
from threadchat.options import ALL_OPTIONS, Options, ServerOptions
from threadchat.runtime.sibling import Sibling
from threadchat.runtime.signals import INTERRUPTED, interrupting
from threadchat.runtime.supervisor import CannotTake, socket_handed_over
from threadchat.runtime.system import TooSmall, fit_for_a_crowd, own_command, stay_on_one_processor
from threadchat.serving import CannotServe, discard_output, listening, open_browser, say, serve
from threadchat.web import metrics, source
from threadchat.web.app import App
from threadchat.web.server import Server

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from threadchat.inspector.notes import Watch
    from threadchat.inspector.watch import WatchedHub

DEMO_DEFAULTS: dict[str, Any] = {
    "port": 0,
    "write_wait": 60.0,  # long enough to see a stuck client's buffer fill, which then ends the client
    "message_rate": 0,
    "log_level": "warning",
}
UNREAD = 128 + 13  # the exit status of a program that SIGPIPE has ended: nobody reads its output any more


class Parser(argparse.ArgumentParser):
    """Reports a mistake in a line or two, with a hint, instead of printing the usage."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit; after --help and --version raise BrokenPipeError instead if nobody reads the output."""
        if not status:
            print(end="", flush=True)
        super().exit(status, message)

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help. argparse's own takes no notice of a long one that nobody reads."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        """Print the message and where to look; exit with status 2."""
        message = message.removeprefix("argument ").replace(": expected one argument", " needs a value")  # argparse's
        self.fail(f"{message}\ntry {self.prog} --help")

    def fail(self, message: str) -> NoReturn:
        """Print a message that says itself what to do; exit with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")

    def fail_with_hint(self, message: str, given: str, known: Iterable[str]) -> NoReturn:
        """Print the message with the known word that is closest to the given one; exit with status 2."""
        close = get_close_matches(given.lower().replace("_", "-"), list(known), n=1)
        if close:
            self.fail(f"{message}; did you mean {close[0]}?")
        self.error(message)

    def parse_all(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments; exit with status 2 if one of them is unknown."""
        given, unknown = self.parse_known_args(arguments)
        for argument in unknown:
            flag, _, _ = argument.partition("=")
            if flag.startswith("-"):
                known = [name for action in self._actions for name in action.option_strings]
                self.fail_with_hint(f"there is no option {flag}", flag, known)
        if unknown:
            self.error(f"unexpected argument {unknown[0]!r}")
        return given


@dataclass(frozen=True)
class Command:
    """A command: a line and a sentence about it, what adds its options to a parser, and what runs it.

    `run` is given the parsed arguments and the parser, for mistakes that show only then; it returns the exit status.
    """

    summary: str
    description: str
    add_arguments: Callable[[Parser], None]
    run: Callable[[argparse.Namespace, Parser], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (by default sys.argv's) in the main thread; returns the exit status.

    Raises SystemExit, with status 2 after a mistake, and with 0 after --help and --version.
    """
    first, *others = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        status = _run(first, others)
        print(end="", flush=True)  # the interpreter would do so at its end, and complain if nobody reads
        return status
    except BrokenPipeError:  # `threadchat lesson convoy | head`
        discard_output()
        return UNREAD


def _run(name: str, arguments: Sequence[str]) -> int:
    command = COMMANDS.get(name)
    if command is None:
        _without_command(name)
    parser = Parser(prog=f"threadchat {name}", usage=f"threadchat {name} [OPTION ...]", description=command.description)
    command.add_arguments(parser)
    given = parser.parse_all(arguments)
    given.arguments = [name, *arguments]
    return command.run(given, parser)


def _without_command(first: str) -> NoReturn:
    """Print the help or the version if the first argument asks for it; otherwise say what is wrong with it."""
    parser = Parser(
        prog="threadchat",
        usage="threadchat COMMAND [OPTION ...]",
        description="A chat: two threads for each client, and Go's channels between them.\n\ncommands:\n"
        + "\n".join(f"  {name:10}{command.summary}" for name, command in COMMANDS.items()),
        epilog="threadchat COMMAND --help explains a command and its options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"threadchat {__version__}", help="print the version")
    if not first.startswith("-"):
        parser.fail_with_hint(f"there is no command {first!r}", first, COMMANDS)
    parser.parse_known_args([first])  # --help and --version exit here
    if first.partition("=")[0] in {option.flag for option in ALL_OPTIONS}:
        parser.fail(f"{first} comes after a command: threadchat serve {first}")
    parser.error(f"there is no command {first}")


def _serve(given: argparse.Namespace, parser: Parser) -> int:
    """`threadchat serve` and `threadchat demo`."""
    try:
        options = Options(**_values(Options, given))
        server_options = ServerOptions(**_values(ServerOptions, given))
    except OptionError as error:
        parser.error(error.told({option.name: option.flag for option in ALL_OPTIONS}))
    if options.metrics_from_anywhere and not metrics.is_possible():
        parser.fail(metrics.MISSING.removesuffix("."))
    inspected = server_options.inspect or server_options.inspect_from_anywhere or server_options.hub is not None
    if server_options.hub is not None and options.store != "memory:":
        parser.error("--hub is for a room that is kept in memory: leave --store out")
    if server_options.processes > 1:
        _check_several(options, inspected, parser)
    sibling = Sibling.of_this_process()
    name = "" if sibling is None else f" process {sibling.place.number}:"
    form = f"%(asctime)s %(levelname)s{name} %(message)s"
    logging.basicConfig(level=server_options.log_level.upper(), format=form, stream=sys.stderr)
    try:
        fit_for_a_crowd()
        listener = socket_handed_over() if sibling is None else sibling.listener
    except (TooSmall, CannotTake) as error:
        parser.fail(str(error))
    host, port = _where_it_listens(server_options, sibling, listener)
    server_options = replace(server_options, host=host, port=port)
    try:
        if sibling is None and server_options.processes > 1:
            return _serve_with_several(server_options, listener, given.arguments)
        if server_options.processors == "one":
            stay_on_one_processor(None if sibling is None else sibling.place.number - 1)
        where = server_options.host, server_options.port, server_options.trusted_proxies
        how: dict[str, Any] = {"qr": not server_options.no_qr, "drain": server_options.drain, "listener": listener}
        if inspected:
            _need_source(parser)
            return serve(options, *where, *_inspector(server_options, given.demo, given.no_browser, parser), **how)
        return serve(options, *where, sibling=sibling, **how)
    except CannotServe as error:
        if sibling is None:
            parser.fail(str(error))
        sibling.report(failed=str(error))  # once for all of them
        return 2


def _where_it_listens(
    options: ServerOptions, sibling: Sibling | None, listener: socket.socket | None
) -> tuple[str, int]:
    """The host and the port: those of the options, unless a socket was handed over."""
    if sibling is not None:
        return sibling.place.host, sibling.place.port
    if listener is not None:
        host, port = listener.getsockname()[:2]
        return host, port
    return options.host, options.port


def _check_several(options: Options, inspected: bool, parser: Parser) -> None:
    """Exit with status 2 if these options cannot be had with several processes."""
    if inspected:
        parser.error("the inspector, --hub and the demo show a chat of one process: leave --processes out")
    if not options.is_shared:
        parser.error("--processes needs a store that several processes can share: --store redis://HOST")
    if not hasattr(os, "fork"):
        parser.fail("several processes cannot share a socket here, as they can on Linux and macOS")


def _serve_with_several(options: ServerOptions, listener: socket.socket | None, arguments: Sequence[str]) -> int:
    """Serve with several processes. Raises CannotServe."""
    from threadchat import processes  # not at the top: one process does without it

    kept = listener is not None
    with listener or listening(options.host, options.port) as listener:
        listener.setblocking(False)  # another process may take the connection that one has just seen
        return processes.run(own_command(arguments), options.processes, options.host, listener, kept)


def _inspector(
    options: ServerOptions, demo: bool, no_browser: bool, parser: Parser
) -> tuple[Callable[[Options], App], Callable[[Server], None]]:
    """The arguments `make_app` and `started` of `serve` for a chat with the inspector.

    The inspector is imported here, so that a chat without it does not pay for it.
    """
    from threadchat.inspector.access import own_host
    from threadchat.inspector.site import InspectedApp
    from threadchat.inspector.watch import WatchedHub

    host = own_host(options.host)
    if host is None and not options.inspect_from_anywhere:
        parser.fail(
            f"with --host {options.host} nobody can open the inspector, which answers at localhost alone: "
            "use --host 0.0.0.0, or --inspect-from-anywhere"
        )

    make_hub = WatchedHub if options.hub is None else _learners_hub(Path(options.hub))

    def make_app(chat: Options) -> App:
        return InspectedApp(chat, demo=demo, anywhere=options.inspect_from_anywhere, make_hub=make_hub)

    def started(server: Server) -> None:
        assert isinstance(server.app, InspectedApp)
        address = f"{server.url if options.inspect_from_anywhere else f'http://{host}:{server.port}/'}inspect"
        say(f"the inspector: {address}")
        server.app.served_at(server.local_address)
        if demo and not no_browser:
            open_browser(address)

    return make_app, started


def _learners_hub(file: Path) -> Callable[[Watch], WatchedHub]:
    """What makes the lobby's hub from this file. It raises CannotServe."""
    from threadchat.exercises.cards import read_cards
    from threadchat.inspector.own_file import NotAHub
    from threadchat.inspector.own_hub import LearnersHub

    about = {wrong.name: wrong.text for card in read_cards() for wrong in card.wrong if wrong.text}

    def make_hub(watch: Watch) -> WatchedHub:
        try:
            return LearnersHub(watch, file, about)
        except NotAHub as error:
            raise CannotServe(str(error)) from error

    return make_hub


def _join(given: argparse.Namespace, parser: Parser) -> int:
    """`threadchat join`."""
    from threadchat.terminal.join import CannotJoin, join  # not at the top: a server does without it

    try:
        with interrupting():
            return join(given.url, given.room, given.name, given.key)
    except CannotJoin as error:
        parser.exit(error.status, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        return INTERRUPTED


def _lesson(given: argparse.Namespace, parser: Parser) -> int:
    """`threadchat lesson`: teach one, or without a name list them all."""
    try:
        with interrupting():
            return _teach(given, parser)
    except (EOFError, KeyboardInterrupt):  # the reader leaves
        print()
        return INTERRUPTED


def _teach(given: argparse.Namespace, parser: Parser) -> int:
    try:
        from threadchat.lessons import run, show  # not at the top: a server does without them
        from threadchat.lessons.lesson import LessonFailed
    except ModuleNotFoundError as error:
        if error.name != "resource":
            raise
        parser.fail("the lessons do not run here: they limit their memory and time as Linux and macOS can, not Windows")
    name = given.lesson
    if name is not None and name not in run.LESSONS:
        close = get_close_matches(name, run.LESSONS, n=1)
        hint = f"did you mean {close[0]}?" if close else "threadchat lesson lists those there are"
        parser.fail(f"there is no lesson {name!r}; {hint}")
    _need_source(parser)
    try:
        if given.json:
            print(json.dumps(run.report(run.LESSONS[name]) if name else list(map(run.outline, run.LESSONS.values()))))
        elif name:
            show.teach(run.LESSONS[name], ask=not given.yes and _can_ask())
        else:
            show.catalogue()
    except LessonFailed as error:
        parser.fail(str(error))
    return 0


def _need_source(parser: Parser) -> None:
    """Fail if this installation has no .py files."""
    try:
        source.text("channel.py")
    except LookupError:
        what = (
            "the inspector and the lessons show this program's own source, and this installation has only its bytecode"
        )
        parser.fail(what)


def _exercise(given: argparse.Namespace, parser: Parser) -> int:
    """`threadchat exercise`: explain the next exercise, or do what the action says."""
    from threadchat.exercises import command  # not at the top: a server does without it

    with interrupting():
        return command.run(given.words, given.folder, parser.fail_with_hint)


def _can_ask() -> bool:
    """Whether somebody sees a question and can answer it."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _add_serve_arguments(parser: Parser) -> None:
    _add_options(parser, ALL_OPTIONS, {})
    parser.set_defaults(demo=False, no_browser=True)


def _add_join_arguments(parser: Parser) -> None:
    parser.usage = "threadchat join [URL] [OPTION ...]"
    url = "http://127.0.0.1:8080/"
    parser.add_argument("url", nargs="?", metavar="URL", default=url, help=f"the chat's address (default {url})")
    parser.add_argument("--room", metavar="NAME", help="the room, if it is not in the address (default the lobby)")
    parser.add_argument("--name", metavar="NAME", help="what to be called (default Guest)")
    parser.add_argument("--key", metavar="KEY", help="the chat's join key, if it has one")


def _add_demo_arguments(parser: Parser) -> None:
    _add_options(parser, [option for option in ALL_OPTIONS if option.name != "inspect"], DEMO_DEFAULTS)
    parser.set_defaults(demo=True, inspect=True)
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def _add_lesson_arguments(parser: Parser) -> None:
    parser.usage = "threadchat lesson [NAME] [OPTION ...]"
    parser.add_argument("lesson", nargs="?", metavar="NAME", help="the lesson; without a name they are listed")
    parser.add_argument("--yes", action="store_true", help="ask nothing; without a terminal nothing is asked anyway")
    parser.add_argument("--json", action="store_true", help="print the lesson, or the list, as JSON")


def _add_exercise_arguments(parser: Parser) -> None:
    from threadchat.exercises import command

    parser.usage = "threadchat exercise [ACTION] [EXERCISE] [--folder NAME]"
    parser.add_argument("words", nargs="*", metavar="ACTION", help=f"{command.HELP}. EXERCISE is {command.EXERCISE}")
    parser.add_argument("--folder", metavar="NAME", help="where your files are (default: exercises)")


def _add_options(parser: Parser, options: Sequence[Option], defaults: dict[str, Any]) -> None:
    """Add options in their groups. `defaults` has those that differ from the declared ones."""
    for group, members in groupby(options, key=lambda option: option.group):
        section = parser.add_argument_group(group.value)
        for option in members:
            default = defaults.get(option.name, option.default)
            help = option.help.replace("`", "")
            if isinstance(option.default, bool):
                section.add_argument(option.flag, dest=option.name, action="store_true", help=help)
                continue
            if option.repeatable:
                how: dict[str, Any] = {"action": "append", "default": list(default)}
                help += "; may be given more than once"
            else:
                how = {"type": option.parse, "default": default}
                if option.make is not None:
                    how.update(nargs="?", const=option.make())
                help += f" (default {option.default_text(default)})"
            section.add_argument(option.flag, dest=option.name, metavar=option.metavar, help=help, **how)


def _values(options: type, given: argparse.Namespace) -> dict[str, Any]:
    """What the arguments say about the options of a dataclass."""
    return {option.name: getattr(given, option.name) for option in declared(options)}


COMMANDS = {
    "serve": Command(
        "serve the page and the chat",
        "Serve the page and the chat, until Ctrl-C.",
        _add_serve_arguments,
        _serve,
    ),
    "join": Command(
        "chat in the terminal, or through a pipe",
        "Chat in the terminal. Where standard input or output is no terminal, each line in is a message, and each "
        "message is a line out.",
        _add_join_arguments,
        _join,
    ),
    "demo": Command(
        "watch a chat of bots in the browser, and do things to it",
        "Serve the chat with the inspector, a few bots, and ways to disturb them; open the inspector in the browser.",
        _add_demo_arguments,
        _serve,
    ),
    "lesson": Command(
        "break a part of the chat on purpose, and see what it is for",
        "Break a part of the chat on purpose, run it beside the real one, and see what it is for.",
        _add_lesson_arguments,
        _lesson,
    ),
    "exercise": Command(
        "write the parts of a chat yourself, and have them checked",
        "Learn by doing: without an action, make the files and explain the exercise that you are at.",
        _add_exercise_arguments,
        _exercise,
    ),
}
