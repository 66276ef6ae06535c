"""The event stream: changes of state for Flower. It is bounded and may lose its oldest; nothing depends on it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis

from jobs.connections.errors import translate_errors
from jobs.decoding import UNREADABLE
from jobs.fields import is_text
from jobs.states import State
from jobs.store.context import StoreContext

_GROUP = "watchers"
_READER = "watcher"


@dataclass(frozen=True, slots=True)
class StateChange:
    """A job changed its state; `before` is None for a new job. Times: seconds since 1970 by Redis's clock."""

    id: str
    state: State
    before: State | None
    at: float
    created: float
    model: str
    batch: str | None
    reason: str | None


class EventStream:
    """Reads the stream. Raises `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._stream = context.keys.singleton("changes")

    @translate_errors()
    def read_new(self, most: int) -> list[StateChange]:
        """Read up to `most` changes that no caller has read yet, oldest first. Each is returned once."""
        try:
            answer = self._read_group(most)
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            self._client.xgroup_create(self._stream, _GROUP, id="0", mkstream=True)
            answer = self._read_group(most)
        return list(_changes(answer))

    def _read_group(self, most: int) -> Any:
        return self._client.xreadgroup(_GROUP, _READER, {self._stream: ">"}, count=most, noack=True)


def _changes(answer: Any) -> Iterator[StateChange]:
    # RESP2 gives a list of (stream, entries), RESP3 a mapping of stream to lists of entries.
    streams = answer.items() if isinstance(answer, dict) else answer or ()
    for _, entries in streams:
        for entry in entries[0] if entries and isinstance(entries[0], list) else entries:
            # Nothing depends on an entry: leave out unreadable ones.
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
