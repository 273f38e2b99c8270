"""Reverse proxies: whose word counts for the client's address, scheme and host.

What the common proxies send, with `count` of them one behind the other:

    | header            | by default, or by a common setting                                                     |
    | ----------------- | -------------------------------------------------------------------------------------- |
    | X-Forwarded-For   | each adds the address of its peer: nginx, Caddy, Traefik, HAProxy, AWS, Envoy          |
    |                   | with a port: Azure's gateways, IIS, AWS if told to; IPv6 then stands in brackets       |
    |                   | `unknown` or `_name` where a proxy does not know or say the address (RFC 7239, 6)      |
    | X-Forwarded-Proto | http, https; Traefik says ws and wss for a WebSocket. Most replace it, a few add to it |
    | X-Forwarded-Host  | the Host header that the client sent                                                   |

`Forwarded` (RFC 7239) is not read: a proxy that sets only the headers above passes on what the client has written
there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from werkzeug.http import parse_list_header
from werkzeug.middleware.proxy_fix import ProxyFix

from threadchat.web.throttled_log import ThrottledLog

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("threadchat")

SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

# An address; IPv4 may have a port, and IPv6 a zone. With a port, IPv6 stands in brackets.
_NODE = re.compile(
    r"(?P<v4>[0-9.]+)(?::[0-9]+)?"
    r"|(?P<bracket>\[)?(?P<v6>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+)(?:%[^\[\]]*)?(?(bracket)\](?::[0-9]+)?)"
)


def behind_proxies(app: WSGIApplication, count: int) -> WSGIApplication:
    """Wrap `app` so that it sees the client's address, scheme and host in place of the nearest proxy's.

    They are taken from X-Forwarded-For, -Proto and -Host, `count` values from the right: one for each proxy. So nobody
    but the proxies may be able to reach the port. A scheme with fewer values counts too, since most proxies replace the
    header; no page can write it into the request for a WebSocket.

    Defects (tests/test_defects_wrappers.py): ProxyFix takes any text for an address, and any for a scheme. Here text
    that is not an address is logged, and the address stays the proxy's; of the schemes only SCHEMES count.
    """
    throttled_log = ThrottledLog(log)

    def as_client(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        _take_address(environ, count, throttled_log)
        _take_scheme(environ, count, throttled_log)
        return app(environ, start_response)

    return ProxyFix(as_client, x_for=0, x_proto=0, x_host=count)


def _take_address(environ: WSGIEnvironment, count: int, throttled_log: ThrottledLog) -> None:
    given = parse_list_header(environ.get("HTTP_X_FORWARDED_FOR", ""))
    proxy = environ["REMOTE_ADDR"]
    if len(given) < count:
        own = _address(proxy)
        if "HTTP_UPGRADE" in environ and own and not own.is_loopback:  # not a check, nor a client on this machine
            throttled_log.warning(
                "a WebSocket from %s came without the client's address: let each of the proxies (--trusted-proxies) "
                "add it to X-Forwarded-For, or their clients count as one address",
                proxy,
            )
        return
    client = _address(given[-count])
    if client is None:
        throttled_log.warning("X-Forwarded-For has %.200a where an address should be", given[-count])
    elif str(client) != proxy:
        environ["REMOTE_ADDR"] = str(client)
        del environ["REMOTE_PORT"]  # the proxy's


def _take_scheme(environ: WSGIEnvironment, count: int, throttled_log: ThrottledLog) -> None:
    given = [each for each in parse_list_header(environ.get("HTTP_X_FORWARDED_PROTO", "")) if each][-count:]
    if not given:
        return
    if scheme := SCHEMES.get(given[0].lower()):
        environ["wsgi.url_scheme"] = scheme
    else:
        throttled_log.warning("X-Forwarded-Proto has %.200a where http or https should be", given[0])


def _address(node: str) -> IPv4Address | IPv6Address | None:
    """The address in a value of X-Forwarded-For, without port and zone; None if it has none.

    An IPv4 address in IPv6 clothes (::ffff:192.0.2.7) is the IPv4 address, or one client could count as two.
    """
    found = _NODE.fullmatch(node)
    if not found:
        return None
    try:
        address = ip_address(found["v4"] or found["v6"])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
