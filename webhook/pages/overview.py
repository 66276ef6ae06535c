"""The start page: what is moving now, and whether all is well."""

from flask import Response, request

from jobs.api_keys import Scope
from jobs.errors import StoreUnavailable
from jobs.states import State
from webhook.access.auth import caller
from webhook.condition import OK, examine
from webhook.pages.blueprint import page, show
from webhook.services import services


@page("/", scope=Scope.READ)
def overview() -> Response:
    """Show the condition of the service, and the numbers of jobs by state."""
    now = examine(services())
    return show("overview.html", part="overview_now.html", now=now, ok=OK, origin=request.host_url, **_figures())


def _figures() -> dict[str, object]:
    """Return the numbers that the caller may see; none while Redis is away, which the page then says."""
    store = services().store
    try:
        if caller().admin:
            counts = store.statistics.totals().counts
            return {"counts": counts, "jobs": sum(counts.values()), "states": list(State)}
        return {"unfinished": store.statistics.held().unfinished.get(caller().name, 0)}
    except StoreUnavailable:
        return {}
