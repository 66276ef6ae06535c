"""Jobs to accept, and options of a batch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Protocol, Self

from jobs.errors import NoLane
from jobs.fields import Fact
from jobs.job import CLASSES, PRIORITIES, Delivery, Priority
from jobs.lanes import LaneSettings, route
from jobs.units import NANO, duration_micros, nano

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Request(Protocol):
    """A valid request; schemas creates them."""

    @property
    def model(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def callback_url(self) -> str | None: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def priority(self) -> str | None: ...
    @property
    def expires_in(self) -> float | None: ...
    @property
    def resolution(self) -> str: ...
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to accept. `text` is the request as canonical JSON: the same text under the same id is the same job.

    `owner`: the name of the producer's key; ignored for a job in a batch, which has the batch's owner. `pool`: of lanes
    (jobs.lanes). `priority`: None for the batch's, or else normal. `expires_in`: a job that is not submitted within so
    many seconds expires, unpaid. `delay`: seconds before which it is not admitted. `only_begun`: its producer is
    notified only if a worker ever got it.
    """

    id: str
    text: str
    model: str
    n: int = 1
    owed: frozenset[Delivery] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    pool: str = ""
    priority: Priority | None = None
    expires_in: float | None = None
    delay: float = 0.0
    resolution: str = ""
    only_begun: bool = False

    @classmethod
    def of(
        cls,
        request: Request,
        job_id: str,
        lanes: Sequence[LaneSettings],
        *,
        owner: str = "",
        batch_labels: Mapping[str, str] | None = None,
        delay: float = 0.0,
        notify_unbegun: bool = False,
    ) -> Self:
        """Create it from a valid request. Raises `NoLane`.

        `notify_unbegun`: notify its producer even if no worker ever got it. Such a job costs nothing, so otherwise a
        producer could have requests sent to any host for free.
        """
        pool = route(lanes, request.model, {**(batch_labels or {}), **request.labels})
        if pool is None:
            raise NoLane(request.model)
        return cls(
            id=job_id,
            text=request.text(),
            model=request.model,
            n=request.n,
            owed=frozenset({Delivery.NOTIFY}) if request.callback_url else frozenset(),
            labels=request.labels,
            owner=owner,
            pool=pool,
            priority=Priority(request.priority) if request.priority else None,
            expires_in=request.expires_in,
            delay=delay,
            resolution=request.resolution,
            only_begun=bool(request.callback_url) and not notify_unbegun,
        )

    @property
    def price_class(self) -> str:
        """The class of jobs that are expected to cost the same, as `class_of` in shared/prices.lua names it."""
        return f"{self.model}|{self.n}|{self.resolution}"

    def to_script_json(self) -> str:
        """Return all but the id and the text as JSON for `accept` in shared/accept.lua. Default values are left out."""
        labels = json.dumps(self.labels, ensure_ascii=False) if self.labels else ""
        place = (self.owner, self.pool, self.priority, self.resolution)
        return _facts((self.model, self.n, self.owed, self.only_begun), labels, place, self.expires_in, self.delay)


@lru_cache(maxsize=1024)  # the lines of a batch mostly have the same facts
def _facts(
    what: tuple[str, int, frozenset[Delivery], bool],
    labels: str,
    place: tuple[str, str, Priority | None, str],
    expires_in: float | None,
    delay: float,
) -> str:
    model, n, owed, only_begun = what
    owner, pool, priority, resolution = place
    facts = {
        Fact.MODEL: model,
        Fact.IMAGES: str(n) if n != 1 else None,
        Fact.OWED_AT_END: "".join(sorted(owed)),
        Fact.ONLY_BEGUN: "1" if only_begun else None,
        Fact.LABELS: labels,
        Fact.OWNER: owner,
        Fact.POOL: pool,
        Fact.PRIORITY: CLASSES[priority] if priority else None,
        Fact.RESOLUTION: resolution,
        Fact.EXPIRES_IN: None if expires_in is None else duration_micros(expires_in),
        Fact.DELAY: duration_micros(delay),
    }
    return _compact({name: fact for name, fact in facts.items() if fact not in (None, "", 0)})


class Hold(StrEnum):
    """What a batch waits for before its jobs are submitted."""

    APPROVAL = "approval"
    PILOT = "pilot"  #: an approval, too, but its pilot runs before


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """Options of a whole batch, given when it is created.

    `weight`: its share of admission relative to other batches, 1 to 100. `max_cost`: the most that it may cost, in USD.
    `paused`: it waits for an approval. `pilot`: the same, except so many of its jobs. `callback_url`: where its
    producer is notified of its events. `notify_unbegun`: also before a job of it has ended at the provider.
    """

    owner: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: Priority | None = None
    weight: int = 1
    max_cost: Decimal | None = None
    paused: bool = False
    pilot: int | None = None
    callback_url: str | None = None
    notify_unbegun: bool = False

    def to_script_json(self) -> str:
        """Return the fields of the batch's hash, as JSON for the scripts."""
        facts = {
            "key": self.owner,
            "labels": json.dumps(self.labels, ensure_ascii=False) if self.labels else "",
            "class": CLASSES[self.priority] if self.priority else "",
            "weight": str(self.weight) if self.weight != 1 else "",
            "cap": "" if self.max_cost is None else str(nano(self.max_cost)),
            "hold": Hold.APPROVAL if self.paused else "" if self.pilot is None else Hold.PILOT,
            "pilot_size": "" if self.pilot is None else str(self.pilot),
            "callback": self.callback_url or "",
            "callback_free": "1" if self.callback_url and self.notify_unbegun else "",
        }
        return _compact({name: fact for name, fact in facts.items() if fact})

    @classmethod
    def from_script_json(cls, text: str) -> Self:
        """Create options from the result of `to_script_json`."""
        facts = json.loads(text)
        return cls(
            owner=facts.get("key", ""),
            labels=json.loads(facts.get("labels", "{}")),
            priority=PRIORITIES[facts["class"]] if "class" in facts else None,
            weight=int(facts.get("weight", 1)),
            max_cost=Decimal(facts["cap"]) / NANO if "cap" in facts else None,
            paused=facts.get("hold") == Hold.APPROVAL,
            pilot=int(facts["pilot_size"]) if "pilot_size" in facts else None,
            callback_url=facts.get("callback"),
            notify_unbegun="callback_free" in facts,
        )


class Outcome(StrEnum):
    """The outcome of enqueueing a job."""

    CREATED = "created"
    KNOWN = "known"  #: the same id with the same request: the same job
    CONFLICT = "conflict"  #: the same id with another request: nothing changed
    IMAGELESS = "imageless"  #: it refers to an image that is not stored: nothing changed
    FULL = "full"  #: it would be a new job above the limit of unfinished jobs: nothing changed
