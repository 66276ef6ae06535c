"""The pages of bulk actions: count first, then start, watch and abort."""

from flask import Response, abort, request
from flask.typing import ResponseReturnValue

from jobs.api_keys import Scope
from jobs.bulk import Bulk, BulkAction, BulkState
from jobs.errors import NotAllowed
from jobs.job import Priority
from webhook.access.auth import caller
from webhook.bulk import SCOPES, abort_bulk, begin_bulk
from webhook.pages.blueprint import done, not_done, page, show
from webhook.pages.jobs import address_of, asked_in, load_filter
from webhook.services import services

#: What each action does, for the page that asks whether to start it.
MEANINGS = {
    BulkAction.CANCEL: "Jobs that wait are never sent. The provider goes on with tasks that it has: they are still "
    "paid, and their results are kept. A cancelled job can be retried.",
    BulkAction.RETRY: "Each job is sent to the provider again, as a new attempt. Each attempt costs money.",
    BulkAction.PAUSE: "Jobs that wait are not sent until they are resumed. Tasks at the provider go on.",
    BulkAction.RESUME: "Paused jobs go on at their old places in the queue, and then cost money.",
    BulkAction.PRIORITY: "Jobs that wait change their priority: those of a higher one are sent first.",
}


@page("/bulk", scope=Scope.READ)
def bulks() -> Response:
    """List the last bulk actions of the caller; for an administrator, of all producers."""
    return show("bulks.html", part="bulks_now.html", bulks=services().store.bulks.last(caller=caller().owner))


@page("/bulk", scope=Scope.READ, methods=["POST"])
def count_bulk() -> ResponseReturnValue:
    """Begin the dry run of a bulk action on the filter in the form."""
    asked, form = asked_in(request.form), request.form
    only, _, errors = load_filter(asked)
    action, priority = form.get("action", ""), form.get("priority") or None
    if only is None or action not in set(BulkAction) or priority not in {None, *Priority}:
        text = "; ".join(errors.values()) or "The filter names nothing of yours"
        return not_done(f"{text}. Nothing was changed.", "pages.jobs", **address_of(asked))
    chosen = BulkAction(action)
    if chosen is not BulkAction.PRIORITY:
        priority = None
    elif priority is None:
        return not_done("Choose the new priority. Nothing was changed.", "pages.jobs", **address_of(asked))
    kept = asked | ({"priority": priority} if priority else {})
    try:
        begun = begin_bulk(chosen, only, kept, priority=Priority(priority) if priority else None, dry_run=True)
    except NotAllowed as error:
        return not_done(str(error), "pages.jobs", **address_of(asked))
    counted = "The jobs are being counted" if begun.state is BulkState.RUNNING else "The jobs are counted"
    return done(f"{counted}. Nothing is changed yet.", "pages.bulk", bulk_id=begun.id)


@page("/bulk/<bulk_id>", scope=Scope.READ)
def bulk(bulk_id: str) -> Response:
    """Show a bulk action: of a dry run, what it would do, and the button that starts it."""
    found = services().store.bulks.get(bulk_id, caller=caller().owner)
    return show(
        "bulk.html",
        part="bulk_now.html",
        bulk=found,
        meaning=MEANINGS[found.action],
        scope=SCOPES[found.action].value,
        conditions=_conditions(found),
        query=address_of({name: value for name, value in found.asked.items() if name != "priority"}),
    )


@page("/bulk/<bulk_id>/start", scope=Scope.READ, methods=["POST"])
def start_bulk(bulk_id: str) -> ResponseReturnValue:
    """Start what a dry run has counted. A second click starts nothing more."""
    counted = services().store.bulks.get(bulk_id, caller=caller().owner)
    priority = counted.asked.get("priority")
    asked = {name: value for name, value in counted.asked.items() if name != "priority"}
    only, _, _ = load_filter(asked)
    if only is None or not counted.dry_run:
        abort(404)
    try:
        begun = begin_bulk(
            counted.action,
            only,
            counted.asked,
            priority=Priority(str(priority)) if priority else None,
            idempotency_key=f"after the count {counted.id}",
        )
    except NotAllowed as error:
        return not_done(str(error), "pages.bulk", bulk_id=bulk_id)
    return done("Started.", "pages.bulk", bulk_id=begun.id)


@page("/bulk/<bulk_id>/abort", scope=Scope.READ, methods=["POST"])
def stop_bulk(bulk_id: str) -> ResponseReturnValue:
    """Abort a bulk action. What it has changed stays."""
    aborted = abort_bulk(bulk_id)
    return done(f"It is {aborted.state}. What it has changed stays.", "pages.bulk", bulk_id=bulk_id)


def _conditions(found: Bulk) -> list[tuple[str, str]]:
    """Return the conditions of its filter for people."""
    return [
        (name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in found.asked.items()
        if name != "priority" or found.action is BulkAction.PRIORITY
    ]
