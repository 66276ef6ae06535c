"""What the views of an app share. Nothing connects before it is used, so that a process may fork after building it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, cast

from flask import current_app

from jobs.api_keys import KeyRing, Scope
from jobs.audit_trail import Action
from jobs.blobs.bucket import Bucket
from jobs.connections.client import connect
from jobs.images.backends import open_images
from jobs.images.images import Images
from jobs.key_limits import KeyLimits
from jobs.links import Links
from jobs.new_job import NewJob, Outcome
from jobs.results.results import open_results
from jobs.setting_readers import IN_REDIS
from jobs.store.store import Store
from jobs.task_names import SUBMIT
from schemas import (
    CallbackRules,
    GenerationRequest,
    ImageFile,
    RequestInvalid,
    checked_in,
    load_callback_url,
    load_request,
    without_images,
)
from webhook.access.auth import caller
from webhook.access.rate_limits import Buckets
from webhook.backpressure import Backpressure, Usage
from webhook.http.fair_pool import Place
from webhook.http.problems import unavailable
from webhook.metrics import Counters
from webhook.places import DOWNLOADS, EVENTS, SLOW, STRANGERS, TRANSFERS, WAITS, Places
from webhook.settings import Settings
from webhook.shared_work import SharedWork
from webhook.thumbnails import Renderer, Thumbnails

#: A thread needs one connection, and another one to subscribe while it waits for a job.
CONNECTIONS = 256

Send = Callable[..., bool]


@dataclass
class Services:
    """The store, counters and limits. `sender(task, *args)` sends a hint; `given` replaces the store in tests."""

    settings: Settings
    sender: Send
    ping_broker: Callable[[], bool]
    given: Store | None = None
    counters: Counters = field(default_factory=Counters)
    waits: Places = field(init=False)
    transfers: Places = field(init=False)
    downloads: Places = field(init=False)
    events: Places = field(init=False)
    slow: Places = field(init=False)
    strangers: Places = field(init=False)
    memory: Places = field(init=False)
    pressure: Backpressure = field(init=False)
    replays: Buckets = field(default_factory=Buckets)
    readiness: SharedWork[Any] = field(default_factory=SharedWork)

    def __post_init__(self) -> None:
        counter = self.counters.places
        self.waits = Places("waits", WAITS, counter)
        self.transfers = Places("transfers", TRANSFERS, counter)
        self.downloads = Places("downloads", DOWNLOADS, counter)
        self.events = Places("events", EVENTS, counter)
        self.slow = Places("slow", SLOW, counter)
        self.strangers = Places("strangers", STRANGERS, counter)
        self.memory = Places("memory", self.settings.body_memory, counter)
        self.pressure = Backpressure(
            self._read_usage,
            self.settings,
            self.counters.turned_away,
            names=self._producers,
            key_limits=self._key_limits,
        )

    def _read_usage(self) -> Usage:
        return Usage(self.store.statistics.memory(), self.store.statistics.held())

    def _key_limits(self) -> Mapping[str, KeyLimits]:
        return self.store.context.settings.key_limits

    def callback_hosts(self) -> tuple[str, ...] | None:
        """Return the hosts at which the caller may be notified; None: any."""
        return self.store.context.settings.callback_hosts(caller().name)

    def _producers(self) -> set[str]:
        """Return the names of the keys that may enqueue, without those of operators."""
        made = self.key_ring.all()
        now = datetime.now(UTC)
        given = [(key.name, key.scopes) for key in self.settings.keys]
        given += [(key.name, key.scopes) for key in made if key.opens(now)]
        return {name for name, scopes in given if Scope.ENQUEUE in scopes and Scope.ADMIN not in scopes}

    def take_slow_place(self, producer: str, address: str, is_slow: Callable[[], bool]) -> Place | None:
        """Return a place for a client that a thread waits for, or None: `webhook.http.connection.TakePlace`."""
        # A place that is lost ends the wait: see there.
        if producer:
            return self.slow.take(producer, 1, _nothing, is_slow)
        return self.strangers.take(address, 1, _nothing, is_slow)

    @cached_property
    def store(self) -> Store:
        """The jobs' store. It connects in the process that first uses it.

        It does not load the scripts: the webhook's Redis user may not (ops/access), and accepts work only after a
        worker has checked the data.
        """
        return self.given or Store(
            connect(self.settings.redis_url, most_connections=CONNECTIONS), self.settings, may_load=False
        )

    @cached_property
    def key_ring(self) -> KeyRing:
        """The keys that were made while the service runs, for reading."""
        return KeyRing(self.store.context.client, self.store.context.keys)

    @cached_property
    def key_writer(self) -> KeyRing | None:
        """The same for making and revoking keys; None if this webhook may not (BOOMERANG_KEYS_REDIS_URL)."""
        url = self.settings.keys_redis_url
        return KeyRing(connect(url, most_connections=2), self.store.context.keys) if url else None

    @cached_property
    def links(self) -> Links:
        """The addresses of saved results. Views call `webhook.links.links`."""
        return Links.of(self.settings)

    @cached_property
    def images(self) -> Images:
        """The images that jobs refer to."""
        return open_images(self.store, self.settings, most_connections=CONNECTIONS)

    @cached_property
    def results(self) -> Bucket:
        """The store of saved results. Raises a problem, 503, if this process has none."""
        if self.settings.result_store is None:
            raise unavailable("This webhook has no result store: its operator has to set BOOMERANG_RESULT_STORE.")
        return open_results(self.settings.result_store)

    @cached_property
    def renderer(self) -> Renderer:
        """What renders thumbnails in this process."""
        return Renderer()

    @cached_property
    def thumbnails(self) -> Thumbnails:
        """The thumbnails of saved results."""
        return Thumbnails(self.results, renderer=self.renderer)

    def store_image(self, file: ImageFile) -> bool:
        """Store an image and return whether it is new. Raises a problem, 429, if it is new and the service is full."""
        owner, counts = caller().name, self.settings.image_store == IN_REDIS
        full = counts and self.pressure.full(len(file.data), owner)
        if full and self.images.absent([file.hash], owner):
            raise self.pressure.refused("Send the same again later: nothing is stored twice.", owner=owner)
        return self.images.put(file, owner, counts=counts)

    def load(self, data: object, put: Callable[[ImageFile], object] | None = None) -> GenerationRequest:
        """Validate a request and store the images in it. The result refers to them. Raises `RequestInvalid`.

        `put` gets the images instead of the store.
        """
        settings = self.settings
        try:
            wanted = load_request(
                data,
                allow_private_hosts=settings.allow_private_hosts,
                pass_unknown=settings.passes_unknown,
                callbacks=CallbackRules(settings.callback_ports, self.callback_hosts()),
            )
        except RequestInvalid as error:
            # Producers cannot change settings.
            if error.unknown and caller().admin:
                error.errors[error.unknown[0]].append("BOOMERANG_UNKNOWN_PARAMETERS=pass passes unknown parameters on.")
            raise
        return checked_in(wanted, put or self.store_image)

    def load_callback_url(self, url: str) -> str:
        """Validate the `callback_url` of a batch of the caller. Raises `RequestInvalid`."""
        settings = self.settings
        rules = CallbackRules(settings.callback_ports, self.callback_hosts())
        return load_callback_url(url, allow_private_hosts=settings.allow_private_hosts, callbacks=rules)

    def imageless(self, job: NewJob) -> RequestInvalid:
        """Return the error for a job that refers to a missing image."""
        absent = partial(self.images.absent, owner=caller().owner)
        return without_images(GenerationRequest.from_text(job.text), absent)

    def enqueue(self, job: NewJob) -> Outcome:
        """Enqueue one job, count it, and send the workers a hint.

        Raises a problem, 429, if the service is full, and `RequestInvalid` if an image is missing.
        """
        room = self.pressure.room(len(job.text), job.owner)
        enqueued = self.store.jobs.enqueue([job], room=room, caller=caller().owner)
        (outcome,) = enqueued.outcomes
        if outcome is Outcome.FULL:
            raise self.pressure.refused(owner=job.owner)
        self.counters.jobs.labels(outcome.value).inc()
        if enqueued.admit_hint:
            self.send(SUBMIT)
        if outcome is Outcome.IMAGELESS:
            raise self.imageless(job)
        return outcome

    def record(self, action: Action) -> None:
        """Record an action in the audit trail. Raises `StoreUnavailable`."""
        self.store.audit_trail.record(action)

    def send(self, task: str, *args: str) -> None:
        """Send a hint, and count whether it was sent."""
        sent = self.sender(task, *args)
        self.counters.hints.labels(task, "yes" if sent else "no").inc()


def _nothing() -> None: ...


def services() -> Services:
    """Return the services of the current app."""
    return cast("Services", current_app.extensions["boomerang"])
