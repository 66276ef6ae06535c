"""Quotes: what an upload would do, cost and wait for. The lines take the way of a real upload, up to the store."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from jobs.estimates import Estimate, Price
from jobs.new_job import BatchOptions, NewJob, Outcome
from jobs.producer_ids import internal_id
from jobs.read_models import Batch
from jobs.store.forecasts import Block, Checked, Forecast
from schemas import GenerationRequest, ImageFile, RequestInvalid, without_images
from webhook.access.auth import caller
from webhook.api.enqueue import new_id
from webhook.api.line_problems import LineProblems
from webhook.api.seen_ids import SeenIds
from webhook.api.upload_lines import NumberedLine, chunks, jobs_in
from webhook.api.upload_progress import Upload
from webhook.http.bodies import grow
from webhook.http.fair_pool import Place
from webhook.http.problems import ProblemError
from webhook.services import Services

_REFERENCE = re.compile('"image:sha256:([0-9a-f]{64})"')


@dataclass
class Quote(Upload):
    """An upload of which nothing is kept. `images_later`: the caller will upload the images before."""

    images_later: bool = False
    problems: LineProblems = field(default_factory=LineProblems)
    classes: Counter[str] = field(default_factory=Counter)
    pools: set[str] = field(default_factory=set)
    size: int = 0
    conflicts: int = 0
    #: Hashes of the images that came with the lines so far.
    images: set[str] = field(default_factory=set)
    seen: SeenIds = field(default_factory=SeenIds)
    _missing: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.imageless = self._imageless

    def refuse(self, line: int, errors: dict[str, list[str]], codes: list[str]) -> None:
        """Count a refused line, list it, and count its mistakes."""
        super().refuse(line, errors, codes)
        self.problems.add(line, errors, codes)

    def note_image(self, file: ImageFile) -> None:
        """Note an image that comes with a line, instead of storing it."""
        self.images.add(file.hash)

    def images_in(self, jobs: Iterable[NewJob]) -> set[str]:
        """Return those images that came with lines, and that these jobs name."""
        if not self.images and not self.images_later:
            return set()
        named = set(image_names(jobs))
        return named if self.images_later else named & self.images

    def count_checked(self, chunk: list[tuple[int, NewJob]], checked: Iterable[Checked]) -> None:
        """Count what would become of a chunk, as `count_all` does after a real upload."""
        self._missing = {}
        outcomes = []
        for (_, job), each in zip(chunk, checked, strict=True):
            outcome = each.outcome
            if outcome is Outcome.CREATED:
                outcome = self.seen.add(job.id, job.text) or outcome
            if outcome is Outcome.IMAGELESS:
                self._missing[job.id] = each.missing
            self.conflicts += outcome is Outcome.CONFLICT
            outcomes.append(outcome)
            if outcome is Outcome.CREATED:
                self.classes[job.price_class] += 1
                self.pools.add(job.pool)
                self.size += len(job.text)
        self.count_all(chunk, outcomes)

    def _imageless(self, job: NewJob) -> RequestInvalid:
        missing = self._missing[job.id]
        return without_images(GenerationRequest.from_text(job.text), missing.intersection)


def image_names(jobs: Iterable[NewJob]) -> Iterator[str]:
    """Yield the hashes of the images that jobs name."""
    for job in jobs:
        yield from _REFERENCE.findall(job.text)


def quote(
    shared: Services, done: Quote, lines: Iterable[NumberedLine], memory: Place, *, whole: bool
) -> dict[str, Any]:
    """Check all lines and return the quote, as `schemas.views.quotes.QuoteView` documents it. Nothing is written.

    `whole`: a bad line would refuse the upload. Raises the problems that the real upload would raise, except for a
    service that is full: the quote says so.
    """
    store = shared.store
    existing = store.batches.options(done.id)
    done.join(existing)
    load = partial(shared.load, put=done.note_image)
    accounted = 0
    for chunk in chunks(jobs_in(shared, done, lines, load)):
        jobs = [job for _, job in chunk]
        done.count_checked(chunk, store.forecasts.check(jobs, caller=caller().owner, images=done.images_in(jobs)))
        held = done.seen.size + 100 * len(done.images)
        grow(memory, held - accounted)
        accounted = held
    batch = store.batches.get(done.id) if existing else None
    forecast = forecast_of(shared, done.options.owner, done.classes, done.pools, done.options, batch=batch)
    blocks = [*forecast.blocks, *_blocks_here(shared, done, whole=whole, is_new=batch is None)]
    if batch:
        blocks += paused_blocks(batch)
    return _view(done, forecast, blocks)


def quote_job(shared: Services, body: bytes, memory: Place) -> dict[str, Any]:
    """Return the quote of a single job. Raises what enqueueing it would raise, except for a full service."""
    done = Quote(internal_id(new_id(), caller().name), shared.imageless, BatchOptions(owner=caller().name))
    view = quote(shared, done, [(1, body)], memory, whole=False)
    for refused in done.errors:
        if done.conflicts:
            raise ProblemError(409, "The external_task_id belongs to another request.", errors=refused["errors"])
        raise RequestInvalid(refused["errors"], refused["codes"])
    return view


def forecast_of(
    shared: Services,
    owner: str,
    classes: Mapping[str, int],
    pools: Collection[str],
    options: BatchOptions,
    *,
    batch: Batch | None,
) -> Forecast:
    """Return what jobs would cost and wait for, with the limits in force now. `batch`: to which they are added."""
    return shared.store.forecasts.forecast(
        owner,
        classes,
        pools,
        options,
        existing=batch.estimate if batch else None,
        room=shared.pressure.room(0, owner),
        shows_spent=caller().admin,
    )


def memory_blocks(shared: Services, size: int, owner: str) -> Iterator[Block]:
    """Yield why requests of so many bytes would be refused now."""
    if full := shared.pressure.why_full(size, owner):
        yield Block("memory", full)


def paused_blocks(batch: Batch) -> Iterator[Block]:
    """Yield why the jobs of a batch do not begin."""
    if batch.paused or batch.awaits_approval:
        yield Block("paused", f"the batch is paused: {batch.reason}")


def stalled_blocks(shared: Services) -> Iterator[Block]:
    """Yield what keeps every job from beginning."""
    for trouble in shared.store.liveness.troubles():
        yield Block("stalled", trouble.what)


def _blocks_here(shared: Services, done: Quote, *, whole: bool, is_new: bool) -> Iterator[Block]:
    yield from memory_blocks(shared, done.size, done.options.owner)
    if whole and done.rejected:
        yield Block("refused_lines", f"{done.rejected:,} lines are refused: with on_error=abort nothing is enqueued")
    if is_new and (done.options.paused or done.options.pilot):
        first = (
            f"a pilot of {done.options.pilot} jobs runs first; the others wait" if done.options.pilot else "all wait"
        )
        yield Block("approval", f"{first} for an approval")
    yield from stalled_blocks(shared)


def _view(done: Quote, forecast: Forecast, blocks: list[Block]) -> dict[str, Any]:
    upload = done.view()
    return {
        **{name: upload[name] for name in ("accepted", "known", "rejected", "errors")},
        "problems": done.problems.view(),
        "kinds": [_kind(each, count, forecast.prices[each]) for each, count in done.classes.most_common()],
        "cost": serialize_cost(forecast.estimate),
        "unpriced": forecast.estimate.unpriced,
        "seconds": None if forecast.seconds is None else round(forecast.seconds, 1),
        "blocks": [{"code": each.code, "message": each.message} for each in blocks],
    }


def _kind(price_class: str, count: int, price: Price) -> dict[str, Any]:
    model, images, resolution = price_class.rsplit("|", 2)
    return {"model": model, "n": int(images), "resolution": resolution, "jobs": count, **serialize_cost(price)}


def serialize_cost(cost: Price | Estimate) -> dict[str, Any]:
    """Return an expected cost as `schemas.views.quotes.CostEstimate` documents it."""
    amounts = {name: getattr(cost, name) for name in ("expected", "low", "median", "high")}
    texts = {name: None if amount is None else format(amount, "f") for name, amount in amounts.items()}
    return {"base": cost.base.value, **texts}
