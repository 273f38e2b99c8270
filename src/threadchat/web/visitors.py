"""Who a request comes from: by the keys of the chat, by the application that has mounted it, and by its address."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request

from threadchat.moderation import Visitor
from threadchat.web.admission import source_of
from threadchat.web.keys import Keys

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


# A request with one of these headers came through a proxy.
OF_A_PROXY = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom an application knows the sender of a request to be. Without a name, people choose one themselves."""

    name: str | None = None
    moderator: bool = False


Identify = Callable[[Request], Identity | None]


class Visitors:
    """Makes the visitors of one chat. Any thread may call it. `identify` is `create_app`'s."""

    def __init__(self, keys: Keys, identify: Identify | None) -> None:
        self._keys = keys
        self._identify = identify
        self._secret = secrets.token_bytes()  # without it the addresses, which are few, could be found by their tags

    def visitor(self, request: Request) -> Visitor:
        """Who sends this request. The tag is for what is said without a session.

        Raises HTTPException for somebody who may not come in.
        """
        moderator = self._keys.check(request)
        identity = (self._identify and self._identify(request)) or Identity()
        remote = request.environ.get("REMOTE_ADDR", "")
        address = source_of(remote)
        source = address or remote
        told = source if identity.name is None else f"{source} {identity.name}"
        return Visitor(
            by=blake2b(told.encode(errors="surrogatepass"), key=self._secret, digest_size=12).hexdigest(),
            source=source,
            address="" if _is_a_proxys(request.environ) else address,
            moderator=moderator or identity.moderator,
            account=identity.name,
        )


def _is_a_proxys(environ: WSGIEnvironment) -> bool:
    """Whether the address is that of a proxy, behind which there are others as well."""
    # ProxyFix, or our own, has put the client's address in the place of the proxy's
    replaced = environ.get("werkzeug.proxy_fix.orig", environ).get("REMOTE_ADDR") != environ.get("REMOTE_ADDR")
    return not replaced and any(name in environ for name in OF_A_PROXY)
