"""What the counters should say, on a running system: a recount that is exact although everything moves.

The records are read by cursor, which takes a while. So it is done as a virtual machine is moved to another host while
it runs ("pre-copy", Clark et al., NSDI 2005): read everything; then again what has changed meanwhile, which the stream
of changes tells, and so on until that is little; and the rest in one step, with the counters (recount.lua).

Some changes leave no trace in the stream: those of jobs that are admitted, that a cancel or an expiry left at the
provider, or that are being looked for at several accounts. Those few are always read in the last step.
"""

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jobs.audit.findings import Drift, Finding, Reader, whole
from jobs.decoding import UNREADABLE
from jobs.errors import RecordDamaged
from jobs.fields import Field, is_newer, wrong
from jobs.job import LANE, Result, duration_micros
from jobs.states import FINAL, HOLDS_SLOTS, State
from jobs.store.chunks import CHUNK, chunks
from jobs.store.lua_source import CHANGES_KEPT
from jobs.store.scripts import Scripts

#: Records that one last step reads at most: a few tens of milliseconds, for which Redis answers nobody else.
MOST_AT_ONCE = 5_000
#: Changed records that are left to the last step, and how often they are read before that.
FEW, ROUNDS = 500, 20
#: How often (seconds) the stream of changes is read, which keeps the last CHANGES_KEPT.
FOLLOW = 0.05
#: Hashes of counters that one last step compares.
HASHES = 100
#: Bytes of an error code that a batch counts by; longer ones are counted together.
LONGEST_CODE = 64
UNKNOWN = "?"
UNKNOWABLE = (
    "Nothing by itself: what was forgotten tells no more what it counted as. Its jobs are not the worse for it."
)
_OPEN = tuple(state for state in State if state not in FINAL)
_REFERENCE = re.compile("image:sha256:([0-9a-f]{64})")

#: What a record adds to which counter: (key, field), amount.
Share = tuple[tuple[tuple[str, str], int], ...]


class Recount:
    """Counts records. `putback`: seconds within which the alarm of an admitted job rings."""

    def __init__(self, reader: Reader, scripts: Scripts, *, putback: float) -> None:
        self._reader = reader
        self._client, self._keys = reader.client, reader.keys
        self._scripts = scripts
        self._putback = duration_micros(putback)
        self._shares: dict[str, Share] = {}
        self._same: dict[Share, Share] = {}
        self._sums: dict[str, Counter[str]] = defaultdict(Counter)
        self._restless: set[str] = set()
        self._changed: set[str] = set()
        self._owners: dict[str, str] = {}
        #: Of batches: jobs forgotten before the first record was read.
        self._gone: dict[str, int] = {}
        #: Counters that could not be compared, since too much changed.
        self.unsure: set[str] = set()
        #: Records of a later version, which are not understood here, were met.
        self.newer = False
        #: Records that are damaged were met: what they count as is not known, so that no counter is corrected.
        self.damaged = False
        with self._client.pipeline(transaction=False) as pipe:
            pipe.xrevrange(self._keys.singleton("changes"), count=1)
            pipe.zrange(self._keys.singleton("batches"), 0, -1)
            newest, listed = reader.ask(pipe)
        self._last = newest[0][0] if newest else "0-0"
        self._lost = False
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

    # --- reading ------------------------------------------------------------------------------------------------------

    def keep_up(self) -> None:
        """Follow the changes, if it is time: the stream is short. To be called often."""
        if time.monotonic() >= self._next:
            self.follow()

    def follow(self) -> None:
        """Note which jobs have changed since the last call."""
        stream = self._keys.singleton("changes")
        read, oldest = 0, ""
        while rows := self._entries(stream):
            oldest = oldest or rows[0][0]
            self._changed.update(fields["id"] for _, fields in rows if "id" in fields)
            self._last, read = rows[-1][0], read + len(rows)
        if read >= CHANGES_KEPT // 2:
            self._lost = True  # some may have gone unread
        self._next = time.monotonic() + FOLLOW

    def _entries(self, stream: str) -> Any:
        with self._client.pipeline(transaction=False) as pipe:
            pipe.xrange(stream, min=f"({self._last}", count=CHUNK)
            return self._reader.ask(pipe)[0]

    def enter(self, job_id: str, fields: Mapping[str, str], code: str, text: str | None) -> None:
        """Count a record, in place of what it was before. No fields: it is gone."""
        share: Share = ()
        if is_newer(fields):
            self.newer = True
        elif fields and wrong(fields):
            self.damaged = True
        elif fields:
            share = tuple(self._share(fields, code, text).items())
        for (key, field), amount in self._shares.pop(job_id, ()):
            self._sums[key][field] -= amount
        if fields:
            self._shares[job_id] = self._same.setdefault(share, share)
        for (key, field), amount in share:
            self._sums[key][field] += amount
        restless = (
            Field.ADMITTED_BY in fields
            or Field.FORGOTTEN in fields
            or (Field.PHASE in fields and fields.get(Field.STATE) in FINAL)
        )
        (self._restless.add if restless else self._restless.discard)(job_id)

    def _share(self, fields: Mapping[str, str], code: str, text: str | None) -> Counter[tuple[str, str]]:
        of, state, batch, n = (
            self._keys.member,
            fields[Field.STATE],
            fields.get(Field.BATCH),
            int(fields.get(Field.IMAGES, 1)),
        )
        class_ = f"{fields[Field.MODEL]}|{fields.get(Field.IMAGES, '1')}|{fields.get(Field.RESOLUTION, '')}"
        lane, share = fields.get(Field.LANE, LANE), Counter[tuple[str, str]]()
        if (fields.get(Field.PHASE) if state in FINAL else state) in HOLDS_SLOTS:
            share[of("lane", lane), "slots"] += n
        if Field.ADMITTED_BY in fields:
            share[of("lane", fields[Field.ADMITTED_BY]), "window"] += n
        if batch is not None:
            share[of("batch", batch), state] += 1
            if state == State.FAILED:
                share[of("batch", batch), "x:" + code] += 1
            if state not in FINAL:
                share[of("batch", batch), "c:" + class_] += 1
        for who, amount in self._reserved(fields, class_, lane):
            share[self._keys.singleton("reserved"), who] += amount
        if text and state not in FINAL:
            for digest in images_in(text):
                share[self._keys.singleton("uses"), digest] += 1
        return share

    def _reserved(self, fields: Mapping[str, str], class_: str, lane: str) -> Iterator[tuple[str, int]]:
        amount = fields.get(Field.RESERVED)
        if amount is None:
            return
        if amount == UNKNOWN:
            yield UNKNOWN + class_, 1
            return
        batch = fields.get(Field.BATCH)
        yield "l" + fields.get(Field.ADMITTED_BY, lane), int(amount)
        if batch is not None:
            yield "b" + batch, int(amount)
        if owner := self._owner(batch) if batch is not None else fields.get(Field.OWNER):
            yield "k" + owner, int(amount)

    def _owner(self, batch: str) -> str:
        if batch not in self._owners:
            self._owners[batch] = self._reader.value(self._keys.member("batch", batch), "key") or ""
        return self._owners[batch]

    def _read_again(self, ids: Iterable[str]) -> None:
        of = self._keys.member
        for chunk in self._reader.steps(ids):
            with self._client.pipeline(transaction=False) as pipe:
                for job_id in chunk:
                    pipe.hgetall(of("job", job_id))
                    pipe.mget(of("result", job_id), of("text", job_id))
                answers = self._reader.ask(pipe)
            for job_id, fields, (result, text) in zip(chunk, answers[::2], answers[1::2], strict=True):
                self.enter(job_id, fields, code_of(fields, result), text if Field.NAMES_IMAGES in fields else None)

    # --- comparing ----------------------------------------------------------------------------------------------------

    def findings(self) -> Iterator[Finding]:
        """Counters that differ from the recount."""
        self._catch_up()
        if self.newer:
            self.unsure.add("records of a later version: use that version's audit")
            return
        single, of = self._keys.singleton, self._keys.member
        lanes = {of("lane", lane) for lane in self._reader.names["lane"]}
        lanes |= {key for key in self._sums if key.startswith(of("lane", ""))}
        batches = {of("batch", batch) for batch in self._reader.names["batch"]}
        batches |= {key for key in self._sums if key.startswith(of("batch", ""))}
        keys = sorted({single("reserved"), single("uses")} | lanes | batches)
        suspects = [key for key, told in self._reader.hashes(keys) if any(self._differences(key, told))]
        for start in range(0, len(suspects), HASHES):
            yield from self._surely(suspects[start : start + HASHES])

    def _catch_up(self) -> None:
        for _ in range(ROUNDS):
            self.follow()
            if len(self._changed) <= FEW:
                return
            changed, self._changed = self._changed, set()
            self._read_again(changed)

    def _surely(self, keys: Sequence[str]) -> Iterator[Finding]:
        """The differences, counted at one moment."""
        for _ in range(ROUNDS):
            self._catch_up()
            ids = json.dumps(sorted(self._changed | self._restless))
            asked = json.dumps([[key] for key in keys])
            (told_all,) = self._scripts.tries([("recount", self._last, self._putback, MOST_AT_ONCE, ids, asked)])
            if isinstance(told_all, RecordDamaged):
                break
            said, *answer = told_all
            if said == "read" and not self._lost:
                last, records, told, pinned = answer
                self._last, self._changed = last, set()
                self._enter_all(records)
                for key, flat in zip(keys, told, strict=True):
                    fields = dict(zip(flat[::2], flat[1::2], strict=True))
                    yield from self._differences(key, fields, Counter(pinned))
                return
        self.unsure.update(keys)

    def _enter_all(self, records: Sequence[Sequence[str]]) -> None:
        rows = {job_id: (code, dict(zip(flat[::2], flat[1::2], strict=True))) for job_id, code, *flat in records}
        naming = [job_id for job_id, (_, fields) in rows.items() if Field.NAMES_IMAGES in fields]
        texts = dict(zip(naming, self._texts(naming), strict=True))
        for job_id, (code, fields) in rows.items():
            self.enter(job_id, fields, code, texts.get(job_id))

    def _texts(self, ids: Sequence[str]) -> list[str | None]:
        texts: Any = self._client.mget([self._keys.member("text", job_id) for job_id in ids]) if ids else []
        return list(texts)

    def _differences(
        self, key: str, told: Mapping[str, str], pinned: Mapping[str, int] | None = None
    ) -> Iterator[Finding]:
        of, single, should = self._keys.member, self._keys.singleton, Counter(self._sums[key])
        if key.startswith(of("lane", "")):
            lane = key.removeprefix(of("lane", ""))
            for name in ("slots", "window"):
                if drift := self._drift(key, name, told, should):
                    detail = f"differs from its recount by {drift.over:+d}"
                    yield self._finding(name, f"lane {lane}", detail, drift)
        elif key == single("reserved"):
            for who in sorted({*told, *should}):
                if drift := self._drift(key, who, told, should, absent=True):
                    detail = f"what is reserved for {who} differs from its recount by {drift.over:+d}"
                    yield self._finding("reserved", who, detail, drift)
        elif key == single("uses"):
            should.update(pinned or {})
            for digest in sorted({*told, *should}):
                if drift := self._drift(key, digest, told, should, absent=True):
                    detail = f"how often unfinished jobs name it differs from a recount by {drift.over:+d}"
                    yield self._finding("uses", digest, detail, drift)
        else:
            yield from self._batch(key, told, should)

    def _batch(self, key: str, told: Mapping[str, str], should: Counter[str]) -> Iterator[Finding]:
        """Jobs that were forgotten after their retention stay counted in the state in which they ended."""
        batch = key.removeprefix(self._keys.member("batch", ""))
        gone = whole(told.get("gone"))
        if gone != self._gone.get(batch, 0) or (not told and batch in self._gone):
            return  # some were forgotten while it was read
        if "created" not in told:
            if any(should.values()):
                yield Finding("batch", batch, "jobs name it, but there is no such batch", "Its counters are lost.")
            return
        drifts = {state: self._drift(key, state, told, should) for state in State}
        off = {state: drift for state, drift in drifts.items() if drift}
        ended = sum(drift.over for state, drift in off.items() if state in FINAL)
        lost = any(drift.over < 0 or state in _OPEN for state, drift in off.items())
        if lost or ended != gone:
            differences = ", ".join(f"{state} {drift.over:+d}" for state, drift in off.items()) or "equal"
            detail = f"counters against a recount: {differences}; {gone} forgotten since"
            # With jobs forgotten, nobody knows which of the ended ones they were.
            sure = [drift for state, drift in off.items() if not gone or state in _OPEN]
            yield self._finding("batch", batch, detail, *sure)
        accepted = self._drift(key, "accepted", told, Counter(accepted=sum(should[state] for state in State) + gone))
        counted = sum(whole(told.get(state)) for state in State)
        over = whole(told.get("accepted")) - counted
        if accepted or (over and not (lost or ended != gone)):
            detail = f"accepted differs from the sum over states by {over}, from a recount by "
            detail += f"{accepted.over if accepted else 0:+d}"
            with self._client.pipeline(transaction=False) as pipe:
                pipe.llen(self._keys.member("members", batch))
                (listed,) = self._reader.ask(pipe)
            known = accepted is not None and listed == whole(told.get("accepted")) - accepted.over
            yield self._finding("batch", batch, detail, *([accepted] if accepted and known else []))
        for rule, start, what in (("codes", "x:", "failed jobs of the code"), ("expected", "c:", "unfinished jobs of")):
            for name in sorted({name for name in (*told, *should) if name.startswith(start)}):
                if drift := self._drift(key, name, told, should, absent=True):
                    detail = f"its {what} {name[2:] or 'none'} differ from their recount by {drift.over:+d}"
                    yield self._finding(rule, batch, detail, drift)

    @staticmethod
    def _drift(
        key: str, name: str, told: Mapping[str, str], should: Mapping[str, int], *, absent: bool = False
    ) -> Drift | None:
        over = whole(told.get(name)) - should.get(name, 0)
        # What is no number is off by all that it should be, which may be nothing.
        odd = name in told and str(whole(told[name])) != told[name]
        return Drift(key, name, over, absent) if over or odd else None

    def _finding(self, rule: str, id_: str, detail: str, *drifts: Drift) -> Finding:
        if self.damaged:
            return Finding(
                rule, id_, detail, "First what the audit calls damaged: such records are not counted. Then look again."
            )
        commands = "; ".join(f"HINCRBY {each.key} '{each.field}' {-each.over}" for each in drifts)
        return Finding(rule, id_, detail, commands or UNKNOWABLE, drifts=drifts)


def code_of(fields: Mapping[str, str], result: str | None) -> str:
    """Of a failed job: the error code that its batch counts by, as `code_of` in jobs/lua/shared/lib.lua."""
    if fields.get(Field.STATE) != State.FAILED or not result:
        return ""
    try:
        code = str((Result.from_json(result).error or {}).get("code", ""))
    except UNREADABLE:
        return ""
    return code if len(code.encode()) <= LONGEST_CODE else ""


def images_in(text: str) -> Iterator[str]:
    """The hashes of the stored images that a request names, as `images_in` in jobs/lua/shared/images.lua."""
    try:
        params = json.loads(text)["params"]
        return _in({name: value for name, value in params.items() if name != "prompt"})
    except UNREADABLE:
        return iter(())


def _in(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for part in value.values():
                yield from _in(part)
        case list():
            for part in value:
                yield from _in(part)
        case str():
            if reference := _REFERENCE.fullmatch(value):
                yield reference[1]
