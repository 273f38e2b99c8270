"""The check of exercise 12: a stop that leaves no thread."""

from __future__ import annotations

from threadchat.channel import Closed
from threadchat.exercises.checks.helpers import INBOXES, Start, all_must_sleep, known, settle, shares_the_set
from threadchat.exercises.checks.pumps import Chat
from threadchat.exercises.connection import Connection
from threadchat.exercises.outcome import Code, Outcome
from threadchat.exercises.schedule import Failed
from threadchat.exercises.verdict import Scenario


def a_quiet_moment(code: Code) -> None:
    chat = Chat(code)
    ann, _ = chat.join("Ann")
    settle()
    ann.say("hello")
    settle()
    all_must_sleep("work")
    if ann.heard() != ["hello"]:
        raise Failed(f"Before any stop, Ann said 'hello', and heard {ann.heard()}.")
    chat.hub.stop()
    _all_end(chat, ann)


def while_they_talk(code: Code) -> None:
    chat = Chat(code)
    (ann, _), (bob, _) = chat.join("Ann"), chat.join("Bob")
    Start("Ann speaks", ann.say, "one", "two")
    Start("Bob speaks", bob.say, "three")
    Start("stopper", chat.hub.stop)
    _all_end(chat, ann, bob)


def while_one_leaves(code: Code) -> None:
    chat = Chat(code)
    (ann, _), (bob, _) = chat.join("Ann"), chat.join("Bob")
    settle()
    Start("Ann leaves", ann.leave)
    chat.hub.stop()
    _all_end(chat, bob)


def two_stop_at_once(code: Code) -> None:
    chat = Chat(code)
    ann, _ = chat.join("Ann")
    stoppers = [Start(f"stopper {number}", chat.hub.stop) for number in (1, 2)]
    for stopper in stoppers:
        stopper.join()
    _all_end(chat, ann)
    chat.hub.stop()


def one_comes_late(code: Code) -> None:
    chat = Chat(code)
    chat.hub.stop()
    ann, _ = chat.join("Ann")
    _all_end(chat, ann)
    bob, _ = chat.join("Bob")
    settle()
    _closed("Bob", bob)


def _all_end(chat: Chat, *connections: Connection) -> None:
    chat.running.join()
    settle()
    for name, connection in zip(("one client", "another client"), connections, strict=False):
        _closed(name, connection)


def _closed(name: str, connection: Connection) -> None:
    if not connection.closed:
        raise Failed(f"The hub has stopped. The connection of {name} is still open.")


def _hub_goes_on(outcome: Outcome) -> bool:
    hub = outcome.sleeper("hub")
    return outcome.deadlock and hub is not None and {name for _, _, name in hub.cases} <= set(INBOXES)


def _hub_has_ended(outcome: Outcome) -> bool:
    return any(task.name == "hub" and task.ended and not task.error for task in outcome.schedule.tasks)


def _stop_waits(outcome: Outcome) -> bool:
    return any(outcome.source_of(each.line) == "stop" for each in outcome.asleep if each.line)


def _sends_to_the_hub(outcome: Outcome) -> bool:
    return _hub_has_ended(outcome) and any(each.line and each.does("send") for each in outcome.asleep)


def _write_pump(outcome: Outcome) -> bool:
    return _hub_has_ended(outcome) and any(
        each.line and each.does("receive") and each.cases[0][2] == "send" for each in outcome.asleep
    )


def _closes_twice(outcome: Outcome) -> bool:
    found = outcome.error(Closed)
    return found is not None and outcome.source_of(found[2]) == "stop"


def _not_caught(outcome: Outcome) -> bool:
    found = outcome.error(Closed)
    return found is not None and found[2] > 0


MISTAKES = (
    shares_the_set,
    known("closes twice", _closes_twice, raises=True),
    known("Closed is not caught", _not_caught, raises=True),
    known("a stop that waits", _stop_waits),
    known("a forgotten done", _hub_goes_on),
    known("senders left behind", _sends_to_the_hub),
    known("write pumps left behind", _write_pump),
)

SCENARIOS = tuple(
    Scenario(run, MISTAKES)
    for run in (a_quiet_moment, while_they_talk, while_one_leaves, two_stop_at_once, one_comes_late)
)
