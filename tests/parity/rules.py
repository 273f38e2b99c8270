"""Programs by hand, one for each rule of the specification, with the outcomes that the rule allows."""

from __future__ import annotations

from parity.language import (
    Program,
    capacity,
    close,
    length,
    make,
    program,
    range_over,
    read,
    receive,
    select,
    send,
    write,
)

SEND_PANIC = "panic: send on closed channel"

RULES: dict[str, tuple[Program, set[str]]] = {
    # Channel types
    "values are received in the order sent": (
        program([send("a", 1), send("a", 2), send("a", 3)], [receive("a"), receive("a"), receive("a")], a=2),
        {"sent; sent; sent | got 1; got 2; got 3"},
    ),
    "unbuffered values are received in the order sent": (
        program([send("a", 1), send("a", 2)], [receive("a"), receive("a")], a=0),
        {"sent; sent | got 1; got 2"},
    ),
    "the values of each sender keep their order": (
        program([send("a", 1), send("a", 2)], [send("a", 3)], [receive("a"), receive("a"), receive("a")], a=1),
        {
            "sent; sent | sent | got 1; got 2; got 3",
            "sent; sent | sent | got 1; got 3; got 2",
            "sent; sent | sent | got 3; got 1; got 2",
        },
    ),
    "each value is received once": (
        program([send("a", 1), send("a", 2)], [receive("a")], [receive("a")], a=1),
        {"sent; sent | got 1 | got 2", "sent; sent | got 2 | got 1"},
    ),
    "a channel may be used by any number of goroutines": (
        program([send("a", 1)], [send("a", 2)], [receive("a")], [receive("a")], a=0),
        {"sent | sent | got 1 | got 2", "sent | sent | got 2 | got 1"},
    ),
    # Send statements
    "a send on an unbuffered channel proceeds if a receiver is ready": (
        program([send("a", 1)], [receive("a")], a=0),
        {"sent | got 1"},
    ),
    "a send on an unbuffered channel blocks without a receiver": (program([send("a", 1)], a=0), {"blocked"}),
    "two sends on an unbuffered channel do not meet": (
        program([send("a", 1)], [send("a", 2)], a=0),
        {"blocked | blocked"},
    ),
    "a send on a buffered channel proceeds if there is room": (
        program([send("a", 1), send("a", 2)], a=2),
        {"sent; sent"},
    ),
    "a send on a full channel blocks": (program([send("a", 1), send("a", 2)], a=1), {"sent; blocked"}),
    "a receive makes room for a blocked send": (
        program([send("a", 1), send("a", 2), length("a")], [receive("a")], a=1),
        {"sent; sent; len 1 | got 1"},
    ),
    "one receive makes room for one send": (
        program([send("a", 1)], [send("a", 2)], [receive("a")], a=0),
        {"sent | blocked | got 1", "blocked | sent | got 2"},
    ),
    "a send on a closed channel panics": (program([close("a"), send("a", 1)], a=0), {f"closed; {SEND_PANIC}"}),
    "a send on a closed channel with room panics": (
        program([close("a"), send("a", 1)], a=1),
        {f"closed; {SEND_PANIC}"},
    ),
    "a send on a nil channel blocks for ever": (program([send("n", 1)], n=None), {"blocked"}),
    # Receive operator
    "a receive blocks until there is a value": (
        program([receive("a"), length("a")], [send("a", 1)], a=1),
        {"got 1; len 0 | sent"},
    ),
    "a receive from an empty channel blocks": (program([receive("a")], a=1), {"blocked"}),
    "a receive from an unbuffered channel blocks without a sender": (program([receive("a")], a=0), {"blocked"}),
    "two receives do not meet": (program([receive("a")], [receive("a")], a=0), {"blocked | blocked"}),
    "a receive from a nil channel blocks for ever": (program([receive("n")], n=None), {"blocked"}),
    "a receive from a closed channel proceeds with the zero value": (
        program([close("a"), receive("a"), receive("a")], a=0),
        {"closed; zero; zero"},
    ),
    "a closed channel is received from until it is empty": (
        program([send("a", 1), send("a", 2), close("a"), receive("a"), receive("a"), receive("a")], a=2),
        {"sent; sent; closed; got 1; got 2; zero"},
    ),
    "two goroutines that each wait for the other are deadlocked": (
        program([receive("a"), send("b", 1)], [receive("b"), send("a", 2)], a=0, b=0),
        {"blocked | blocked"},
    ),
    "a chain of unbuffered channels passes on": (
        program(
            [send("a", 1), receive("c")], [receive("a"), send("b", 2)], [receive("b"), send("c", 3)], a=0, b=0, c=0
        ),
        {"sent; got 3 | got 1; sent | got 2; sent"},
    ),
    # Close
    "a close wakes a blocked receiver": (program([receive("a")], [close("a")], a=0), {"zero | closed"}),
    "a close wakes all blocked receivers": (
        program([receive("a")], [receive("a")], [receive("a")], [close("a")], a=0),
        {"zero | zero | zero | closed"},
    ),
    "a blocked send panics when its channel is closed": (
        program([send("a", 1)], [close("a")], a=0),
        {f"{SEND_PANIC} | closed"},
    ),
    "a close wakes all blocked senders": (
        program([send("a", 1)], [send("a", 2)], [close("a")], a=0),
        {f"{SEND_PANIC} | {SEND_PANIC} | closed"},
    ),
    "a close keeps what was sent before": (
        program([send("a", 1), close("a")], [receive("a"), receive("a")], a=1),
        {"sent; closed | got 1; zero"},
    ),
    "the value of a send that panicked is never received": (
        program([send("a", 1), send("a", 2)], [receive("b"), close("a"), receive("a"), receive("a")], a=1, b=0),
        {"sent; blocked | blocked"},
    ),
    "a full channel that is closed refuses the blocked send and keeps the rest": (
        program([send("a", 1), send("b", 0), send("a", 2)], [receive("b"), close("a"), range_over("a")], a=1, b=0),
        {f"sent; sent; {SEND_PANIC} | got 0; closed; got 1; ends"},
    ),
    "a close of a closed channel panics": (
        program([close("a"), close("a")], a=0),
        {"closed; panic: close of closed channel"},
    ),
    "of two closes one panics": (
        program([close("a")], [close("a")], a=1),
        {"closed | panic: close of closed channel", "panic: close of closed channel | closed"},
    ),
    "a close of a nil channel panics": (program([close("n")], n=None), {"panic: close of nil channel"}),
    "a panic ends its goroutine alone": (
        program([close("n"), send("a", 1)], [receive("a")], [send("a", 2)], a=0, n=None),
        {"panic: close of nil channel | got 2 | sent"},
    ),
    # Length and capacity
    "len is the number of values in the buffer": (
        program([length("a"), send("a", 1), length("a"), send("a", 2), length("a"), receive("a"), length("a")], a=3),
        {"len 0; sent; len 1; sent; len 2; got 1; len 1"},
    ),
    "len of an unbuffered channel is 0": (
        program([length("a"), receive("b"), length("a")], [send("b", 1), send("a", 1)], a=0, b=0),
        {"len 0; got 1; len 0 | sent; blocked"},
    ),
    "len counts no blocked send": (
        program([send("a", 1), send("b", 1), send("a", 2)], [receive("b"), length("a")], a=1, b=0),
        {"sent; sent; blocked | got 1; len 1"},
    ),
    "len is at most cap": (
        program([send("a", 1), send("a", 2), send("a", 3)], [length("a")], a=2),
        {"sent; sent; blocked | len 0", "sent; sent; blocked | len 1", "sent; sent; blocked | len 2"},
    ),
    "len of a closed channel is what it still holds": (
        program([send("a", 1), close("a"), length("a"), receive("a"), length("a")], a=2),
        {"sent; closed; len 1; got 1; len 0"},
    ),
    "cap is the capacity, whatever the channel holds": (
        program([capacity("a"), capacity("b"), send("b", 1), close("b"), capacity("b")], a=0, b=2),
        {"cap 0; cap 2; sent; closed; cap 2"},
    ),
    "len and cap of a nil channel are 0": (program([length("n"), capacity("n")], n=None), {"len 0; cap 0"}),
    # Making channels
    "make takes a capacity": (program([make(0), make(3)]), {"cap 0; cap 3"}),
    "make panics with a negative capacity": (program([make(-1)]), {"panic: makechan: size out of range"}),
    # For statements with range clause
    "a range receives until the channel is closed": (
        program([send("a", 1), send("a", 2), close("a")], [range_over("a")], a=0),
        {"sent; sent; closed | got 1; got 2; ends"},
    ),
    "a range over a closed channel receives what it holds": (
        program([send("a", 1), send("a", 2), close("a"), range_over("a")], a=2),
        {"sent; sent; closed; got 1; got 2; ends"},
    ),
    "a range blocks while the channel is open": (
        program([send("a", 1)], [range_over("a")], a=0),
        {"sent | got 1; blocked"},
    ),
    "a range over a nil channel blocks for ever": (program([range_over("n")], n=None), {"blocked"}),
    "two ranges share the values": (
        program([send("a", 1), send("a", 2), close("a")], [range_over("a")], [range_over("a")], a=2),
        {
            "sent; sent; closed | got 1; got 2; ends | ends",
            "sent; sent; closed | ends | got 1; got 2; ends",
            "sent; sent; closed | got 1; ends | got 2; ends",
            "sent; sent; closed | got 2; ends | got 1; ends",
        },
    ),
    # Select statements
    "select takes the only case that can proceed": (
        program([send("b", 1), select(receive("a"), receive("b"), send("n", 2), receive("n"))], a=1, b=1, n=None),
        {"sent; <-b: got 1"},
    ),
    "select takes any of the cases that can proceed": (
        program([send("a", 1), send("b", 2), select(receive("a"), receive("b"), send("c", 3))], a=1, b=1, c=1),
        {"sent; sent; <-a: got 1", "sent; sent; <-b: got 2", "sent; sent; c<-3: sent"},
    ),
    "select leaves what it did not choose as it is": (
        program([send("a", 1), send("b", 2), select(receive("a"), receive("b")), length("a"), length("b")], a=1, b=1),
        {"sent; sent; <-a: got 1; len 0; len 1", "sent; sent; <-b: got 2; len 1; len 0"},
    ),
    "select takes default if no case can proceed": (
        program([select(receive("a"), send("a", 1), default=True)], a=0),
        {"default"},
    ),
    "select does not take default if a case can proceed": (
        program([send("a", 1), select(receive("a"), default=True), select(send("a", 2), default=True)], a=1),
        {"sent; <-a: got 1; a<-2: sent"},
    ),
    "select takes default if a send has no room": (
        program([send("a", 1), select(send("a", 2), default=True), receive("a")], a=1),
        {"sent; default; got 1"},
    ),
    "select without default blocks until a case can proceed": (
        program([select(receive("a"), receive("b"))], [send("b", 1)], a=0, b=0),
        {"<-b: got 1 | sent"},
    ),
    "a blocked select proceeds with a send": (
        program([select(send("a", 1), receive("b"))], [receive("a")], a=0, b=0),
        {"a<-1: sent | got 1"},
    ),
    "a blocked select sends when there is room": (
        program([send("a", 1), select(send("a", 2), receive("b"))], [receive("a"), receive("a")], a=1, b=0),
        {"sent; a<-2: sent | got 1; got 2"},
    ),
    "a blocked select does one of its cases and no other": (
        program([select(receive("a"), receive("b"))], [send("a", 1)], [send("b", 2)], a=0, b=0),
        {"<-a: got 1 | sent | blocked", "<-b: got 2 | blocked | sent"},
    ),
    "what a select did not send stays unsent": (
        program([select(send("a", 1), send("b", 2))], [receive("a")], [receive("b")], a=0, b=0),
        {"a<-1: sent | got 1 | blocked", "b<-2: sent | blocked | got 2"},
    ),
    "two selects meet": (
        program([select(send("a", 1), receive("b"))], [select(receive("a"), send("b", 2))], a=0, b=0),
        {"a<-1: sent | <-a: got 1", "<-b: got 2 | b<-2: sent"},
    ),
    "a select does not meet itself": (program([select(send("a", 1), receive("a"))], a=0), {"blocked"}),
    "two selects with default never meet": (
        program([select(send("a", 1), default=True)], [select(receive("a"), default=True)], a=0),
        {"default | default"},
    ),
    "a select with default meets a goroutine that is parked": (
        program([select(send("a", 1), default=True)], [receive("a")], a=0),
        {"a<-1: sent | got 1", "default | blocked"},
    ),
    "a select with a case that can proceed does not wait for another": (
        program([send("b", 1), select(receive("a"), receive("b"))], [select(send("a", 2), default=True)], a=0, b=1),
        {"sent; <-b: got 1 | default"},
    ),
    "select receives from a closed channel": (
        program([close("a"), select(receive("a"), receive("b"))], a=0, b=0),
        {"closed; <-a: zero"},
    ),
    "select sends on a closed channel and panics": (
        program([close("a"), select(send("a", 1), receive("b"))], a=0, b=0),
        {f"closed; {SEND_PANIC}"},
    ),
    "a send case on a closed channel is one of those that can proceed": (
        program([close("a"), send("b", 2), select(send("a", 1), receive("b"), default=True)], a=1, b=1),
        {f"closed; sent; {SEND_PANIC}", "closed; sent; <-b: got 2"},
    ),
    "a close wakes a blocked select that receives": (
        program([select(receive("a"), receive("b"))], [close("b")], a=0, b=0),
        {"<-b: zero | closed"},
    ),
    "a close panics a blocked select that sends": (
        program([select(send("a", 1), receive("b"))], [close("a")], a=0, b=0),
        {f"{SEND_PANIC} | closed"},
    ),
    "a nil channel is a case that never proceeds": (
        program([select(send("n", 1), receive("n"))], n=None),
        {"blocked"},
    ),
    "a select of nil channels takes default": (
        program([select(send("n", 1), receive("n"), default=True)], n=None),
        {"default"},
    ),
    "a select without cases blocks for ever": (program([select()]), {"blocked"}),
    "a select with default alone takes it": (program([select(default=True)]), {"default"}),
    "a channel may stand in several cases": (
        program([select(receive("a"), receive("a"))], [send("a", 1)], a=0),
        {"<-a: got 1 | sent"},
    ),
    # The memory model, observed at the variable x, which the channels guard
    "a send happens before its receive completes": (
        program([write(1), send("a", 7)], [receive("a"), read()], a=1),
        {"wrote; sent | got 7; x is 1"},
    ),
    "a close happens before the receive of the zero value": (
        program([write(1), close("a")], [receive("a"), read()], a=0),
        {"wrote; closed | zero; x is 1"},
    ),
    "a receive from an unbuffered channel happens before its send completes": (
        program([write(1), receive("a")], [send("a", 7), read()], a=0),
        {"wrote; got 7 | sent; x is 1"},
    ),
    "the first receive happens before the send that it makes room for completes": (
        program([write(1), receive("a")], [send("a", 7), send("a", 8), read()], a=1),
        {"wrote; got 7 | sent; sent; x is 1"},
    ),
    "a channel of capacity 1 is a lock": (
        program(
            [send("a", 1), write(1), read(), receive("a")],
            [send("a", 2), write(2), read(), receive("a")],
            a=1,
        ),
        {"sent; wrote; x is 1; got 1 | sent; wrote; x is 2; got 2"},
    ),
}
