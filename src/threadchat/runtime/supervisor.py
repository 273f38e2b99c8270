"""What a supervisor such as systemd hands over to the server, and what it is told.

It may listen for the server and hand the socket over: sd_listen_fds(3). The socket then stays open while one server
follows another, and those who connect meanwhile wait in its queue. And it may want to know when the server is ready:
sd_notify(3).
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

FIRST = 3  # the number of the first descriptor that is handed over


class CannotTake(ValueError):
    """What was handed over is not one socket that listens. str() says what it is."""


def socket_handed_over() -> socket.socket | None:
    """The socket that this process was started with to listen on; None if there is none. Raises CannotTake.

    Programs that this process starts do not get it. Another process may wait for connections on the same socket, and
    take the one that this process has just seen: so it does not block.
    """
    process, count, _ = [os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES")]
    if process != str(os.getpid()) or count in ("", "0"):
        return None
    if count != "1":
        raise CannotTake(f"the server was handed {count} sockets to listen on, and takes one")
    try:
        handed_over = socket.socket(fileno=FIRST)
        listens = handed_over.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise CannotTake(
            f"descriptor {FIRST}, which was handed to the server, is no socket: {error.strerror}"
        ) from error
    if handed_over.family not in (socket.AF_INET, socket.AF_INET6) or not listens:
        handed_over.close()
        raise CannotTake("the socket that was handed to the server does not listen for TCP connections")
    handed_over.set_inheritable(False)
    handed_over.setblocking(False)
    return handed_over


def tell(state: str) -> None:
    """Tell the supervisor, if it wants to know: READY=1, STOPPING=1."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        if address.startswith("@"):  # an abstract one: unix(7)
            address = f"\0{address[1:]}"
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.sendto(state.encode(), address)
