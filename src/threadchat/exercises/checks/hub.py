"""The check of exercise 9: Hub.run."""

from __future__ import annotations

from threadchat.channel import Closed
from threadchat.exercises.checks.helpers import (
    Start,
    all_must_sleep,
    call_it,
    known,
    make_hub,
    settle,
    shares_the_set,
)
from threadchat.exercises.outcome import Code, Outcome
from threadchat.exercises.schedule import Failed
from threadchat.exercises.verdict import Scenario


def two_clients_talk(code: Code) -> None:
    hub = make_hub(code)
    Start("hub", hub.run)
    settle()
    all_must_sleep("work")
    ann, bob = code.Client("Ann"), code.Client("Bob")
    hub.register.send(ann)
    hub.broadcast.send("Ann is alone")
    hub.register.send(bob)
    hub.broadcast.send("both are there")
    settle()
    got = ann.send.take_pending(), bob.send.take_pending()
    if got != (["Ann is alone", "both are there"], ["both are there"]):
        raise Failed(
            "Ann registered, 'Ann is alone' was broadcast, Bob registered, 'both are there' was broadcast. Ann "
            f"received {got[0]}, and Bob {got[1]}."
        )


def one_leaves(code: Code) -> None:
    hub = make_hub(code)
    Start("hub", hub.run)
    ann, bob = code.Client("Ann"), code.Client("Bob")
    call_it(ann.send, "ann.send")
    reader: Start[list[str]] = Start("Ann's reader", list, ann.send)
    for client in (ann, bob):
        hub.register.send(client)
    hub.broadcast.send("before")
    hub.unregister.send(ann)
    hub.broadcast.send("after")
    got = reader.join(), bob.send.receive(), bob.send.receive()
    if got != (["before"], "before", "after"):
        raise Failed(
            f"'before' was broadcast, Ann unregistered, 'after' was broadcast. Ann received {got[0]}, and Bob "
            f"{list(got[1:])}."
        )


def one_leaves_twice(code: Code) -> None:
    hub = make_hub(code)
    Start("hub", hub.run)
    ann, bob = code.Client("Ann"), code.Client("Bob")
    for client in (ann, bob):
        hub.register.send(client)
    for _ in range(2):
        hub.unregister.send(ann)
    hub.unregister.send(code.Client("nobody"))
    hub.broadcast.send("after")
    bob.send.receive()


def all_at_once(code: Code) -> None:
    hub = make_hub(code)
    Start("hub", hub.run)
    ann, bob = code.Client("Ann"), code.Client("Bob")
    for client in (ann, bob):
        hub.register.send(client)
    speakers = [Start(f"speaker {number}", hub.broadcast.send, str(number)) for number in (1, 2, 3)]
    for speaker in speakers:
        speaker.join()
    got = [[client.send.receive() for _ in speakers] for client in (ann, bob)]
    if got[0] != got[1] or sorted(got[0]) != ["1", "2", "3"]:
        raise Failed(
            f"Three threads broadcast '1', '2' and '3' at once. Ann received {got[0]}, and Bob {got[1]}: all "
            "clients must see the same messages in the same order."
        )


def _ended(outcome: Outcome) -> bool:
    hub = next((task for task in outcome.schedule.tasks if task.name == "hub"), None)
    return outcome.deadlock and hub is not None and hub.ended and not hub.error


def _one_channel(outcome: Outcome) -> bool:
    hub = outcome.sleeper("hub")
    return outcome.deadlock and hub is not None and "select(" not in hub.code and hub.does("receive")


def _too_few(outcome: Outcome) -> bool:
    hub = outcome.sleeper("hub")
    return outcome.deadlock and hub is not None and "select(" in hub.code and len(hub.cases) < 3


def _no_close(outcome: Outcome) -> bool:
    return outcome.deadlock and outcome.sleeper("Ann's reader") is not None


def _closes_twice(outcome: Outcome) -> bool:
    found = outcome.error((Closed, KeyError, ValueError))
    if found is None or found[0].name != "hub":
        return False
    return not isinstance(found[1], Closed) or ".close(" in outcome.text(found[2])


MISTAKES = (
    shares_the_set,
    known("no loop", _ended),
    known("one channel at a time", _one_channel),
    known("a case too few", _too_few),
    known("closes twice", _closes_twice, raises=True),
    known("a forgotten close", _no_close),
)

SCENARIOS = tuple(
    Scenario(run, MISTAKES, rest=("hub",)) for run in (two_clients_talk, one_leaves, one_leaves_twice, all_at_once)
)
