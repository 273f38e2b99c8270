"""The least that two threads for each client can cost: threadchat with next to nothing between its hub and the sockets.

It has no channels, limits, evictions, pings or close frames; a peer that does not read breaks its own connection. The
hub encodes each batch once and wakes the first write pump; each pump wakes the next one and writes. The difference to
threadchat is the cost of threadchat's channels and promises. `scripts/bench --other` measures it; see the README.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Sequence

from threadchat import client
from threadchat.client import Client
from threadchat.hub import Hub
from threadchat.options import Options
from threadchat.runtime.system import fit_for_a_crowd, give_way_to_wakers, start_with_one_heap, stay_on_one_processor
from threadchat.subprotocol import Subprotocol
from threadchat.web.app import App
from threadchat.web.server import Server
from threadchat.websocket.connection import Connection

line: deque[threading.Lock] = deque()  # the locks that wake the pumps with something to write
turn = threading.Lock()  # held while a woken pump has not yet woken the next one


class BarestHub(Hub):
    def _pass_on(self, messages: Sequence[str]) -> None:
        frame = b""
        for member in list(self.clients):
            assert isinstance(member, BarestClient)
            frame = frame or member.connection.encode(messages)
            member.frames.append(frame)
            if member.parked:
                member.parked = False
                line.append(member.wake)
        if turn.acquire(blocking=False):
            wake_next()


class BarestClient(Client):
    __slots__ = ("frames", "parked", "wake")

    def __init__(self, hub: Hub, connection: Connection, options: Options, number: int, protocol: Subprotocol) -> None:
        super().__init__(hub, connection, options, number, protocol)
        self.frames: deque[bytes] = deque()
        self.parked = True
        self.wake = threading.Lock()
        self.wake.acquire()

    def write_pump(self) -> None:
        give_way_to_wakers()
        while True:
            self.wake.acquire(timeout=threading.TIMEOUT_MAX)  # a pump that pings needs a timeout, which costs a little
            self.parked = True  # a batch that comes from here on wakes it again, perhaps needlessly
            frames = []
            while self.frames:
                frames.append(self.frames.popleft())
            wake_next()
            self.connection._socket.send(b"".join(frames))


def wake_next() -> None:
    """Wake the next pump in line. If there is none, release the turn and look again: the hub may have added one."""
    while True:
        if line:
            line.popleft().release()
            return
        turn.release()
        if not line or not turn.acquire(blocking=False):
            return


if __name__ == "__main__":
    start_with_one_heap()
    fit_for_a_crowd()
    stay_on_one_processor()
    client.Client = BarestClient  # type: ignore[misc, assignment]
    Server(App(Options(message_rate=0), BarestHub()), "127.0.0.1", int(sys.argv[1])).start()
    threading.Event().wait()
