"""The hub alone. Its members have channels, but no connections and no pumps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from helpers import LIMIT, go, hub_selects_first, say_stuck, until

from threadchat import hub as hub_module
from threadchat.channel import Case, Channel, Closed, Send, select
from threadchat.hub import Ending, Hub, Member
from threadchat.outbox import Outbox
from threadchat.runtime.runqueue import RunQueue


@dataclass(eq=False)
class FakeMember:
    capacity: int = 4
    endings: list[Ending] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.send: Channel[str] = Channel(self.capacity)
        self.stuck: Channel[None] = Channel(1)

    def receive_pending(self) -> list[str]:
        """Wait for a message, then take all that is pending, as a write pump does."""
        return [self.send.receive(LIMIT), *self.send.take_pending()]

    def end(self, why: Ending) -> None:
        self.endings.append(why)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(RunQueue())
    thread = threading.Thread(target=hub.run, name="hub")
    thread.start()
    yield hub
    hub.stop()
    thread.join(LIMIT)


def join(hub: Hub, capacity: int = 4) -> FakeMember:
    member = FakeMember(capacity)
    hub.register.send(member)
    return member


def is_idle(hub: Hub) -> bool:
    """Whether the hub has handled all that was sent to it, and waits for more."""
    return hub.broadcast.statistics().waiting_receivers == 1


def test_every_client_gets_every_message_in_the_hubs_order(hub: Hub) -> None:
    members = [join(hub) for _ in range(3)]
    for message in ("a", "b", "c"):
        hub.broadcast.send(message)
    until(lambda: is_idle(hub))
    assert [member.receive_pending() for member in members] == [["a", "b", "c"]] * 3


def test_a_client_is_registered_when_the_send_returns(hub: Hub) -> None:
    assert hub.register.capacity == 0
    assert hub.unregister.capacity == 0


def test_the_hub_passes_on_all_that_is_pending_at_once(hub: Hub) -> None:
    full, member = join(hub, capacity=1), join(hub, capacity=100)
    hub.broadcast.send("1")
    hub.broadcast.send("2")
    until(lambda: full.send.statistics().waiting_senders == 1, "the hub being busy")
    for number in range(10):
        hub.broadcast.send(str(number))
    while member.send.statistics().pending < 12:
        full.receive_pending()
    assert len(member.receive_pending()) == 12
    say_stuck(full.stuck)  # so that the hub stops waiting for it


def test_an_unregistered_client_still_receives_what_was_sent_before_and_then_its_channel_is_closed(hub: Hub) -> None:
    member = join(hub)
    hub.broadcast.send("before")
    until(lambda: is_idle(hub))
    hub.unregister.send(member)
    until(lambda: is_idle(hub))
    hub.broadcast.send("after")
    assert list(member.send) == ["before"]
    assert member.endings == []


def test_a_client_that_the_hub_does_not_know_can_be_unregistered(hub: Hub) -> None:
    member = join(hub)
    hub.unregister.send(member)
    hub.unregister.send(member)
    hub.unregister.send(FakeMember())
    until(lambda: is_idle(hub))


def test_a_stuck_client_is_evicted_when_its_buffer_is_full_and_the_others_do_not_wait(hub: Hub) -> None:
    stuck, healthy = join(hub, capacity=2), join(hub)
    say_stuck(stuck.stuck)
    for message in ("1", "2", "3"):
        hub.broadcast.send(message)
    assert [healthy.send.receive(LIMIT) for _ in range(3)] == ["1", "2", "3"]
    until(lambda: is_idle(hub))
    assert stuck.endings == [Ending.EVICTED]
    assert stuck.send.statistics().closed
    assert list(stuck.send) == []  # only the close frame is still sent
    assert hub.clients == {healthy}


def test_a_stuck_client_stays_as_long_as_its_buffer_has_room(hub: Hub) -> None:
    stuck = join(hub, capacity=2)
    say_stuck(stuck.stuck)
    hub.broadcast.send("1")
    hub.broadcast.send("2")
    until(lambda: is_idle(hub))
    assert stuck.endings == []
    assert stuck.receive_pending() == ["1", "2"]


def test_the_hub_waits_for_a_pump_that_has_not_had_its_turn(hub: Hub) -> None:
    member = join(hub, capacity=2)
    for message in ("1", "2", "3"):
        hub.broadcast.send(message)
    until(lambda: member.send.statistics().waiting_senders == 1)
    assert member.receive_pending() == ["1", "2", "3"]
    assert member.endings == []


def test_the_hub_waits_once_for_all_pumps_that_have_not_had_their_turn(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub waits in the run queue, and not in the channel of each client."""
    members = [FakeMember() for _ in range(10)]
    got: list[list[str]] = [[] for _ in members]
    selected: list[Case] = []

    def noted(*cases: Case) -> tuple[Case, Any]:
        selected.extend(cases)
        return select(*cases)

    def pump(outbox: Outbox[str], messages: list[str]) -> None:
        while len(messages) < 5:
            outbox.receive_in_turn(messages.extend, until=time.monotonic() + LIMIT)

    outboxes = [hub.new_outbox(capacity=2) for _ in members]
    for member, outbox in zip(members, outboxes, strict=True):
        member.send = outbox
        hub.register.send(member)
    pumps = [go(pump, outbox, messages) for outbox, messages in zip(outboxes, got, strict=True)]
    until(lambda: all(outbox.statistics().waiting_receivers for outbox in outboxes))
    hub.run_queue.ready(lambda: None)  # takes the only turn
    for message in ("1", "2"):
        hub.broadcast.send(message)
        until(lambda: is_idle(hub))
    monkeypatch.setattr(hub_module, "select", noted)
    hub.broadcast.send("3")
    until(lambda: hub.run_queue.statistics().waiting == len(members) + 1, "the hub waiting in the run queue")
    hub.broadcast.send("4")  # this and the next wait in the channel to the hub
    hub.broadcast.send("5")
    assert got == [[] for _ in members]
    hub.run_queue.next()
    for future in pumps:
        future.result(LIMIT)
    assert got == [["1", "2", "3", "4", "5"] for _ in members]
    until(lambda: is_idle(hub))
    assert not any(isinstance(case, Send) for case in selected)
    assert not any(member.endings for member in members)


def test_a_client_that_gets_stuck_while_the_hub_waits_for_it_is_evicted(hub: Hub) -> None:
    member = join(hub, capacity=1)
    hub.broadcast.send("1")
    hub.broadcast.send("2")
    until(lambda: member.send.statistics().waiting_senders == 1)
    say_stuck(member.stuck)
    until(lambda: is_idle(hub))
    assert member.endings == [Ending.EVICTED]


def test_an_evicted_client_may_still_unregister(hub: Hub) -> None:
    member = join(hub, capacity=1)
    say_stuck(member.stuck)
    hub.broadcast.send("1")
    hub.broadcast.send("2")
    until(lambda: is_idle(hub))
    hub.unregister.send(member)
    until(lambda: is_idle(hub))
    assert member.endings == [Ending.EVICTED]


def test_at_a_stop_all_clients_get_what_the_hub_has_received_and_are_told_the_reason(hub: Hub) -> None:
    members = [join(hub) for _ in range(3)]
    hub.broadcast.send("last")
    hub.stop()
    for member in members:
        assert list(member.send) == ["last"]
        assert member.endings == [Ending.STOPPED]


def test_after_a_stop_a_send_to_the_hub_raises_closed(hub: Hub) -> None:
    member = join(hub)
    hub.stop()
    hub.stop()
    until(lambda: hub.broadcast.statistics().closed)
    with pytest.raises(Closed):
        hub.register.send(FakeMember())
    with pytest.raises(Closed):
        hub.unregister.send(member)
    with pytest.raises(Closed):
        hub.broadcast.send("x")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_after_a_failure_of_the_hub_a_send_to_it_raises_closed(hub: Hub) -> None:
    join(hub).send.close()  # only the hub may close this channel, so its next send to it fails
    hub.broadcast.send("x")
    until(lambda: hub.broadcast.statistics().closed)
    with pytest.raises(Closed):
        hub.broadcast.send("y")


# The races that hub.py lists. While the hub is busy, what is sent to it waits; the test decides what it takes first.


@contextmanager
def busy(hub: Hub) -> Iterator[None]:
    """During a `with` block the hub is busy: it has passed on "a", and waits with "b" for one client's write pump."""
    other = join(hub, capacity=1)
    hub.broadcast.send("a")
    hub.broadcast.send("b")
    until(lambda: other.send.statistics().waiting_senders == 1, "the hub being busy")
    try:
        yield
    finally:
        say_stuck(other.stuck)


def waiting(channel: Channel[Member], count: int) -> None:
    until(lambda: channel.statistics().waiting_senders == count, f"{count} waiting for the hub")


@pytest.mark.parametrize("first", ["register", "broadcast"])
def test_race_1_a_registration_and_a_message_that_wait_together_may_be_taken_in_either_order(
    hub: Hub, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    newcomer = FakeMember()
    with busy(hub):
        joining = go(hub.register.send, newcomer)
        waiting(hub.register, 1)
        hub.broadcast.send("c")
        hub_selects_first(monkeypatch, getattr(hub, first))
    joining.result(LIMIT)
    hub.broadcast.send("d")
    until(lambda: is_idle(hub))
    assert newcomer.send.take_pending() == (["c", "d"] if first == "register" else ["d"])


@pytest.mark.parametrize("first", ["unregister", "broadcast"])
def test_race_2_a_client_that_unregisters_gets_earlier_messages_whichever_the_hub_takes_first(
    hub: Hub, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, stays = join(hub), join(hub)
    with busy(hub):
        leaving = go(hub.unregister.send, member)
        waiting(hub.unregister, 1)
        hub.broadcast.send("c")
        hub_selects_first(monkeypatch, getattr(hub, first))
    leaving.result(LIMIT)
    until(lambda: is_idle(hub))
    assert list(member.send) == ["a", "b", "c"]
    assert stays.send.take_pending() == ["a", "b", "c"]


@pytest.mark.parametrize("stuck", [True, False])
def test_race_3_a_client_that_gets_stuck_during_a_batch_is_evicted_once_and_one_that_reads_on_is_not(
    hub: Hub, stuck: bool
) -> None:
    member, stays = join(hub, capacity=2), join(hub, capacity=10)
    with busy(hub):
        for message in ("c", "d", "e", "f"):
            hub.broadcast.send(message)
    until(lambda: member.send.statistics().waiting_senders == 1, "the hub waiting in the middle of the batch")
    received = [] if stuck else member.receive_pending()
    if stuck:
        say_stuck(member.stuck)
    else:
        while len(received) < 6:
            received += member.receive_pending()
    until(lambda: is_idle(hub))
    assert member.endings == ([Ending.EVICTED] if stuck else [])
    assert member.send.take_pending() == []
    assert received == ([] if stuck else ["a", "b", "c", "d", "e", "f"])
    assert stays.send.take_pending() == ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize("stuck", [True, False])
def test_race_4_a_client_for_which_the_hub_waits_when_it_is_told_to_stop_is_ended_once(hub: Hub, stuck: bool) -> None:
    member = join(hub, capacity=1)
    hub.broadcast.send("1")
    hub.broadcast.send("2")
    until(lambda: member.send.statistics().waiting_senders == 1, "the hub waiting for the client")
    hub.stop()
    if stuck:
        say_stuck(member.stuck)
        until(lambda: hub.broadcast.statistics().closed, "the end of the hub")
    received = list(member.send)
    assert received == ([] if stuck else ["1", "2"])
    assert member.endings == [Ending.EVICTED if stuck else Ending.STOPPED]


def test_race_4_a_hub_that_is_told_to_stop_while_it_waits_in_the_run_queue_passes_on_what_it_has(hub: Hub) -> None:
    member = join(hub, capacity=1)
    hub.run_queue.ready(lambda: None)  # takes the only turn
    hub.broadcast.send("1")
    hub.broadcast.send("2")
    until(lambda: hub.run_queue.statistics().waiting == 1, "the hub waiting in the run queue")
    hub.stop()
    assert member.send.take_pending() == ["1"]
    assert member.endings == []
    hub.run_queue.next()
    assert list(member.send) == ["2"]
    assert member.endings == [Ending.STOPPED]


def test_race_4_a_hub_that_stops_does_not_wait_for_a_client_with_a_full_buffer(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = join(hub, capacity=2)
    with busy(hub):
        hub.broadcast.send("c")
        hub.stop()
        hub_selects_first(monkeypatch, hub.done)
    until(lambda: member.send.statistics().closed)
    assert member.endings == [Ending.STOPPED]
    assert list(member.send) == ["a", "b"]


@pytest.mark.parametrize("first", ["stop", "others"])
def test_race_5_a_registration_an_unregistration_and_a_message_wait_when_the_hub_stops(
    hub: Hub, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaver, stays, newcomer = join(hub), join(hub), FakeMember()
    with busy(hub):
        joining, leaving = go(hub.register.send, newcomer), go(hub.unregister.send, leaver)
        waiting(hub.register, 1)
        waiting(hub.unregister, 1)
        hub.broadcast.send("c")
        hub.stop()
        hub_selects_first(
            monkeypatch, *([hub.done] if first == "stop" else [hub.register, hub.unregister, hub.broadcast])
        )
    assert list(stays.send) == ["a", "b", "c"], "what the hub has received arrives"
    assert stays.endings == [Ending.STOPPED]
    if first == "stop":
        assert isinstance(joining.exception(LIMIT), Closed)
        assert isinstance(leaving.exception(LIMIT), Closed)
        assert (newcomer.endings, newcomer.send.statistics().closed) == ([], False)
        assert (list(leaver.send), leaver.endings) == (["a", "b", "c"], [Ending.STOPPED])
    else:
        joining.result(LIMIT)
        leaving.result(LIMIT)
        assert (list(newcomer.send), newcomer.endings) == (["c"], [Ending.STOPPED])
        assert (list(leaver.send), leaver.endings) == (["a", "b", "c"], [])


def test_race_6_a_client_unregisters_twice_and_two_threads_stop_the_hub_at_once(hub: Hub) -> None:
    member = join(hub)
    with busy(hub):
        leaving = [go(hub.unregister.send, member) for _ in range(2)]
        waiting(hub.unregister, 2)
    for future in leaving:
        future.result(LIMIT)
    assert list(member.send) == ["a", "b"]
    stays, both = join(hub), threading.Barrier(2, timeout=LIMIT)

    def stop() -> None:
        both.wait()
        hub.stop()

    for future in [go(stop), go(stop)]:
        future.result(LIMIT)
    assert list(stays.send) == []
    assert stays.endings == [Ending.STOPPED]
