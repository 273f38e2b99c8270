"""What the kernel knows of a connection: the bytes that it holds, how full its buffer is, and what the peer has taken.

It tells so on Linux, of a plain TCP socket. Of anything else these functions know nothing, and say so. The kernel also
knows how long a thread has used the processor.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

with suppress(ImportError):  # Windows has none
    import fcntl

# Linux: asm-generic/ioctls.h, asm-generic/socket.h, linux/sock_diag.h and struct tcp_info in linux/tcp.h
SIOCOUTQ, SIOCINQ = 0x5411, 0x541B
SO_MEMINFO = 55
MEMORY = struct.Struct("9I")  # what it answers
RECEIVE, SEND = (0, 1), (5, 3)  # where SO_MEMINFO has what is used of a buffer, and its size
RETRANSMITS = 2  # where tcp_info has its count of time-outs in a row without an answer: one byte
BYTES_ACKED = 120  # and where it has what the peer's kernel has acknowledged: eight bytes


class Held(NamedTuple):
    """What the kernel holds for one direction of a connection.

    bytes: what was written and is not acknowledged yet, or what has arrived and is not read yet.
    used, room: how full the buffer is. The kernel counts its own bookkeeping in, so `used` is more than `bytes`.
    """

    bytes: int
    used: int
    room: int


def unacknowledged(connected: object) -> Held | None:
    """What the peer's kernel has not taken yet."""
    return _held(connected, SIOCOUTQ, SEND)


def unread(connected: object) -> Held | None:
    """What has arrived, and the program that has this end of the connection has not read yet."""
    return _held(connected, SIOCINQ, RECEIVE)


def taken(connected: object) -> int | None:
    """How many bytes the peer's kernel has taken since the connection began."""
    told = _tcp_info(connected, BYTES_ACKED + 8)
    return struct.unpack_from("Q", told, BYTES_ACKED)[0] if told else None


def unanswered(connected: object) -> bool:
    """Whether the kernel has sent something again since the peer's kernel last answered."""
    told = _tcp_info(connected, RETRANSMITS + 1)
    return bool(told and told[RETRANSMITS])


def processor_time(ident: int) -> float:
    """How many seconds the thread with this ident has used the processor: in steps of 10 ms, 0 if that is unknown."""
    native = next((thread.native_id for thread in threading.enumerate() if thread.ident == ident), None)
    try:
        told = Path(f"/proc/self/task/{native}/stat").read_text()
        user, system = told.rpartition(")")[2].split()[11:13]  # after the thread's name; see proc(5)
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):  # the thread has ended, or this is not Linux
        return 0.0


def _held(connected: object, request: int, where: tuple[int, int]) -> Held | None:
    if sys.platform != "linux" or not isinstance(connected, socket.socket):
        return None
    try:
        memory = MEMORY.unpack(connected.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMORY.size))
        used, room = memory[where[0]], memory[where[1]]
        if not used:  # most are empty, and each picture asks for all
            return Held(0, 0, room)
        number = array.array("i", [0])
        fcntl.ioctl(connected, request, number)
        return Held(number[0], used, room)
    except (OSError, ValueError, struct.error):  # it has been closed meanwhile, or it is not TCP
        return None


def _tcp_info(connected: object, size: int) -> bytes | None:
    if sys.platform != "linux" or not isinstance(connected, socket.socket):
        return None
    with suppress(OSError):
        told = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
        return told if len(told) == size else None
    return None
