"""The page of a batch: how far it is, what failed and why, its images, and what can be done with it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask import Response, request
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError

from jobs.api_keys import Scope
from jobs.batch_action import BatchActionResult
from jobs.errors import NotAllowed
from jobs.failures import FailureClass, classify
from jobs.job import Job
from jobs.job_filter import JobFilter
from jobs.producer_ids import given_id
from jobs.read_models import Batch
from jobs.states import FINAL, State
from jobs.task_names import SUBMIT
from schemas.queries.batches import BatchResumeQuery
from schemas.requests.base import PRIORITIES
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.api.ownership import name_of
from webhook.pages.batches import BAR
from webhook.pages.blueprint import done, not_done, page, show
from webhook.pages.charts import columns
from webhook.pages.formats import counted
from webhook.pages.forms import errors_of
from webhook.services import services

#: Failed jobs among which an example of each error is looked for.
_EXAMPLES = 100
#: What each class of failure asks for.
ADVICE = {
    FailureClass.TRANSIENT: "Retry them as they are.",
    FailureClass.MODERATION: "Correct the requests: the provider refused their content.",
    FailureClass.INVALID: "Correct the requests: the provider refused a parameter.",
    FailureClass.QUOTA: "The operator has to act at the provider; then retry.",
    FailureClass.PROVIDER: "The message says more. A retry may be paid for again.",
    FailureClass.UNSAVED: "The images are paid for, but could not be saved. Do not retry; ask the operator.",
}


@dataclass(slots=True)
class Failures:
    """The failed jobs of a class: how many of each code, and an example of each that was found."""

    failure: FailureClass
    codes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Job] = field(default_factory=dict)


@page("/batches/<batch_id>", scope=Scope.READ)
def batch(batch_id: str) -> Response:
    """Show a batch."""
    found = services().store.batches.get(batch_id)
    return show(
        "batch.html",
        part="batch_now.html",
        batch=found,
        name=name_of(batch_id),
        named=name_of,
        states=BAR,
        priorities=[(each, each) for each in PRIORITIES],
        **_failed(found),
        **_ends(found),
    )


@page("/batches/<batch_id>/cancel", scope=Scope.CANCEL)
def ask_to_cancel_batch(batch_id: str) -> Response:
    """Ask whether to cancel a batch."""
    found = services().store.batches.get(batch_id)
    return show("batch_cancel.html", batch=found, name=name_of(batch_id), states=BAR)


@page("/batches/<batch_id>/cancel", scope=Scope.CANCEL, methods=["POST"])
def cancel_batch(batch_id: str) -> ResponseReturnValue:
    """Cancel the unfinished jobs of a batch."""
    return _act(batch_id, lambda: services().store.batches.cancel(batch_id, caller=caller().owner))


@page("/batches/<batch_id>/pause", scope=Scope.CANCEL, methods=["POST"])
def pause_batch(batch_id: str) -> ResponseReturnValue:
    """Pause a batch."""
    return _act(batch_id, lambda: services().store.batches.pause(batch_id, caller=caller().owner))


@page("/batches/<batch_id>/resume", scope=Scope.ENQUEUE, methods=["POST"])
def resume_batch(batch_id: str) -> ResponseReturnValue:
    """Resume a batch; with `max_cost`, under a new cap."""
    try:
        given = BatchResumeQuery().load({name: text for name, text in request.form.items() if name == "max_cost"})
    except ValidationError as error:
        problems = errors_of(error).get("max_cost", "is not valid")
        return not_done(f"The cap {problems}. Nothing was changed.", "pages.batch", batch_id=name_of(batch_id))
    cap: Decimal | None = given.get("max_cost")
    return _act(batch_id, lambda: services().store.batches.resume(batch_id, max_cost=cap, caller=caller().owner))


@page("/batches/<batch_id>/approve", scope=Scope.ENQUEUE, methods=["POST"])
def approve_batch(batch_id: str) -> ResponseReturnValue:
    """Approve a batch that waits for it."""
    return _act(batch_id, lambda: services().store.batches.approve(batch_id, caller=caller().owner))


@page("/batches/<batch_id>/retry", scope=Scope.ENQUEUE, methods=["POST"])
def retry_batch(batch_id: str) -> ResponseReturnValue:
    """Retry the failed jobs of a class, or of one error code."""
    classes = [each for each in FailureClass if each.value == request.form.get("class")]
    codes = [request.form["code"]] if "code" in request.form else []
    if not classes and not codes:
        return not_done("Nothing was chosen, and nothing retried.", "pages.batch", batch_id=name_of(batch_id))
    return _act(
        batch_id,
        lambda: services().store.batches.retry(batch_id, [State.FAILED], codes, classes=classes, caller=caller().owner),
    )


#: Action → what the page says of it.
_SAID = {
    "pause": "Paused batch {name}, with {jobs}.",
    "resume": "Resumed batch {name}, with {jobs}.",
    "approve": "Approved batch {name}. Submitted from now on: {jobs}.",
    "cancel": "Cancelled {jobs} of batch {name}.",
    "retry": "Retrying {jobs} of batch {name}.",
}


def _act(batch_id: str, act: Any) -> ResponseReturnValue:
    name = name_of(batch_id)
    try:
        result: BatchActionResult = act()
    except NotAllowed as error:
        return not_done(str(error), "pages.batch", batch_id=name)
    annotate(affected=result.affected, pending=result.pending)
    if result.admit_hint:
        services().send(SUBMIT)
    text = _SAID[result.action].format(name=given_id(batch_id), jobs=counted(result.affected, "job"))
    if result.pending:
        text += f" Up to {result.pending:,} more follow."
    return done(text, "pages.batch", batch_id=name)


def _ends(batch: Batch) -> dict[str, Any]:
    """Return the chart of when its jobs ended, with its numbers; without `ends` where none has."""
    if batch.ends is None or not batch.ends.counts:
        return {"ends": None}
    step = timedelta(seconds=batch.ends.seconds)
    rows = [(batch.ends.begun + number * step, count) for number, count in enumerate(batch.ends.counts)]
    ended = sum(batch.counts[state] for state in FINAL - {State.CANCELLED})
    return {
        "ends": columns([(f"{count:,} ended", {"first": count}) for _, count in rows]),
        "ends_rows": rows,
        "ends_until": rows[-1][0] + step,
        "ends_missing": max(0, ended - sum(batch.ends.counts)),
    }


def _failed(batch: Batch) -> dict[str, Sequence[Failures] | Any]:
    """Return the failures by class, the most frequent code first."""
    groups = {each: Failures(each) for each in FailureClass}
    for code, count in sorted(batch.errors.items(), key=lambda each: -each[1]):
        groups[classify(code)].codes[code] += count
    if batch.errors:
        only = JobFilter(states=(State.FAILED,), batch=batch.id)
        for job in services().store.jobs.page(only, limit=_EXAMPLES).jobs:
            code = ((job.result.error if job.result else None) or {}).get("code", "")
            groups[classify(code)].examples.setdefault(code, job)
    return {"failures": [each for each in groups.values() if each.codes], "advice": ADVICE}
