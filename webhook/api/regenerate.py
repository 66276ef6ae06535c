"""Generate the images of a completed job once more: the use case behind `POST /v1/jobs/<id>/regenerate`."""

import re

from jobs.decoding import UNREADABLE
from jobs.errors import NotAllowed
from jobs.job import Job
from jobs.producer_ids import given_id, internal_id, owner_in
from jobs.store.outcomes.jobs import RegenerateOutcome
from jobs.store.regenerations import Regenerated
from jobs.task_names import SUBMIT
from schemas import GenerationRequest
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.api.correct import request_for
from webhook.api.enqueue import conflict, new_id
from webhook.http.problems import ProblemError
from webhook.services import services

#: Characters of an id.
_LONGEST_ID = 128
#: What the id of a job ends with whose images are those of another one, once more.
_NUMBERED = re.compile(r"(.+)\.r([1-9][0-9]{0,3})")


def regenerate(job_id: str, wanted: GenerationRequest | None = None) -> Regenerated:
    """Accept a job for the images of a completed one, with its request or `wanted`, and send the workers a hint.

    Raises what an enqueue raises; `JobNotFound`; and `NotAllowed` where the job has no images, or was regenerated
    with another request.
    """
    shared = services()
    job = shared.store.jobs.get(job_id, text=True)
    asked = wanted or _request(job)
    owner = owner_in(job.id) or job.owner
    given = asked.external_task_id if wanted and asked.external_task_id else next_id(job.given_id)
    options = shared.store.batches.options(job.batch) if job.batch else None
    new = request_for(job, asked, internal_id(given, owner), options)
    room = shared.pressure.room(len(new.text), owner)
    made = shared.store.regenerations.regenerate(job.id, new, room=room, caller=caller().owner)
    annotate(job_id=job.id, regenerated_by=made.job, outcome=made.outcome.value)
    if made.outcome is RegenerateOutcome.OTHER:
        raise NotAllowed(
            f"The images were generated once more already, with another request, by the job {given_id(made.job)}. "
            "Regenerate that one, or retry it if it failed."
        )
    if made.outcome is RegenerateOutcome.CONFLICT:
        raise ProblemError(409, f"Another job has the id {given}. Name a new one.", errors=conflict(given))
    if made.outcome is RegenerateOutcome.FULL:
        raise shared.pressure.refused(owner=owner)
    if made.outcome is RegenerateOutcome.IMAGELESS:
        raise shared.imageless(new)
    if made.outcome is RegenerateOutcome.CREATED:
        shared.counters.jobs.labels("created").inc()
    if made.admit_hint:
        shared.send(SUBMIT)
    return made


def next_id(given: str) -> str:
    """Return the id of the job after one with this id: `fox`, `fox.r2`, `fox.r3`.

    The same for each call: if Redis loses the new job, a repeat finds its task at the provider, and buys no other.
    """
    found = _NUMBERED.fullmatch(given)
    root, number = (found[1], int(found[2])) if found else (given, 1)
    text = f"{root}.r{number + 1}"
    return text if len(text) <= _LONGEST_ID else new_id()


def _request(job: Job) -> GenerationRequest:
    try:
        return GenerationRequest.from_text(job.text or "")
    except UNREADABLE:
        raise NotAllowed("The request of the job cannot be read. Send the request in the body.") from None
