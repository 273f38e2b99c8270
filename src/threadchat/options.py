"""The constants of the Go example, each an option: a chat's limits, their units, and which values make sense."""

from __future__ import annotations

from dataclasses import dataclass

from threadchat.web.hosts import Hosts

LONGEST_WAIT = 86_400.0  # seconds: a day, well within what poll() and a lock can wait for


@dataclass(frozen=True)
class Options:
    """The limits of one chat. Raises ValueError, with a sentence that says what is wrong.

    send_buffer: messages that wait for one client's write pump before the client counts as stuck.
    message_size: bytes of UTF-8 that one message from a client may have.
    pong_wait: seconds a client may take until its next pong.
    ping_period: seconds from one ping to the next, below pong_wait; None means nine tenths of it.
    write_wait: seconds that writing one frame may take.
    request_wait: seconds that a peer may take to send its request, and as many to take the answer.
    message_rate: messages a second that are read from one client, and control frames, which count as such; 0: no limit.
    max_clients: clients at the same time; the next handshake is answered with 503.
    max_clients_per_address: the same for one address, but for loopback addresses, where a reverse proxy runs.
    max_unread_requests: connections whose request has not been read; the next one takes the place of the oldest.
    compression: accept permessage-deflate (RFC 7692) from clients that offer it.
    allow_origins: origins, such as "https://example.org", whose pages may connect besides this host's; "*" means all.
    allow_hosts: patterns (see threadchat.web.hosts) for the Host headers to answer to; () means all.
    """

    send_buffer: int = 256
    message_size: int = 512
    pong_wait: float = 60.0
    ping_period: float | None = None
    write_wait: float = 10.0
    request_wait: float = 10.0
    message_rate: int = 100
    max_clients: int = 10_000
    max_clients_per_address: int = 256
    max_unread_requests: int = 1_000
    compression: bool = False
    allow_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("send_buffer", "message_size", "max_clients", "max_clients_per_address", "max_unread_requests"):
            if getattr(self, name) < 1:
                raise ValueError(f"the {name.replace('_', ' ')} must be at least 1")
        if self.message_rate < 0:
            raise ValueError("the message rate must be at least 0, which means no limit")
        for name in ("pong_wait", "ping_period", "write_wait", "request_wait"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= LONGEST_WAIT:
                raise ValueError(f"the {name.replace('_', ' ')} must be above 0 and at most {LONGEST_WAIT:g} seconds")
        for origin in self.allow_origins:
            if origin not in ("*", "null") and not origin.lower().startswith(("http://", "https://")):
                raise ValueError(
                    f"an origin to allow starts with http:// or https://, or is * or null, unlike {origin!r}"
                )
        Hosts(self.allow_hosts)
        if self.ping_every >= self.pong_wait:
            raise ValueError(
                f"the ping period ({self.ping_every:g} s) must be below the pong wait ({self.pong_wait:g} s)"
            )

    @property
    def ping_every(self) -> float:
        """Seconds from one ping to the next."""
        return self.pong_wait * 9 / 10 if self.ping_period is None else self.ping_period
