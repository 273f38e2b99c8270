"""The hub alone, with members that are made of channels and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest
from helpers import LIMIT, go, until

from threadchat.channel import Channel, Closed
from threadchat.hub import Ending, Hub


@dataclass(eq=False)
class FakeMember:
    capacity: int = 4
    endings: list[Ending] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.send: Channel[str] = Channel(self.capacity)

    def end(self, why: Ending) -> None:
        self.endings.append(why)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
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
    """Whether the hub has done all that was sent to it and waits for more."""
    return hub.broadcast.statistics().waiting_receivers == 1


def is_kept_busy(by: FakeMember) -> bool:
    """Whether the hub gives way to this member."""
    return by.send.statistics().waiting_senders == 1


def test_every_client_gets_every_message_in_the_hubs_order(hub: Hub) -> None:
    members = [join(hub) for _ in range(3)]
    for message in ("a", "b", "c"):
        hub.broadcast.send(message)
    until(lambda: is_idle(hub))
    assert [member.send.receive_pending() for member in members] == [["a", "b", "c"]] * 3


def test_a_registration_is_done_when_the_send_returns(hub: Hub) -> None:
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
        full.send.receive_pending(LIMIT)
    assert len(member.send.receive_pending()) == 12
    full.send.step_away()  # the hub need not wait for it any more


def test_an_unregistered_client_can_receive_what_was_sent_before_and_then_its_channel_is_closed(hub: Hub) -> None:
    member = join(hub)
    hub.broadcast.send("before")
    until(lambda: is_idle(hub))
    hub.unregister.send(member)
    until(lambda: is_idle(hub))
    hub.broadcast.send("after")
    assert list(member.send) == ["before"]
    assert member.endings == []


def test_what_a_client_said_before_it_unregisters_still_reaches_itself(hub: Hub) -> None:
    for _ in range(10):  # the hub chooses between channels that are ready by chance
        busy, member = join(hub, capacity=1), join(hub)
        hub.broadcast.send("1")
        hub.broadcast.send("2")
        until(partial(is_kept_busy, busy))
        hub.broadcast.send("last words")
        leaving = go(hub.unregister.send, member)
        until(lambda: hub.unregister.statistics().waiting_senders == 1)
        busy.send.step_away()
        assert list(member.send) == ["1", "2", "last words"]
        leaving.result(LIMIT)


def test_a_client_that_the_hub_does_not_know_can_be_unregistered(hub: Hub) -> None:
    member = join(hub)
    hub.unregister.send(member)
    hub.unregister.send(member)
    hub.unregister.send(FakeMember())
    until(lambda: is_idle(hub))


def test_a_stuck_client_is_evicted_when_its_buffer_is_full_and_nobody_waits_for_it(hub: Hub) -> None:
    stuck, healthy = join(hub, capacity=2), join(hub)
    stuck.send.step_away()
    for message in ("1", "2", "3"):
        hub.broadcast.send(message)
    assert [healthy.send.receive(LIMIT) for _ in range(3)] == ["1", "2", "3"]
    until(lambda: is_idle(hub))
    assert stuck.endings == [Ending.EVICTED]
    assert stuck.send.statistics().closed
    assert list(stuck.send) == []  # nothing more is sent but the reason
    assert hub.clients == {healthy}


def test_a_stuck_client_stays_as_long_as_its_buffer_has_room(hub: Hub) -> None:
    stuck = join(hub, capacity=2)
    stuck.send.step_away()
    hub.broadcast.send("1")
    hub.broadcast.send("2")
    until(lambda: is_idle(hub))
    assert stuck.endings == []
    assert stuck.send.receive_pending() == ["1", "2"]


def test_the_hub_gives_way_to_a_pump_that_has_not_had_its_turn(hub: Hub) -> None:
    member = join(hub, capacity=2)
    for message in ("1", "2", "3"):
        hub.broadcast.send(message)
    until(lambda: member.send.statistics().waiting_senders == 1)
    assert member.send.receive_pending() == ["1", "2", "3"]
    assert member.endings == []


def test_a_pump_that_gets_stuck_while_the_hub_gives_way_is_evicted(hub: Hub) -> None:
    member = join(hub, capacity=1)
    hub.broadcast.send("1")
    hub.broadcast.send("2")
    until(lambda: member.send.statistics().waiting_senders == 1)
    member.send.step_away()
    until(lambda: is_idle(hub))
    assert member.endings == [Ending.EVICTED]


def test_an_evicted_client_may_still_unregister(hub: Hub) -> None:
    member = join(hub, capacity=1)
    member.send.step_away()
    hub.broadcast.send("1")
    hub.broadcast.send("2")
    until(lambda: is_idle(hub))
    hub.unregister.send(member)
    until(lambda: is_idle(hub))
    assert member.endings == [Ending.EVICTED]


def test_a_stop_parts_with_all_clients_and_they_still_get_what_was_accepted(hub: Hub) -> None:
    members = [join(hub) for _ in range(3)]
    hub.broadcast.send("last")
    hub.stop()
    for member in members:
        assert list(member.send) == ["last"]
        assert member.endings == [Ending.STOPPED]


def test_after_a_stop_nobody_waits_for_the_hub(hub: Hub) -> None:
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
def test_a_hub_that_fails_leaves_nobody_waiting(hub: Hub) -> None:
    join(hub).send.close()  # only the hub may do this: its next send fails
    hub.broadcast.send("x")
    until(lambda: hub.broadcast.statistics().closed)
    with pytest.raises(Closed):
        hub.broadcast.send("y")
