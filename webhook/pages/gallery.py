"""The images of a batch: a gallery by review, an image with what it was made of, and its review."""

import json
from collections.abc import Sequence
from typing import Any

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue
from marshmallow import EXCLUDE, ValidationError

from jobs.api_keys import Scope
from jobs.errors import JobNotFound, NotAllowed
from jobs.failures import FailureClass
from jobs.job import Job
from jobs.review import Mark, Verdict
from jobs.serializers.requests import read_request
from jobs.store.reviews import Reviewed
from schemas.queries.batches import ImagesQuery
from schemas.views.reviews import LONGEST_NOTE, ReviewRequest
from webhook.api.batch_images import archive
from webhook.api.batch_results import table
from webhook.api.outputs import stored_output
from webhook.api.ownership import name_of
from webhook.api.reviews import review
from webhook.http.problems import ProblemError
from webhook.pages.blueprint import HTMX, done, not_done, page, show
from webhook.pages.forms import all_errors
from webhook.pages.job_images import IMAGES, pictures
from webhook.services import services

#: Jobs on a page of the gallery.
_AT_ONCE = 24
_THUMBNAIL, _LARGE = 256, 1024


@page("/batches/<batch_id>/images", scope=Scope.READ)
def batch_images(batch_id: str) -> Response:
    """Show the images of a batch, all or those with a mark."""
    store = services().store
    batch = store.batches.get(batch_id)
    chosen = next((each for each in Mark if each.value == request.args.get("review")), None)
    cursor = request.args.get("cursor", "")
    found, further = store.reviews.page(batch_id, chosen, cursor if cursor.isdecimal() else "", _AT_ONCE)
    name = name_of(batch_id)

    def address(mark: Mark | None, after: str | None = None) -> str:
        return url_for("pages.batch_images", batch_id=name, review=mark and mark.value, cursor=after)

    return show(
        "gallery.html",
        batch=batch,
        name=name,
        shots=[_shot(each, number, name) for each in found for number in each.outputs([chosen] if chosen else [])],
        choices=[("all", address(None), chosen is None, None)]
        + [(mark.value, address(mark), chosen is mark, batch.reviews.get(mark)) for mark in Mark],
        chosen=chosen,
        next=address(chosen, further) if further else None,
        first=address(chosen) if cursor else None,
    )


@page("/batches/<batch_id>/images/<job_id>/<index>", scope=Scope.READ)
def batch_image(batch_id: str, job_id: str, index: str) -> Response:
    """Show an image with its request, cost and attempts."""
    return _show(batch_id, job_id, index)


def _show(batch_id: str, job_id: str, index: str, said: tuple[str, str] | None = None) -> Response:
    """Show an image. `said`: the kind and text of a message, for the part of the page that a script asks for."""
    found, number = _reviewed(batch_id, job_id, index, text=True)
    job, name = found.job, name_of(batch_id)
    asked = dict(read_request(job, job.text or "") or {})
    prompt = str(asked.pop("prompt", ""))
    for known in ("model", "external_task_id", "callback_url"):
        asked.pop(known, None)
    count = len(job.result.output) if job.result else 0
    return show(
        "image.html",
        part="image_now.html",
        batch_name=name,
        shot=_shot(found, number, name, _LARGE),
        job=job,
        prompt=prompt,
        parameters=[
            (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1))
            for key, value in asked.items()
            if key not in IMAGES
        ],
        pictures=pictures(job),
        said=said,
        earlier=url_for("pages.batch_image", batch_id=name, job_id=name_of(job_id), index=number - 1)
        if number
        else None,
        later=url_for("pages.batch_image", batch_id=name, job_id=name_of(job_id), index=number + 1)
        if number + 1 < count
        else None,
        longest_note=LONGEST_NOTE,
    )


@page("/batches/<batch_id>/images/<job_id>/<index>", scope=Scope.ENQUEUE, methods=["POST"])
def review_image(batch_id: str, job_id: str, index: str) -> ResponseReturnValue:
    """Accept, reject or star an image."""
    _reviewed(batch_id, job_id, index)
    where: dict[str, Any] = {"batch_id": name_of(batch_id), "job_id": name_of(job_id), "index": index}
    given = {
        "verdict": request.form.get("verdict") or None,
        "starred": "starred" in request.form,
        "note": request.form.get("note", "").replace("\r\n", "\n"),
    }
    try:
        review(job_id, index, ReviewRequest().load(given))
    except ValidationError as error:
        kind, text = "problem", f"The review was not recorded: {all_errors(error)}."
    except (NotAllowed, ProblemError) as error:
        kind, text = "problem", error.detail if isinstance(error, ProblemError) else str(error)
    else:
        kind, text = "done", "The review is recorded."
    if HTMX in request.headers:
        return _show(batch_id, job_id, index, (kind, text))
    return (done if kind == "done" else not_done)(text, "pages.batch_image", **where)


@page("/files/jobs/<job_id>/outputs/<index>", scope=Scope.READ)
def output_file(job_id: str, index: str) -> Response:
    """Send a saved image, or with `size` its thumbnail."""
    size = request.args.get("size", "")
    side = int(size) if size in (str(_THUMBNAIL), str(_LARGE)) else None
    return stored_output(job_id, index, side, redirects=False)


@page("/files/batches/<batch_id>/images.zip", scope=Scope.READ)
def images_archive(batch_id: str) -> Response:
    """Send the images of a batch, all or those with a mark."""
    asked = {name: request.args.getlist(name) if name == "review" else value for name, value in request.args.items()}
    try:
        query = ImagesQuery(unknown=EXCLUDE).load(asked)
    except ValidationError as error:
        raise ProblemError(422, f"The address is not valid: {all_errors(error)}.") from None
    return archive(batch_id, [Mark(each) for each in query["review"]], int(query.get("after", 0)))


@page("/files/batches/<batch_id>/results", scope=Scope.READ)
def results_file(batch_id: str) -> Response:
    """Send the results of a batch: those of a class of failure with their requests, to correct them."""
    failure = next((each for each in FailureClass if each.value == request.args.get("class")), None)
    kind = "ndjson" if request.args.get("format") == "ndjson" else "csv"
    answer = table(batch_id, failure, as_csv=kind == "csv")
    answer.headers.set("Content-Disposition", "attachment", filename=f"{name_of(batch_id).replace(':', '_')}.{kind}")
    return answer


def _reviewed(batch_id: str, job_id: str, index: str, *, text: bool = False) -> tuple[Reviewed, int]:
    """Return a job of the batch that has this output, and the number of it. Raises `JobNotFound`, or a problem, 404."""
    store = services().store
    job = store.jobs.get(job_id, text=text)
    if job.batch != batch_id:
        raise JobNotFound(job_id)
    found = Reviewed(job, store.reviews.of([job_id])[0])
    numbers = {str(number): number for number in found.outputs(())}
    if index not in numbers:
        raise ProblemError(404, f"The job has no output {index[:20]!r}.")
    return found, numbers[index]


def _shot(each: Reviewed, number: int, batch: str, side: int = _THUMBNAIL) -> dict[str, Any]:
    """Return what a template shows of an image."""
    job, found = each.job, each.reviews.get(number)
    name = name_of(job.id)
    saved = _is_shown(job, number)
    return {
        "job": name,
        "number": number,
        "page": url_for("pages.batch_image", batch_id=batch, job_id=name, index=number),
        "image": url_for("pages.output_file", job_id=name, index=number, size=side) if saved else None,
        "file": url_for("pages.output_file", job_id=name, index=number) if saved else None,
        "source": job.result.output[number]["url"] if job.result else "",
        "verdict": found.verdict.value if found and found.verdict else "",
        "starred": bool(found and found.starred),
        "note": found.note if found else "",
        "review": found,
        "accepted": Verdict.ACCEPTED.value,
        "rejected": Verdict.REJECTED.value,
    }


def _is_shown(job: Job, number: int) -> bool:
    files: Sequence[Any] = job.saved.outputs if job.saved else ()
    return number < len(files) and files[number].content_type.startswith("image/")
