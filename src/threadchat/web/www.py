"""The files of www/: the pages and what they load, answered with an ETag of their content."""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path

from werkzeug.exceptions import NotFound
from werkzeug.security import safe_join
from werkzeug.wrappers import Request, Response

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "www", _PACKAGE.parents[1] / "www")  # where it was installed; in a checkout, beside src/
WWW = next((place for place in _PLACES if place.is_dir()), _PLACES[0])


def file_response(request: Request, name: str) -> Response:
    """Answer with the file `name`, a path below www/. Raises NotFound if there is no such file."""
    path = safe_join(str(WWW), name)
    if path is None or not os.path.isfile(path):
        raise NotFound
    kind, _ = mimetypes.guess_type(path)
    return response(request, Path(path).read_bytes(), kind or "application/octet-stream")


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
