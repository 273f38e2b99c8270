"""The log reader: all that a store brings comes to the rooms once and in order; what cannot be trusted ends them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from helpers import LIMIT, go, until

from threadchat.log import RETURN_WAIT, Arrivals, Look, Point, StoreDown
from threadchat.log import reader as module
from threadchat.log.reader import LogReader
from threadchat.messages import Entry, message


class FakeStore:
    """A shared store in memory, which can be taken down or broken. `logs` are the rooms' entries."""

    process = "this"

    def __init__(self) -> None:
        self.logs: dict[str, list[Entry]] = {}
        self.lost: set[str] = set()
        self.dead: dict[str, bool] = {}  # processes, and whether they have left in order
        self.new: set[str] = set()
        self.buried: list[str] = []
        self.left: list[float] = []
        self.calls: list[str] = []
        self.down = ""
        self.error: Exception | None = None
        self.something = threading.Condition()

    def add(self, room: str, *texts: str, first: int | None = None) -> None:
        with self.something:
            log = self.logs.setdefault(room, [])
            for number, text in enumerate(texts, len(log) + 1 if first is None else first):
                entry = message(text, "ann")
                entry.id, entry.at, entry.epoch = number, 0.0, "epoch"
                log.append(entry)
            self.new.add(room)
            self.something.notify_all()

    def wake(self, room: str = "") -> None:
        with self.something:
            self.new |= {room} - {""}
            self.something.notify_all()

    def news(self, wait: bool) -> set[str]:
        self._call("news")
        with self.something:
            if not self.new:
                self.something.wait(LIMIT if wait else 0.01)
            new, self.new = self.new, set()
        if self.down:
            raise StoreDown(self.down)
        return new

    def read(self, after: Mapping[str, tuple[str, int]]) -> dict[str, Arrivals]:
        self._call("read")
        new = {room: [each for each in self.logs.get(room, ()) if each.id > top] for room, (_, top) in after.items()}
        return {room: Arrivals(entries[:2], (), len(entries) > 2) for room, entries in new.items() if entries}

    def look(self, points: Sequence[Point]) -> Look:
        self._call("look")
        behind = {each.room for each in points if len(self.logs.get(each.room, ())) > each.top}
        return Look(self.lost & {each.room for each in points}, behind, set(self.logs))

    def lease(self) -> dict[str, bool]:
        self._call("lease")
        return self.dead

    def leave(self, lasts: float) -> None:
        self.left.append(lasts)

    def bury(self, process: str) -> None:
        self.buried.append(process)

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if self.error is not None:
            raise self.error
        if self.down:
            raise StoreDown(self.down)

    # What the log writer needs, which nobody calls here.

    def names(self) -> set[str]:
        raise AssertionError

    load = write = expire = secret = close = names


class FakeRoom:
    """A room that takes everything, and remembers what it was told."""

    def __init__(self, name: str = "den") -> None:
        self.name = name
        self.texts: list[str] = []
        self.told: list[bool] = []
        self.ended = self.is_far_behind = self.failed = self.lost = False

    @property
    def reached(self) -> tuple[str, int]:
        return "epoch", len(self.texts)

    @property
    def point(self) -> Point:
        return Point(self.name, "epoch", len(self.texts), "token")

    def arrived(self, arrivals: Arrivals) -> None:
        self.texts += [entry.text for entry in arrivals.entries]

    def lose(self) -> None:
        self.lost = self.ended = True

    def tell(self, up: bool) -> None:
        self.told.append(up)

    def fail(self) -> None:
        self.failed = True


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def read(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], LogReader]]:
    monkeypatch.setattr(module, "AGAIN", 0.01)
    made: list[LogReader] = []

    def start() -> LogReader:
        made.append(LogReader(store, set()))  # type: ignore[arg-type]
        return made[-1]

    yield start
    for each in made:
        each.stop()


def test_what_is_new_comes_to_each_room_once_and_in_order(read: Callable[[], LogReader], store: FakeStore) -> None:
    reader, den, other = read(), FakeRoom(), FakeRoom("other")
    store.add("den", "before")
    for room in (den, other):
        reader.follow(room)
    store.add("den", "a", "b")
    store.add("other", "c")
    store.add("den", "d")
    until(lambda: den.texts == ["before", "a", "b", "d"] and other.texts == ["c"])


def test_what_comes_while_much_is_said_goes_on_together_and_what_comes_alone_at_once(
    read: Callable[[], LogReader], store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, den = read(), FakeRoom()
    reader.follow(den)
    waits: list[float | None] = []
    goes_on = threading.Event()

    def wait(seconds: float | None = None) -> bool:
        waits.append(seconds)
        return not goes_on.wait(LIMIT)

    monkeypatch.setattr(reader._stopping, "wait", wait)
    for text in "ab":
        asked = store.calls.count("news")
        store.add("den", text)
        until(lambda: den.texts[-1:] == [text] and store.calls.count("news") > asked)  # noqa: B023
    assert not waits
    store.add("den", "c", "d")
    until(lambda: waits == [module.PACE])
    asked = store.calls.count("read")
    for text in "ef":
        store.add("den", text)
    goes_on.set()
    until(lambda: den.texts == [*"abcdef"])
    assert store.calls.count("read") == asked + 1


def test_rooms_that_were_opened_elsewhere_become_known(read: Callable[[], LogReader], store: FakeStore) -> None:
    store.add("old", "x")
    reader = read()
    until(lambda: reader._names == {"old"})
    store.wake("new")
    until(lambda: reader._names == {"old", "new"})


def test_a_room_that_is_far_behind_holds_up_no_other(read: Callable[[], LogReader], store: FakeStore) -> None:
    reader, slow, other = read(), FakeRoom("slow"), FakeRoom("other")
    slow.is_far_behind = True
    for room in (slow, other):
        reader.follow(room)
    store.add("slow", "waits")
    store.add("other", "comes")
    until(lambda: other.texts == ["comes"])
    assert not slow.texts
    slow.is_far_behind = False
    until(lambda: slow.texts == ["waits"])


def test_a_room_of_which_the_news_was_lost_is_read_at_the_next_look(
    read: Callable[[], LogReader], store: FakeStore
) -> None:
    reader, den = read(), FakeRoom()
    reader.follow(den)
    until(lambda: store.calls.count("read"))
    store.add("den", *"abcde")
    store.new.clear()
    reader._look_at = 0.0
    store.wake()
    until(lambda: den.texts == [*"abcde"])


def test_a_room_that_has_ended_is_not_read(read: Callable[[], LogReader], store: FakeStore) -> None:
    reader, den = read(), FakeRoom()
    reader.follow(den)
    den.ended = True
    store.add("den", "too late")
    store.wake()
    until(lambda: "den" not in reader._rooms)
    assert not den.texts


def test_while_the_store_is_down_rooms_are_told_and_nothing_is_missed(
    read: Callable[[], LogReader], store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    reader, den = read(), FakeRoom()
    reader.follow(den)
    store.add("den", "a")
    until(lambda: den.texts == ["a"])
    store.down = "the network is gone"
    store.add("den", "b")
    until(lambda: den.told == [False])
    assert reader.is_down
    store.down = ""
    until(lambda: den.texts == ["a", "b"])
    assert den.told == [False, True]
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "the log cannot be read, and nobody sees anything new: the network is gone"),
        (logging.WARNING, "the log can be read again"),
    ]


def test_a_connection_that_is_lost_once_is_no_news(
    read: Callable[[], LogReader], store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, den = read(), FakeRoom()
    reader.follow(den)
    real = store.read

    def lose_it_once(after: Mapping[str, tuple[str, int]]) -> dict[str, Arrivals]:
        store.read = real  # type: ignore[method-assign]
        raise StoreDown("cut")

    store.read = lose_it_once  # type: ignore[method-assign]
    store.add("den", "a")
    until(lambda: den.texts == ["a"])
    assert not den.told


def test_race_1_a_room_that_is_opened_while_the_reader_waits_is_read_at_once(
    read: Callable[[], LogReader], store: FakeStore
) -> None:
    reader, den = read(), FakeRoom()
    until(lambda: store.calls.count("news"))
    store.add("den", "a")  # for which the reader does not wait
    reader.follow(den)
    until(lambda: den.texts == ["a"])


@pytest.mark.parametrize("how", ["replaced", "trimmed"])
def test_race_2_a_log_that_is_another_one_or_was_trimmed_ends_its_room_alone(
    read: Callable[[], LogReader], store: FakeStore, how: str
) -> None:
    reader, den, other = read(), FakeRoom(), FakeRoom("other")
    for room in (den, other):
        reader.follow(room)
    store.add("den", "a")
    until(lambda: den.texts == ["a"])
    if how == "replaced":
        store.lost.add("den")
        reader._look_at = 0.0
        store.wake()
    else:
        store.add("den", "much later", first=7)
    until(lambda: den.lost)
    store.add("other", "goes on")
    until(lambda: other.texts == ["goes on"])
    assert den.texts == ["a"]
    assert not other.lost


def test_those_who_were_here_before_have_time_to_come_back(read: Callable[[], LogReader], store: FakeStore) -> None:
    store.dead = {"killed": False}
    reader = read()
    until(lambda: store.calls.count("lease"))
    reader.stop()  # from here on the test does what the thread does
    store.dead = {"killed": False, "stopped": True, "died now": False}
    reader._look()
    assert store.buried == ["died now"]
    reader._returned_at = 0.0
    reader._look()
    assert set(store.buried) == {"died now", "killed", "stopped"}


def test_race_3_nobody_is_buried_who_may_just_have_been_cut_off(
    read: Callable[[], LogReader], store: FakeStore
) -> None:
    reader = read()
    until(lambda: store.calls.count("lease"))
    reader.stop()
    store.dead = {"other": False}
    reader._look()
    assert store.buried == ["other"]
    store.down = "the network is gone"
    reader._step()
    store.down = ""
    reader._look()
    assert store.buried == ["other"], "the other one was cut off too"
    reader._bury_at = 0.0
    store.dead = {"other": False, "this": False}
    for _ in range(2):
        reader._look()
        store.dead = {"other": False}
    assert store.buried == ["other"], "this process itself had stood still, and the other one perhaps as well"


def test_race_4_what_is_on_its_way_back_at_a_stop_still_comes(read: Callable[[], LogReader], store: FakeStore) -> None:
    reader, den = read(), FakeRoom()
    reader.follow(den)
    until(lambda: store.calls.count("news"))
    den.is_far_behind = True
    store.add("den", "last words")
    store.wake()
    den.is_far_behind = False
    reader.stop()
    assert den.texts == ["last words"]
    assert store.left == [RETURN_WAIT], "those who are here have time to come back"
    assert not reader.failed


def test_race_5_a_reader_that_fails_tells_everybody(
    read: Callable[[], LogReader], store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    reader, den = read(), FakeRoom()
    reader.follow(den)
    store.error = ZeroDivisionError("a defect")
    store.wake()
    until(lambda: den.failed)
    until(lambda: reader.failed)
    assert "the log reader has failed" in caplog.text


def test_a_stop_while_the_store_is_down_waits_for_nothing(read: Callable[[], LogReader], store: FakeStore) -> None:
    store.down = "no network"
    reader = read()
    until(lambda: reader.is_down)
    go(reader.stop).result(LIMIT)
    assert not store.left
