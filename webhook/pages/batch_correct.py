"""Correct the failed jobs of a batch from a file: choose it, check it, correct and retry.

The browser keeps the file between the steps (webhook.drafts.draft). Nothing is stored before the last one.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, request
from flask.typing import ResponseReturnValue

from jobs.api_keys import Scope
from webhook.access.audit_log import leave_out_of_trail
from webhook.api.batch_results import CSV
from webhook.api.enqueue import new_id
from webhook.api.ownership import name_of
from webhook.corrections import Checked, Correction, Outcome, check, correct
from webhook.drafts.corrections import guess_uses, rows
from webhook.drafts.draft import Draft, unpack
from webhook.drafts.errors import FileRefused
from webhook.http.csv_text import csv_text
from webhook.http.problems import ProblemError
from webhook.pages.blueprint import page, show
from webhook.pages.drafts import FORM_BYTES, LIMITS, account, columns, draft_in_form, uses_in_form
from webhook.services import services

#: Lines of each outcome that are shown. The CSV has all.
_MOST_SHOWN = 20
_HEADING = ("row", "id", "outcome", "revision", "detail")
_TITLES = {
    Outcome.CORRECTED: "Corrections",
    Outcome.REFUSED: "Refused",
    Outcome.UNCHANGED: "Unchanged",
}
#: Characters of what marks a form: sent twice, it corrects once.
_LONGEST_MARK = 64
#: The value of the button that corrects.
CORRECT = "correct"


@page("/batches/<batch_id>/correct", scope=Scope.ENQUEUE)
def choose_corrections(batch_id: str) -> Response:
    """Show the form for the file."""
    return _choose(batch_id)


@page("/files/batches/<batch_id>/correct", scope=Scope.ENQUEUE, methods=["POST"], form_bytes=FORM_BYTES)
def read_corrections(batch_id: str) -> ResponseReturnValue:
    """Read the file, and show what it would do."""
    try:
        with services().transfers.enter():
            account()
            draft = draft_in_form()
            return _check(batch_id, draft, draft.pack(), guess_uses(draft))
    except FileRefused as error:
        return _choose(batch_id, str(error), request.form), 422


@page("/files/batches/<batch_id>/correct/check", scope=Scope.ENQUEUE, methods=["POST"], form_bytes=FORM_BYTES)
def check_corrections(batch_id: str) -> ResponseReturnValue:
    """Show what the file would do with these columns; or correct the jobs, and show the outcome."""
    form = request.form
    if form.get("do") != CORRECT:
        leave_out_of_trail()
    try:
        with services().transfers.enter():
            account()
            draft = unpack(form.get("draft", ""))
            uses = uses_in_form(draft)
            if form.get("do") != CORRECT:
                return _check(batch_id, draft, form["draft"], uses)
            done = correct(batch_id, rows(draft, uses), form.get("once", "")[:_LONGEST_MARK] or new_id())
    except FileRefused as error:
        return _choose(batch_id, str(error)), 422
    return _show(batch_id, draft, done)


@page("/files/batches/<batch_id>/correct/outcome", scope=Scope.ENQUEUE, methods=["POST"], form_bytes=FORM_BYTES)
def corrections_file(batch_id: str) -> ResponseReturnValue:
    """Send the outcome of each line, which the page carries, as CSV."""
    account()
    try:
        found = unpack(request.form.get("outcome", ""))
    except FileRefused as error:
        raise ProblemError(422, str(error)) from None
    text = csv_text([found.header, *([cell or "" for cell in cells] for _, cells in found.lines)])
    answer = Response(text, content_type=f"{CSV}; charset=utf-8")
    name = f"{name_of(batch_id).replace(':', '_')}-corrections.csv"
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _check(batch_id: str, draft: Draft, packed: str, uses: tuple[str, ...]) -> ResponseReturnValue:
    """Show what the file would do; or, where it cannot be used with these columns, why."""
    more: dict[str, Any] = {"packed": packed, "once": new_id(), "columns": columns(draft, uses)}
    try:
        checked = check(batch_id, rows(draft, uses))
    except FileRefused as error:
        answer = _show(batch_id, draft, (), problem=str(error), **more)
        answer.status_code = 422
        return answer
    return _show(batch_id, draft, checked.corrections, checked=checked, **more)


def _choose(batch_id: str, problem: str = "", entered: Mapping[str, str] | None = None) -> Response:
    services().store.batches.get(batch_id)
    return show("batch_correct.html", name=name_of(batch_id), problem=problem, entered=entered or {}, limits=LIMITS)


def _show(
    batch_id: str, draft: Draft, found: Sequence[Correction], *, checked: Checked | None = None, **more: Any
) -> Response:
    """Show what lines would do, or, without `checked`, have done."""
    shown = {outcome: [each for each in found if each.outcome is outcome][:_MOST_SHOWN] for outcome in Outcome}
    counts = Counter(each.outcome.value for each in found)
    return show(
        "batch_correct_check.html",
        name=name_of(batch_id),
        draft=draft,
        found=found,
        checked=checked,
        result=bool(found) and checked is None,
        counts={outcome.value: counts[outcome.value] for outcome in Outcome},
        lists=[(_TITLES[outcome], outcome.value, shown[outcome]) for outcome in _TITLES],
        outcome=_pack(found) if found else "",
        text_of=_text,
        **more,
    )


def _pack(found: Sequence[Correction]) -> str:
    """Return the outcome of each line as a table that the page carries, for its download."""
    lines = (
        (
            str(each.row.number),
            each.row.id,
            each.outcome.value,
            "" if each.revision is None else str(each.revision),
            each.why or ", ".join(each.changes),
        )
        for each in found
    )
    return Draft("csv", "", _HEADING, tuple(enumerate(lines, start=1))).pack()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
