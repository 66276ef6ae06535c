"""A job: what happened to it, its request and answers, what it cost, its images, and what may be done about it."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from flask import Response, request
from flask.typing import ResponseReturnValue

from jobs.api_keys import Scope
from jobs.delivery_log import ReplayOutcome
from jobs.errors import JobNotFound, NotAllowed
from jobs.job import Job
from jobs.producer_ids import given_id
from jobs.serializers.jobs import serialize_job
from jobs.serializers.requests import read_request
from jobs.states import State
from jobs.store.transitions import TransitionResult
from jobs.task_names import DELIVER, SUBMIT
from jobs.timeline import Happened, timeline_of
from schemas import RequestInvalid, parse_json
from schemas.errors import SchemaError
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.api.correct import revise
from webhook.api.regenerate import regenerate
from webhook.http.problems import ProblemError
from webhook.job_links import link_to
from webhook.links import links
from webhook.pages.blueprint import done, not_done, page, show
from webhook.pages.job_costs import costs_of
from webhook.pages.job_images import pictures
from webhook.services import services

#: Bytes of a form with a corrected request: 2,500 characters of a prompt, each up to 12 bytes, and the rest.
_CORRECTION = 64 * 1024
#: Characters of a value that are shown where it is a data URL, which may be an image.
_MOST_VALUE = 400
Made = TypeVar("Made")

#: Members of a request whose values are addresses that may hold a secret.
_ADDRESSES = ("callback_url",)


@dataclass(frozen=True, slots=True)
class Step:
    """An event, and the seconds since the one before."""

    event: Happened
    gap: float | None


def steps(events: Sequence[Happened]) -> list[Step]:
    """Return the events of a timeline with the gaps between them."""
    moments: list[datetime | None] = [None, *(each.at for each in events)]
    return [
        Step(each, None if before is None else (each.at - before).total_seconds())
        for each, before in zip(events, moments, strict=False)
    ]


def masked(value: Any, name: str = "") -> Any:
    """Return a request for people: addresses without the values of their query, and long values cut."""
    if isinstance(value, Mapping):
        return {key: masked(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [masked(each, name) for each in value]
    if not isinstance(value, str):
        return value
    if name in _ADDRESSES or value.startswith(("http://", "https://")):
        address, mark, _ = value.partition("?")
        scheme, _, rest = address.partition("://")
        host, slash, path = rest.partition("/")
        value = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{mark}{'…' if mark else ''}"
    if value.startswith("data:") and len(value) > _MOST_VALUE:
        return f"{value[:40]}… ({len(value)} characters)"
    return value


def as_curl(body: Mapping[str, Any], origin: str) -> str:
    """Return the shell command that enqueues a request under another id. The key comes from the environment."""
    text = json.dumps({name: each for name, each in body.items() if name != "external_task_id"}, ensure_ascii=False)
    return (
        f"curl {shlex.quote(origin + 'v1/jobs')} \\\n"
        '  -H "Authorization: Bearer $BOOMERANG_KEY" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(text)}"
    )


@page("/jobs/<job_id>", scope=Scope.READ)
def job(job_id: str) -> Response:
    """Show a job. Four round trips to Redis, whatever the number of jobs."""
    return _show(job_id)


def _show(job_id: str, wrong: str = "", typed: str | None = None) -> Response:
    store, settings = services().store, services().settings
    found = store.jobs.show(job_id, text=True)
    body = read_request(found, found.text or "") or {}
    earlier = store.revisions.earlier([found.id])[0] if found.revision > 1 else ()
    return show(
        "job.html",
        part="job_now.html",
        job=found,
        view=serialize_job(found, links()),
        revisions=[(each, masked(read_request(found, each.text) or {})) for each in earlier],
        costs=costs_of(found, earlier),
        pictures=pictures(found),
        outside=[
            (name, address)
            for name, template in (("Trace", settings.trace_url), ("Logs", settings.logs_url))
            if (address := link_to(template, found))
        ],
        steps=steps(timeline_of(found)),
        shown=json.dumps(masked(body), ensure_ascii=False, indent=2),
        curl=as_curl(masked(body), request.host_url),
        wanted=typed if typed is not None else _to_correct(body),
        wrong=wrong,
        notification=store.delivery_log.of_job(found),
        can=_possible(found),
    )


def _to_correct(body: Mapping[str, Any]) -> str:
    given = {name: each for name, each in body.items() if name != "external_task_id"}
    return json.dumps(given, ensure_ascii=False, indent=2)


def _possible(found: Job) -> frozenset[str]:
    """Return what the state of a job allows. The store decides; the page leaves out what it would refuse."""
    can = set[str]()
    if found.state is State.QUEUED:
        can.add("resume" if found.paused else "pause")
    if not found.state.final:
        can.add("cancel")
    elif found.state is not State.COMPLETED and found.phase is None:
        can |= {"retry", "correct"}
    elif found.state is State.COMPLETED and found.regenerated_by is None:
        can.add("regenerate")
    return frozenset(can)


@page("/jobs/<job_id>/cancel", scope=Scope.CANCEL, methods=["POST"])
def cancel_job(job_id: str) -> ResponseReturnValue:
    """Cancel a job."""
    return _act(job_id, "Cancelled", services().store.jobs.cancel)


@page("/jobs/<job_id>/pause", scope=Scope.CANCEL, methods=["POST"])
def pause_job(job_id: str) -> ResponseReturnValue:
    """Pause a job that waits."""
    return _act(job_id, "Paused", services().store.jobs.pause)


@page("/jobs/<job_id>/resume", scope=Scope.ENQUEUE, methods=["POST"])
def resume_job(job_id: str) -> ResponseReturnValue:
    """Resume a paused job."""
    return _act(job_id, "Resumed", services().store.jobs.resume)


@page("/jobs/<job_id>/retry", scope=Scope.ENQUEUE, methods=["POST"])
def retry_job(job_id: str) -> ResponseReturnValue:
    """Queue a job again that ended without images."""
    return _act(job_id, "Retried", services().store.jobs.retry)


@page("/files/jobs/<job_id>/correct", scope=Scope.ENQUEUE, methods=["POST"], form_bytes=_CORRECTION)
def correct_job(job_id: str) -> ResponseReturnValue:
    """Correct the request of a job, and queue it again. A request that is refused stays in the form."""
    revised = _with_request(job_id, lambda data: revise(data, job_id, None))
    if isinstance(revised, Response):
        return revised
    _send_hints(job_id, revised)
    return done(f"Corrected job {given_id(job_id)}: it waits with the new request.", "pages.job", job_id=job_id)


@page("/files/jobs/<job_id>/regenerate", scope=Scope.ENQUEUE, methods=["POST"], form_bytes=_CORRECTION)
def regenerate_job(job_id: str) -> ResponseReturnValue:
    """Generate the images of a completed job once more, as a new job. A request that is refused stays in the form."""
    made = _with_request(job_id, lambda data: regenerate(job_id, services().load(data)))
    if isinstance(made, Response):
        return made
    return done(f"Job {given_id(made.job)} generates the images once more.", "pages.job", job_id=made.job)


def _with_request(job_id: str, use: Callable[[object], Made]) -> Made | Response:
    """Use the request in the form; or return the page that says what is wrong with it."""
    typed = request.form.get("request", "")
    try:
        return use(parse_json(typed.encode()))
    except RequestInvalid as error:
        why = "; ".join(f"{name}: {' '.join(each)}" for name, each in error.errors.items())
    except (SchemaError, NotAllowed, ProblemError) as error:
        why = str(error)
    answer = _show(job_id, why, typed)
    answer.status_code = 422
    return answer


@page("/jobs/<job_id>/replay", scope=Scope.ENQUEUE, methods=["POST"])
def replay_job(job_id: str) -> ResponseReturnValue:
    """Send the notification of a job again."""
    (outcome,) = services().store.delivery_log.replay([job_id], caller().owner)
    annotate(outcome=outcome.value)
    if outcome is ReplayOutcome.UNKNOWN:
        raise JobNotFound(job_id)
    if outcome is ReplayOutcome.NOTHING:
        return not_done("The job has no notification to send again.", "pages.job", job_id=job_id)
    services().send(DELIVER, job_id)
    return done(f"The notification of job {given_id(job_id)} is sent again.", "pages.job", job_id=job_id)


def _act(job_id: str, did: str, change: Any) -> ResponseReturnValue:
    try:
        settled = change(job_id, caller=caller().owner, by=caller().key)
    except NotAllowed as error:
        return not_done(str(error), "pages.job", job_id=job_id)
    annotate(outcome=settled.outcome.value)
    _send_hints(job_id, settled)
    return done(f"{did} job {given_id(job_id)}.", "pages.job", job_id=job_id)


def _send_hints(job_id: str, settled: TransitionResult[StrEnum] | TransitionResult[Any]) -> None:
    if settled.owed:
        services().send(DELIVER, job_id)
    if settled.admit_hint:
        services().send(SUBMIT)
