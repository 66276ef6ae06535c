"""boomerang.deliver: finish Celery messages and notify producers of ended jobs, at least once each."""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor

from kombu.exceptions import OperationalError

from jobs import logs
from jobs.errors import RecordDamaged
from jobs.jitter import Random, draw
from jobs.job import Delivery, Due
from jobs.policy import MOST_DELIVERIES, next_delivery
from jobs.store.store import Store
from schemas import GenerationRequest
from worker.errors import NotifyFailed
from worker.messages import Messages
from worker.notification import Notifier

log = logging.getLogger(__name__)

#: Seconds after which a message that finishes a parked one counts as lost and is sent again, unless it was processed.
#: More than jobs.store.celery_messages.FINISHING.
CONFIRMATION = 30.0


class Deliverer:
    """Finishes parked Celery messages and notifies producers."""

    def __init__(
        self,
        store: Store,
        messages: Messages,
        notifier: Notifier,
        executor: Executor,
        queue: str,
        *,
        random: Random = draw,
    ) -> None:
        self._store = store
        self._messages = messages
        self._notifier = notifier
        self._executor = executor
        self._queue = queue
        self._random = random

    def __call__(self, ids: Sequence[str]) -> None:
        """Make the deliveries that are due for these jobs."""
        list(self._executor.map(self._deliver, self._store.deliveries.claim(ids)))

    def _deliver(self, due: Due) -> None:
        with logs.about(job=due.job.id, attempt=due.job.attempt, lane=due.job.lane):
            try:
                self._make_deliveries(due)
            except RecordDamaged as error:
                # Other jobs' deliveries are not affected.
                log.error("job %s: its deliveries are not made: %s", due.job.id, error)  # noqa: TRY400 - no traceback needed

    def _make_deliveries(self, due: Due) -> None:
        for kind in sorted(due.job.owed):
            unconfirmed, why = False, ""
            try:
                if kind is Delivery.CELERY:
                    # It stays due until that message was processed (worker.generate.task).
                    unconfirmed = self._finish(due)
                else:
                    self._notify(due)
            except Exception as error:
                # Of any kind: it must neither stop other deliveries nor be repeated forever.
                why = str(error) if isinstance(error, NotifyFailed) else type(error).__name__
                if not isinstance(error, (NotifyFailed, OperationalError, OSError)):
                    log.exception(
                        "job %s: delivery (%s) failed with an unexpected error", due.job.id, kind.name.lower()
                    )
            if unconfirmed or why:
                self._reschedule(due, kind, why, least=CONFIRMATION if unconfirmed else 0.0)
            else:
                self._store.deliveries.record(due, kind)

    def _reschedule(self, due: Due, kind: Delivery, why: str, *, least: float) -> None:
        """Schedule a repeat in at least `least` seconds, or give up. `boomerang-server stuck` lists given-up ones."""
        wait, name = next_delivery(due.job.delivery_tries, self._random()), kind.name.lower()
        if wait is None:
            why = why or "the message that finishes it was not processed"
            log.error("job %s: delivery (%s) given up after %d attempts: %s", due.job.id, name, MOST_DELIVERIES, why)
            self._store.deliveries.give_up(due, kind, why)
            return
        wait = max(wait, least)
        if why:
            log.warning("job %s: delivery (%s) failed, repeated in %.0f s: %s", due.job.id, name, wait, why)
        self._store.deliveries.record(due, kind, retry_in=wait, why=why)

    def _finish(self, due: Due) -> bool:
        """Send the messages that finish the parked ones. Returns whether there are any."""
        messages = self._store.celery.get_parked(due.job.id)
        for message in messages:
            self._messages.finish(due.job.id, message, self._queue)
        return bool(messages)

    def _notify(self, due: Due) -> None:
        text = self._store.jobs.get(due.job.id, text=True).text
        request = GenerationRequest.from_text(text) if text else None
        if request and request.callback_url:
            self._notifier(due.job, request.callback_url, request.callback_form)
