"""The pages in the navigation, in its order."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import current_app, request

from webhook.access.auth import caller
from webhook.access.scopes import scope_of


@dataclass(frozen=True, slots=True)
class Entry:
    """A page in the navigation. `key`: after `g`, it opens the page. Only callers with the page's scope see it."""

    label: str
    endpoint: str
    key: str


#: One line for each page. The path of a page below another one begins with the other one's.
ENTRIES = (
    Entry("Overview", "pages.overview", "o"),
    Entry("Batches", "pages.batches", "b"),
    Entry("Jobs", "pages.jobs", "j"),
    Entry("Lanes", "pages.lanes", "l"),
    Entry("Spending", "pages.spending", "s"),
    Entry("Deliveries", "pages.deliveries", "d"),
    Entry("Needs a person", "pages.needs_person", "n"),
    Entry("Keys", "pages.keys", "k"),
    Entry("Audit trail", "pages.audit_trail", "a"),
)
#: Swagger UI opens for every key.
API_DOCS = Entry("API docs", "api-docs.openapi_swagger_ui", "h")


def entries() -> Sequence[Entry]:
    """Return the pages that the caller may open."""
    seen = [each for each in ENTRIES if caller().may(scope_of(current_app, each.endpoint))]
    return [*seen, API_DOCS]


def is_current(path: str) -> bool:
    """Return whether the request is for the page at this path, or for one below it; files have paths of their own."""
    asked = request.path.removeprefix("/files").replace("/new-batch", "/batches")
    return asked == path or (path != "/" and asked.startswith(f"{path}/"))
