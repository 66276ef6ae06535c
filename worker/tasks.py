"""The Celery tasks: unpack, call the use case, translate its answer. Names are part of the contract with producers."""

from typing import Any

from celery import Celery
from celery.exceptions import TaskRevokedError

from worker.admission import admit
from worker.errors import GenerationFailed, GenerationRefused
from worker.events import publish_changes
from worker.messages import DELIVER, GENERATE, RECONCILE, SUBMIT, continuation_of
from worker.process import Process
from worker.settings import Switch


def register(app: Celery, process: Process) -> None:
    """Give the app its tasks. None sends Celery's own events: worker.events tells the truth about jobs."""
    # What a producer is told by an exception is no error of ours: no traceback in the log.
    told = (GenerationFailed, GenerationRefused, TaskRevokedError)

    @app.task(name=GENERATE, bind=True, shared=False, send_events=False, ignore_result=False, throws=told)
    def generate(self: Any, /, **request: Any) -> dict[str, Any] | None:
        """A producer's job. Finished natively once the job has ended; until then it parks."""
        result = process.door(self.request.id, request, continuation_of(self.request))
        if result is None:
            _park(self.request)
        return result

    @app.task(name=SUBMIT, shared=False, send_events=False)
    def submit(*ids: str) -> int:
        """Submit these admitted jobs, then admit a group again; without ids, admit all that may go."""
        group = process.settings.group
        lanes = process.settings.lanes
        if not ids:
            return admit(process.store, process.messages, group, lanes)
        submitted = process.submitter(ids)
        through = {claim.lane for claim in submitted}
        again = [lane for lane in lanes if lane.name in through] or lanes
        admit(process.store, process.messages, group, again, limit=group)
        return len(submitted)

    @app.task(name=RECONCILE, bind=True, shared=False, send_events=False)
    def reconcile(self: Any) -> int:
        """Act upon the alarms that have rung, and tell Flower what has changed."""
        rang = process.reconciler()
        if process.settings.events is Switch.ON:
            publish_changes(app, process.store, self.request.hostname)
        return rang

    @app.task(name=DELIVER, shared=False, send_events=False)
    def deliver(*ids: str) -> None:
        """Make the deliveries that these ended jobs owe."""
        process.deliverer(ids)


def _park(request: Any) -> None:
    """Return without an end: no result is stored, nothing linked is called, no chord is told.

    Raising Ignore would do the same, but builds a traceback object: up to a third of the throughput.
    """
    request.update(callbacks=None, errbacks=None, chain=None, chord=None, ignore_result=True)
