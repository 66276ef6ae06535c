"""The provider's callbacks. The cheapest checks come first, one round trip changes the state, and a repeat succeeds.

A call with a valid token is answered with 204, even for a job that no longer exists: a sender repeats a call that gets
an error. A body that cannot be read only says that something changed, so that the service asks the provider. The view
is plain Flask without flask-smorest, since it runs for every image.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flask import Blueprint, Request, Response, request
from werkzeug.exceptions import MethodNotAllowed

from jobs import logs
from jobs.attempt_ids import ATTEMPT_MARK, parse_external_id
from jobs.errors import StoreUnavailable
from jobs.provider_result import ended
from jobs.settings import CallbackMode
from jobs.store.outcomes.jobs import CallbackOutcome, FinishOutcome
from jobs.store.store import Store
from jobs.task_names import DELIVER, RECONCILE, SUBMIT
from schemas import BodyInvalid, TaskReport, TaskStatus, parse_json, read_callback, token_is_valid
from schemas.signatures import is_signed
from webhook.http.bodies import checked_length, drain, read_limited
from webhook.http.client_address import client_address, is_allowed
from webhook.http.problems import ProblemError
from webhook.services import services
from webhook.settings import Settings

blueprint = Blueprint("callbacks", __name__)
_log = logging.getLogger(__name__)
#: Bytes of a body over the limit that are read and discarded, so that its sender gets the answer.
_MOST_DISCARDED = 16 * 1024 * 1024
_UNFINISHED = frozenset({TaskStatus.WAITING, TaskStatus.RUNNING})
#: Outcomes that are worth a warning.
_UNUSUAL = frozenset({FinishOutcome.CONTRADICTED, FinishOutcome.UNKNOWN, CallbackOutcome.UNKNOWN})


class Applied(NamedTuple):
    """The store's outcome of a callback, and the hints to send: (task, *args) each."""

    outcome: FinishOutcome | CallbackOutcome
    hints: tuple[tuple[str, ...], ...] = ()


class _NotFromProvider(ProblemError):
    """The call does not come from the provider. `outcome`: its label in the metric."""

    def __init__(self, outcome: str) -> None:
        super().__init__(
            403,
            "This is not a callback URL of this service, or its secret was removed. Call the URL that you were given.",
        )
        self.outcome = outcome


# A missing token and a wrong one get the same answer, whether the job exists or not, so that strangers learn nothing.
@blueprint.post("/callbacks/<path:external_task_id>", defaults={"token": ""})
@blueprint.post("/callbacks/<external_task_id>/<token>")
def take(external_task_id: str, token: str) -> Response:
    """Handle a callback: any of the contract's shapes, or any other body as a hint."""
    shared = services()
    count = shared.counters.callbacks.labels
    try:
        _authenticate(request, external_task_id, token, shared.settings)
        report, fault = _read(request, shared.settings)
        applied = apply(shared.store, shared.settings.callback_mode, external_task_id, report)
    except _NotFromProvider as error:
        count(error.outcome).inc()
        raise
    except ProblemError as error:
        count(f"refused_{error.status}").inc()
        raise
    except StoreUnavailable:
        count("unavailable").inc()
        raise
    count("unreadable" if fault else applied.outcome).inc()
    _log_callback(external_task_id, report, applied, fault)
    for hint in applied.hints:
        shared.send(*hint)
    if fault:
        drain(request, _MOST_DISCARDED)
    return Response(status=204)


@blueprint.get("/callbacks/<external_task_id>/<token>")
def verify(external_task_id: str, token: str) -> Response:
    """Answer a sender that verifies the address, by GET or HEAD. It changes nothing.

    It is no hint: the provider may verify the address before it creates the task, and a callback counts as proof that
    the task exists, so that the job would never be sent again.
    """
    shared = services()
    try:
        _check_sender(request, shared.settings)
        _check_token(external_task_id, token, shared.settings.callback_secrets)
    except _NotFromProvider:
        # For everyone else the address supports POST only, as it does without a token.
        raise MethodNotAllowed(["OPTIONS", "POST"]) from None
    shared.counters.callbacks.labels("verified").inc()
    return Response(status=204)


def apply(store: Store, mode: CallbackMode, external_task_id: str, report: TaskReport | None) -> Applied:
    """Record a report, or have reconcile ask the provider. Raises `StoreUnavailable`."""
    if report is None or mode is CallbackMode.CONFIRM or _is_of_another(report, external_task_id):
        return _record(store, external_task_id, needs_lookup=True)
    if report.status is not TaskStatus.COMPLETED or not report.settles or report.left_out or report.error:
        # A failure is a hint only: a false one would cause, and cost, another attempt. So is a result with a defect.
        recorded = _record(store, external_task_id, needs_lookup=report.status not in _UNFINISHED)
        is_late_result = report.status is TaskStatus.COMPLETED and report.output
        if recorded.outcome is not CallbackOutcome.ALREADY or not is_late_result:
            return recorded
        # No poll follows the end of a job. If it failed because it had no result, this is the result.
    settled = store.attempts.finish(external_task_id, *ended(report), "callback")
    if settled.outcome is FinishOutcome.OTHER_COUNT:
        return _record(store, external_task_id, needs_lookup=True)
    hints: list[tuple[str, ...]] = []
    if settled.owed:
        hints.append((DELIVER, external_task_id.partition(ATTEMPT_MARK)[0]))
    if settled.admit_hint:
        hints.append((SUBMIT,))
    return Applied(settled.outcome, tuple(hints))


def _authenticate(request: Request, external_task_id: str, token: str, settings: Settings) -> None:
    """Check sender and token. Raises a problem: `_NotFromProvider`, or 411 or 413 if its body is not acceptable."""
    try:
        _check_sender(request, settings)
        _check_token(external_task_id, token, settings.callback_secrets)
    except _NotFromProvider:
        checked_length(request, settings.max_callback)
        raise


def _read(request: Request, settings: Settings) -> tuple[TaskReport | None, str]:
    """Return the report in the body, None if it has none; and why the body cannot be read, or ''.

    Raises a problem if signatures are required and the body is not signed, or cannot be read as a whole.
    """
    try:
        body = read_limited(request, settings.max_callback)
    except ProblemError as problem:
        if settings.signature_secrets:
            raise
        return None, problem.detail
    if settings.signature_secrets:
        _check_signature(dict(request.headers), body, settings.signature_secrets)
    try:
        return read_callback(parse_json(body, exact=True)), ""
    except BodyInvalid as error:
        return None, error.reason


def _check_sender(request: Request, settings: Settings) -> None:
    if settings.callback_addresses:
        forwarded_for = request.headers.get("X-Forwarded-For", "")
        address = client_address(request.remote_addr, forwarded_for, settings.trusted_proxies)
        if not is_allowed(address, settings.callback_addresses):
            raise _NotFromProvider("refused_address")


def _check_token(external_task_id: str, token: str, secrets: Sequence[str]) -> None:
    if not token_is_valid(external_task_id, token, secrets):
        raise _NotFromProvider("refused_403")


def _check_signature(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> None:
    # A replay within the five minutes changes nothing, like any repeat.
    if not is_signed(headers, body, secrets):
        raise ProblemError(
            403,
            "The signature is missing, too old (over five minutes) or made with another secret. "
            "Sign as https://www.standardwebhooks.com describes.",
        )


def _is_of_another(report: TaskReport, external_task_id: str) -> bool:
    """Return whether the body names another job than the path. Only the path is proven."""
    return report.external_task_id is not None and report.external_task_id != external_task_id


def _record(store: Store, external_task_id: str, *, needs_lookup: bool) -> Applied:
    recorded = store.attempts.record_callback(external_task_id, needs_lookup=needs_lookup)
    return Applied(recorded.outcome, ((RECONCILE,),) if recorded.admit_hint else ())


def _log_callback(external_task_id: str, report: TaskReport | None, applied: Applied, fault: str) -> None:
    status = report.status.value if report else "unreadable"
    unusual = applied.outcome in _UNUSUAL or report is None or report.status is TaskStatus.UNKNOWN
    # Metrics count the usual ones. A line for each would take a tenth of the callback's own time.
    level = logging.WARNING if unusual else logging.DEBUG
    # An unknown status comes from outside: cut and escaped, it cannot start a line of its own.
    word = f" word={report.status_text[:40]!a}" if report and report.status is TaskStatus.UNKNOWN else ""
    reason = f" reason={fault!a}" if fault else ""
    named = ascii(external_task_id)[1:-1]
    job_id, attempt = parse_external_id(external_task_id) or (external_task_id, 0)
    with logs.about(job=job_id, attempt=attempt):
        _log.log(level, "callback job=%s status=%s outcome=%s%s%s", named, status, applied.outcome, word, reason)
