"""/v1/jobs/<id>/outputs/<index>: the saved file of an output, and its thumbnails."""

import logging
import re
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Response, redirect, request
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.job import Job
from jobs.saved import SavedOutput
from jobs.states import State
from schemas.queries.jobs import OutputQuery
from webhook.access.scopes import opens_with_link
from webhook.api.openapi import operation
from webhook.http.connection import Direction
from webhook.http.fair_pool import Place
from webhook.http.partial_content import StoredFile, file_answer
from webhook.http.problems import ProblemError, unavailable
from webhook.services import Services, services
from webhook.thumbnails import CONTENT_TYPE, deleted

blueprint = Blueprint("outputs", __name__, url_prefix="/v1", description="Saved results.")

#: Seconds for which an address of the store's own works. A download that has begun by then goes on.
_DIRECT_LIFE = 600.0
_INDEX = re.compile(r"0|[1-9][0-9]{0,3}")
_EXTENSIONS = {
    "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif", "video/mp4": "mp4",
    "video/webm": "webm",
}  # fmt: skip
_FILE = {"type": "string", "format": "binary"}

#: Returns a redirect to a file in the result store, given its name there; None: it is sent instead.
_Direct = Callable[[str, StoredFile], Response | None]

log = logging.getLogger(__name__)


@operation(
    blueprint,
    "GET",
    "/jobs/<job_id>/outputs/<index>",
    {200: _FILE, 206: _FILE},
    scope=Scope.READ,
    content_type="application/octet-stream",
    query=OutputQuery,
    refusals=(404, 409, 410, 412, 416, 422, 501, 503),
    bodiless={
        302: "The file is at a short-lived address of the result store.",
        304: "The file has not changed: `If-None-Match` has its ETag.",
    },
)
@opens_with_link
def fetch(query: dict[str, Any], job_id: str, index: str) -> Response:
    """Get the saved file of an output.

    `output[].url` of a job is this call with a signature, which needs no key until it expires. The answer is the file,
    or a redirect (302) to a short-lived address of the result store. Ranges, `If-Match`, `If-None-Match` and HEAD work;
    the ETag is the SHA-256 of the file. With `size` it is a thumbnail, as WebP. An output that is not saved gets 409,
    whose `source_url` is the provider's address, and one whose file was deleted since gets 410.
    """
    return stored_output(job_id, index, query.get("size"), redirects=services().settings.result_redirect)


def stored_output(job_id: str, index: str, side: int | None, *, redirects: bool) -> Response:
    """Answer with a saved output, or with its thumbnail of `side` pixels: the use case of the API and of the pages.

    `redirects`: the answer may be a redirect to the result store. Raises `JobNotFound`, and problems as the API.
    """
    shared = services()
    number, output = _saved(shared.store.jobs.get(job_id), index)
    name = f"{re.sub('[^A-Za-z0-9._~+-]', '_', job_id.partition('@')[0].replace(':', '+'))}-{number + 1}"
    direct = partial(_direct, shared) if redirects else _never

    def answer(place: Place) -> Response:
        return _thumbnail(output, name, side, place, direct) if side else _file(shared, output, name, direct)

    return shared.downloads.stream(answer, Direction.ANSWER)


def _saved(job: Job, index: str) -> tuple[int, SavedOutput]:
    """Return the number of an output and its saved file. Raises a problem: 404 or 409 where there is none."""
    count = len(job.result.output) if job.result else 0
    if job.state is not State.COMPLETED and not job.saved:
        raise ProblemError(409, f"The job is {job.state}, and has no saved results.")
    if not _INDEX.fullmatch(index) or int(index) >= count:
        raise ProblemError(404, f"The job has {count} outputs, numbered from 0, and no output {index[:20]!r}.")
    number = int(index)
    if job.result and job.result.saved and job.result.saved.removed_at:
        raise deleted()
    if job.saved is None or number >= len(job.saved.outputs):
        source = job.result.output[number]["url"] if job.result else ""
        given_up = job.save is not None and not job.save.owed
        why = "could not be saved" if given_up else "is not saved yet"
        raise ProblemError(409, f"This output {why}. `source_url` is its address at the provider.", source_url=source)
    return number, job.saved.outputs[number]


def _file(shared: Services, output: SavedOutput, name: str, direct: _Direct) -> Response:
    store = shared.results
    filename = f"{name}.{_EXTENSIONS.get(output.content_type, 'bin')}"
    found = store.info(output.name)
    if found is None:
        raise deleted()
    if found.size != output.size:
        log.error("saved file %s has %d bytes, its record says %d", output.name, found.size, output.size)
        raise unavailable("The saved file is damaged, and an operator has to look at it.")
    read = partial(store.stream, output.name)
    file = StoredFile(output.sha256, output.size, output.content_type, filename, read)
    return direct(output.name, file) or file_answer(request, file)


def _thumbnail(output: SavedOutput, name: str, side: int, place: Place, direct: _Direct) -> Response:
    shared = services()
    made = shared.thumbnails.get(output, side, lambda: place.lost)
    data = made.data

    def read(start: int, end: int) -> Iterator[bytes]:
        if data is None:
            return shared.results.stream(made.name, start, end)
        return iter((data[start:end],))

    tag = f"{output.sha256}-{side}"
    file = StoredFile(tag, made.size, CONTENT_TYPE, f"{name}-{side}.webp", read)
    return (data is None and direct(made.name, file)) or file_answer(request, file)


def _never(_name: str, _file: StoredFile) -> None:
    return None


def _direct(shared: Services, name: str, file: StoredFile) -> Response | None:
    """Return a redirect to an address of the store's own; None if it has none. A presigned one is for GET only."""
    if request.method != "GET":
        return None
    address = shared.results.link(name, _DIRECT_LIFE, content_type=file.shown_type, filename=file.filename)
    if address is None:
        return None
    answer = redirect(address, HTTPStatus.FOUND)
    answer.headers["Cache-Control"] = "private, no-store"
    return answer  # type: ignore[return-value] # werkzeug's, as everywhere in Flask
