# Written by `make client`, from asynchronous/batches.py. Do not edit.
"""The client's calls that find batches, and read or await their jobs."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing, nullcontext
from datetime import datetime
from decimal import Decimal
from typing import overload

from boomerang_client.arguments import (
    Query,
    id_of,
    label_params,
    path_segment,
    query,
    to_iso,
)
from boomerang_client.batch_actions import BatchActions, OnWait
from boomerang_client.choices import BatchState, FailureClass, Include, JobState, OnError, Priority
from boomerang_client.connection import PAGE, try_spellings
from boomerang_client.errors import NotFound, StillRunning, UsageError
from boomerang_client.execution import Lines
from boomerang_client.following import PAUSE, BatchChanges, EndedJobs
from boomerang_client.ids import spellings
from boomerang_client.image_folders import Folders
from boomerang_client.parsing.values import read_list
from boomerang_client.progress_line import show_on_stderr
from boomerang_client.record_fields import Status, update
from boomerang_client.records import Batch, Job, read_batch, read_job
from boomerang_client.retrying import PATIENCE, PatientCaller
from boomerang_client.upload_parts import Progress, naming_batch


class Batches(BatchActions):
    """Calls that find batches, and read or await their jobs, beside those that change them."""

    @overload
    def batch(self, lines: str) -> Batch: ...
    @overload
    def batch(
        self,
        lines: Lines,
        id: str | None = ...,
        *,
        labels: Mapping[str, str] | None = ...,
        priority: Priority | None = ...,
        weight: int | None = ...,
        max_cost: Decimal | str | None = ...,
        paused: bool = ...,
        pilot: int | None = ...,
        callback_url: str | None = ...,
        on_error: OnError | None = ...,
        key: str | None = ...,
        folder: Folders | None = ...,
        patience: float = ...,
        progress: Progress | None = ...,
        on_wait: OnWait | None = ...,
    ) -> Batch: ...
    def batch(
        self,
        lines: Lines | str,
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
    ) -> Batch:
        """Enqueue many jobs and return their batch, or return the existing batch with this id (a text).

        See `enqueue_batch` for the parameters. `Batch.upload` is the outcome of the upload. Raises NotFound for an id
        without a batch.
        """
        if isinstance(lines, str):
            return self._get_batch(lines)
        upload = self.enqueue_batch(
            lines, id, labels=labels, priority=priority, weight=weight, max_cost=max_cost, paused=paused, pilot=pilot,
            callback_url=callback_url, on_error=on_error, key=key, folder=folder, patience=patience, progress=progress,
            on_wait=on_wait,
        )  # fmt: skip
        with naming_batch(upload.id, upload.accepted + upload.known):
            batch = self._get_batch(upload.id)
        batch.upload = upload
        return batch

    def batches(
        self,
        limit: int | None = None,
        *,
        status: BatchState | None = None,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        producer: str | None = None,
    ) -> Generator[Batch, None]:
        """Yield batches, newest first, at most `limit`.

        `status` is "running", "paused" or "done". `producer` limits an administrator's list to one. The iterator
        requests one page at a time.
        """
        params = query(
            status=status,
            label=label_params(labels),
            created_after=to_iso(created_after),
            created_before=to_iso(created_before),
            producer=producer,
        )
        for view in self._list("/v1/batches", "batches", params, limit):
            yield read_batch(view, self)

    def results(
        self,
        batch: str | Batch,
        statuses: Iterable[Status | JobState] = (),
        *,
        classes: Iterable[FailureClass] = (),
        include: Iterable[Include] = (),
    ) -> Generator[Job, None]:
        """Yield all jobs of the batch in their current state, in input order, or only those in these `statuses`.

        `classes`: only failed jobs of these classes of failure (`Job.failure`). `include` is as in `job`.
        (`Batch.results` yields them as they end.) The answer is streamed: read it to its end, or close the iterator
        (`contextlib.closing`) to free its connection. Raises NotFound.
        """
        params = query(status=[str(each) for each in statuses], include=list(include))
        params |= {"class": list(classes)} if classes else {}
        return self._stream(batch, "results", params)

    def failures(self, batch: str | Batch) -> Generator[Job, None]:
        """Yield the jobs of the batch that have failed so far, in input order. Streamed. Raises NotFound."""
        return self._stream(batch, "errors", {})

    def wait(
        self,
        batch: str | Batch,
        progress: Callable[[Batch], None] | bool = False,  # noqa: FBT001, FBT002 -- `progress=True` is clear
        timeout: float | None = None,
        every: float | None = None,
        *,
        patience: float = PATIENCE,
        on_wait: OnWait | None = None,
    ) -> Batch:
        """Wait until all jobs of the batch have ended, and return it.

        `progress=True` shows the progress on stderr; a function is called with the batch at each change. `every` polls
        at this interval (seconds) instead of listening to the service's events. `patience` is the number of seconds to
        wait for a service that has become unreachable. Raises NotFound; StillRunning when `timeout` seconds are over
        first (the batch continues).
        """
        caller = PatientCaller(patience, self._clock, self._sleep, on_wait)
        given = nullcontext(progress) if callable(progress) else nullcontext(lambda _: None)
        showing = show_on_stderr() if progress is True else given
        with showing as show:
            changes = self._changes(id_of(batch), timeout, every, caller)
            with closing(changes.states()) as states:
                for seen in states:
                    show(seen)
                    if seen.done:
                        return seen
        raise AssertionError  # the loop ends with a batch that is done, or with an error

    def finished(
        self,
        batch: str | Batch,
        timeout: float | None = None,
        *,
        include: Iterable[Include] = (),
        patience: float = PATIENCE,
        on_wait: OnWait | None = None,
    ) -> Generator[Job, None]:
        """Yield each job of the batch once, when it has ended. See `Batch.results`; `patience` is as in `wait`.

        A `batch` that is a record is brought up to date on the way. `include` is as in `job`.
        """
        included = list(include)
        id_ = id_of(batch)
        caller = PatientCaller(patience, self._clock, self._sleep, on_wait)
        end = None if timeout is None else self._clock() + timeout

        def fetch(cursor: str | None) -> tuple[list[Job], str | None]:
            params = query(batch=id_, limit=PAGE, cursor=cursor, include=included)
            page = caller(lambda: self._transport.get("/v1/jobs", params))
            next_cursor = page.get("cursor") if isinstance(page, Mapping) else None
            return [read_job(view, self) for view in read_list(page, "jobs")], next_cursor

        ended = EndedJobs(fetch)
        searched_at = -1  # jobs that had ended at the last search
        while True:
            left = None if end is None else max(0.0, end - self._clock())
            with closing(self._changes(id_, left, None, caller).states()) as states:
                for seen in states:
                    if seen.done or seen.finished != searched_at:
                        break
            id_, searched_at = seen.id, seen.finished
            if isinstance(batch, Batch):
                update(batch, seen)
            yield from ended.search(seen.finished, everywhere=seen.done)
            if seen.done:
                return
            if end is not None and self._clock() >= end:
                raise StillRunning(f"Batch {id_}: {ended.found} jobs ended in {timeout} s. It continues: check later.")
            self._sleep(PAUSE)

    def _get_batch(self, id_: str) -> Batch:
        try:
            return read_batch(try_spellings(id_, lambda each: self._transport.get(f"/v1/batches/{each}")), self)
        except NotFound as error:
            if "/" in id_ or "\\" in id_ or id_.endswith((".jsonl", ".ndjson", ".json")):
                raise UsageError(
                    f"There is no batch {id_}. To send a file, pass it as a pathlib.Path (or: boomerang enqueue FILE)."
                ) from error
            raise

    def _stream(self, batch: str | Batch, what: str, params: Query) -> Generator[Job, None]:
        first, *others = (f"/v1/batches/{path_segment(each)}/{what}" for each in spellings(id_of(batch)))
        try:
            with closing(self._transport.lines(first, params)) as views:
                for view in views:
                    yield read_job(view, self)
        except NotFound:  # before the first line
            if not others:
                raise
            with closing(self._transport.lines(others[0], params)) as views:
                for view in views:
                    yield read_job(view, self)

    def _changes(self, id_: str, timeout: float | None, every: float | None, caller: PatientCaller) -> BatchChanges:
        return BatchChanges(
            self._transport, lambda: self._get_batch(id_), caller, self._clock, self._sleep, timeout, every
        )
