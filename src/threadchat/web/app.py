"""The chat as a WSGI application: its addresses, and the way from a handshake to the hub.

`create_app` makes one for any threaded WSGI server that hands over the socket (werkzeug's, gunicorn's gthread). It may
be mounted below a path of another application.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, MisdirectedRequest, NotFound
from werkzeug.wrappers import Request, Response

from threadchat.channel import Closed
from threadchat.client import serve_ws
from threadchat.declarations import Made
from threadchat.hub import Hub
from threadchat.log import Store, StoreDown, StoreUnfit
from threadchat.log.choose import open_store, shown
from threadchat.names import clean_room_name, quoted
from threadchat.options import Options
from threadchat.room import LOBBY
from threadchat.rooms import Draining, LogDown, NoRoom, Rooms
from threadchat.web import exits, guide, health, metrics, say, transcript, www
from threadchat.web.addresses import URLS, allowed_methods, redirect_below, room_name
from threadchat.web.admission import Admission, Full
from threadchat.web.deadlines import deadline_of
from threadchat.web.entrance import Entrance
from threadchat.web.fitness import Fitness
from threadchat.web.hosts import Hosts
from threadchat.web.keys import Keys
from threadchat.web.local import check_local
from threadchat.web.origins import Origins
from threadchat.web.refusals import Unavailable, reason_of, unavailable
from threadchat.web.spoken import spoken
from threadchat.web.throttled_log import ThrottledLog
from threadchat.web.together import Together
from threadchat.web.upgrade import check_origin, check_upgrade
from threadchat.web.visitors import Identify, Visitors
from threadchat.websocket.connection import Connection, ConnectionClosed, HandshakeFailed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger("threadchat")

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class WebSocketDone(ConnectionResetError):
    """Tells the WSGI server that the socket is no longer its own: it must not answer, nor read another request.

    WSGI has no way to say so. Werkzeug and gunicorn take an OSError for a reset connection in silence: neither the peer
    nor the log hears of it.
    """

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the WebSocket has ended")


class App:
    """A chat as a WSGI application, with rooms whose hubs run in threads until `close`.

    Any thread may call it, as WSGI servers do, and any thread may `close` it. `hub`, `make_hub` and `connection_type`
    are for a caller that watches the chat: the lobby's hub, what makes the hub of a room with the given name, and what
    is called with (environ, options) for each client. `identify` is `create_app`'s.

    Raises StoreUnfit, and RuntimeError where gevent or eventlet has replaced threads.
    """

    def __init__(
        self,
        options: Options,
        hub: Hub | None = None,
        connection_type: Callable[..., Connection] = Connection,
        identify: Identify | None = None,
        make_hub: Callable[[str], Hub] = lambda name: Hub(),
    ) -> None:
        self._fitness = Fitness(options.is_shared)
        store = open_store(options.store, options.synchronous)
        try:
            self.options = options = options if store is None else _with_kept_secrets(options, store)
            self.rooms = Rooms(
                options, lambda name: hub if hub is not None and name == LOBBY else make_hub(name), store
            )
        except StoreDown as error:
            if store is not None:
                store.close()
            raise StoreUnfit(f"{shown(options.store)} cannot be used: {error}") from error
        self._connection_type = connection_type
        self._hosts = Hosts(options.allow_hosts or ("*",))
        self._origins = Origins(options.allow_origins)
        self.admission = Admission(options.max_clients, options.max_clients_per_address)
        self._entrance = Entrance()
        self._saying = say.Say(options)
        self._keys = Keys(options.key, options.moderator_key)
        self._visitors = Visitors(self._keys, identify)
        self._throttled_log = ThrottledLog(log)
        self._health = health.Health(self.rooms, self._fitness)
        self.together: Together | None = None  # for one of several processes
        exits.opened(self)

    @property
    def hub(self) -> Hub:
        """The lobby's hub.

        To say something, call `publish`. With a store, the hub passes on only what the store has, and ignores what is
        sent to its `broadcast`.
        """
        return self.rooms.lobby.hub

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            # Defect (tests/test_defects_wrappers.py): by default a request and its environ are a reference cycle.
            response = self._respond(Request(environ, populate_request=False))
        except HTTPException as error:
            if reason := reason_of(error):
                self.rooms.tally.count("refusals", reason)
            response = Response.force_type(error.get_response(environ), environ)
        except WebSocketDone:
            if "werkzeug.debug.preserve_context" not in environ:
                raise
            # Defect (tests/test_examples.py): werkzeug's debugger logs it, and keeps its frames for ever.
            response = Response(status=101)  # which the log of requests shows; the peer's socket is shut down
        response.headers.update(SECURITY_HEADERS)
        # Defect (tests/test_defects_werkzeug.py): a conditional response brings a Date, and each server adds its own.
        response.headers.pop("Date", None)
        return response(environ, start_response)

    def publish(self, text: str, room: str = LOBBY, name: str | None = None) -> str:
        """Say something in a room, from any thread. Returns the token of the entry, once the room's log has it.

        It waits for as long as the log is down. Raises TypeError and ValueError for what cannot be a message, a room's
        name or a person's; NoRoom if there are too many rooms; Closed after `close`; RuntimeError in a process that was
        forked from the chat's.
        """
        if self._fitness.forked:
            raise RuntimeError("the chat was made before this process was forked: its threads are in the other process")
        with self.rooms.enter(clean_room_name(room)) as entered:
            return say.publish(entered, text, name)

    def close(self) -> None:
        """Disconnect all clients (close code 1001) and refuse new ones (503). Returns when all have gone: seconds.

        A process that ends calls it, if nobody has.
        """
        exits.closed(self)
        if self._fitness.forked:
            return  # the hubs' threads and the clients are in the other process
        self.rooms.stop()
        self.admission.wait_until_empty()

    def _respond(self, request: Request) -> Response:
        """Answer a request. Raises HTTPException, and WebSocketDone when a WebSocket has come and gone."""
        if request.path not in (*health.PATHS, metrics.PATH):  # which have rules of their own
            self._check_host(request)
        if not request.environ.get("PATH_INFO"):
            return redirect_below(request, "/")  # from /chat, where it is mounted: the page's links need the slash
        if request.method == "OPTIONS":
            return allowed_methods(request)
        endpoint, arguments = URLS.bind_to_environ(request).match(websocket=False)
        match endpoint:
            case "ws":
                self._serve_ws(request, room_name(arguments))
                raise WebSocketDone
            case "key":
                check_origin(request, self._origins)
                return self._keys.answer(request)
            case "say":
                return self._say(request, room_name(arguments))
            case "log":
                return self._log(request, room_name(arguments), arguments["form"])
            case "limits":
                limits = json.dumps({"message_size": self.options.message_size}) + "\n"
                return Response(limits, mimetype="application/json", headers={"Cache-Control": "no-store"})
            case "livez" | "readyz":
                return self._health.answer(endpoint, request)
            case "metrics":
                self._check_near(request, *metrics.NEAR, self.options.metrics_from_anywhere)
                return metrics.answer(request, self.rooms, self.together)
            case "guide":
                return www.response(request, self._guide(request).encode(), "text/html")
            case "page":
                self._problem(request)  # for the log: under some servers no handshake ever comes here
                return self._page(request, arguments)
            case _:
                return www.file_response(request, arguments["name"])

    def _may_inspect(self, request: Request) -> bool:
        """Whether there is an inspector that answers this peer. The guide then links to it."""
        return False

    def _guide(self, request: Request) -> str:
        """The guide as HTML. Raises NotFound, which says what is missing, if this installation lacks part of it."""
        try:
            return guide.page(self._may_inspect(request))
        except LookupError as error:
            self._throttled_log.error("the guide cannot be shown: %s", error)
            raise NotFound(f"The guide cannot be shown, since this installation is not complete: {error}.") from error

    def _page(self, request: Request, arguments: Mapping[str, str]) -> Response:
        """The page of the lobby or of a room. Another spelling of the room's name is redirected."""
        page = www.file_response(request, "chat/index.html")
        if "room" in arguments:
            name = room_name(arguments)
            if name == LOBBY:
                return redirect_below(request, "/")
            if name != arguments["room"]:
                return redirect_below(request, f"/r/{quote(name, safe='')}")
            page = www.response(request, www.page_below("chat/index.html"), "text/html")
        return page

    def _serve_ws(self, request: Request, name: str) -> None:
        """Serve a WebSocket from its handshake to its end. Raises HTTPException if the handshake is refused."""
        if problem := self._problem(request):
            raise Unavailable("server", problem)
        check_upgrade(request, self._origins, self._throttled_log)
        visitor = self._visitors.visitor(request)
        deadline_of(request.environ).suspend()  # the connection has deadlines of its own
        connection = self._connection_type(request.environ, self.options)
        address = request.environ.get("REMOTE_ADDR", "")
        try:
            with (
                self._room_for(address, name),
                self.admission.admit(address) as number,
                self.rooms.enter(name, to_stay=True) as room,
                self._entrance.turn() as is_in,
                spoken(room, connection, request, visitor) as protocol,
            ):
                connection.on_reading = is_in
                serve_ws(room.hub, connection, self.options, number, protocol)
        except ConnectionClosed:
            pass  # the peer left before it was answered
        except HandshakeFailed as error:
            raise BadRequest(str(error)) from error
        finally:
            metrics.count_end(self.rooms.tally, connection)

    def _say(self, request: Request, name: str) -> Response:
        """Answer POST /say. Raises HTTPException."""
        if problem := self._problem(request):
            raise Unavailable("server", problem)
        check_origin(request, self._origins)
        visitor = self._visitors.visitor(request)
        self._saying.check_rate(visitor.source)
        with self._room_for(request.environ.get("REMOTE_ADDR", ""), name):
            if not self.rooms.log_is_up:
                raise LogDown  # whoever has gone before it is up again would say it once more
            with self.rooms.enter(name) as room:
                return self._saying.answer(request, room, visitor)

    def _log(self, request: Request, name: str, form: str) -> Response:
        """The transcript of a room that is there. Raises HTTPException."""
        visitor = self._visitors.visitor(request)
        with self._room_for(request.environ.get("REMOTE_ADDR", ""), name):
            room = self.rooms.find(name)
        if room is None:
            raise NotFound("There is no such room.")
        return transcript.response(request, room, form, visitor)

    @contextmanager
    def _room_for(self, address: str, name: str) -> Iterator[None]:
        """Turn the lack of room into 503, with a line in the log, for a client from this address in the room `name`."""
        try:
            yield
        except (Full, NoRoom) as error:
            if not isinstance(error, Draining):  # which is no fault
                self._throttled_log.error(f"refused a client of room %s from %s: {error}", quoted(name), address)
            raise unavailable(error) from error
        except Closed as error:
            raise Unavailable("stopping", health.STOPPING) from error

    def _problem(self, request: Request) -> str:
        """Why the chat cannot work under the server of this request; "" if it can."""
        problem = self._fitness.problem(request.environ)
        if problem:
            self._throttled_log.error("no client can join. %s", problem)
        return problem

    def _check_near(self, request: Request, what: str, flag: str, anywhere: bool) -> None:
        """Raise HTTPException unless the request is from this machine, or from `anywhere` and with the key, if any."""
        try:
            check_local(request, what, flag)
        except Forbidden:
            if not anywhere:
                raise
            self._check_host(request)
            self._keys.check(request)

    def _check_host(self, request: Request) -> None:
        """Raise MisdirectedRequest (421) for a host that is not this server's: RFC 9110, section 7.4.

        This is the guard against DNS rebinding, which needs a browser. A request without a Host header does not come
        from a browser, and is let through.
        """
        host = request.headers.get("Host")
        if host is not None and host not in self._hosts:
            log.warning("refused a request for host %.200a: it is not one of this server's (see --allow-host)", host)
            raise MisdirectedRequest("This server does not answer to this host name, unless allowed by --allow-host.")


def _with_kept_secrets(options: Options, store: Store) -> Options:
    """The options with the secrets that were made at an earlier start, in place of those made now."""

    def kept(name: str, secret: str | None) -> str | None:
        return store.secret(name, secret) if isinstance(secret, Made) else secret

    key, moderator_key = kept("key", options.key), kept("moderator_key", options.moderator_key)
    return replace(options, key=key, moderator_key=moderator_key)


def create_app(options: Options | None = None, identify: Identify | None = None) -> App:
    """Make a chat, ready to serve, with these options (by default those of `Options()`).

    `identify` is called with the request (werkzeug's) before a handshake, a POST to /say or a GET of the transcript is
    answered. It returns the Identity of the sender, or None for one that the application does not know, or raises an
    HTTPException, which is the answer. It runs in the request's thread, and must leave the body unread.
    """
    return App(options or Options(), identify=identify)
