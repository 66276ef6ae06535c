"""The audit of the indexes by producer: every job is in a span of its owner, every batch in the list of its owner."""

from collections.abc import Iterator, Mapping

from jobs.audit.findings import Check, Finding, Reader, whole
from jobs.audit.shares import Shares
from jobs.fields import Field

RULE = "owner"


class Owners:
    """Compares records with these indexes. What is older than they are is in none (shared/owners.lua)."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._keys = reader.keys
        self._owner_of = Shares(reader).owner_of
        self._from = whole(reader.value(reader.keys.singleton("totals"), "indexed_from"))

    def lacking(self, records: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
        """Yield the jobs over which a list of their owner's jobs would pass."""
        asked = [
            (job_id, created, self._keys.member("spans", self._owner_of(record)))
            for job_id, record in records.items()
            if 0 < self._from <= (created := whole(record.get(Field.CREATED_AT)))
        ]
        with self._reader.client.pipeline(transaction=False) as pipe:
            for _, created, spans in asked:
                pipe.zrangebyscore(spans, created, "+inf", start=0, num=1)
            found = self._reader.ask(pipe)
        for (job_id, created, spans), first in zip(asked, found, strict=True):
            if not first or whole(first[0]) > created:
                remedy = f"ZADD {spans} {created} {created}"
                yield _finding("job", "", job_id, "lists of its producer's jobs pass over it", remedy)

    def batch_findings(self) -> Iterator[Finding]:
        """Yield batches that are not in the list of their owner, or in that of another."""
        for batches in self._reader.steps(sorted(self._reader.names["batch"])):
            rows = self._read(batches)
            with self._reader.client.pipeline(transaction=False) as pipe:
                for batch, (_, owner) in zip(batches, rows, strict=True):
                    pipe.zscore(self._keys.member("batches_of", owner), batch)
                scores = self._reader.ask(pipe)
            for batch, (created, owner), score in zip(batches, rows, scores, strict=True):
                if 0 < self._from <= created and score != created:
                    remedy = f"ZADD {self._keys.member('batches_of', owner)} {created} {batch}"
                    yield _finding("batch", owner, batch, "the list of its producer's batches does not have it", remedy)
        for owner in sorted(self._reader.names["batches_of"]):
            key = self._keys.member("batches_of", owner)
            for batches in self._reader.steps(self._reader.members(key)):
                for batch, (created, its) in zip(batches, self._read(batches), strict=True):
                    if not created or its != owner:
                        detail = f"{key} has it, though it is no batch of that producer"
                        yield _finding("batch", owner, batch, detail, f"ZREM {key} {batch}")

    def _read(self, batches: list[str]) -> list[tuple[int, str]]:
        """Return when each was created (0: there is no such batch), and its owner."""
        with self._reader.client.pipeline(transaction=False) as pipe:
            for batch in batches:
                pipe.hmget(self._keys.member("batch", batch), ["created", "key"])
            return [(whole(created), owner or "") for created, owner in self._reader.ask(pipe)]


def _finding(kind: str, owner: str, id_: str, detail: str, remedy: str) -> Finding:
    return Finding(RULE, id_, detail, remedy, Check("repair_owner", (kind, owner, id_), RULE))
