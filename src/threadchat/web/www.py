"""The files of www/: the pages and what they load, answered with an ETag of their content.

They are read as resources of the package, because a package need not be a folder: it may lie in a zip file (zipapp) or
in a program of one file (PyInstaller).
"""

from __future__ import annotations

import mimetypes
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from werkzeug.exceptions import NotFound
from werkzeug.security import safe_join
from werkzeug.wrappers import Request, Response

PACKAGE = files("threadchat")


def _folder() -> Traversable:
    installed = PACKAGE / "www"
    if not installed.is_dir() and isinstance(PACKAGE, Path):
        checkout = PACKAGE.parents[1] / "www"  # beside src/
        return checkout if checkout.is_dir() else installed
    return installed


WWW = _folder()


def file_response(request: Request, name: str) -> Response:
    """Answer with the file `name`, a path below www/. Raises NotFound if there is no such file."""
    path = safe_join("", name)
    if path is None:
        raise NotFound
    file = WWW.joinpath(*path.removeprefix("./").split("/"))  # a zip file has no "."
    try:
        if not file.is_file():
            raise NotFound
    except OSError as error:  # no name that a file can have
        raise NotFound from error
    kind, _ = mimetypes.guess_type(name)
    return response(request, file.read_bytes(), kind or "application/octet-stream")


def page_below(name: str) -> bytes:
    """The page `name`, for an address one level further down: its links to "static/" begin with "../"."""
    return (WWW / name).read_bytes().replace(b'"static/', b'"../static/')


def response(request: Request, body: bytes, mimetype: str) -> Response:
    """Answer with `body`, which the browser may keep if it asks each time whether it has changed (304 if not).

    The ETag is a hash of the body. Defect (tests/test_defects_wrappers.py): werkzeug's send_from_directory makes one of
    the file's size and time. Where packages are built with a fixed date, an upgrade may leave both as they were.
    """
    answer = Response(body, mimetype=mimetype)
    answer.cache_control.no_cache = True
    answer.add_etag()
    return answer.make_conditional(request, accept_ranges=True, complete_length=len(body))
