"""The channels between the server and a learner's hub (--hub). They behave as the watched ones, and see more.

The real hub calls `record`, ends the connections of those whom it evicts, and counts what it does. A learner's hub only
uses its channels. So here the channels do these things: `broadcast` gives each entry its number in the room's log when
the entry enters it, and a client's `send` knows what it was given and why it was closed.

Only the hub's thread receives from `register`, `unregister` and `broadcast`, and sends to a client's `send`.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from threadchat.channel import Channel, Closed, Send, WouldBlock, _Parked
from threadchat.hub import Ending
from threadchat.inspector.evictions import facts
from threadchat.inspector.journey import followed
from threadchat.inspector.watch import RegisterChannel, UnregisterChannel, WatchedHub
from threadchat.inspector.watched_channels import BroadcastChannel, ChoosingBroadcastChannel, WatchedOutbox
from threadchat.messages import Entry, message
from threadchat.protocols.v1 import V1
from threadchat.room import SERVER
from threadchat.runtime.runqueue import RunQueue

PARTED = 1001, "the hub has parted with you"  # a close code and its reason


class Traffic:
    """What has passed between the server and one version of the learner's hub, whose code is in `file`."""

    def __init__(self, hub: WatchedHub, file: str) -> None:
        self.hub = hub
        self.file = file
        self.members: set[Any] = set()  # the clients that have registered, or are about to; their `send` is not closed
        self.ending = False  # from now on a `send` is closed because the hub ends
        self.taken = 0  # what the hub has received from its inboxes
        self.newest = 0  # the id of the entry that was numbered last
        self.current: Entry | None = None  # what the hub has received last from `broadcast`
        # When each entry was numbered that nobody has looked for yet. The end of the hub's line appends, the reader
        # takes from the left.
        self.passing: deque[tuple[float, Entry]] = deque()
        self.sends_at = 0  # the line from which the hub has sent to a client first

    def line(self) -> int:
        """The line of the learner's file where the calling thread is; 0 if it is not in there."""
        frame = sys._getframe(1)
        while frame.f_code.co_filename != self.file:
            if frame.f_back is None:
                return 0
            frame = frame.f_back
        return frame.f_lineno


class OwnRegister(RegisterChannel):
    """The channel `register`."""

    __slots__ = ("_traffic",)

    def __init__(self, traffic: Traffic, capacity: int) -> None:
        super().__init__(traffic.hub)
        self.capacity = capacity
        self._traffic = traffic

    def send(self, client: Any) -> None:
        traffic = self._traffic
        client.send.attach(traffic, client)
        traffic.members.add(client)
        try:
            super().send(client)
        except Closed:
            traffic.members.discard(client)
            raise
        client.send.since = traffic.newest  # after the hub has taken it: what is numbered later reaches the hub later
        traffic.taken += 1


class OwnUnregister(UnregisterChannel):
    """The channel `unregister`."""

    __slots__ = ("_traffic",)

    def __init__(self, traffic: Traffic, capacity: int) -> None:
        super().__init__("unregister", capacity)
        self._traffic = traffic

    def send(self, client: Any) -> None:
        if client.send.traffic is not self._traffic:  # an earlier version's client, or one that never registered
            if not client.connection.accepted:
                client.connection.depart()
            return
        client.send.leaving = True
        super().send(client)
        client.send.left_at = client.send.left_at or time.monotonic()
        self._traffic.taken += 1


class OwnBroadcast(BroadcastChannel):
    """The channel `broadcast`. An entry that the log refuses, such as a repeat, does not reach the hub."""

    __slots__ = ("_traffic",)

    def __init__(self, traffic: Traffic, capacity: int) -> None:
        super().__init__(traffic.hub.watch)
        self.capacity = capacity
        self._traffic = traffic

    def choose(self, choosing: bool) -> None:
        self.__class__ = ChoosingOwnBroadcast if choosing else OwnBroadcast

    def send(self, item: str) -> None:
        super().send(item if isinstance(item, Entry) else message(item, SERVER))

    def send_nowait(self, item: str) -> None:
        with self._mutex:
            if not self._can_send():
                raise WouldBlock
            if not self._offer(item):  # at this moment another thread has served the receiver
                self._senders.append((_Parked(), Send(self, item)))  # it has its number, so it goes out next

    # The caller of the methods below holds the mutex.

    def _offer(self, item: str) -> bool:
        if not self._closed and isinstance(item, Entry) and not hasattr(item, "id") and not self._number(item):
            return True
        before = len(self._buffer)
        accepted = super()._offer(item)
        if accepted and len(self._buffer) == before:
            self._received(item)
        return accepted

    def _take(self) -> str:
        item = super()._take()
        self._received(item)
        return item

    def _take_all(self) -> list[str]:
        items = super()._take_all()
        for item in items:
            self._received(item)
        return items

    def _number(self, entry: Entry) -> bool:
        """Let the log give the entry its number. Returns False if the log does not take it.

        Here, since this is where the order is decided: the buffer and the line of parked senders keep it.
        """
        traffic = self._traffic
        for journey in followed([entry]):
            traffic.hub.watch.journeys.coming.discard(journey.number)
        if not traffic.hub.record([entry]):
            return False
        traffic.newest = entry.id
        traffic.passing.append((time.monotonic(), entry))
        return True

    def _received(self, item: Any) -> None:
        if isinstance(item, Entry):
            traffic = self._traffic
            traffic.current = item
            traffic.taken += 1
            traffic.hub.messages += 1
            traffic.hub.batches += 1


class ChoosingOwnBroadcast(OwnBroadcast, ChoosingBroadcastChannel):
    """The class of the channel while the next message may be followed."""

    __slots__ = ()


class Altered(Entry):
    """What a hub sends in place of the entry that it has received, such as `message.upper()`. It has the same token."""

    __slots__ = ("_check",)

    _check: int

    @classmethod
    def of(cls, entry: Entry, text: str) -> Altered:
        """The text, with the place in the log of that entry."""
        altered = cls(text.replace("\n", " "))
        altered.kind, altered.by, altered.name, altered.n, altered.text = entry.kind, entry.by, None, entry.n, text
        altered.id, altered.at, altered.epoch, altered._check = entry.id, entry.at, entry.epoch, entry.check
        altered.json = ""
        return altered

    @property
    def check(self) -> int:
        """See `Entry.check`."""
        return self._check


class OwnOutbox(WatchedOutbox):
    """A client's channel `send`. Before the client registers, it is like any other."""

    __slots__ = ("client", "given", "leaving", "left_at", "newest", "no_room_at", "refused", "since", "traffic")

    def __init__(self, hub: WatchedHub, capacity: int, run_queue: RunQueue) -> None:
        super().__init__(hub.watch, capacity, run_queue)
        self.traffic: Traffic | None = None
        self.client: Any = None
        self.since: int | None = None  # the hub knows the client; entries with higher ids are for it
        self.leaving = False  # the client unregisters, or has done so
        self.left_at = 0.0  # when the hub had taken that, by time.monotonic()
        self.given: set[int] = set()  # the ids of the entries that the hub has sent; those that were looked for go
        self.newest = 0  # the highest of these ids
        self.refused = False  # there was no room for what the hub tried to send last
        self.no_room_at = 0  # the line from which the hub last tried to send while there was no room

    def attach(self, traffic: Traffic, client: Any) -> None:
        """Called once, before the client is registered."""
        self.traffic, self.client = traffic, client

    def close(self) -> None:
        traffic = self.traffic
        if traffic is None or self._closed or self.leaving or traffic.ending:
            super().close()
        elif self.refused or len(self._buffer) >= self.capacity:
            self._evict(traffic)
        else:  # such as a hub that ends
            self.client.connection.end(*PARTED)
            super().close()
        if traffic is not None:
            traffic.members.discard(self.client)

    def _evict(self, traffic: Traffic) -> None:
        """Part with the peer: the hub knows only the channel."""
        hub, connection = traffic.hub, self.client.connection
        waiting, leaving, why = len(self), connection.ended, facts(connection.wait)
        if not len(self.client.stuck):  # the real hub would let the write pump run first
            why = {"cause": "hasty", "waited": None, "quiet": None}
        self.client.end(Ending.EVICTED)
        super().close()
        self.take_pending()  # only the close frame still goes out
        if leaving:
            return
        hub.evictions += 1
        connection.evicted = True
        hub.watch.journeys.evicted(self.client.number)
        told = {"name": connection.name, "reason": connection.ending, "waiting": waiting, "capacity": self.capacity}
        hub.watch.note("evicted", client=self.client.number, **told, **why)

    def _check(self, *items: str) -> None:
        """The hub's thread comes here before each send, holding no mutex."""
        for item in items:
            if not isinstance(item, str):
                raise TypeError(f"a client's `send` takes strings, not {item!r:.100}")
        if self.traffic is None:
            return
        if self.traffic.hub.gate.shut:
            self.traffic.hub.gate.wait()
        if len(self._buffer) >= self.capacity:
            self.no_room_at = self.traffic.line()
        elif not self.traffic.sends_at:
            self.traffic.sends_at = self.traffic.line()

    # The caller of the methods below holds the mutex.

    def _offer(self, item: str) -> bool:
        entry = self._entry(item)
        accepted = super()._offer(entry)
        self.refused = not accepted
        if accepted:
            self._note(entry)
        return accepted

    def _offer_what_fits(self, items: Sequence[str]) -> Sequence[str]:
        entries = [self._entry(item) for item in items]
        rest = super()._offer_what_fits(entries)
        self.refused = bool(rest)
        for entry in entries[: len(entries) - len(rest)]:
            self._note(entry)
        return rest

    def _take_all(self) -> list[str]:
        parked = {id(case.item) for _, case in self._senders}
        items = super()._take_all()
        for item in items if parked else ():
            if id(item) in parked:  # it was offered while there was no room
                self._note(self._entry(item))
        return [self._entry(item) for item in items] if parked else items

    def _entry(self, item: str) -> str:
        """The item as an entry, if it stands for one: the clients of threadchat.v1 need its place in the log."""
        if isinstance(item, Entry) and hasattr(item, "id"):
            return item
        current = self.traffic.current if self.traffic else None
        if current is None:
            return item
        if isinstance(self.client.protocol, V1):
            self.client.protocol.shares_lines = False
        return Altered.of(current, item)

    def _note(self, entry: str) -> None:
        traffic = self.traffic
        if traffic is None or not isinstance(entry, Entry):
            return
        self.given.add(entry.id)
        self.newest = max(self.newest, entry.id)
        traffic.hub.deliveries += 1
        for journey in followed([entry]) if self.noted else ():
            self.followed += 1
            part = journey.delivery(*self._client())
            part.buffered = traffic.hub.watch.now()
            part.places["buffered"] = "hub", traffic.file.rpartition("/")[2], traffic.line()


def channels_of(hub: Any) -> dict[str, Channel[Any]]:
    """The channels that are attributes of the learner's hub, by their names."""
    return {name: value for name, value in list(vars(hub).items()) if isinstance(value, Channel)}
