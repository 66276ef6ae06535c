"""Pages for people: server-rendered, over the same use cases as the API. Importing this package adds every page."""

from webhook.pages import (
    errors,
    lanes,
    last_hour,
    overview,
    session,
)
from webhook.pages.blueprint import blueprint
from webhook.pages.errors import asks_for_page, error_page

__all__ = ["asks_for_page", "blueprint", "error_page", "errors", "lanes", "last_hour", "overview", "session"]
