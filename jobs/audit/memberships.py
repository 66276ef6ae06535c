"""The audit of indexes that are kept by owner or by batch: of notifications by their state, and of results to save."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs.audit.findings import Check, Finding, Reader, suppress_wrong_type
from jobs.audit.shares import Shares
from jobs.delivery_log import EVENT_MARK, LETTERS, NotificationState
from jobs.fields import Field
from jobs.store.chunks import CHUNK

_DELIVERED = LETTERS[NotificationState.DELIVERED]
#: Family of an index by batch → the field of a record that calls for an entry.
_OF_BATCHES = {"batch_saves": Field.SAVE_SINCE, "batch_unsaved": Field.UNSAVED}
_DETAILS = {
    "notification": "it does not stand in the index of the state of its notification, alone",
    "batch_saves": "the results to save of its batch differ from its record",
    "batch_unsaved": "the results of its batch that were given up differ from its record",
}


class Memberships:
    """Compares records with the entries of these indexes."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._keys = reader.keys
        self._owner_of = Shares(reader).owner_of

    def lacking(self, records: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
        """Yield the entries that these records call for and that are missing."""
        asked = [(job_id, *entry) for job_id, record in records.items() for entry in self._entries_of(record)]
        with self._reader.client.pipeline(transaction=False) as pipe:
            for job_id, family, index in asked:
                key = self._keys.member(family, index)
                if family == "batch_saves":
                    pipe.sismember(key, job_id)
                else:
                    pipe.zscore(key, job_id)
            answers = self._reader.ask(pipe)
        for (job_id, family, index), there in zip(asked, answers, strict=True):
            if there is None or there == 0:  # a time is never 0
                yield self._finding(family, index, job_id)

    def _entries_of(self, record: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        letter = record.get(Field.NOTIFICATION, _DELIVERED)
        if letter != _DELIVERED:  # that index forgets its oldest entries
            yield "notifications", f"{letter}|{self._owner_of(record)}"
        for family, field in _OF_BATCHES.items():
            if field in record and Field.BATCH in record:
                yield family, record[Field.BATCH]

    def findings(self) -> Iterator[Finding]:
        """Yield the entries that no record calls for."""
        for index in sorted(self._reader.names["notifications"]):
            for ids in self._reader.steps(self._reader.members(self._keys.member("notifications", index))):
                for id_, found in zip(ids, self._indexes(ids), strict=True):
                    if found != index:
                        yield self._finding("notifications", index, id_)
        for family, field in _OF_BATCHES.items():
            for batch in sorted(self._reader.names[family]):
                for ids in self._reader.steps(self._members(family, batch)):
                    for job_id, stored in zip(ids, self._records(ids, [Field.BATCH, field]), strict=True):
                        if stored.get(Field.BATCH) != batch or field not in stored:
                            yield self._finding(family, batch, job_id)

    def _members(self, family: str, batch: str) -> Iterator[str]:
        key = self._keys.member(family, batch)
        if family != "batch_saves":
            yield from self._reader.members(key)
            return
        with suppress_wrong_type():
            for member in self._reader.client.sscan_iter(key, count=CHUNK):
                yield str(member)

    def _indexes(self, ids: Sequence[str]) -> Iterator[str | None]:
        """Yield the index of notifications in which each job or event belongs; None: in none."""
        names = [Field.NOTIFICATION, Field.BATCH, Field.OWNER]
        jobs = iter(self._records([each for each in ids if not each.startswith(EVENT_MARK)], names))
        events = iter(self._events([each for each in ids if each.startswith(EVENT_MARK)]))
        for each in ids:
            if each.startswith(EVENT_MARK):
                state, owner = next(events)
                yield None if state is None else f"{state}|{owner or ''}"
            else:
                record = next(jobs)
                letter = record.get(Field.NOTIFICATION)
                yield None if letter is None else f"{letter}|{self._owner_of(record)}"

    def _records(self, ids: Sequence[str], names: Sequence[str]) -> list[dict[str, str]]:
        with self._reader.client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hmget(self._keys.member("job", job_id), list(names))
            rows = self._reader.ask(pipe)
        return [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]

    def _events(self, ids: Sequence[str]) -> list[tuple[Any, Any]]:
        with self._reader.client.pipeline(transaction=False) as pipe:
            for event in ids:
                pipe.hmget(self._keys.member("event", event), ["state", "owner"])
            return [(state, owner) for state, owner in self._reader.ask(pipe)]

    def _finding(self, family: str, index: str, id_: str) -> Finding:
        key = self._keys.member(family, index)
        rule, verb = ("notification", "repair_notification") if family == "notifications" else (family, "repair_save")
        add, remove = ("SADD", "SREM") if family == "batch_saves" else ("ZADD", "ZREM")
        remedy = f"{add} it to {key}, or {remove} it there, as its record says."
        return Finding(rule, id_, _DETAILS[rule], remedy, Check(verb, (index, id_), rule))
