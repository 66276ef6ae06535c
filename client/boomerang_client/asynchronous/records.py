"""Records for jobs and batches. `raw` keeps the whole answer, including fields of newer services.

A Job and a Batch hold the state that the service returned last. `refresh` and `wait` update them in place.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from boomerang_client.choices import FailureClass, JobState
from boomerang_client.parsing.batches import parse_batch
from boomerang_client.parsing.jobs import parse_job
from boomerang_client.record_fields import BatchFields, JobFields, Status, required, update
from boomerang_client.responses import BatchChanged, Saved


class AsyncJobService(Protocol):
    """The calls that a job makes through its client."""

    async def job(self, id: str) -> "AsyncJob": ...  # noqa: A002
    async def wait_for_job(
        self, job: "AsyncJob", timeout: float | None, progress: Callable[["AsyncJob"], None] | None
    ) -> "AsyncJob": ...
    async def save_job(self, job: "AsyncJob", folder: Path | str) -> list[Path]: ...


class AsyncBatchService(Protocol):
    """The calls that a batch makes through its client."""

    async def batch(self, lines: str, /) -> "AsyncBatch": ...
    async def wait(
        self,
        batch: "AsyncBatch",
        progress: Callable[["AsyncBatch"], None] | bool,  # noqa: FBT001
        timeout: float | None,
    ) -> "AsyncBatch": ...
    async def pause(self, batch: "AsyncBatch") -> BatchChanged: ...
    async def approve(self, batch: "AsyncBatch") -> BatchChanged: ...
    async def resume(self, batch: "AsyncBatch", max_cost: Decimal | str | None) -> BatchChanged: ...
    async def cancel_batch(self, batch: "AsyncBatch") -> BatchChanged: ...
    async def retry_batch(
        self,
        batch: "AsyncBatch",
        codes: Iterable[str],
        statuses: Iterable[Status | JobState],
        *,
        classes: Iterable[FailureClass],
        dry_run: bool,
    ) -> BatchChanged: ...
    def finished(self, batch: "AsyncBatch", timeout: float | None) -> AsyncGenerator["AsyncJob", None]: ...
    def failures(self, batch: "AsyncBatch") -> AsyncGenerator["AsyncJob", None]: ...
    def save(self, jobs: AsyncIterable["AsyncJob"], folder: Path | str) -> AsyncGenerator[Saved, None]: ...


@dataclass(slots=True, kw_only=True)
class AsyncJob(JobFields):
    __doc__ = JobFields.__doc__

    service: AsyncJobService | None = field(default=None, repr=False, compare=False)

    async def refresh(self) -> "AsyncJob":
        """Update the job to its current state. Raises what `Client.job` raises."""
        return update(self, await required(self.service).job(self.id))

    async def wait(
        self, timeout: float | None = None, progress: Callable[["AsyncJob"], None] | None = None
    ) -> "AsyncJob":
        """Wait until the job has ended, whatever its end, and return it.

        `timeout` is in seconds; None waits as long as necessary. `progress` is called with the job about every ten
        seconds until it has ended; `reason` says why it waits. Raises StillRunning when the time is over first (the
        job continues), and what `Client.job` raises.
        """
        if self.status.final:
            return self
        return update(self, await required(self.service).wait_for_job(self, timeout, progress))

    async def save(self, folder: Path | str = ".") -> list[Path]:
        """Save the job's images in a folder and return their files, `<id>-<number>.<kind>`.

        Waits until the job has ended. Files that exist are not downloaded again. Raises NoOutput when the job ended
        without images, and NotSaved when one cannot be downloaded or written.
        """
        return await required(self.service).save_job(await self.wait(), folder)


@dataclass(slots=True, kw_only=True)
class AsyncBatch(BatchFields):
    __doc__ = BatchFields.__doc__

    service: AsyncBatchService | None = field(default=None, repr=False, compare=False)

    async def refresh(self) -> "AsyncBatch":
        """Update the batch to its current state. Raises what `Client.batch` raises."""
        return update(self, await required(self.service).batch(self.id))

    async def wait(
        self,
        progress: Callable[["AsyncBatch"], None] | bool = False,  # noqa: FBT001, FBT002 -- `progress=True` is clear
        timeout: float | None = None,
    ) -> "AsyncBatch":
        """Wait until all jobs of the batch have ended, and return it.

        `progress=True` shows the progress on stderr; a function is called with the batch at each change. Raises
        StillRunning when `timeout` seconds are over first (the batch continues).
        """
        return update(self, await required(self.service).wait(self, progress, timeout))

    def results(self, timeout: float | None = None) -> AsyncGenerator[AsyncJob, None]:
        """Yield each job of the batch once, when it has ended, whatever its end.

        Jobs that have ended already come first. The batch is brought up to date on the way. You may leave the iterator
        early; the next call starts from the beginning. Raises StillRunning when `timeout` seconds are over first.
        """
        return required(self.service).finished(self, timeout)

    def failures(self) -> AsyncGenerator[AsyncJob, None]:
        """Yield the jobs that have failed so far, in input order. `Job.error` says why."""
        return required(self.service).failures(self)

    async def save(self, folder: Path | str = ".", progress: Callable[[Saved], None] | None = None) -> list[Saved]:
        """Download the images of the jobs as they end, several at once.

        Files that exist are not downloaded again, so you may repeat the call. An image that cannot be downloaded does
        not stop the others: check `error` of each Saved. `progress` is called with each Saved. Raises NotSaved when the
        folder cannot be created, and when the disk is full: what has been saved stays, and the call may be repeated.
        """
        saved = []
        async with (
            aclosing(self.results()) as jobs,
            aclosing(required(self.service).save(jobs, folder)) as files,
        ):
            async for one in files:
                saved.append(one)
                if progress is not None:
                    progress(one)
        return saved

    async def pause(self) -> BatchChanged:
        """Stop submitting jobs of the batch. Jobs that the provider has begun continue."""
        return await required(self.service).pause(self)

    async def resume(self, max_cost: Decimal | str | None = None) -> BatchChanged:
        """Continue a paused batch. `max_cost` (US dollars) is what the whole batch may cost."""
        return await required(self.service).resume(self, max_cost)

    async def approve(self) -> BatchChanged:
        """Approve a batch that waits for it: its jobs begin."""
        return await required(self.service).approve(self)

    async def cancel(self) -> BatchChanged:
        """Cancel all unfinished jobs of the batch. Jobs that the provider has begun may still cost money."""
        return await required(self.service).cancel_batch(self)

    async def retry(
        self,
        codes: Iterable[str] = (),
        statuses: Iterable[Status | JobState] = (),
        *,
        classes: Iterable[FailureClass] = (),
        dry_run: bool = False,
    ) -> BatchChanged:
        """Retry the failed jobs of the batch. See `Client.retry_batch`."""
        return await required(self.service).retry_batch(self, codes, statuses, classes=classes, dry_run=dry_run)


def read_job(data: object, service: AsyncJobService | None = None) -> AsyncJob:
    """Parse a job. Raises UnexpectedAnswer."""
    return AsyncJob(**parse_job(data), service=service)


def read_batch(data: object, service: AsyncBatchService | None = None) -> AsyncBatch:
    """Parse a batch. Raises UnexpectedAnswer."""
    return AsyncBatch(**parse_batch(data), service=service)
