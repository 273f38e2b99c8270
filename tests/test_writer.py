"""The log writer: what waits is one group, nobody sees what the store does not have, and a store that is down loses
nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence

import pytest
from helpers import LIMIT, go, until

from threadchat.channel import Closed
from threadchat.log import Addition, Stored, StoreDown
from threadchat.log import writer as module
from threadchat.log.writer import SAID_BUFFER, LogWriter
from threadchat.messages import Entry, message


class FakeStore:
    """A store that can be held, taken down or broken."""

    def __init__(self) -> None:
        self.written: list[list[tuple[str, str]]] = []  # groups of rooms and texts
        self.loaded: list[str] = []
        self.reached = threading.Event()  # somebody writes
        self.go_on = threading.Event()
        self.go_on.set()
        self.down = ""
        self.lost: set[str] = set()  # rooms that have another log now
        self.error: Exception | None = None
        self.closed = False

    def names(self) -> set[str]:
        return {"den"}

    def load(self, room: str) -> Stored:
        self._work()
        self.loaded.append(room)
        return Stored("epoch")

    def write(self, additions: Sequence[Addition]) -> Collection[str]:
        self._work()
        if self.lost:
            return self.lost
        self.written.append([(each.room, entry.text) for each in additions for entry in each.entries])
        return ()

    def _work(self) -> None:
        self.reached.set()
        assert self.go_on.wait(LIMIT)
        if self.error is not None:
            raise self.error
        if self.down:
            raise StoreDown(self.down)

    def expire(self, before: float, used: Collection[str]) -> None:
        self.written.append([("expired", "")])

    def secret(self, name: str, made: str) -> str:
        return made

    def close(self) -> None:
        self.closed = True


class FakeRoom:
    """A room that takes everything, and remembers what it was told."""

    def __init__(self, name: str = "den") -> None:
        self.name = name
        self.said: list[str] = []
        self.told: list[bool] = []
        self.loads = 0
        self.failed = False
        self.lost = False

    def load(self, kept: Stored) -> None:
        self.loads += 1

    def accept(self, said: Sequence[Entry]) -> Addition:
        return Addition(self.name, said, 0, 0, "epoch", 0)

    def taken(self, said: Sequence[Entry], accepted: Sequence[Entry]) -> None:
        self.said += [entry.text for entry in accepted]

    def tell(self, up: bool) -> None:
        self.told.append(up)

    def lose(self) -> None:
        self.lost = True

    def fail(self) -> None:
        self.failed = True


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def writer(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogWriter]:
    monkeypatch.setattr(module, "AGAIN", 0.01)
    monkeypatch.setattr(module, "GRACE", 0.05)
    made = LogWriter(store)
    yield made
    store.go_on.set()
    made.stop()
    made.join()
    assert store.closed


@pytest.fixture
def room(writer: LogWriter) -> FakeRoom:
    made = FakeRoom()
    writer.said.send((made, None))
    until(lambda: made.loads)
    return made


def say(writer: LogWriter, room: FakeRoom, *texts: str) -> None:
    for text in texts:
        writer.said.send((room, message(text, "ann")))


def held(store: FakeStore, action: Callable[[], None]) -> None:
    """Do it, and wait until the writer is in the store, which is held."""
    store.go_on.clear()
    store.reached.clear()
    action()
    assert store.reached.wait(LIMIT)


def test_what_waits_is_written_as_one_group_with_all_rooms(writer: LogWriter, store: FakeStore, room: FakeRoom) -> None:
    other = FakeRoom("other")
    writer.said.send((other, None))
    held(store, lambda: say(writer, room, "first"))
    say(writer, room, "a", "b")
    say(writer, other, "c")
    say(writer, room, "d")
    assert not room.said, "nobody sees what the store does not have"
    store.go_on.set()
    until(lambda: room.said == ["first", "a", "b", "d"] and other.said == ["c"])
    assert store.written == [[("den", "first")], [("den", "a"), ("den", "b"), ("den", "d"), ("other", "c")]]


def test_while_the_store_is_down_senders_wait_and_nothing_is_lost(
    writer: LogWriter, store: FakeStore, room: FakeRoom, caplog: pytest.LogCaptureFixture
) -> None:
    store.down = "the disk is full"
    texts = [str(number) for number in range(3 * SAID_BUFFER)]
    saying = go(say, writer, room, *texts)
    until(lambda: writer.said.statistics().waiting_senders == 1, "backpressure")
    until(lambda: room.told == [False])
    assert writer.is_down
    assert not room.said
    store.down = ""
    saying.result(LIMIT)
    until(lambda: room.said == texts)
    assert room.told == [False, True]
    assert not writer.is_down
    told = [(record.levelno, record.message) for record in caplog.records]
    assert told == [
        (logging.ERROR, "the log is down, and nobody can say anything: the disk is full"),
        (logging.WARNING, "the log is up again"),
    ]


def test_a_stop_writes_what_was_said_before_it(writer: LogWriter, store: FakeStore, room: FakeRoom) -> None:
    say(writer, room, *"abc")
    writer.stop()
    until(lambda: room.said == ["a", "b", "c"])  # it goes on after its grace, as long as the store takes what it writes
    with pytest.raises(Closed):
        say(writer, room, "too late")
    assert not writer.failed


def test_race_1_what_an_older_room_says_after_a_newer_one_was_opened_is_dropped(
    writer: LogWriter, store: FakeStore, room: FakeRoom
) -> None:
    newer = FakeRoom()
    held(store, lambda: say(writer, room, "before"))
    say(writer, room, "still before")
    writer.said.send((newer, None))
    say(writer, room, "after")
    say(writer, newer, "the newer one")
    store.go_on.set()
    until(lambda: newer.said == ["the newer one"])
    assert room.said == ["before", "still before"]
    assert store.loaded == ["den", "den"]
    assert store.written[-2:] == [[("den", "still before")], [("den", "the newer one")]]


def test_race_2_a_stop_while_the_store_is_down_gives_up_after_a_grace(
    writer: LogWriter, store: FakeStore, room: FakeRoom, caplog: pytest.LogCaptureFixture
) -> None:
    store.down = "no disk"
    say(writer, room, "lost")
    until(lambda: writer.is_down)
    writer.stop()
    writer.join()
    assert not room.said
    assert caplog.messages[-1] == "what was on its way to the log is lost: no disk"


def test_race_3_a_writer_that_fails_tells_everybody_who_sends(
    writer: LogWriter, store: FakeStore, room: FakeRoom, caplog: pytest.LogCaptureFixture
) -> None:
    store.error = ZeroDivisionError("a defect")
    saying = go(say, writer, room, *map(str, range(3 * SAID_BUFFER)))
    with pytest.raises(Closed):
        saying.result(LIMIT)
    until(lambda: writer.failed)
    assert room.failed
    assert "the log writer has failed" in caplog.text
    assert "a defect" in caplog.text


def test_what_is_said_in_a_room_whose_log_is_another_one_now_is_not_taken(
    writer: LogWriter, store: FakeStore, room: FakeRoom
) -> None:
    store.lost = {"den"}
    say(writer, room, "a")
    until(lambda: room.lost)
    assert not room.said


def test_a_sweep_comes_before_the_next_group(store: FakeStore) -> None:
    writer, room = LogWriter(store, keep_for=60.0), FakeRoom()
    writer.said.send((room, None))
    say(writer, room, "a")
    until(lambda: room.said == ["a"])
    writer.sweep()
    say(writer, room, "b")
    writer.stop()
    writer.join()
    assert store.written == [[("expired", "")], [("den", "a")], [("expired", "")], [("den", "b")]]


def test_a_room_that_nobody_has_any_more_is_freed(writer: LogWriter, room: FakeRoom) -> None:
    writer.said.send((FakeRoom("temporary"), None))
    say(writer, room, "something else")
    until(lambda: room.said and list(writer._rooms) == ["den"])
