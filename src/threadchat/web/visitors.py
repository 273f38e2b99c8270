"""Who a request comes from, as far as it shows."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request

from threadchat.moderation import Visitor
from threadchat.web.admission import source_of
from threadchat.web.keys import Keys

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


# A request with one of these headers came through a proxy.
OF_A_PROXY = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")


class Visitors:
    """Makes the visitors of one chat. Any thread may call it."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._secret = secrets.token_bytes()  # without it the addresses, which are few, could be found by their tags

    def visitor(self, request: Request) -> Visitor:
        """Who sends this request. The tag is for what is said without a session.

        Raises HTTPException for somebody who may not come in.
        """
        moderator = self._keys.check(request)
        remote = request.environ.get("REMOTE_ADDR", "")
        address = source_of(remote)
        source = address or remote
        tag = hmac.new(self._secret, source.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:24]
        return Visitor(tag, source, "" if _is_a_proxys(request.environ) else address, moderator)


def _is_a_proxys(environ: WSGIEnvironment) -> bool:
    """Whether the address is that of a proxy, behind which there are others as well."""
    # ProxyFix, or our own, has put the client's address in the place of the proxy's
    replaced = environ.get("werkzeug.proxy_fix.orig", environ).get("REMOTE_ADDR") != environ.get("REMOTE_ADDR")
    return not replaced and any(name in environ for name in OF_A_PROXY)
