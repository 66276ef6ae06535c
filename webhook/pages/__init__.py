"""Pages for people: server-rendered, over the same use cases as the API. Importing this package adds every page."""

from webhook.pages import (
    batch,
    batch_correct,
    batches,
    bulk,
    deliveries,
    errors,
    gallery,
    job,
    job_images,
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
    "batch",
    "batch_correct",
    "batches",
    "blueprint",
    "bulk",
    "deliveries",
    "error_page",
    "errors",
    "gallery",
    "job",
    "job_images",
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
