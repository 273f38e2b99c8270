"""The check of exercise 11: the two pumps."""

from __future__ import annotations

from typing import Any

from threadchat.channel import Closed
from threadchat.exercises.checks.helpers import Start, all_must_sleep, known, make_hub, settle, shares_the_set
from threadchat.exercises.connection import Connection
from threadchat.exercises.outcome import Code, Outcome
from threadchat.exercises.schedule import Failed, schedule
from threadchat.exercises.verdict import Scenario


class Chat:
    """A hub that runs, and connections that are served, each in a thread of its name."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.hub = make_hub(code)
        self.running = Start("hub", self.hub.run)

    def join(self, name: str) -> tuple[Connection, Start[Any]]:
        connection = Connection()
        return connection, Start(f"{name}'s request", self.code.serve, self.hub, connection)


def a_talk(code: Code) -> None:
    chat = Chat(code)
    ann, anns = chat.join("Ann")
    ann.say("hello")
    settle()
    all_must_sleep("work")
    _first_line_comes_back(chat, ann)
    bob, bobs = chat.join("Bob")
    settle()
    bob.say("hi")
    settle()
    _heard("Bob came and said 'hi'.", ann, "Ann", ["hello", "hi"])
    _heard("Bob came and said 'hi'.", bob, "Bob", ["hi"])
    if anns.done:
        raise Failed("`serve` has returned, and Ann's connection has not ended.")
    ann.leave()
    settle()
    if not anns.done:
        raise Failed("Ann's connection has ended, and `serve` has not returned.")
    if any(_closers(client) for client in chat.hub.clients):
        raise Failed(
            "Ann has left. Her channel `send` is closed, but not by the hub, which still has her as a client.",
            "close by the wrong side",
        )
    if len(chat.hub.clients) != 1:
        raise Failed(
            f"Ann has left. The hub should have one client, and has {len(chat.hub.clients)}.", "a forgotten unregister"
        )
    bob.say("alone again")
    settle()
    _heard("Ann left, and Bob said 'alone again'.", bob, "Bob", ["hi", "alone again"])
    bob.leave()
    bobs.join()


def both_talk_at_once(code: Code) -> None:
    chat = Chat(code)
    (ann, anns), (bob, bobs) = chat.join("Ann"), chat.join("Bob")
    settle()
    speakers = [
        Start("Ann speaks", ann.say, "one", "two"),
        Start("Bob speaks", bob.say, "three", "four"),
    ]
    for speaker in speakers:
        speaker.join()
    settle()
    for name, connection in (("Ann", ann), ("Bob", bob)):
        expected = ["one", "two", "three", "four"]
        if sorted(connection.heard()) != sorted(expected):
            what = "Ann said 'one', 'two' and Bob said 'three', 'four', at the same time."
            _heard_wrong(what, connection, name, expected)
    ann.leave()
    bob.leave()
    anns.join()
    bobs.join()


def one_breaks(code: Code) -> None:
    chat = Chat(code)
    (ann, anns), (bob, bobs) = chat.join("Ann"), chat.join("Bob")
    settle()
    ann.broken = True  # writing to her fails, and reading from her waits
    bob.say("hello")
    settle()
    if not ann.closed or not anns.done:
        raise Failed(
            "Writing to Ann raised Disconnected, so her write pump has nothing more to do. Her read pump still "
            "waits for her to say something.",
            "one pump left behind",
        )
    bob.leave()
    bobs.join()


def one_is_evicted(code: Code) -> None:
    chat = Chat(code)
    ann, anns = chat.join("Ann")
    settle()
    (client,) = chat.hub.clients
    chat.hub.unregister.send(client)  # as if the hub had evicted her
    settle()
    if not ann.closed or not anns.done:
        raise Failed(
            "The hub has closed Ann's channel `send`, so her write pump has nothing more to do. Her read pump "
            "still waits for her to say something.",
            "one pump left behind",
        )


def _closers(client: Any) -> list[str]:
    """The threads besides the hub's that have closed the client's channel."""
    return [name for name in schedule().users(client.send, "close") if name != "hub"]


def _first_line_comes_back(chat: Chat, ann: Connection) -> None:
    passed_on = schedule().users(chat.hub.broadcast, "send")
    written = [client for client in chat.hub.clients if schedule().users(client.send, "receive")]
    if ann.heard() == [] and passed_on and (written or not chat.hub.clients):
        raise Failed(
            "Ann said 'hello' as her first line. The hub received it when it did not know her yet, so it did not come "
            "back to her.",
            "registered too late",
        )
    _heard("Ann said 'hello', alone.", ann, "Ann", ["hello"])


def _heard(what: str, connection: Connection, name: str, expected: list[str]) -> None:
    if connection.heard() != expected:
        _heard_wrong(f"{what} {name} should have heard {expected}.", connection, name, expected)


def _heard_wrong(what: str, connection: Connection, name: str, expected: list[str]) -> None:
    heard = connection.heard()
    twice = any(heard.count(line) > 1 for line in expected)
    mixed = len(heard) <= len(expected) and sorted("".join(heard)) == sorted("".join(expected))
    in_order = sorted(heard) == sorted(expected)
    raise Failed(f"{what} {name} heard {heard}.", "two writers" if (twice or mixed) and not in_order else "")


def _still_registered(outcome: Outcome) -> bool:
    pumps = [each for each in outcome.asleep if each.line and each.does("receive") and "send" in each.cases[0][2]]
    ended = [task for task in outcome.schedule.tasks if task.name.endswith("request") and task.ended]
    return not outcome.deadlock and not outcome.error(Failed) and bool(pumps and ended)


def _closed_by_a_pump(outcome: Outcome) -> bool:
    found = outcome.error(Closed)
    if found is None or not isinstance(found[1], Closed):
        return False
    return any(name != "hub" for name in outcome.schedule.users(found[1].channel, "close"))


MISTAKES = (
    shares_the_set,
    known("close by the wrong side", _closed_by_a_pump, raises=True),
    known("a forgotten unregister", _still_registered),
)

SCENARIOS = tuple(
    Scenario(run, MISTAKES, rest=("hub",)) for run in (a_talk, both_talk_at_once, one_breaks, one_is_evicted)
)
