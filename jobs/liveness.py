"""Whether the service works: its signs of life at one moment, and the troubles that follow from them.

Two signs are stored in the jobs' Redis, by its clock. A round of reconcile notes when it began: it needs beat, the
broker and a worker. Every worker writes a heartbeat, which needs the worker alone. Together they tell which one is
away. No reader compares them with a clock of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from jobs.task_names import DELIVER, RECONCILE, SAVE, SUBMIT

#: Seconds between two rounds of reconcile, and between two heartbeats of a worker.
ROUND_INTERVAL = 1.0
HEARTBEAT_INTERVAL = 2.0
#: Seconds without a round after which the service counts as stalled. A busy machine delays rounds by a few seconds, and
#: a worker whose connection goes dead in silence needs 12 to 17 s until it works again (worker/app.py).
STALLED_AFTER = 15 * ROUND_INTERVAL
#: Seconds without a heartbeat after which a worker counts as silent; less than `STALLED_AFTER`, so that the cause is
#: known when a stall begins.
SILENT_AFTER = 5 * HEARTBEAT_INTERVAL
#: Seconds for which workers must have answered without a round before beat is blamed: a worker notices a silent broker
#: only after some seconds, and answers until then.
BLAME_BEAT_AFTER = 20 * ROUND_INTERVAL
#: Seconds for which a queue must have had no reader, while others have one.
UNREAD_AFTER = 15 * HEARTBEAT_INTERVAL
#: Seconds after the first heartbeat until a queue counts as unread that never had a reader. In a deploy, workers of the
#: version before, which write no heartbeats, may read it until then.
NEVER_READ_AFTER = 600.0


class WorkerState(StrEnum):
    """What a worker's heartbeat says about it."""

    READING = "reading"  #: it reads its queues
    BUSY = "busy"  #: it reads its queues, but all its threads have run the same tasks for long
    CUT_OFF = "cut_off"  #: it has no connection to the broker


class TroubleCode(StrEnum):
    """What keeps the service from its work."""

    REFUSED = "refused"  #: the jobs' Redis does not hold the jobs that it should hold
    BROKER_AWAY = "broker_away"
    NO_WORKER = "no_worker"
    WORKERS_BUSY = "workers_busy"
    BEAT_AWAY = "beat_away"
    STALLED = "stalled"  #: no round begins, and the cause is not known (yet)
    QUEUE_UNREAD = "queue_unread"  #: workers run, but none reads one of the queues


@dataclass(frozen=True, slots=True)
class Trouble:
    """One trouble: since when (None: not known), what it means, and what to do.

    `stops_jobs`: jobs that wait are not submitted, so their end is unknown. The text stays the same while
    the trouble lasts, because each change of a batch's reason is sent to everybody who follows the batch.
    """

    code: TroubleCode
    what: str
    do: str
    since: datetime | None = None
    stops_jobs: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The signs of life at one moment. Times are seconds since 1970 by the clock of the jobs' Redis; None: never.

    `round_at`: the last round of reconcile began. `resumed_at`: the first round after a stall, or at all, began.
    `first_heartbeat`: of any worker. `read_at`: the last heartbeat of a worker that reads the queue, by queue. `saves`:
    results are saved. `busy_at`, `cut_off_at`: the last heartbeat of a worker in that state. `refusal`: why no work is
    accepted.
    """

    now: float
    round_at: float | None = None
    resumed_at: float | None = None
    first_heartbeat: float | None = None
    read_at: Mapping[str, float] = field(default_factory=dict)
    busy_at: float | None = None
    cut_off_at: float | None = None
    saves: bool = False
    refusal: str = ""

    @property
    def round_age(self) -> float | None:
        """Seconds since the last round began."""
        return None if self.round_at is None else max(0.0, self.now - self.round_at)


def find_troubles(pulse: Pulse, *, broker_answers: bool | None = None) -> tuple[Trouble, ...]:
    """Return what is wrong, the cause first; nothing while the service works.

    `broker_answers`: whether the broker answered the caller; None if it was not asked.
    """
    if pulse.refusal:
        return (Trouble(TroubleCode.REFUSED, pulse.refusal, "Run boomerang-server recover once the cause is known."),)
    if broker_answers is False:
        return (_broker_away(_stalled_since(pulse)),)
    stalled_since = _stalled_since(pulse)
    if stalled_since is not None:
        return (_why_stalled(pulse, stalled_since),)
    return tuple(_unread_queues(pulse))


def blocking(troubles: Sequence[Trouble]) -> Trouble | None:
    """Return the trouble that keeps waiting jobs from being submitted; None while they are."""
    return next((trouble for trouble in troubles if trouble.stops_jobs), None)


def _stalled_since(pulse: Pulse) -> float | None:
    # Before the first round, the first heartbeat counts. Without either, no worker has begun with this Redis.
    last = pulse.first_heartbeat if pulse.round_at is None else pulse.round_at
    return last if last is not None and abs(pulse.now - last) > STALLED_AFTER else None


def _why_stalled(pulse: Pulse, since: float) -> Trouble:
    read_at = max(pulse.read_at.values(), default=None)
    start = f"no round of reconcile since {_text(since)}"
    if not _recent(pulse, read_at):
        if _recent(pulse, pulse.cut_off_at):
            return _broker_away(since)
        return Trouble(
            TroubleCode.NO_WORKER,
            f"no worker answers: {start}. Nothing is submitted, polled or delivered",
            "Start a worker: celery -A worker.main:app worker. If one runs, check that it is not stopped and reaches "
            "BOOMERANG_REDIS_URL and BOOMERANG_BROKER_URL; its log says why it does not.",
            _moment(since),
        )
    if not _recent(pulse, pulse.read_at.get(RECONCILE)):
        return _unread(RECONCILE, pulse.read_at.get(RECONCILE) or since)
    if _recent(pulse, pulse.busy_at):
        return Trouble(
            TroubleCode.WORKERS_BUSY,
            f"the workers' tasks do not end, and use all threads: {start}. Nothing is polled or delivered",
            "Start more workers, and look for calls that hang in the logs of those that run.",
            _moment(since),
        )
    if pulse.read_at[RECONCILE] - since > BLAME_BEAT_AFTER:
        return Trouble(
            TroubleCode.BEAT_AWAY,
            f"beat is away: {start}, although workers answer. Lost callbacks, retries and deliveries wait",
            "Start one beat: celery -A worker.main:app beat. If one runs, check its BOOMERANG_BROKER_URL, and "
            "whether the broker takes messages: RabbitMQ takes none while it has an alarm for memory or disk.",
            _moment(since),
        )
    return Trouble(
        TroubleCode.STALLED,
        f"the service stands still: {start}",
        "Check beat, the workers and the broker: boomerang-server doctor.",
        _moment(since),
    )


def _broker_away(since: float | None) -> Trouble:
    start = f": no round of reconcile since {_text(since)}" if since is not None else ""
    return Trouble(
        TroubleCode.BROKER_AWAY,
        f"the broker is away{start}. Jobs are accepted, and wait until it is back",
        "Start the broker, or correct BOOMERANG_BROKER_URL.",
        None if since is None else _moment(since),
    )


def _unread_queues(pulse: Pulse) -> list[Trouble]:
    """Return the queues that no worker reads, while rounds run: so the queue of rounds has a reader.

    Workers of an earlier version write no heartbeats. If there are only those, it is unknown.
    """
    if not any(_recent(pulse, at) for at in pulse.read_at.values()):
        return []
    first = pulse.first_heartbeat or pulse.now
    return [
        _unread(queue, pulse.read_at.get(queue, first))
        for queue in _QUEUES
        if queue != RECONCILE
        and (queue != SAVE or pulse.saves)
        and pulse.now - pulse.read_at.get(queue, first) > (UNREAD_AFTER if queue in pulse.read_at else NEVER_READ_AFTER)
    ]


#: The queues that an installation needs (SAVE: with a result store), and what waits while no worker reads one.
_QUEUES: Mapping[str, str] = {
    SUBMIT: "no job is submitted",
    RECONCILE: "lost callbacks, retries and deliveries wait",
    DELIVER: "no notification and no Celery result is delivered",
    SAVE: "no result is saved before the provider deletes it",
}


def _unread(queue: str, since: float) -> Trouble:
    return Trouble(
        TroubleCode.QUEUE_UNREAD,
        f"no worker has read the queue {queue} since {_text(since)}: {_QUEUES[queue]}",
        f"Start a worker that reads it: without -Q and -X, or with -Q {queue}.",
        _moment(since),
        stops_jobs=queue not in {DELIVER, SAVE},
    )


def _recent(pulse: Pulse, at: float | None) -> bool:
    # A time in the future is from another clock, before a failover of Redis.
    return at is not None and abs(pulse.now - at) <= SILENT_AFTER


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _text(seconds: float) -> str:
    return _moment(seconds).isoformat(timespec="seconds")
