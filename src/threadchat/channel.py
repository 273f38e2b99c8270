"""Go's channels in Python threads: `Channel`, and `select` over several of them.

A channel is made of two parts of a `queue.Queue`, its buffer (`queue`) and its `mutex`, and of two lines of parked
threads: receivers that found nothing, senders that found no room. This is how Go's own runtime does it
(runtime/chan.go): a send that finds a parked receiver hands it the item and wakes it, so an item is never anywhere but
in the buffer, in a parked sender or in the hands of exactly one receiver. The queue's own `put` and `get` stay unused:
they know neither a close nor a rendezvous (and `Queue.shutdown` only exists from Python 3.13 on).

What it means is what the Go specification says ("Channel types", "Send statements", "Select statements", "Close") and
the Go memory model orders; where Go panics, or has a second result `ok`, Python raises `Closed`.

Any thread may call anything here, but no signal handler and no finalizer: the very thread that they interrupt may hold
the mutex. Nothing here knows what a channel is used for.

The races, each forced by a test of the same number in tests/test_channel.py:
1. Two senders on two channels meet the same selecting receiver: both want to hand it their item.
2. A receiver's deadline passes in the instant in which a sender hands it an item.
3. A close meets a parked sender just as a receiver makes room for it.
4. A select wakes by one channel while it still stands in the lines of the others.
5. A receiver steps away in the instant in which a sender parks.
6. Two threads close a channel at once.
7. A close meets a receiver that takes all that is pending, the items of parked senders too.
"""

from __future__ import annotations

import queue
import random
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from threadchat.runtime.runqueue import RunQueue

T = TypeVar("T")

LONGEST = threading.TIMEOUT_MAX  # seconds that a lock can wait
_CLOSED: Any = object()  # handed to a parked receiver in place of an item when its channel is closed


class Closed(Exception):
    """The channel is closed; for a receive: and all that was sent before has been received.

    `channel` tells which: after a `select` it may be any of them.
    """

    def __init__(self, channel: Channel[Any]) -> None:
        super().__init__("channel is closed")
        self.channel = channel


class WouldBlock(Exception):
    """A send that must not wait found neither room nor a receiver: the `default` case of Go's select.

    Raised by `send_nowait`, and by `send` where the receiver is away.
    """


@dataclass(frozen=True)
class ChannelStatistics:
    """What a channel looks like from outside, at one instant. All but `closed` count items or threads."""

    pending: int
    capacity: int
    waiting_senders: int
    waiting_receivers: int
    closed: bool


class Channel(Generic[T]):
    """A typed conduit between threads: `make(chan T, capacity)`.

    With `capacity` 0 it is unbuffered: a send returns once a receiver has the item. Otherwise `capacity` items wait in
    its buffer before a send blocks. Raises ValueError for a negative capacity.

    With a run queue, who is returned an item, other than by `take_pending` or `select`, has a turn with it, and gives
    it back. Who has to wait until the channel is closed is told so in turn as well, but has none left. While `urgent`
    is set, the receiver goes before others there; any thread may set it.
    """

    __slots__ = ("_away", "_buffer", "_closed", "_mutex", "_receivers", "_run_queue", "_senders", "capacity", "urgent")

    def __init__(self, capacity: int = 0, run_queue: RunQueue | None = None) -> None:
        if capacity < 0:
            raise ValueError("a channel's capacity is 0 or more")
        self.capacity = capacity
        self.urgent = False
        self._run_queue = run_queue
        buffer: queue.Queue[T] = queue.Queue(capacity)
        # The mutex is held whenever the buffer, the two lines or `_closed` are looked at or changed.
        self._mutex = buffer.mutex
        self._buffer: deque[T] = buffer.queue
        # At most one of these has anybody in it: receivers wait only while there is nothing to take. Lists, as they are
        # short, and take a tenth of the memory that a deque does.
        self._receivers: list[_Receiver] = []
        self._senders: list[_Sender[T]] = []
        self._closed = False
        self._away = 0  # how many times a receiver has stepped away and not come back

    def send(self, item: T) -> None:
        """`ch <- item`: blocks until a receiver or the buffer has the item.

        Raises Closed if the channel is closed, before or meanwhile, and WouldBlock if it would have to wait for a
        receiver that is away: then nobody receives the item.
        """
        with self._mutex:
            if self._accept(item):
                return
            if self._away:  # race 5: looked at, and set, under the mutex
                raise WouldBlock
            sender = _Sender(item)
            self._senders.append(sender)
        try:
            sender.park()
        except BaseException:  # Ctrl-C
            with self._mutex, suppress(ValueError):
                self._senders.remove(sender)
            raise
        if sender.refusal is Closed:
            raise Closed(self)
        if sender.refusal is WouldBlock:
            raise WouldBlock

    def send_nowait(self, item: T) -> None:
        """`select { case ch <- item: default: }`: raises WouldBlock instead of blocking, and Closed as `send` does."""
        with self._mutex:
            if not self._accept(item):
                raise WouldBlock

    def send_what_fits(self, items: Sequence[T]) -> Sequence[T]:
        """One `send_nowait` after the other until one would block; returns the items that are left. Raises Closed."""
        with self._mutex:
            return self._accept_some(items)

    def send_all(self, items: Sequence[T]) -> None:
        """One `send` after the other, but all that there is room for at once. Raises as `send`."""
        while items:
            items = self.send_what_fits(items)
            if items:
                self.send(items[0])
                items = items[1:]

    def receive(self, timeout: float | None = None) -> T:
        """`<-ch`: the next item, in the order of the sends; blocks until there is one.

        Raises Closed when the channel is closed and empty, TimeoutError when `timeout` seconds have passed.
        """
        receiver = _Receiver(self._run_queue)
        with self._mutex:
            if self._ready():
                receiver.hand(self, self._take())
            else:
                self._receivers.append(receiver)
        try:
            handed = receiver.park(timeout)
        except BaseException:  # Ctrl-C, or a timeout that is no number
            self._leave(receiver)
            raise
        if not handed:
            if self._leave(receiver):
                raise TimeoutError
            receiver.park(None)  # race 2: it was handed an item just then
        if receiver.item is _CLOSED:
            if self._run_queue is not None:
                self._run_queue.next()  # a server that stops closes thousands of channels: these take turns as well
            raise Closed(self)
        item: T = receiver.item
        return item

    def receive_pending(self, timeout: float | None = None) -> list[T]:
        """A receive, and then all that can be received without waiting: one item or more. Raises as `receive`."""
        item = self.receive(timeout)
        with self._mutex:
            return [item, *self._take_all()]

    def take_pending(self) -> list[T]:
        """All that can be received without waiting; it may be nothing. Never raises."""
        with self._mutex:
            return self._take_all()

    def step_away(self) -> None:
        """For a receiver: it cannot receive for now, so nobody shall wait for it. Parked senders raise WouldBlock.

        Go has no such thing; a Go program would let its senders select on a second channel. Each call is to be followed
        by `come_back`, unless the receiver is gone for good.
        """
        with self._mutex:
            self._away += 1
            while self._senders:
                self._senders.pop(0).wake(WouldBlock)

    def come_back(self) -> None:
        """For a receiver: it can receive again."""
        with self._mutex:
            self._away -= 1

    def close(self) -> None:
        """`close(ch)`: no more sends. What the buffer holds can still be received; parked senders raise Closed.

        Raises Closed if it was closed before. It is for the one thread that knows that no more will be sent.
        """
        with self._mutex:
            if self._closed:
                raise Closed(self)
            self._closed = True
            while self._receivers:
                self._receivers.pop(0).hand(self, _CLOSED)
            while self._senders:  # race 3: all of this and all of _take hold the mutex, so a sender is told one thing
                self._senders.pop(0).wake(Closed)

    def __iter__(self) -> Iterator[T]:
        """`for item := range ch`: receives until the channel is closed and empty."""
        while True:
            try:
                item = self.receive()
            except Closed:
                return
            yield item

    def __len__(self) -> int:
        """`len(ch)`: the items in the buffer."""
        with self._mutex:
            return len(self._buffer)

    def statistics(self) -> ChannelStatistics:
        """The channel at this instant; by the time you look, it may have moved on."""
        with self._mutex:
            waiting = sum(not receiver.claimed() for receiver in self._receivers)
            return ChannelStatistics(len(self._buffer), self.capacity, len(self._senders), waiting, self._closed)

    def _leave(self, receiver: _Receiver) -> bool:
        """Take the receiver out of the line; False if somebody has done so, to hand it an item."""
        with self._mutex:
            if receiver in self._receivers:
                self._receivers.remove(receiver)
                return True
        return False

    # The methods below are called with the mutex held.

    def _accept(self, item: T) -> bool:
        """Give the item to a parked receiver or to the buffer; False if neither can have it."""
        if self._closed:
            raise Closed(self)
        while self._receivers:
            if self._receivers.pop(0).hand(self, item):
                return True
        if len(self._buffer) < self.capacity:
            self._buffer.append(item)
            return True
        return False

    def _accept_some(self, items: Sequence[T]) -> Sequence[T]:
        """Give as many of the items as can be to parked receivers and to the buffer; returns the rest."""
        if self._closed:
            raise Closed(self)
        while self._receivers and items:
            if self._receivers.pop(0).hand(self, items[0]):
                items = items[1:]
        room = max(0, self.capacity - len(self._buffer))
        self._buffer.extend(items[:room])
        return items[room:]

    def _ready(self) -> bool:
        """Whether a receive would return, or raise, at once."""
        return bool(self._buffer or self._senders or self._closed)

    def _take(self) -> T:
        """The oldest item of a ready channel. The first parked sender, if any, moves up into the buffer."""
        if self._senders:
            sender = self._senders.pop(0)
            self._buffer.append(sender.item)
            sender.wake(None)
        if not self._buffer:
            raise Closed(self)
        return self._buffer.popleft()

    def _take_all(self) -> list[T]:
        """All that is in the buffer or in the hands of parked senders."""
        items = list(self._buffer)
        self._buffer.clear()
        while self._senders:
            sender = self._senders.pop(0)
            items.append(sender.item)
            sender.wake(None)
        return items


def select(*channels: Channel[Any], timeout: float | None = None) -> tuple[Channel[Any], Any]:
    """Go's `select` with a receive in each case: waits for the first of `channels` that has an item.

    Returns the channel and its item. Where several are ready, chance decides, as in Go, so none can starve another. A
    closed and empty channel is always ready: if it is chosen, Closed is raised and bears it. Raises TimeoutError when
    `timeout` seconds have passed, and ValueError when there is nothing to wait for.
    """
    if not channels:
        raise ValueError("select needs a channel")
    # All mutexes are held while it looks and joins the lines, so that no item slips in between; everybody takes them
    # in one order, so that two selects cannot wait for each other.
    ordered = sorted(set(channels), key=id)
    with ExitStack() as mutexes:
        for channel in ordered:
            mutexes.enter_context(channel._mutex)
        ready = [channel for channel in ordered if channel._ready()]
        if ready:
            chosen = random.choice(ready)
            return chosen, chosen._take()
        selecting = _SelectingReceiver(None)
        for channel in ordered:
            channel._receivers.append(selecting)
    try:
        handed = selecting.park(timeout)
        if not handed and not selecting.claim():
            handed = selecting.park(None)  # race 2: a sender has claimed it, and is about to wake it
    finally:
        for channel in ordered:  # race 4: whoever handed has taken it out of one line, it still stands in the others
            channel._leave(selecting)
    if not handed:
        raise TimeoutError
    if selecting.item is _CLOSED:
        raise Closed(selecting.channel)
    return selecting.channel, selecting.item


class _Sender(Generic[T]):
    """A thread parked in `send`, and its item. It stands in one line, whose mutex guards it."""

    __slots__ = ("_parked", "item", "refusal")

    def __init__(self, item: T) -> None:
        self.item = item
        # The type alone: an exception kept here would lead back here, by its traceback, and wait for the collector.
        self.refusal: type[Closed | WouldBlock] | None = None
        self._parked = threading.Lock()
        self._parked.acquire()

    def park(self) -> None:
        """Sleep until `wake`."""
        self._parked.acquire()

    def wake(self, refusal: type[Closed | WouldBlock] | None) -> None:
        """Let it return, or raise the refusal."""
        self.refusal = refusal
        self._parked.release()


class _Receiver:
    """A thread parked in `receive`. It stands in one line, whose mutex guards it until it is handed an item."""

    __slots__ = ("_parked", "_run_queue", "channel", "item")

    channel: Channel[Any]
    item: Any

    def __init__(self, run_queue: RunQueue | None) -> None:
        self._run_queue = run_queue
        self._parked = threading.Lock()
        self._parked.acquire()

    def claimed(self) -> bool:
        """Whether it has been handed an item and only waits to be scheduled."""
        return False

    def hand(self, channel: Channel[Any], item: Any) -> bool:
        """Wake it with the item; False if it takes none any more. The caller holds the channel's mutex."""
        self.channel, self.item = channel, item
        if self._run_queue is None:
            self._parked.release()
        else:
            self._run_queue.ready(self._parked.release, channel.urgent)
        return True

    def park(self, timeout: float | None) -> bool:
        """Sleep until handed something; False when `timeout` seconds have passed first."""
        if timeout is None:
            return self._parked.acquire()
        return self._parked.acquire(True, timeout if 0 <= timeout <= LONGEST else min(max(0, timeout), LONGEST))


class _SelectingReceiver(_Receiver):
    """A thread parked in `select`, in the lines of several channels at once.

    Their mutexes are different ones, so it has a lock of its own to decide who has it: the first to claim it, be it a
    sender, a close or its own deadline. The others leave it alone (races 1 and 2).
    """

    __slots__ = ("_claim",)

    def __init__(self, run_queue: RunQueue | None) -> None:
        super().__init__(run_queue)
        self._claim = threading.Lock()  # taken once, never released

    def claim(self) -> bool:
        return self._claim.acquire(blocking=False)

    def claimed(self) -> bool:
        return self._claim.locked()

    def hand(self, channel: Channel[Any], item: Any) -> bool:
        return self.claim() and super().hand(channel, item)
