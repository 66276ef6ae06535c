"""A check that every task in a continuation names its queue, because the worker sends it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

#: Fields that contain signatures: in a continuation, in a signature's options and in its arguments.
_SIGNATURE_FIELDS = ("link", "link_error", "chain", "chord", "tasks", "header", "body")


def unrouted_tasks(continuation: str) -> list[str]:
    """Return the names of the tasks in a continuation (JSON) that name no queue.

    They would be sent to this app's default queue, whose workers discard unknown tasks.
    """
    return sorted(set(_unrouted(json.loads(continuation))))


def _unrouted(value: Any) -> Iterator[str]:
    """Yield names of unrouted tasks in a signature, or in a structure that contains signatures."""
    if isinstance(value, list):
        for each in value:
            yield from _unrouted(each)
    elif isinstance(value, Mapping):
        options = value.get("options") or {}
        name = str(value.get("task") or "")
        is_routed_here = not name or name.startswith(("boomerang.", "celery."))
        if not is_routed_here and not any(options.get(way) for way in ("queue", "exchange", "routing_key")):
            yield name
        # Only the arguments of Celery's chains, groups and chords contain signatures.
        inside = value.get("kwargs") if name.startswith("celery.") else None
        for part in (value if not name else {}, options, inside or {}):
            for field in _SIGNATURE_FIELDS:
                if field in part:
                    yield from _unrouted(part[field])
