"""The client's calls about batches."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import overload

from boomerang_client.connection import Query, id_of, label_params, moment, part, present, repeatable_as
from boomerang_client.errors import NotFound, StillRunning, UsageError
from boomerang_client.following import PAUSE, Changes, Ended
from boomerang_client.ids import new_id
from boomerang_client.jobs import PAGE, Jobs
from boomerang_client.ndjson import Lines, opened
from boomerang_client.parsing import read_batch, read_changed, read_job, read_list
from boomerang_client.progress_line import Meter
from boomerang_client.records import Batch, Job, Status
from boomerang_client.responses import BatchAccepted, BatchChanged
from boomerang_client.retrying import PATIENCE, Steady
from boomerang_client.uploading import Progress, Upload

OnWait = Callable[[Exception, float], None]


class Batches(Jobs):
    """Calls about batches."""

    @overload
    def batch(self, lines: str) -> Batch: ...
    @overload
    def batch(
        self,
        lines: Lines,
        id: str | None = ...,
        *,
        labels: Mapping[str, str] | None = ...,
        priority: str | None = ...,
        weight: int | None = ...,
        max_cost: Decimal | str | None = ...,
        on_error: str | None = ...,
        key: str | None = ...,
        folder: Path | None = ...,
        patience: float = ...,
        progress: Progress | None = ...,
        on_wait: OnWait | None = ...,
    ) -> Batch: ...
    def batch(
        self,
        lines: Lines | str,
        id: str | None = None,  # noqa: A002 -- the API's own word
        *,
        labels: Mapping[str, str] | None = None,
        priority: str | None = None,
        weight: int | None = None,
        max_cost: Decimal | str | None = None,
        on_error: str | None = None,
        key: str | None = None,
        folder: Path | None = None,
        patience: float = PATIENCE,
        progress: Progress | None = None,
        on_wait: OnWait | None = None,
    ) -> Batch:
        """Enqueue many jobs: see `enqueue_batch`; the batch's `upload` tells what became of the lines.

        With an id, as text: the batch that is there already. Raises NotFound.
        """
        if isinstance(lines, str):
            return self._found(lines)
        upload = self.enqueue_batch(
            lines, id, labels=labels, priority=priority, weight=weight, max_cost=max_cost, on_error=on_error, key=key,
            folder=folder, patience=patience, progress=progress, on_wait=on_wait,
        )  # fmt: skip
        with repeatable_as(upload.id):
            batch = self._found(upload.id)
        batch.upload = upload
        return batch

    def enqueue_batch(
        self,
        lines: Lines,
        id: str | None = None,  # noqa: A002
        *,
        labels: Mapping[str, str] | None = None,
        priority: str | None = None,
        weight: int | None = None,
        max_cost: Decimal | str | None = None,
        on_error: str | None = None,
        key: str | None = None,
        folder: Path | None = None,
        patience: float = PATIENCE,
        progress: Progress | None = None,
        on_wait: OnWait | None = None,
    ) -> BatchAccepted:
        """Enqueue many jobs: a Path or a binary file of NDJSON, or requests (mappings, or lines of JSON).

        They may be any number, and are read as they are sent, in parts that are kept until they are answered: so a
        generator will do, and what breaks off is sent again. Without an `id` one is made here. Lines without
        `external_task_id` become the jobs `<id>.<line number>`, so the same lines again under the same id change
        nothing. Refused lines do not stop the others: look at `rejected` and `errors`; with `on_error="abort"` all are
        taken in, or none (UsageError or Invalid, with the refused `lines`). `key`: an Idempotency-Key, any text, in the
        place of an id. Both go out in one piece, out of a temporary file.

        Pictures may be a Path or bytes, as in `generate`; with `folder` also a file's name, relative to it. `max_cost`:
        US dollars that all jobs of the batch may cost. `weight` (1 to 100) is its share against other batches.

        `patience`: seconds to wait where the service takes nothing in for the moment or, once it has taken something,
        is away; `on_wait` is told the error and the seconds before each wait. `progress` is told what has been taken
        in so far.
        """
        if key is not None and (id is not None or not key.isprintable()):
            raise UsageError("A key is printable text, and stands instead of an id.")
        batch = new_id() if id is None else id
        options = present(
            id=None if key is not None else batch,
            on_error=on_error,
            label=label_params(labels),
            priority=priority,
            weight=weight,
            max_cost=None if max_cost is None else str(max_cost),
        )
        steady = Steady(patience, self._clock, self._sleep, on_wait)
        upload = Upload(
            self._transport, steady, self._pictures.reference, batch, options,
            folder=folder, clock=self._clock, progress=progress,
        )  # fmt: skip
        with opened(lines) as numbered:
            if key is not None:
                return upload.whole(numbered, key)
            with repeatable_as(batch):
                return upload.whole(numbered, None) if on_error == "abort" else upload.in_parts(numbered)

    def batches(
        self,
        limit: int | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Iterator[Batch]:
        """Batches, newest first, page by page as you iterate; at most `limit` in all."""
        params = present(
            label=label_params(labels), created_after=moment(created_after), created_before=moment(created_before)
        )
        return (read_batch(view, self) for view in self._listed("/v1/batches", "batches", params, limit))

    def pause(self, batch: str | Batch) -> BatchChanged:
        """Submit no more of the batch, from now on; what the provider has begun goes on. Raises NotFound."""
        return self._change(batch, "pause")

    def resume(self, batch: str | Batch, max_cost: Decimal | str | None = None) -> BatchChanged:
        """Let a paused batch go on; `max_cost` (US dollars) raises what it may cost in all. Raises NotFound."""
        return self._change(batch, "resume", present(max_cost=None if max_cost is None else str(max_cost)))

    def cancel_batch(self, batch: str | Batch) -> BatchChanged:
        """Give up on all unfinished jobs of the batch; what the provider has begun may still cost. Raises NotFound."""
        return self._change(batch, "cancel")

    def retry_batch(
        self,
        batch: str | Batch,
        codes: Iterable[str] = (),
        statuses: Iterable[Status | str] = (),
        *,
        dry_run: bool = False,
    ) -> BatchChanged:
        """Try the failed jobs of the batch once more, or only those that failed with one of these error `codes`.

        `statuses` names others than the failed ones: cancelled, expired. `dry_run` only counts. Raises NotFound;
        Conflict while another change of the batch is under way. Not repeated by itself: after ServiceUnavailable look
        at the batch first.
        """
        params = present(code=list(codes), status=[str(each) for each in statuses], dry_run="true" if dry_run else None)
        return self._change(batch, "retry", params)

    def results(self, batch: str | Batch, statuses: Iterable[Status | str] = ()) -> Iterator[Job]:
        """All jobs of the batch as they are now, in input order, or those in these `statuses`; streamed.

        (`Batch.results` gives them as they end.) Use it up, or close it (`contextlib.closing`) to free its connection.
        Raises NotFound.
        """
        params = present(status=[str(each) for each in statuses])
        for view in self._transport.lines(f"/v1/batches/{part(id_of(batch))}/results", params):
            yield read_job(view, self)

    def failures(self, batch: str | Batch) -> Iterator[Job]:
        """The failed jobs of the batch so far, in input order, streamed. Raises NotFound."""
        for view in self._transport.lines(f"/v1/batches/{part(id_of(batch))}/errors"):
            yield read_job(view, self)

    def wait(
        self,
        batch: str | Batch,
        progress: Callable[[Batch], None] | bool = False,  # noqa: FBT001, FBT002 -- `progress=True` reads as it is meant
        timeout: float | None = None,
        every: float | None = None,
        *,
        patience: float = PATIENCE,
        on_wait: OnWait | None = None,
    ) -> Batch:
        """The batch once all its jobs are final. `progress`: True shows it on stderr; or called at each change.

        `every`: look every so many seconds instead of listening to the service's events. `patience`: seconds to wait
        for a service that has gone away. Raises NotFound; StillRunning when `timeout` seconds are over first (the
        batch goes on).
        """
        show = Meter() if progress is True else progress or (lambda _: None)
        for seen in self._changes(id_of(batch), timeout, every, Steady(patience, self._clock, self._sleep, on_wait)):
            show(seen)
            if seen.done:
                return seen
        raise AssertionError  # it ends when the batch is done, or raises

    def finished(
        self,
        batch: str | Batch,
        timeout: float | None = None,
        *,
        patience: float = PATIENCE,
        on_wait: OnWait | None = None,
    ) -> Iterator[Job]:
        """The jobs of the batch as they end: see `Batch.results`. `patience` as in `wait`."""
        id_ = id_of(batch)
        steady = Steady(patience, self._clock, self._sleep, on_wait)
        end = None if timeout is None else self._clock() + timeout

        def fetch(cursor: str | None) -> tuple[list[Job], str | None]:
            params = present(batch=id_, limit=PAGE, cursor=cursor)
            page = steady(lambda: self._transport.get("/v1/jobs", params))
            following = page.get("cursor") if isinstance(page, Mapping) else None
            return [read_job(view, self) for view in read_list(page, "jobs")], following

        ended = Ended(fetch)
        searched_at = -1  # so many had ended
        while True:
            left = None if end is None else max(0.0, end - self._clock())
            with closing(iter(self._changes(id_, left, None, steady))) as changes:
                seen = next(each for each in changes if each.done or each.finished != searched_at)
            searched_at = seen.finished
            yield from ended.search(seen.finished, everywhere=seen.done)
            if seen.done:
                return
            if end is not None and self._clock() >= end:
                raise StillRunning(f"Batch {id_}: {ended.found} jobs ended in {timeout} s. It goes on: look later.")
            self._sleep(PAUSE)

    def _found(self, id_: str) -> Batch:
        try:
            return read_batch(self._transport.get(f"/v1/batches/{part(id_)}"), self)
        except NotFound as error:
            if "/" in id_ or "\\" in id_ or id_.endswith((".jsonl", ".ndjson", ".json")):
                raise UsageError(f"There is no batch {id_}; to send a file give it as a pathlib.Path.") from error
            raise

    def _changes(self, id_: str, timeout: float | None, every: float | None, steady: Steady) -> Changes:
        path = f"/v1/batches/{part(id_)}/events"
        return Changes(
            self._transport, path, lambda: self._found(id_), steady, self._clock, self._sleep, timeout, every
        )

    def _change(self, batch: str | Batch, action: str, params: Query | None = None) -> BatchChanged:
        return read_changed(self._transport.post(f"/v1/batches/{part(id_of(batch))}/{action}", params=params))
