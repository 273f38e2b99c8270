"""The check of exercise 4: a select with a default."""

from __future__ import annotations

from threadchat.channel import Channel
from threadchat.exercises.checks.helpers import Start, call_it, known, now, settle
from threadchat.exercises.outcome import Code, Outcome
from threadchat.exercises.schedule import Failed
from threadchat.exercises.verdict import Scenario


def a_box_with_room_for_two(code: Code) -> None:
    box: Channel[str] = Channel(2)
    said = [code.offer(box, line) for line in ("one", "two", "three")]
    if said != [True, True, False]:
        raise Failed(
            f"I offered three lines to a box with room for two. `offer` should return True, True, False, and "
            f"returned {', '.join(map(str, said))}."
        )
    _in_no_time("offer")
    taken = code.take_all(box), code.take_all(box)
    if taken != (["one", "two"], []):
        raise Failed(
            f"In the box were 'one' and 'two'. `take_all` should return them, and then an empty list. It "
            f"returned {taken[0]!r}, and then {taken[1]!r}."
        )
    _in_no_time("take_all")


def two_offers_for_one_place(code: Code) -> None:
    box: Channel[str] = Channel(1)
    offers = [Start(f"offer {number}", code.offer, box, "line") for number in (1, 2)]
    said = [offer.join() for offer in offers]
    if sorted(map(bool, said)) != [False, True]:
        raise Failed(
            f"Two threads offered a line to a box with room for one. One offer should return True, and the "
            f"other False. They returned {said[0]} and {said[1]}."
        )


def two_takers(code: Code) -> None:
    box: Channel[str] = Channel(3)
    for line in ("one", "two", "three"):
        box.send_nowait(line)
    takers = [Start(f"taker {number}", code.take_all, box) for number in (1, 2)]
    taken = [line for taker in takers for line in taker.join() or []]
    if sorted(taken) != ["one", "three", "two"]:
        raise Failed(f"Two threads took all from a box with 'one', 'two' and 'three'. Together they have {taken!r}.")


def somebody_waits(code: Code) -> None:
    box: Channel[str] = Channel()
    call_it(box, "box")
    reader = Start("reader", box.receive)
    settle()
    if code.offer(box, "line") is not True:
        raise Failed(
            "The box is an unbuffered channel, and a thread waits to receive from it. So a send can proceed at "
            "once, and `offer` should have returned True.",
            "check then act",
        )
    reader.join()


def an_empty_line(code: Code) -> None:
    box: Channel[str] = Channel(2)
    for line in ("", "two"):
        box.send_nowait(line)
    taken = code.take_all(box)
    if taken != ["", "two"]:
        raise Failed(
            f"In the box were an empty line and 'two'. `take_all` should return ['', 'two'], and returned {taken!r}.",
            "an empty line is lost",
        )


def _in_no_time(function: str) -> None:
    if now():
        raise Failed(
            f"`{function}` waited for {now():g} seconds. It should never wait.", "a timeout instead of a default"
        )


def _waits(outcome: Outcome) -> bool:
    return any(each.line and each.cases for each in outcome.asleep)


def _looked(outcome: Outcome) -> bool:
    return _waits(outcome) and bool(outcome.code.calls("len", "statistics"))


MISTAKES = (known("check then act", _looked), known("no default", _waits))

SCENARIOS = tuple(
    Scenario(run, MISTAKES)
    for run in (a_box_with_room_for_two, two_offers_for_one_place, two_takers, somebody_waits, an_empty_line)
)
