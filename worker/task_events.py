"""States of Celery tasks that are no job, for Flower: refused, revoked before, or waiting for a job of another id.

A producer's own `task-sent` event lists such a task as PENDING. Jobs themselves are in the stream of state changes.
"""

import logging

from celery.exceptions import TaskRevokedError

from jobs.errors import StoreUnavailable
from jobs.states import State
from jobs.store.store import Store
from schemas.error_text import clean
from worker.generate.enqueue import Ending, GenerateCall

log = logging.getLogger(__name__)

#: Most characters of an error, and of a task's id. The stream is in the jobs' Redis, which must not fill up with them.
_MOST_REASON, _MOST_ID = 500, 512


class TaskEvents:
    """Adds the states of such tasks to the stream of state changes."""

    def __init__(self, store: Store, *, enabled: bool) -> None:
        self._store = store
        self._enabled = enabled

    def __call__(self, call: GenerateCall, ending: Ending | None) -> None:
        """Add the state of a processed message. `ending` is None if it was parked."""
        if not self._enabled or len(call.task_id) > _MOST_ID:
            return
        try:
            self._add(call, ending)
        except StoreUnavailable as error:
            log.warning("task %s: its state is not shown in Flower: %s", call.task_id, error)
        except Exception:
            # The message has ended: it must not end again because of this.
            log.exception("task %s: its state is not shown in Flower", clean(call.task_id))

    def _add(self, call: GenerateCall, ending: Ending | None) -> None:
        is_job = call.task_id == call.job_id
        if is_job and (ending is None or call.finishes):
            # The job's own changes show it.
            return
        (job,) = self._store.jobs.get_many([call.job_id])
        if ending is None:
            self._store.events.add_task(call.task_id, State.QUEUED, job, new=True)
            return
        if not ending.job_id and any(self._store.jobs.get_many([call.task_id])):
            # A refused message under the id of a job. The row of this id shows that job.
            return
        state, reason = _state_of(ending)
        reason = clean(reason, _MOST_REASON)
        waited_for = job if ending.job_id else None
        self._store.events.add_task(call.task_id, state, waited_for, new=not call.finishes, reason=reason)


def _state_of(ending: Ending) -> tuple[State, str]:
    match ending.outcome:
        case TaskRevokedError() as error:
            return State.CANCELLED, str(error)
        case Exception() as error:
            return State.FAILED, str(error)
        case _:
            return State.COMPLETED, ""
