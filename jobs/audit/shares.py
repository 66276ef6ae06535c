"""The share of a record in the counters, which a recount sums up.

The rules are those of the scripts (jobs/lua/shared/), implemented a second time on purpose: the audit must not repeat
mistakes of the scripts.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.audit.findings import Reader
from jobs.decoding import UNREADABLE
from jobs.fields import BatchCounter, Field, Payer
from jobs.job import LANE
from jobs.result import Result
from jobs.states import FINAL, HOLDS_SLOTS, State

#: Bytes of the longest error code with a counter in a batch. Longer ones share a counter.
LONGEST_CODE = 64
_REFERENCE = re.compile("image:sha256:([0-9a-f]{64})")

#: What a record adds to which counter: (key, field), amount.
Share = tuple[tuple[tuple[str, str], int], ...]


class Shares:
    """Computes the share of each record. Remembers the owners of batches, which never change."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._keys = reader.keys
        self._owners: dict[str, str] = {}

    def of(self, record: Mapping[str, str], code: str, text: str | None) -> Share:
        """Return the share of a sound record. `code`: of its failure. `text`: its request, if that names images."""
        key_of, state, batch = self._keys.member, record[Field.STATE], record.get(Field.BATCH)
        images, lane = int(record.get(Field.IMAGES, 1)), record.get(Field.LANE, LANE)
        price_class = f"{record[Field.MODEL]}|{images}|{record.get(Field.RESOLUTION, '')}"
        share = Counter[tuple[str, str]]()
        if phase_of(record) in HOLDS_SLOTS:
            share[key_of("lane", lane), "slots"] += images
        if Field.ADMITTED_BY in record:
            share[key_of("lane", record[Field.ADMITTED_BY]), "window"] += images
        if batch is not None:
            share.update((key_of("batch", batch), field) for field in _in_batch(record, code, price_class))
        reserved = [("reserved", payer, amount) for payer, amount in self._reserved(record, price_class, lane)]
        for name, field, amount in (*reserved, *self._held(record)):
            share[self._keys.singleton(name), field] += amount
        if text and state not in FINAL:
            for digest in images_in(text):
                share[self._keys.singleton("uses"), digest] += 1
        return tuple(share.items())

    def _held(self, record: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
        if Field.SIZE in record:
            owner = self.owner_of(record)
            yield "stored", owner, int(record[Field.SIZE])
            yield "unfinished", owner, int(record[Field.STATE] not in FINAL)

    def _reserved(self, record: Mapping[str, str], price_class: str, lane: str) -> Iterator[tuple[str, int]]:
        amount = record.get(Field.RESERVED)
        if amount is None:
            return
        if amount == Payer.UNPRICED:
            yield Payer.UNPRICED + price_class, 1
            return
        batch = record.get(Field.BATCH)
        yield Payer.LANE + record.get(Field.ADMITTED_BY, lane), int(amount)
        if batch is not None:
            yield Payer.BATCH + batch, int(amount)
        if owner := self.owner_of(record):
            yield Payer.KEY + owner, int(amount)

    def owner_of(self, record: Mapping[str, str]) -> str:
        """Return the producer that a job belongs to; '' where none is recorded."""
        batch = record.get(Field.BATCH)
        return record.get(Field.OWNER, "") if batch is None else self._owner(batch)

    def _owner(self, batch: str) -> str:
        if batch not in self._owners:
            self._owners[batch] = self._reader.value(self._keys.member("batch", batch), "key") or ""
        return self._owners[batch]


def _in_batch(record: Mapping[str, str], code: str, price_class: str) -> Iterator[str]:
    """Yield the counters of its batch that count a record."""
    state = record[Field.STATE]
    yield state
    if state == State.FAILED:
        yield BatchCounter.FAILED + code
    if Field.UNKNOWN_COST in record:
        yield BatchCounter.UNKNOWN_COSTS
    if state not in FINAL:
        yield BatchCounter.UNFINISHED + price_class
        if Field.PILOT in record:
            yield BatchCounter.PILOT_LEFT


def phase_of(record: Mapping[str, str]) -> str | None:
    """Return the state of the attempt at the provider; None: it is over."""
    return record.get(Field.PHASE) if record[Field.STATE] in FINAL else record[Field.STATE]


def code_of(record: Mapping[str, str], result: str | None) -> str:
    """Return the error code by which a batch counts a failed job; '' for other jobs and where there is none."""
    if record.get(Field.STATE) != State.FAILED or not result:
        return ""
    try:
        code = str((Result.from_json(result).error or {}).get("code", ""))
    except UNREADABLE:
        return ""
    return code if len(code.encode()) <= LONGEST_CODE else ""


def images_in(text: str) -> Iterator[str]:
    """Return the hashes of the stored images that a request refers to, each as often as it does."""
    try:
        params = json.loads(text)["params"]
        return _references({name: value for name, value in params.items() if name != "prompt"})
    except UNREADABLE:
        return iter(())


def _references(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for part in value.values():
                yield from _references(part)
        case list():
            for part in value:
                yield from _references(part)
        case str():
            if reference := _REFERENCE.fullmatch(value):
                yield reference[1]
