"""connection.py when the server itself was asleep: stopped, frozen, or with its whole machine. And when it was not."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    CONTINUATION,
    LIMIT,
    PING,
    PONG,
    TEXT,
    THREADCHAT,
    Clock,
    Connect,
    Peer,
    Process,
    ScriptedReadiness,
    Step,
    frame,
    go,
    until,
)

from threadchat.websocket import connection, pongs, ready
from threadchat.websocket.connection import STUCK_AFTER, Connection, ConnectionClosed
from threadchat.websocket.ready import OVERSLEPT

PONG_WAIT, PING_EVERY, WRITE_WAIT = 60.0, 54.0, 10.0  # seconds, the defaults
HOUR = 3600.0
LATE = "1008 no pong within the pong wait"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of connections, which goes only as the scripts of their waits say."""
    clock = Clock()
    for module in (connection, pongs, ready):
        monkeypatch.setattr(module, "time", clock)
    return clock


# The pong wait


class Reading:
    """A connection whose reader's waits are scripted. `messages` reads until it ends."""

    def __init__(self, connect: Connect, clock: Clock, **options: Any) -> None:
        self.chat, self.peer = connect(**options)
        self._clock, self._begun = clock, clock.now

    def script(self, *steps: Step) -> None:
        self.chat._readable = ScriptedReadiness(self._clock, steps, self.chat._readable)

    @property
    def time(self) -> float:
        """Seconds since the beginning."""
        return self._clock.now - self._begun

    def ping(self) -> None:
        """The writer sends a ping. (The peer sends a word, so that the reader's wait ends.)"""
        self.chat.send_ping()
        self.say()

    def say(self) -> None:
        self.peer.send(TEXT, "word")

    def pong(self) -> None:
        self.peer.send(PONG)

    def leave(self) -> None:
        self.peer.leave()


@pytest.fixture
def here(connect: Connect, clock: Clock) -> Reading:
    return Reading(connect, clock)


def test_a_peer_that_does_not_answer_the_ping_has_the_pong_wait_from_its_last_pong(here: Reading) -> None:
    here.script((10, here.pong), (PING_EVERY, here.ping))
    assert list(here.chat) == ["word"]
    assert here.chat.ending == LATE
    assert here.time == pytest.approx(10 + PONG_WAIT)


def test_a_ping_that_was_sent_late_leaves_as_much_time_for_its_answer(here: Reading) -> None:
    late = PONG_WAIT - PING_EVERY - 0.5
    here.script((None, None), (PING_EVERY + late - here.chat._pong_wait.left, here.ping))
    assert list(here.chat) == ["word"]
    assert here.chat.ending == LATE
    assert here.time == pytest.approx(PONG_WAIT + late)


def test_no_pong_is_late_before_a_ping_was_sent(here: Reading) -> None:
    here.script(*[(None, None)] * 100, (1, here.leave))
    assert list(here.chat) == []
    assert here.chat.ending == "1000"


def test_the_oldest_of_the_pings_without_an_answer_counts(connect: Connect, clock: Clock) -> None:
    here = Reading(connect, clock, pong_wait=3, ping_period=1)
    here.script(*[(1, here.ping)] * 10)
    assert set(here.chat) == {"word"}
    assert here.chat.ending == LATE
    assert here.time == pytest.approx(3)


def test_a_pong_counts_even_if_it_is_read_before_the_writer_has_noted_its_ping(
    here: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = iter(here.chat)
    send = Connection._send

    def send_and_be_answered(chat: Connection, data: bytes) -> None:
        send(chat, data)
        here.pong()
        here.say()
        assert next(messages) == "word"

    monkeypatch.setattr(Connection, "_send", send_and_be_answered)
    here.chat.send_ping()
    monkeypatch.undo()
    assert here.chat._pong_wait.unanswered == []


def test_a_peer_that_sends_a_byte_now_and_then_and_no_pong_is_removed_in_time(here: Reading) -> None:
    data = iter(frame(TEXT, "a message that goes on", fin=False) + frame(CONTINUATION, "and on", fin=False) * 10)
    here.script((PING_EVERY, here.ping), *[(0.1, lambda: here.peer.socket.send(bytes([next(data)])))] * 80)
    assert list(here.chat) == ["word"]
    assert here.chat.ending == LATE
    assert here.time == pytest.approx(PONG_WAIT, abs=0.2)


def test_a_server_that_overslept_gives_the_peer_the_whole_pong_wait_again(here: Reading) -> None:
    here.chat.send_ping()
    here.script((HOUR, None), (PING_EVERY, here.ping))
    assert list(here.chat) == ["word"]
    assert here.chat.ending == LATE
    assert here.time == pytest.approx(HOUR + PONG_WAIT)


def test_a_server_that_overslept_until_a_message_came_gives_the_pong_wait_too(here: Reading) -> None:
    here.chat.send_ping()
    here.script((HOUR, here.say), (PING_EVERY, here.pong), (PING_EVERY, here.leave))
    assert list(here.chat) == ["word"]
    assert here.chat.ending == "1000"


def test_a_server_that_overslept_between_the_ping_and_the_end_of_the_pong_wait_notices(here: Reading) -> None:
    here.script((PING_EVERY, here.ping), (PONG_WAIT - PING_EVERY, None), (PING_EVERY, here.pong), (1, here.leave))
    assert list(here.chat) == ["word"]
    assert here.chat.ending == "1000"


def test_the_time_in_which_nobody_reads_does_not_count(here: Reading, clock: Clock) -> None:
    here.script((PING_EVERY, here.ping), (2, here.pong), (1, here.leave))
    for message in here.chat:
        assert message == "word"
        clock.now += HOUR  # the hub is busy, or the process asleep
    assert here.chat.ending == "1000"


# The write wait


class Writing:
    """A connection whose writer's waits are scripted. `room` is how many bytes the kernel still takes."""

    def __init__(self, connect: Connect, clock: Clock) -> None:
        self.has_room()
        self.chat, self.peer = connect(self._send)
        self.room = 0
        self._clock, self._begun = clock, clock.now
        self.stuck: list[float] = []
        self.chat.on_stuck = lambda: self.stuck.append(self.time)

    def _send(self, real: Any, data: Any) -> int:
        if self.room <= 0:
            raise BlockingIOError
        sent: int = real.send(data[: self.room])
        self.room -= sent
        return sent

    @property
    def time(self) -> float:
        return self._clock.now - self._begun

    def write(self, *steps: Step) -> None:
        self.chat._writable = ScriptedReadiness(self._clock, steps)
        self.chat.send(self.chat.encode(["a message"]))
        assert self.peer.lines(1) == ["a message"]

    def has_room(self) -> None:
        self.room = 1_000_000

    def has_little_room(self) -> None:
        self.room = 3


@pytest.fixture
def there(connect: Connect, clock: Clock) -> Writing:
    return Writing(connect, clock)


def test_a_write_goes_on_after_a_sleep_if_there_is_room(there: Writing) -> None:
    there.write((HOUR, there.has_room))
    assert there.stuck == []


def test_a_write_has_its_whole_time_after_a_sleep(there: Writing) -> None:
    there.write((HOUR, there.has_little_room), (WRITE_WAIT - 1, there.has_room))


def test_a_peer_is_not_stuck_before_it_could_read_after_a_sleep(there: Writing) -> None:
    there.write((HOUR, None), (OVERSLEPT / 2, there.has_room))
    assert there.stuck == []


def test_a_peer_that_takes_nothing_after_a_sleep_is_stuck_and_then_disconnected(there: Writing) -> None:
    with pytest.raises(ConnectionClosed):
        there.write((HOUR, None))
    assert there.stuck[0] == HOUR + OVERSLEPT
    assert there.chat.ending == "1006 writing took longer than the write wait"
    assert there.time == pytest.approx(HOUR + OVERSLEPT + WRITE_WAIT)


def test_a_peer_that_takes_nothing_is_stuck_and_then_disconnected(there: Writing) -> None:
    with pytest.raises(ConnectionClosed):
        there.write()
    assert there.stuck == [STUCK_AFTER]
    assert there.time == pytest.approx(WRITE_WAIT)


def test_room_that_comes_with_the_end_of_the_write_wait_is_used(there: Writing) -> None:
    def too_late() -> None:
        there.has_room()
        there._clock.now += 0.001

    there.write((None, None), (WRITE_WAIT - STUCK_AFTER, too_late))


# A real server


def stopped(process: Process) -> bool:
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


def passed(moment: float) -> None:
    until(lambda: time.monotonic() > moment, "the time")


def hears(peer: Peer) -> str:
    """The next message. Pings are answered."""
    while (got := peer.receive()).opcode == PING:
        peer.send(PONG)
    assert got.opcode == TEXT, got
    return got.payload.decode()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """A server whose clients have two seconds to answer a ping."""
    command = [*THREADCHAT, "serve", "--port=0", "--pong-wait=4", "--ping-period=2", "--write-wait=0.5"]
    with Process(tmp_path, command) as process:
        yield process
        assert process.end() == 0


@pytest.mark.parametrize("pinged", [False, True], ids=["before the ping", "after the ping"])
def test_a_stopped_server_removes_no_client_that_answers_and_each_that_does_not(process: Process, pinged: bool) -> None:
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(process.port)) for _ in range(5)]
        peers[0].send(TEXT, "hello")
        assert [hears(peer) for peer in peers] == ["hello"] * 5
        if pinged:
            assert [peer.receive().opcode for peer in peers] == [PING] * 5
        process.process.send_signal(signal.SIGSTOP)
        until(lambda: stopped(process), "the stop")
        if pinged:
            for peer in peers:
                peer.send(PONG)
        passed(time.monotonic() + 5.0)  # more than the pong wait and the write wait
        process.process.send_signal(signal.SIGCONT)
        hearing = [go(hears, peer) for peer in peers[:4]]
        *pings, last = peers[4].receive_all()
        assert {got.opcode for got in pings} == {PING}
        assert len(pings) <= 3
        assert (last.close_code, last.close_reason) == (1008, "no pong within the pong wait")
        with Peer(process.port) as late:
            late.talk("still here")
            assert [each.result(LIMIT) for each in hearing] == ["still here"] * 4
