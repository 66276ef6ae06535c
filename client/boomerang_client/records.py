# Written by `make client`, from asynchronous/records.py. Do not edit.
"""Records for jobs and batches. `raw` keeps the whole answer, including fields of newer services.

A Job and a Batch hold the state that the service returned last. `refresh` and `wait` update them in place.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from boomerang_client.choices import FailureClass, JobState
from boomerang_client.parsing.batches import parse_batch
from boomerang_client.parsing.jobs import parse_job
from boomerang_client.record_fields import BatchFields, JobFields, Status, required, update
from boomerang_client.responses import BatchChanged, Saved


class JobService(Protocol):
    """The calls that a job makes through its client."""

    def job(self, id: str) -> "Job": ...  # noqa: A002
    def wait_for_job(self, job: "Job", timeout: float | None, progress: Callable[["Job"], None] | None) -> "Job": ...
    def save_job(self, job: "Job", folder: Path | str) -> list[Path]: ...


class BatchService(Protocol):
    """The calls that a batch makes through its client."""

    def batch(self, lines: str, /) -> "Batch": ...
    def wait(
        self,
        batch: "Batch",
        progress: Callable[["Batch"], None] | bool,  # noqa: FBT001
        timeout: float | None,
    ) -> "Batch": ...
    def pause(self, batch: "Batch") -> BatchChanged: ...
    def approve(self, batch: "Batch") -> BatchChanged: ...
    def resume(self, batch: "Batch", max_cost: Decimal | str | None) -> BatchChanged: ...
    def cancel_batch(self, batch: "Batch") -> BatchChanged: ...
    def retry_batch(
        self,
        batch: "Batch",
        codes: Iterable[str],
        statuses: Iterable[Status | JobState],
        *,
        classes: Iterable[FailureClass],
        dry_run: bool,
    ) -> BatchChanged: ...
    def finished(self, batch: "Batch", timeout: float | None) -> Generator["Job", None]: ...
    def failures(self, batch: "Batch") -> Generator["Job", None]: ...
    def save(self, jobs: Iterable["Job"], folder: Path | str) -> Generator[Saved, None]: ...


@dataclass(slots=True, kw_only=True)
class Job(JobFields):
    __doc__ = JobFields.__doc__

    service: JobService | None = field(default=None, repr=False, compare=False)

    def refresh(self) -> "Job":
        """Update the job to its current state. Raises what `Client.job` raises."""
        return update(self, required(self.service).job(self.id))

    def wait(self, timeout: float | None = None, progress: Callable[["Job"], None] | None = None) -> "Job":
        """Wait until the job has ended, whatever its end, and return it.

        `timeout` is in seconds; None waits as long as necessary. `progress` is called with the job about every ten
        seconds until it has ended; `reason` says why it waits. Raises StillRunning when the time is over first (the
        job continues), and what `Client.job` raises.
        """
        if self.status.final:
            return self
        return update(self, required(self.service).wait_for_job(self, timeout, progress))

    def save(self, folder: Path | str = ".") -> list[Path]:
        """Save the job's images in a folder and return their files, `<id>-<number>.<kind>`.

        Waits until the job has ended. Files that exist are not downloaded again. Raises NoOutput when the job ended
        without images, and NotSaved when one cannot be downloaded or written.
        """
        return required(self.service).save_job(self.wait(), folder)


@dataclass(slots=True, kw_only=True)
class Batch(BatchFields):
    __doc__ = BatchFields.__doc__

    service: BatchService | None = field(default=None, repr=False, compare=False)

    def refresh(self) -> "Batch":
        """Update the batch to its current state. Raises what `Client.batch` raises."""
        return update(self, required(self.service).batch(self.id))

    def wait(
        self,
        progress: Callable[["Batch"], None] | bool = False,  # noqa: FBT001, FBT002 -- `progress=True` is clear
        timeout: float | None = None,
    ) -> "Batch":
        """Wait until all jobs of the batch have ended, and return it.

        `progress=True` shows the progress on stderr; a function is called with the batch at each change. Raises
        StillRunning when `timeout` seconds are over first (the batch continues).
        """
        return update(self, required(self.service).wait(self, progress, timeout))

    def results(self, timeout: float | None = None) -> Generator[Job, None]:
        """Yield each job of the batch once, when it has ended, whatever its end.

        Jobs that have ended already come first. The batch is brought up to date on the way. You may leave the iterator
        early; the next call starts from the beginning. Raises StillRunning when `timeout` seconds are over first.
        """
        return required(self.service).finished(self, timeout)

    def failures(self) -> Generator[Job, None]:
        """Yield the jobs that have failed so far, in input order. `Job.error` says why."""
        return required(self.service).failures(self)

    def save(self, folder: Path | str = ".", progress: Callable[[Saved], None] | None = None) -> list[Saved]:
        """Download the images of the jobs as they end, several at once.

        Files that exist are not downloaded again, so you may repeat the call. An image that cannot be downloaded does
        not stop the others: check `error` of each Saved. `progress` is called with each Saved. Raises NotSaved when the
        folder cannot be created, and when the disk is full: what has been saved stays, and the call may be repeated.
        """
        saved = []
        with (
            closing(self.results()) as jobs,
            closing(required(self.service).save(jobs, folder)) as files,
        ):
            for one in files:
                saved.append(one)
                if progress is not None:
                    progress(one)
        return saved

    def pause(self) -> BatchChanged:
        """Stop submitting jobs of the batch. Jobs that the provider has begun continue."""
        return required(self.service).pause(self)

    def resume(self, max_cost: Decimal | str | None = None) -> BatchChanged:
        """Continue a paused batch. `max_cost` (US dollars) is what the whole batch may cost."""
        return required(self.service).resume(self, max_cost)

    def approve(self) -> BatchChanged:
        """Approve a batch that waits for it: its jobs begin."""
        return required(self.service).approve(self)

    def cancel(self) -> BatchChanged:
        """Cancel all unfinished jobs of the batch. Jobs that the provider has begun may still cost money."""
        return required(self.service).cancel_batch(self)

    def retry(
        self,
        codes: Iterable[str] = (),
        statuses: Iterable[Status | JobState] = (),
        *,
        classes: Iterable[FailureClass] = (),
        dry_run: bool = False,
    ) -> BatchChanged:
        """Retry the failed jobs of the batch. See `Client.retry_batch`."""
        return required(self.service).retry_batch(self, codes, statuses, classes=classes, dry_run=dry_run)


def read_job(data: object, service: JobService | None = None) -> Job:
    """Parse a job. Raises UnexpectedAnswer."""
    return Job(**parse_job(data), service=service)


def read_batch(data: object, service: BatchService | None = None) -> Batch:
    """Parse a batch. Raises UnexpectedAnswer."""
    return Batch(**parse_batch(data), service=service)
