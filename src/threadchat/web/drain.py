"""A drain: no new clients, and goodbyes to those that are there, spread over some seconds. Then comes the stop.

Clients that have lost one server together would come back to the next one together. The close code 1012 tells them that
the server restarts: they come back at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from threadchat.channel import Channel, Closed, Send, select
from threadchat.client import Client
from threadchat.rooms import Rooms

GOODBYE = (1012, "the server restarts")
TELL_EVERY = 0.05  # seconds; where there are many clients, several are told at once
HUB_WAIT = 1.0  # seconds for a hub to take it that a client has gone


def drain(rooms: Rooms, seconds: float, cut: Channel[None], until_empty: Callable[[], bool]) -> int:
    """Part with all clients, evenly over so many seconds, the last one at the end. Returns how many were told.

    It takes the whole time, so that load balancers notice that the server is not ready; while `until_empty` is true it
    ends when there is no client. To close `cut` ends it at once.
    """
    ends, told = time.monotonic() + seconds, 0
    rooms.drains_until = ends
    while (left := ends - time.monotonic()) > 0:
        there = staying(rooms)
        if not there and until_empty():
            return told
        pause = min(left, max(TELL_EVERY, left / len(there) if there else 0))
        if _wait(cut, pause):
            return told
        for client in there[: max(1, round(len(there) * pause / left))]:
            if not _part_with(client, cut):
                return told
            told += 1
    for client in staying(rooms):  # there were too many, or a hub hung
        client.connection.end(*GOODBYE)  # which the stop lets go out
        told += 1
    return told


def staying(rooms: Rooms) -> list[Client]:
    """The clients of all rooms that are not about to go."""
    there = [client for hub in rooms.hubs for client in list(hub.clients)]
    return [each for each in there if isinstance(each, Client) and not each.connection.is_ending]


def _part_with(client: Client, cut: Channel[None]) -> bool:
    """Say goodbye, and have the hub forget the client. False if the drain was cut short meanwhile."""
    client.connection.end(*GOODBYE)
    try:
        select(Send(client.hub.unregister, client), cut, timeout=HUB_WAIT)
    except Closed as closed:
        return closed.channel is not cut  # a hub that has ended knows no client
    except TimeoutError:
        pass  # a hub that hangs does not keep the other rooms waiting
    return True


def _wait(cut: Channel[None], seconds: float) -> bool:
    """Wait so long. Returns whether the drain was cut short meanwhile."""
    try:
        select(cut, timeout=seconds)
    except TimeoutError:
        return False
    except Closed:
        pass
    return True
