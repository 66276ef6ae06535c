"""The audit of the label indexes: every label has its entry, and every entry its label."""

from collections.abc import Iterator, Sequence
from typing import Any

from jobs.audit.findings import Check, Finding, Reader, whole
from jobs.decoding import UNREADABLE, read_labels
from jobs.fields import Field


def lacking(reader: Reader, ids: Sequence[str]) -> Iterator[Finding]:
    """Yield the labels of these jobs that have no entry. Raises redis-py's errors."""
    return _Jobs(reader).lacking(ids)


def label_findings(reader: Reader) -> Iterator[Finding]:
    """Yield suspected errors of batches' labels and of index entries. Raises redis-py's errors."""
    batches = _Batches(reader)
    for ids in reader.steps(sorted(reader.names["batch"])):
        yield from batches.lacking(ids)
    for walk in (_Jobs(reader), batches):
        yield from walk.entries()


class _Walk:
    """The labels of jobs or of batches. `family`: of the index; `kind`: for repair_label.lua."""

    family = kind = ""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._client = reader.client
        self._keys = reader.keys

    def read(self, ids: Sequence[str]) -> list[tuple[str | None, str | None]]:
        """Return when each was created, and its labels as JSON."""
        raise NotImplementedError

    def lacking(self, ids: Sequence[str]) -> Iterator[Finding]:
        """Yield labels without an entry."""
        asked = [
            (each, created, f"{name}={value}")
            for each, (created, labels) in zip(ids, self.read(ids), strict=True)
            if created and str(whole(created)) == created
            for name, value in _read(labels).items()
        ]
        with self._client.pipeline(transaction=False) as pipe:
            for each, _, label in asked:
                pipe.zscore(self._keys.member(self.family, label), each)
            scores = self._reader.ask(pipe)
        for (each, created, label), score in zip(asked, scores, strict=True):
            if score != whole(created):
                found = "does not contain it" if score is None else "contains it at another time"
                remedy = f"ZADD {self._keys.member(self.family, label)} {created} {each}"
                yield self._finding(each, label, found, remedy)

    def entries(self) -> Iterator[Finding]:
        """Yield entries without such a label."""
        for label in sorted(self._reader.names[self.family]):
            name, _, value = label.partition("=")
            key = self._keys.member(self.family, label)
            for ids in self._reader.steps(self._reader.members(key)):
                for each, (created, labels) in zip(ids, self.read(ids), strict=True):
                    if not created or _read(labels).get(name) != value:
                        yield self._finding(
                            each, label, "contains it, though it has no such label", f"ZREM {key} {each}"
                        )

    def _finding(self, each: str, label: str, found: str, remedy: str) -> Finding:
        check = Check("repair_label", (self.kind, label, each), "label")
        return Finding("label", each, f"{self._keys.member(self.family, label)} {found}", remedy, check)


class _Jobs(_Walk):
    family, kind = "labelled", "job"

    def read(self, ids: Sequence[str]) -> list[tuple[str | None, str | None]]:
        with self._client.pipeline(transaction=False) as pipe:
            for each in ids:
                pipe.hget(self._keys.member("job", each), Field.CREATED_AT)
                pipe.get(self._keys.member("labels", each))
            rows: list[Any] = self._reader.ask(pipe)
        return list(zip(rows[::2], rows[1::2], strict=True))


class _Batches(_Walk):
    family, kind = "grouped", "batch"

    def read(self, ids: Sequence[str]) -> list[tuple[str | None, str | None]]:
        with self._client.pipeline(transaction=False) as pipe:
            for each in ids:
                pipe.hmget(self._keys.member("batch", each), ["created", "labels"])
            rows: list[Any] = self._reader.ask(pipe)
        return [tuple(row) for row in rows]


def _read(labels: str | None) -> dict[str, str]:
    try:
        return read_labels(labels or "{}")
    except UNREADABLE:
        return {}
