"""What is wrong with a learner's hub that runs (--hub), by what its thread does and what came through its channels.

The server's other threads run on, so this is not `deadlock`, which asks whether anybody could still wake a thread. It
asks what everybody waits for: the hub. The kinds of faults:

- asleep: the hub's thread waits for itself, or for somebody who will not come soon, while others wait for it.
- busy: it runs, or waits for something that is no channel, and does not come back to its channels; or it looks at them
  again and again, and never sleeps.
- raised, returned: its thread has ended, and nobody had told it to stop.
- dropped: an entry that it received was not sent to a client that was registered all the time.
- unclosed: a client has unregistered, and its channel `send` is still open.
- stop: it did not stop in time, or left something open.

A fault may have the name of one of the exercises' known mistakes.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from threadchat.channel import Channel, Closed
from threadchat.client import Client
from threadchat.inspector.kernel import processor_time
from threadchat.inspector.own_channels import OwnOutbox, Traffic
from threadchat.inspector.own_file import Loaded
from threadchat.messages import MESSAGE, Entry
from threadchat.waits import Wait, cases_of, name_of, wait_of

SOON = 0.5  # seconds; a hub that is kept waiting for longer is told
LONG = 2.0  # seconds without coming back to its channels, while somebody waits there
SPINS = 3.0  # seconds without a sleep, while little comes
SHARE = 0.1  # of the processor that a thread uses which does not sleep, on a machine with much else to do
A_LOT = 0.0005  # seconds of the processor's time for an item and a client; no hub needs so much
SETTLED = 0.3  # seconds; an entry that was numbered less long ago may still be on its way to a client
MOST_MISSING = 1_000  # entries that are remembered for a client that has not got them
MOST_TEXT = 40  # characters of a message that are quoted


@dataclass(frozen=True)
class Fault:
    """Something wrong: what, as a title and sentences, the line of the learner's file (0: none), the known mistake."""

    kind: str
    title: str
    sentences: tuple[str, ...]
    line: int = 0
    mistake: str = ""


class Judge:
    """Looks at one version of the hub again and again. For one thread."""

    def __init__(self, own: Loaded, traffic: Traffic, inboxes: dict[str, Channel[Any]]) -> None:
        self._own = own
        self._traffic = traffic
        self._inboxes = inboxes
        self._doing: object = None  # what the hub's thread did when it was looked at last
        self._since = 0.0
        # When it was first seen awake after its last sleep, the processor's time used and the items taken until then.
        self._awake: tuple[float, float, int] | None = None
        self._spins_at = 0  # the line where it was first seen to spin
        self._dropped: Fault | None = None
        self._drops = 0
        self._counted = 0.0  # when they were told last
        self._missing: dict[OwnOutbox, list[Entry]] = {}  # what each client has not got, oldest first

    def look(self, thread: int) -> list[Fault]:
        """What is wrong now. `thread` is the ident of the hub's thread, which is alive."""
        found: list[Fault] = []
        now = time.monotonic()
        # First the channels: if they are empty and the hub's thread waits afterwards, it has passed everything on.
        waiting = {name: channel.statistics().waiting_senders for name, channel in self._inboxes.items()}
        left = len(self._inboxes["broadcast"]) + waiting["broadcast"]
        frame = sys._current_frames().get(thread)
        wait = wait_of(thread, frame) if frame is not None else None
        parked = wait is not None and wait.parked is not None
        doing: object = wait.parked if wait is not None and parked else self._traffic.taken
        if doing is not self._doing and doing != self._doing:
            self._doing, self._since = doing, now
        lasted = now - self._since
        if wait is None or not parked:
            if any(waiting.values()) and lasted > LONG and frame is not None:
                found.append(self._busy(frame, lasted, waiting))
            elif frame is not None:
                found += self._spins(thread, frame, now)
        else:
            self._awake = None
            cases = list(cases_of(wait.parked, wait.on)) if wait.parked else []
            if cases and wait.lasts():
                found += self._asleep(wait, cases, lasted, waiting)
                if not found and not left and all(case is None for _, case in cases):
                    found += self._look_for_drops(now)
                    found += self._unclosed(now)
        return [*found, *([self._dropped] if self._dropped else [])]

    # ---- The hub's thread

    def _asleep(
        self, wait: Wait, cases: list[tuple[Channel[Any], Any]], lasted: float, waiting: dict[str, int]
    ) -> Iterator[Fault]:
        sends = [channel for channel, case in cases if case is not None]
        receives = [channel for channel, case in cases if case is None]
        line, says = self._says(wait)
        if sends and not receives and lasted > SOON:
            mine = [name for name, channel in self._inboxes.items() if channel in sends]
            if len(mine) == len(sends):
                only = (
                    f"The only thread that receives from `{mine[0]}` is the hub itself: it waits for itself, for ever."
                )
                yield Fault("asleep", "Deadlock", (says, only, *_others(waiting)), line, "sends to itself")
            elif isinstance(sends[0], OwnOutbox):
                yield self._waits_for(sends[0], line, says, waiting)
            elif lasted > LONG:
                alone = len(sends) == 1 and sends[0].statistics().waiting_senders == 1
                name = name_of(sends[0], wait.frame)
                nobody = [f"In these {lasted:.0f} s no thread has tried to receive from `{name}`."] if alone else []
                yield Fault("asleep", "Your hub waits to send", (says, *nobody, *_others(waiting)), line)
        elif not sends and lasted > SOON:
            out = [name for name, number in waiting.items() if number and self._inboxes[name] not in receives]
            if out:
                mistake = "a case too few" if "select(" in self._own.line(line) else "one channel at a time"
                title = f"Your hub does not receive from `{out[0]}`"
                yield Fault("asleep", title, (says, *_others(waiting)), line, mistake)

    def _waits_for(self, send: OwnOutbox, line: int, says: str, waiting: dict[str, int]) -> Fault:
        number, name = send._client()
        who = f"client {number} ({name})"
        if send.client.connection.ended:
            what = f"The write pump of {who} has ended: nobody receives from this channel any more."
            return Fault("asleep", "Deadlock", (says, what, *_others(waiting)), line, "a send that waits")
        what = f"The buffer of {who} is full: its peer does not read fast enough. Meanwhile nobody gets anything."
        title = f"Your hub waits for client {number}"
        return Fault("asleep", title, (says, what, *_others(waiting)), line, "a send that waits")

    def _busy(self, frame: FrameType, lasted: float, waiting: dict[str, int]) -> Fault:
        line = _line_of(frame, self._own.name)
        said = f"The thread hub is at line {line}, `{self._own.line(line)}`, and has not come back to its channels"
        title = "Your hub does not come back to its channels"
        return Fault("busy", title, (f"{said} for {lasted:.0f} s.", *_others(waiting)), line)

    def _spins(self, thread: int, frame: FrameType, now: float) -> Iterator[Fault]:
        if self._awake is None:
            self._awake = now, processor_time(thread), self._traffic.taken
        since, before, had = self._awake
        if now - since < SPINS:
            return
        used, taken = processor_time(thread) - before, self._traffic.taken - had
        if used < (now - since) * SHARE or used < taken * (1 + len(self._traffic.members)) * A_LOT:
            return
        self._spins_at = self._spins_at or _line_of(frame, self._own.name)
        line = self._spins_at
        few = f"{taken} items" if taken > 1 else "one item" if taken else "nothing"
        said = f"The thread hub has not slept for {now - since:.0f} s, in which {few} came: it was at line {line}, "
        said += f"`{self._own.line(line)}`, and has used the processor for {used:.1f} s."
        sleep = "A `select` without a default sleeps until something comes, and burns nothing meanwhile."
        yield Fault("busy", "Your hub never sleeps", (said, sleep), line, "polling")

    def _says(self, wait: Wait) -> tuple[int, str]:
        """The line where the hub's thread waits, and a sentence about it."""
        frame = _inside(wait.frame, self._own.name) or wait.frame
        line = _line_of(frame, self._own.name)
        waits, go = Wait(wait.ident, frame, wait.parked, wait.on).described()
        return line, f"The thread hub is at line {line}, `{self._own.line(line)}`: it {waits}." + (
            f" In Go: `{go}`." if go else ""
        )

    def ended(self, error: BaseException | None) -> Fault:
        """The hub's thread has ended by itself."""
        left = "Its channels are still there, and nobody receives from them any more."
        if error is None:
            return Fault("returned", "Your hub has ended", (f"`run` has returned, and nobody said stop. {left}",))
        trace = traceback.extract_tb(error.__traceback__)
        line = next((each.lineno or 0 for each in reversed(trace) if each.filename == self._own.name), 0)
        text = self._own.line(line)
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        if isinstance(error, KeyError) and isinstance(error.args[0], Client):
            what = f"KeyError: client {error.args[0].number}"
        where = f" at line {line}, `{text}`" if line else ""
        return Fault("raised", f"Your hub raised {type(error).__name__}", (
            f"The thread hub raised {what}{where}, and has ended. {left} In Go the whole program would end.",
        ), line, _mistake(error, text))  # fmt: skip

    # ---- What came through the channels

    def _look_for_drops(self, now: float) -> Iterator[Fault]:
        """For each entry, ask who should have got it. What has not come and is followed by a later entry is dropped."""
        passing, members = self._traffic.passing, [client.send for client in list(self._traffic.members)]
        while passing and passing[0][0] < now - SETTLED:
            _, entry = passing.popleft()
            for send in members:
                if self._should_have(send, entry) and entry.id not in send.given:
                    self._missing.setdefault(send, []).append(entry)
                send.given.discard(entry.id)
        for send, entries in list(self._missing.items()):
            late = [entry for entry in entries if entry.id not in send.given]
            dropped = [entry for entry in late if entry.id < send.newest]
            if dropped:
                self._drops += len(dropped)
                if self._dropped is None or now > self._counted + 1:  # a second, so that it can be read
                    self._counted = now
                    self._dropped = self._drop(dropped[-1], send)
            self._missing[send] = late[len(dropped) :][-MOST_MISSING:]
            if not self._missing[send] or send.leaving or send._closed:
                del self._missing[send]
        if self._missing and not self._dropped:
            send, entries = next(iter(self._missing.items()))
            yield self._drop(entries[0], send)

    @staticmethod
    def _should_have(send: OwnOutbox, entry: Entry) -> bool:
        stays = not send.leaving and not send._closed and not send.client.connection.is_ending
        return stays and send.since is not None and send.since < entry.id

    def _drop(self, entry: Entry, send: OwnOutbox) -> Fault:
        number, name = send._client()
        more = "…" if len(entry) > MOST_TEXT else ""
        text = (
            f"“{entry:.{MOST_TEXT}}{more}”"
            if entry.kind == MESSAGE
            else f"The news of a {entry.kind} (an empty string)"
        )
        who = f"Client {number} ({name}) was registered all the time, and did not get it."
        was = f"{text} was sent to `broadcast`. {who}"
        for_sure = entry.id < send.newest
        title = "Your hub drops messages"
        count = [f"So far {self._drops} {_are('delivery is', self._drops)} missing."] if for_sure else []
        if line := send.no_room_at:
            full = f"At line {line}, `{self._own.line(line)}`, there was no room in its buffer, and the hub went on."
            kept = [] if for_sure else ["It has dropped the message, or keeps it, and many more, in memory."]
            return Fault("dropped", title, (was, full, *count, *kept), line, "drops in silence" if for_sure else "")
        line = self._traffic.sends_at
        where = f"It sends to clients at line {line}, `{self._own.line(line)}`." if line else "It has sent nothing yet."
        return Fault("dropped", title, (was, where, *count), line)

    def _unclosed(self, now: float) -> Iterator[Fault]:
        for client in list(self._traffic.members):
            send = client.send
            if send.left_at and send.left_at < now - SOON:
                number, name = send._client()
                was = f"Client {number} ({name}) has unregistered, and its channel `send` is still open."
                yield Fault("unclosed", "Your hub does not close `send`", (was,), mistake="a forgotten close")
                return


def not_stopped(own: Loaded, thread: threading.Thread, error: Exception | None) -> Fault:
    """The hub was told to stop, and its thread goes on. `error` is what its `stop` has raised, if it did."""
    title = "The hub before this one did not stop"
    closed = "So its channels were closed."
    frame = sys._current_frames().get(thread.ident or 0)
    line = _line_of(frame, own.name)
    if error is not None:
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        return Fault("stop", title, (f"Its `stop` raised {what}.", closed), line)
    wait = wait_of(thread.ident or 0, frame) if frame is not None else None
    selects = wait is not None and wait.parked is not None and "select(" in own.line(line)
    where = f"at line {line}, `{own.line(line)}`" if line else "elsewhere"
    said = f"It was told to stop, and its thread is still {where}."
    return Fault("stop", title, (said, closed), line, "a forgotten done" if selects else "")


def left_open(inboxes: list[str], clients: int) -> Fault:
    """The hub has stopped, and left channels open."""
    if clients:
        said = f"It has ended and did not close the `send` of {clients} {_are('client', clients)}."
        return Fault("stop", "The hub before this one left threads behind", (said,), mistake="write pumps left behind")
    said = f"It has ended while threads were sending to `{inboxes[0]}`, and did not close it."
    return Fault("stop", "The hub before this one left threads behind", (said,), mistake="senders left behind")


def _others(waiting: dict[str, int]) -> list[str]:
    """A sentence about the threads that wait for the hub."""
    found = [f"{number} to send to `{name}`" for name, number in waiting.items() if number]
    if not found:
        return []
    total = sum(waiting.values())
    to = found[0].partition(" ")[2] if len(found) == 1 else f"for the hub: {', '.join(found)}"
    return [f"{total} {_are('thread waits', total)} {to}."]


def _are(words: str, number: int) -> str:
    """The words for one thing, or for several."""
    several = {"thread waits": "threads wait", "delivery is": "deliveries are", "client": "clients"}
    return words if number == 1 else several[words]


def _line_of(frame: FrameType | None, file: str) -> int:
    """The innermost line of this file; 0 if the thread is not in it."""
    frame = _inside(frame, file)
    return frame.f_lineno if frame is not None else 0


def _inside(frame: FrameType | None, file: str) -> FrameType | None:
    """The innermost frame of this file."""
    while frame is not None and frame.f_code.co_filename != file:
        frame = frame.f_back
    return frame


def _mistake(error: BaseException, text: str) -> str:
    """The known mistake that ends a hub with this error, in a line of this text."""
    if isinstance(error, Closed):
        return "closes twice" if ".close(" in text else "evicted but not removed"
    if isinstance(error, KeyError) and ".remove(" in text:
        return "closes twice"  # which it would do next
    if isinstance(error, RuntimeError) and "changed size" in str(error):
        return "changes the set while it walks it"
    return ""
