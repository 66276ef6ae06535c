"""The audit's part about the indexes by label: every label has its entry, and every entry its label."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from jobs.findings import CHUNK, Finding, chunks, ids_of
from jobs.keys import Keys


def label_findings(client: redis.Redis, keys: Keys) -> Iterator[Finding]:
    """What is wrong with them. Raises redis-py's errors."""
    for walk in (_Jobs(client, keys), _Batches(client, keys)):
        yield from walk.labels()
        yield from walk.entries()


class _Walk:
    """`family`: of the index; `owners`: of the keys that only what may have labels has."""

    family = owners = ""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def read(self, ids: Sequence[str]) -> list[tuple[str | None, str | None]]:
        """When each was created, and its labels as JSON."""
        raise NotImplementedError

    def labels(self) -> Iterator[Finding]:
        """Labels without an entry."""
        for ids in chunks(ids_of(self._client, self._keys, self.owners)):
            asked = [
                (each, created, self._keys.of(self.family, f"{name}={value}"))
                for each, (created, labels) in zip(ids, self.read(ids), strict=True)
                if created
                for name, value in json.loads(labels or "{}").items()
            ]
            with self._client.pipeline(transaction=False) as pipe:
                for each, _, key in asked:
                    pipe.zscore(key, each)
                scores = pipe.execute()
            for (each, created, key), score in zip(asked, scores, strict=True):
                if score != float(created):
                    found = "has not got it" if score is None else "has another time"
                    yield Finding("label", each, f"{key} {found}", f"ZADD {key} {created} {each}")

    def entries(self) -> Iterator[Finding]:
        """Entries without such a label."""
        for label in ids_of(self._client, self._keys, self.family):
            name, _, value = label.partition("=")
            key = self._keys.of(self.family, label)
            for ids in chunks(str(member) for member, _ in self._client.zscan_iter(key, count=CHUNK)):
                for each, (created, labels) in zip(ids, self.read(ids), strict=True):
                    if not created or json.loads(labels or "{}").get(name) != value:
                        yield Finding("label", each, f"stands in {key}, but has no such label", f"ZREM {key} {each}")


class _Jobs(_Walk):
    family, owners = "labelled", "labels"

    def read(self, ids: Sequence[str]) -> list[tuple[str | None, str | None]]:
        with self._client.pipeline(transaction=False) as pipe:
            for each in ids:
                pipe.hget(self._keys.of("job", each), "c")
                pipe.get(self._keys.of("labels", each))
            rows: list[Any] = pipe.execute()
        return list(zip(rows[::2], rows[1::2], strict=True))


class _Batches(_Walk):
    family, owners = "grouped", "batch"

    def read(self, ids: Sequence[str]) -> list[tuple[str | None, str | None]]:
        with self._client.pipeline(transaction=False) as pipe:
            for each in ids:
                pipe.hmget(self._keys.of("batch", each), ["created", "labels"])
            rows: list[Any] = pipe.execute()
        return [tuple(row) for row in rows]
