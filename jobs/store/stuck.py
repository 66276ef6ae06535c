"""Dead ends: what does not go on by itself, and what a person can do about each.

Each kind has an index of its own, so the cost is in proportion to what is stuck, not to all jobs.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from jobs.connections.errors import translate_errors
from jobs.errors import RECOVER, BatchNotFound, RecordDamaged
from jobs.fields import shown
from jobs.job import Delivery, Job
from jobs.liveness import Pulse, Trouble, TroubleCode, find_troubles
from jobs.read_models import Batch, Lane
from jobs.store.chunks import CHUNK, chunks
from jobs.store.manual import Stuck
from jobs.store.store import Store

log = logging.getLogger(__name__)

#: Seconds in doubt or on hold after which a person should look: by then lookups and short holds are over.
LONG = 600.0
#: How many of each kind are named, unless the caller asks for more.
MOST = 1_000
SETTLE = "boomerang-server settle"
REDELIVER = "boomerang-server redeliver"


class Kind(StrEnum):
    """What is stuck."""

    INSTALLATION = "installation"  #: everything: Redis does not hold the jobs that it should hold
    SERVICE = "service"  #: everything, or much: no worker answers, beat is away, a queue is not read
    IN_DOUBT = "in_doubt"  #: a job whose submission cannot be looked up, or is not found
    DELIVERY = "delivery"  #: a job whose delivery was given up
    LANE = "lane"  #: a provider account on hold, not answering, or not configured any more
    CAP = "cap"  #: a batch, or the jobs of an API key, that wait because of a spending cap
    DAMAGED = "damaged"  #: a job whose record is damaged
    IMAGE = "image"  #: an image that unfinished jobs refer to, and that is not stored


@dataclass(frozen=True, slots=True)
class DeadEnd:
    """Something stuck: its kind and id, since when (where that is known), why, and what settles it."""

    kind: Kind
    id: str
    since: datetime | None
    why: str
    do: str


def counted(store: Store, lanes: tuple[Lane, ...], longer_than: float = LONG) -> dict[Kind, int]:
    """Count each kind, from the indexes alone; images are not counted. Raises `StoreUnavailable`."""
    stuck, pulse = store.manual.stuck(longer_than, 0), store.liveness.pulse()
    return {
        Kind.INSTALLATION: int(bool(pulse.refusal)),
        Kind.SERVICE: len(list(_troubles(pulse))),
        Kind.IN_DOUBT: stuck.doubts.count,
        Kind.DELIVERY: stuck.undelivered.count,
        Kind.LANE: sum(_lane_waits(lane, stuck.now, longer_than) for lane in lanes),
        Kind.CAP: stuck.at_cap.count + stuck.capped.count,
        Kind.DAMAGED: stuck.damaged.count,
    }


def dead_ends(store: Store, longer_than: float = LONG, most: int = MOST) -> Iterator[DeadEnd]:
    """Yield all, up to `most` of each kind, the oldest first. Raises `StoreUnavailable`."""
    stuck = store.manual.stuck(longer_than, most)
    pulse = store.liveness.pulse()
    if pulse.refusal:
        yield DeadEnd(Kind.INSTALLATION, "", None, pulse.refusal, f"{RECOVER}, once it is known why")
    for trouble in _troubles(pulse):
        yield DeadEnd(Kind.SERVICE, trouble.code, trouble.since, trouble.what, trouble.do)
    yield from _doubts(store, stuck)
    yield from _undelivered(store, stuck)
    for lane in _lanes(store):
        if _lane_waits(lane, stuck.now, longer_than):
            yield _lane(lane)
    yield from _caps(store, stuck)
    yield from _damaged(store, stuck)
    yield from _images(store, most)


def _troubles(pulse: Pulse) -> Iterator[Trouble]:
    return (trouble for trouble in find_troubles(pulse) if trouble.code is not TroubleCode.REFUSED)


def _doubts(store: Store, stuck: Stuck) -> Iterator[DeadEnd]:
    lanes = {lane.name for lane in store.context.settings.lanes}
    for job, since in _jobs(store, stuck.doubts.named):
        why = job.reason or "its outcome is unknown"
        if job.exists:
            why += "; the provider has said that it has it"
        if job.lane not in lanes:
            why += f"; its lane {job.lane} is not configured"
        if job.state.final:
            why += f"; it is {job.state}, and keeps its slots"
        yield DeadEnd(Kind.IN_DOUBT, job.id, since, why, f"{SETTLE} {job.id} --sent TASK_ID | --not-sent | --failed")


def _undelivered(store: Store, stuck: Stuck) -> Iterator[DeadEnd]:
    names = {Delivery.CELERY: "Celery message", Delivery.NOTIFY: "callback_url"}
    for job, since in _jobs(store, stuck.undelivered.named):
        kinds = " and ".join(names[kind] for kind in sorted(job.undelivered))
        why = f"{job.state}, but its {kinds} could not be delivered: {job.delivery_trouble or 'unknown'}"
        yield DeadEnd(Kind.DELIVERY, job.id, since, why, f"{REDELIVER} {job.id}")


def _jobs(store: Store, named: tuple[tuple[str, datetime], ...]) -> Iterator[tuple[Job, datetime]]:
    since = dict(named)
    for ids in chunks(iter(since)):
        yield from ((job, since[job.id]) for job in store.jobs.get_many(ids) if job)


def _damaged(store: Store, stuck: Stuck) -> Iterator[DeadEnd]:
    since = dict(stuck.damaged.named)
    for ids in chunks(iter(since)):
        for job_id, job in zip(ids, store.jobs.inspect_many(ids), strict=True):
            why = job.why if isinstance(job, RecordDamaged) else "what stands beside its record is damaged"
            do = "boomerang-server audit names what is damaged, and what to do about each."
            yield DeadEnd(Kind.DAMAGED, shown(job_id), since[job_id], why, do)


def _lane_waits(lane: Lane, now: datetime, longer_than: float) -> bool:
    """Return whether a lane is stuck. `lanes.get_all` has unconfigured lanes only if they have jobs."""
    for_long = lane.held_since is None or now - lane.held_since >= timedelta(seconds=longer_than)
    return lane.settings is None or (lane.held and for_long)


def _lanes(store: Store) -> tuple[Lane, ...]:
    try:
        return store.lanes.get_all()
    except RecordDamaged as error:
        log.warning("lanes are left out: %s", error)
        return ()


def _lane(lane: Lane) -> DeadEnd:
    if lane.settings is None:
        why = f"not configured (BOOMERANG_LANES), with {lane.slots} images in use and {lane.ready} jobs that wait"
        do = "Configure it again; it can be taken away once it is empty."
    elif lane.open_since:
        why = f"its circuit breaker is open: {lane.reason}"
        do = "Look at the provider, the network and BOOMERANG_PROVIDER_URL: it closes with the first answer."
    else:
        why = f"on hold: {lane.reason}"
        do = f"401: set a valid key; 402: pay; 403: have it allowed. One job goes ahead at {lane.held_until}."
    return DeadEnd(Kind.LANE, lane.name, lane.held_since, why, do)


def _caps(store: Store, stuck: Stuck) -> Iterator[DeadEnd]:
    for batch, since in stuck.at_cap.named:
        found = _batch(store, batch)
        why = (found and found.reason) or "its max_cost is reached"
        do = f"POST /v1/batches/{batch}/resume with a higher max_cost, or cancel it."
        yield DeadEnd(Kind.CAP, f"batch {batch}", since, why, do)
    for queue, again in stuck.capped.named:
        of = queue.split("|", 2)[-1]
        if of.startswith("b"):
            found = _batch(store, of[1:])
            who, why = f"batch {of[1:]}", (found and found.reason) or "what was spent and is reserved leaves no room"
        else:
            who, why = f"key {of[1:]}", "its budget for the day is used up, or reserved for jobs under way"
        do = f"Raise max_cost, or max_cost_per_day in BOOMERANG_KEY_LIMITS. Looked at again at {again}."
        yield DeadEnd(Kind.CAP, who, None, why, do)


def _batch(store: Store, batch_id: str) -> Batch | None:
    try:
        return store.batches.get(batch_id)
    except (BatchNotFound, RecordDamaged):
        return None


def _images(store: Store, most: int) -> Iterator[DeadEnd]:
    """Find missing images that unfinished jobs refer to, each once."""
    client, keys = store.context.client, store.context.keys
    found = 0
    with translate_errors():
        for digests in chunks(str(digest) for digest, _ in client.hscan_iter(keys.singleton("uses"), count=CHUNK)):
            there = client.zmscore(keys.singleton("images"), digests)
            for digest in (digest for digest, score in zip(digests, there, strict=True) if score is None):
                if (found := found + 1) > most:
                    return
                times = str(client.hget(keys.singleton("uses"), digest) or 0)
                why = f"unfinished jobs name it {times} times, but it is not there: they will fail"
                do = "Upload the same file again (POST /v1/images) before their turn comes."
                yield DeadEnd(Kind.IMAGE, digest, None, why, do)
