"""Follow a batch: its changes, and its jobs as they end."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote

from boomerang_client.asynchronous.execution import Call, CallByCursor, Sleep
from boomerang_client.asynchronous.records import AsyncBatch, AsyncJob, read_batch
from boomerang_client.asynchronous.retrying import PatientCaller
from boomerang_client.asynchronous.transport import Transport
from boomerang_client.errors import ServiceUnavailable, StillRunning, TooBusy
from boomerang_client.record_fields import Status

#: Seconds between two requests when no events are available, and between two searches for ended jobs.
PAUSE = 1.0
#: This many seconds before a time-out, polling replaces events: an event stream may be silent for this long.
POLL_BEFORE_TIMEOUT = 20.0

#: Cursor → a page of a batch's jobs in input order, and the cursor of the next page.
FetchPage: TypeAlias = CallByCursor[tuple[list[AsyncJob], str | None]]


@dataclass
class BatchChanges:
    """Yields a batch (`states`) now and again at each change, until it is done.

    It listens to the service's events, and requests the batch itself before each stream. `every` polls at this
    interval (seconds) instead. Raises StillRunning when `timeout` seconds are over.
    """

    transport: Transport
    get_batch: Call[AsyncBatch]
    caller: PatientCaller
    clock: Callable[[], float]
    sleep: Sleep
    timeout: float | None = None
    every: float | None = None

    def __post_init__(self) -> None:
        self._end = None if self.timeout is None else self.clock() + self.timeout

    async def states(self) -> AsyncGenerator[AsyncBatch, None]:
        """Yield the batch now and at each change."""
        async with aclosing(self._states()) as states:
            async for batch in states:
                yield batch
                if batch.done:
                    return
                if self._seconds_left <= 0:
                    why = f" ({batch.reason})" if batch.reason else ""
                    raise StillRunning(
                        f"Batch {batch.id}: {batch.finished} of {batch.accepted} jobs ended in {self.timeout} s{why}. "
                        "It continues: wait again or check later."
                    )

    @property
    def _seconds_left(self) -> float:
        return float("inf") if self._end is None else self._end - self.clock()

    async def _states(self) -> AsyncGenerator[AsyncBatch, None]:
        while True:
            batch = await self.caller(self.get_batch)
            yield batch
            if self.every is None and self._seconds_left > POLL_BEFORE_TIMEOUT:
                async with aclosing(self._events(batch.id)) as events:
                    async for batch in events:
                        yield batch
            await self.sleep(max(0.0, min(self.every or PAUSE, self._seconds_left)))

    async def _events(self, batch_id: str) -> AsyncGenerator[AsyncBatch, None]:
        try:
            async with aclosing(self.transport.events(f"/v1/batches/{quote(batch_id, safe='')}/events")) as events:
                async for data in events:
                    if data is not None:
                        yield read_batch(data)
                    if self._seconds_left <= POLL_BEFORE_TIMEOUT:
                        return
        except (TooBusy, ServiceUnavailable):
            return  # no stream is available, or it broke: the next request returns the batch


@dataclass
class _Page:
    """A page of jobs. `known`: the ids seen on it; `waiting`: those that have not ended; `next`: the next cursor."""

    cursor: str | None
    known: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    next: str | None = None


@dataclass
class EndedJobs:
    """Finds the jobs of a batch as they end, each once, page by page.

    A page is forgotten and never read again once all its jobs have ended. So memory and requests grow with the number
    of unfinished jobs, not with the size of the batch.
    """

    fetch: FetchPage
    found: int = 0
    _open: list[_Page] = field(default_factory=lambda: [_Page(None)])

    async def search(self, finished: int, *, everywhere: bool) -> AsyncGenerator[AsyncJob, None]:
        """Yield the jobs that have ended since the last search. `finished` is the batch's own count of ended jobs.

        The search stops once it has found that many. After a retry the count may be too low; then the search stops at
        the first page on which no job has begun. `everywhere` searches all pages, for the last search.
        """
        retried = finished <= self.found
        pages, self._open = self._open, []
        while pages:
            if not (everywhere or retried) and self.found >= finished:
                break
            page = pages.pop(0)
            jobs, next_cursor = await self.fetch(page.cursor)
            for job in self._new(page, jobs):
                yield job
            if page.next is None and next_cursor is not None:
                page.next = next_cursor
                pages.append(_Page(next_cursor))
            if page.waiting or page.next is None:
                self._open.append(page)
            if retried and not everywhere and all(job.status is Status.QUEUED for job in jobs):
                break
        self._open += pages

    def _new(self, page: _Page, jobs: list[AsyncJob]) -> Iterator[AsyncJob]:
        for job in jobs:
            if job.id not in page.known:
                if page.next is not None:
                    continue  # it belongs to the next page, and moved because the service deleted old jobs
                page.known.add(job.id)
                page.waiting.add(job.id)
            if job.status.final and job.id in page.waiting:
                page.waiting.discard(job.id)
                self.found += 1
                yield job
