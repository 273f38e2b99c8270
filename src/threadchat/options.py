"""The options, each declared once: its type, default, unit, help and check (see `declarations`).

`Options` holds the limits of one chat, most of which are the Go example's constants. `ServerOptions` holds what
`threadchat serve` needs to know besides. The order is the one in which they are explained.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from math import inf

from threadchat.declarations import (
    Group,
    OptionError,
    check,
    choice,
    declared,
    explained,
    file,
    seconds,
    secret,
    strings,
    switch,
    text,
    whole_number,
)
from threadchat.web.hosts import Hosts
from threadchat.web.origins import ascii_name, canonical_origin

_ZONE = re.compile("^([0-9a-f:.]*:[0-9a-f:.]*)%[^/%]+$", re.IGNORECASE)

_STORE = re.compile(r"memory:$|sqlite:.|rediss?://.|redis\+sentinel://.|unix://.")


def _read_host(pattern: str) -> str:
    """The pattern as Hosts wants it. Raises ValueError, with a sentence."""
    if not pattern.isascii():
        below = "." if pattern.startswith(".") else ""
        with suppress(ValueError):
            pattern = below + ascii_name(pattern.removeprefix("."))
    pattern = _ZONE.sub(r"\1", pattern)  # of an address that is valid on one link alone; no browser sends it
    Hosts([pattern])
    return pattern


@explained
@dataclass(frozen=True, kw_only=True)
class Options:
    """The limits of one chat. Raises OptionError, a ValueError with a sentence that names the option.

    An application answers to every host while allow_hosts is empty. `threadchat serve` adds the hosts of the address
    where it listens.
    """

    allow_origins: tuple[str, ...] = strings(
        "--allow-origin",
        Group.ADMISSION,
        "let pages of this origin, such as `https://example.org` or an app's `capacitor://localhost`, connect as well "
        "as this host's own; `*` for all",
        example="https://example.org",
        read_each=canonical_origin,
    )
    allow_hosts: tuple[str, ...] = strings(
        "--allow-host",
        Group.ADMISSION,
        "answer requests for this host name, such as `chat.example.org`, as well; `.example.org` for all names below "
        "it, `*` for all. A server on a loopback address always answers to localhost, names below it and loopback "
        "addresses; on any other address also to all IP addresses, names without a dot or below `.local`, and this "
        "machine's own name",
        example="chat.example.org",
        read_each=_read_host,
    )
    key: str | None = secret(
        Group.ADMISSION,
        "let in only those who have this key, which the address that is printed brings along (`#key=...`), or which "
        "programs send (`Authorization: Bearer`); without a value one is made",
    )
    moderator_key: str | None = secret(
        Group.ADMISSION,
        "let those who have this key put others out of a room, mute them, slow the room down, lock it and clear it; "
        "they give it as they would the other key, which they do not need; without a value one is made",
    )
    max_clients: int = whole_number(
        10_000,
        Group.ADMISSION,
        "clients",
        "how many clients may be connected at once, to all `--processes` together; the next one is answered with 503",
    )
    max_clients_per_address: int = whole_number(
        256,
        Group.ADMISSION,
        "clients",
        "how many clients may come from one address, or one IPv6 network of 64 bits; this machine's loopback addresses "
        "have no limit of their own. Of several `--processes` each counts for itself",
    )
    max_unread_requests: int = whole_number(
        1_000,
        Group.ADMISSION,
        "requests",
        "how many connections may be open whose request has not arrived yet; one more closes the oldest of them",
    )
    message_size: int = whole_number(
        512,
        Group.MESSAGES,
        "bytes",
        "the longest message that a client may send, in UTF-8",
    )
    message_rate: int = whole_number(
        100,
        Group.MESSAGES,
        "messages a second",
        "how fast one client may send messages and pings; a client that is faster is slowed down, not disconnected; 0 "
        "for no limit",
        least=0,
    )
    frame_size: int = whole_number(
        8_192,
        Group.MESSAGES,
        "bytes",
        "the longest frame that a client is sent, unless one message is longer: messages that are pending are sent "
        "together, and many WebSocket libraries refuse frames above a size, the strictest of them above 8 KB",
    )
    send_buffer: int = whole_number(
        256,
        Group.MESSAGES,
        "messages",
        "how many messages may wait for one client; when the buffer is full and the client does not read, it is "
        "evicted",
    )
    compression: bool = switch(
        Group.MESSAGES,
        "compress messages for clients that offer permessage-deflate; each of them then takes a few hundred KB for a "
        "compressor, and each message is compressed once for each of them",
    )
    history: int = whole_number(
        200,
        Group.ROOMS,
        "messages",
        "how many of a room's newest messages somebody who comes for the first time is shown",
        least=0,
    )
    keep: int = whole_number(
        10_000,
        Group.ROOMS,
        "entries",
        "how many messages, joins and the like each room keeps for clients that come back and have missed some; 4 MB a "
        "room at most; 0 keeps none, not even a history",
        least=0,
    )
    keep_days: int = whole_number(
        0,
        Group.ROOMS,
        "days",
        "for how many days at most anything that was said is kept; 0 for no limit but the one above",
        least=0,
    )
    store: str = text(
        "memory:",
        Group.ROOMS,
        "STORE",
        "where the rooms are kept: `memory:` forgets them when the server ends; `sqlite:FILE` keeps them in a file, "
        "for one process, so that after a restart everybody goes on where they were; `redis://HOST` keeps them in a "
        "Redis (6.2 or later, with `appendonly yes`), for any number of processes that are one chat. Its address is "
        "`redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://...` for TLS, or `unix://SOCKET`, or "
        "`redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST...]/NAME[/DATABASE]` for the primary that Sentinels know "
        "by this name; it needs the extra `threadchat[redis]`. Cluster is not supported",
    )
    synchronous: str = choice(
        "normal",
        ("normal", "full"),
        Group.ROOMS,
        "when SQLite waits for the disk. Neither loses anything when the process ends, even by `kill -9`. When the "
        "machine itself stops, normal may lose the last moments, and full loses nothing, but takes as long for each "
        "group of messages as the disk does",
    )
    max_rooms: int = whole_number(
        1_000,
        Group.ROOMS,
        "rooms",
        "how many rooms there may be at once; when one more is wanted, the room that has been empty for longest ends, "
        "and while none is empty the answer is 503. Of several `--processes` each counts the rooms of its own clients",
    )
    room_linger: float = seconds(
        600.0,
        Group.ROOMS,
        "how long a room stays, with all that was said in it, after the last client has left",
    )
    metrics_from_anywhere: bool = switch(
        Group.PROCESS,
        "answer other machines too at `/metrics`, if they have the chat's key, where it has one; otherwise this "
        "machine alone is answered. What is there is for Prometheus, and needs the extra `threadchat[metrics]`",
    )
    request_wait: float = seconds(
        10.0,
        Group.TIME,
        "how long a peer may take to send its request, and again to take the answer",
    )
    pong_wait: float = seconds(
        60.0,
        Group.TIME,
        "how long a client may take until its next pong before it is disconnected",
    )
    ping_period: float | None = seconds(
        None,
        Group.TIME,
        "the time from one ping to the next, less than the pong wait",
        unset="nine tenths of the pong wait",
    )
    write_wait: float = seconds(
        10.0,
        Group.TIME,
        "how long one write, of a frame or of all that is pending, may take before the client is disconnected",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.ping_every >= self.pong_wait:
            sentence = "{ping_period} ({0:g} seconds) must be less than {pong_wait} ({1:g} seconds)"
            raise OptionError(sentence, self.ping_every, self.pong_wait)
        if not _STORE.match(self.store):
            raise OptionError("{store} must be memory:, sqlite:FILE or redis://HOST, not {0!r}", self.store)
        if self.key is not None and self.key == self.moderator_key:
            raise OptionError("{moderator_key} must differ from {key}")

    @property
    def is_shared(self) -> bool:
        """Whether the store is one that several processes, each with a chat of these options, can share."""
        return self.store.partition(":")[0] in ("redis", "rediss", "redis+sentinel", "unix")

    @property
    def keep_seconds(self) -> float:
        """Seconds for which what was said is kept at most."""
        return self.keep_days * 86_400 or inf

    @property
    def ping_every(self) -> float:
        """Seconds from one ping to the next."""
        return self.pong_wait * 9 / 10 if self.ping_period is None else self.ping_period


@explained
@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What `threadchat serve` needs to know besides the limits of its chat. Raises OptionError."""

    host: str = text(
        "127.0.0.1",
        Group.LISTEN,
        "ADDRESS",
        "the address or host name to listen on; `0.0.0.0` for all IPv4 addresses of this machine, `*` for its IPv6 "
        "addresses as well",
    )
    port: int = whole_number(
        8080,
        Group.LISTEN,
        "",
        "the port to listen on; 0 for any free one",
        least=0,
        most=65_535,
    )
    no_qr: bool = switch(
        Group.LISTEN,
        "print no QR code for phones; otherwise there is one where other machines can reach the server, standard "
        "output is a terminal, and the extra `threadchat[terminal]` is installed",
    )
    trusted_proxies: int = whole_number(
        0,
        Group.ADMISSION,
        "proxies",
        "how many reverse proxies stand before this server, one behind the other; a client's address, scheme and host "
        "are then taken from X-Forwarded-For, -Proto and -Host, so nobody else may be able to reach the port",
        least=0,
    )
    inspect: bool = switch(
        Group.INSPECTOR,
        "serve the inspector, a live picture of the threads and channels, at `/inspect`, to this machine alone",
    )
    inspect_from_anywhere: bool = switch(
        Group.INSPECTOR,
        "serve the inspector to other machines too, also through reverse proxies; anyone who can reach the port then "
        "sees every message and client, can run the lessons, and in the demo can do all that it offers",
    )
    hub: str | None = file(
        Group.INSPECTOR,
        "let the lobby run on the class `Hub` in this Python file, which you have written (see `threadchat exercise`); "
        "the inspector, which is then served too, shows its threads, channels and lines, and what goes wrong; when the "
        "file is saved, a new hub takes over",
    )
    drain: float = seconds(
        0.0,
        Group.PROCESS,
        "how long the server goes on after SIGTERM before it stops: new clients are answered with 503, as is "
        "`/readyz`, and one client after the other is told to come back (close code 1012); a second signal ends the "
        "drain, and Ctrl-C stops without one",
    )
    processes: int = whole_number(
        1,
        Group.PROCESS,
        "processes",
        "how many processes serve the chat, on this machine; more than one need a `--store` that they can share. New "
        "clients go to the one that has the fewest connections, and a process that ends is replaced",
    )
    processors: str = choice(
        "one",
        ("one", "all"),
        Group.PROCESS,
        "where the threads may run: on one processor, where they wake each other sooner, since only one of them can "
        "run Python at a time; or on all. Several processes take one processor each, as far as there are so many",
    )
    log_level: str = choice(
        "info",
        ("debug", "info", "warning", "error"),
        Group.PROCESS,
        "the least important lines that are logged to standard error; debug adds HTTP requests",
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.host.strip():
            raise OptionError("{host} must be an address or a name, or * for all addresses, not {0!r}", self.host)


# By group; within a group the chat's options come before the server's.
ALL_OPTIONS = sorted([*declared(Options), *declared(ServerOptions)], key=lambda option: list(Group).index(option.group))
