"""What the calls that list have in common."""

from typing import Any

from jobs.store.pages import Filter
from webhook.api.ownership import owner


def filter_from(query: dict[str, Any]) -> Filter:
    """What a list query (`schemas.api.ListQuery`) asks for beside the state, of what the caller may see."""
    return Filter(
        labels=query["label"], since=query.get("created_after"), before=query.get("created_before"), owner=owner()
    )
