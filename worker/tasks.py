"""The Celery tasks: unpack, call the use case, translate its answer. Names are part of the contract with producers."""

from collections.abc import Sequence
from typing import Any

from celery import Celery

from jobs.errors import StoreUnavailable, WorkRefused
from worker.admission import admit
from worker.flower_events import publish_changes
from worker.generate.task import asked_of, end, put_off, task_class
from worker.messages import DELIVER, GENERATE, RECONCILE, SUBMIT
from worker.process import Services
from worker.settings import Switch


def register(app: Celery, process: Services) -> None:
    """Give the app its tasks. None sends Celery's own events: worker.flower_events tells the truth about jobs."""

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
        asked = asked_of(self.request, request)
        try:
            return end(self, process.door(asked))
        except StoreUnavailable as error:
            put_off(self, asked, error, process.continuity)
            return None

    @app.task(name=SUBMIT, shared=False, send_events=False)
    def submit(*ids: str) -> int:
        """Submit these admitted jobs, then admit a group again; without ids, admit all that may go."""
        try:
            return _submit(process, ids)
        except WorkRefused:
            # Nobody may have looked at this Redis so far. Otherwise the jobs' alarms put them back.
            return _submit(process, ids) if process.continuity() else 0

    @app.task(name=RECONCILE, bind=True, shared=False, send_events=False)
    def reconcile(self: Any) -> int:
        """Act upon the alarms that have rung, and tell Flower what has changed."""
        if not process.begins_round() or not process.continuity():
            return 0
        rang = process.reconciler()
        if process.settings.events is Switch.ON:
            publish_changes(app, process.store, self.request.hostname)
        return rang

    @app.task(name=DELIVER, shared=False, send_events=False)
    def deliver(*ids: str) -> None:
        """Make the deliveries that these ended jobs owe."""
        process.deliverer(ids)


def _submit(process: Services, ids: Sequence[str]) -> int:
    group, lanes = process.settings.group, process.settings.lanes
    if not ids:
        return admit(process.store, process.messages, group, lanes)
    submitted = process.submitter(ids)
    through = {claim.lane for claim in submitted}
    again = [lane for lane in lanes if lane.name in through] or lanes
    admit(process.store, process.messages, group, again, limit=group)
    return len(submitted)
