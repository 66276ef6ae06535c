"""A job, and the deserializer of records (jobs.fields names their fields)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from jobs.attempt_ids import external_id
from jobs.decoding import decoding, read_labels, texts
from jobs.errors import RecordDamaged, RecordTooNew
from jobs.failures import FailureClass, classify
from jobs.fields import Field, is_newer, printable, wrong
from jobs.producer_ids import given_id
from jobs.result import Result
from jobs.saved import Saved, SaveProgress
from jobs.states import State
from jobs.units import dollars, from_micros

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
    regenerates: str | None = None  #: the completed job whose images it generates once more
    regenerated_by: str | None = None  #: the job that generates its images once more
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
                regenerates=get(Field.REGENERATES),
                regenerated_by=get(Field.REGENERATED_BY),
                first_attempt=int(get(Field.FIRST_ATTEMPT, 1)),
                timeline=get(Field.TIMELINE_BEFORE, "") + get(Field.TIMELINE, ""),
                forgotten=Field.FORGOTTEN in fields,
            )


def _moment(micros: str | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
