"""boomerang.deliver: what follows from a job's end, at least once each."""

import logging
import secrets
from collections.abc import Sequence
from concurrent.futures import Executor

from kombu.exceptions import OperationalError

from jobs import logs
from jobs.errors import RecordDamaged
from jobs.job import Delivery, Due
from jobs.policy import next_delivery
from jobs.store.store import Store
from schemas import GenerationRequest
from worker.errors import NotifyFailed
from worker.messages import Messages
from worker.notify import Notifier

log = logging.getLogger(__name__)

#: Seconds for the message that finishes a parked one to be acted upon; afterwards it counts as lost and is sent again.
#: More than jobs.store.celery_messages.FINISHING.
CONFIRMED = 30.0


class Deliverer:
    """Finishes parked Celery messages and notifies producers."""

    def __init__(self, store: Store, messages: Messages, notifier: Notifier, executor: Executor, queue: str) -> None:
        self._store = store
        self._messages = messages
        self._notifier = notifier
        self._executor = executor
        self._queue = queue

    def __call__(self, ids: Sequence[str]) -> None:
        """Make the deliveries that these jobs owe."""
        list(self._executor.map(self._deliver, self._store.deliveries.claim(ids)))

    def _deliver(self, due: Due) -> None:
        with logs.about(job=due.job.id, attempt=due.job.attempt, lane=due.job.lane):
            try:
                self._delivered(due)
            except RecordDamaged as error:
                # The deliveries of others go on.
                log.error("job %s: a delivery is left out: %s", due.job.id, error)  # noqa: TRY400 - said whole

    def _delivered(self, due: Due) -> None:
        for kind in sorted(due.job.owing):
            awaited, why = False, ""
            try:
                if kind is Delivery.CELERY:
                    # Owed until it says so itself (worker.tasks).
                    awaited = self._finish(due)
                else:
                    self._notify(due)
            except Exception as error:
                # Of whatever kind: a delivery that cannot be made must neither stop the others nor be tried for ever.
                why = str(error) if isinstance(error, NotifyFailed) else type(error).__name__
                if not isinstance(error, (NotifyFailed, OperationalError, OSError)):
                    log.exception("job %s: a delivery failed in a way that is not foreseen", due.job.id)
            if awaited or why:
                self._later(due, kind, why, least=CONFIRMED if awaited else 0.0)
            else:
                self._store.deliveries.record(due, kind)

    def _later(self, due: Due, kind: Delivery, why: str, *, least: float) -> None:
        """Try again, in `least` seconds or more; at last give it up, which `boomerang-server stuck` lists."""
        wait, name = next_delivery(due.job.delivery_tries, secrets.randbelow(1000) / 1000), kind.name.lower()
        if wait is None:
            why = why or "the message that finishes it was not acted upon"
            log.error("job %s: delivery (%s) is given up: %s", due.job.id, name, why)
            self._store.deliveries.give_up(due, kind, why)
            return
        wait = max(wait, least)
        if why:
            log.warning("job %s: delivery (%s) failed: %s; again in %.0f s", due.job.id, name, why, wait)
        self._store.deliveries.record(due, kind, retry_in=wait, why=why)

    def _finish(self, due: Due) -> bool:
        """Send what finishes the parked messages; whether there are any left."""
        messages = self._store.celery.get_parked(due.job.id)
        for message in messages:
            self._messages.finish(due.job.id, message, self._queue)
        return bool(messages)

    def _notify(self, due: Due) -> None:
        text = self._store.jobs.get(due.job.id, text=True).text
        request = GenerationRequest.from_text(text) if text else None
        if request and request.callback_url:
            self._notifier(due.job, request.callback_url, request.callback_form)
