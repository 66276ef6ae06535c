"""boomerang.deliver: finish Celery messages and notify producers of ended jobs, at least once each.

Celery messages come first: they go to our own broker, and no receiver can delay them.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor

from kombu.exceptions import OperationalError

from jobs import logs
from jobs.claims import Due
from jobs.delivery_log import EVENT_MARK
from jobs.errors import RecordDamaged
from jobs.jitter import Random, draw
from jobs.job import Delivery
from jobs.policy import next_delivery
from jobs.store.store import Store
from worker.batch_notifications import BatchNotifications
from worker.messages import Messages
from worker.notifications import Notifications, retry_later

log = logging.getLogger(__name__)

#: Seconds after which a message that finishes a parked one counts as lost and is sent again, unless it was processed.
#: More than jobs.store.celery_messages.FINISHING.
CONFIRMATION = 30.0
_UNCONFIRMED = "the message that finishes it was not processed"


class Deliverer:
    """Finishes parked Celery messages, and begins notifications of producers."""

    def __init__(
        self,
        store: Store,
        messages: Messages,
        notifications: Notifications,
        executor: Executor,
        queue: str,
        *,
        of_batches: BatchNotifications | None = None,
        random: Random = draw,
    ) -> None:
        self._store = store
        self._messages = messages
        self._notifications = notifications
        self._executor = executor
        self._queue = queue
        self._of_batches = of_batches
        self._random = random

    def __call__(self, ids: Sequence[str]) -> None:
        """Finish the Celery messages of these jobs, then begin their notifications, and those of events of batches."""
        dues = self._store.deliveries.claim([each for each in ids if not each.startswith(EVENT_MARK)])
        list(self._executor.map(self._finish, [due for due in dues if Delivery.CELERY in due.owed]))
        notify = [due for due in dues if Delivery.NOTIFY in due.owed]
        if notify:
            texts = self._store.jobs.get_texts([due.job.id for due in notify])
            self._notifications.begin(list(zip(notify, texts, strict=True)), self)
        if self._of_batches:
            for event in self._store.batch_events.claim([each for each in ids if each.startswith(EVENT_MARK)]):
                self._of_batches.begin(event, self)

    def _finish(self, due: Due) -> None:
        with logs.about(job=due.job.id, attempt=due.job.attempt, lane=due.job.lane):
            try:
                self._finish_messages(due)
            except RecordDamaged as error:
                log.error("job %s: its Celery messages are not finished: %s", due.job.id, error)  # noqa: TRY400 - no traceback needed

    def _finish_messages(self, due: Due) -> None:
        """Send the messages that finish the parked ones. They stay due until processed (worker.generate.task)."""
        deliveries = self._store.deliveries
        try:
            messages = self._store.celery.get_parked(due.job.id)
            for message in messages:
                self._messages.finish(due.job.id, message, self._queue)
        except Exception as error:
            # Of any kind: it must neither stop other deliveries nor be repeated forever.
            if not isinstance(error, (OperationalError, OSError)):
                log.exception("job %s: its Celery messages are not sent, because of an unexpected error", due.job.id)
            retry_later(self._store, due, Delivery.CELERY, type(error).__name__, self._random())
            return
        if not messages:
            deliveries.record(due, Delivery.CELERY)
        elif (wait := next_delivery(due.job.celery_tries, self._random())) is None:
            retry_later(self._store, due, Delivery.CELERY, _UNCONFIRMED, self._random())
        else:
            deliveries.record(due, Delivery.CELERY, retry_in=max(wait, CONFIRMATION))
