"""The addresses of a chat, below the path where it is mounted, and what an address says about the room."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from threadchat.names import NotAName, clean_room_name
from threadchat.room import LOBBY

URLS = Map(
    [
        Rule("/", endpoint="page", methods=["GET"]),
        Rule("/guide", endpoint="guide", methods=["GET"]),
        Rule("/static/<path:name>", endpoint="static", methods=["GET"]),
        Rule("/limits", endpoint="limits", methods=["GET"]),
        Rule("/ws", endpoint="ws", methods=["GET"]),
        Rule("/r/<room>", endpoint="page", methods=["GET"]),
        Rule("/r/<room>/ws", endpoint="ws", methods=["GET"]),
        Rule("/livez", endpoint="livez", methods=["GET"]),
        Rule("/readyz", endpoint="readyz", methods=["GET"]),
        Rule("/metrics", endpoint="metrics", methods=["GET"]),
        Rule("/key", endpoint="key", methods=["GET", "POST"]),
        Rule("/say", endpoint="say", methods=["POST"]),
        Rule("/r/<room>/say", endpoint="say", methods=["POST"]),
        Rule("/log.<any(txt, jsonl):form>", endpoint="log", methods=["GET"]),
        Rule("/r/<room>/log.<any(txt, jsonl):form>", endpoint="log", methods=["GET"]),
    ],
    merge_slashes=False,  # a redirect from "//" would name an address that a proxy may not know
)


def room_name(arguments: Mapping[str, str]) -> str:
    """The room that the address names, in its one spelling. Raises NotFound where it is not a name."""
    try:
        return clean_room_name(arguments.get("room", LOBBY))
    except NotAName as error:
        raise NotFound(str(error)) from error


def redirect_below(request: Request, address: str) -> Response:
    """A redirect to an address below the path where the chat is mounted. The query stays."""
    path = quote(request.environ.get("SCRIPT_NAME", "").encode("latin-1"))  # it may have a ? or a %
    query = quote(request.environ.get("QUERY_STRING", "").encode("latin-1"), safe="!$%&'()*+,/:;=?@")
    return redirect(f"{path}{address}?{query}" if query else f"{path}{address}", 308)


def allowed_methods(request: Request) -> Response:
    """Answer OPTIONS (RFC 9110, section 9.3.7), by which HAProxy asks whether the server is up.

    A page of another site that asks in this way whether it may send a request (CORS) is given no permission.
    """
    path = "/" if request.environ["PATH_INFO"] == "*" else None  # the server as a whole
    try:
        URLS.bind_to_environ(request).match(path, websocket=False)
    except MethodNotAllowed as error:
        return Response(status=204, headers={"Allow": ", ".join(sorted({*(error.valid_methods or ()), "OPTIONS"}))})
    raise NotFound
