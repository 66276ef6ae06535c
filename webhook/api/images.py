"""/v1/images: upload an image once, for any number of jobs to refer to."""

from typing import Any

from flask import Response, request
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.errors import ImageNotFound
from jobs.images.images import Image
from schemas import MAX_IMAGE, REFERENCE, ImageInvalid, is_reference, read_image
from schemas.views.images import ImageView
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.api.openapi import operation
from webhook.http.bodies import checked_length, read_decoded
from webhook.http.connection import Direction
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.services import services

blueprint = Blueprint("images", __name__, url_prefix="/v1", description="Images that jobs refer to.")

_BODY: dict[str, Any] = {
    "required": True,
    "description": "The file: .jpg, .jpeg or .png, at most 10 MB, at least 300 px per side, ratio 1:2.5 to 2.5:1.",
    "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/png", "image/jpeg")},
}


@operation(
    blueprint,
    "POST",
    "/images",
    {201: ImageView, 200: ImageView},
    scope=Scope.ENQUEUE,
    request_body=_BODY,
    refusals=(400, 411, 413, 422, 503),
)
def create() -> Response:
    """Upload an image.

    A request may refer to the image by the `id` in the answer, wherever it may name an image. The answer is 201 for a
    new image, and 200 for one that is stored already. The service keeps an image while an unfinished job refers to it,
    and for a while after it was last used or looked up.
    """
    shared = services()
    checked_length(request, MAX_IMAGE)
    with shared.transfers.enter(Direction.BODY):
        try:
            file = read_image(read_decoded(request, MAX_IMAGE, shared.memory.for_body()))
        except ImageInvalid as error:
            raise ProblemError(
                422, "The image is not valid; `errors` says why.", errors={"image": [str(error)]}
            ) from None
        created = shared.store_image(file)
    annotate(image_id=REFERENCE + file.hash, size=len(file.data), new=created)
    image = Image(file.hash, "", len(file.data), file.width, file.height, file.format)
    return json_response(
        _serialize(image), 201 if created else 200, {"Location": f"/v1/images/{REFERENCE}{image.hash}"}
    )


@operation(blueprint, "GET", "/images/<image_id>", {200: ImageView}, scope=Scope.ENQUEUE, refusals=(404, 503))
def show(image_id: str) -> Response:
    """Look up a stored image.

    404 means that you have not uploaded the image, or that it was deleted since: upload it. A stored image is then kept
    for a while, as if it had just been uploaded. HEAD works, too.
    """
    if not is_reference(image_id):
        raise ProblemError(
            404,
            f"{image_id[:80]!r} is not the id of an image. Give {REFERENCE} and the file's SHA-256 in 64 lowercase "
            "hexadecimal digits.",
        )

    digest = image_id.removeprefix(REFERENCE)
    (image,) = services().images.find([digest], caller().owner)
    if image is None:
        raise ImageNotFound(digest)
    return json_response(_serialize(image))


def _serialize(image: Image) -> dict[str, Any]:
    return {
        "id": REFERENCE + image.hash,
        "size": image.size,
        "width": image.width,
        "height": image.height,
        "format": image.format,
    }
