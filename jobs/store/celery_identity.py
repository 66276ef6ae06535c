"""What makes two Celery messages the same message, from any sender.

A broker delivers a message again, and a producer sends one again from another thread or process. Both are repeats.
Messages with other links, another chain or another chord are not, although their task has the same id.
"""

import json
from collections.abc import Mapping
from hashlib import sha1
from typing import Any

from kombu.utils.json import dumps

#: Options that say who sent a message, not what follows it. `reply_to` names the sending thread.
_OF_THE_SENDER = frozenset({"reply_to", "root_id", "parent_id"})


def identity_of(continuation: str, request: Mapping[str, Any] | None = None) -> str:
    """Return 16 hexadecimal digits that all repeats of a message share.

    `continuation` is JSON: the options with which `send_task` sends the message again. With `request`, its named
    arguments are compared too. Raises RecursionError if either is nested some hundred levels deep.
    """
    # Celery decodes the datetimes, UUIDs … among the arguments, and json alone cannot encode them.
    essential = dumps([_options(json.loads(continuation)), request], sort_keys=True)  # type: ignore[no-untyped-call]
    return sha1(essential.encode(), usedforsecurity=False).hexdigest()[:16]


def _options(value: Any) -> Any:
    if not isinstance(value, dict):
        return _plain(value)
    kept = {name: _plain(each) for name, each in value.items() if name not in _OF_THE_SENDER}
    if isinstance(names := kept.get("stamped_headers"), list):
        # Celery makes it from a set, whose order differs between processes.
        kept["stamped_headers"] = sorted(names, key=str)
    return kept


def _plain(value: Any) -> Any:
    """Return a value with the signatures inside it reduced to what they do."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        is_signature = "subtask_type" in value
        return {
            name: _options(each) if is_signature and name == "options" else _plain(each) for name, each in value.items()
        }
    return value
