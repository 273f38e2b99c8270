"""A chat as a process: it listens, says where, waits for the signal to stop, and says what the stop has done."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial

from threadchat.channel import Channel, Closed
from threadchat.log import StoreUnfit
from threadchat.options import Options
from threadchat.runtime.share import Share
from threadchat.runtime.sibling import Sibling
from threadchat.runtime.signals import StopSignals, status_before_start, stop_signals
from threadchat.runtime.supervisor import tell
from threadchat.runtime.threads import NoThread
from threadchat.web import metrics
from threadchat.web.app import App, create_app
from threadchat.web.drain import GOODBYE, staying
from threadchat.web.hosts import hosts_of, resolved
from threadchat.web.server import Server, listen
from threadchat.web.together import Together
from threadchat.welcome import welcome

log = logging.getLogger("threadchat")

# The program that opens the browser, for `python -c`. It starts another one and ends, so that the server does not wait
# for webbrowser.open, which may take seconds.
OPEN_BROWSER = """\
import subprocess, sys
open_it = "import sys, webbrowser; webbrowser.get().open(sys.argv[1])"
subprocess.Popen([sys.executable, "-c", open_it, sys.argv[1]])
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
    qr: bool = False,
    drain: float = 0.0,
    listener: socket.socket | None = None,
    sibling: Sibling | None = None,
) -> int:
    """Run a chat in the main thread until a stop signal: SIGINT, SIGTERM or SIGHUP. Returns the exit status, 0.

    After SIGTERM the server first drains for so many seconds; the next signal ends that. A second signal during the
    stop ends the process at once, unless it comes within half a second (see runtime/signals.py). One that comes before
    the server listens ends it without a word.

    The server answers to the hosts that the options allow and to those of the address where it listens.
    `trusted_proxies` and `listener` are Server's. `started` is called once it listens. `qr` is whether a phone may scan
    a code. As one of several processes, it reports to the one that has started it what it would otherwise print. Raises
    CannotServe.
    """
    options = replace(options, allow_hosts=(*hosts_of(host), *options.allow_hosts))
    role = _Alone() if sibling is None else _OneOfSeveral(sibling)
    others = set(threading.enumerate())
    with stop_signals() as signals:
        try:
            with closing(make_app(options)) as app:
                role.made(app)
                if number := signals.came():
                    return status_before_start(number)
                with _told_why_not(host, port):
                    server = Server(app, host, port, trusted_proxies, listener, role.share)
                try:
                    server.start()
                    if started is not None:
                        started(server)
                    keys = app.options.key, app.options.moderator_key
                    role.serves(server, "\n".join(welcome(server, trusted_proxies, qr, *keys)))
                    number = signals.wait()
                    role.stops(server, number)
                    if number == signal.SIGTERM and drain:
                        role.has_drained(*_drain(server, drain, signals))
                finally:
                    role.leave()
                    stopped = signals.stop(partial(_stop, server, others))
        except NoThread as error:
            raise CannotServe(f"cannot start a thread: {error} (see `ulimit -u` and `ulimit -v`)") from error
        except StoreUnfit as error:
            raise CannotServe(str(error)) from error
        role.has_stopped(*stopped)
    return 0


class _Alone:
    """A chat of one process, which prints what happens."""

    share: Share | None = None  # of the connections

    def made(self, app: App) -> None:
        """Called before the server listens."""

    def serves(self, server: Server, lines: str) -> None:
        """Called with the welcome, once the server listens. Raises BrokenPipeError and CannotServe."""
        say(lines)
        tell("READY=1")

    def stops(self, server: Server, number: int) -> None:
        """Called when this signal has come."""
        tell("STOPPING=1")
        if number == signal.SIGINT and sys.stdout.isatty():
            say_last("")  # after the ^C that the terminal shows

    def leave(self) -> None:
        """Called before the server stops, whether or not it has started."""

    def has_drained(self, clients: int, sentence: str) -> None:
        """Called with the number of clients that were told, and a sentence about it."""
        say_last(sentence)

    def has_stopped(self, clients: int, sentence: str) -> None:
        """The same, at the end."""
        say_last(sentence)


class _OneOfSeveral(_Alone):
    """One of the processes of a chat, which reports what happens (see processes.py)."""

    def __init__(self, sibling: Sibling) -> None:
        self.share = sibling.share
        self._sibling = sibling
        self._together: Together | None = None

    def made(self, app: App) -> None:
        app.admission.elsewhere = self._sibling.share.elsewhere

    def serves(self, server: Server, lines: str) -> None:
        if metrics.is_possible():
            own = metrics.Collector(server.app.rooms)
            server.app.together = self._together = Together(self._sibling.place, own)
        self._sibling.report(ready=lines)

    def stops(self, server: Server, number: int) -> None:
        self.leave()
        server.leave_to_others()  # before the next process has this one's place
        self._sibling.report(leaves=True)

    def leave(self) -> None:
        if self._together is not None:
            self._together.stop()

    def has_drained(self, clients: int, sentence: str) -> None:
        log.info(sentence)
        self._sibling.report(drained=clients)

    def has_stopped(self, clients: int, sentence: str) -> None:
        log.info(sentence)
        self._sibling.report(stopped=clients)


def listening(host: str, port: int) -> socket.socket:
    """A socket for a server that is yet to be made. Raises CannotServe."""
    with _told_why_not(host, port):
        return listen(resolved(host, port))


@contextmanager
def _told_why_not(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError) as error:  # UnicodeError: not a host name at all, such as ".example"
        raise CannotServe(_why_not(host, port, error)) from error


def _drain(server: Server, seconds: float, signals: StopSignals) -> tuple[int, str]:
    """Drain the server, until a signal ends that. Returns how many clients were told, and a sentence about it."""
    log.info("draining for %g seconds: no new clients", seconds)
    began, cut = time.monotonic(), Channel[None]()

    def end() -> None:
        with suppress(Closed):  # a third signal
            cut.close()

    told = signals.drain(lambda: server.drain(seconds, cut), end)
    took = time.monotonic() - began
    return told, f"drained: {counted(told, 'client')} told in {took:.1f} seconds (close code {GOODBYE[0]})"


def _stop(server: Server, others: set[threading.Thread]) -> tuple[int, str]:
    """Stop the server. Returns how many clients were told, and a sentence about them and about the threads.

    `others` are threads of somebody else.
    """
    others = {*others, threading.current_thread()}
    ours = _roles(others)
    server.stop_accepting()
    ours |= _roles(others)  # those of the last connections too
    clients = len(staying(server.app.rooms))  # whoever was told in a drain may be there still
    server.stop()
    left = _roles(others)
    ended = [role for thread, role in ours.items() if thread not in left]
    told = f"stopped: {counted(clients, 'client')} told (close code 1001), {counted(len(ended), 'thread')} ended"
    return clients, f"{told} ({_listed(ended)})" + (f"; still running: {_listed(left.values())}" if left else "")


def _roles(others: set[threading.Thread]) -> dict[threading.Thread, str]:
    """The roles of the threads that are alive, except `others`: their names without the numbers of the clients."""
    return {thread: thread.name.partition("-")[0] for thread in set(threading.enumerate()) - others}


def _listed(roles: Iterable[str]) -> str:
    """The roles with their numbers: accept, hub, 3 readPump, 3 writePump."""
    return ", ".join(role if count == 1 else f"{count} {role}" for role, count in sorted(Counter(roles).items()))


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
    """Print a line, or several at once.

    Raises BrokenPipeError if its reader has gone, and CannotServe if it cannot be written.
    """
    try:
        print(f"{line}\n", end="", flush=True)  # one write, also with PYTHONUNBUFFERED
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


def say_last(line: str) -> None:
    """Print a line, if anybody reads it."""
    try:
        print(line, flush=True)
    except OSError:  # nobody reads it, or the terminal was closed; the stop has worked nevertheless
        discard_output()


def counted(number: int, noun: str, plural: str = "") -> str:
    """1 client, 2 clients."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


def _why_not(host: str, port: int, error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {port} is taken: choose another with --port, or let --port 0 find a free one"
    if isinstance(error, PermissionError):
        return f"port {port} needs more rights than this user has: choose one from 1024 on with --port"
    if isinstance(error, OSError) and error.errno == errno.EINVAL and _is_link_local(host):
        return f"cannot listen on {host}: say on which link, such as {host}%eth0"
    reason: object = error
    if isinstance(error, socket.gaierror):
        reason = error.strerror
    elif isinstance(error, OSError) and error.errno:
        reason = os.strerror(error.errno)  # without what socket.create_server adds
    return f"cannot listen on {host} port {port}: {reason}"


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False
