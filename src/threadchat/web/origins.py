"""Origins: the pages that may connect. They are compared in the form in which browsers send them (RFC 6454).

An origin to allow is one of:

    https://example.org:8443    a site; its name may be in any script, and a default port may be there or not
    capacitor://localhost       an app's own scheme; others are ionic, tauri and chrome-extension
    file://                     what some apps send for a page from a file; browsers send null
    null                        pages without an origin: files, sandboxed frames
    *                           every page
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv6Address

DEFAULT_PORTS = {"http": "80", "https": "443"}
NOT_OF_A_PAGE = ("ws", "wss", "ftp", "file")  # schemes with a host that no page's origin has

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^/?#@:%\[\]\\\s]+))(:(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE,
)
_NAME = re.compile(r"[a-z0-9_.-]+")
# What IDNA of 2003, which Python has, and that of 2008, which browsers have, spell differently (RFC 5894, section 7.2).
_DISPUTED = re.compile("[\u00df\u1e9e\u03c2\u200c\u200d]")


class Origins:
    """The origins whose pages may connect: the server's own, and those in `allowed` ("*" means all).

    RFC 6455, section 10.2. Raises ValueError for an invalid one in `allowed`. Any thread may call it.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = set(map(canonical_origin, allowed))

    def allow(self, origin: str, scheme: str, host: str) -> bool:
        """Whether a page of this origin may connect to a server that was asked for by this scheme and Host header."""
        if "*" in self._allowed:
            return True
        try:
            origin = canonical_origin(origin)
        except ValueError:
            return False
        if origin in self._allowed:
            return True
        page_scheme = origin.partition("://")[0]
        if page_scheme not in DEFAULT_PORTS:
            return False  # "null", among others
        if page_scheme == "http" and scheme.lower() in ("https", "wss"):  # a ProxyFix of the site's own may say wss
            return False  # somebody between the server and the browser may have written into that page
        with suppress(ValueError):
            return origin == canonical_origin(f"{page_scheme}://{host}")
        return False


def canonical_origin(origin: str) -> str:
    """The origin as browsers send it. Raises ValueError, with a sentence, if no page has such an origin."""
    if origin.lower() in ("*", "null", "file://", "file:///"):
        return origin.lower().replace("///", "//")
    try:
        found = _ORIGIN.fullmatch(origin)
        if not found or found["scheme"].lower() in NOT_OF_A_PAGE or int(found["port"] or 0) > 65_535:
            raise ValueError("not an origin")
        host = ascii_name(found["name"]) if found["name"] else f"[{IPv6Address(found['v6'])}]"
    except UnicodeError:
        raise ValueError(f"an origin to allow is written in ASCII (xn--...) by browsers, unlike {origin!r}") from None
    except ValueError:
        raise ValueError(
            "an origin to allow is the scheme, the host and perhaps the port of a page, such as https://example.org "
            f"or capacitor://localhost, without a path; or *, null or file://; unlike {origin!r}"
        ) from None
    scheme, port = found["scheme"].lower(), (found["port"] or "").lstrip("0")
    return f"{scheme}://{host}" + (f":{port}" if port not in ("", DEFAULT_PORTS.get(scheme)) else "")


def ascii_name(name: str) -> str:
    """The host name in lower case and, where it is not ASCII, as browsers send it: xn--exmple-cua.org.

    Raises UnicodeError where Python does not know how browsers do, and ValueError for what is not a name.
    """
    if not name.isascii():
        if _DISPUTED.search(name):
            raise UnicodeError("spelled differently by browsers of different ages")
        name = name.encode("idna").decode()
    if not _NAME.fullmatch(name.lower()):
        raise ValueError("not a host name")
    return name.lower()
