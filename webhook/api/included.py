"""What views of jobs have on request only (`include`): request, earlier revisions, reviews and timeline."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.job import Job
from jobs.links import Links
from jobs.read_models import Page
from jobs.review import Review
from jobs.revision import Revision
from jobs.serializers.jobs import serialize_job, serialize_timeline
from jobs.store.store import Store

#: Requests that are read at once; each has up to 90 KB.
AT_ONCE = 50
#: Bytes of included requests at which a page ends.
MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Views:
    """Makes views of jobs with what a caller wants included (schemas.queries.parameters.INCLUDED)."""

    store: Store
    links: Links
    include: Collection[str] = ()

    def of(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Return views of a part of the jobs (`parts`). Reads their revisions and reviews, each in one round trip."""
        return [view for view, _ in self._sized(jobs)]

    def of_page(self, page: Page) -> tuple[list[dict[str, Any]], str | None]:
        """Return views of the jobs of a page, and the next cursor. Leaves out jobs beyond MOST_BYTES."""
        views, bytes_ = list[dict[str, Any]](), 0
        for part in self.parts(page.jobs):
            for view, size in self._sized(part):
                views.append(view)
                bytes_ += size
                if bytes_ >= MOST_BYTES and len(views) < len(page.jobs):
                    return views, page.after[len(views) - 1]
        return views, page.cursor

    def parts(self, jobs: Iterable[Job]) -> Iterator[list[Job]]:
        """Yield the jobs, with their requests if those are included, in parts that fit into memory."""
        part, requests = list[Job](), 0
        for job in jobs:
            more = job.revision if "revisions" in self.include else 1
            if part and requests + more > AT_ONCE:
                yield self._with_texts(part)
                part, requests = [], 0
            part.append(job)
            requests += more
        if part:
            yield self._with_texts(part)

    def reviews_of(self, jobs: Sequence[Job]) -> Mapping[str, Mapping[int, Review]]:
        """Return the reviews of each job's outputs, if they are included."""
        if "reviews" not in self.include:
            return {}
        ids = [job.id for job in jobs]
        return dict(zip(ids, self.store.reviews.of(ids), strict=True))

    def _with_texts(self, jobs: list[Job]) -> list[Job]:
        if "request" not in self.include:
            return jobs
        texts = self.store.jobs.get_texts([job.id for job in jobs])
        return [replace(job, text=text) for job, text in zip(jobs, texts, strict=True)]

    def _sized(self, jobs: Sequence[Job]) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield views, and the bytes of the requests in them."""
        with_request, found = "request" in self.include, dict[str, tuple[Revision, ...]]()
        if with_revisions := "revisions" in self.include:
            corrected = [job.id for job in jobs if job.revision > 1]
            earlier = self.store.revisions.earlier(corrected) if corrected else ()
            found = dict(zip(corrected, earlier, strict=True))
        reviews = self.reviews_of(jobs)
        for job in jobs:
            revisions = found.get(job.id, ()) if with_revisions else None
            texts = (job.text, *(each.text for each in revisions or ())) if with_request else ()
            size = sum(len((text or "").encode("utf-8", "surrogatepass")) for text in texts)
            view = serialize_job(job, self.links, revisions, with_request=with_request, reviews=reviews.get(job.id))
            if "timeline" in self.include:
                view["timeline"] = serialize_timeline(job)
            yield view, size
