"""The reference images of a job: the pictures that its request names."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flask import Response, request, url_for

from jobs.api_keys import Scope
from jobs.decoding import UNREADABLE
from jobs.errors import ImageNotFound
from jobs.job import Job
from jobs.producer_ids import owner_in
from schemas import REFERENCE, GenerationRequest, images_in, is_reference
from webhook.api.ownership import name_of
from webhook.drafts.columns import IMAGE_LISTS
from webhook.http.connection import Direction
from webhook.http.fair_pool import Place
from webhook.http.partial_content import StoredFile, file_answer
from webhook.http.problems import ProblemError
from webhook.pages.blueprint import page
from webhook.services import services
from webhook.thumbnails import CONTENT_TYPE

#: Members of a request that are images.
IMAGES = frozenset({*IMAGE_LISTS, "scene_image", "style_image"})
#: Pixels of the longer side of a thumbnail.
_SIDE = 256


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a request. `path`: its member. `file`: its address here; None: it is elsewhere, at `value`."""

    path: str
    value: str
    file: str | None


def pictures(job: Job) -> Sequence[Picture]:
    """Return the images of a job that was read with its request; none if that cannot be read."""
    name = name_of(job.id)
    return [
        Picture(
            path,
            value,
            url_for("pages.reference_file", job_id=name, index=place) if is_reference(value) else None,
        )
        for place, (path, value) in enumerate(_images(job))
    ]


@page("/files/jobs/<job_id>/references/<index>", scope=Scope.READ)
def reference_file(job_id: str, index: str) -> Response:
    """Send a reference image from the image store, or with `size` its thumbnail.

    The image store keeps the image from now on as long as after any other use of it.
    """
    shared = services()
    job = shared.store.jobs.get(job_id, text=True)
    images = dict(enumerate(value for _, value in _images(job)))
    value = images.get(int(index) if re.fullmatch("[0-9]{1,3}", index) else -1, "")
    if not is_reference(value):
        raise ProblemError(404, f"The request has no image {index[:20]!r} in the image store.")
    digest = value.removeprefix(REFERENCE)
    (image,) = shared.images.find([digest], owner_in(job.id) or job.owner)
    if image is None:
        raise ImageNotFound(digest)
    side = _SIDE if request.args.get("size") == str(_SIDE) else None

    def answer(place: Place) -> Response:
        data, kind = shared.images.read(image), f"image/{image.format}"
        if side:
            data, kind = shared.renderer.of_file(data, side, lambda: place.lost), CONTENT_TYPE

        def read(start: int, end: int) -> Iterator[bytes]:
            return iter((data[start:end],))

        extension = "webp" if side else {"jpeg": "jpg"}.get(image.format, image.format)
        tag = f"{digest}-{side}" if side else digest
        return file_answer(request, StoredFile(tag, len(data), kind, f"{digest[:16]}.{extension}", read))

    return shared.downloads.stream(answer, Direction.ANSWER)


def _images(job: Job) -> Sequence[tuple[str, str]]:
    try:
        return list(images_in(GenerationRequest.from_text(job.text or "")).items())
    except UNREADABLE:
        return []
