"""A chat as a process: it listens, says where, waits for the signal to stop, and says what the stop has done."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from threadchat.options import Options
from threadchat.web.app import App, create_app
from threadchat.web.hosts import hosts_of
from threadchat.web.server import Server

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# The program that opens the browser, for `python -c`. This process must keep the stop signals blocked, so that a signal
# that arrives meanwhile stops the server in order, and the browser must not inherit that. The program forks, so that
# the server does not wait for webbrowser.open, which may take seconds.
OPEN_BROWSER = """\
import os, signal, sys, webbrowser
if os.fork() == 0:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    webbrowser.get().open(sys.argv[1])
"""


class CannotServe(OSError):
    """The server cannot listen where it was told to, or cannot say where. str() says why, and what to do about it."""


def serve(
    options: Options,
    host: str,
    port: int,
    trusted_proxies: int = 0,
    make_app: Callable[[Options], App] = create_app,
    started: Callable[[Server], None] | None = None,
) -> int:
    """Run a chat in the main thread until SIGINT or SIGTERM; returns 0. A second signal ends the process at once.

    It answers to the hosts that the options allow and to those of the address where it listens. `trusted_proxies` is
    Server's. `started` is called once it listens. Raises CannotServe.
    """
    options = replace(options, allow_hosts=(*hosts_of(host), *options.allow_hosts))
    others = set(threading.enumerate())
    with _blocked_signals(), closing(make_app(options)) as app:
        try:
            server = Server(app, host, port, trusted_proxies)
        except (OSError, UnicodeError) as error:  # UnicodeError: not a host name at all, such as ".example"
            raise CannotServe(_why_not(host, port, error)) from error
        server.start()
        try:
            if started is not None:
                started(server)
            say(f"threadchat listens: open {server.url} (Ctrl-C stops it)")
            number = signal.sigwait(STOP_SIGNALS)
            if number == signal.SIGINT and sys.stdout.isatty():
                print()  # after the ^C that the terminal shows
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            clients, threads = len(app.hub.clients), set(threading.enumerate()) - others
            server.stop()
        ended = sum(not thread.is_alive() for thread in threads)
        _say_last(f"stopped: {_counted(clients, 'client')} told (close code 1001), {_counted(ended, 'thread')} ended")
    return 0


def open_browser(address: str) -> None:
    """Open the address in a browser, if there is one that does not need the terminal for itself."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if not isinstance(browser, webbrowser.Elinks) and type(browser) is not webbrowser.GenericBrowser:
        command = [sys.executable, "-c", OPEN_BROWSER, address]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def say(line: str) -> None:
    """Print a line. Raises BrokenPipeError if its reader has gone, and CannotServe if it cannot be written."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise CannotServe(f"cannot print the address: {error.strerror}") from error


def discard_output() -> None:
    """Let what is still printed, or waits in the buffer of standard output, go nowhere: it cannot be written.

    Otherwise the interpreter would try again at its end, complain, and change the exit status.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _say_last(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:  # nobody reads it; the stop has worked nevertheless
        discard_output()


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _why_not(host: str, port: int, error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {port} is taken: choose another with --port, or let --port 0 find a free one"
    if isinstance(error, PermissionError):
        return f"port {port} needs more rights than this user has: choose one from 1024 on with --port"
    reason: object = error
    if isinstance(error, socket.gaierror):
        reason = error.strerror
    elif isinstance(error, OSError) and error.errno:
        reason = os.strerror(error.errno)  # without what socket.create_server adds
    return f"cannot listen on {host} port {port}: {reason}"


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Keep the stop signals pending for sigwait, also in all threads that are started meanwhile.

    A handler in Python might run just before the main thread falls asleep, and would not wake it.
    """
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
