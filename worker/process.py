"""What one worker process holds: connections and threads, made on first use, after any fork."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from celery import Celery

from jobs.connections.client import connect
from jobs.images.backends import open_images
from jobs.images.images import Images
from jobs.store.store import Store
from jobs.store.witness import Witness
from worker.continuity import Continuity
from worker.deliver import Deliverer
from worker.generate.enqueue import GenerateHandler
from worker.messages import Messages
from worker.notify import Notifier
from worker.provider import Provider
from worker.provider.image_cache import Pictures
from worker.reconcile import Reconciler
from worker.settings import Settings
from worker.submit import Submitter

#: Seconds from the beginning of one round of reconcile to that of the next, at least: half a tick of beat.
ROUNDS_APART = 0.5


class Services:
    """The use cases, wired. Nothing connects before it is asked for. `clock` is monotonic, in seconds."""

    def __init__(self, app: Celery, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.messages = Messages(app)
        self._clock = clock
        self._turn = threading.Lock()
        self._last_round = clock() - ROUNDS_APART

    def begins_round(self) -> bool:
        """Whether a tick begins a round: those that nobody heard in time are not made up for one after another."""
        with self._turn:
            now = self._clock()
            if now - self._last_round < ROUNDS_APART:
                return False
            self._last_round = now
            return True

    @cached_property
    def store(self) -> Store:
        """The jobs."""
        return Store(connect(self.settings.redis_url), self.settings)

    @cached_property
    def continuity(self) -> Continuity:
        """Whether Redis still holds what it held. Asked before each round."""
        witness = Witness.of(self.settings)
        return Continuity(self.store, witness, tolerated=self.settings.tolerated_loss, clock=self._clock)

    @cached_property
    def images(self) -> Images:
        """The images that jobs refer to."""
        return open_images(self.store, self.settings)

    @cached_property
    def providers(self) -> Mapping[str, Provider]:
        """The generation API, by lane."""
        return {lane.name: Provider(self.settings, lane) for lane in self.settings.lanes}

    @cached_property
    def submitter(self) -> Submitter:
        """boomerang.submit."""
        pictures = Pictures(self.images, self.settings.image_memory)
        return Submitter(self.store, self.providers, self.settings, self._threads("submit"), pictures=pictures)

    @cached_property
    def reconciler(self) -> Reconciler:
        """boomerang.reconcile. Its looks have threads of their own, so that slow submissions do not hold them up."""
        threads = self._threads("look")
        return Reconciler(self.store, self.providers, self.settings, threads, self.messages, images=self.images)

    @cached_property
    def deliverer(self) -> Deliverer:
        """boomerang.deliver."""
        queue = self.settings.generate_queue
        return Deliverer(self.store, self.messages, Notifier(self.settings), self._threads("deliver"), queue)

    @cached_property
    def door(self) -> GenerateHandler:
        """boomerang.generate."""
        return GenerateHandler(
            self.store, self.messages, self.images, allow_private_hosts=self.settings.allow_private_hosts
        )

    def _threads(self, name: str) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix=f"boomerang-{name}")
