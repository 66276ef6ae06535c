"""/v1/batches/<id>/images.zip: the saved images of a batch in one archive."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.producer_ids import given_id
from jobs.review import Mark
from jobs.saved import SavedOutput
from jobs.store.reviews import Reviewed
from jobs.units import to_micros
from schemas.queries.batches import ImagesQuery
from webhook.api.openapi import operation
from webhook.http.connection import Direction
from webhook.http.csv_text import csv_text
from webhook.http.fair_pool import Place
from webhook.http.zip_stream import ZipStream
from webhook.places import interruptions
from webhook.services import Services, services

blueprint = Blueprint("batch_images", __name__, url_prefix="/v1", description="Images of a batch.")

ZIP = "application/zip"
#: Images in one archive: its directory is in memory.
MOST_IMAGES = 10_000
IMAGES_CSV, MISSING_CSV, MORE = "images.csv", "missing.csv", "more.txt"
_IMAGE_COLUMNS = ("file", "id", "output", "verdict", "starred", "note", "sha256")
_MISSING_COLUMNS = ("id", "output", "why", "source")

log = logging.getLogger(__name__)


@operation(
    blueprint,
    "GET",
    "/batches/<batch_id>/images.zip",
    {200: {"type": "string", "format": "binary"}},
    scope=Scope.READ,
    content_type=ZIP,
    query=ImagesQuery,
    refusals=(404, 422, 503),
)
def images(query: dict[str, Any], batch_id: str) -> Response:
    """Get the saved images of a batch as a ZIP archive.

    All of them, or with `review` only those with a mark, under their names in the result store. `images.csv` in it
    names the job of each file and its review; `missing.csv` lists the images that are not in it, and why. An archive
    has at most 10,000 images; if there are more, its `more.txt` has the address of the next one. An archive that was
    cut off does not open: ask again.
    """
    return archive(batch_id, [Mark(each) for each in query["review"]], int(query.get("after", 0)))


def archive(batch_id: str, wanted: Sequence[Mark], after: int = 0) -> Response:
    """Answer with the archive of a batch: the use case of the API and of the pages. Raises `BatchNotFound`.

    `after`: µs of the creation of the last job that another archive has.
    """
    shared = services()
    shared.store.batches.get(batch_id)
    made = _Archive(shared, batch_id, wanted, after, request.path)

    def stream(place: Place) -> Response:
        pieces = made.pieces(interruptions(place))
        first = next(pieces)  # a store that is away is an error before the stream begins
        answer = Response(chain((first,), pieces), content_type=ZIP)
        name = "-".join((given_id(batch_id), *(mark.value for mark in wanted)))
        answer.headers.set("Content-Disposition", "attachment", filename=f"{name.replace(':', '_')}.zip")
        answer.headers["Cache-Control"] = "private, no-store"
        return answer

    return shared.downloads.stream(stream, Direction.ANSWER)


@dataclass(slots=True)
class _Archive:
    """The archive of a batch's images. `after`: µs of the creation of the last job that another archive has.

    `path`: of the request.
    """

    shared: Services
    batch_id: str
    wanted: Sequence[Mark]
    after: int
    path: str
    zip: ZipStream = field(default_factory=ZipStream)
    images: list[Sequence[str]] = field(default_factory=list)
    missing: list[Sequence[str]] = field(default_factory=list)

    def pieces(self, check: Callable[[], None]) -> Iterator[bytes]:
        """Yield the archive. `check` is called often, and raises if nobody wants it any more."""
        for part in self.shared.store.reviews.parts(self.batch_id, self.wanted):
            check()
            for each in part:
                created = to_micros(each.job.created_at)
                if created <= self.after:
                    continue
                if len(self.images) + len(self.missing) >= MOST_IMAGES:
                    yield from self._end(more=True)
                    return
                for number in each.outputs(self.wanted):
                    check()
                    yield from self._add(each, number)
                self.after = int(created)
        yield from self._end(more=False)

    def _add(self, each: Reviewed, number: int) -> Iterator[bytes]:
        job, review = each.job, each.reviews.get(number)
        source = job.result.output[number]["url"] if job.result else ""
        saved = job.saved
        output = saved.outputs[number] if saved and number < len(saved.outputs) else None
        why = "it is not saved yet" if job.save and job.save.owed else "it was not saved"
        if output and saved:
            why = "it was deleted from the result store" if saved.removed_at else self._lack(output)
        if why or output is None or saved is None:
            self.missing.append((job.given_id, str(number), why, source))
            return
        verdict = review.verdict.value if review and review.verdict else ""
        starred = "yes" if review and review.starred else ""
        note = review.note if review else ""
        self.images.append((output.name, job.given_id, str(number), verdict, starred, note, output.sha256))
        if output.name not in self.zip:  # equal images have one name where it comes from their content
            stream = self.shared.results.stream(output.name, 0, output.size)
            yield from self.zip.add(output.name, output.size, saved.at, stream)

    def _lack(self, output: SavedOutput) -> str:
        """Return what is wrong with a saved file; "": nothing."""
        found = self.shared.results.info(output.name)
        if found is None:
            return "it was deleted from the result store"
        if found.size != output.size:
            log.error("saved file %s has %d bytes, its record says %d", output.name, found.size, output.size)
            return f"the saved file is damaged: it has {found.size:,} bytes, not {output.size:,}"
        return ""

    def _end(self, *, more: bool) -> Iterator[bytes]:
        now = datetime.now(UTC)

        def text(name: str, content: str) -> Iterator[bytes]:
            data = content.encode("utf-8", "backslashreplace")
            return self.zip.add(name, len(data), now, (data,))

        yield from text(IMAGES_CSV, csv_text([_IMAGE_COLUMNS, *self.images]))
        if self.missing:
            yield from text(MISSING_CSV, csv_text([_MISSING_COLUMNS, *self.missing]))
        if more:
            query = "&".join([*(f"review={mark.value}" for mark in self.wanted), f"after={self.after}"])
            address = f"{self.path}?{query}"
            yield from text(MORE, f"There are more images. Get them as another archive:\n\n{address}\n")
        yield from self.zip.end()
