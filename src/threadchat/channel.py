"""Go's channels and `select`, for Python threads.

A channel is built from two parts of a `queue.Queue`, its buffer (`queue`) and its `mutex`, and from two lines of parked
threads: receivers that found nothing to take, and senders that found no room. Go's own runtime works this way
(runtime/chan.go): a sender that finds a parked receiver hands the item over and wakes it. An item is therefore always
in exactly one place: in the buffer, with a parked sender, or with the one receiver that was given it. `Queue.put` and
`Queue.get` are not used, because a queue has no close and no rendezvous (`Queue.shutdown` came with Python 3.13).

The rules are those of the Go specification ("Channel types", "Send statements", "Receive operator", "Select
statements", "Close") and of the Go memory model. Where Go panics, or returns a second result `ok`, Python raises
`Closed`.

Any thread may call anything in this module. Signal handlers and finalizers must not: the thread that they interrupt
may hold the mutex. A signal handler that raises (Ctrl-C does, in the main thread) leaves the lines in order if the
thread was asleep in a channel; at any other instant it may leave an operation half done, as with any lock in Python.

This module imports nothing else of threadchat and can be used on its own.

The races, each forced by a test of the same number in tests/test_channel_races.py:
1. Two threads reach the same selecting thread over two channels, and both want to serve it.
2. A thread's deadline passes at the moment when another thread serves it.
3. A close meets a parked sender just as a receiver makes room for it.
4. A select has been served over one channel while it still stands in the lines of the others.
5. Two selects meet, each with a send and a receive for the other.
6. Two threads close a channel at the same time.
7. A close meets a receiver that takes all that is pending, items of parked senders included.
"""

from __future__ import annotations

import operator
import queue
import random
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)

_NOTHING: Any = object()  # returned by `_take` when there is nothing to take


class Closed(Exception):
    """The channel is closed. A receive raises it only after all items sent before have been received.

    `channel` is the closed channel. `case` is the case that could not proceed, as it was given to `select`: the channel
    for a receive, the Send for a send.
    """

    def __init__(self, channel: Channel[Any], case: Case = None) -> None:
        super().__init__("channel is closed")
        self.channel = channel
        self.case = case or channel


class WouldBlock(Exception):
    """`send_nowait` found neither room nor a waiting receiver."""


@dataclass(frozen=True)
class ChannelStatistics:
    """A channel at one instant. `pending` and `capacity` count items, the next two count parked threads."""

    pending: int
    capacity: int
    waiting_senders: int
    waiting_receivers: int
    closed: bool


class Channel(Generic[T]):
    """A channel: `make(chan T, capacity)`.

    With `capacity` 0 the channel is unbuffered: a send returns when a receiver has taken the item. Otherwise `capacity`
    items wait in the buffer before a send blocks. Raises TypeError for a capacity that is not an integer, and
    ValueError for a negative one. With a type `of`, sending anything else raises TypeError; without it, type checkers
    alone see to that.

    A channel is a reference, as in Go: a copy is the same channel, and two channels are equal if they are the same one.
    It is always true, also when it is empty (`if channel:` asks whether there is one: Go's `channel != nil`).
    """

    __slots__ = ("_buffer", "_closed", "_mutex", "_of", "_receivers", "_senders", "capacity")

    def __init__(self, capacity: int = 0, of: type[T] | None = None) -> None:
        capacity = int(operator.index(capacity))
        if capacity < 0:
            raise ValueError("a channel's capacity must be 0 or more")
        self.capacity = capacity  # items: Go's cap(ch)
        self._of = of
        buffer: queue.Queue[T] = queue.Queue(capacity)
        # The mutex must be held to read or change any of the next four fields.
        self._mutex = buffer.mutex
        self._buffer: deque[T] = buffer.queue
        # Parked threads, oldest first. Plain lists: they are short, and need a tenth of a deque's memory.
        self._receivers: list[_Parked] = []
        self._senders: list[tuple[_Parked, Send[T]]] = []
        self._closed = False

    def send(self, item: T) -> None:
        """`ch <- item`: block until a receiver or the buffer has the item.

        Raises Closed if the channel is closed, before the call or while it waits.
        """
        self._check(item)
        with self._mutex:
            if self._offer(item):
                return
            sender = _Parked()
            self._senders.append((sender, Send(self, item)))
        sender.sleep([self])

    def send_nowait(self, item: T) -> None:
        """`select { case ch <- item: default: }`. Raises WouldBlock instead of waiting, and Closed as `send` does."""
        self._check(item)
        with self._mutex:
            if not self._offer(item):
                raise WouldBlock

    def send_what_fits(self, items: Sequence[T]) -> Sequence[T]:
        """Send as many items as fit, in one step and without waiting. Returns the items left over. Raises Closed."""
        self._check(*items)
        with self._mutex:
            return self._offer_what_fits(items)

    def receive(self, timeout: float | None = None) -> T:
        """`<-ch`: the next item, in the order of the sends; block until there is one.

        Raises Closed when the channel is closed and empty, and TimeoutError after `timeout` seconds (Go: a second case
        with `time.After`).
        """
        with self._mutex:
            item = self._take()
            if item is not _NOTHING:
                return item
            receiver = _Parked()
            self._receivers.append(receiver)
        return receiver.sleep([self], timeout)[1]  # type: ignore[no-any-return]

    def take_pending(self) -> list[T]:
        """Receive everything that can be received without waiting, in one step; possibly nothing. Never raises."""
        with self._mutex:
            return self._take_all()

    def close(self) -> None:
        """`close(ch)`: no more sends. Items in the buffer can still be received. Parked senders raise Closed.

        Raises Closed if the channel was closed before. To be called by the thread that knows that nothing more will be
        sent, usually the only sender.
        """
        with self._mutex:
            if self._closed:
                raise Closed(self)
            self._closed = True
            parked: list[tuple[_Parked, Channel[T] | Send[T]]] = [(receiver, self) for receiver in self._receivers]
            parked += self._senders
            self._receivers.clear()
            self._senders.clear()
            for thread, case in parked:  # race 3: _take holds the mutex as well, so that a sender is served only once
                if thread.claim():
                    thread.refuse(case)

    def __iter__(self) -> Iterator[T]:
        """`for item := range ch`: receive until the channel is closed and empty."""
        while True:
            try:
                item = self.receive()
            except Closed:
                return
            yield item

    def __len__(self) -> int:
        """`len(ch)`: the number of items in the buffer."""
        with self._mutex:
            return len(self._buffer)

    def __bool__(self) -> bool:
        return True

    def __copy__(self) -> Channel[T]:
        return self

    def __deepcopy__(self, memo: object) -> Channel[T]:
        return self

    def __reduce__(self) -> str:
        raise TypeError("a channel connects the threads of one process and cannot be pickled")

    def __repr__(self) -> str:
        # Without the mutex: a debugger may ask for it while a thread holds it.
        closed = ", closed" if self._closed else ""
        return f"<{type(self).__name__}: {len(self._buffer)} of {self.capacity} items{closed}>"

    def statistics(self) -> ChannelStatistics:
        """The channel at this instant. It may have changed by the time the caller looks at the result."""
        with self._mutex:
            senders = {sender for sender, _ in self._senders if not sender.claimed()}
            receivers = {receiver for receiver in self._receivers if not receiver.claimed()}
            return ChannelStatistics(len(self._buffer), self.capacity, len(senders), len(receivers), self._closed)

    def _check(self, *items: T) -> None:
        """Raise TypeError if the channel is not for these items."""
        if self._of is not None:
            for item in items:
                if not isinstance(item, self._of):
                    raise TypeError(f"a channel of {self._of.__name__} cannot take {item!r:.100}")

    def _leave(self, thread: _Parked) -> None:
        """Remove a thread that no longer waits from both lines."""
        with self._mutex:
            self._receivers = [each for each in self._receivers if each is not thread]
            self._senders = [each for each in self._senders if each[0] is not thread]

    # The caller of the methods below holds the mutex.

    def _offer(self, item: T) -> bool:
        """Give the item to a parked receiver or to the buffer. Returns False if neither can take it. Raises Closed."""
        if self._closed:
            raise Closed(self)
        while self._receivers:
            receiver = self._receivers.pop(0)
            if receiver.claim():
                receiver.serve(self, item)
                return True
        if len(self._buffer) < self.capacity:
            self._buffer.append(item)
            return True
        return False

    def _offer_what_fits(self, items: Sequence[T]) -> Sequence[T]:
        """Offer one item after the other while they are taken. Returns the items left over. Raises Closed."""
        if self._closed:
            raise Closed(self)
        while self._receivers and items:
            if not self._offer(items[0]):
                return items
            items = items[1:]
        room = self.capacity - len(self._buffer)
        if len(items) <= room:
            self._buffer.extend(items)
            return ()
        room = max(0, room)
        self._buffer.extend(items[:room])
        return items[room:]

    def _take(self) -> T:
        """The oldest item, or _NOTHING. Raises Closed if the channel is closed and empty."""
        while self._senders:
            sender, case = self._senders.pop(0)
            if sender.claim():
                self._buffer.append(case.item)  # moves up; one item leaves the buffer in the same step
                sender.serve(case, None)
                break
        if self._buffer:
            return self._buffer.popleft()
        if self._closed:
            raise Closed(self)
        return _NOTHING  # type: ignore[no-any-return]

    def _take_all(self) -> list[T]:
        """All items in the buffer and all items of parked senders."""
        items = list(self._buffer)
        self._buffer.clear()
        while self._senders:
            sender, case = self._senders.pop(0)
            if sender.claim():
                items.append(case.item)
                sender.serve(case, None)
        return items

    def _can_send(self) -> bool:
        """Whether a send would proceed, or raise, without waiting."""
        if self._closed or len(self._buffer) < self.capacity:
            return True
        return any(not receiver.claimed() for receiver in self._receivers)

    def _can_receive(self) -> bool:
        """Whether a receive would proceed, or raise, without waiting."""
        if self._buffer or self._closed or not self._senders:
            return bool(self._buffer or self._closed)
        return any(not sender.claimed() for sender, _ in self._senders)


class ReceiveOnly(Protocol[T_co]):
    """`<-chan T`: a type for code that only receives. Type checkers hold it; nothing checks it at run time."""

    def receive(self, timeout: float | None = None) -> T_co:
        """See `Channel.receive`."""

    def __iter__(self) -> Iterator[T_co]:
        """See `Channel.__iter__`."""


class SendOnly(Protocol[T_contra]):
    """`chan<- T`: a type for code that only sends and closes. Type checkers hold it; nothing checks it at run time."""

    def send(self, item: T_contra) -> None:
        """See `Channel.send`."""

    def send_nowait(self, item: T_contra) -> None:
        """See `Channel.send_nowait`."""

    def close(self) -> None:
        """See `Channel.close`."""


class Send(Generic[T]):
    """A case of a `select` that sends: `case channel <- item`. With the channel None it is never ready."""

    __slots__ = ("channel", "item")

    def __init__(self, channel: Channel[T] | None, item: T) -> None:
        self.channel = channel
        self.item = item


Case = Channel[Any] | Send[Any] | None


def select(*cases: Case, default: bool = False, timeout: float | None = None) -> tuple[Case, Any]:
    """Go's `select`: wait until one of the cases can proceed, and do what it says.

    A case is a channel (receive from it), a `Send(channel, item)`, or None: a nil channel, which is never ready.
    Returns the case that proceeded (the very object that was given) and the item received (None for a send). If several
    cases are ready, each is chosen with the same probability. If none is, `default=True` returns (None, None) at once.

    Raises Closed if the chosen case receives from a closed and empty channel, or sends to a closed one: both count as
    ready. Raises TimeoutError after `timeout` seconds, and TypeError, before it does anything, for a wrong argument.
    Without a case that can ever be ready it blocks for ever.
    """
    live = [case for case in cases if case is not None and not (isinstance(case, Send) and case.channel is None)]
    for case in live:
        if isinstance(case, Send):
            _channel_of(case)._check(case.item)
    # Every select locks its channels in the same order, so that two selects cannot wait for each other. It holds all
    # mutexes from the first look until it stands in all lines, so that no item is missed in between.
    channels = sorted({_channel_of(case) for case in live}, key=id)
    for channel in channels:
        channel._mutex.acquire()
    try:
        while ready := [case for case in live if _is_ready(case)]:
            chosen = random.choice(ready)
            item = _proceed(chosen)
            if item is not _NOTHING:
                return chosen, item
        if default:
            return None, None
        thread = _Parked()
        for case in live:
            if isinstance(case, Send):
                _channel_of(case)._senders.append((thread, case))
            else:
                case._receivers.append(thread)
    finally:
        for channel in channels:
            channel._mutex.release()
    return thread.sleep([_channel_of(case) for case in live], timeout)


def _channel_of(case: Channel[Any] | Send[Any]) -> Channel[Any]:
    channel = case.channel if isinstance(case, Send) else case
    if not isinstance(channel, Channel):
        raise TypeError(f"a case of a select must be a channel, a Send to a channel, or None, not {case!r}")
    return channel


def _is_ready(case: Channel[Any] | Send[Any]) -> bool:
    """Whether a case can proceed now. The caller holds the channel's mutex."""
    return _channel_of(case)._can_send() if isinstance(case, Send) else case._can_receive()


def _proceed(case: Channel[Any] | Send[Any]) -> Any:
    """Do what a case says. Returns the item received, None for a send, or _NOTHING if it cannot proceed after all.

    This happens in race 5: the thread that it counted on is another select, which was served in between over a channel
    that this one does not hold.
    """
    if not isinstance(case, Send):
        return case._take()
    try:
        return None if _channel_of(case)._offer(case.item) else _NOTHING
    except Closed as closed:
        raise Closed(closed.channel, case) from None


class _Parked:
    """A thread that is parked in one line or, in a select, in several: Go's sudog.

    It is served exactly once. The lines have different mutexes, so a parked thread has a lock of its own that decides
    who serves it: the first to `claim` it, be it a sender, a receiver, a close or its own deadline (races 1, 2 and 4).
    Only the thread that has claimed it calls `serve` or `refuse`.
    """

    __slots__ = ("_claim", "_wake", "case", "item", "refused")

    case: Channel[Any] | Send[Any]  # the case that proceeded, or was refused
    item: Any  # what was received

    def __init__(self) -> None:
        self.refused = False  # set if the channel of the case was closed
        self._claim = threading.Lock()  # taken once, never released
        self._wake = threading.Lock()  # released once, by the thread that serves this one
        self._wake.acquire()

    def claim(self) -> bool:
        """Win the right to serve this thread. Returns False if another thread, or the deadline, was first."""
        return self._claim.acquire(blocking=False)

    def claimed(self) -> bool:
        """Whether it is decided how the wait ends: the thread was served or has given up, and is about to run."""
        return self._claim.locked()

    def serve(self, case: Channel[Any] | Send[Any], item: Any) -> None:
        """Let its case proceed: wake it with what was received, or with None if its item was taken."""
        self.case, self.item = case, item
        self._wake.release()

    def refuse(self, case: Channel[Any] | Send[Any]) -> None:
        """Wake it to raise Closed for the case."""
        self.case, self.refused = case, True
        self._wake.release()

    def sleep(self, channels: Sequence[Channel[Any]], timeout: float | None = None) -> tuple[Case, Any]:
        """For the parked thread: sleep until served. Returns the case and the item.

        `channels` names the channel of each case it waits for, so a channel with two cases appears twice. Raises Closed
        if the case was refused, and TimeoutError.
        """
        served = False
        try:
            served = self._park(timeout)
        finally:
            if not served or len(channels) > 1:  # race 4
                self.claim()  # if it was interrupted, nobody may serve it any more
                for channel in channels:
                    channel._leave(self)
        if not served:
            raise TimeoutError
        if self.refused:
            raise Closed(_channel_of(self.case), self.case)
        return self.case, self.item

    def _park(self, timeout: float | None) -> bool:
        """Sleep until served. Returns False if the time has passed and nobody will serve this thread any more."""
        if timeout is None:
            return self._wake.acquire()
        # Written this way round, both functions return nan for nan, and `acquire` raises ValueError.
        if self._wake.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX)):
            return True
        if self.claim():
            return False
        return self._wake.acquire()  # race 2: another thread has claimed this one and is about to wake it
