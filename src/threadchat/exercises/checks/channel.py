"""The check of exercise 7: your own Channel, on a lock and two lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from threadchat.exercises.checks.helpers import Start, known, must_sleep, settle
from threadchat.exercises.outcome import Code, Outcome
from threadchat.exercises.schedule import Failed
from threadchat.exercises.standins import Event, Lock
from threadchat.exercises.verdict import Scenario


def a_buffer_of_two(code: Code) -> None:
    channel = code.Channel(2)
    channel.send("one")
    channel.send("two")
    third = Start("sender 3", channel.send, "three")
    settle()
    if third.done:
        raise Failed(
            "The channel has room for two items. The third send should have waited for a receive, and it has returned.",
            "an unbounded buffer",
        )
    must_sleep(third, "room")
    _in_order(channel, channel.receive())
    third.join()


def three_senders_in_line(capacity: int) -> Callable[[Code], None]:
    def one_after_the_other(code: Code) -> None:
        channel = code.Channel(capacity)
        senders = []
        for number, item in enumerate(("one", "two", "three"), 1):
            senders.append(Start(f"sender {number}", channel.send, item))
            settle()
        first = channel.receive()
        settle()
        done = [sender.done for sender in senders]
        if done == [True, False, False] and capacity:
            raise Failed(
                "The channel has room for one item. I sent 'one', senders 2 and 3 stood in line, and I received "
                f"{first!r}. Now there is room, and sender 2 still sleeps in the line.",
                "nobody moves up",
            )
        _in_order(channel, first)
        for sender in senders:
            sender.join()

    return one_after_the_other


def the_sender_comes_first(code: Code) -> None:
    channel = code.Channel(0)
    sender = Start("sender", channel.send, "item")
    settle()
    if sender.done:
        raise Failed(
            "The channel has no room, and nobody receives. The send should have waited, and it has returned.",
            "an unbounded buffer",
        )
    must_sleep(sender, "a receiver")
    _expect(channel.receive(), "item")
    sender.join()


def the_receiver_comes_first(code: Code) -> None:
    channel = code.Channel(0)
    receiver = Start("receiver", channel.receive)
    settle()
    must_sleep(receiver, "an item")
    channel.send("item")
    _expect(receiver.join(), "item")


def they_come_at_the_same_time(code: Code) -> None:
    channel = code.Channel(0)
    sender = Start("sender", channel.send, "item")
    receiver = Start("receiver", channel.receive)
    sender.join()
    _expect(receiver.join(), "item")


def two_senders_and_two_receivers(capacity: int) -> Callable[[Code], None]:
    def all_at_once(code: Code) -> None:
        channel = code.Channel(capacity)
        receivers = [Start(f"receiver {number}", channel.receive) for number in (1, 2)]
        senders = [Start(f"sender {number}", channel.send, number) for number in (1, 2)]
        for sender in senders:
            sender.join()
        got = [receiver.join() for receiver in receivers]
        if sorted(map(str, got)) != ["1", "2"]:
            name = "wakes before the item is there" if None in got else ""
            raise Failed(f"Two threads sent 1 and 2, and two threads received {got[0]} and {got[1]}.", name)

    return all_at_once


def _in_order(channel: Any, first: Any) -> None:
    """Receive two items more, and fail if the three do not come in their order."""
    got = [first, channel.receive(), channel.receive()]
    if got != ["one", "two", "three"]:
        name = "the newest comes first" if sorted(map(str, got)) == ["one", "three", "two"] else ""
        name = "overtaking" if got == ["three", "one", "two"] else name
        raise Failed(f"I sent 'one', 'two' and 'three', and received {', '.join(map(repr, got))}.", name)


def _expect(got: Any, sent: str) -> None:
    if got != sent:
        name = "wakes before the item is there" if got is None else ""
        raise Failed(f"I sent {sent!r} and received {got!r}.", name)


def _under_the_lock(outcome: Outcome) -> bool:
    asleep = {each.task for each in outcome.asleep}
    held = [each.task.waits_for for each in outcome.asleep if isinstance(each.task.waits_for, Lock)]
    return any(lock.holder in asleep for lock in held)


def _both_asleep(outcome: Outcome) -> bool:
    """Whether a sender and a receiver sleep beside each other."""
    parked = [each.name.partition(" ")[0] for each in outcome.asleep if isinstance(each.task.waits_for, Event)]
    return outcome.deadlock and "receiver" in parked and "sender" in parked


def _not_woken(outcome: Outcome) -> bool:
    return outcome.deadlock and any(isinstance(each.task.waits_for, Event) for each in outcome.asleep)


def _two_took_one(outcome: Outcome) -> bool:
    return outcome.error(IndexError) is not None


MISTAKES = (
    known("asleep under the lock", _under_the_lock),
    known("check then act", _two_took_one, raises=True),
    known("a lost wake-up", _both_asleep),
    known("a forgotten wake-up", _not_woken),
)

SCENARIOS = tuple(
    Scenario(run, MISTAKES)
    for run in (
        a_buffer_of_two,
        the_sender_comes_first,
        the_receiver_comes_first,
        they_come_at_the_same_time,
        two_senders_and_two_receivers(0),
        two_senders_and_two_receivers(1),
        three_senders_in_line(0),
        three_senders_in_line(1),
    )
)
