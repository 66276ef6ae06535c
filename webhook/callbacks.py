"""The provider calls back. Checks run cheapest first, the state changes in one round trip, and a repeat succeeds.

The answer is 204 for everything that the caller cannot do better, even for a job that is not ours any more: a sender
that gets an error repeats itself. Plain Flask, since this is the path that runs for every picture.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flask import Blueprint, Request, Response, request

from jobs import logs
from jobs.errors import StoreUnavailable
from jobs.job import ATTEMPT_MARK, parse_external_id
from jobs.provider_result import ended
from jobs.settings import CallbackMode
from jobs.store.store import Store
from schemas import BodyInvalid, TaskReport, TaskStatus, parse_json, read_callback, token_is_valid
from schemas.signatures import is_signed
from webhook.http.bodies import checked_length, read_whole
from webhook.http.client_address import client_address, is_taken_from
from webhook.http.problems import ProblemError
from webhook.messages import DELIVER, RECONCILE, SUBMIT
from webhook.services import Services, services
from webhook.settings import Settings

blueprint = Blueprint("callbacks", __name__)
_log = logging.getLogger(__name__)
_AT_WORK = frozenset({TaskStatus.WAITING, TaskStatus.RUNNING})
#: Outcomes that someone should read about.
_ODD = frozenset({"contradicted", "unknown"})


class Taken(NamedTuple):
    """What became of a callback: `word` is the store's, `hints` are messages to send, (task, args...) each."""

    outcome: str
    hints: tuple[tuple[str, ...], ...] = ()


class _NotOurs(ProblemError):
    """Not from the provider as far as can be told, whatever it was that told. `counted`: the metric's word for it."""

    def __init__(self, counted: str) -> None:
        said = "This address was not made by us, or its secret was retired; call the one you were given."
        super().__init__(403, said)
        self.counted = counted


# Strangers learn nothing from how they are refused: what lacks a token is told what a wrong one is told, for jobs that
# there are and for those that there are not.
@blueprint.post("/callbacks/<path:external_task_id>", defaults={"token": ""})
@blueprint.post("/callbacks/<external_task_id>/<token>")
def take(external_task_id: str, token: str) -> Response:
    """One callback, in any of the contract's shapes."""
    shared = services()
    outcome = shared.counters.callbacks.labels
    try:
        length = checked_length(request, shared.settings.max_callback)
        _check_sender(request, shared.settings)
        _check_token(external_task_id, token, shared.settings.callback_secrets)
        body = read_whole(request, length)
        if shared.settings.signature_secrets:
            _check_signature(dict(request.headers), body, shared.settings.signature_secrets)
        report = read_callback(_object(body))
        taken = apply(shared.store, shared.settings.callback_mode, external_task_id, report)
    except _NotOurs as error:
        outcome(error.counted).inc()
        raise
    except ProblemError as error:
        outcome(f"refused_{error.status}").inc()
        raise
    except BodyInvalid:
        outcome("refused_400").inc()
        raise
    except StoreUnavailable:
        outcome("unavailable").inc()
        raise
    outcome(taken.outcome).inc()
    _tell(external_task_id, report, taken)
    _hint(shared, taken)
    return Response(status=204)


def apply(store: Store, mode: CallbackMode, external_task_id: str, report: TaskReport | None) -> Taken:
    """Take a report in, or have the provider asked. Raises `StoreUnavailable`."""
    if report is None or mode is CallbackMode.CONFIRM or _is_of_another(report, external_task_id):
        return _nudged(store, external_task_id, look=True)
    if report.status is not TaskStatus.COMPLETED or not report.settles:
        # A failure too is only a hint: believed wrongly, it would have the next attempt paid for as well.
        return _nudged(store, external_task_id, look=report.status not in _AT_WORK)
    settled = store.attempts.finish(external_task_id, *ended(report), "callback")
    hints: list[tuple[str, ...]] = []
    if settled.owed:
        hints.append((DELIVER, external_task_id.partition(ATTEMPT_MARK)[0]))
    if settled.admit_hint:
        hints.append((SUBMIT,))
    return Taken(settled.outcome, tuple(hints))


def _check_sender(request: Request, settings: Settings) -> None:
    if settings.callback_addresses:
        forwarded_for = request.headers.get("X-Forwarded-For", "")
        address = client_address(request.remote_addr, forwarded_for, settings.trusted_proxies)
        if not is_taken_from(address, settings.callback_addresses):
            raise _NotOurs("refused_address")


def _check_token(external_task_id: str, token: str, secrets: Sequence[str]) -> None:
    if not token_is_valid(external_task_id, token, secrets):
        raise _NotOurs("refused_403")


def _check_signature(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> None:
    # A repeat within the five minutes is a repeat like any other: it changes nothing.
    if not is_signed(headers, body, secrets):
        raise ProblemError(
            403,
            "Not signed, or not with a secret of ours, or more than five minutes ago; "
            "sign as https://www.standardwebhooks.com says.",
        )


def _object(body: bytes) -> object:
    parsed = parse_json(body)
    if not isinstance(parsed, dict):
        raise BodyInvalid("not an object")
    return parsed


def _is_of_another(report: TaskReport, external_task_id: str) -> bool:
    """The address says whose callback it is; a body that says otherwise is not to be taken at its word."""
    return report.external_task_id is not None and report.external_task_id != external_task_id


def _nudged(store: Store, external_task_id: str, *, look: bool) -> Taken:
    nudged = store.attempts.record_callback(external_task_id, look=look)
    return Taken(nudged.outcome, ((RECONCILE,),) if nudged.admit_hint else ())


def _tell(external_task_id: str, report: TaskReport | None, taken: Taken) -> None:
    status = report.status.value if report else "unreadable"
    odd = taken.outcome in _ODD or report is None or report.status is TaskStatus.UNKNOWN
    # The usual is counted in the metrics; a line for each would cost a tenth of what the callback itself does.
    level = logging.WARNING if odd else logging.DEBUG
    # A word that nobody knows is the sender's text: short, and escaped so that it cannot break out of its line.
    word = f" word={report.word[:40]!a}" if report and report.status is TaskStatus.UNKNOWN else ""
    named = ascii(external_task_id)[1:-1]
    job_id, attempt = parse_external_id(external_task_id) or (external_task_id, 0)
    with logs.about(job=job_id, attempt=attempt):
        _log.log(level, "callback job=%s status=%s outcome=%s%s", named, status, taken.outcome, word)


def _hint(shared: Services, taken: Taken) -> None:
    for hint in taken.hints:
        shared.send(*hint)
