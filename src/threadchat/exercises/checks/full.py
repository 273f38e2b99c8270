"""The check of exercise 10: a full buffer."""

from __future__ import annotations

from typing import Any

from threadchat.channel import Closed
from threadchat.exercises.checks.helpers import Start, known, make_hub, must_sleep, now, settle, shares_the_set
from threadchat.exercises.outcome import Code, Outcome
from threadchat.exercises.schedule import Failed
from threadchat.exercises.verdict import Scenario

MANY = 12  # messages


def bob_does_not_read(code: Code) -> None:
    hub, ann, bob = _begin(code)
    began = now()
    for number in range(MANY):
        hub.broadcast.send(f"message {number}")
        heard = ann.send.receive()
        if heard != f"message {number}":
            raise Failed(
                f"Bob does not read. Ann reads, and should have received 'message {number}'. She received {heard!r}."
            )
    if now() > began:
        raise Failed(
            "Bob does not read, and his buffer is full. The hub has waited for him for "
            f"{now() - began:.3g} seconds, and served nobody meanwhile. It should never wait for a client.",
            "a timeout instead of a default",
        )
    settle()
    if bob in hub.clients:
        _tell_why_not_evicted(hub, ann, bob)
    if not bob.send.statistics().closed:
        raise Failed(
            "Bob was removed from the set, and his channel `send` was not closed. The thread that writes to him "
            "will wait for more for ever.",
            "a forgotten close",
        )
    kept = bob.send.take_pending()
    if kept != [f"message {number}" for number in range(len(kept))]:
        raise Failed(f"In Bob's buffer are {kept}: not the first messages without a gap.")
    hub.unregister.send(bob)  # as his read pump does when his connection ends
    hub.broadcast.send("the end")
    if ann.send.receive() != "the end":
        raise Failed("After Bob's eviction, Ann no longer gets the messages.")


def two_do_not_read(code: Code) -> None:
    hub, ann, _ = _begin(code)
    others = [code.Client(name) for name in ("Carl", "Dora")]
    for client in others:
        hub.register.send(client)
    for number in range(6):
        hub.broadcast.send(f"message {number}")
        ann.send.receive()
    settle()
    if hub.clients != {ann}:
        names = " and ".join(sorted(client.name for client in hub.clients)) or "nobody"
        raise Failed(
            f"Bob, Carl and Dora do not read. After six messages only Ann should be left, and there is {names}."
        )


def everybody_reads(code: Code) -> None:
    hub, ann, bob = _begin(code)
    for number in range(6):
        hub.broadcast.send(f"message {number}")
        got = ann.send.receive(), bob.send.receive()
        if got != (f"message {number}", f"message {number}"):
            raise Failed(f"Ann and Bob read. They should have received 'message {number}', and received {got}.")
    settle()
    if hub.clients != {ann, bob}:
        raise Failed("Ann and Bob read every message, and the hub has removed one of them.")


def _begin(code: Code) -> tuple[Any, Any, Any]:
    hub = make_hub(code)
    running = Start("hub", hub.run)
    settle()
    must_sleep(running, "work")
    ann, bob = code.Client("Ann"), code.Client("Bob")
    for client in (ann, bob):
        hub.register.send(client)
    return hub, ann, bob


def _tell_why_not_evicted(hub: Any, ann: Any, bob: Any) -> None:
    """Bob begins to read again. Either a message is missing then, or the hub has kept them all."""
    said = f"Bob has read nothing while {MANY} messages were broadcast, and the hub still has him as a client. "
    got: list[str] = []
    for number in range(MANY, 2 * MANY):
        got += bob.send.take_pending()
        hub.broadcast.send(f"message {number}")
        ann.send.receive()
        settle()
    if got == [f"message {number}" for number in range(len(got))] and len(got) > MANY:
        raise Failed(f"{said}The hub has kept all the messages for him.", "an unbounded buffer")
    missing = next(number for number in range(2 * MANY) if f"message {number}" not in got)
    raise Failed(
        f"{said}When he began to read again, he missed message {missing}, and nothing told him.", "drops in silence"
    )


def _waits(outcome: Outcome) -> bool:
    hub = outcome.sleeper("hub")
    return outcome.deadlock and hub is not None and hub.does("send") and hub.cases[0][2].endswith("send")


def _to_itself(outcome: Outcome) -> bool:
    hub = outcome.sleeper("hub")
    return outcome.deadlock and hub is not None and hub.does("send") and hub.cases[0][2].endswith("unregister")


def _changes_the_set(outcome: Outcome) -> bool:
    found = outcome.error(RuntimeError)
    return found is not None and "changed size" in str(found[1])


def _not_removed(outcome: Outcome) -> bool:
    found = outcome.error(Closed)
    return found is not None and found[0].name == "hub"


MISTAKES = (
    shares_the_set,
    known("sends to itself", _to_itself),
    known("a send that waits", _waits),
    known("changes the set while it walks it", _changes_the_set, raises=True),
    known("evicted but not removed", _not_removed, raises=True),
)

SCENARIOS = tuple(
    Scenario(run, MISTAKES, rest=("hub",)) for run in (everybody_reads, bob_does_not_read, two_do_not_read)
)
