"""The Celery tasks: unpack, call the use case, translate its answer. Names are part of the contract with producers."""

from typing import Any

from celery import Celery

from worker.admission import admit
from worker.events import publish_changes
from worker.messages import DELIVER, GENERATE, RECONCILE, SUBMIT
from worker.native import asked_of, end, task_class
from worker.process import Process
from worker.settings import Switch


def register(app: Celery, process: Process) -> None:
    """Give the app its tasks. None sends Celery's own events: worker.events tells the truth about jobs."""

    @app.task(
        name=GENERATE,
        base=task_class(lambda: process.door),
        bind=True,
        shared=False,
        send_events=False,
        ignore_result=False,
    )
    def generate(self: Any, /, **request: Any) -> dict[str, Any] | None:
        """A producer's job. Finished natively once the job has ended; until then it parks."""
        return end(self, process.door(asked_of(self.request, request)))

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
        if not process.begins_round():
            return 0
        rang = process.reconciler()
        if process.settings.events is Switch.ON:
            publish_changes(app, process.store, self.request.hostname)
        return rang

    @app.task(name=DELIVER, shared=False, send_events=False)
    def deliver(*ids: str) -> None:
        """Make the deliveries that these ended jobs owe."""
        process.deliverer(ids)
