"""A client of threadchat.v1 that loses its connections, and what is checked of all that it is sent.

It comes back with the token of the last entry that it saw, and sends again what was not echoed: promises 10 and 11. In
each room, the first client to receive an entry defines what it is; every other client must get the same line, and each
client the next id each time. A sender's messages have numbers without gaps: one that is missing was lost, and one that
comes again was taken twice. The room's own log, which the server gives as `log.jsonl`, must have the same.

All this is so within an epoch. When a room gets another one, every client must be told of a gap; a person is asked then
whether to send again what was not echoed, and this client does. It knows the addresses of several servers, and comes
back to the next one.
"""

from __future__ import annotations

import json
import secrets
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

RECEIVE_BUFFER = 4096  # bytes; small, so that a client that sleeps is soon evicted
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
LOST = "by the server without a close frame"
EVICTED = "1008"
CUTS = ("closed", "reset", "reset inside a frame", "silent")


@dataclass
class Counts:
    """The results. There must be no entry that was missed, came twice or is different, no gap and no error."""

    said: int = 0  # messages that came back to their sender, or were acknowledged
    said_again: int = 0  # messages that were sent once more, after a reconnect
    acknowledged: int = 0  # of them, those that the log had already
    delivered: int = 0  # entries, to all clients together
    missed: int = 0
    twice: int = 0
    different: int = 0  # entries that are not what another client or the log has, or not in their place
    gaps: int = 0
    asked: int = 0  # messages that may have been lost in a gap: a person is asked whether to send them again
    downs: int = 0  # how often a client was told that the log is down
    silence: float = 0.0  # seconds, the most between two entries that one client received
    errors: list[str] = field(default_factory=list)
    naps: int = 0
    healthy_evicted: int = 0  # connections of clients that had read all the time
    endings: Counter[str] = field(default_factory=Counter)  # of connections: how it was cut, or the server's code


class Room:
    """What a room's clients have received: each entry's line, by id, in the room's newest epoch."""

    def __init__(self, name: str, counts: Counts) -> None:
        self.name = name
        self.epoch = ""
        self.lines: dict[int, str] = {}
        self.top = 0
        self.compared = 0  # all entries up to this id were found in the log
        self._numbers: dict[str, int] = {}  # of each sender's last message in this epoch
        self._said = Counter[str]()  # the same over all epochs
        self._past: dict[str, dict[int, str]] = {}  # the lines of other epochs: some clients get them later
        self._counts = counts

    def take(self, entry: dict[str, Any], line: str) -> None:
        """Remember an entry that a client received, or compare it with what is remembered."""
        number, epoch = entry["id"], entry["token"].partition(".")[0]
        if epoch != self.epoch and epoch not in self._past:
            self._past[self.epoch] = self.lines
            self.epoch, self.lines, self.top, self.compared, self._numbers = epoch, {}, 0, 0, {}
        lines = self.lines if epoch == self.epoch else self._past[epoch]
        if number in lines:
            self._counts.different += lines[number] != line
            return
        if epoch == self.epoch:
            self._counts.different += min(lines, default=0) < number < self.top  # not in its place, and no history
            self.top = max(self.top, number)
        lines[number] = line
        if entry["type"] == "msg":
            self._check_number(entry, epoch)

    def _check_number(self, entry: dict[str, Any], epoch: str) -> None:
        said, by = int(entry["text"].split()[0]), entry["by"]
        last = self._numbers.get(by, min(self._said[by], said - 1))  # in another epoch it may come once more
        self._counts.different += said != entry["n"]
        if epoch == self.epoch:
            self._counts.missed += max(0, said - max(last, self._said[by]) - 1)
            self._counts.twice += said <= last
            self._numbers[by] = max(said, last)
        self._said[by] = max(said, self._said[by])

    def said(self, by: str) -> int:
        """Return how many messages of this sender have come."""
        return self._said[by]

    def compare(self, log: Sequence[str]) -> bool:
        """Compare what is new with the lines of the room's log. Returns whether both have come equally far.

        The process that was asked may be behind the clients of another one. What it lacks is compared the next time.
        """
        found = {json.loads(line).get("id", 0): line for line in log}
        found.pop(0, None)  # a gap has no id
        first = max(min(self.lines, default=1), min(found, default=1))  # the log keeps only so much
        top = max(found, default=0)
        for number in range(max(self.compared + 1, first), min(top, self.top) + 1):
            self._counts.missed += number not in self.lines
            self._counts.different += self.lines.get(number, found.get(number)) != found.get(number)
        self.compared = max(self.compared, min(top, self.top))
        return top == self.top

    def forget(self, up_to: int) -> None:
        """Forget entries that every client has."""
        for number in [number for number in self.lines if number <= min(up_to, self.compared)]:
            del self.lines[number]


class Talker:
    """One client, over all its connections: the first one is to the port with the number `first`, counted round."""

    def __init__(self, room: Room, ports: Sequence[int], pace: float | None, counts: Counts, first: int = 0) -> None:
        self.room = room
        self.pace = pace  # seconds from one message to the next, at least; None for a client that only listens
        self.due = 0.0  # when it connects, speaks or wakes next
        self.by = ""
        self.last = 0  # the id of the last entry that it saw
        self.socket: socket.socket | None = None
        self.asleep = False
        self.has_slept = False  # on this connection
        self.greeted = False  # by the server's hello, on this connection
        self.under_way = ""  # the message that has not come back yet
        self.number = 0  # of its newest message
        self.heard = 0.0  # when the last entry came
        self._ports, self._counts = deque(ports), counts  # the port to connect to next comes first
        self._ports.rotate(-first)
        self._gap_is_due = False  # whether the server has said that it cannot recover all
        self._session = secrets.token_urlsafe(24)
        self._token = ""
        self._came = bytearray()  # received, but not a whole frame yet
        self._out = bytearray()

    def connect(self) -> socket.socket:
        """Begin a new connection, to the next server. The handshake is sent when the socket is ready."""
        port = self._ports[0]
        self._ports.rotate(-1)
        since = f"?since={self._token}" if self._token else ""
        self._came.clear()
        self._out[:] = (
            f"GET /r/{self.room.name}/ws{since} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: threadchat.v1, session.{self._session}\r\n\r\n"
        ).encode()
        self.socket, self.greeted, self._upgraded, self.has_slept = socket.socket(), False, False, False
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.socket.connect_ex(("127.0.0.1", port))
        return self.socket

    def flush(self) -> bool:
        """Send what the system takes now, and return whether some is left. It is `read` that finds an end."""
        assert self.socket is not None
        with suppress(OSError):
            del self._out[: self.socket.send(self._out)]
        return bool(self._out)

    def read(self) -> str:
        """Handle what has come. Returns how the server ended the connection: its close code or status, or LOST.

        "" if it goes on.
        """
        assert self.socket is not None
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return ""
        except OSError:
            data = b""
        self._came += data
        if not self._upgraded and b"\r\n\r\n" in self._came:
            head, _, rest = bytes(self._came).partition(b"\r\n\r\n")
            if b" 101 " not in head.partition(b"\r\n")[0]:
                return head.split()[1].decode()
            self._upgraded, self._came = True, bytearray(rest)
        for opcode, payload in self._frames() if self._upgraded else ():
            if opcode == TEXT:
                for line in payload.decode().split("\n"):
                    self.take(json.loads(line), line)
            elif opcode == PING:
                self._send(PONG, payload)
            elif opcode == CLOSE:
                return str(int.from_bytes(payload[:2], "big"))
            else:
                self._counts.errors.append(f"a frame that begins with {opcode:#x}")
        return "" if data else LOST

    def take(self, said: dict[str, Any], line: str) -> None:
        """Handle a line that came: the JSON, and what it says."""
        match said["type"]:
            case "hello":
                self._greet(said)
            case "ack":
                self._counts.acknowledged += 1
                self._arrived(said["n"])
            case "gap":
                self._counts.gaps += 1
                self.last, self._gap_is_due = 0, False
            case "state":
                self._counts.downs += said["log"] == "down"
            case "error":
                self._counts.errors.append(line)
            case _:
                self._counts.delivered += 1
                now = time.monotonic()
                self._counts.silence = max(self._counts.silence, now - (self.heard or now))
                self.heard = now
                if self.last:
                    if said["token"].partition(".")[0] != self._token.partition(".")[0]:
                        self._counts.errors.append(f"another epoch without a gap: {line}")
                    self._counts.missed += max(0, said["id"] - self.last - 1)
                    self._counts.twice += said["id"] <= self.last
                self.last = max(self.last, said["id"])
                self._token = said["token"]
                if self._gap_is_due:
                    self._counts.errors.append(f"not recovered, and no gap: {line}")
                self.room.take(said, line)
                if said["by"] == self.by and said["type"] == "msg":
                    self._arrived(said["n"])

    def say(self, now: float, whole: bool = True) -> None:
        """Say something new, if it is time and nothing is under way. Unless it is `whole`, half the frame is sent."""
        if self.pace is not None and self.greeted and not self.under_way and now >= self.due:
            self.number, self.due = self.number + 1, now + self.pace
            self.under_way = f"{self.number} {'x' * 300}"
            self._send_again(whole)

    def cut(self, how: str) -> socket.socket | None:
        """End the connection in this way, one of CUTS. Returns the socket if it stays open."""
        ending, self.socket = self.socket, None
        assert ending is not None
        if how == "silent":
            return ending
        if how == "reset inside a frame":
            with suppress(OSError):
                ending.send(b"\x81\xfe\x01")
        if how != "closed":
            with suppress(OSError):
                ending.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ending.close()
        return None

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield the first byte and the payload of each whole frame."""
        data, at = bytes(self._came), 0
        while len(data) >= at + 2:
            size, body = data[at + 1], at + 2
            if size >= 126:
                body += 2 if size == 126 else 8
                size = int.from_bytes(data[at + 2 : body], "big")
            if len(data) < body + size:
                break
            yield data[at], data[body : body + size]
            at = body + size
        del self._came[:at]

    def _greet(self, hello: dict[str, Any]) -> None:
        self._gap_is_due = bool(self._token) and not hello["recovered"]
        self.greeted, self.by, self._token = True, hello["by"], hello["token"]
        if (hello["last"] or 0) > self.number:
            self._counts.errors.append(f"the last number is {hello['last']}, and not {self.number}")
        if self.under_way:
            self._counts.said_again += 1
            self._counts.asked += self._gap_is_due
            self._send_again()

    def _arrived(self, number: int) -> None:
        if self.under_way and number == self.number:
            self.under_way = ""
            self._counts.said += 1

    def _send_again(self, whole: bool = True) -> None:
        said = json.dumps({"type": "msg", "n": self.number, "text": self.under_way}).encode()
        self._send(TEXT, said, len(said) if whole else len(said) // 2)

    def _send(self, opcode: int, payload: bytes, most: int = 1 << 16) -> None:
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0xFE, size)
        self._out += bytes([opcode]) + length + b"\0\0\0\0" + payload[:most]
        self.flush()
