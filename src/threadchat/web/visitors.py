"""Who a request comes from, as far as it shows."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from werkzeug.wrappers import Request

from threadchat.web.admission import source_of
from threadchat.web.keys import Keys


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who sends a request. `by` is the public tag of what is said without a session.

    `source` is what is counted as one address: see `source_of`. Loopback addresses are sources here.
    """

    by: str
    source: str


class Visitors:
    """Makes the visitors of one chat. Any thread may call it."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._secret = secrets.token_bytes()  # without it the addresses, which are few, could be found by their tags

    def visitor(self, request: Request) -> Visitor:
        """Who sends this request. Raises HTTPException for somebody who may not come in."""
        self._keys.check(request)
        address = request.environ.get("REMOTE_ADDR", "")
        source = source_of(address) or address
        tag = hmac.new(self._secret, source.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:24]
        return Visitor(tag, source)
