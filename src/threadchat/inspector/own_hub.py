"""A learner's hub in the lobby (--hub FILE.py): the real server, browsers and bots around a hub of one's own.

To the rest of the server this is a WatchedHub. Its thread, named `reload`, runs no hub: it starts the learner's in a
thread of its own, looks at it, and makes a new one when the file changes. The connections then end, with close code
1012: browsers come back by themselves, for what they have missed too, since the room and its log stay; the demo's bots
join anew. If the file has no hub that can serve, that is told, and the last good hub goes on.

The old hub is told to stop. If it does not, or has no `stop` yet, its channels are closed, which ends a thread that
uses them. A thread that goes on even then is abandoned, and named.

The races, each forced by a test of the same number in tests/test_own_hub.py:
1. A client unregisters that the hub before this one knew.
2. A thread waits to send to a hub when another takes its place.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from threadchat.channel import Channel, Closed, Send
from threadchat.inspector.notes import Watch
from threadchat.inspector.own_channels import (
    OwnBroadcast,
    OwnOutbox,
    OwnRegister,
    OwnUnregister,
    Traffic,
    channels_of,
)
from threadchat.inspector.own_faults import Fault, Judge, left_open, not_stopped
from threadchat.inspector.own_file import GONE, INBOXES, Loaded, NotAHub, load, stamp
from threadchat.inspector.states import State, find_row, stack_of
from threadchat.inspector.watch import Gate, WatchedHub
from threadchat.inspector.watched_channels import WatchedChannel
from threadchat.runtime.threads import go
from threadchat.waits import cases_of, wait_of

log = logging.getLogger("threadchat")

LOOK_EVERY = 0.1  # seconds between two looks at the file and the hub
STOP_WAIT = 1.0  # seconds that a hub may take to stop
LAST_WAIT = 0.5  # and then, once its channels are closed
SERVERS = ("readPump-", "writePump-", "request")  # names of threads that execute nothing of the learner's
SERVICE_RESTART = 1012  # IANA's registry of close codes
NEW_HUB = "a new hub takes over"


class Version:
    """The hub of one version of the file, from the moment when it is made until its thread has ended."""

    def __init__(self, hub: WatchedHub, file: Path, number: int) -> None:
        """Raises NotAHub."""
        self.number = number
        # What the inspector calls the file. Each version has a name of its own, since the page keeps sources by names.
        self.shown = file.name if number == 1 else f"{file.name}, save {number}"
        self.traffic = Traffic(hub, "")
        self.loaded: Loaded = load(file, number, self._replace)
        self.traffic.file = self.loaded.name
        self.inboxes: dict[str, Channel[Any]] = {name: vars(self.loaded.hub)[name] for name in INBOXES}
        self.judge = Judge(self.loaded, self.traffic, self.inboxes)
        self.error: BaseException | None = None  # that ended its thread
        self._stop_error: Exception | None = None  # that its `stop` raised
        self.since = 0.0  # when it began, by the watch's clock
        self._hub = hub
        self.thread = threading.Thread(target=self._run, name="hub", daemon=True)

    def _replace(self, place: str, capacity: int) -> Channel[Any]:
        match place:
            case "register":
                return OwnRegister(self.traffic, capacity)
            case "unregister":
                return OwnUnregister(self.traffic, capacity)
            case _:
                return OwnBroadcast(self.traffic, capacity)

    def start(self) -> None:
        self.since = self._hub.watch.now()
        self.thread.start()

    def _run(self) -> None:
        self._hub.thread = threading.get_ident()
        try:
            self.loaded.hub.run()
        except BaseException as error:  # SystemExit too: it ends the thread alone
            self.error = error

    def stop(self, code: int, reason: str) -> list[Fault]:
        """Stop it, and part with its clients, who are told the code and the reason. Returns what it did wrong."""
        traffic, faults = self.traffic, []
        ran = self.thread.is_alive()
        traffic.ending = True
        for client in list(traffic.members):
            client.connection.end(code, reason)
        if ran and hasattr(self.loaded.hub, "stop"):
            go(self._call_stop, "stop").join(STOP_WAIT)
            self.thread.join(0 if self._stop_error else STOP_WAIT)
            if self.thread.is_alive():
                faults.append(not_stopped(self.loaded, self.thread, self._stop_error))
            elif self.error is None:
                faults += self._left_open()
        for channel in channels_of(self.loaded.hub).values():
            with suppress(Closed):
                channel.close()
        for client in list(traffic.members):
            with suppress(Closed):
                client.send.close()
        if self.thread.is_alive():
            self.thread.join(LAST_WAIT)
        return faults

    def _left_open(self) -> list[Fault]:
        sending = [name for name, channel in self.inboxes.items() if channel.statistics().waiting_senders]
        open_ = [client for client in list(self.traffic.members) if client.send.since is not None]
        return [left_open(sending, len(open_))] if sending or open_ else []

    def _call_stop(self) -> None:
        try:
            self.loaded.hub.stop()
        except Exception as error:
            self._stop_error = error

    def faults(self) -> list[Fault]:
        """What is wrong at this moment."""
        if not self.thread.is_alive():
            return [self.judge.ended(self.error)]
        return self.judge.look(self.thread.ident or 0)

    # ---- For the inspector

    def state(self, frame: FrameType | None) -> State:
        """The state of the hub's thread, whose innermost frame this is."""
        if not self.thread.is_alive() or frame is None:
            return "gone", ""
        row = find_row(frame)
        if row is not None and row.function is Gate.wait:
            return "paused", ""
        wait = wait_of(self.thread.ident or 0, frame)
        if wait is None or wait.parked is None:
            return "running", ""
        cases = list(cases_of(wait.parked, wait.on))
        if not cases or wait.parked.claimed():
            return "ready", ""
        sends = [channel for channel, case in cases if isinstance(case, Send)]
        if sends:
            return "sending", self._name_of(sends[0])
        return ("selecting", "") if len(cases) > 1 else ("receiving", self._name_of(cases[0][0]))

    def _name_of(self, channel: Channel[Any]) -> str:
        if isinstance(channel, (WatchedChannel, OwnOutbox)):
            return channel.name
        return next((name for name, each in channels_of(self.loaded.hub).items() if each is channel), "")

    def place(self, frame: FrameType | None) -> dict[str, Any]:
        """Where the hub's thread is, or, if an error has ended it, was: down to its line in the learner's file."""
        if self.thread.is_alive():
            stack = stack_of(frame, {self.loaded.name: self.shown})
            mine = [index for index, (file, _, _) in enumerate(stack, 1) if file == self.shown]
            stack = stack[: mine[-1]] if mine else stack
        else:
            trace = traceback.walk_tb(self.error.__traceback__ if self.error else None)
            inside = [(frame.f_code, line) for frame, line in trace if frame.f_code.co_filename == self.loaded.name]
            stack = [[self.shown, line, code.co_qualname] for code, line in inside]
        file, line, function = stack[-1] if stack else ("", 0, "")
        return {"stack": stack, "file": file, "line": line, "function": function}

    def own_channels(self) -> list[dict[str, Any]]:
        """The channels of the learner's hub besides those that the inspector draws."""
        found = []
        for name, channel in channels_of(self.loaded.hub).items():
            if name not in INBOXES:
                now = channel.statistics()
                found.append({"name": name, "pending": now.pending, "capacity": now.capacity, "closed": now.closed})
        return found

    def own_threads(self, frames: Mapping[int, FrameType]) -> list[dict[str, Any]]:
        """The threads that execute the learner's file, besides the hub's own while that runs."""
        found = []
        for thread in threading.enumerate():
            if thread.name.startswith(SERVERS):
                continue
            frame = frames.get(thread.ident or 0)
            while frame is not None and frame.f_code.co_filename != self.loaded.name:
                frame = frame.f_back
            if frame is not None and (thread is not self.thread or self.traffic.ending):
                line = frame.f_lineno
                place = {"file": self.shown, "line": line, "code": self.loaded.line(line)}
                found.append({"name": thread.name, "abandoned": self.traffic.ending, **place})
        return found


class LearnersHub(WatchedHub):
    """The lobby's hub, from a learner's file. `about` says of known mistakes what they are about.

    `keeping` makes a context in which the connections end and are made anew: the demo's bots come back then.
    """

    def __init__(self, watch: Watch, file: Path, about: Mapping[str, str]) -> None:
        """Raises NotAHub."""
        super().__init__(watch)
        self.keeping: Callable[[], AbstractContextManager[None]] = nullcontext
        self._file = file
        self._about = about
        self._stamp = self._seen = stamp(file)
        self._adopt(Version(self, file, 1))
        self._left: list[Version] = []  # whose threads go on
        self._problem = ""  # of the file as it is now, if it is not the one that runs
        self._faults: list[Fault] = []
        self._of_the_last: list[Fault] = []  # what the hub before this one did wrong at its end
        self._told: set[tuple[str, int]] = set()

    def new_outbox(self, capacity: int) -> OwnOutbox:
        return OwnOutbox(self, self._send_buffer or capacity, self.run_queue)

    def _look_through(self, items: Sequence[str], entries: Sequence[str]) -> None:
        """A hub of this kind need not call `record`: its channels have the log number what they take, and count it."""

    def run(self) -> None:
        threading.current_thread().name = "reload"
        self.watch.shared.watches[self.watch.room] = self.watch
        try:
            self.version.start()
            while not self._stopped():
                self._look_at_the_file()
                self._look_at_the_hub()
        finally:
            self.version.stop(1001, "the server is stopping")

    def _stopped(self) -> bool:
        """Wait for the next look. Returns whether somebody has said `stop` meanwhile."""
        try:
            self.done.receive(LOOK_EVERY)
        except TimeoutError:
            return False
        return True

    def _adopt(self, version: Version) -> None:
        """Let the server use this version's channels."""
        self.version = version
        self.clients = version.traffic.members
        self.register, self.unregister, self.broadcast = version.inboxes.values()  # type: ignore[assignment]
        self.broadcast.choose(True)
        self.watch.journeys.on_choosing = self.broadcast.choose

    def _look_at_the_file(self) -> None:
        """Make a new hub once the file has changed and stays as it is: an editor may be writing it."""
        before, self._seen = self._seen, stamp(self._file)
        if self._seen in (self._stamp, GONE) or self._seen != before:
            return
        self._stamp = self._seen
        try:
            new = Version(self, self._file, self.version.number + 1)
        except NotAHub as error:
            self._problem = f"{error}. The hub from before goes on."
            log.error("%s", self._problem)
            self.watch.note("hub", text=self._problem)
            return
        self._problem = ""
        with self.keeping():
            old = self.version
            self._of_the_last = old.stop(SERVICE_RESTART, NEW_HUB)
            if old.thread.is_alive():
                old.thread.name = f"hub-{old.number}"
                self._left.append(old)
            self._adopt(new)
            new.start()
        self._told.clear()
        self._tell(self._of_the_last)
        log.warning("%s was saved: a new hub runs", self._file)
        self.watch.note("hub", text=f"{self._file.name} was saved: a new hub runs")

    def _look_at_the_hub(self) -> None:
        self._left = [version for version in self._left if version.thread.is_alive()]
        self._faults = self.version.faults()
        self._tell(self._faults)

    def _tell(self, faults: list[Fault]) -> None:
        """Say each fault once, in the log and in the inspector's list of what happened."""
        for fault in faults:
            if (fault.title, fault.line) not in self._told:
                self._told.add((fault.title, fault.line))
                log.error("%s: %s", fault.title, fault.sentences[0])
                where = f", line {fault.line}" if fault.line else ""
                self.watch.note("hub", text=f"{fault.title}{where}")

    # ---- For the inspector; any thread may call these.

    def facts(self, frames: Mapping[int, FrameType]) -> dict[str, Any]:
        """What a picture says of the learner's hub besides what it says of any hub."""
        version = self.version
        return {
            "file": version.shown,
            "version": version.number,
            "for": round(self.watch.now() - version.since, 1),
            "problem": self._problem,
            "faults": [self._fault(fault, version) for fault in self._faults]
            + [self._fault(fault, None) for fault in self._of_the_last],
            "channels": version.own_channels(),
            "threads": [thread for each in [version, *self._left] for thread in each.own_threads(frames)],
        }

    def _fault(self, fault: Fault, version: Version | None) -> dict[str, Any]:
        about = self._about.get(fault.mistake, "")
        first, lines = version.loaded.around(fault.line) if version and fault.line else (1, [])
        told = {"title": fault.title, "sentences": fault.sentences, "mistake": fault.mistake, "about": about}
        return {"kind": fault.kind, **told, "line": fault.line, "first_line": first, "lines": lines}

    def source(self, shown: str, function: str) -> tuple[int, list[str]] | None:
        """The first line of a function of the file and its lines, for the version that the inspector calls so."""
        for version in [self.version, *self._left]:
            if version.shown == shown:
                return version.loaded.definition(function)
        return None
