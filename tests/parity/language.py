"""The language of the programs that Go, Python and the model of the specification run. A program is plain JSON data.

A program has channels and goroutines, and a goroutine is a list of operations. One plain variable, x, starts as 0; it
shows what the memory model orders.

An outcome is a string that says what each goroutine observed, operation by operation, and how it ended:

    sent; closed | got 1; ends | <-a: zero; blocked | panic: send on closed channel
"""

from __future__ import annotations

from typing import Any, TypedDict

Operation = dict[str, Any]


class Program(TypedDict):
    channels: dict[str, int | None]  # the capacity of each; None is a nil channel
    goroutines: list[list[Operation]]


def program(*goroutines: list[Operation], **channels: int | None) -> Program:
    return {"channels": channels, "goroutines": list(goroutines)}


def send(channel: str, item: int) -> Operation:
    """`channel <- item`; observes "sent"."""
    return {"do": "send", "channel": channel, "item": item}


def receive(channel: str) -> Operation:
    """`item, ok := <-channel`; observes "got 1", or "zero" where ok is false."""
    return {"do": "receive", "channel": channel}


def range_over(channel: str) -> Operation:
    """`for item := range channel`; observes each item as `receive` does, and then "ends"."""
    return {"do": "range", "channel": channel}


def select(*cases: Operation, default: bool = False) -> Operation:
    """`select` over sends and receives; observes the case and what it did: "a<-1: sent", "<-a: got 1", or "default"."""
    return {"do": "select", "cases": list(cases), "default": default}


def close(channel: str) -> Operation:
    """`close(channel)`; observes "closed"."""
    return {"do": "close", "channel": channel}


def length(channel: str) -> Operation:
    """`len(channel)`; observes "len 1"."""
    return {"do": "len", "channel": channel}


def capacity(channel: str) -> Operation:
    """`cap(channel)`; observes "cap 1"."""
    return {"do": "cap", "channel": channel}


def make(capacity: int) -> Operation:
    """`cap(make(chan int, capacity))`; observes "cap 1"."""
    return {"do": "make", "capacity": capacity}


def write(item: int) -> Operation:
    """`x = item`; observes "wrote"."""
    return {"do": "write", "item": item}


def read() -> Operation:
    """Observes "x is 1"."""
    return {"do": "read"}
