"""The client: one object per service and key."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from boomerang_client.bodies import Lines, Progress, body_of
from boomerang_client.errors import Conflict, ServiceUnavailable, StillRunning, TooBusy, UnexpectedAnswer, UsageError
from boomerang_client.ids import new_id
from boomerang_client.records import (
    Batch,
    BatchAccepted,
    BatchChanged,
    Job,
    Status,
    read_accepted,
    read_batch,
    read_changed,
    read_job,
)
from boomerang_client.transport import Transport

LONG_POLL_MAX = 60.0  # the service's limit of ?wait=
PAGE = 500  # the service's limit of ?limit=


class Client:
    """Boomerang over HTTP. Close it, or use it as a context manager.

    `url` and `key` default to the environment's BOOMERANG_URL and BOOMERANG_KEY. `timeout`: seconds to connect and to
    wait for (each part of) an answer. Calls cut off, or answered with 429, 502, 503 or 504, are repeated `retries`
    times with full jitter of up to `backoff` × 2^k seconds, honouring a Retry-After of up to a minute.

    Errors: see `boomerang_client.errors`; every method may raise ServiceUnavailable, UnexpectedAnswer and ApiError.
    For threads: one client each. For asyncio: `await asyncio.to_thread(client.enqueue, request)`.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        timeout: tuple[float, float] = (3.05, 65),
        *,
        retries: int = 4,
        backoff: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._transport = Transport(
            _setting("BOOMERANG_URL", url, environ),
            _setting("BOOMERANG_KEY", key, environ),
            timeout=timeout,
            retries=retries,
            backoff=backoff,
        )
        self._clock, self._sleep = clock, sleep

    def __repr__(self) -> str:
        return f"Client({self._transport.url!r})"

    def __enter__(self) -> "Client":  # noqa: PYI034 -- typing.Self came with 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # One job

    def enqueue(self, request: Mapping[str, Any]) -> Job:
        """Enqueue one job: `request` is the generation request as documented (`model`, `prompt`, …), plus `labels`.

        Without an `external_task_id` one is made here, so that the repeats of this call meet the same job. Raises
        Invalid; Conflict when the id belongs to another request. An error with a `repeat_id` leaves the outcome open.
        """
        named = dict(request)
        if named.get("external_task_id") is None:
            named["external_task_id"] = new_id()
        with _repeatable_as(str(named["external_task_id"])):
            return read_job(self._transport.post("/v1/jobs", named), self)

    def job(self, id: str, wait: float | None = None) -> Job:  # noqa: A002 -- the API's own word
        """The job; with `wait` (seconds, 60 at most) the service answers when it is final or the time is over.

        Raises NotFound.
        """
        params = None if wait is None else {"wait": round(min(max(wait, 0), self._long_poll), 3)}
        return read_job(self._transport.get(f"/v1/jobs/{_part(id)}", params), self)

    def jobs(
        self, status: Status | str | None = None, batch: str | None = None, limit: int | None = None
    ) -> Iterator[Job]:
        """Jobs in the service's order, page by page as you iterate; at most `limit` in all."""
        return islice(self._pages(status, batch, PAGE if limit is None else min(PAGE, max(limit, 1))), limit)

    def cancel(self, id: str) -> Job:  # noqa: A002
        """Give the job up; what the provider has begun may still cost. A cancelled job stays as it is.

        Raises NotFound; Conflict when the job has ended otherwise.
        """
        try:
            return read_job(self._transport.post(f"/v1/jobs/{_part(id)}/cancel"), self)
        except Conflict:
            # The repeat of a cancel whose answer was lost is refused; what it asked for has happened.
            job = self.job(id)
            if job.status is Status.CANCELLED:
                return job
            raise

    def retry(self, id: str) -> Job:  # noqa: A002
        """Try a job that ended without a result once more. Raises NotFound, Conflict (not allowed now).

        The one call that is not repeated by itself: after ServiceUnavailable look at the job (`Client.job`) first; if
        it is not final or its `attempt` has risen, the retry was taken in.
        """
        return read_job(self._transport.post(f"/v1/jobs/{_part(id)}/retry"), self)

    def wait_for_job(self, job: Job, timeout: float | None = None) -> Job:
        """See `Job.wait`."""
        end = None if timeout is None else self._clock() + timeout
        while True:
            began = self._clock()
            left = self._long_poll if end is None else max(end - began, 0)
            job = self.job(job.id, wait=left)
            if job.status.final:
                return job
            now = self._clock()
            if end is not None and now >= end:
                raise StillRunning(f"Job {job.id} is {job.status} after {timeout} s. It goes on: wait again, or later.")
            # A service that answers early (it restarts, or cannot wait) is not asked more than once a second.
            self._sleep(max(0, min(1 - (now - began), 1 if end is None else end - now)))

    # Batches

    def enqueue_batch(self, lines: Lines, id: str | None = None, progress: Progress | None = None) -> BatchAccepted:  # noqa: A002
        """Enqueue many jobs in one streamed request: a Path, a binary file, or requests (mappings, or lines of JSON).

        Without an `id` one is made here. Lines without `external_task_id` are named after the batch's id and their
        number, so sending the same lines again under the same id changes nothing. Refused lines do not stop the
        others: look at `rejected` and `errors`. `progress` is called with the bytes sent so far.

        A path, a seekable file or a collection is sent again from its start when the call is cut off. **A plain
        iterator cannot be**: the call is made once, and an error carries the `repeat_id` under which to send the same
        lines again.
        """
        batch = new_id() if id is None else id
        if isinstance(lines, Path):
            with lines.open("rb") as file:
                return self.enqueue_batch(file, batch, progress)
        with _repeatable_as(batch):
            return read_accepted(self._transport.upload("/v1/batches", body_of(lines, progress), {"id": batch}))

    def batch(self, id: str) -> Batch:  # noqa: A002
        """The batch: counts per state and cost so far. Raises NotFound."""
        return read_batch(self._transport.get(f"/v1/batches/{_part(id)}"))

    def pause(self, batch: str | Batch) -> BatchChanged:
        """Submit no more of the batch, from now on; what the provider has begun goes on. Raises NotFound."""
        return self._change(batch, "pause")

    def resume(self, batch: str | Batch) -> BatchChanged:
        """Let a paused batch go on. Raises NotFound."""
        return self._change(batch, "resume")

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
        params: dict[str, str | list[str]] = {"code": list(codes), "status": [str(each) for each in statuses]}
        if dry_run:
            params["dry_run"] = "true"
        return self._change(batch, "retry", params)

    def results(self, batch: str | Batch) -> Iterator[Job]:
        """All jobs of the batch in input order, whatever their state, streamed. Raises NotFound.

        Use it up, or close it (`contextlib.closing`) to free its connection.
        """
        id_ = batch.id if isinstance(batch, Batch) else batch
        for view in self._transport.lines(f"/v1/batches/{_part(id_)}/results"):
            yield read_job(view, self)

    def wait(
        self,
        batch: str | Batch,
        progress: Callable[[Batch], None] | None = None,
        timeout: float | None = None,
        every: float = 1.0,
    ) -> Batch:
        """The batch once all its jobs are final; `progress` is called after each look, one `every` so many seconds.

        Raises NotFound; StillRunning when `timeout` seconds are over first (the batch goes on).
        """
        id_ = batch.id if isinstance(batch, Batch) else batch
        end = None if timeout is None else self._clock() + timeout
        while True:
            seen = self.batch(id_)
            if progress is not None:
                progress(seen)
            if seen.done:
                return seen
            left = every if end is None else end - self._clock()
            if left <= 0:
                raise StillRunning(
                    f"Batch {id_}: {seen.finished} of {seen.accepted} jobs ended in {timeout} s. "
                    "It goes on: wait again or look later."
                )
            self._sleep(min(every, left))

    def _change(
        self, batch: str | Batch, action: str, params: Mapping[str, str | list[str]] | None = None
    ) -> BatchChanged:
        id_ = batch.id if isinstance(batch, Batch) else batch
        return read_changed(self._transport.post(f"/v1/batches/{_part(id_)}/{action}", params=params))

    @property
    def _long_poll(self) -> float:
        # The service must get to answer before our own read time-out ends the call.
        return max(0.0, min(LONG_POLL_MAX, self._transport.timeout[1] - 5))

    def _pages(self, status: Status | str | None, batch: str | None, size: int) -> Iterator[Job]:
        params: dict[str, str | int | float] = {"limit": size}
        params |= {name: str(value) for name, value in (("status", status), ("batch", batch)) if value is not None}
        while True:
            page = self._transport.get("/v1/jobs", params)
            if not isinstance(page, Mapping) or not isinstance(page.get("jobs"), list):
                raise UnexpectedAnswer("The answer is not a list of jobs. Check BOOMERANG_URL, then the versions.")
            for view in page["jobs"]:
                yield read_job(view, self)
            if page.get("cursor") is None:
                return
            params["cursor"] = str(page["cursor"])


@contextmanager
def _repeatable_as(id_: str) -> Iterator[None]:
    try:
        yield
    except (ServiceUnavailable, TooBusy, UnexpectedAnswer) as error:
        # One of the tries may have been taken in although the last one was not.
        error.repeat_id = id_
        raise


def _setting(name: str, given: str | None, environ: Mapping[str, str]) -> str:
    value = given if given is not None else environ.get(name, "")
    if not value.strip():
        raise UsageError(f"{name} is not set. Set it in the environment, or give it to the client.")
    return value


def _part(id_: str) -> str:
    # "." and ".." would be resolved as folders on the way.
    if id_ in {"", ".", ".."}:
        raise UsageError(f"{id_!r} is not an id.")
    return quote(id_, safe="")
