"""The soak's clients, all in one thread, and the order in which each of them must receive every message.

A message holds its sender's name, its sequence number and the time it was sent. The first client to receive a message
defines the order; each sender's numbers are checked once, and the bytes of every other client are compared with the
order. A client must receive all that is sent from the moment its handshake was answered.

    writers, readers   read all the time; the writers send at an even pace, and now and then in a burst
    slow               read a few bytes at a time, three times as fast as messages come
    visitors           join, send a few messages, and then close, reset the connection inside a frame, or vanish
    stuck              do not read until the server has evicted them
"""

from __future__ import annotations

import ctypes
import itertools
import random
import select
import socket
import struct
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto

from load import LENGTH, encode

LINE = LENGTH + 1  # bytes in the order's text: a message and a newline
SENDER, NUMBER, SENT = slice(0, 8), slice(9, 17), slice(18, 34)  # their places in a message
BURST = 600  # messages, more than the send buffer of a client holds
BURST_EVERY = 5.0  # seconds
VISITORS_A_SECOND = 5.0
SAYS = 5  # messages that each visitor sends
CERTAINLY_FULL = 1 << 19  # bytes, more than the system and the server together can hold for a client that does not read
TICK = 0.01  # seconds; the longest wait for the sockets before the clock is read again
EVICTED_WITHIN = 5.0  # seconds that the server may take to evict a client whose buffer is full
QUIET = 5.0  # seconds without a byte for any client, after which no more is expected
PATIENCE = 20.0  # seconds that the server has to deliver what is in flight at the end
CLOSING = b"\x88\x82\0\0\0\0\x03\xe8"  # a close frame with code 1000
HALF_A_FRAME = b"\x81\xfe\x01"

SO_ATTACH_FILTER = 26  # asm-generic/socket.h
ESTABLISHED = 1


class Kind(Enum):
    WRITER = auto()
    READER = auto()
    SLOW = auto()
    VISITOR = auto()
    STUCK = auto()
    VANISHED = auto()
    PARTED = auto()  # was stuck until the server ended the connection, and now reads what had been sent


RECEIVE_BUFFER = {Kind.SLOW: 1 << 15, Kind.STUCK: 1 << 12}  # bytes; other kinds have the system's default
PARTED_WITH = (Kind.STUCK, Kind.VANISHED)  # kinds that the server must disconnect by itself


class Refused(Exception):
    """The server did not accept a handshake."""


@dataclass
class Counts:
    """The results: numbers of messages or clients, and lists of seconds."""

    sent: int = 0
    delivered: int = 0
    lost: int = 0
    repeated: int = 0
    out_of_order: int = 0
    healthy_clients: int = 0
    healthy_evicted: Counter[str] = field(default_factory=Counter)
    visits: Counter[str] = field(default_factory=Counter)
    stuck_evicted: int = 0
    stuck_not_evicted: int = 0
    stuck_not_full: int = 0  # still connected at the end, when the buffer may not have been full
    evicted_after: list[float] = field(default_factory=list)  # seconds from the full buffer to the eviction
    vanished_after: list[float] = field(default_factory=list)  # seconds from the last sign of life to the disconnection


class Order:
    """The order of all messages: a text with one line each, and the time when the first client received it."""

    def __init__(self, counts: Counts) -> None:
        self.text = bytearray()
        self.times = array("d")
        self.next: Counter[bytes] = Counter()
        self.ends: dict[bytes, int] = {}  # where each sender's last message ends
        self.missing: set[bytes] = (
            set()
        )  # messages that no client has received, although it received later ones of the same sender
        self._counts = counts

    def append(self, lines: bytes) -> None:
        """Add messages that no client has received before, and check their numbers."""
        now = time.monotonic()
        for start in range(0, len(lines), LINE):
            line = lines[start : start + LINE]
            sender, number = line[SENDER], int(line[NUMBER])
            if number >= self.next[sender]:
                for skipped in range(self.next[sender], number):
                    self.missing.add(b"%s:%08d" % (sender, skipped))
                    self._counts.lost += 1
                self.next[sender] = number + 1
            elif not self.late(self.missing, line[: NUMBER.stop]):
                continue
            self.text += line
            self.times.append(now)
            self.ends[sender] = len(self.text)

    def late(self, missing: set[bytes], message: bytes) -> bool:
        """Count a message that comes after a later one: out of order if it was missing until now, otherwise repeated.

        Returns whether it was missing.
        """
        if message not in missing:
            self._counts.repeated += 1
            return False
        missing.remove(message)
        self._counts.lost -= 1
        self._counts.out_of_order += 1
        return True


class Client:
    """One connection and how far it has come. It starts to connect when it is made."""

    def __init__(self, kind: Kind, number: int, port: int, since: int, way_out: str = "") -> None:
        self.kind = kind
        self.name = b"%08d" % number
        self.way_out = way_out  # how a visitor will leave; "" once it has begun to
        self.since = since  # the length of the order's text when it began to join
        self.answered = 0  # the time when its handshake was answered, in ns
        self.began = 0.0  # the time when it joined, vanished or was disconnected, whichever was last
        self.position: int | None = None  # in the order's text; None until its first message
        self.missing: set[bytes] = set()
        self.sent = 0
        self.rest = b""  # received bytes that are not a whole frame yet
        self.early = b""  # messages received before its position was known
        self.out = bytearray(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if kind in RECEIVE_BUFFER:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER[kind])
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(("127.0.0.1", port))

    def reset(self) -> None:
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def vanish(self) -> None:
        """Be as if the machine were gone: a socket filter drops each segment that arrives, and none is acknowledged."""
        program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
        filter_ = struct.pack("HP", 1, ctypes.addressof(program))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_)


class Soak:
    """All clients of one server. `run` makes them talk for a while; `leave` ends all connections."""

    def __init__(self, port: int, clients: int, rate: float, send_buffer: int, seed: int) -> None:
        self.counts = Counts()
        self.order = Order(self.counts)
        self.clients: dict[int, Client] = {}
        self._port = port
        self._rate = rate
        self._send_buffer = send_buffer
        self._chance = random.Random(seed)
        self._ids = itertools.count()
        self._poll = select.epoll()
        self._diagnosis = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)  # NETLINK_SOCK_DIAG
        self._leaving = False
        self._heard = 0.0  # time.monotonic() when a client last received something
        self._until = 0.0  # time.monotonic() when the traffic ends
        self.talked = 0.0  # seconds of traffic
        self._stuck = max(1, clients // 20)
        slow, writers = clients // 10, max(1, min(8, clients // 3))
        kinds = [Kind.SLOW] * slow + [Kind.WRITER] * writers + [Kind.READER] * (clients - slow - writers)
        for kind in kinds:
            self._join(kind)
        self.counts.healthy_clients = len(kinds)
        limit = time.monotonic() + PATIENCE
        while not all(client.answered for client in self.clients.values()):
            if time.monotonic() > limit:
                raise Refused(f"the server did not answer all of {clients} handshakes within {PATIENCE:g} s")
            self._receive(TICK)
        for client in self.clients.values():
            client.position = 0  # there has been no message yet

    def run(self, seconds: float, each_second: Callable[[], None]) -> None:
        """Make traffic for `seconds`, or while there are writers; then wait for the evictions and the last messages."""
        started = visits = burst = second = last = time.monotonic()
        self._until = started + seconds
        due = 0.0
        while self._of(Kind.WRITER):
            now = time.monotonic()
            talking = now < self._until
            if not talking and not (now < self._until + PATIENCE and self._waits()):
                break
            writers = [client for client in self._of(Kind.WRITER) if len(client.out) < BURST * LENGTH]
            due += min(now - last, 10 * TICK) * self._rate  # after a delay the missed messages are not sent later
            for _ in range(int(due)):
                if writers:
                    self._say(self._chance.choice(writers), 1)
            due -= int(due)
            if now > burst:
                burst += BURST_EVERY
                if writers:
                    self._say(self._chance.choice(writers), BURST)
            while talking and visits < now:
                visits += 1 / VISITORS_A_SECOND
                self._join(Kind.VISITOR, self._chance.choice(["close", "close", "reset", "reset", "vanish"]))
            while talking and len(self._of(Kind.STUCK)) < self._stuck:
                self._join(Kind.STUCK)
            self._read_slowly(now - last)
            self._look_after_stuck(now)
            last = now
            if now > second:
                second += 1
                each_second()
            self._receive(TICK)
        self.talked = min(last, self._until) - started
        self._settle()

    def finish(self) -> None:
        """Make `run` end its traffic now. May be called by a signal handler."""
        self._until = min(self._until, time.monotonic())

    def leave(self) -> None:
        """Close all connections, and wait until the server has closed its ends."""
        self._leaving = True
        for client in self._of(*PARTED_WITH):
            self._give_up(client)
        for client in list(self.clients.values()):
            self._send(client, CLOSING)
        limit = time.monotonic() + PATIENCE
        while self.clients and time.monotonic() < limit:
            self._read_slowly(1)
            self._receive(TICK)
        for client in list(self.clients.values()):
            client.reset()
            self._forget(client)
        self._poll.close()
        self._diagnosis.close()

    def _settle(self) -> None:
        """Wait until all clients have all messages and the visitors have left, or nothing comes. The rest is lost."""
        limit = time.monotonic() + PATIENCE
        last = time.monotonic()

        def settled() -> bool:
            stay = self._of(Kind.WRITER, Kind.READER, Kind.SLOW)
            return (
                not self._of(Kind.VISITOR, Kind.PARTED)
                and all(client.position == len(self.order.text) for client in stay)
                and all(self.order.next[client.name] == client.sent for client in stay)
            )

        self._heard = last
        while not settled() and (now := time.monotonic()) < min(limit, self._heard + QUIET):
            self._read_slowly(now - last)
            last = now
            self._receive(TICK)
        for client in self._of(Kind.WRITER, Kind.READER, Kind.SLOW):
            self.counts.lost += client.sent - self.order.next[client.name]
            self._miss(client, len(self.order.text))

    def _of(self, *kinds: Kind) -> list[Client]:
        return [client for client in self.clients.values() if client.kind in kinds]

    def _join(self, kind: Kind, way_out: str = "") -> None:
        client = Client(kind, next(self._ids), self._port, len(self.order.text), way_out)
        self.clients[client.socket.fileno()] = client
        self._poll.register(client.socket, select.EPOLLIN | select.EPOLLOUT)

    def _forget(self, client: Client) -> None:
        self.clients = {number: other for number, other in self.clients.items() if other is not client}

    def _say(self, client: Client, count: int) -> None:
        frames = b"".join(encode(client.name + b":", client.sent + number) for number in range(count))
        client.sent += count
        self.counts.sent += count
        self._send(client, frames)

    def _send(self, client: Client, data: bytes) -> None:
        client.out += data
        self._flush(client)

    def _flush(self, client: Client) -> None:
        """Send what the system takes now, and the rest later. If the connection has ended, `_read` will find it."""
        with suppress(OSError):
            del client.out[: client.socket.send(client.out)]
        self._watch(client)

    def _watch(self, client: Client) -> None:
        reads = client.kind not in (Kind.SLOW, Kind.STUCK, Kind.VANISHED) or not client.answered
        self._poll.modify(client.socket, reads * select.EPOLLIN | bool(client.out) * select.EPOLLOUT)

    def _receive(self, timeout: float) -> None:
        for number, event in self._poll.poll(timeout):
            client = self.clients.get(number)
            if client is None:
                continue
            if event & select.EPOLLOUT:
                self._flush(client)
            if event & ~select.EPOLLOUT and (client.kind not in PARTED_WITH or not client.answered):
                self._read(client, 1 << 16)
        self._place_newcomers()

    def _read(self, client: Client, size: int) -> int:
        """Read up to `size` bytes and handle them, or the end of the connection. Returns the number of bytes."""
        try:
            data = client.socket.recv(size)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if data:
            self._heard = time.monotonic()
            client.rest += data
            self._understand(client)
        else:
            self._ended(client)
        return len(data) if client.socket.fileno() >= 0 else 0

    def _understand(self, client: Client) -> None:
        if not client.answered:
            head, found, rest = client.rest.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                raise Refused(f"the server refused a handshake: {head.decode(errors='replace')}")
            client.rest = rest
            self._joined(client)
        for opcode, payload in self._frames(client):
            if opcode == 0x81:
                self.counts.delivered += (len(payload) + 1) // LINE
                self._hear(client, payload + b"\n")
            elif opcode == 0x89:
                self._send(client, bytes([0x8A, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
            elif opcode == 0x88:
                self._ended(client, int.from_bytes(payload[:2], "big"))
                return
        if client.way_out and client.position is not None:
            self._take_leave(client)

    def _place_newcomers(self) -> None:
        for client in list(self.clients.values()):
            if client.early:
                self._hear(client, b"")
                if client.way_out and client.position is not None:
                    self._take_leave(client)

    def _joined(self, client: Client) -> None:
        client.answered = time.monotonic_ns()
        client.began = time.monotonic()
        if client.kind is Kind.VISITOR:
            self._say(client, SAYS)
        self._watch(client)

    def _frames(self, client: Client) -> Iterator[tuple[int, bytes]]:
        """Yield the first byte and the payload of each whole frame. The server must not send fragments."""
        data, at = client.rest, 0
        while len(data) >= at + 2:
            size, body = data[at + 1], at + 2
            if size >= 126:
                body += 2 if size == 126 else 8
                size = int.from_bytes(data[at + 2 : body], "big") if len(data) >= body else len(data)
            if len(data) < body + size:
                break
            yield data[at], data[body : body + size]
            at = body + size
        client.rest = data[at:]

    def _hear(self, client: Client, lines: bytes) -> None:
        """Compare messages with the order, and append those that no other client has received yet."""
        if client.position is None:
            client.early += lines
            found = self.order.text.find(client.early[:LINE], client.since)
            if found < 0:  # unknown until a client that knows its position receives this message
                return
            self._place(client, found)
            lines, client.early = client.early, b""
        position = client.position or 0
        known = self.order.text[position : position + len(lines)]
        if lines[: len(known)] == known:
            if len(known) < len(lines):
                self.order.append(lines[len(known) :])
            client.position = min(position + len(lines), len(self.order.text))
        else:
            for start in range(0, len(lines), LINE):
                self._find(client, lines[start : start + LINE])

    def _place(self, client: Client, position: int) -> None:
        """Set the position of a client's first message. Those before it are lost if they were sent after it joined."""
        client.position = client.since
        while client.position < position:
            if int(self.order.text[client.position : client.position + LINE][SENT]) > client.answered:
                self._miss(client, client.position + LINE)
            client.position += LINE

    def _find(self, client: Client, line: bytes) -> None:
        """Handle one message that may not be the next in the order."""
        position = client.position or 0
        found = self.order.text.find(line, position)
        message = line[: NUMBER.stop]
        if found < 0 and (message in client.missing or line in self.order.text):
            self.order.late(client.missing, message)
            return
        if found < 0 and message in self.order.missing:
            return  # already counted as lost, for the clients that are ahead of this one
        if found < 0:
            found = len(self.order.text)
            self.order.append(line)
        self._miss(client, found)
        client.position = found + LINE

    def _miss(self, client: Client, to: int) -> None:
        """Count the messages before `to` in the order that the client skipped as lost."""
        for start in range(client.position or 0, to, LINE):
            client.missing.add(bytes(self.order.text[start : start + NUMBER.stop]))
            self.counts.lost += 1

    def _take_leave(self, client: Client) -> None:
        """Let a visitor leave once it has received its own messages; one that will reset the connection need not."""
        heard = self.order.next[client.name] == client.sent and self.order.ends[client.name] <= (client.position or 0)
        if not heard and client.way_out != "reset":
            return
        self.counts.visits[client.way_out] += 1
        if client.way_out == "close":
            self._send(client, CLOSING)
        elif client.way_out == "reset":
            with suppress(OSError):
                client.socket.send(HALF_A_FRAME)
            client.reset()
            self._forget(client)
        else:
            client.vanish()
            client.kind, client.began, client.since = Kind.VANISHED, time.monotonic(), client.position or 0
            self._watch(client)
        client.way_out = ""

    def _ended(self, client: Client, code: int = 0) -> None:
        """Handle the end of a connection by the server, with the code of its close frame if there was one."""
        client.socket.close()
        self._forget(client)
        if client.kind is Kind.PARTED:
            self._stuck_ended(client, code)
        elif not self._leaving and (client.kind is not Kind.VISITOR or client.way_out):
            self.counts.healthy_evicted[client.kind.name.lower()] += 1

    def _read_slowly(self, seconds: float) -> None:
        """Let the slow clients read three times what is sent on average in so many seconds, and no more."""
        average = self._rate + BURST / BURST_EVERY + VISITORS_A_SECOND * SAYS
        for client in self._of(Kind.SLOW):
            left = int(3 * average * LINE * seconds) or 1
            while left > 0 and (got := self._read(client, left)):
                left -= got

    def _look_after_stuck(self, now: float) -> None:
        """Find the stuck and vanished clients that the server has disconnected. As they do not read, ask the system."""
        for client in self._of(*PARTED_WITH):
            if client.answered and not self._established(client):
                if client.kind is Kind.VANISHED:
                    self.counts.vanished_after.append(now - client.began)
                    client.reset()
                    self._forget(client)
                else:
                    client.kind, client.began = Kind.PARTED, now
                    self._watch(client)
            elif client.answered and not self._awaited(client):
                self._give_up(client)

    def _give_up(self, client: Client) -> None:
        """Disconnect a client that the server kept. This is a failure, unless its buffer may not be full yet."""
        if not self._awaited(client):
            self.counts.stuck_not_evicted += 1
        elif client.kind is Kind.STUCK:
            self.counts.stuck_not_full += 1
        client.reset()
        self._forget(client)

    def _stuck_ended(self, client: Client, code: int) -> None:
        """Count how the server ended the connection of a stuck client: it must say 1008."""
        if code != 1008:
            self.counts.stuck_not_evicted += 1
            return
        self.counts.stuck_evicted += 1
        full = (client.position or client.since) // LINE + self._send_buffer - 1
        if full < len(self.order.times):
            after = client.began - self.order.times[full]
            self.counts.evicted_after.append(
                max(0.0, after)
            )  # the buffer may have been full before another client received the message

    def _waits(self) -> bool:
        """Whether the server still has a client to disconnect."""
        return any(map(self._awaited, self._of(*PARTED_WITH)))

    def _awaited(self, client: Client) -> bool:
        """Whether the server may still keep this client: its buffer may not be full, or not for long."""
        return len(self.order.text) - client.since < CERTAINLY_FULL or time.monotonic() - client.began < EVICTED_WITHIN

    def _established(self, client: Client) -> bool:
        """Whether the server's end of the connection is still open: sock_diag(7) finds a socket with its addresses."""
        try:
            near, far = client.socket.getsockname(), client.socket.getpeername()
        except OSError:  # the connection was reset
            return False
        addresses = socket.inet_aton(far[0]) + bytes(12) + socket.inet_aton(near[0]) + bytes(12)
        ends = struct.pack("!HH", far[1], near[1]) + addresses + struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
        request = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + ends
        self._diagnosis.send(struct.pack("=IHHII", 16 + len(request), 20, 1, 0, 0) + request)
        answer = self._diagnosis.recv(4096)
        (kind,) = struct.unpack_from("=H", answer, 4)
        return kind == 20 and answer[17] == ESTABLISHED  # 20: SOCK_DIAG_BY_FAMILY; otherwise there is no such socket
