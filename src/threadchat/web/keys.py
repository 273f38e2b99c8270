"""The join key: who may come in, and how a page gives it without leaving it in logs and in the browser's history.

The address that people are given has the key in its fragment (`/#key=...`), which no browser sends. The page exchanges
it once for a cookie; programs send the key itself.

    | request                                   | answer                                                              |
    | ----------------------------------------- | ------------------------------------------------------------------- |
    | POST /key with the JSON {"key": ...}      | 204 and the cookie; 401 for a wrong key; 403 for a page of another  |
    |                                           | origin; 400 and 413 for a body that is no such JSON                 |
    | GET /key                                  | 204 if the cookie (or no key at all) opens the door; 401 if not     |
    | with `Authorization: Bearer KEY`          | as with the cookie                                                  |
    | any of these, after too many wrong tries  | 429                                                                 |

The cookie's value is derived from the key (HMAC), so that it holds over a restart with the same key, and does not tell
the key. All comparisons take the same time, whatever is given. No key and no cookie is ever logged.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import threading
from collections.abc import Callable

from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, TooManyRequests, Unauthorized
from werkzeug.wrappers import Request, Response

from threadchat.web.admission import source_of
from threadchat.web.allowance import Allowance

COOKIE = "threadchat-key"
MOST_BYTES = 2_048  # in the body of POST /key
TRIES = 10  # wrong ones that an address has at once...
TRIES_A_SECOND = 0.1  # ...and then
MOST_REMEMBERED = 1_024  # wrong tries


class Keys:
    """The key of one chat; None if it needs none. Any thread may call the methods."""

    def __init__(self, key: str | None) -> None:
        self._key = key
        self._cookie = None if key is None else _cookie(key, "join")
        self._allowance = Allowance(TRIES, TRIES_A_SECOND)
        self._mutex = threading.Lock()  # guards the next one
        self._wrong: dict[tuple[str, str], None] = {}  # the latest wrong tries: source, and a digest of what was given

    def check(self, request: Request) -> None:
        """Raise Unauthorized (401) unless the request has the key, or the cookie; TooManyRequests (429)."""
        if self._key is None:
            return
        given, right = _given(request, self._key, self._cookie)
        if not given:
            raise _unauthorized("This chat has a key.")
        self._try(request, given, lambda: _same(given, right))

    def answer(self, request: Request) -> Response:
        """Answer GET and POST /key. Raises HTTPException."""
        response = Response(status=204)
        response.cache_control.no_store = True
        if request.method != "POST":
            self.check(request)
        elif self._key is not None and self._cookie is not None:
            given, key = _read(request), self._key
            self._try(request, given, lambda: _same(given, key))
            path = request.environ.get("SCRIPT_NAME", "").encode("latin-1").decode(errors="replace")
            secure = request.scheme in ("https", "wss")
            response.set_cookie(COOKIE, self._cookie, path=f"{path}/", secure=secure, httponly=True, samesite="Strict")
        return response

    def _try(self, request: Request, given: str, is_right: Callable[[], bool]) -> None:
        """Raise Unauthorized if what is given is not right, and TooManyRequests if there were too many wrong tries.

        The same wrong one counts once: it is a page with an old cookie, perhaps one of many, and learns nothing.
        """
        address = request.environ.get("REMOTE_ADDR", "")
        source = source_of(address) or address
        if wait := self._allowance.wait(source):
            raise TooManyRequests("There were too many wrong keys from this address.", retry_after=math.ceil(wait))
        if is_right():
            return
        wrong = source, hashlib.sha256(given.encode(errors="surrogatepass")).hexdigest()
        with self._mutex:
            known = wrong in self._wrong
            self._wrong[wrong] = None
            if len(self._wrong) > MOST_REMEMBERED:
                del self._wrong[next(iter(self._wrong))]
        if not known:
            self._allowance.take(source)
        raise _unauthorized("This is not the key of this chat.")


def _given(request: Request, key: str, cookie: str | None) -> tuple[str, str]:
    """What the request has of a key ("" for nothing), and what it should be."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip(), key
    return request.cookies.get(COOKIE, ""), cookie or ""


def _read(request: Request) -> str:
    """The key in the body. Raises BadRequest and RequestEntityTooLarge."""
    request.max_content_length = MOST_BYTES
    try:
        match json.loads(request.get_data(cache=False)):
            case {"key": str(key)}:
                return key
    except (ValueError, RecursionError):
        pass
    raise BadRequest('The body is {"key": "..."}.')


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogatepass"), right.encode())


def _cookie(key: str, role: str) -> str:
    return hmac.new(key.encode(), f"threadchat {role}".encode(), hashlib.sha256).hexdigest()


def _unauthorized(why: str) -> Unauthorized:
    return Unauthorized(why, www_authenticate=WWWAuthenticate("bearer", {"realm": "threadchat"}))
