"""A new batch from a file or pasted lines: choose it, map its columns, check it, start it.

Each step is a form with everything in it (webhook.drafts.draft): steps may go to different processes, and be repeated.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from flask import Response, request
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError

from jobs.api_keys import Scope
from jobs.producer_ids import given_id
from schemas import MODELS, BodyInvalid, RequestInvalid, parse_json
from schemas.queries.batches import QuoteQuery
from webhook.access.audit_log import leave_out_of_trail
from webhook.access.auth import caller
from webhook.api.batches import enqueue_lines, quote_lines
from webhook.api.enqueue import new_id
from webhook.api.ownership import batch_to_fill
from webhook.api.upload_lines import LineRefused, NumberedLine
from webhook.drafts.columns import AS_LABEL, AS_METADATA, Line, Mapped, assign, guess, requests
from webhook.drafts.draft import Draft, unpack
from webhook.drafts.errors import FileRefused
from webhook.http.problems import ProblemError
from webhook.pages.blueprint import done, page, page_url, show
from webhook.pages.drafts import FORM_BYTES, LIMITS, account, columns, draft_in_form, uses_in_form
from webhook.pages.formats import count, counted
from webhook.pages.forms import errors_of
from webhook.services import Services, services

#: Refused lines that are named, lines of the file that are shown, and characters of a request that are shown.
_MOST_NAMED, _MOST_SHOWN, _LONGEST_SHOWN = 20, 5, 400
#: Parameters that a person may set for all lines; others as JSON.
PARAMETERS = ("n", "aspect_ratio", "resolution")
_OPTIONS = ("id", "priority", "max_cost", "callback_url", "on_error")
#: Fields that show their own error.
_FIELDS = ("template", "more", "label", "pilot", "id", "max_cost", *PARAMETERS)
START, START_PAUSED, START_PILOT = "start", "paused", "pilot"
#: What a column may become beside a member of the request.
_OTHER_USES = ((AS_METADATA, "metadata: comes back with the result"), (AS_LABEL, "label of the job"))
STARTS = (START, START_PAUSED, START_PILOT)
_PILOT = 20


@dataclass
class Step:
    """What the page shows after a step: the draft, what was entered, what is wrong with it, and the quote."""

    draft: Draft
    packed: str
    entered: dict[str, str]
    uses: tuple[str, ...] = ()
    errors: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    refused: list[dict[str, Any]] = field(default_factory=list)
    quote: dict[str, Any] | None = None
    sample: list[tuple[int, str]] = field(default_factory=list)


@page("/batches/~new", scope=Scope.ENQUEUE)  # no id of a batch begins like this
def new_batch() -> Response:
    """Show the form for a file or pasted lines."""
    return _choose()


@page("/files/new-batch", scope=Scope.ENQUEUE, methods=["POST"], form_bytes=FORM_BYTES)
def read_new_batch() -> ResponseReturnValue:
    """Read the file, and ask what its columns are."""
    shared, form = services(), request.form
    try:
        with shared.transfers.enter():
            account()
            draft = draft_in_form()
            packed = draft.pack()
    except FileRefused as error:
        return _choose(str(error), form), 422
    return _show(Step(draft, packed, {"pilot": str(_PILOT)}, guess(draft.header)))


@page("/files/new-batch/check", scope=Scope.ENQUEUE, methods=["POST"], form_bytes=FORM_BYTES)
def check_new_batch() -> ResponseReturnValue:
    """Check all lines, and show their mistakes and the quote; or start the batch."""
    account()
    form = request.form
    if form.get("do") not in STARTS:
        leave_out_of_trail()
    try:
        draft = unpack(form.get("draft", ""))
    except FileRefused as error:
        return _choose(str(error)), 422
    uses = uses_in_form(draft)
    # Made once: the same form sent twice makes no second batch.
    entered = {**form, "id": form.get("id", "").strip() or new_id()}
    step = Step(draft, form["draft"], entered, uses)
    try:
        query, given = _options(step)
        mapped = Mapped(uses, form.get("template", "").strip(), _defaults(step))
        if step.errors:
            return _show(step), 422
        step.sample = [
            (line.number, line.request.decode(errors="replace")[:_LONGEST_SHOWN])
            for line in islice((each for each in requests(draft, mapped) if each.request), _MOST_SHOWN)
        ]
        batch = batch_to_fill(query["id"])
        lines = requests(draft, mapped)
        if form.get("do") in STARTS:
            return _start(batch, query, given, lines)
        step.quote = quote_lines(batch, query, given, partial(_for_upload, lines))
        step.refused = step.quote["errors"][:_MOST_NAMED]
    except FileRefused as error:
        step.problem = str(error)
    except RequestInvalid as error:
        step.errors |= {name: "; ".join(texts) for name, texts in error.errors.items()}
    except ProblemError as problem:
        step.problem, step.refused = problem.detail, list(problem.more.get("errors", ()))[:_MOST_NAMED]
        step.errors |= errors_of(problem)
        return _show(step), problem.status
    return _show(step), 422 if step.problem or step.errors else 200


def _for_upload(lines: Iterator[Line], shared: Services) -> Iterator[NumberedLine]:
    """Yield the lines of a draft for the use case."""
    for line in lines:
        if line.errors:
            yield line.number, LineRefused(dict(line.errors))
        else:
            yield line.number, line.request if len(line.request) <= shared.settings.max_body else None


def _start(batch: str, query: dict[str, Any], given: frozenset[str], lines: Iterator[Line]) -> ResponseReturnValue:
    result = enqueue_lines(batch, query, given, partial(_for_upload, lines))
    name = batch if caller().admin else given_id(batch)
    parts = [f"{counted(result.accepted, 'job')} enqueued"]
    parts += [f"there already: {count(result.known)}"] if result.known else []
    parts += [f"{counted(result.rejected, 'line')} left out"] if result.rejected else []
    parts += [each.message for each in result.warnings]
    text = f"Batch {given_id(batch)}: {'; '.join(parts)}."
    if page_url("pages.batch", batch_id=name):
        return done(text, "pages.batch", batch_id=name)
    return done(text, "pages.batches")


def _options(step: Step) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the options of the batch, checked as those of an upload, and the names of those given."""
    entered = step.entered
    given: dict[str, Any] = {name: text for name in _OPTIONS if (text := entered.get(name, "").strip())}
    if labels := [each.strip() for each in entered.get("labels", "").splitlines() if each.strip()]:
        given["label"] = labels
    if "max_cost" in given:
        given["max_cost"] = given["max_cost"].removeprefix("$").replace(",", "")
    if entered.get("do") == START_PILOT:
        given["pilot"] = entered.get("pilot", "").strip()
    elif entered.get("do") == START_PAUSED:
        given["paused"] = "true"
    try:
        return QuoteQuery().load(given), frozenset(given)
    except ValidationError as error:
        step.errors |= errors_of(error)
        return {}, frozenset()


def _defaults(step: Step) -> dict[str, Any]:
    """Return the parameters for lines that lack them."""
    entered, defaults = step.entered, dict[str, Any]()
    if more := entered.get("more", "").strip():
        try:
            value = parse_json(more.encode(errors="surrogatepass"))
        except BodyInvalid as error:
            step.errors["more"] = f"is no JSON object: {error.reason}"
            value = {}
        if isinstance(value, dict):
            defaults |= value
        else:
            step.errors["more"] = 'must be a JSON object, such as {"expires_in": 3600}'
    if entered.get("model"):
        defaults["model"] = entered["model"]
    for name in PARAMETERS:
        if text := entered.get(name, "").strip():
            assign(defaults, name, text)
    return defaults


def _together(refused: Iterable[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the refused lines as numbers or ranges, and what is wrong: lines that follow each other count as one."""
    found = list[tuple[int, int, Mapping[str, Any]]]()
    for each in refused:
        if found and found[-1][1] == each["line"] - 1 and found[-1][2] == each["errors"]:
            found[-1] = (found[-1][0], each["line"], each["errors"])
        else:
            found.append((each["line"], each["line"], each["errors"]))
    return [
        (count(first) if first == last else f"{count(first)}–{count(last)}", errors) for first, last, errors in found
    ]


def _choose(problem: str = "", entered: Mapping[str, str] | None = None) -> Response:
    return show("new_batch.html", problem=problem, entered=entered or {}, limits=LIMITS)


def _show(step: Step) -> Response:
    draft = step.draft
    return show(
        "new_batch_check.html",
        step=step,
        refused=_together(step.refused),
        columns=columns(draft, step.uses, _OTHER_USES),
        models=[("", "as in the lines"), *((each, each) for each in sorted(MODELS))],
        more_refused=max(0, (step.quote or {}).get("rejected", 0) - len(step.refused)),
        first_lines=[(number, cells[0]) for number, cells in draft.lines[:_MOST_SHOWN]],
        known_fields=_FIELDS,
    )
