"""The command line: `threadchat serve`, `threadchat demo`, `threadchat lesson`."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, NoReturn

from threadchat import __version__
from threadchat.options import Options
from threadchat.runtime.system import fit_for_a_crowd, stay_on_one_processor
from threadchat.web.app import App, create_app
from threadchat.web.hosts import hosts_of
from threadchat.web.server import Server

DEFAULTS = Options()
DEMO_WRITE_WAIT = 60.0  # seconds: long enough to see a stuck client's buffer fill, which then ends it
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# The program that opens the browser, for `python -c`. This process must keep the stop signals blocked, so that one that
# arrives meanwhile stops the server in order, and the browser must not inherit that. The program forks, so that the
# server does not wait for webbrowser.open, which may take seconds.
OPEN_BROWSER = """\
import os, signal, sys, webbrowser
if os.fork() == 0:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    webbrowser.get().open(sys.argv[1])
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage: the mistake is easier to see."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (sys.argv's by default) in the main thread; returns the exit status."""
    parser = _Parser(prog="threadchat", description="A chat: two threads a client, and Go's channels between them.")
    parser.add_argument("--version", action="version", version=f"threadchat {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_serve(commands)
    _add_demo(commands)
    _add_lesson(commands)
    given = parser.parse_args(arguments)
    try:
        status: int = given.run(given)
        return status
    except (ValueError, OSError) as error:
        chosen: _Parser = given.parser
        chosen.error(str(error))


def _serve(given: argparse.Namespace) -> int:
    """`threadchat serve`, and `threadchat demo`. Raises ValueError for options that make no sense, and OSError."""
    logging.basicConfig(
        level=given.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    options = Options(
        send_buffer=given.send_buffer,
        message_size=given.message_size,
        pong_wait=given.pong_wait,
        ping_period=given.ping_period,
        write_wait=given.write_wait,
        request_wait=given.request_wait,
        message_rate=given.message_rate,
        max_clients=given.max_clients,
        max_clients_per_address=given.max_clients_per_address,
        max_unread_requests=given.max_unread_requests,
        compression=given.compression,
        allow_origins=tuple(given.allow_origin),
        allow_hosts=tuple(given.allow_host),
    )
    fit_for_a_crowd()
    if given.processors == "one":
        stay_on_one_processor()
    if given.inspect or given.inspect_from_anywhere:
        return _serve_inspected(options, given)
    return serve(options, given.host, given.port, given.trusted_proxies)


def serve(
    options: Options,
    host: str,
    port: int,
    trusted_proxies: int = 0,
    make_app: Callable[[Options], App] = create_app,
    started: Callable[[Server], None] | None = None,
) -> int:
    """Run a chat until SIGINT or SIGTERM; a second signal ends the process at once. Returns the exit status.

    It answers to the hosts that the options allow, and to those of the address where it listens. It believes what so
    many `trusted_proxies` say about a client. `started` is called once it listens. Raises OSError, with a sentence, if
    it cannot listen there.
    """
    options = replace(options, allow_hosts=(*hosts_of(host), *options.allow_hosts))
    with _blocked_signals(), closing(make_app(options)) as app:
        try:
            server = Server(app, host, port, trusted_proxies)
        except (OSError, UnicodeError) as error:  # UnicodeError: no name at all, such as ".example"
            reason = getattr(error, "strerror", None) or error
            raise OSError(f"cannot listen on {host} port {port}: {reason}") from error
        server.start()
        try:
            print(f"threadchat listens: open {server.url} (Ctrl-C stops it)", flush=True)
            if started is not None:
                started(server)
            signal.sigwait(STOP_SIGNALS)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            server.stop()
    return 0


def _serve_inspected(options: Options, given: argparse.Namespace) -> int:
    """`serve`, with the inspector, which is imported only here: nobody else pays for it."""
    from threadchat.inspector.site import InspectedApp

    def make_app(options: Options) -> App:
        return InspectedApp(options, demo=given.demo, anywhere=given.inspect_from_anywhere)

    def started(server: Server) -> None:
        assert isinstance(server.app, InspectedApp)
        address = f"{server.url}inspect"
        print(f"the inspector: {address}", flush=True)
        server.app.served_at((given.host, server.port))
        if given.demo and not given.no_browser:
            _open_browser(address)

    return serve(options, given.host, given.port, given.trusted_proxies, make_app, started)


def _open_browser(address: str) -> None:
    """Open the address in a browser, if there is one that does not need the terminal for itself."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if not isinstance(browser, webbrowser.Elinks) and type(browser) is not webbrowser.GenericBrowser:
        command = [sys.executable, "-c", OPEN_BROWSER, address]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _lesson(given: argparse.Namespace) -> int:
    """`threadchat lesson`: print one or, without a name, which there are.

    Raises ValueError for a name that is none, and OSError, with a sentence, if the lesson cannot be run here.
    """
    from threadchat.lessons import run, show  # a server needs none of it

    name = given.lesson
    if name is not None and name not in run.LESSONS:
        raise ValueError(f"there is no lesson {name!r}; there are {', '.join(run.LESSONS)}")
    try:
        if given.json:
            print(json.dumps(run.report(run.LESSONS[name]) if name else list(map(run.outline, run.LESSONS.values()))))
        elif name:
            show.teach(run.LESSONS[name], ask=sys.stdin.isatty() and not given.yes)
        else:
            show.catalogue()
    except (EOFError, KeyboardInterrupt):  # the reader leaves
        print()
        return 130
    return 0


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Let the signals that stop the server wait for sigwait, in all threads started meanwhile too.

    A handler in Python might come the moment before the main thread falls asleep, and not wake it.
    """
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _add_serve(commands: Any) -> None:
    command: argparse.ArgumentParser = commands.add_parser(
        "serve", help="serve the page and the chat", description="Serve the page and the chat."
    )
    _add_serve_options(command)
    command.set_defaults(run=_serve, parser=command, demo=False)
    command.add_argument(
        "--inspect",
        action="store_true",
        help="serve a live picture of the threads and channels at /inspect, to this machine alone",
    )


def _add_demo(commands: Any) -> None:
    command: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="watch a chat of bots in the browser, and do things to it",
        description="Serve the chat with the inspector, a few bots, and ways to disturb them; open it in the browser.",
    )
    _add_serve_options(command)
    command.set_defaults(run=_serve, parser=command, demo=True, inspect=True)
    command.set_defaults(port=0, write_wait=DEMO_WRITE_WAIT, message_rate=0, log_level="warning")
    command.add_argument("--no-browser", action="store_true", help="only print the address")


def _add_lesson(commands: Any) -> None:
    command: argparse.ArgumentParser = commands.add_parser(
        "lesson",
        help="break a part of the chat on purpose, and see what it is for",
        description="Break a part of the chat on purpose, run it beside the real one, and see what it is for.",
    )
    command.set_defaults(run=_lesson, parser=command)
    command.add_argument("lesson", nargs="?", metavar="NAME", help="which one; without it, the names are printed")
    command.add_argument(
        "--yes", action="store_true", help="go on without asking; so it does where there is no terminal"
    )
    command.add_argument("--json", action="store_true", help="print it as one JSON object")


def _add_serve_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s; 0.0.0.0 for all)")
    add("--port", type=_port, default=8080, help="port to listen on (default %(default)s; 0 picks a free one)")
    add(
        "--send-buffer",
        type=int,
        default=DEFAULTS.send_buffer,
        metavar="MESSAGES",
        help="messages that may wait for one client; when they are full and it does not read, it is evicted "
        "(default %(default)s messages)",
    )
    add(
        "--message-size",
        type=int,
        default=DEFAULTS.message_size,
        metavar="BYTES",
        help="the longest message a client may send (default %(default)s bytes of UTF-8)",
    )
    add(
        "--pong-wait",
        type=float,
        default=DEFAULTS.pong_wait,
        metavar="SECONDS",
        help="a client is gone when no pong came for so long (default %(default)g seconds)",
    )
    add(
        "--ping-period",
        type=float,
        metavar="SECONDS",
        help="time from ping to ping, below the pong wait (default: nine tenths of it, in seconds)",
    )
    add(
        "--write-wait",
        type=float,
        default=DEFAULTS.write_wait,
        metavar="SECONDS",
        help="a client is gone when writing one frame to it takes so long (default %(default)g seconds)",
    )
    add(
        "--request-wait",
        type=float,
        default=DEFAULTS.request_wait,
        metavar="SECONDS",
        help="time for a peer to send its request, and again to take the answer (default %(default)g seconds)",
    )
    add(
        "--message-rate",
        type=int,
        default=DEFAULTS.message_rate,
        metavar="MESSAGES",
        help="messages a second from one client, pings included; who sends more is slowed down, not dropped "
        "(default %(default)s messages a second; 0 is no limit)",
    )
    add(
        "--max-clients",
        type=int,
        default=DEFAULTS.max_clients,
        metavar="CLIENTS",
        help="clients at the same time; more are answered with 503 (default %(default)s clients)",
    )
    add(
        "--max-clients-per-address",
        type=int,
        default=DEFAULTS.max_clients_per_address,
        metavar="CLIENTS",
        help="the same for one address, or one IPv6 network of 64 bits, but not for this machine's own loopback "
        "addresses (default %(default)s clients)",
    )
    add(
        "--max-unread-requests",
        type=int,
        default=DEFAULTS.max_unread_requests,
        metavar="REQUESTS",
        help="connections whose request has not arrived yet; when there are more, the oldest of them is dropped "
        "(default %(default)s requests)",
    )
    add(
        "--compression",
        action="store_true",
        help="compress messages for clients that offer it; costs each of them a compressor of a few hundred KB and "
        "the CPU time to compress every message once for each client",
    )
    add(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of this origin, such as https://example.org, connect as well (may be given more than once; "
        "* allows all)",
    )
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST",
        help="answer to this host name, such as chat.example.org, as well (may be given more than once; .example.org "
        "for all below it, * for all). Always answered to are: on a loopback address localhost and such addresses; on "
        "any other all addresses, names without a dot or below .local, and this machine's name",
    )
    add(
        "--trusted-proxies",
        type=_count,
        default=0,
        metavar="NUMBER",
        help="reverse proxies before this server, one behind the other: the client's address, scheme and host are what "
        "they say in X-Forwarded-For, -Proto and -Host. Nobody else may reach the port then (default %(default)s)",
    )
    add(
        "--inspect-from-anywhere",
        action="store_true",
        help="the same for other machines too, and those that come through a reverse proxy; whoever can reach the port "
        "then sees every message and client, can run the lessons, and in the demo can do all that it offers",
    )
    add(
        "--processors",
        default="one",
        choices=["one", "all"],
        help="where the threads may run: on one processor, where they wake each other sooner, since only one at a time "
        "can run Python anyway; or on all (default %(default)s)",
    )
    add(
        "--log-level",
        default="info",
        choices=["debug", "info", "warning", "error"],
        help="the least important log lines to write to standard error (default %(default)s; debug adds HTTP requests)",
    )


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("a number of proxies is 0 or more")
    return int(text)
