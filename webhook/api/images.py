"""/v1/images: pictures uploaded once, for any number of jobs to refer to."""

from typing import Any

from flask import Response, request
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.errors import ImageNotFound
from jobs.images.images import Image
from schemas import MAX_IMAGE, REFERENCE, ImageInvalid, is_reference, read_picture
from schemas.views.images import ImageView
from webhook.access.audit_log import annotate
from webhook.api.openapi import operation
from webhook.http.bodies import checked_length, read_whole
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.services import services

blueprint = Blueprint("images", __name__, url_prefix="/v1", description="Pictures that jobs refer to, kept once.")

_BODY: dict[str, Any] = {
    "required": True,
    "description": "The file as it is: .jpg, .jpeg or .png, at most 10 MB, 300 px a side, 1:2.5 to 2.5:1.",
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

    The answer's `id` can stand wherever a request may name an image. 201 for a new image, 200 for one that was there
    already. It is kept while any unfinished job refers to it, and for a while after it was last needed or asked for.
    """
    shared = services()
    length = checked_length(request, MAX_IMAGE)
    with shared.streams.enter():
        try:
            picture = read_picture(read_whole(request, length))
        except ImageInvalid as error:
            raise ProblemError(422, "The image breaks rules.", errors={"image": [str(error)]}) from None
        created = shared.keep(picture)
    annotate(image_id=REFERENCE + picture.hash, size=len(picture.data), new=created)
    image = Image(picture.hash, "", len(picture.data), picture.width, picture.height, picture.format)
    return json_response(_shown(image), 201 if created else 200, {"Location": f"/v1/images/{REFERENCE}{image.hash}"})


@operation(blueprint, "GET", "/images/<image_id>", {200: ImageView}, scope=Scope.ENQUEUE, refusals=(404, 503))
def show(image_id: str) -> Response:
    """Ask whether an image is there; HEAD will do.

    404: upload it. One that is there stays for a while from now on, as if it had just been uploaded.
    """
    if not is_reference(image_id):
        raise ProblemError(404, f"An image's id is {REFERENCE} and the SHA-256 of its file in 64 lowercase hex digits.")
    digest = image_id.removeprefix(REFERENCE)
    (image,) = services().images.find([digest])
    if image is None:
        raise ImageNotFound(digest)
    return json_response(_shown(image))


def _shown(image: Image) -> dict[str, Any]:
    return {
        "id": REFERENCE + image.hash,
        "size": image.size,
        "width": image.width,
        "height": image.height,
        "format": image.format,
    }
