"""The check of exercise 2: an unbuffered channel is a rendezvous."""

from __future__ import annotations

from collections.abc import Callable

from threadchat.channel import Channel
from threadchat.exercises.checks.helpers import Start, known, settle
from threadchat.exercises.outcome import Code, Outcome
from threadchat.exercises.schedule import Failed
from threadchat.exercises.verdict import Scenario


def swap(code: Code) -> None:
    to_bob, to_alice = _bridge(code)
    alice = Start("alice", code.alice, to_bob, to_alice, "parcel 1")
    bob = Start("bob", code.bob, to_bob, to_alice, "parcel 2")
    got = {"alice": alice.join(), "bob": bob.join()}
    if got != {"alice": "parcel 2", "bob": "parcel 1"}:
        raise Failed(
            f"Alice brought 'parcel 1' and left with {got['alice']!r}. Bob brought 'parcel 2' and left with "
            f"{got['bob']!r}. They should have swapped."
        )


def alice_comes_first(code: Code) -> None:
    to_bob, to_alice = _bridge(code)
    alice = Start("alice", code.alice, to_bob, to_alice, "parcel 1")
    settle()
    if to_bob.statistics().pending:
        raise Failed(
            "Alice has sent her parcel and gone on to the next line, and Bob has not even come: the parcel lies in the "
            f"buffer, for which `bridge` made room (Channel({to_bob.capacity})).",
            "a buffer instead of a rendezvous",
        )
    if alice.done:
        raise Failed("Alice has left, and Bob has not even come.")
    bob = Start("bob", code.bob, to_bob, to_alice, "parcel 2")
    alice.join()
    bob.join()


def bob_comes_first(code: Code) -> None:
    to_bob, to_alice = _bridge(code)
    bob = Start("bob", code.bob, to_bob, to_alice, "parcel 2")
    settle()
    if to_alice.statistics().pending:
        raise Failed("Bob has sent his parcel before he has taken Alice's.")
    alice = Start("alice", code.alice, to_bob, to_alice, "parcel 1")
    alice.join()
    bob.join()


def _bridge(code: Code) -> tuple[Channel[str], Channel[str]]:
    made = code.bridge()
    if not isinstance(made, tuple) or len(made) != 2 or not all(isinstance(each, Channel) for each in made):
        raise Failed(f"`bridge` must return two channels, as a tuple, and returned {made!r}.")
    to_bob, to_alice = made
    if to_bob is to_alice:
        raise Failed("`bridge` returned one channel twice: a thread that sends on it may receive its own parcel back.")
    return to_bob, to_alice


def _both(operation: str) -> Callable[[Outcome], bool]:
    def applies(outcome: Outcome) -> bool:
        pair = [outcome.sleeper("alice"), outcome.sleeper("bob")]
        return outcome.deadlock and all(each is not None and each.does(operation) for each in pair)

    return applies


MISTAKES = (
    known("both send first", _both("send")),
    known("both receive first", _both("receive")),
)

SCENARIOS = (Scenario(swap, MISTAKES), Scenario(alice_comes_first, MISTAKES), Scenario(bob_comes_first, MISTAKES))
