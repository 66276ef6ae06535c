"""Pages for people: server-rendered, over the same use cases as the API. Importing this package adds every page."""

from webhook.pages import (
    audit_trail,
    batch,
    batches,
    bulk,
    deliveries,
    errors,
    gallery,
    job,
    jobs,
    keys,
    lanes,
    last_hour,
    needs_person,
    new_batch,
    overview,
    session,
    spending,
)
from webhook.pages.blueprint import blueprint
from webhook.pages.errors import asks_for_page, error_page

__all__ = [
    "asks_for_page",
    "audit_trail",
    "batch",
    "batches",
    "blueprint",
    "bulk",
    "deliveries",
    "error_page",
    "errors",
    "gallery",
    "job",
    "jobs",
    "keys",
    "lanes",
    "last_hour",
    "needs_person",
    "new_batch",
    "overview",
    "session",
    "spending",
]
