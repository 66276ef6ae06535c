"""What needs a person: everything that does not continue by itself, and the decisions that settle a job."""

from collections.abc import Mapping

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue

from jobs.api_keys import Scope
from jobs.errors import JobNotFound
from jobs.job import Job
from jobs.producer_ids import given_id
from jobs.result import read_cost
from jobs.states import State
from jobs.store.manual import RISKS, Verdict
from jobs.store.outcomes.deliveries import RedeliverOutcome, ResaveOutcome
from jobs.store.outcomes.repairs import SettleCostOutcome, SettleOutcome
from jobs.store.stuck import MOST, DeadEnd, Kind, counted, dead_ends
from jobs.task_names import SUBMIT
from jobs.units import to_micros
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.pages.blueprint import done, not_done, page, show
from webhook.services import services

#: What needs a person, in words.
NEEDS = {
    Kind.INSTALLATION: "The jobs' Redis lacks jobs that it should hold",
    Kind.SERVICE: "Part of the service does not work",
    Kind.IN_DOUBT: "Jobs in doubt for ten minutes or longer",
    Kind.DELIVERY: "Deliveries that were given up",
    Kind.UNSAVED: "Results that could not be saved",
    Kind.LANE: "Lanes that submit nothing",
    Kind.CAP: "Batches and keys at their cap",
    Kind.COST: "Jobs of unknown cost",
    Kind.DAMAGED: "Damaged records",
    Kind.UNREADABLE: "Jobs with unreadable answers of the provider",
}
#: What an administrator settles on a page of the job.
OF_JOBS = frozenset({Kind.IN_DOUBT, Kind.DELIVERY, Kind.UNSAVED, Kind.COST, Kind.UNREADABLE})
#: What may belong to a producer.
_OWN = OF_JOBS | {Kind.CAP, Kind.DAMAGED}
#: Entries of one kind on a page, and of each kind where all are listed.
ROWS, FEW = 50, 10
_MOST_SKIP = 10_000_000
_NO_STORE = "No process of the service has a result store: set BOOMERANG_RESULT_STORE first."
_REDELIVERED = {
    RedeliverOutcome.NOTHING: "No delivery of this job was given up.",
    RedeliverOutcome.UNKNOWN: "There is no such job any more.",
    RedeliverOutcome.DAMAGED: "Its record is damaged: run boomerang-server audit.",
    RedeliverOutcome.NEWER: "Its record was written by a newer version of Boomerang.",
}
_SAVED = {
    ResaveOutcome.SAVED: "Its results are saved already.",
    ResaveOutcome.NOTHING: "It has no results.",
    ResaveOutcome.UNKNOWN: "There is no such job any more.",
    ResaveOutcome.DAMAGED: "Its record is damaged: run boomerang-server audit.",
    ResaveOutcome.NEWER: "Its record was written by a newer version of Boomerang.",
}


@page("/needs-a-person", scope=Scope.READ)
def needs_person() -> ResponseReturnValue:
    """List what needs a person, of one kind or of all. A producer sees what belongs to it."""
    kind = Kind(request.args["kind"]) if request.args.get("kind") in {each.value for each in NEEDS} else None
    return _of_all(kind) if caller().admin else _of_producer(kind)


@page("/needs-a-person/<job_id>", scope=Scope.ADMIN)
def settle_job(job_id: str) -> ResponseReturnValue:
    """Show what is known of a job, and each decision about it with its risk."""
    return _show(_job(job_id))


@page("/needs-a-person/<job_id>/outcome", scope=Scope.ADMIN, methods=["POST"])
def settle_outcome(job_id: str) -> ResponseReturnValue:
    """Settle the outcome of a submission. Applies only to the doubt that the person saw."""
    job, form = _job(job_id), request.form
    task_id, seen = form.get("task_id", "").strip(), form.get("since", "")
    if form.get("verdict") not in set(Verdict):
        return _show(job, errors={"verdict": "choose what happened"}), 422
    verdict = Verdict(form["verdict"])
    annotate(verdict=verdict.value, **({"task_id": task_id} if verdict is Verdict.SENT else {}))
    if verdict is Verdict.SENT and not task_id:
        return _show(job, errors={"task_id": "is needed: the id that the provider gave the task"}), 422
    if form.get("sure") != "yes":
        return _show(job, errors={verdict.value: "confirm that you have looked the job up at the provider"}), 422
    if job.unknown_since is None or str(to_micros(job.unknown_since)) != seen:
        return _changed(job)
    done_by = services().store.manual.settle(
        job, verdict, task_id=task_id if verdict is Verdict.SENT else "", by=caller().name
    )
    if done_by.outcome not in (SettleOutcome.SETTLED, SettleOutcome.OVER):
        return _changed(job)
    if done_by.admit_hint:
        services().send(SUBMIT)
    return done(f"Settled job {job.id} as {verdict}. It is now {done_by.state}.", "pages.needs_person")


@page("/needs-a-person/<job_id>/cost", scope=Scope.ADMIN, methods=["POST"])
def settle_job_cost(job_id: str) -> ResponseReturnValue:
    """Record what a job cost whose cost is unknown."""
    job = _job(job_id)
    try:
        cost = read_cost(request.form.get("usd", "").strip())
    except ValueError as error:
        return _show(job, errors={"usd": str(error)}), 422
    annotate(usd=f"{cost:f}")
    settled = services().store.manual.settle_cost(job.id, cost, by=caller().name)
    if settled.outcome is not SettleCostOutcome.SETTLED:
        return not_done(f"The cost of job {job.id} is not unknown any more. Nothing was changed.", "pages.needs_person")
    if settled.admit_hint:
        services().send(SUBMIT)
    return done(f"Settled the cost of job {job.id} at {cost:f} USD.", "pages.needs_person")


@page("/needs-a-person/<job_id>/deliveries", scope=Scope.ADMIN, methods=["POST"])
def redeliver_job(job_id: str) -> ResponseReturnValue:
    """Repeat the deliveries of a job that were given up."""
    job = _job(job_id)
    outcome = services().store.deliveries.retry([job.id])[job.id]
    if outcome is not RedeliverOutcome.OWED:
        return not_done(_REDELIVERED[outcome], "pages.needs_person")
    return done(f"The deliveries of job {job.id} are repeated.", "pages.needs_person")


@page("/needs-a-person/<job_id>/save", scope=Scope.ADMIN, methods=["POST"])
def save_job(job_id: str) -> ResponseReturnValue:
    """Save the results of a job again, after saving them was given up."""
    job, store = _job(job_id), services().store
    if store.context.configured.result_store is None and not store.liveness.pulse().saves:
        return not_done(
            "No process of the service has a result store: set BOOMERANG_RESULT_STORE.", "pages.needs_person"
        )
    outcome = store.saves.retry([job.id])[job.id]
    if outcome is not ResaveOutcome.OWED:
        return not_done(_SAVED[outcome], "pages.needs_person")
    return done(f"Workers try again to save the results of job {job.id}.", "pages.needs_person")


def _of_all(kind: Kind | None) -> ResponseReturnValue:
    """List what is stuck, of all producers and of the service."""
    store, skip = services().store, _skip() if kind else 0
    counts = {each: count for each, count in counted(store, store.lanes.get_all()).items() if count or each is kind}
    most = ROWS if kind else FEW
    kinds = [kind] if kind else [each for each, count in counts.items() if count]
    found = list(dead_ends(store, most=most, skip=skip, kinds=kinds)) if kinds else []
    follows = kind is not None and counts.get(kind, 0) > skip + most
    return _list(
        found,
        counts,
        kind,
        next=url_for("pages.needs_person", kind=kind, skip=skip + most) if follows else None,
        first=url_for("pages.needs_person", kind=kind) if skip else None,
    )


def _of_producer(kind: Kind | None) -> ResponseReturnValue:
    """List what belongs to the caller, among the oldest that are stuck."""
    own = list(dead_ends(services().store, most=MOST, kinds=_OWN, owner=caller().name))
    counts = {each: count for each in NEEDS if (count := sum(one.kind is each for one in own)) or each is kind}
    found, skip = [each for each in own if kind in (None, each.kind)], _skip()
    return _list(
        found[skip : skip + ROWS],
        counts,
        kind,
        next=url_for("pages.needs_person", kind=kind, skip=skip + ROWS) if len(found) > skip + ROWS else None,
        first=url_for("pages.needs_person", kind=kind) if skip else None,
    )


def _list(
    found: list[DeadEnd], counts: Mapping[Kind, int], kind: Kind | None, **links: str | None
) -> ResponseReturnValue:
    every = ("All", url_for("pages.needs_person"), kind is None, sum(counts.values()))
    pills = [(NEEDS[each], url_for("pages.needs_person", kind=each), each is kind, counts[each]) for each in counts]
    return show(
        "needs_person.html",
        part="needs_person_now.html",
        found=found,
        counts=counts,
        kind=kind,
        pills=[every, *pills],
        needs=NEEDS,
        of_jobs=OF_JOBS,
        given_id=given_id,
        **links,
    )


def _show(job: Job, errors: Mapping[str, str] | None = None) -> Response:
    unknown = job.unknown_since
    return show(
        "settle.html",
        job=job,
        since=to_micros(unknown) if unknown else None,
        in_doubt=job.at_provider is State.IN_DOUBT,
        unsaved=job.save is not None and job.save.given_up_at is not None,
        risks={verdict.value: risk for verdict, risk in RISKS.items()},
        errors=errors or {},
        entered=request.form,
    )


def _changed(job: Job) -> ResponseReturnValue:
    text = f"Job {job.id} changed in the meantime, so nothing was settled. Look at it again."
    return not_done(text, "pages.settle_job", job_id=job.id)


def _job(job_id: str) -> Job:
    (job,) = services().store.jobs.get_many([job_id])
    if job is None:
        raise JobNotFound(job_id)
    return job


def _skip() -> int:
    text = request.args.get("skip", "")
    return min(int(text), _MOST_SKIP) if text.isascii() and text.isdecimal() and len(text) < 10 else 0  # noqa: PLR2004
