"""Looking at jobs without changing them."""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import redis

from jobs import eta
from jobs.connections.errors import translated
from jobs.decoding import decoding, read_labels
from jobs.errors import BatchNotFound, JobNotFound, RecordDamaged, why_refused
from jobs.fields import Field, shown
from jobs.job import PRIORITIES, Job, Result, dollars, from_micros
from jobs.new_job import BatchOptions
from jobs.read_models import Batch, Totals
from jobs.settings import Settings
from jobs.states import State
from jobs.store.memory import Memory, read_memory
from jobs.store.redis_keys import Keys
from jobs.store.scripts import Scripts
from jobs.store.spending import By, Only, Spend, spent
from jobs.store.wait_reasons import why_job, with_reasons

log = logging.getLogger(__name__)

#: While someone waits for a job's end, its record is read this often (seconds): the message about it is only a hint.
WAIT_RECHECK = 2.0
#: Jobs read in one round trip.
CHUNK = 500


class Reading:
    """Reads records, lists and batches. Raises `StoreUnavailable`."""

    _scripts: Scripts
    settings: Settings

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    @property
    def access(self) -> tuple[redis.Redis, Keys]:
        """The client and the names of the keys, for the audit."""
        return self._client, self._keys

    @property
    def scripts(self) -> Scripts:
        """The verbs, for the audit and the images."""
        return self._scripts

    def ping(self) -> None:
        """Raise `StoreUnavailable` unless Redis answers and has the scripts."""
        self._scripts.ready()

    def refusal(self) -> str:
        """Why no work is taken in or handed out, and what to do about it; "" where it is."""
        installation, lost = self._installation("installation", "lost")
        if lost:
            return why_refused("lost", lost)
        return "" if installation else why_refused("new")

    def _installation(self, *fields: str) -> list[str | None]:
        """These fields of the record of the installation; none where another value stands in its place."""
        try:
            found: list[Any] = self._client.hmget(self._keys.singleton("epoch"), list(fields))
        except redis.RedisError as error:
            if "WRONGTYPE" in str(error):
                return [None] * len(fields)
            raise translated(error) from error
        return found

    def memory(self) -> Memory | None:
        """How much of its memory Redis has used; None where it does not tell."""
        return read_memory(self._client)

    def get(self, job_id: str, *, text: bool = False) -> Job:
        """The job; `text`: with its request, which may hold images. Raises `JobNotFound` and `RecordDamaged`."""
        job = self.look_at([job_id], text=text)[0]
        if job is None:
            raise JobNotFound(job_id)
        if isinstance(job, RecordDamaged):
            raise job
        return job

    def explained(self, job: Job) -> Job:
        """The job with what it waits for as its reason."""
        return replace(job, reason=why_job(self._scripts, self.settings, job)) if job.waits else job

    def get_many(self, ids: Sequence[str], *, text: bool = False) -> list[Job | None]:
        """Several jobs in one round trip, None where there is none; or where it is damaged, which the log tells."""
        found: list[Job | None] = []
        for job in self.look_at(ids, text=text):
            if isinstance(job, RecordDamaged):
                log.warning("left out: %s", job)
            found.append(None if isinstance(job, RecordDamaged) else job)
        return found

    def look_at(self, ids: Sequence[str], *, text: bool = False) -> list[Job | RecordDamaged | None]:
        """Several jobs in one round trip, None where there is none, and what is wrong where it is damaged."""
        of = self._keys.member
        beside = ("result", "labels", "text") if text else ("result", "labels")
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    pipe.hgetall(of("job", job_id))
                    for name in beside:
                        pipe.get(of(name, job_id))
                answers = pipe.execute(raise_on_error=False)
        except redis.RedisError as error:
            raise translated(error) from error
        step = 1 + len(beside)
        rows = [answers[start : start + step] for start in range(0, len(answers), step)]
        return [_job(job_id, row, beside) for job_id, row in zip(ids, rows, strict=True)]

    def owners(self, ids: Sequence[str]) -> list[str | None]:
        """The name of the producer's key that each of these jobs came with ('': none), None where there is no job."""
        if not ids:
            return []
        return [None if name is None else str(name) for name in self._scripts.call("owners", *ids)]

    def batch_owner(self, batch_id: str) -> str | None:
        """The same of a batch."""
        options = self.batch_options(batch_id)
        return None if options is None else options.owner

    def results(self, ids: Sequence[str]) -> list[Result | None]:
        """How these jobs ended, in one round trip and without their records; None where no result can be read."""
        if not ids:
            return []
        try:
            texts = self._client.mget([self._keys.member("result", job_id) for job_id in ids])
        except redis.RedisError as error:
            raise translated(error) from error
        return [_result(job_id, text) for job_id, text in zip(ids, texts, strict=True)]

    def wait(self, job_id: str, seconds: float) -> Job:
        """The job once it has ended, or as it stands after that time. Raises `JobNotFound`."""
        job = self.get(job_id)
        end = time.monotonic() + seconds
        if job.state.final or seconds <= 0:
            return job
        try:
            with self._client.pubsub(ignore_subscribe_messages=True) as ended:  # type: ignore[no-untyped-call]
                ended.subscribe(self._keys.member("ended", job_id))
                # Only after the subscription is known to stand can its end not be missed: read again at once.
                ended.get_message(ignore_subscribe_messages=False, timeout=min(seconds, WAIT_RECHECK))
                while not (job := self.get(job_id)).state.final and (left := end - time.monotonic()) > 0:
                    ended.get_message(timeout=min(left, WAIT_RECHECK))
        except redis.RedisError as error:
            raise translated(error) from error
        return job

    def batch(self, batch_id: str) -> Batch:
        """The batch's counters. Raises `BatchNotFound`."""
        try:
            batch = self._batch(batch_id, self._scripts.call("batch", batch_id))
            return with_reasons(self._scripts, self.settings, [batch])[0]
        except RecordDamaged as error:
            raise RecordDamaged(f"batch {shown(batch_id)}", error.why) from error

    def batch_options(self, batch_id: str) -> BatchOptions | None:
        """What the batch was begun with; None where there is none."""
        try:
            created, asked = self._client.hmget(self._keys.member("batch", batch_id), ["created", "asked"])
        except redis.RedisError as error:
            raise translated(error) from error
        with decoding(f"batch {shown(batch_id)}"):
            return BatchOptions.from_facts(str(asked or "{}")) if created else None

    def _batch(self, batch_id: str, row: Sequence[Any]) -> Batch:
        """Of what batch.lua says. Raises `BatchNotFound` and `RecordDamaged`."""
        with decoding(f"batch {shown(batch_id)}"):
            return self._batch_of(batch_id, row)

    def _batch_of(self, batch_id: str, row: Sequence[Any]) -> Batch:
        now, hold, expected, shared, *flat = row
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        if not fields:
            raise BatchNotFound(batch_id)
        counts = {state: int(fields.get(state, 0)) for state in State}
        created = int(fields["created"]) / 1e6
        rate = eta.rate(fields, int(now) / 1e6, created)
        cap = fields.get("cap")
        return Batch(
            id=batch_id,
            accepted=int(fields["accepted"]),
            counts=counts,
            cost=dollars(fields.get("spent", 0)),
            expected_cost=dollars(int(expected) + int(fields.get("spent", 0))) if expected else None,
            pools=tuple({name[3:].partition("|")[0] for name in fields if name.startswith("at:")}),
            created_at=from_micros(fields["created"]),
            owner=fields.get("key", ""),
            labels=read_labels(fields.get("labels", "{}")),
            priority=PRIORITIES[fields.get("class", "1")],
            weight=int(fields.get("weight", 1)),
            max_cost=None if cap is None else dollars(cap),
            paused="paused" in fields,
            taking_in=fields.get("do") == "commit",
            errors={name[2:]: int(count) for name, count in fields.items() if name.startswith("x:")},
            rate=rate,
            eta=eta.eta(
                left=sum(count for state, count in counts.items() if not state.final),
                queued=counts[State.QUEUED],
                per_second=rate,
                submit_rate=self._submit_rate(),
                held=max(0.0, (int(hold) - int(now)) / 1e6),
                paused="paused" in fields,
                age=int(now) / 1e6 - created,
                pace=self._pace(fields, json.loads(shared)),
            ),
        )

    def _pace(self, fields: dict[str, str], shared: dict[str, Any]) -> eta.Pace:
        weights = {name: each.weight for name, each in self.settings.key_limits.items()}
        share = eta.share(
            shared["flows"], weights, fields.get("class", "1"), fields.get("key", ""), int(fields.get("weight", 1))
        )
        limits = {lane.name: (lane.max_in_flight, lane.submit_rate) for lane in self.settings.lanes}
        return eta.pace(shared["lanes"], limits, share)

    def batch_jobs(self, batch_id: str, states: Sequence[State] = ()) -> Iterator[Job]:
        """Every job of a batch, or those in these states, in input order, read in chunks. Raises `BatchNotFound`."""
        self.batch(batch_id)
        start = 0
        while ids := self._members(batch_id, start, CHUNK):
            wanted = self._in_states(ids, states) if states else ids
            yield from (job for job in self.get_many(wanted) if job and (not states or job.state in states))
            start += len(ids)

    def spend(self, by: By, first: date, last: date, only: Only | None = None) -> Spend:
        """What was spent from the first day (UTC) to the last, both taken in."""
        try:
            with decoding("what was spent"):
                return spent(self._client, self._keys, by, (first, last), only or Only())
        except redis.RedisError as error:
            raise translated(error) from error

    def totals(self) -> Totals:
        """How many jobs there are in each state, how many wait for admission, and what all have cost."""
        keys = self._keys
        try:
            pools = [str(pool) for pool in self._client.hkeys(keys.singleton("pools"))]
            with self._client.pipeline(transaction=False) as pipe:
                pipe.hgetall(keys.singleton("totals"))
                pipe.zcard(keys.singleton("images"))
                for pool in pools:
                    pipe.hget(keys.member("pool", pool), "ready")
                for state in State:
                    pipe.zcard(keys.member("state", state))
                fields, images, *numbers = pipe.execute()
        except redis.RedisError as error:
            raise translated(error) from error
        epoch, run = self._installation("number", "run")
        ready, counts = numbers[: len(pools)], numbers[len(pools) :]
        with decoding("the totals"):
            return Totals(
                counts=dict(zip(State, counts, strict=True)),
                ready={pool: int(waiting or 0) for pool, waiting in zip(pools, ready, strict=True)},
                cost=dollars(fields.get("spent", 0)),
                contradicted=int(fields.get("contradicted", 0)),
                last_round=from_micros(fields["round"]) if "round" in fields else None,
                images=int(images),
                epoch=int(epoch or 0),
                sees_restarts=None if run is None else bool(run),
                image_bytes=int(fields.get("image_bytes", 0)),
            )

    def _submit_rate(self) -> float:
        rates = [lane.submit_rate for lane in self.settings.lanes]
        return sum(rates) if all(rates) else 0.0

    def _in_states(self, ids: Sequence[str], states: Sequence[State]) -> list[str]:
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    pipe.hget(self._keys.member("job", job_id), Field.STATE)
                found = pipe.execute(raise_on_error=False)
        except redis.RedisError as error:
            raise translated(error) from error
        return [job_id for job_id, state in zip(ids, found, strict=True) if state in states]

    def _members(self, batch_id: str, start: int, count: int) -> list[str]:
        try:
            ids: Any = self._client.lrange(self._keys.member("members", batch_id), start, start + count - 1)
        except redis.RedisError as error:
            raise translated(error) from error
        return list(ids)


def _job(job_id: str, row: Sequence[Any], beside: Sequence[str]) -> Job | RecordDamaged | None:
    fields, *texts = row
    try:
        for answer in row:
            if isinstance(answer, redis.RedisError):
                raise translated(answer)
        return Job.from_fields(job_id, fields, **dict(zip(beside, texts, strict=True))) if fields else None
    except RecordDamaged as error:
        return RecordDamaged(f"job {shown(job_id)}", error.why)


def _result(job_id: str, text: Any) -> Result | None:
    if text is None:
        return None
    try:
        with decoding(f"job {shown(job_id)}"):
            return Result.from_json(str(text))
    except RecordDamaged as error:
        log.warning("its result is left out: %s", error)
        return None
