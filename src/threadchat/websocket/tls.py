"""A TLS socket with the manners of a plain one that does not block.

The chat's own server speaks no TLS. But an application may be mounted in a server that does, and hands over an
`ssl.SSLSocket`. That differs from a plain socket in what TlsSocket hides:

- It may hold bytes that it has decrypted already, of which the kernel knows nothing.
- To read it may have to write first, and the other way round, and it raises errors of its own for that.
- It sends a record of at most 16 KB at a time.
- Two threads may not use it at once: OpenSSL does not allow that, and CPython guards it only from 3.13.1 on.
- Its `shutdown` forgets the encryption: what is sent or received afterwards is taken as it is.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress

from threadchat.websocket.ready import readable, writable

__all__ = ["TlsSocket"]

RETRY = 0.05  # seconds after which a send that waits for bytes tries again: the reader may have read them


class TlsSocket:
    """What a connection uses of a socket. One thread may read while another writes; any thread may shut it down."""

    __slots__ = ("_lock", "_tls", "to_read", "to_write")

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._tls = tls
        self._lock = threading.Lock()  # held while OpenSSL works, which never waits for the peer
        self.to_read = _Reading(tls)
        self.to_write = _Writing(tls)

    def fileno(self) -> int:
        return self._tls.fileno()

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self._tls.setsockopt(level, option, value)

    def recv(self, size: int) -> bytes:
        """Raises BlockingIOError where no whole record has arrived."""
        with self._lock:
            self.to_read.holds = self.to_read.must_write = False
            try:
                data = self._tls.recv(size)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                self.to_read.must_write = isinstance(error, ssl.SSLWantWriteError)
                raise BlockingIOError from error
            self.to_read.holds = self._tls.pending() > 0
        return data

    def send(self, data: bytes | memoryview) -> int:
        """Send as much as the kernel takes. Raises BlockingIOError if that is nothing.

        The next call must go on where this one has ended: a record of it may have been encrypted already.
        """
        sent = 0
        with self._lock, memoryview(data) as view:
            self.to_write.must_read = False
            try:
                while sent < len(view):
                    sent += self._tls.send(view[sent:])
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                self.to_write.must_read = isinstance(error, ssl.SSLWantReadError)
                if not sent:
                    raise BlockingIOError from error
        return sent

    def shutdown(self, how: int) -> None:
        """Shut the socket down. Where only the writing side ends, TLS tells the peer so first (close_notify)."""
        if how == socket.SHUT_WR:
            # The peer's own close_notify is not waited for, which raises SSLWantReadError.
            with self._lock, suppress(OSError, ValueError):
                self._tls.unwrap()
        socket.socket.shutdown(self._tls, how)


class _Reading:
    """The Readiness to read, for the reader."""

    __slots__ = ("_readable", "_writable", "holds", "must_write")

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self.holds = tls.pending() > 0  # whether there are decrypted bytes
        self.must_write = False
        self._readable, self._writable = readable(tls), writable(tls)

    def wait(self, seconds: float) -> bool:
        return self.holds or (self._writable if self.must_write else self._readable).wait(seconds)


class _Writing:
    """The Readiness to write, for the thread that writes."""

    __slots__ = ("_readable", "_writable", "must_read")

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self.must_read = False
        self._readable, self._writable = readable(tls), writable(tls)

    def wait(self, seconds: float) -> bool:
        if not self.must_read:
            return self._writable.wait(seconds)
        return self._readable.wait(min(seconds, RETRY)) or seconds > RETRY
