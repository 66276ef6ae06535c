"""The stream of changes: what people and Flower watch. It is bounded and may lose its oldest; nothing depends on it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis

from jobs.connections.errors import translated
from jobs.decoding import UNREADABLE
from jobs.fields import is_text
from jobs.states import State
from jobs.store.redis_keys import Keys

_GROUP = "watchers"
_READER = "watcher"


@dataclass(frozen=True, slots=True)
class StateChange:
    """A job has come to a state; `before` is None for one just accepted. Times: seconds since 1970, Redis's clock."""

    id: str
    state: State
    before: State | None
    at: float
    created: float
    model: str
    batch: str | None
    reason: str | None


def read_changes(client: redis.Redis, keys: Keys, most: int) -> list[StateChange]:
    """The next entries for the one group of readers; each is given out once. Raises `StoreUnavailable`."""
    stream = keys.singleton("changes")
    try:
        try:
            answer: Any = client.xreadgroup(_GROUP, _READER, {stream: ">"}, count=most, noack=True)
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            client.xgroup_create(stream, _GROUP, id="0", mkstream=True)
            answer = client.xreadgroup(_GROUP, _READER, {stream: ">"}, count=most, noack=True)
    except redis.RedisError as error:
        raise translated(error) from error
    return list(_changes(answer))


def _changes(answer: Any) -> Iterator[StateChange]:
    # RESP2 gives a list of (stream, entries), RESP3 a mapping of stream to lists of entries.
    streams = answer.items() if isinstance(answer, dict) else answer or ()
    for _, entries in streams:
        for entry in entries[0] if entries and isinstance(entries[0], list) else entries:
            # Nothing depends on one: what cannot be read is left out.
            with suppress(*UNREADABLE):
                yield _change(*entry)


def _change(entry_id: str, fields: Mapping[str, str]) -> StateChange:
    before = fields["from"]
    if not all(map(is_text, fields.values())):
        raise ValueError("not UTF-8")
    return StateChange(
        id=fields["id"],
        state=State(fields["state"]),
        before=State(before) if before else None,
        at=int(entry_id.partition("-")[0]) / 1_000,
        created=int(fields["created"]) / 1_000_000,
        model=fields["model"],
        batch=fields["batch"] or None,
        reason=fields["reason"] or None,
    )
