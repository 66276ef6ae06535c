"""boomerang.generate: the door for services that share the broker. Its body reads the record; no worker waits in it."""

from collections.abc import Mapping
from typing import Any

from celery.exceptions import TaskRevokedError

from jobs.errors import JobNotFound, NoLane
from jobs.images import Images
from jobs.order import NewJob
from jobs.record import Job
from jobs.shown import shown_job
from jobs.states import State
from jobs.store import Outcome, Store
from schemas import RequestInvalid, checked_in, load_request, without_images
from schemas.views import JobView
from worker.errors import GenerationFailed, GenerationRefused
from worker.messages import Messages

_view = JobView()
#: Who owns the jobs of this door, for fairness and accounts.
OWNER = "celery"


class Door:
    """Records a producer's job and parks, or says how it ended."""

    def __init__(self, store: Store, messages: Messages, images: Images, *, allow_private_hosts: bool) -> None:
        self._store = store
        self._messages = messages
        self._images = images
        self._allow_private_hosts = allow_private_hosts

    def __call__(self, task_id: str, kwargs: Mapping[str, Any], continuation: str) -> dict[str, Any] | None:
        """None: park, the job is not over. Otherwise its view as plain JSON.

        With no more than an `external_task_id` it asks for a job that is known: so a parked task is finished.
        Raises GenerationFailed, GenerationRefused, or Celery's TaskRevokedError for a cancelled job.
        """
        job_id = str(kwargs.get("external_task_id") or task_id)
        if set(kwargs) == {"external_task_id"}:
            job = self._known(job_id)
            if job.state.final:
                return result_of(job)
        else:
            self._enqueue(job_id, kwargs)
        word = self._store.park(job_id, continuation)
        return result_of(self._known(job_id)) if word == "final" else None

    def _known(self, job_id: str) -> Job:
        try:
            return self._store.get(job_id)
        except JobNotFound as error:
            raise GenerationRefused(str(error)) from None

    def _enqueue(self, job_id: str, kwargs: Mapping[str, Any]) -> None:
        try:
            request = load_request(
                {**kwargs, "external_task_id": job_id}, allow_private_hosts=self._allow_private_hosts
            )
        except RequestInvalid as error:
            raise _refused(error) from None
        request = checked_in(request, self._images.put)
        try:
            job = NewJob.of(request, job_id, self._store.settings.lanes, owner=OWNER)
        except NoLane as error:
            raise GenerationRefused(f"model: {error}") from None
        enqueued = self._store.enqueue([job])
        if enqueued.outcomes[0] is Outcome.IMAGELESS:
            raise _refused(without_images(request, self._images.absent))
        if enqueued.outcomes[0] is Outcome.CONFLICT:
            raise GenerationRefused(
                f"external_task_id: {job_id!r} stands for another request already; choose another id, or repeat that."
            )
        if enqueued.wake:
            self._messages.wake()


def _refused(error: RequestInvalid) -> GenerationRefused:
    return GenerationRefused(
        "; ".join(f"{name}: {' '.join(messages)}" for name, messages in sorted(error.errors.items()))
    )


def result_of(job: Job) -> dict[str, Any]:
    """The result of an ended job, or the exception that says why there is none."""
    error = (job.result.error if job.result else None) or {"code": "", "message": job.reason or "no reason given"}
    said = " ".join(part for part in (error.get("code"), error.get("message")) if part)
    match job.state:
        case State.COMPLETED:
            view: dict[str, Any] = _view.dump(shown_job(job))
            return view
        case State.CANCELLED:
            raise TaskRevokedError(f"{job.id} was cancelled")
        case _:
            raise GenerationFailed(f"{job.id} {job.state}: {said}")
