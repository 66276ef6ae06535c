"""Answers with a file or part of it (RFC 9110, sections 13 and 14): ranges, entity tags, and what a browser may do."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain, islice

from flask import Request, Response
from werkzeug.http import parse_range_header

from webhook.http.problems import ProblemError

#: Nothing in a file runs on our origin, whatever it contains: no script, no style, no form, no plugin.
POLICY = "default-src 'none'; sandbox"
#: What browsers may show in place. Every other type is downloaded: an SVG or an HTML page could contain scripts.
_SHOWN = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "video/mp4", "video/webm"})
_UNKNOWN = "application/octet-stream"
#: Seconds for which a browser may keep a file. It never changes, but its key or link ends.
_MAX_AGE = 3600

#: Reads the bytes from `start` to before `end`, in pieces.
Read = Callable[[int, int], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that never changes. `tag` names its content, and `filename` is one that every file system takes."""

    tag: str
    size: int
    content_type: str
    filename: str
    read: Read

    @property
    def shown_type(self) -> str:
        """The type that a browser gets: only one that cannot run anything."""
        return self.content_type if self.content_type in _SHOWN else _UNKNOWN


def file_answer(request: Request, file: StoredFile) -> Response:
    """Answer a GET or HEAD with the file, the part that is asked for (206), or without it (304).

    Raises werkzeug's 416 for a range beyond the end, a problem, 412, for another ETag in If-Match, and what `file.read`
    raises for its first piece. A range that is not valid, and several ranges at once, are ignored, as the RFC allows.
    """
    answer = Response(status=HTTPStatus.OK)
    answer.set_etag(file.tag)
    answer.headers["Content-Type"] = file.shown_type
    kind = "attachment" if file.shown_type == _UNKNOWN else "inline"
    answer.headers.set("Content-Disposition", kind, filename=file.filename)
    answer.headers["Cache-Control"] = f"private, max-age={_MAX_AGE}"
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.content_length = file.size
    answer.make_conditional(_environ(request, file.size), accept_ranges=True, complete_length=file.size)
    if answer.status_code == HTTPStatus.PARTIAL_CONTENT:
        part = answer.content_range
        start, end = part.start or 0, part.stop or 0
    elif answer.status_code == HTTPStatus.OK:
        start, end = 0, file.size
    elif answer.status_code == HTTPStatus.PRECONDITION_FAILED:
        raise ProblemError(
            HTTPStatus.PRECONDITION_FAILED,
            "The file has another ETag than `If-Match` names. Get it without.",
            headers={"ETag": answer.headers["ETag"]},
        )
    else:
        answer.headers.pop("Content-Length", None)
        return answer
    if request.method == "GET" and start < end:
        answer.response = _begun(file.read(start, end))
    return answer


def _environ(request: Request, size: int) -> dict[str, object]:
    """Return the environment of the request, without a range that is to be ignored."""
    environ = dict(request.environ)
    ranges = parse_range_header(environ.get("HTTP_RANGE"))
    if ranges is None or ranges.units != "bytes" or len(ranges.ranges) != 1:
        environ.pop("HTTP_RANGE", None)
    elif -ranges.ranges[0][0] > size:
        environ["HTTP_RANGE"] = "bytes=0-"  # more bytes than there are from the end: werkzeug would refuse it
    return environ


def _begun(pieces: Iterator[bytes]) -> Iterable[bytes]:
    """Read the first piece: an error must come before the status is sent."""
    return chain(list(islice(pieces, 1)), pieces)
