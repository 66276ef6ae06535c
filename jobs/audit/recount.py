"""A recount of the counters on a running system. It is exact, although jobs change meanwhile.

Reading all records by cursor takes a while. So the recount uses the method by which a running virtual machine moves to
another host ("pre-copy", Clark et al., NSDI 2005). It reads all records, then those that the event stream names as
changed meanwhile, and again, until few are left. It reads the rest together with the counters in one step
(recount.lua).

Some changes are not in the stream: those of jobs that are admitted, that are cancelled or expired but still at the
provider, or that are looked up at several accounts. These few are always read in the last step.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jobs.audit.differences import Comparison
from jobs.audit.findings import Finding, Reader, whole
from jobs.audit.shares import Share, Shares, code_of
from jobs.errors import RecordDamaged
from jobs.fields import Field, is_newer, wrong
from jobs.states import FINAL
from jobs.store.chunks import CHUNK, chunks
from jobs.store.lua_source import CHANGES_KEPT
from jobs.store.outcomes.repairs import RecountOutcome
from jobs.store.scripts import Scripts
from jobs.units import duration_micros

#: Records that one last step reads at most: a few tens of milliseconds, during which Redis serves nothing else.
MOST_AT_ONCE = 5_000
#: Most changed records for the last step, and how often changed ones are read before it.
FEW, ROUNDS = 500, 20
#: Seconds between two reads of the event stream, which keeps the last CHANGES_KEPT.
FOLLOW = 0.05
#: An audit of at most this time (seconds) knows beforehand which jobs may be deleted meanwhile.
LONGEST = 3600.0
#: Hashes of counters that one last step compares.
HASHES = 100


class Recount:
    """Counts records, and compares the counters.

    `putback`: seconds within which an admitted job's alarm is due. `retention`: seconds after its end after which a job
    is deleted.
    """

    def __init__(self, reader: Reader, scripts: Scripts, *, putback: float, retention: float) -> None:
        self._reader = reader
        self._client, self._keys = reader.client, reader.keys
        self._scripts = scripts
        self._putback = duration_micros(putback)
        self._share_of = Shares(reader).of
        self._shares: dict[str, Share] = {}
        self._same: dict[Share, Share] = {}
        self._sums: dict[str, Counter[str]] = defaultdict(Counter)
        #: Jobs whose changes are not in the stream.
        self._untraced: set[str] = set()
        self._changed: set[str] = set()
        #: Counted jobs that may be deleted during the audit, which leaves no trace in the stream.
        self._old: set[str] = set()
        #: Jobs of each batch that were deleted before the first record was read.
        self._gone: dict[str, int] = {}
        #: Counters that could not be compared, because too much changed.
        self.unsure: set[str] = set()
        #: There are records of a later version, which this one cannot read.
        self.newer = False
        #: There are damaged records, so the correct counts are unknown and no counter is corrected.
        self.damaged = False
        with self._client.pipeline(transaction=False) as pipe:
            pipe.xrevrange(self._keys.singleton("changes"), count=1)
            pipe.zrange(self._keys.singleton("batches"), 0, -1)
            newest, listed = reader.ask(pipe)
        self._last = newest[0][0] if newest else "0-0"
        self._lost = False
        self._purged = reader.value(self._keys.singleton("totals"), "purged")
        self._retention = duration_micros(retention)
        self._ended_before = self._now() + duration_micros(LONGEST) - self._retention
        self._next = 0.0
        for batches in chunks(iter(listed)):
            with self._client.pipeline(transaction=False) as pipe:
                for batch in batches:
                    pipe.hmget(self._keys.member("batch", batch), ["created", "gone"])
                rows = reader.ask(pipe)
            there = ((batch, gone) for batch, (created, gone) in zip(batches, rows, strict=True) if created)
            self._gone.update({batch: whole(gone) for batch, gone in there})

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._shares

    def _now(self) -> int:
        """Return the time in µs by the clock of the scripts; 0 where the data are too damaged, or change too fast."""
        (answer,) = self._scripts.call_each([("recount", self._last, self._putback, MOST_AT_ONCE, "[]", "[]")])
        return 0 if isinstance(answer, RecordDamaged) or answer[0] != RecountOutcome.READ else int(answer[-1])

    # --- reading ------------------------------------------------------------------------------------------------------

    def keep_up(self) -> None:
        """Follow the changes if it is time. Call it often, because the stream keeps only the newest changes."""
        if time.monotonic() >= self._next:
            self.follow()

    def follow(self) -> None:
        """Record which jobs have changed since the last call."""
        stream = self._keys.singleton("changes")
        read = 0
        while rows := self._entries(stream):
            self._changed.update(fields["id"] for _, fields in rows if "id" in fields)
            self._last, read = rows[-1][0], read + len(rows)
        if read >= CHANGES_KEPT // 2:
            self._lost = True  # the stream may have lost some before they were read
        self._next = time.monotonic() + FOLLOW

    def _entries(self, stream: str) -> Any:
        with self._client.pipeline(transaction=False) as pipe:
            pipe.xrange(stream, min=f"({self._last}", count=CHUNK)
            return self._reader.ask(pipe)[0]

    def enter(self, job_id: str, record: Mapping[str, str], code: str, text: str | None) -> None:
        """Count a record instead of its earlier version. An empty record: the job was deleted."""
        share: Share = ()
        if is_newer(record):
            self.newer = True
        elif record and wrong(record):
            self.damaged = True
        elif record:
            share = self._share_of(record, code, text)
        for (key, field), amount in self._shares.pop(job_id, ()):
            self._sums[key][field] -= amount
        if record:
            self._shares[job_id] = self._same.setdefault(share, share)
        for (key, field), amount in share:
            self._sums[key][field] += amount
        at_provider = Field.PHASE in record and record.get(Field.STATE) in FINAL
        untraced = Field.ADMITTED_BY in record or Field.FORGOTTEN in record or at_provider
        (self._untraced.add if untraced else self._untraced.discard)(job_id)
        old = bool(share) and Field.SIZE in record and int(record.get(Field.ENDED_AT, "0")) < self._ended_before
        (self._old.add if old and record.get(Field.STATE) in FINAL else self._old.discard)(job_id)

    def _read_again(self, ids: Iterable[str]) -> None:
        of = self._keys.member
        for chunk in self._reader.steps(ids):
            with self._client.pipeline(transaction=False) as pipe:
                for job_id in chunk:
                    pipe.hgetall(of("job", job_id))
                    pipe.mget(of("result", job_id), of("text", job_id))
                answers = self._reader.ask(pipe)
            for job_id, record, (result, text) in zip(chunk, answers[::2], answers[1::2], strict=True):
                self.enter(job_id, record, code_of(record, result), text if Field.NAMES_IMAGES in record else None)

    def _forget_deleted(self) -> None:
        """Count the jobs no longer that were deleted since they were read."""
        for chunk in self._reader.steps(sorted(self._old)):
            with self._client.pipeline(transaction=False) as pipe:
                for job_id in chunk:
                    pipe.exists(self._keys.member("job", job_id))
                there = self._reader.ask(pipe)
            for job_id, exists in zip(chunk, there, strict=True):
                if not exists:
                    self.enter(job_id, {}, "", None)

    # --- comparing ----------------------------------------------------------------------------------------------------

    def findings(self) -> Iterator[Finding]:
        """Yield the counters that differ from the recount."""
        self._catch_up()
        if self.newer:
            self.unsure.add("records of a later version: use that version's audit")
            return
        single, of = self._keys.singleton, self._keys.member
        lanes = {of("lane", lane) for lane in self._reader.names["lane"]}
        lanes |= {key for key in self._sums if key.startswith(of("lane", ""))}
        batches = {of("batch", batch) for batch in self._reader.names["batch"]}
        batches |= {key for key in self._sums if key.startswith(of("batch", ""))}
        held = {single(name) for name in ("reserved", "uses", "unfinished", "stored")}
        keys = sorted(held | lanes | batches)
        suspects = [key for key, stored in self._reader.hashes(keys) if any(self._differences(key, stored))]
        # Only these sums are hard to compare while jobs are deleted, so they delay no others.
        alone = [key for key in suspects if key == single("stored")]
        suspects = [key for key in suspects if key != single("stored")]
        for start in range(0, len(suspects), HASHES):
            yield from self._at_one_moment(suspects[start : start + HASHES])
        if alone:
            yield from self._at_one_moment(alone)

    def _catch_up(self) -> None:
        for _ in range(ROUNDS):
            self.follow()
            if len(self._changed) <= FEW:
                return
            changed, self._changed = self._changed, set()
            self._read_again(changed)

    def _at_one_moment(self, keys: Sequence[str]) -> Iterator[Finding]:
        for _ in range(ROUNDS):
            self._catch_up()
            ids = json.dumps(sorted(self._changed | self._untraced))
            asked = json.dumps([*([key] for key in keys), [self._keys.singleton("totals"), "purged"]])
            (answer,) = self._scripts.call_each([("recount", self._last, self._putback, MOST_AT_ONCE, ids, asked)])
            if isinstance(answer, RecordDamaged):
                break
            outcome, *rest = answer
            if outcome == RecountOutcome.READ and not self._lost:
                last, records, counters, pinned, now = rest
                self._last, self._changed = last, set()
                self._enter_all(records)
                *counters, totals = counters
                purged = totals[1] if totals else None
                if self._keys.singleton("stored") in keys and self._purged != purged:
                    if int(now) - self._retention >= self._ended_before:
                        break
                    self._purged = purged
                    self._forget_deleted()
                    continue
                for key, flat in zip(keys, counters, strict=True):
                    stored = dict(zip(flat[::2], flat[1::2], strict=True))
                    yield from self._differences(key, stored, Counter(pinned))
                return
        self.unsure.update(keys)

    def _enter_all(self, records: Sequence[Sequence[str]]) -> None:
        rows = {job_id: (code, dict(zip(flat[::2], flat[1::2], strict=True))) for job_id, code, *flat in records}
        naming = [job_id for job_id, (_, record) in rows.items() if Field.NAMES_IMAGES in record]
        texts = dict(zip(naming, self._texts(naming), strict=True))
        for job_id, (code, record) in rows.items():
            self.enter(job_id, record, code, texts.get(job_id))

    def _texts(self, ids: Sequence[str]) -> list[str | None]:
        texts: Any = self._client.mget([self._keys.member("text", job_id) for job_id in ids]) if ids else []
        return list(texts)

    def _differences(
        self, key: str, stored: Mapping[str, str], pinned: Mapping[str, int] | None = None
    ) -> Iterator[Finding]:
        """Compare one key. `pinned`: images that committed uploads name, once each, beside the records."""
        counted = Counter(self._sums[key])
        if pinned and key == self._keys.singleton("uses"):
            counted.update(pinned)
        return Comparison(self._reader, self._gone, self.damaged).of(key, stored, counted)
