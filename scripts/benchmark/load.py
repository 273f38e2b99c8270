"""The load: many WebSocket clients in one thread of one process, as cheap as possible.

A message is LENGTH bytes, "S:NNNNNNNN:TTTTTTTTTTTTTTTT:xxx": its sender, its sequence number and the time it was sent.
All clients must receive the same lines in the same order, and each sender's without a gap. The first client to
receive a line defines the order; its sequence number is checked once, and the bytes of every other client are
compared with it. This finds lost, repeated and reordered messages at the cost of comparing bytes.

With --v1 the clients speak threadchat.v1: a line is a JSON object that ends with the message. Lines of other types are
left out of the order; there are none while a run is measured.

It runs as a process of its own: `python load.py saturation --port P --clients N ...` prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

LENGTH = 64
SENDERS = 4
FIRST_NAME, NAMES = ord("0"), 64  # a sender's name is one byte; the replacement of a dropped sender gets the next one
V1_BEGINS = ord("{")  # no sender's name
RECEIVE_BYTES = 1 << 18
CONNECTING = 64  # handshakes in progress at the same time

buffer = memoryview(bytearray(RECEIVE_BYTES))


def encode(token: bytes, number: int) -> bytes:
    """Return a client's frame. Its mask is zero, which is valid and spares the load the masking, but not the server."""
    text = b"%s%08d:%016d:" % (token, number, time.monotonic_ns())
    return b"\x81" + bytes([0x80 | LENGTH]) + b"\0\0\0\0" + text.ljust(LENGTH, b"x")


def encode_v1(token: bytes, number: int) -> bytes:
    """Return a client's frame as `encode` does, in threadchat.v1."""
    text = b'{"type":"msg","n":%d,"text":"%s"}' % (number + 1, encode(token, number)[6:])
    return b"\x81" + bytes([0x80 | len(text)]) + b"\0\0\0\0" + text


def read_until(end: bytes, connected: socket.socket, answer: bytes = b"") -> bytes:
    """Return what the server answers, and what it has answered already, at least up to this end."""
    while end not in answer:
        more = connected.recv(4096)
        if not more:
            raise ConnectionError("the server closed the connection instead of answering the handshake")
        answer += more
    return answer


class Order:
    """The order of all lines, as a text; and how many messages are missing from it or were repeated.

    What the lines say is found out once, when they are appended: for each client they are counted alone.
    """

    def __init__(self) -> None:
        self.text = bytearray()
        self.lines = {0: 0}  # the number of lines before each position at which a line begins
        self.names = bytearray()  # each line's sender
        self.times: list[int] = []  # when each line was sent, in ns
        self.next: list[int | None] = [0] * NAMES  # sequence numbers; None accepts any, for a reused name
        self.lost = 0
        self.repeated = 0

    def append(self, line: bytes) -> None:
        """Add a line that no client has received before, and check its sequence number."""
        end = len(line) if line[0] != V1_BEGINS else len(line) - 2
        sender, number, sent = line[end - LENGTH], int(line[end - LENGTH + 2 : end - LENGTH + 10]), end - LENGTH + 11
        self.text += line + b"\n"
        self.lines[len(self.text)] = len(self.lines)
        self.names.append(sender)
        self.times.append(int(line[sent : sent + 16]))
        expected = self.next[sender - FIRST_NAME]
        if expected is not None and number != expected:
            if number < expected:
                self.repeated += 1
                return
            self.lost += number - expected
        self.next[sender - FIRST_NAME] = number + 1


class Client:
    """One connection and how far it has come."""

    __slots__ = ("begun", "frames", "messages", "position", "rest", "sent", "socket", "token")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.rest = b""  # received bytes that are not a whole frame yet
        self.begun = b""  # the fragments of an unfinished message
        self.position = 0  # in the order's text: what comes next
        self.messages = 0
        self.frames = 0
        self.sent = 0
        self.token = b""  # a sender's name and a colon, with which its messages begin; empty for other clients


class Load:
    """All clients of one server. The first SENDERS of them also send. Raises OSError if one cannot join."""

    def __init__(self, port: int, clients: int, v1: bool = False) -> None:
        self.port = port
        self.v1 = v1
        self.order = Order()
        self.clients: dict[int, Client] = {}
        self.poll = select.epoll()
        self.dropped = 0
        self.lost = 0
        self.repeated = 0
        self.dropped_frames = 0
        self.in_flight = 0
        self.names = 0
        self.own: dict[Client, int] = {}  # messages that came back to their senders and are not replaced yet
        self.latencies: list[int] | None = None  # in ns, one for each delivery; None: not measured
        self.own_latencies: list[int] = []  # those of the senders' own messages
        started = time.monotonic()
        self.connect(clients)
        self.connect_seconds = time.monotonic() - started
        self.senders = list(self.clients.values())[:SENDERS]
        for sender in self.senders:
            self.name(sender)

    def name(self, sender: Client) -> None:
        """Make the client a sender, with a name that no other client has at present."""
        number = self.names % NAMES
        sender.token = bytes([FIRST_NAME + number, ord(":")])
        if self.names >= NAMES:
            self.order.next[number] = None
        self.names += 1

    def connect(self, count: int) -> None:
        """Open `count` connections, at most CONNECTING of them at a time."""
        request = (
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"{'Sec-WebSocket-Protocol: threadchat.v1' + chr(13) + chr(10) if self.v1 else ''}\r\n"
        ).encode()
        waiting: dict[int, socket.socket] = {}
        answered = select.epoll()
        begun = 0
        while begun < count or waiting:
            while begun < count and len(waiting) < CONNECTING:
                new = socket.create_connection(("127.0.0.1", self.port), timeout=60)
                new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                new.sendall(request)
                waiting[new.fileno()] = new
                answered.register(new, select.EPOLLIN)
                begun += 1
            ready = answered.poll(60)
            if not ready:
                raise TimeoutError("no answer to a handshake for 60 s")
            for number, _ in ready:
                connected = waiting.pop(number)
                answered.unregister(number)
                answer = read_until(b"\r\n\r\n", connected)
                first_line = answer.partition(b"\r\n")[0]
                if b" 101 " not in first_line:
                    raise ConnectionError(f"the server refused the handshake: {first_line.decode(errors='replace')}")
                if self.v1:  # of what is said before its hello, a client is shown the newest messages alone
                    answer = read_until(b'"hello"', connected, answer)
                connected.setblocking(False)
                client = Client(connected)
                client.rest = answer.partition(b"\r\n\r\n")[2]
                self.clients[number] = client
                self.poll.register(number, select.EPOLLIN)
        answered.close()

    def receive(self, timeout: float) -> int:
        """Wait up to `timeout` seconds, read what has arrived for any client, and return the number of messages."""
        total = 0
        for number, _ in self.poll.poll(timeout):
            client = self.clients[number]
            try:
                size = client.socket.recv_into(buffer)
            except BlockingIOError:
                continue
            except OSError:
                size = 0
            if not size:
                self.drop(client)
                continue
            now = time.monotonic_ns() if self.latencies is not None else 0
            data = bytes(buffer[:size])
            if client.rest:
                data = client.rest + data
                client.rest = b""
            total += self.parse(client, data, now)
        return total

    def parse(self, client: Client, data: bytes, now: int) -> int:
        """Read the frames in `data`, which arrived at `now` (ns), and return the number of messages in them."""
        at, end, lost = 0, len(data), self.lost
        order, position = self.order, client.position
        first = order.lines[position]
        while at + 2 <= end:
            size, body = data[at + 1], at + 2
            if size == 126:
                body, size = at + 4, (data[at + 2] << 8) + data[at + 3] if at + 4 <= end else end
            elif size == 127:
                body, size = at + 10, int.from_bytes(data[at + 2 : at + 10], "big") if at + 10 <= end else end
            if body + size > end:
                break
            opcode = data[at]
            at = body + size
            if opcode in (0x01, 0x00):  # a fragment, and not the last
                client.begun += data[body:at]
            elif opcode in (0x81, 0x80):
                payload = data[body:at]
                if opcode == 0x80:
                    payload, client.begun = client.begun + payload, b""
                if order.text.startswith(payload, position) and position + len(payload) + 1 in order.lines:
                    position += len(payload) + 1
                else:
                    position = self.compare(payload, position)
                client.frames += 1
            elif opcode == 0x88:
                self.drop(client)
                break
            elif opcode == 0x89:
                with suppress(OSError):  # the socket is full or closed
                    client.socket.send(b"\x8a" + bytes([0x80 | size]) + b"\0\0\0\0" + data[body:at])
        client.rest = data[at:]
        client.position = position
        last = order.lines[position]
        if client.token and (own := order.names.count(client.token[0], first, last)):
            self.own[client] = self.own.get(client, 0) + own
        if self.latencies is not None:
            self.latencies += [now - sent for sent in order.times[first:last]]
            if client.token:
                own_name, names = client.token[0], order.names
                self.own_latencies += [now - order.times[at] for at in range(first, last) if names[at] == own_name]
        return last - first - (self.lost - lost)

    def compare(self, payload: bytes, position: int) -> int:
        """Compare lines with the order one by one, and return the client's new position.

        Lines behind the end of the order are appended. Those that the client skipped are lost; a line that stands
        before its position is repeated.
        """
        order = self.order
        for line in payload.split(b"\n"):
            if self.v1 and not line.startswith(b'{"type":"msg"'):
                continue
            if position < len(order.text):
                whole = line + b"\n"
                found = order.text.find(whole, position)
                if found < 0 and whole in order.text:
                    self.repeated += 1
                    continue
                if found < 0:
                    found = len(order.text)
                self.lost += order.lines[found] - order.lines[position]
                position = found
            if position == len(order.text):
                order.append(line)
            position += len(line) + 1
        return position

    def drop(self, client: Client) -> None:
        """Forget a client that the server disconnected. If it was a sender, another client takes its place.

        Nothing happens if it is forgotten already.
        """
        if self.clients.get(client.socket.fileno()) is not client:
            return
        self.dropped += 1
        self.dropped_frames += client.frames
        self.poll.unregister(client.socket)
        del self.clients[client.socket.fileno()]
        client.socket.close()
        self.own.pop(client, None)
        if client in self.senders:
            self.senders.remove(client)
            heir = next((other for other in self.clients.values() if not other.token), None)
            if heir is not None:
                self.senders.append(heir)
                self.name(heir)
                self.own[heir] = self.in_flight  # so that it begins with as many in flight as the other had

    def send(self, sender: Client, count: int) -> None:
        """Send `count` new messages, and wait until the system has taken them."""
        make = encode_v1 if self.v1 else encode
        frames = b"".join(make(sender.token, sender.sent + number) for number in range(count))
        sender.sent += count
        try:
            sender.socket.setblocking(True)
            sender.socket.sendall(frames)
            sender.socket.setblocking(False)
        except OSError:
            self.drop(sender)

    def frames(self) -> int:
        """Return the number of data frames that all clients have received so far."""
        return sum(client.frames for client in self.clients.values()) + self.dropped_frames

    def settle(self) -> None:
        """Receive what is still in flight, until nothing comes for 2 s. What a client does not have by then is lost."""
        limit = time.monotonic() + 20
        while any(client.position < len(self.order.text) for client in self.clients.values()):
            if time.monotonic() > limit or not self.poll.poll(
                2
            ):  # nothing comes any more; poll() also reports a connection that ended
                break
            self.receive(0)
        for client in self.clients.values():
            self.lost += len(self.order.names) - self.order.lines[client.position]


class Server:
    """What the operating system says about the server's process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def cpu(self) -> float:
        """Return the seconds of CPU time that it has used so far."""
        return time.clock_gettime((~self.pid << 3) | 2)  # the clock that clock_getcpuclockid() returns

    def status(self, name: str) -> int:
        """Return a number from /proc/PID/status, sizes in KB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise KeyError(name)


class Servers:
    """The processes of one chat together, and the Redis that they share, if they do."""

    def __init__(self, pids: Sequence[int], redis: int | None) -> None:
        self._each = [Server(pid) for pid in pids]
        self._redis = [Server(redis)] if redis else []
        self._idle = [each.status("Threads") for each in self._each]

    def __len__(self) -> int:
        return len(self._each)

    def cpu(self) -> float:
        """Return the seconds of CPU time that the chat's processes have used so far."""
        return sum(self.used()[: len(self)])

    def status(self, name: str) -> int:
        """Return a number from /proc/PID/status, added up."""
        return sum(each.status(name) for each in self._each)

    def used(self) -> list[float]:
        """Return the seconds of CPU time of each, with those of Redis as the last."""
        return [each.cpu() for each in (*self._each, *self._redis)]

    def apart(self, before: Sequence[float], deliveries: int, entries: int, seconds: float) -> dict[str, float]:
        """Return what each has used since `before`, if they share a Redis. A process's deliveries are by its clients.

        A client has two threads.
        """
        if not self._redis:
            return {}
        *chat, redis = (now - then for now, then in zip(self.used(), before, strict=True))
        clients = [each.status("Threads") - idle for each, idle in zip(self._each, self._idle, strict=True)]
        parts = [deliveries * own / max(1, sum(clients)) for own in clients]
        return {
            "cpu_us_a_delivery_worst": max(used / max(1, part) for used, part in zip(chat, parts, strict=True)) * 1e6,
            "redis_cpu_us_a_message": redis / max(1, entries) * 1e6,
            "redis_cpu": redis / seconds,
        }


def saturation(load: Load, server: Servers, in_flight: int, seconds: float) -> dict[str, Any]:
    """Measure throughput: each sender has `in_flight` messages under way, and replaces each that comes back to it."""
    load.in_flight = in_flight
    for sender in list(load.senders):
        load.send(sender, in_flight)

    def run(seconds: float) -> tuple[int, float]:
        messages, started = 0, time.monotonic()
        while (now := time.monotonic()) < started + seconds and load.clients:
            messages += load.receive(0.1)
            own, load.own = load.own, {}
            for sender, count in own.items():
                load.send(sender, count)
        return messages, max(now - started, seconds)  # without clients, the rest counts as time without deliveries

    run(min(1.0, seconds / 4))
    frames, cpu, own_cpu = load.frames(), server.cpu(), time.process_time()
    used, entries = server.used(), len(load.order.names)
    messages, elapsed = run(seconds)
    entries = len(load.order.names) - entries
    server_cpu = server.cpu() - cpu
    result = {
        "deliveries_a_second": messages / elapsed,
        "messages_a_frame": messages / max(1, load.frames() - frames),
        "cpu_us_a_delivery": server_cpu / max(1, messages) * 1e6,
        "messages_a_second": entries / elapsed,
        "server_cpu": server_cpu / elapsed / len(server),
        "load_cpu": (time.process_time() - own_cpu) / elapsed,
    } | server.apart(used, messages, entries, elapsed)
    load.settle()
    return result


def calm(load: Load, server: Servers, rate: float, seconds: float) -> dict[str, Any]:
    """Measure the latency of each delivery at `rate` messages a second, a pace that does not depend on the server."""

    def run(seconds: float) -> int:
        messages, started, sent = 0, time.monotonic(), 0
        total = round(seconds * rate)
        expected = total * len(load.clients)
        while messages < expected and time.monotonic() < started + seconds + 10 and load.clients:
            due = started + sent / rate
            wait = due - time.monotonic() if sent < total else 0.1
            if wait <= 0:
                load.send(load.senders[sent % len(load.senders)], 1)
                sent += 1
                wait = 0
            messages += load.receive(wait)
        load.own.clear()
        return messages

    run(min(1.0, seconds / 4))
    load.latencies = []
    cpu, own_cpu, started = server.cpu(), time.process_time(), time.monotonic()
    used = server.used()
    messages = run(seconds)
    latencies = sorted(load.latencies)
    load.latencies = None
    return server.apart(used, messages, round(seconds * rate), time.monotonic() - started) | {
        "own_echo_p50_ms": statistics.median(load.own_latencies) / 1e6 if load.own_latencies else None,
        "latency_p50_ms": statistics.median(latencies) / 1e6 if latencies else None,
        "latency_p99_ms": latencies[len(latencies) * 99 // 100] / 1e6 if latencies else None,
        "cpu_us_a_delivery": (server.cpu() - cpu) / max(1, messages) * 1e6,
        "load_cpu": (time.process_time() - own_cpu) / (time.monotonic() - started),
        "undelivered": round(seconds * rate) * len(load.clients) - messages,
    }


def crowd(load: Load, server: Servers, memory_before: int, messages: int) -> dict[str, Any]:
    """Measure what the connected clients cost, and how long it takes until the last client has one message."""
    count = len(load.clients)
    memory, threads = server.status("VmRSS"), server.status("Threads")
    took = []
    for _ in range(messages):
        started, got = time.monotonic(), 0
        if not load.senders:
            raise ConnectionError("the server closed the senders' connections")
        load.send(load.senders[0], 1)
        while got < len(load.clients) and time.monotonic() < started + 60:
            got += load.receive(1)
        took.append(time.monotonic() - started)
        load.own.clear()
    return {
        "connections_a_second": count / load.connect_seconds,
        "memory_kb_a_client": (memory - memory_before) / count,
        "threads": threads,
        "one_to_all_ms": statistics.median(took) * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=["saturation", "calm", "crowd"])
    parser.add_argument("--port", type=int, required=True)
    help_text = "a process of the server (repeatable)"
    parser.add_argument("--pid", type=int, action="append", required=True, help=help_text)
    parser.add_argument("--redis-pid", type=int, help="the Redis that they share")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--in-flight", type=int, default=16, help="unanswered messages of each sender")
    parser.add_argument("--rate", type=float, default=50, help="messages a second")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--v1", action="store_true", help="speak threadchat.v1")
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = Servers(given.pid, given.redis_pid)
    memory_before = server.status("VmRSS")
    load = Load(given.port, given.clients, given.v1)
    if given.scenario == "saturation":
        result = saturation(load, server, given.in_flight, given.seconds)
    elif given.scenario == "calm":
        result = calm(load, server, given.rate, given.seconds)
    else:
        result = crowd(load, server, memory_before, 5)
    result |= {
        "dropped": load.dropped,
        "lost": load.lost + load.order.lost,
        "repeated": load.repeated + load.order.repeated,
    }
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
