"""Following a batch: how it changes, and its jobs as they end."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeAlias

from boomerang_client.errors import ServiceUnavailable, StillRunning, TooBusy
from boomerang_client.parsing import read_batch
from boomerang_client.records import Batch, Job, Status
from boomerang_client.retrying import Steady
from boomerang_client.transport import Transport

#: Seconds between two looks where events are not to be had, and between two searches for jobs that have ended.
PAUSE = 1.0
#: Seconds before a time-out from which on it only looks: a stream may be silent for this long.
NEAR_THE_END = 20.0

#: A page of a batch's jobs in input order, from a cursor on; and the cursor of the next.
Fetch: TypeAlias = Callable[[str | None], tuple[list[Job], str | None]]


@dataclass
class Changes:
    """A batch as it is, and again at each change, until it is done. Events are a hint; each stream begins with a look.

    `every`: look every so many seconds instead of listening. Raises StillRunning when `timeout` seconds are over.
    """

    transport: Transport
    path: str
    look: Callable[[], Batch]
    steady: Steady
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    timeout: float | None = None
    every: float | None = None

    def __post_init__(self) -> None:
        self._end = None if self.timeout is None else self.clock() + self.timeout

    def __iter__(self) -> Generator[Batch, None, None]:
        with closing(self._looks()) as looks:
            for batch in looks:
                yield batch
                if batch.done:
                    return
                if self._left <= 0:
                    raise StillRunning(
                        f"Batch {batch.id}: {batch.finished} of {batch.accepted} jobs ended in {self.timeout} s. "
                        "It goes on: wait again or look later."
                    )

    @property
    def _left(self) -> float:
        return float("inf") if self._end is None else self._end - self.clock()

    def _looks(self) -> Generator[Batch, None, None]:
        while True:
            yield self.steady(self.look)
            if self.every is None and self._left > NEAR_THE_END:
                yield from self._events()
            self.sleep(max(0.0, min(self.every or PAUSE, self._left)))

    def _events(self) -> Iterator[Batch]:
        try:
            with closing(self.transport.events(self.path)) as events:
                for data in events:
                    if data is not None:
                        yield read_batch(data)
                    if self._left <= NEAR_THE_END:
                        return
        except (TooBusy, ServiceUnavailable):
            return  # all seats are taken, or it broke off: the next look says how it is


@dataclass
class _Page:
    """Jobs `known` to be on it, and those of them `waiting` for their end. `next`: where the next page begins."""

    cursor: str | None
    known: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    next: str | None = None


@dataclass
class Ended:
    """The jobs of a batch as they end, each once, found page by page; pages that are through are not read again.

    Memory and reading go with what is under way: a page is forgotten once all its jobs have ended.
    """

    fetch: Fetch
    found: int = 0
    _open: list[_Page] = field(default_factory=lambda: [_Page(None)])

    def search(self, finished: int, *, everywhere: bool) -> Iterator[Job]:
        """Jobs that have ended since the last search, `finished` in all by the batch's own count.

        Looks no further once so many were found; where jobs were tried again the count is no help, and the search ends
        where nothing has begun. `everywhere`: on all pages, for the last search.
        """
        tried_again = finished <= self.found
        pages, self._open = self._open, []
        while pages:
            if not (everywhere or tried_again) and self.found >= finished:
                break
            page = pages.pop(0)
            jobs, page_next = self.fetch(page.cursor)
            yield from self._new(page, jobs)
            if page.next is None and page_next is not None:
                page.next = page_next
                pages.append(_Page(page_next))
            if page.waiting or page.next is None:
                self._open.append(page)
            if tried_again and not everywhere and all(job.status is Status.QUEUED for job in jobs):
                break
        self._open += pages

    def _new(self, page: _Page, jobs: list[Job]) -> Iterator[Job]:
        for job in jobs:
            if job.id not in page.known:
                if page.next is not None:
                    continue  # of the page after it, moved up because ended jobs are forgotten after some days
                page.known.add(job.id)
                page.waiting.add(job.id)
            if job.status.final and job.id in page.waiting:
                page.waiting.discard(job.id)
                self.found += 1
                yield job
