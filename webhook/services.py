"""What the views of one app share. Nothing here connects before it is used, so a process may fork after building it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import BoundedSemaphore
from typing import cast

from flask import current_app

from jobs.connections.client import connect
from jobs.images.backends import open_images
from jobs.images.images import Images
from jobs.new_job import NewJob, Outcome
from jobs.setting_readers import IN_REDIS
from jobs.store.memory import Memory
from jobs.store.store import Store
from schemas import (
    GenerationRequest,
    Picture,
    RequestInvalid,
    checked_in,
    load_request,
    without_images,
)
from webhook.access.auth import caller
from webhook.backpressure import Backpressure
from webhook.http.problems import unavailable
from webhook.messages import SUBMIT
from webhook.metrics import Counters
from webhook.settings import Settings

#: Requests that last, at the same time. Together fewer than gunicorn's threads (webhook.gunicorn_conf), so that there
#: is always one for a callback; apart, so that those who wait keep no upload out.
WAITS = 32
STREAMS = 16
EVENTS = 8
#: A thread needs one connection, and a waiting one another for its subscription.
CONNECTIONS = 256

Send = Callable[..., bool]


class ConcurrencyLimit:
    """A bounded number of places for requests that last."""

    def __init__(self, count: int) -> None:
        self._free = BoundedSemaphore(count)

    @contextmanager
    def maybe(self) -> Iterator[bool]:
        """True: taken until the block ends. False: all are taken."""
        taken = self._free.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._free.release()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Taken until the block ends; 503 when all are."""
        with self.maybe() as taken:
            if not taken:
                raise unavailable("Too many uploads, results and streams at once; try again in a moment.")
            yield


@dataclass
class Services:
    """`given` is a store for tests; otherwise one is made of the settings. `sender(task, *args)` sends a hint."""

    settings: Settings
    sender: Send
    ping_broker: Callable[[], bool]
    given: Store | None = None
    counters: Counters = field(default_factory=Counters)
    waits: ConcurrencyLimit = field(default_factory=lambda: ConcurrencyLimit(WAITS))
    streams: ConcurrencyLimit = field(default_factory=lambda: ConcurrencyLimit(STREAMS))
    events: ConcurrencyLimit = field(default_factory=lambda: ConcurrencyLimit(EVENTS))
    pressure: Backpressure = field(init=False)

    def __post_init__(self) -> None:
        self.pressure = Backpressure(self._read_memory, self.settings, self.counters.turned_away)

    @cached_property
    def store(self) -> Store:
        """The jobs' store; its connections are made in the process that first asks.

        It does not load the scripts: the webhook's user has no right to (ops/access), and work is taken in only after a
        worker has looked at the data.
        """
        return self.given or Store(
            connect(self.settings.redis_url, most_connections=CONNECTIONS), self.settings, may_load=False
        )

    @cached_property
    def images(self) -> Images:
        """The images that jobs refer to."""
        return open_images(self.store, self.settings, most_connections=CONNECTIONS)

    def _read_memory(self) -> Memory | None:
        return self.store.statistics.memory()

    def keep(self, picture: Picture) -> bool:
        """Store an image; whether it is new. 429 where it is, and there is no room for it."""
        full = self.settings.image_store == IN_REDIS and self.pressure.limit(len(picture.data)) == 0
        if full and self.images.absent([picture.hash]):
            raise self.pressure.refused("Send the same again later: what was taken in is not taken in twice.")
        return self.images.put(picture)

    def load(self, data: object) -> GenerationRequest:
        """The valid request in parsed JSON; images in it are stored, and referred to. Raises `RequestInvalid`."""
        wanted = load_request(data, allow_private_hosts=self.settings.allow_private_hosts)
        return checked_in(wanted, self.keep)

    def imageless(self, job: NewJob) -> RequestInvalid:
        """The refusal of a job that was not accepted since an image that it names is not there."""
        return without_images(GenerationRequest.from_text(job.text), self.images.absent)

    def enqueue(self, job: NewJob) -> Outcome:
        """Accept one job, count it, and let the workers know.

        429 where there is no room for a new one. Raises `RequestInvalid` where an image that it names is not there.
        """
        enqueued = self.store.jobs.enqueue([job], most=self.pressure.limit(len(job.text)))
        (outcome,) = self.hide_foreign([job], enqueued.outcomes)
        if outcome is Outcome.FULL:
            raise self.pressure.refused()
        self.counters.jobs.labels(outcome.value).inc()
        if enqueued.admit_hint:
            self.send(SUBMIT)
        if outcome is Outcome.IMAGELESS:
            raise self.imageless(job)
        return outcome

    def hide_foreign(self, jobs: Sequence[NewJob], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes as the caller is told them: an id that is another producer's is taken, whatever is under it."""
        if caller().admin:
            return list(outcomes)
        known = [job.id for job, outcome in zip(jobs, outcomes, strict=True) if outcome is Outcome.KNOWN]
        owners = dict(zip(known, self.store.jobs.owners(known), strict=True))
        # None: not there yet, but staged by the same upload.
        theirs = {job_id for job_id, owner in owners.items() if owner not in (None, caller().name)}
        return [Outcome.CONFLICT if job.id in theirs else outcome for job, outcome in zip(jobs, outcomes, strict=True)]

    def send(self, task: str, *args: str) -> None:
        """Send a hint, and count whether it went."""
        sent = self.sender(task, *args)
        self.counters.hints.labels(task, "yes" if sent else "no").inc()


def services() -> Services:
    """Those of the app that handles this request."""
    return cast("Services", current_app.extensions["boomerang"])
