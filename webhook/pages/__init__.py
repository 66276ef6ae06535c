"""Pages for people: server-rendered, over the same use cases as the API. Importing this package adds every page."""

from webhook.pages import (
    batches,
    errors,
    lanes,
    new_batch,
    overview,
    session,
)
from webhook.pages.blueprint import blueprint
from webhook.pages.errors import asks_for_page, error_page

__all__ = ["asks_for_page", "batches", "blueprint", "error_page", "errors", "lanes", "new_batch", "overview", "session"]
