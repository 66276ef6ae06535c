"""Dead ends: what does not continue by itself, and how an operator settles each.

Each kind has an index, so a search costs in proportion to what is stuck, not to all jobs.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from jobs.connections.errors import translate_errors
from jobs.errors import RECOVER, BatchNotFound, RecordDamaged
from jobs.fields import Payer, printable
from jobs.job import Delivery, Job
from jobs.liveness import Pulse, Trouble, TroubleCode, find_troubles
from jobs.producer_ids import owner_in
from jobs.read_models import Batch, Lane
from jobs.store.chunks import CHUNK, chunks
from jobs.store.manual import Sample, Stuck
from jobs.store.store import Store
from jobs.store.wait_reasons import SETTLE_COST

log = logging.getLogger(__name__)

#: Seconds in doubt or on hold after which an operator is needed: by then look-ups and short holds are over.
LONG = 600.0
#: How many of each kind are listed by default.
MOST = 1_000
SETTLE = "boomerang-server settle"
REDELIVER = "boomerang-server redeliver"
SAVE = "boomerang-server save"


class Kind(StrEnum):
    """What is stuck."""

    INSTALLATION = "installation"  #: everything: Redis does not hold the jobs that it should hold
    SERVICE = "service"  #: everything, or much: no worker answers, beat is away, a queue is not read
    IN_DOUBT = "in_doubt"  #: a job whose look-ups fail, or do not find the submission
    DELIVERY = "delivery"  #: a job whose delivery was given up
    UNSAVED = "unsaved"  #: a job whose results could not be saved before the provider deletes them
    LANE = "lane"  #: a provider account on hold, not answering, or not configured any more
    CAP = "cap"  #: a batch, or the jobs of an API key, that wait because of a spending cap
    COST = "cost"  #: a job whose cost is unknown
    DAMAGED = "damaged"  #: a job whose record is damaged
    UNREADABLE = "unreadable"  #: a job about which the provider gives no readable answer
    IMAGE = "image"  #: an image that unfinished jobs refer to, but that is not stored


@dataclass(frozen=True, slots=True)
class DeadEnd:
    """Something stuck. `since` is None where that is unknown; `why`: the cause; `do`: what settles it."""

    kind: Kind
    id: str
    since: datetime | None
    why: str
    do: str


def counted(store: Store, lanes: tuple[Lane, ...], longer_than: float = LONG) -> dict[Kind, int]:
    """Count each kind except images, from the indexes alone. Raises `StoreUnavailable`."""
    stuck, pulse = store.manual.stuck(longer_than, 0), store.liveness.pulse()
    return {
        Kind.INSTALLATION: int(bool(pulse.refusal)),
        Kind.SERVICE: len(list(_troubles(pulse))),
        Kind.IN_DOUBT: stuck.doubts.count,
        Kind.DELIVERY: stuck.undelivered.count,
        Kind.UNSAVED: stuck.unsaved.count,
        Kind.LANE: sum(_lane_waits(lane, stuck.now, longer_than) for lane in lanes),
        Kind.CAP: stuck.at_cap.count + stuck.capped.count,
        Kind.COST: stuck.unknown_costs.count,
        Kind.DAMAGED: stuck.damaged.count,
        Kind.UNREADABLE: stuck.unreadable.count,
    }


def dead_ends(
    store: Store,
    longer_than: float = LONG,
    most: int = MOST,
    *,
    skip: int = 0,
    kinds: Collection[Kind] = frozenset(Kind),
    owner: str | None = None,
) -> Iterator[DeadEnd]:
    """Yield up to `most` of each of these kinds, the oldest first. Raises `StoreUnavailable`.

    `skip`: how many of each kind that has an index are left out before them. `owner`: of those found, only what belongs
    to this producer.
    """
    stuck = store.manual.stuck(longer_than, most, skip)
    if owner is not None:
        stuck = _of_owner(stuck, owner)
    find: Mapping[Kind, Callable[[], Iterator[DeadEnd]]] = {
        Kind.INSTALLATION: partial(_service, store, Kind.INSTALLATION),
        Kind.SERVICE: partial(_service, store, Kind.SERVICE),
        Kind.IN_DOUBT: partial(_doubts, store, stuck),
        Kind.DELIVERY: partial(_undelivered, store, stuck),
        Kind.UNSAVED: partial(_unsaved, store, stuck),
        Kind.LANE: partial(_stuck_lanes, store, stuck, longer_than),
        Kind.CAP: partial(_caps, store, stuck),
        Kind.COST: partial(_unknown_costs, store, stuck),
        Kind.DAMAGED: partial(_damaged, store, stuck),
        Kind.UNREADABLE: partial(_unreadable, store, stuck),
        Kind.IMAGE: partial(_images, store, most),
    }
    for kind in Kind:
        if kind in kinds:
            yield from find[kind]()


def payer_of(queue: str) -> tuple[str, str]:
    """Return what a queue at a cap waits for: `batch` or `key`, and which."""
    payer = queue.split("|", 2)[-1]
    return "key" if payer.startswith(Payer.KEY) else "batch", payer[1:]


def _of_owner(stuck: Stuck, owner: str) -> Stuck:
    """Return only what belongs to a producer, by the ids alone. Ids without a producer's name are left out."""

    def own(sample: Sample, owner_of: Callable[[str], str | None] = owner_in) -> Sample:
        named = tuple(each for each in sample.named if owner_of(each[0]) == owner)
        return Sample(len(named), named)

    def payer(queue: str) -> str | None:
        kind, name = payer_of(queue)
        return name if kind == "key" else owner_in(name)

    return Stuck(
        now=stuck.now,
        doubts=own(stuck.doubts),
        undelivered=own(stuck.undelivered),
        at_cap=own(stuck.at_cap),
        capped=own(stuck.capped, payer),
        damaged=own(stuck.damaged),
        unknown_costs=own(stuck.unknown_costs),
        unreadable=own(stuck.unreadable),
        unsaved=own(stuck.unsaved),
    )


def _service(store: Store, kind: Kind) -> Iterator[DeadEnd]:
    pulse = store.liveness.pulse()
    if kind is Kind.SERVICE:
        for trouble in _troubles(pulse):
            yield DeadEnd(Kind.SERVICE, trouble.code, trouble.since, trouble.what, trouble.do)
    elif pulse.refusal:
        yield DeadEnd(Kind.INSTALLATION, "", None, pulse.refusal, f"{RECOVER}, once you know the cause")


def _troubles(pulse: Pulse) -> Iterator[Trouble]:
    return (trouble for trouble in find_troubles(pulse) if trouble.code is not TroubleCode.REFUSED)


def _stuck_lanes(store: Store, stuck: Stuck, longer_than: float) -> Iterator[DeadEnd]:
    return (_lane(lane) for lane in _lanes(store) if _lane_waits(lane, stuck.now, longer_than))


def _doubts(store: Store, stuck: Stuck) -> Iterator[DeadEnd]:
    lanes = {lane.name for lane in store.context.settings.lanes}
    for job, since in _jobs(store, stuck.doubts.named):
        why = job.reason or "its outcome is unknown"
        if job.exists:
            why += "; the provider confirmed that it has the task"
        if job.lane not in lanes:
            why += f"; its lane {job.lane} is not configured"
        if job.state.final:
            why += f"; it is {job.state}, but its slots stay in use"
        yield DeadEnd(Kind.IN_DOUBT, job.id, since, why, f"{SETTLE} {job.id} --sent TASK_ID | --not-sent | --failed")


def _undelivered(store: Store, stuck: Stuck) -> Iterator[DeadEnd]:
    names = {Delivery.CELERY: "Celery message", Delivery.NOTIFY: "callback_url"}
    for job, since in _jobs(store, stuck.undelivered.named):
        kinds = " and ".join(names[kind] for kind in sorted(job.undelivered))
        why = f"{job.state}, but its {kinds} could not be delivered: {job.delivery_error or 'unknown'}"
        yield DeadEnd(Kind.DELIVERY, job.id, since, why, f"{REDELIVER} {job.id}")


def _unsaved(store: Store, stuck: Stuck) -> Iterator[DeadEnd]:
    for job, since in _jobs(store, stuck.unsaved.named):
        tries, error = (job.save.tries, job.save.error) if job.save else (0, None)
        why = f"{job.state} and paid for, but its results are not saved after {tries} tries: {error or 'unknown'}"
        yield DeadEnd(Kind.UNSAVED, job.id, since, why, f"{SAVE} {job.id}")


def _unknown_costs(store: Store, stuck: Stuck) -> Iterator[DeadEnd]:
    for job, since in _jobs(store, stuck.unknown_costs.named):
        sent = f"the provider sent {job.unknown_cost!r}" if job.unknown_cost else "the provider sent no amount"
        why = f"what it cost is unknown: {sent}. It is not counted as spent, and stops jobs under a limit"
        yield DeadEnd(Kind.COST, job.id, since, why, f"{SETTLE_COST} {job.id} --usd AMOUNT")


def _jobs(store: Store, named: tuple[tuple[str, datetime], ...]) -> Iterator[tuple[Job, datetime]]:
    since = dict(named)
    for ids in chunks(iter(since)):
        yield from ((job, since[job.id]) for job in store.jobs.get_many(ids) if job)


def _damaged(store: Store, stuck: Stuck) -> Iterator[DeadEnd]:
    since = dict(stuck.damaged.named)
    for ids in chunks(iter(since)):
        for job_id, job in zip(ids, store.jobs.inspect_many(ids), strict=True):
            why = job.why if isinstance(job, RecordDamaged) else "data that belong to its record are damaged"
            do = "boomerang-server audit lists each damaged value, and what to do about it."
            yield DeadEnd(Kind.DAMAGED, printable(job_id), since[job_id], why, do)


def _unreadable(store: Store, stuck: Stuck) -> Iterator[DeadEnd]:
    doubts = dict(stuck.doubts.named)
    for job, since in _jobs(store, stuck.unreadable.named):
        if job.id in doubts:
            continue  # listed with what may be done about a doubt
        why = job.reason or "the provider gives no readable answer about it"
        if job.state.final:
            why += f"; it is {job.state}, but its slots stay in use"
        if job.deadline:
            why += f"; until {job.deadline.isoformat(timespec='seconds')}, unless an answer can be read"
        do = f"Look at the provider's console; to give it up now: {SETTLE} {job.id} --failed"
        yield DeadEnd(Kind.UNREADABLE, job.id, since, why, do)


def _lane_waits(lane: Lane, now: datetime, longer_than: float) -> bool:
    """Return whether a lane is stuck. `lanes.get_all` has unconfigured lanes only if they have jobs."""
    for_long = lane.held_since is None or now - lane.held_since >= timedelta(seconds=longer_than)
    return lane.settings is None or (lane.held and for_long)


def _lanes(store: Store) -> tuple[Lane, ...]:
    try:
        return store.lanes.get_all()
    except RecordDamaged as error:
        log.warning("stuck lanes are not listed: %s", error)
        return ()


def _lane(lane: Lane) -> DeadEnd:
    if lane.settings is None:
        why = f"not configured (BOOMERANG_LANES), but {lane.slots} slots are in use and {lane.ready} jobs wait"
        do = "Configure it again. Remove it only when it has no jobs."
    elif lane.open_since:
        why = f"its circuit breaker is open: {lane.reason}"
        do = "Check the provider, the network and BOOMERANG_PROVIDER_URL. It closes with the first answer."
    else:
        why = f"on hold: {lane.reason}"
        do = f"401: set a valid key; 402: add credit; 403: get access. The next job is submitted at {lane.held_until}."
    return DeadEnd(Kind.LANE, lane.name, lane.held_since, why, do)


def _caps(store: Store, stuck: Stuck) -> Iterator[DeadEnd]:
    for batch, since in stuck.at_cap.named:
        found = _batch(store, batch)
        why = (found and found.reason) or "its max_cost is reached"
        do = f"POST /v1/batches/{batch}/resume with a higher max_cost, or cancel the batch."
        if found and found.unknown_costs:
            do = f"{SETTLE_COST} --batch {batch} --usd AMOUNT, or POST /v1/batches/{batch}/resume with a max_cost."
        yield DeadEnd(Kind.CAP, f"batch {batch}", since, why, do)
    for queue, again in stuck.capped.named:
        kind, payer = payer_of(queue)
        why = "its budget for the day is spent or reserved"
        if kind == "batch":
            found = _batch(store, payer)
            why = (found and found.reason) or "its max_cost is spent or reserved"
        do = f"Raise max_cost, or max_cost_per_day in BOOMERANG_KEY_LIMITS. The next check is at {again}."
        yield DeadEnd(Kind.CAP, f"{kind} {payer}", None, why, do)


def _batch(store: Store, batch_id: str) -> Batch | None:
    try:
        return store.batches.get(batch_id)
    except (BatchNotFound, RecordDamaged):
        return None


def _images(store: Store, most: int) -> Iterator[DeadEnd]:
    """Yield each image that unfinished jobs refer to and that is not stored."""
    client, keys = store.context.client, store.context.keys
    found = 0
    with translate_errors():
        for digests in chunks(str(digest) for digest, _ in client.hscan_iter(keys.singleton("uses"), count=CHUNK)):
            there = client.zmscore(keys.singleton("images"), digests)
            for digest in (digest for digest, score in zip(digests, there, strict=True) if score is None):
                if (found := found + 1) > most:
                    return
                times = str(client.hget(keys.singleton("uses"), digest) or 0)
                why = f"unfinished jobs refer to it {times} times, but it is not stored: they will fail"
                do = "Upload the same file again (POST /v1/images) before these jobs are submitted."
                yield DeadEnd(Kind.IMAGE, digest, None, why, do)
