"""The objects of a worker process, created on first use: connections and threads must not exist before a fork."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from celery import Celery

from jobs.blobs.bucket import Bucket
from jobs.connections.client import connect
from jobs.images.backends import open_images
from jobs.images.images import Images
from jobs.links import Links
from jobs.liveness import ROUND_INTERVAL
from jobs.results.results import open_results
from jobs.store.store import Store
from jobs.store.witness import Witness
from worker.batch_notifications import BatchNotifications
from worker.continuity import Continuity
from worker.deliver import Deliverer
from worker.generate.enqueue import GenerateHandler
from worker.generate.unreachable import Reachability
from worker.messages import Messages
from worker.notices.notices import INTERVAL, NOTICES, THREADS, Notices
from worker.notification import Notifier
from worker.notifications import Notifications
from worker.provider import Provider
from worker.provider.image_cache import ImageCache
from worker.reconcile import Reconciler
from worker.save.manifests import ManifestWriter
from worker.save.outputs import OutputSaver, open_output_saver
from worker.save.saver import Saver
from worker.sender import Sender
from worker.settings import Settings, Switch
from worker.submit import Submitter
from worker.task_events import TaskEvents

#: Least number of seconds between the starts of two rounds of reconcile: half of beat's interval.
LEAST_INTERVAL = ROUND_INTERVAL / 2


class Services:
    """The use cases with their dependencies. `clock` is monotonic, in seconds."""

    def __init__(self, app: Celery, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._app = app
        self.messages = Messages(app)
        self._clock = clock
        #: set when the process is to end
        self.stopping = threading.Event()
        self._round_lock = threading.Lock()
        self._last_round = clock() - LEAST_INTERVAL
        self._next_notices = clock()

    def begin_round(self) -> bool:
        """Return whether a reconcile message may begin a round. Of several that waited, only the first may."""
        with self._round_lock:
            now = self._clock()
            if now - self._last_round < LEAST_INTERVAL:
                return False
            self._last_round = now
            return True

    def ask_for_notices(self) -> None:
        """Ask a worker that delivers to send notices to people, if there are targets and it is time."""
        now = self._clock()
        if any(self.settings.notices.values()) and now >= self._next_notices:
            self._next_notices = now + INTERVAL
            self.messages.deliver([NOTICES])

    @cached_property
    def store(self) -> Store:
        """The store of the jobs."""
        return Store(connect(self.settings.redis_url), self.settings)

    @cached_property
    def continuity(self) -> Continuity:
        """Decides before each round whether Redis still has all jobs."""
        witness = Witness.of(self.settings)
        return Continuity(self.store, witness, tolerated=self.settings.tolerated_loss, clock=self._clock)

    @cached_property
    def images(self) -> Images:
        """The images that jobs refer to."""
        return open_images(self.store, self.settings)

    @cached_property
    def providers(self) -> Mapping[str, Provider]:
        """The client of the generation API for each lane."""
        return {lane.name: Provider(self.settings, lane) for lane in self.settings.lanes}

    @cached_property
    def submitter(self) -> Submitter:
        """The use case of boomerang.submit."""
        images = ImageCache(self.images, self.settings.image_memory)
        return Submitter(self.store, self.providers, self.settings, self._threads("submit"), images=images)

    @cached_property
    def reconciler(self) -> Reconciler:
        """The use case of boomerang.reconcile. It has its own threads, so that slow submissions do not delay polls."""
        threads = self._threads("reconcile")
        return Reconciler(self.store, self.providers, self.settings, threads, self.messages, images=self.images)

    @cached_property
    def deliverer(self) -> Deliverer:
        """The use case of boomerang.deliver."""
        limit = self.settings.max_notifying
        # As many threads as places: a notification that may begin never waits for a thread.
        threads = ThreadPoolExecutor(limit, thread_name_prefix="boomerang-notify")
        sender = Sender(threads, limit, self.stopping, disable_after=self.settings.disable_receiver_after)
        notifier = Notifier(self.settings)
        notifications = Notifications(self.store, notifier, sender)
        of_batches = BatchNotifications(self.store, notifier, sender)
        queue = self.settings.generate_queue
        return Deliverer(
            self.store, self.messages, notifications, self._threads("deliver"), queue, of_batches=of_batches
        )

    @cached_property
    def notices(self) -> Notices:
        """Sends notices to people."""
        threads = ThreadPoolExecutor(THREADS, thread_name_prefix="boomerang-notices")
        targets, public_url = self.settings.notices, self.settings.public_url
        return Notices(self.store, targets, threads, self.stopping, public_url=public_url)

    @cached_property
    def outputs(self) -> OutputSaver:
        """Saves the outputs of a job to the result store. Raises `ResultsUnavailable`."""
        return open_output_saver(self.store, self.results, self.settings)

    @cached_property
    def results(self) -> Bucket:
        """The result store. Raises `ResultsUnavailable`."""
        return open_results(self.settings.result_store or "", self.store.saves.used_before)

    @cached_property
    def manifests(self) -> ManifestWriter:
        """Writes manifests in a thread of its own."""
        threads = ThreadPoolExecutor(1, thread_name_prefix="boomerang-manifests")
        return ManifestWriter(self.store, lambda: self.results, threads)

    @cached_property
    def saver(self) -> Saver:
        """The use case of boomerang.save. It has its own threads, so that slow results delay nothing else."""
        limit = self.settings.max_saving
        threads = ThreadPoolExecutor(limit, thread_name_prefix="boomerang-save")
        return Saver(
            self.store,
            lambda: self.outputs.save_outputs,
            threads,
            self.messages.deliver,
            self.stopping,
            threads=limit,
            limit=limit,
        )

    @cached_property
    def generate_handler(self) -> GenerateHandler:
        """The use case of boomerang.generate."""
        return GenerateHandler(
            self.store,
            self.messages,
            self.images,
            Reachability(self._app),
            allow_private_hosts=self.settings.allow_private_hosts,
            pass_unknown=self.settings.passes_unknown,
            links=Links.of(self.settings),
        )

    @cached_property
    def task_events(self) -> TaskEvents:
        """States of Celery tasks that are no job, for Flower."""
        return TaskEvents(self.store, enabled=self.settings.events is Switch.ON)

    def _threads(self, name: str) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix=f"boomerang-{name}")
