"""The value objects of a job, and the deserializer of records (jobs.fields names their fields)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from jobs.decoding import decoding, read_labels, texts
from jobs.errors import RecordDamaged, RecordTooNew
from jobs.failures import FailureClass, classify
from jobs.fields import Field, is_newer, is_text, printable, wrong
from jobs.producer_ids import given_id
from jobs.saved import Saved, SaveProgress
from jobs.states import State
from jobs.units import dollars, from_micros, nano

#: The highest cost (USD) that is counted, because Redis counts in 64 bits. A higher cost is a mistake, which must not
#: keep the job from ending.
MOST_COST = Decimal(1_000_000)
ATTEMPT_MARK = "~"
#: The lane of a service without configured lanes.
LANE = "default"


class Delivery(StrEnum):
    """What must follow the end of a job; the value is the letter in the record."""

    CELERY = "c"  #: finish the parked Celery messages
    NOTIFY = "n"  #: call the producer's callback_url


class Priority(StrEnum):
    """A class of a key's jobs, or the rank of a key: while a higher one waits, no job of a lower one is admitted."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


#: Priority → class in the scripts, in the order of admission.
CLASSES = {Priority.HIGH: "0", Priority.NORMAL: "1", Priority.LOW: "2"}
PRIORITIES = {letter: priority for priority, letter in CLASSES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The end of an attempt: images (`{"type", "url"}` each) or an error (`{"code", "message"}`); `cost` in USD.

    `warnings`, as errors: what is wrong beside the images. `saved`: the images in the result store.

    Only of a new result: `unreadable_cost`, what the provider sent instead of an amount, and `rounded_cost`, its amount
    if that was rounded. Neither is in the serialized result.
    """

    output: tuple[Mapping[str, str], ...] = ()
    error: Mapping[str, str] | None = None
    cost: Decimal | None = None
    discount: Any = None
    warnings: tuple[Mapping[str, str], ...] = ()
    saved: Saved | None = None
    unreadable_cost: str | None = None
    rounded_cost: str | None = None

    def to_json(self) -> str:
        """Serialize it for Redis, with money as text."""
        cost = None if self.cost is None else str(self.cost)
        body = {"output": list(self.output) or None, "error": self.error, "cost": cost, "discount": self.discount}
        body["warnings"] = list(self.warnings) or None
        body["saved"] = self.saved.to_json() if self.saved else None
        given = {name: value for name, value in body.items() if value is not None}
        return json.dumps(given, ensure_ascii=False, default=str)

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """Deserialize it. Raises one of `jobs.decoding.UNREADABLE` for text that `to_json` cannot have written."""
        if not is_text(text):
            raise ValueError("its result is not UTF-8")
        body = json.loads(text)
        cost = body.get("cost")
        return cls(
            output=tuple(map(texts, body.get("output", ()))),
            error=texts(body["error"]) if "error" in body else None,
            cost=None if cost is None else Decimal(cost),
            discount=body.get("discount"),
            warnings=tuple(map(texts, body.get("warnings", ()))),
            saved=Saved.from_json(body["saved"]) if "saved" in body else None,
        )

    @property
    def nano(self) -> str:
        """The cost in whole nano-dollars, as Redis counts it; '' where there is none, or one above MOST_COST."""
        if self.cost is None or not self.cost.is_finite() or abs(self.cost) > MOST_COST:
            return ""
        return str(nano(self.cost))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job. `phase` is set for a cancelled or expired job whose attempt may still run at the provider.

    `sent`: this attempt was handed to a worker, for `lane`. `owed`: deliveries that are still to be made.
    """

    id: str
    state: State
    model: str
    n: int
    attempt: int
    fence: int
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None
    deadline: datetime | None = None
    doubt_since: datetime | None = None
    unreadable_since: datetime | None = None  #: since when the provider gives no readable answer about it
    unanswered_since: datetime | None = None  #: since when it gives none, although it answers other calls
    no_result_since: datetime | None = None  #: since when it is completed without a usable result
    phase: State | None = None
    task_id: str | None = None
    batch: str | None = None
    settled_by: str | None = None
    reason: str | None = None
    submit_tries: int = 0
    lookups: int = 0
    exists: bool = False
    maybe_sent: bool = False  #: an earlier submission of this attempt may have arrived
    refusal: Mapping[str, str] | None = None  #: the provider's error, which look-ups check before it fails the job
    owed: frozenset[Delivery] = frozenset()
    delivery_tries: int = 0  #: of the notification
    celery_tries: int = 0  #: of the messages that finish the parked ones
    celery_at: datetime | None = None  #: when those are due, where both kinds are owed
    notify_at: datetime | None = None  #: when the notification is due, where both kinds are owed
    undelivered: frozenset[Delivery] = frozenset()  #: deliveries that were given up
    delivery_error: str | None = None  #: why the last one failed
    result: Result | None = None
    save: SaveProgress | None = None  #: while its results are to be saved, or are given up
    labels: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    owner: str = ""
    sent: bool = False
    paused: bool = False
    lane: str = LANE
    pool: str = ""
    priority: Priority = Priority.NORMAL
    expires_at: datetime | None = None
    resolution: str = ""
    admitted: bool = False  #: to a lane, and not yet claimed
    unknown_cost: str | None = None  #: what the provider sent as a cost that is not known, '' for nothing
    started_at: datetime | None = None  #: when a worker last claimed it (jobs.fields: when it is kept after the end)
    starts: int = 1  #: how often it was claimed for submission
    earlier_cost: Decimal | None = None  #: USD, of attempts whose results are not stored any more
    revision: int = 1  #: of its request: 2 after the first correction
    first_attempt: int = 1  #: of this revision
    timeline: str = ""  #: what happened to it, as stored (jobs.timeline)
    forgotten: bool = False  #: in doubt because Redis may have forgotten that it was sent, by any lane of its pool

    def tries(self, kind: Delivery) -> int:
        """Return how often a delivery was tried."""
        return self.celery_tries if kind is Delivery.CELERY else self.delivery_tries

    @property
    def saved(self) -> Saved | None:
        """Its results in the result store; None while they are not all there, and after they were removed."""
        saved = self.result.saved if self.result else None
        return None if saved is None or saved.removed_at else saved

    @property
    def waits(self) -> bool:
        """Whether it waits for admission, or for the time from which it may be admitted."""
        return self.state is State.QUEUED and not self.admitted

    @property
    def cost(self) -> Decimal | None:
        """What all its attempts cost together, in USD; None: the provider named no price of any."""
        latest = self.result.cost if self.result else None
        if self.earlier_cost is None or latest is None:
            return self.earlier_cost if latest is None else latest
        return self.earlier_cost + latest

    @property
    def failure(self) -> FailureClass | None:
        """The class of its failure; None: it has not failed, and its results are saved or may still be."""
        if self.save and self.save.given_up_at:
            return FailureClass.UNSAVED
        if self.state is not State.FAILED:
            return None
        return classify(((self.result.error if self.result else None) or {}).get("code", ""))

    @property
    def external_task_id(self) -> str:
        """The external id of the current attempt."""
        return external_id(self.id, self.attempt)

    @property
    def given_id(self) -> str:
        """The id that the producer gave."""
        return given_id(self.id)

    @property
    def given_external_id(self) -> str:
        """The external id of the current attempt, without the producer's name."""
        return given_id(self.external_task_id)

    @property
    def unknown_since(self) -> datetime | None:
        """Since when an operator may settle it: it is in doubt, or in progress without a readable answer."""
        return self.doubt_since if self.at_provider is State.IN_DOUBT else self.unreadable_since

    @property
    def at_provider(self) -> State | None:
        """The state of the attempt at the provider, also after a cancel or expiry; None: it is over."""
        return self.phase if self.state.final else self.state

    @classmethod
    def from_fields(
        cls,
        job_id: str,
        fields: Mapping[str, str],
        *,
        result: str | None = None,
        labels: str | None = None,
        text: str | None = None,
    ) -> "Job":
        """Deserialize a record. Raises `RecordTooNew` and `RecordDamaged`."""
        get = fields.get
        if is_newer(fields):
            raise RecordTooNew(job_id)
        if why := wrong(fields):
            raise RecordDamaged(f"job {printable(job_id)}", why)
        with decoding(f"job {printable(job_id)}"):
            return cls(
                id=job_id,
                state=State(fields[Field.STATE]),
                phase=State(fields[Field.PHASE]) if Field.PHASE in fields else None,
                model=fields[Field.MODEL],
                n=int(get(Field.IMAGES, 1)),
                attempt=int(get(Field.ATTEMPT, 1)),
                fence=int(get(Field.FENCE, 0)),
                created_at=from_micros(fields[Field.CREATED_AT]),
                updated_at=from_micros(fields[Field.UPDATED_AT]),
                ended_at=_moment(get(Field.ENDED_AT)),
                deadline=_moment(get(Field.DEADLINE)),
                doubt_since=_moment(get(Field.DOUBT_SINCE)),
                unreadable_since=_moment(get(Field.UNREADABLE_SINCE)),
                unanswered_since=_moment(get(Field.UNANSWERED_SINCE)),
                no_result_since=_moment(get(Field.NO_RESULT_SINCE)),
                task_id=get(Field.TASK_ID),
                batch=get(Field.BATCH),
                settled_by=get(Field.SETTLED_BY),
                reason=get(Field.REASON),
                submit_tries=int(get(Field.SUBMIT_TRIES, 0)),
                lookups=int(get(Field.LOOKUPS, 0)),
                exists=Field.EXISTS in fields,
                maybe_sent=Field.MAYBE_SENT in fields,
                refusal=texts(json.loads(fields[Field.REFUSAL])) if Field.REFUSAL in fields else None,
                owed=frozenset(Delivery(letter) for letter in get(Field.OWED, "")),
                delivery_tries=int(get(Field.DELIVERY_TRIES, 0)),
                celery_tries=int(get(Field.CELERY_TRIES, 0)),
                celery_at=_moment(get(Field.CELERY_AT)),
                notify_at=_moment(get(Field.NOTIFY_AT)),
                undelivered=frozenset(Delivery(letter) for letter in get(Field.UNDELIVERED, "")),
                delivery_error=get(Field.DELIVERY_ERROR),
                result=Result.from_json(result) if result is not None else None,
                save=SaveProgress.from_fields(fields),
                labels=read_labels(labels) if labels is not None else {},
                text=text,
                owner=get(Field.OWNER, ""),
                sent=Field.SENT in fields,
                paused=Field.PAUSED in fields,
                lane=get(Field.LANE, LANE),
                pool=get(Field.POOL, ""),
                priority=PRIORITIES[get(Field.PRIORITY, "1")],
                expires_at=_moment(get(Field.EXPIRES_AT)),
                resolution=get(Field.RESOLUTION, ""),
                admitted=Field.ADMITTED_BY in fields,
                unknown_cost=fields[Field.UNKNOWN_COST].partition("|")[2] if Field.UNKNOWN_COST in fields else None,
                started_at=_moment(get(Field.STARTED_AT)),
                starts=int(get(Field.STARTS, 1)),
                earlier_cost=dollars(fields[Field.EARLIER_COST]) if Field.EARLIER_COST in fields else None,
                revision=int(get(Field.REVISION, 1)),
                first_attempt=int(get(Field.FIRST_ATTEMPT, 1)),
                timeline=get(Field.TIMELINE_BEFORE, "") + get(Field.TIMELINE, ""),
                forgotten=Field.FORGOTTEN in fields,
            )


@dataclass(frozen=True, slots=True)
class Due:
    """A claimed job whose alarm was due. The claim allows its holder to act on the job until the lease ends."""

    job: Job
    now: datetime  #: of the claim, by Redis's clock

    @property
    def owed(self) -> frozenset[Delivery]:
        """The deliveries that are due. Where both kinds are owed, each has a time of its own."""
        times = {Delivery.CELERY: self.job.celery_at, Delivery.NOTIFY: self.job.notify_at}
        return frozenset(kind for kind in self.job.owed if (at := times[kind]) is None or at <= self.now)

    @property
    def doubtful_for(self) -> float:
        """Seconds since its outcome became unknown; 0: it is known."""
        return self._seconds_since(self.job.doubt_since)

    @property
    def unanswered_for(self) -> float:
        """Seconds since the provider gives no answer about it, although it answers other calls; 0: it did."""
        return self._seconds_since(self.job.unanswered_since)

    @property
    def no_result_for(self) -> float:
        """Seconds since the provider completed it without a usable result; 0: it did not."""
        return self._seconds_since(self.job.no_result_since)

    @property
    def overdue(self) -> bool:
        """Whether its deadline has passed."""
        return self.job.deadline is not None and self.now >= self.job.deadline

    def _seconds_since(self, moment: datetime | None) -> float:
        return (self.now - moment).total_seconds() if moment else 0.0


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one attempt, until the lease ends."""

    id: str
    fence: int
    attempt: int
    submit_tries: int
    text: str
    lane: str = LANE
    maybe_sent: bool = False  #: an earlier submission of the attempt may have arrived

    @property
    def external_task_id(self) -> str:
        """The external id of the attempt."""
        return external_id(self.id, self.attempt)


def _moment(micros: str | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def external_id(job_id: str, attempt: int) -> str:
    """Return the external id of an attempt: the job's own id for attempt 1, `<id>~k` for attempt k."""
    return job_id if attempt == 1 else f"{job_id}{ATTEMPT_MARK}{attempt}"


def parse_external_id(text: str) -> tuple[str, int] | None:
    """Return the job id and attempt of an external id; None if this service cannot have made it."""
    job_id, mark, number = text.partition(ATTEMPT_MARK)
    if not mark:
        return job_id, 1
    canonical = re.fullmatch(r"[2-9]|[1-9][0-9]{1,8}", number)
    return (job_id, int(number)) if job_id and canonical else None
