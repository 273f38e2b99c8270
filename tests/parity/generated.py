"""Programs from hypothesis. They are small, because the model walks through everything that can happen in them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import strategies as st
from parity.language import Operation, Program, capacity, close, length, range_over, receive, select, send

CHANNELS = ("a", "b")
CAPACITIES = (0, 0, 0, 0, 1, 1, 2, 2, 2, None)  # what is listed more often is drawn more often
MOST_OPERATIONS = 12  # of all goroutines together

COMMUNICATIONS = [operation for name in CHANNELS for operation in (send(name, 0), receive(name))]
OTHERS = [operation for name in CHANNELS for operation in (close(name), range_over(name), length(name))]

communications = st.sampled_from(COMMUNICATIONS)
selects = st.builds(
    lambda cases, default: select(*cases, default=default),
    st.lists(communications, min_size=1, max_size=4),
    st.booleans(),
)
operations = st.one_of(communications, selects, st.sampled_from([*COMMUNICATIONS, *OTHERS, capacity("a"), select()]))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    count = draw(st.integers(2, 4))
    bodies = st.lists(operations, min_size=2, max_size=MOST_OPERATIONS // count)
    goroutines = draw(st.lists(bodies, min_size=count, max_size=count))
    items = itertools.count(1)
    return {
        "channels": {name: draw(st.sampled_from(CAPACITIES)) for name in CHANNELS},
        "goroutines": [[numbered(operation, items) for operation in body] for body in goroutines],
    }


def numbered(operation: Operation, items: Iterator[int]) -> Operation:
    """The operation with an item of its own for each send."""
    if operation["do"] == "send":
        return {**operation, "item": next(items)}
    if operation["do"] == "select":
        return {**operation, "cases": [numbered(case, items) for case in operation["cases"]]}
    return operation
