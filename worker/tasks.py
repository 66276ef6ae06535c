"""The Celery tasks: each unpacks its message and calls a use case. Their names are part of the public API."""

from collections.abc import Sequence
from typing import Any

from celery import Celery

from jobs.errors import WorkRefused
from jobs.task_names import DELIVER, GENERATE, RECONCILE, SAVE, SUBMIT
from worker.admission import admit
from worker.flower_events import publish_changes
from worker.generate.task import Generate, parse_call, process
from worker.notices.notices import NOTICES
from worker.services import Services
from worker.settings import Switch


def register(app: Celery, services: Services) -> None:
    """Add the tasks to the app. They send none of Celery's events: worker.flower_events does.

    Only the internal ones ignore their results. The setting `task_ignore_result` would also apply to Celery's own tasks
    (`celery.map`, `celery.accumulate` …) that follow a job, because the sender decides.
    """

    @app.task(
        name=GENERATE,
        base=Generate,
        bind=True,
        shared=False,
        send_events=False,
    )
    def generate(self: Any, /, **request: Any) -> str:
        """Record a producer's job and park its message, or end the task of an ended job."""
        call = parse_call(self.request, request)
        return process(self, call, services.generate_handler, services.task_events, services.continuity)

    @app.task(name=SUBMIT, shared=False, send_events=False, ignore_result=True)
    def submit(*ids: str) -> int:
        """Submit these admitted jobs, then admit as many again. Without ids, admit all that the limits allow."""
        try:
            return _submit(services, ids)
        except WorkRefused:
            # Perhaps no worker has compared this Redis yet. If jobs are lost, the alarms put these back later.
            return _submit(services, ids) if services.continuity() else 0

    @app.task(name=RECONCILE, bind=True, shared=False, send_events=False, ignore_result=True)
    def reconcile(self: Any) -> int:
        """Act on due alarms, then publish events for Flower."""
        if not services.begin_round() or not services.continuity():
            return 0
        due_count = services.reconciler()
        if services.settings.events is Switch.ON:
            publish_changes(app, services.store, self.request.hostname)
        services.ask_for_notices()
        return due_count

    @app.task(name=DELIVER, shared=False, send_events=False, ignore_result=True)
    def deliver(*ids: str) -> None:
        """Make the deliveries of these ended jobs, or send the notices that are due."""
        _deliver(services, ids)

    @app.task(name=SAVE, shared=False, send_events=False, ignore_result=True)
    def save() -> int:
        """Begin to save the results, and to write the manifests, that are due."""
        if not services.settings.result_store:
            return 0
        services.manifests()
        return services.saver()


def _deliver(services: Services, ids: Sequence[str]) -> None:
    if tuple(ids) == (NOTICES,):
        services.notices()
    else:
        services.deliverer(ids)


def _submit(services: Services, ids: Sequence[str]) -> int:
    group, lanes = services.settings.group, services.settings.lanes
    if not ids:
        return admit(services.store, services.messages, group, lanes)
    submitted = services.submitter(ids)
    used = {claim.lane for claim in submitted}
    freed = [lane for lane in lanes if lane.name in used] or lanes
    admit(services.store, services.messages, group, freed, limit=group)
    return len(submitted)
