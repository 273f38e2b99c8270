"""Answers to the exercises that are right in another way than the cards' solutions: the checks must accept them."""

from __future__ import annotations

from threadchat.exercises.cards import read_cards

SOLUTIONS = {card.name: card.solution for card in read_cards()}

THREADING = """
import threading


def shout(lines, loud):
    for line in lines:
        loud.send(line.upper())


def start(lines, loud):
    threading.Thread(target=shout, args=(lines, loud), daemon=True).start()
"""

CLOSED_CAUGHT = """
from threadchat.channel import Closed


def read(text, lines):
    try:
        for line in text.splitlines():
            lines.send(line)
    finally:
        lines.close()


def count(lines, totals):
    total = 0
    while True:
        try:
            lines.receive()
        except Closed:
            break
        total += 1
    totals.send(total)
"""

BUILT_IN = """
from threadchat.channel import WouldBlock


def offer(box, line):
    try:
        box.send_nowait(line)
    except WouldBlock:
        return False
    return True


def take_all(box):
    return box.take_pending()
"""

LATE_ONES_ARE_TOLD = """
from threadchat.channel import Channel, Closed, Send, select
from threadchat.runtime.threads import go


def fastest(servers, seconds):
    answers, done = Channel(), Channel()

    def work(ask):
        try:
            select(Send(answers, ask()), done)
        except Closed:
            pass

    for ask in servers:
        go(lambda ask=ask: work(ask), "server")
    try:
        return select(answers, timeout=seconds)[1]
    except TimeoutError:
        return None
    finally:
        done.close()
"""

LATE_ONES_GIVE_UP = """
from threadchat.channel import Channel, WouldBlock
from threadchat.runtime.threads import go


def fastest(servers, seconds):
    first = Channel(1)

    def work(ask):
        answer = ask()
        try:
            first.send_nowait(answer)
        except WouldBlock:
            pass

    for ask in servers:
        go(lambda ask=ask: work(ask), "server")
    try:
        return first.receive(timeout=seconds)
    except TimeoutError:
        return None
"""

TOKENS = """
from threadchat.channel import Channel


class Limit:
    def __init__(self, places):
        self.free = Channel(places)
        for _ in range(places):
            self.free.send(None)

    def run(self, job):
        self.free.receive()
        try:
            return job()
        finally:
            self.free.send(None)
"""

CONDITION = """
import threading
from collections import deque


class Channel:
    def __init__(self, capacity):
        self.capacity = capacity
        self.changed = threading.Condition()
        self.items = deque()
        self.sent = 0
        self.taken = 0

    def send(self, item):
        with self.changed:
            self.items.append(item)
            self.sent += 1
            number = self.sent
            self.changed.notify_all()
            while self.taken + self.capacity < number:
                self.changed.wait()

    def receive(self):
        with self.changed:
            while not self.items:
                self.changed.wait()
            self.taken += 1
            self.changed.notify_all()
            return self.items.popleft()
"""


def changed(name: str, *changes: tuple[str, str]) -> str:
    """The solution of this exercise, with other code in some places."""
    source = SOLUTIONS[name]
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return source


IF_AND_ELSE = (
    changed("hub").partition("            match channel")[0]
    + """\
            if channel is self.register:
                self.clients.add(value)
            elif channel is self.unregister:
                if value not in self.clients:
                    continue
                self.clients.discard(value)
                value.send.close()
            else:
                for client in self.clients.copy():
                    client.send.send(value)
"""
)

EVICTED_AFTERWARDS = (
    changed("full", ("import Channel,", "import Channel, WouldBlock,")).partition("    def pass_on")[0]
    + """\
    def pass_on(self, message):
        slow = []
        for client in self.clients:
            try:
                client.send.send_nowait(message)
            except WouldBlock:
                slow.append(client)
        for client in slow:
            client.send.close()
            self.clients.remove(client)
"""
)

A_THREAD_FOR_EACH_PUMP = (
    changed("pumps").partition("    def read_pump")[0]
    + """\
    def read_pump(self):
        while True:
            try:
                line = self.connection.read()
            except Disconnected:
                break
            self.hub.broadcast.send(line)
        self.hub.unregister.send(self)

    def write_pump(self):
        for line in self.send:
            lines = [line, *self.send.take_pending()]
            try:
                self.connection.write("\\n".join(lines))
            except Disconnected:
                break
        self.connection.close()


def serve(hub, connection):
    client = Client(hub, connection)
    hub.register.send(client)
    writer = go(client.write_pump, "writer")
    reader = go(client.read_pump, "reader")
    reader.join()
    writer.join()
"""
)

AS_IN_GO = changed(
    "stop",
    ("        self.done: Channel[None] = Channel(1)\n", "        self.done, self.ended = Channel(1), Channel()\n"),
    ("        for inbox in (self.register, self.unregister, self.broadcast):\n            inbox.close()\n",
     "        self.ended.close()\n"),
    ("self.hub.broadcast.send(self.connection.read())",
     "select(Send(self.hub.broadcast, self.connection.read()), self.hub.ended)"),
    ("self.hub.unregister.send(self)", "select(Send(self.hub.unregister, self), self.hub.ended)"),
    ("hub.register.send(client)", "select(Send(hub.register, client), hub.ended)"),
)  # fmt: skip

TAKES_FIRST = changed(
    "channel",
    ("""\
            if self._senders:
                sender = self._senders.popleft()
                self._buffer.append(sender.item)
                sender.wake()
            if self._buffer:
                return self._buffer.popleft()
""", """\
            item = self._buffer.popleft() if self._buffer else None
            if self._senders:
                sender = self._senders.popleft()
                sender.wake()
                if item is None:
                    return sender.item
                self._buffer.append(sender.item)
            if item is not None:
                return item
"""),
)  # fmt: skip

A_NEW_SET_EACH_TIME = changed(
    "hub",
    ("self.clients.add(value)", "self.clients = self.clients | {value}"),
    ("self.clients.remove(value)", "self.clients = {client for client in self.clients if client is not value}"),
)

CLOSED_ONCE = changed(
    "stop",
    ("from __future__ import annotations\n", "from __future__ import annotations\n\nimport threading\n"),
    ("Channel[None] = Channel(1)\n",
     "Channel[None] = Channel()\n        self.lock, self.told = threading.Lock(), False\n"),
    ("            channel, value = select(", "            try:\n                channel, value = select("),
    ("broadcast, self.done)\n", "broadcast, self.done)\n            except Closed:\n                break\n"),
    ("        select(Send(self.done, None), default=True)\n",
     "        with self.lock:\n            if not self.told:\n                self.done.close()\n"
     "            self.told = True\n"),
)  # fmt: skip

RIGHT = [
    ("worker", THREADING),
    ("close", CLOSED_CAUGHT),
    ("default", BUILT_IN),
    ("timeout", LATE_ONES_ARE_TOLD),
    ("timeout", LATE_ONES_GIVE_UP),
    ("semaphore", TOKENS),
    ("channel", CONDITION),
    ("channel", TAKES_FIRST),
    ("hub", IF_AND_ELSE),
    ("hub", A_NEW_SET_EACH_TIME),
    ("full", EVICTED_AFTERWARDS),
    ("pumps", A_THREAD_FOR_EACH_PUMP),
    ("stop", AS_IN_GO),
    ("stop", CLOSED_ONCE),
]
