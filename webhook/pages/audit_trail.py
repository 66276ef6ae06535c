"""The audit trail: who changed what, and with what result."""

from collections.abc import Mapping
from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError

from jobs.api_keys import Scope
from jobs.audit_trail import AuditEntry
from jobs.serialized_audit_trail import serialize_audit_entry
from schemas.queries.audit_trail import AuditTrailQuery
from webhook.api.audit_trail import find_entries
from webhook.api.ownership import name_of
from webhook.pages.blueprint import lane_url, page, page_url, show
from webhook.pages.forms import errors_of

#: Entries on a page.
_ROWS = "50"
_FILTERS = ("operation", "key", "id", "since", "until")
#: Details that name what has a page: its endpoint and the name of its parameter.
_LINKS = {
    "bulk": ("pages.bulk", "bulk_id"),
    "bulk_id": ("pages.bulk", "bulk_id"),
    "producer": ("pages.key", "name"),
    "name": ("pages.key", "name"),
    "revoked": ("pages.key", "name"),
    "regenerated_by": ("pages.job", "job_id"),
    "host": ("pages.deliveries", "host"),
    "receiver": ("pages.deliveries", "host"),
}
_REFUSED = 400


@page("/audit-trail", scope=Scope.READ)
def audit_trail() -> ResponseReturnValue:
    """List the entries, by operation, key, id and time."""
    given = {name: request.args[name].strip() for name in (*_FILTERS, "cursor") if request.args.get(name, "").strip()}
    filters = {name: value for name, value in given.items() if name != "cursor"}
    try:
        found = find_entries(AuditTrailQuery().load({**given, "limit": _ROWS}))
    except ValidationError as error:
        errors = errors_of(error)
        return show("audit_trail.html", part="audit_trail_now.html", given=filters, rows=[], errors=errors), 422
    return show(
        "audit_trail.html",
        part="audit_trail_now.html",
        given=filters,
        rows=[_row(each) for each in found.entries],
        first=url_for("pages.audit_trail", **_values(filters)) if "cursor" in given else None,
        next=url_for("pages.audit_trail", **_values(filters | {"cursor": found.cursor})) if found.cursor else None,
        errors={},
    )


def _row(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry with the addresses of what it names."""
    view = serialize_audit_entry(entry, name_of)
    status = view["status"] or 0
    is_refused = status >= _REFUSED or view["outcome"] == "not done"
    details = [(name, value, _address(name, value)) for name, value in view.pop("details").items()]
    return {**view, "at": entry.at, "is_refused": is_refused, "details": details}


def _address(name: str, value: str) -> str | None:
    if name == "lane":
        return lane_url(value)
    endpoint, parameter = _LINKS.get(name, (None, ""))
    # A name with a slash has no page.
    return page_url(endpoint, **{parameter: value}) if endpoint and value and "/" not in value else None


def _values(filters: Mapping[str, str]) -> dict[str, Any]:
    return dict(filters)
