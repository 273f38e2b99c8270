"""Reverse proxies: whose word counts for the client's address, scheme and host."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("threadchat")


def behind_proxies(app: WSGIApplication, count: int) -> WSGIApplication:
    """Wrap `app` so that it sees the client's address, scheme and host in place of the nearest proxy's.

    They are taken from X-Forwarded-For, -Proto and -Host, `count` values from the right: one for each proxy. So nobody
    but the proxies may be able to reach the port.

    Defect (tests/test_defects_wrappers.py): ProxyFix takes any text for an address. Here text that is not an address is
    logged, and the address stays the proxy's.
    """

    def as_client(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        proxy = environ["werkzeug.proxy_fix.orig"]["REMOTE_ADDR"]
        try:
            environ["REMOTE_ADDR"] = str(ip_address(environ["REMOTE_ADDR"]))
        except ValueError:
            log.warning("X-Forwarded-For has %.200a where an address should be", environ["REMOTE_ADDR"])
            environ["REMOTE_ADDR"] = proxy
        if environ["REMOTE_ADDR"] != proxy:
            del environ["REMOTE_PORT"]  # the proxy's; the client's is not known
        return app(environ, start_response)

    return ProxyFix(as_client, x_for=count, x_proto=count, x_host=count)
