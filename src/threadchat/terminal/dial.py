"""One WebSocket to a server: what gorilla/websocket's Dialer and Conn are for a Go client.

wsproto finds the frames in the bytes; the socket is ours. simple_websocket.Client would need less code, but it connects
and writes without a deadline, ignores how much of a frame the socket took, answers pings without a lock beside the
thread that sends, and starts a thread that reads ahead without a bound, which `close` does not wait for. It also leaves
the socket open when the handshake is refused.

The socket does not block. A thread that cannot go on waits until it can, or until its deadline has passed.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from threadchat.terminal.address import Address
from threadchat.websocket.ready import readable, writable

DIAL_WAIT = 10.0  # seconds for the connection and the handshake
WRITE_WAIT = 10.0  # seconds in which a frame must be written
READ_WAIT = 60.0  # seconds without a byte after which the server is gone; a client that pings hears more often
CLOSE_WAIT = 2.0  # seconds for the server to answer a close frame
RECEIVE_BYTES = 65_536  # the most that is read at once
LOST = 1006  # RFC 6455, section 7.4.1: there was no close frame

_WAITS = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class CannotDial(Exception):
    """There is no WebSocket. str() says why. `status` is the one that the server has refused it with; 0 for none."""

    def __init__(self, why: str, status: int = 0) -> None:
        super().__init__(why)
        self.status = status


class Connection:
    """A WebSocket. One thread iterates over it and closes it at the end; any thread may `send`, `ping` and `leave`.

    Raises CannotDial. It blocks until the server has answered, DIAL_WAIT for each of the host's addresses at most.
    """

    def __init__(
        self, address: Address, query: str, subprotocols: Sequence[str], headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        self.code, self.reason = LOST, ""  # how it ended: the close frame's code and reason
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._writing = threading.Lock()  # held while a frame is written
        self._mutex = threading.Lock()  # held during each call of the socket: OpenSSL allows one at a time
        request = Request(
            host=address.authority,
            target=f"{address.path}{query}",
            subprotocols=list(subprotocols),
            extra_headers=list(headers),
        )
        try:
            self._socket = _connected(address)
        except (OSError, UnicodeError) as error:
            raise CannotDial(f"cannot reach {address}: {_why(error)}") from error
        try:
            self.subprotocol = self._shake_hands(request)
        except (OSError, RemoteProtocolError) as error:
            self._socket.close()
            what = "what answers there is no chat" if isinstance(error, RemoteProtocolError) else _why(error)
            raise CannotDial(f"cannot join {address}: {what}") from error
        except BaseException:
            self._socket.close()
            raise

    def __iter__(self) -> Iterator[str]:
        """The server's text messages until the connection ends; then `code` and `reason` say how. Pings are answered.

        While the caller does not ask for more, nothing is read, and TCP slows the server down.
        """
        parts: list[str] = []
        try:
            while True:
                for event in self._protocol.events():
                    match event:
                        case TextMessage():
                            parts.append(event.data)
                            if event.message_finished:
                                yield "".join(parts)
                                parts = []
                        case Ping():
                            self._write(event.response())
                        case CloseConnection():
                            self.code, self.reason = int(event.code), event.reason or ""
                            self._write(event.response())
                            return
                self._protocol.receive_data(self._read(READ_WAIT))
        except (OSError, EOFError) as error:
            self.reason = _why(error)
        except RemoteProtocolError as error:
            self.reason = str(error)
            if error.event_hint is not None:
                self._write(error.event_hint)

    def send(self, text: str) -> None:
        """Send a text message. If the connection has ended, or ends meanwhile, only the iteration says so."""
        self._write(TextMessage(text))

    def ping(self) -> None:
        """Send a ping, as `send` does."""
        self._write(Ping())

    def leave(self) -> None:
        """Send the close frame. The server answers it, and the iteration ends."""
        self._write(CloseConnection(code=1000))

    def abort(self) -> None:
        """End the connection at once: the iteration ends."""
        with self._mutex, suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back, when the server has closed its side or CLOSE_WAIT has passed."""
        self.leave()
        with self._mutex, suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        with suppress(OSError, EOFError):
            deadline = time.monotonic() + CLOSE_WAIT
            while (left := deadline - time.monotonic()) > 0:
                self._read(left)  # a socket that is closed with unread bytes resets the connection
        self._socket.close()

    def _shake_hands(self, request: Request) -> str | None:
        """Ask for the WebSocket; return the subprotocol. Raises CannotDial, OSError and RemoteProtocolError."""
        deadline = time.monotonic() + DIAL_WAIT
        self._socket.settimeout(DIAL_WAIT)
        self._socket.sendall(self._protocol.send(request))
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            data = self._socket.recv(RECEIVE_BYTES)
            if not data:
                raise RemoteProtocolError("the server hung up")
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                match event:
                    case AcceptConnection():
                        self._socket.setblocking(False)
                        return event.subprotocol
                    case RejectConnection():
                        where = dict(event.headers).get(b"location", b"").decode("ascii", "replace")
                        moved = f": the chat is at {where}" if where else ""
                        status = event.status_code
                        raise CannotDial(f"the server has answered with status {status}{moved}", status)
        raise TimeoutError

    def _read(self, seconds: float) -> bytes:
        """The next bytes. Raises EOFError at their end, TimeoutError after so many seconds, and OSError."""
        deadline = time.monotonic() + seconds
        can_read = readable(self._socket)
        while True:
            with suppress(*_WAITS), self._mutex:
                if data := self._socket.recv(RECEIVE_BYTES):
                    return data
                raise EOFError("the server has gone")
            if not can_read.wait(deadline - time.monotonic()):
                raise TimeoutError

    def _write(self, event: Event) -> None:
        deadline = time.monotonic() + WRITE_WAIT
        with self._writing:
            try:
                rest = memoryview(self._protocol.send(event))
                can_write = writable(self._socket)
                while rest:
                    with suppress(*_WAITS), self._mutex:
                        rest = rest[self._socket.send(rest) :]
                        continue
                    if not can_write.wait(deadline - time.monotonic()):
                        raise TimeoutError
            except LocalProtocolError:
                pass  # a close frame was sent or received
            except (OSError, ValueError):  # ValueError: the socket is closed
                self.abort()


def _connected(address: Address) -> socket.socket:
    connected = socket.create_connection((address.host, address.port), DIAL_WAIT)
    if not address.secure:
        return connected
    try:
        return ssl.create_default_context().wrap_socket(connected, server_hostname=address.host)
    except BaseException:
        connected.close()
        raise


def _why(error: Exception) -> str:
    """The error as a few words for people."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
