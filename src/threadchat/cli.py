"""The command line: `threadchat serve` and `threadchat demo`."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import NoReturn

from threadchat import __version__
from threadchat.app import App, create_app
from threadchat.options import Options
from threadchat.runqueue import stay_on_one_processor
from threadchat.server import Server

DEFAULTS = Options()
DEMO_WRITE_WAIT = 60.0  # seconds: long enough to see a stuck client's buffer fill, which then ends it
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STACK = 512 * 1024  # bytes a thread; where stacks lie 8 MB apart, as is usual, a change of thread costs a quarter more


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage: the mistake is easier to see."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (sys.argv's by default) in the main thread; returns the exit status."""
    parser = _Parser(prog="threadchat", description="A chat: two threads a client, and Go's channels between them.")
    parser.add_argument("--version", action="version", version=f"threadchat {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    command = commands.add_parser(
        "serve", help="serve the page and the chat", description="Serve the page and the chat."
    )
    _add_serve_options(command)
    command.set_defaults(demo=False, parser=command)
    command.add_argument(
        "--inspect",
        action="store_true",
        help="serve a live picture of the threads and channels at /inspect, to this machine alone",
    )
    demo = commands.add_parser(
        "demo",
        help="watch a chat of bots in the browser, and do things to it",
        description="Serve the chat with the inspector, a few bots, and ways to disturb them; open it in the browser.",
    )
    _add_serve_options(demo)
    demo.set_defaults(demo=True, parser=demo, inspect=True, port=0, write_wait=DEMO_WRITE_WAIT, log_level="warning")
    demo.add_argument("--no-browser", action="store_true", help="only print the address")
    for inspecting in (command, demo):
        inspecting.add_argument(
            "--inspect-from-anywhere",
            action="store_true",
            help="let other machines use the inspector too; whoever can reach the port then sees every message and "
            "client, and in the demo can do all that it offers",
        )
    given = parser.parse_args(arguments)
    chosen: _Parser = given.parser
    logging.basicConfig(
        level=given.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        options = Options(
            send_buffer=given.send_buffer,
            message_size=given.message_size,
            pong_wait=given.pong_wait,
            ping_period=given.ping_period,
            write_wait=given.write_wait,
            compression=given.compression,
            allow_origins=tuple(given.allow_origin),
        )
        threading.stack_size(STACK)
        gc.set_threshold(50_000, 20, 100)  # a client's objects last: looking through them for garbage is vain
        if given.processors == "one":
            stay_on_one_processor()
        if given.inspect:
            return _serve_inspected(options, given)
        return serve(options, given.host, given.port)
    except (ValueError, OSError) as error:
        chosen.error(str(error))


def serve(
    options: Options,
    host: str,
    port: int,
    make_app: Callable[[Options], App] = create_app,
    started: Callable[[Server], None] | None = None,
) -> int:
    """Run a chat until SIGINT or SIGTERM; a second signal ends the process at once. Returns the exit status.

    `started` is called once it listens. Raises OSError, with a sentence, if it cannot listen there.
    """
    with _blocked_signals(), closing(make_app(options)) as app:
        try:
            server = Server(app, host, port)
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

    return serve(options, given.host, given.port, make_app, started)


def _open_browser(address: str) -> None:
    """Open it, if there is a browser that does not take the terminal for itself."""
    with suppress(webbrowser.Error):
        browser = webbrowser.get()
        if type(browser) is not webbrowser.GenericBrowser:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # or the browser would inherit that they wait
            try:
                browser.open(address)
            finally:
                signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


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
