"""What follows a producer's task is sent by our worker: it must say where to."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

#: Where Celery keeps signatures in a message's continuation, in a signature's options and in its arguments.
_HELD = ("link", "link_error", "chain", "chord", "tasks", "header", "body")


def unrouted_tasks(continuation: str) -> list[str]:
    """The tasks in a message's continuation (JSON) that name no queue, by their names.

    They would go to this app's default queue, whose readers throw away what they do not know.
    """
    return sorted(set(_homeless(json.loads(continuation))))


def _homeless(holder: Any) -> Iterator[str]:
    """Through whatever holds signatures, and the signatures themselves."""
    if isinstance(holder, list):
        for each in holder:
            yield from _homeless(each)
    elif isinstance(holder, Mapping):
        options = holder.get("options") or {}
        name = str(holder.get("task") or "")
        ours = not name or name.startswith(("boomerang.", "celery."))
        if not ours and not any(options.get(way) for way in ("queue", "exchange", "routing_key")):
            yield name
        # A task's own arguments are nobody's business; those of Celery's chains, groups and chords hold signatures.
        inside = holder.get("kwargs") if name.startswith("celery.") else None
        for part in (holder if not name else {}, options, inside or {}):
            for held in _HELD:
                if held in part:
                    yield from _homeless(part[held])
