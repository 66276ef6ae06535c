"""The client's calls that enqueue and change batches."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from boomerang_client.arguments import (
    Query,
    attach_repeat_id,
    batch_options,
    id_of,
    query,
)
from boomerang_client.asynchronous.connection import try_spellings
from boomerang_client.asynchronous.execution import AsyncLines, open_lines
from boomerang_client.asynchronous.jobs import Jobs
from boomerang_client.asynchronous.records import AsyncBatch
from boomerang_client.asynchronous.retrying import PATIENCE, PatientCaller
from boomerang_client.asynchronous.uploading import Upload
from boomerang_client.choices import FailureClass, JobState, OnError, Priority
from boomerang_client.errors import UsageError
from boomerang_client.ids import new_id
from boomerang_client.image_folders import Folders
from boomerang_client.parsing.batches import read_changed
from boomerang_client.record_fields import Status
from boomerang_client.responses import BatchAccepted, BatchChanged
from boomerang_client.upload_parts import Progress

OnWait = Callable[[Exception, float], None]


class BatchActions(Jobs):
    """Calls that enqueue and change batches."""

    async def enqueue_batch(
        self,
        lines: AsyncLines,
        id: str | None = None,  # noqa: A002 -- the API's name
        *,
        labels: Mapping[str, str] | None = None,
        priority: Priority | None = None,
        weight: int | None = None,
        max_cost: Decimal | str | None = None,
        paused: bool = False,
        pilot: int | None = None,
        callback_url: str | None = None,
        on_error: OnError | None = None,
        key: str | None = None,
        folder: Folders | None = None,
        patience: float = PATIENCE,
        progress: Progress | None = None,
        on_wait: OnWait | None = None,
    ) -> BatchAccepted:
        """Enqueue many jobs. `lines` is a Path or a binary file of NDJSON, or any iterable of requests.

        A request is a mapping or a line of JSON. Lines are read while they are sent, in parts that are kept until the
        service has answered. A generator of any length works, and a part whose upload breaks is sent again.

        Without an `id` the client generates one. A line without an `external_task_id` becomes the job
        `<id>.<line number>`, so the same lines under the same id change nothing. `key` is an Idempotency-Key: any
        text, instead of an id.

        Refused lines do not stop the others: check `rejected` and `errors`. With `on_error="abort"` the service accepts
        all lines or none; a refused line raises UsageError or Invalid, whose `lines` lists all refused ones. With `key`
        or "abort" the lines are sent in one request, from a temporary file.

        Images may be a Path or bytes, as in `generate`; with `folder` also the name of a file below it, or
        below one of several folders.
        `max_cost` is what all jobs of the batch together may cost, in US dollars. `weight` (1 to 100) is the batch's
        share against other batches.

        With `paused` no job begins before you approve the batch. With `pilot`, so many jobs, spread over the batch,
        begin at once, and the others once you approve it. The lines are then sent in one request.

        `callback_url` is notified when all jobs of the batch have ended or are saved, or the batch is paused. Lines
        sent in parts may all end before the next part: then it is notified of each of these ends.

        `patience` is the number of seconds to wait while the service accepts no work. After the first accepted part it
        also applies while the service is unreachable. `on_wait` is called with the error and the number of seconds
        before each wait, `progress` with the outcome so far.
        """
        if key is not None and (id is not None or not key.isprintable()):
            raise UsageError(f"The key {key!r} cannot be used. Pass printable text as `key`, and no `id` beside it.")
        batch = new_id() if id is None else id
        options = batch_options(
            None if key is not None else batch, labels=labels, priority=priority, weight=weight, max_cost=max_cost,
            on_error=on_error, paused=paused, pilot=pilot, callback_url=callback_url,
        )  # fmt: skip
        caller = PatientCaller(patience, self._clock, self._sleep, on_wait)
        upload = Upload(
            self._transport, caller, self._images.reference, batch, options,
            folder=folder, clock=self._clock, progress=progress,
        )  # fmt: skip
        async with open_lines(lines) as numbered:
            if key is not None:
                return await upload.send_at_once(numbered, key)
            with attach_repeat_id(batch):
                whole = on_error == "abort" or pilot is not None
                return await (upload.send_at_once(numbered) if whole else upload.send_in_parts(numbered))

    async def pause(self, batch: str | AsyncBatch) -> BatchChanged:
        """Stop submitting jobs of the batch. Jobs that the provider has begun continue. Raises NotFound."""
        return await self._change(batch, "pause")

    async def resume(self, batch: str | AsyncBatch, max_cost: Decimal | str | None = None) -> BatchChanged:
        """Continue a paused batch. `max_cost` (US dollars) is what the whole batch may cost. Raises NotFound."""
        return await self._change(batch, "resume", query(max_cost=None if max_cost is None else str(max_cost)))

    async def approve(self, batch: str | AsyncBatch) -> BatchChanged:
        """Approve a batch that waits for it, because it came with `paused` or `pilot`. Raises NotFound."""
        return await self._change(batch, "approve")

    async def cancel_batch(self, batch: str | AsyncBatch) -> BatchChanged:
        """Cancel all unfinished jobs of the batch. Jobs that the provider has begun may still cost. Raises NotFound."""
        return await self._change(batch, "cancel")

    async def retry_batch(
        self,
        batch: str | AsyncBatch,
        codes: Iterable[str] = (),
        statuses: Iterable[Status | JobState] = (),
        *,
        classes: Iterable[FailureClass] = (),
        dry_run: bool = False,
    ) -> BatchChanged:
        """Retry the failed jobs of the batch, or only those that failed with one of these error `codes`.

        `classes` limits them to these classes of failure (`Job.failure`). `statuses` selects other jobs than the
        failed ones: cancelled, expired. `dry_run` only counts them. The client
        does not repeat this call by itself: after ServiceUnavailable check the batch first. Raises NotFound; Conflict
        while another change of the batch is in progress.
        """
        params = query(code=list(codes), status=[str(each) for each in statuses], dry_run="true" if dry_run else None)
        params |= {"class": list(classes)} if classes else {}
        return await self._change(batch, "retry", params)

    async def _change(self, batch: str | AsyncBatch, action: str, params: Query | None = None) -> BatchChanged:
        post = self._transport.post
        return read_changed(
            await try_spellings(id_of(batch), lambda each: post(f"/v1/batches/{each}/{action}", params=params))
        )
