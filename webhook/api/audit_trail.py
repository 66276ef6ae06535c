"""/v1/audit-trail: who changed what, and with what result."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.audit_trail import AuditPage
from jobs.serialized_audit_trail import serialize_audit_entry
from schemas.queries.audit_trail import AuditTrailQuery
from schemas.views.audit_trail import AuditTrailView
from webhook.access.auth import caller
from webhook.api.openapi import operation
from webhook.api.ownership import name_of
from webhook.http.json_response import json_response
from webhook.services import services

blueprint = Blueprint("audit_trail", __name__, url_prefix="/v1", description="Who changed what, and with what result.")


@operation(
    blueprint,
    "GET",
    "/audit-trail",
    {200: AuditTrailView},
    scope=Scope.READ,
    query=AuditTrailQuery,
    refusals=(422, 503),
)
def page(query: dict[str, Any]) -> Response:
    """List the changes that were requested, newest first.

    A producer sees what its keys did; an administrator also what other producers, administrators and commands of
    boomerang-server did. Changes are in it once they are done, refused ones, too: creating a batch, and all actions
    and changes of limits and keys. Single jobs, images, and further uploads to a batch are not. With a filter, a page
    may be short, or even empty, although more follow: pass `cursor` until it is null.
    """
    found = find_entries(query)
    return json_response(
        {"entries": [serialize_audit_entry(each, name_of) for each in found.entries], "cursor": found.cursor}
    )


def find_entries(query: dict[str, Any]) -> AuditPage:
    """Return the entries that a loaded `AuditTrailQuery` finds, of those the caller may see."""
    by = caller()
    where: dict[str, Any] = {
        name: query.get(name) for name in ("since", "until", "operation", "key", "about", "cursor", "limit")
    }
    return services().store.audit_trail.page(None if by.admin else by.name, **where)
