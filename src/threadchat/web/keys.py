"""The join key and the organiser's: who may come in, and how a page gives a key without leaving it in logs.

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
the key. So is a part of its name: all ports of a host share their cookies (RFC 6265, section 8.5), and two chats there
do not lock each other's people out. All comparisons take the same time, whatever is given. No key and no cookie is ever
logged.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import threading
from dataclasses import dataclass, field

from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, TooManyRequests, Unauthorized
from werkzeug.wrappers import Request, Response

from threadchat.web.admission import source_of
from threadchat.web.allowance import Allowance

COOKIE = "threadchat-key-"  # what its name begins with
MOST_BYTES = 2_048  # in the body of POST /key
TRIES = 10  # wrong ones that an address has at once...
TRIES_A_SECOND = 0.1  # ...and then
MOST_REMEMBERED = 1_024  # wrong tries


@dataclass(frozen=True, repr=False)
class Key:
    """A key, and the value of the cookie for it."""

    text: str
    moderator: bool  # whether it makes an organiser
    cookie: str = field(init=False)

    def __post_init__(self) -> None:
        role = b"threadchat organiser" if self.moderator else b"threadchat"
        object.__setattr__(self, "cookie", _derived(self.text, role))


class Keys:
    """The keys of one chat; without a join key everybody may come in. Any thread may call the methods."""

    def __init__(self, key: str | None, moderator_key: str | None) -> None:
        given = ((key, False), (moderator_key, True))
        self._keys = [Key(text, moderator) for text, moderator in given if text is not None]
        self._needed = key is not None
        self._cookie = COOKIE + "".join(_derived(each.text, b"threadchat cookie")[:8] for each in self._keys[:1])
        self._allowance = Allowance(TRIES, TRIES_A_SECOND)
        self._mutex = threading.Lock()  # held for each try; guards the next one
        self._wrong: dict[tuple[str, bytes], None] = {}  # the latest wrong tries: source, and a digest

    def check(self, request: Request) -> bool:
        """Whether the request comes from an organiser. Raises Unauthorized (401), and TooManyRequests (429).

        The request has one of the keys, or a cookie. Where no key is needed, it may have nothing, or an old cookie.
        """
        if not self._keys:
            return False
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._try(request, token.strip(), [key.text for key in self._keys])
        if cookie := request.cookies.get(self._cookie):
            try:
                return self._try(request, cookie, [key.cookie for key in self._keys])
            except (Unauthorized, TooManyRequests):
                if self._needed:
                    raise
        elif self._needed:
            raise _unauthorized("This chat has a key.")
        return False

    def answer(self, request: Request) -> Response:
        """Answer GET and POST /key. Raises HTTPException."""
        response = Response(status=204)
        response.cache_control.no_store = True
        if request.method != "POST":
            self.check(request)
        elif self._keys:
            moderator = self._try(request, _read(request), [key.text for key in self._keys])
            (cookie,) = (key.cookie for key in self._keys if key.moderator is moderator)
            path = request.environ.get("SCRIPT_NAME", "").encode("latin-1").decode(errors="replace")
            secure = request.scheme in ("https", "wss")
            response.set_cookie(self._cookie, cookie, path=f"{path}/", secure=secure, httponly=True, samesite="Strict")
        return response

    def _try(self, request: Request, given: str, right: list[str]) -> bool:
        """Whether what is given makes an organiser; `right` has what each of the keys wants.

        Raises Unauthorized if it is none of these, and TooManyRequests if there were too many wrong tries. The same
        wrong one counts once: it is a page with an old cookie, perhaps one of many, and learns nothing.
        """
        address = request.environ.get("REMOTE_ADDR", "")
        source = source_of(address) or address
        said = given.encode(errors="surrogatepass")
        with self._mutex:  # or a hundred threads would have a try each
            if wait := self._allowance.wait(source):
                raise TooManyRequests("There were too many wrong keys from this address.", retry_after=math.ceil(wait))
            same = [hmac.compare_digest(said, each.encode()) for each in right]
            if True in same:
                return self._keys[same.index(True)].moderator
            wrong = source, hashlib.sha256(said).digest()
            if wrong not in self._wrong:
                self._allowance.take(source)
            self._wrong[wrong] = None
            if len(self._wrong) > MOST_REMEMBERED:
                del self._wrong[next(iter(self._wrong))]
        raise _unauthorized("This is not the key of this chat.")


def _derived(key: str, what: bytes) -> str:
    return hmac.new(key.encode(), what, hashlib.sha256).hexdigest()


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


def _unauthorized(why: str) -> Unauthorized:
    return Unauthorized(why, www_authenticate=WWWAuthenticate("bearer", {"realm": "threadchat"}))
