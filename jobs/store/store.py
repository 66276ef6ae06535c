"""The jobs' store on Redis: each verb is one atomic script, safe to run twice with the same arguments."""

import json
import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.connections.sentinel import Watched, behind_sentinel
from jobs.errors import JobNotFound, NotAllowed, RecordDamaged
from jobs.fields import Field, shown
from jobs.job import Claim, Due, Job, Result, duration_micros, from_micros, parse_external_id
from jobs.lane_health import Reachability
from jobs.lanes import LaneSettings
from jobs.new_job import BatchOptions, NewJob
from jobs.new_job import Outcome as Outcome
from jobs.policy import RECHECK as RECHECK
from jobs.policy import next_attempt
from jobs.settings import Settings
from jobs.states import State
from jobs.store.batches import Batches, arguments, at_most
from jobs.store.celery_messages import Parking
from jobs.store.continuity import Continuity
from jobs.store.event_stream import StateChange, read_changes
from jobs.store.lua_source import REDIS_TIME
from jobs.store.manual import Settling
from jobs.store.redis_keys import Keys
from jobs.store.scripts import Scripts
from jobs.store.spending import DAYS_KEPT, rules

log = logging.getLogger(__name__)

#: An admitted job whose message no worker has taken by then goes back into the queue.
PUT_BACK = 15.0
#: Images on their way to workers at most: enough to keep them busy, few enough for a cancel or hold to act at once.
MOST_DISPATCHED = 2_000
#: The rate limit may be exceeded for a moment by what was saved up in this time.
RATE_BURST = 1.0
#: Characters that are kept of why a delivery failed.
LONGEST_WHY = 200
#: How long one round of reconcile may take before another may take over its jobs.
DUE_LEASE = 30.0


@dataclass(frozen=True, slots=True)
class Enqueued:
    """An outcome for each job, in order; `admit_hint`: send a hint to admit."""

    outcomes: tuple[Outcome, ...]
    admit_hint: bool


@dataclass(frozen=True, slots=True)
class Admission:
    """Jobs taken out of the queue for workers; `more`: others could follow at once."""

    ids: tuple[str, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class TransitionResult:
    """What became of a report that an attempt is over, a cancel or a retry.

    `outcome` is the script's own (see `finish.lua`, `cancel.lua`, `retry.lua`). `admit_hint`: send one, since jobs wait
    for the slots that came free. `owed`: a delivery is due.
    """

    outcome: str
    state: State | None
    admit_hint: bool = False
    owed: bool = False


@dataclass(frozen=True, slots=True)
class DueJobs:
    """Jobs to act upon; how many alarms `rang` in all; `admit_hint`: send a hint to admit; the `epoch` of Redis.

    `damaged`: jobs that nobody can act upon, as they stand in Redis.
    """

    dues: tuple[Due, ...]
    due_count: int
    admit_hint: bool
    epoch: int
    damaged: tuple[RecordDamaged, ...] = ()


class Store(Settling, Parking, Batches, Continuity):
    """All that changes a job. Raises `StoreUnavailable` where Redis does not answer; nothing is retried in here.

    Without `may_load` it runs the scripts that Redis has, and brings none.
    """

    def __init__(
        self,
        client: redis.Redis,
        settings: Settings,
        keys: Keys | None = None,
        clock: str = REDIS_TIME,
        *,
        may_load: bool = True,
    ) -> None:
        super().__init__(client, keys or Keys())
        self.settings = settings
        self._scripts = Scripts(client, self._keys, clock, settings.replicas, may_load=may_load)
        self._rules = {lane.name: rules(settings, lane) for lane in settings.lanes}

    # --- in ---------------------------------------------------------------------------------------------------------

    def enqueue(
        self,
        jobs: Sequence[NewJob],
        batch: str | None = None,
        options: BatchOptions | None = None,
        *,
        most: int | None = None,
    ) -> Enqueued:
        """Accept jobs in one atomic step; a few hundred a call. With `batch`, even without jobs, the batch exists.

        `options` hold from the call on that first names the batch; later ones change nothing. With `most`, new jobs are
        accepted only until there are so many unfinished ones.
        """
        held = (options or BatchOptions()).facts()
        wake, *outcomes = self._scripts.call(
            "enqueue", batch or "", held, duration_micros(RECHECK), at_most(most), *arguments(jobs)
        )
        return Enqueued(tuple(map(Outcome, outcomes)), bool(wake))

    # --- out --------------------------------------------------------------------------------------------------------

    def admit(self, limit: int, lane: LaneSettings | None = None) -> Admission:
        """Take up to `limit` waiting jobs for workers, as slots, rate and holds of the lane (None: the first) allow."""
        lanes = self.settings.lanes
        lane = lane or lanes[0]
        more, *ids = self._scripts.call(
            "admit",
            lane.name,
            lane.pool,
            limit,
            MOST_DISPATCHED,
            lane.max_in_flight,
            lane.submit_rate,
            duration_micros(RATE_BURST),
            duration_micros(PUT_BACK),
            " ".join(each.name for each in lanes if each.pool == lane.pool),
            self._rules[lane.name],
            _flag(lane.learn_limit),
        )
        return Admission(tuple(ids), bool(more))

    def claim(self, ids: Sequence[str]) -> list[Claim]:
        """Take the lease on admitted jobs; those that are not waiting (any more) are left out."""
        if not ids:
            return []
        rows = self._scripts.call(
            "claim", duration_micros(self.settings.submit_lease), _flag(self.settings.recovery), *ids
        )
        return [
            Claim(job_id, int(fence), int(attempt), int(tries), text, lane)
            for job_id, fence, attempt, tries, text, lane in rows
        ]

    def mark_in_progress(self, job_id: str, fence: int, task_id: str) -> bool:
        """The provider has it. False: refused, someone else holds the job now."""
        return self.started_many([(job_id, fence, task_id)])[0]

    def started_many(self, started: Sequence[tuple[str, int, str]]) -> list[bool]:
        """`started` for several, in one round trip: (job id, fence, the provider's task id) each."""
        if not started:
            return []
        poll, deadline = duration_micros(self.settings.poll_first), duration_micros(self.settings.deadline)
        words = self._scripts.tries([("mark_in_progress", *each, poll, deadline) for each in started])
        for word in words:
            if isinstance(word, RecordDamaged):
                log.error("%s", word)
        return [word == "started" for word in words]

    def mark_in_doubt(
        self,
        job_id: str,
        fence: int,
        reason: str,
        *,
        wait: float = 0.0,
        exists: bool = False,
        heard: Reachability = Reachability.NOTHING,
    ) -> bool:
        """The POST's outcome is unknown; look in `wait` seconds. `exists`: the provider says that it has the id."""
        return bool(
            self._scripts.call("mark_in_doubt", job_id, fence, reason, duration_micros(wait), _flag(exists), heard)
            == "doubt"
        )

    def requeue(
        self,
        job_id: str,
        fence: int,
        reason: str,
        *,
        wait: float = 0.0,
        count: bool = False,
        heard: Reachability = Reachability.NOTHING,
    ) -> str:
        """It surely does not exist at the provider: 'queued', or 'over' where the producer had given up on it.

        'doubt': a callback has shown that it does exist, it is looked for; 'refused': a stale fence or another state.
        """
        return str(
            self._scripts.call(
                "requeue", job_id, fence, duration_micros(wait), reason, _flag(count), duration_micros(RECHECK), heard
            )
        )

    # --- back -------------------------------------------------------------------------------------------------------

    def finish(
        self, external_task_id: str, state: State, result: Result, settled_by: str, *, fence: int | None = None
    ) -> TransitionResult:
        """An attempt has ended, `completed` or `failed`; `fence` where a claim (poll, submission) reports it.

        A failure worth another attempt queues the next one.
        """
        parsed = parse_external_id(external_task_id)
        if parsed is None:
            return TransitionResult("unknown", None)
        job_id, attempt = parsed
        wait = None
        if state is State.FAILED:
            wait = next_attempt(
                attempt, (result.error or {}).get("code", ""), self.settings, secrets.randbelow(1000) / 1000
            )
        held = "" if fence is None else fence
        after = "" if wait is None else duration_micros(wait)
        return _settled(
            self._scripts.call("finish", job_id, attempt, held, state, result.to_json(), result.nano, settled_by, after)
        )

    def record_callback(self, external_task_id: str, *, look: bool) -> TransitionResult:
        """Something happened to the attempt; `look`: only a look at the provider can tell what."""
        parsed = parse_external_id(external_task_id)
        if parsed is None:
            return TransitionResult("unknown", None)
        word, ring = self._scripts.call("record_callback", *parsed, _flag(look))
        return TransitionResult(str(word), None, admit_hint=bool(ring))

    # --- reconcile --------------------------------------------------------------------------------------------------

    def claim_due(self, limit: int) -> DueJobs:
        """Claim jobs whose alarm has rung."""
        settings = self.settings
        wake, rang, epoch, *rows = self._scripts.call(
            "claim_due",
            limit,
            duration_micros(DUE_LEASE),
            duration_micros(RECHECK),
            duration_micros(settings.poll_max),
            duration_micros(settings.submit_lease),
            _flag(settings.recovery),
        )
        dues, damaged = [], []
        for row in rows:
            try:
                dues.append(_due(json.loads(row)))
            except RecordDamaged as error:
                damaged.append(error)
        return DueJobs(tuple(dues), int(rang), bool(wake), int(epoch), tuple(damaged))

    def claim_deliveries(self, ids: Sequence[str]) -> list[Due]:
        """Claim, of these jobs, those that have ended and owe a delivery, with their results."""
        if not ids:
            return []
        rows = [json.loads(row) for row in self._scripts.call("claim_deliveries", duration_micros(DUE_LEASE), *ids)]
        jobs = self.get_many([row["id"] for row in rows])
        return [
            Due(replace(job, fence=int(row[Field.FENCE])), from_micros(row["now"]))
            for job, row in zip(jobs, rows, strict=True)
            if job
        ]

    def changes(self, most: int) -> list[StateChange]:
        """The next changes of state that no one has read yet, oldest first. Each is read once; old ones may be lost."""
        return read_changes(self._client, self._keys, most)

    def move_to_lane(self, due: Due, lane: str) -> bool:
        """A job in doubt was found at that account of its pool. False: refused, someone else holds it now."""
        return bool(self._scripts.call("move_to_lane", due.job.id, due.job.fence, lane) == "moved")

    def reschedule_lookup(
        self, due: Due, wait: float, *, count: bool = True, reason: str = "", heard: Reachability = Reachability.NOTHING
    ) -> bool:
        """A look changed nothing: look again in `wait` seconds."""
        looks = due.job.lookups + 1 if count else ""
        return bool(
            self._scripts.call(
                "reschedule_lookup", due.job.id, due.job.fence, duration_micros(wait), looks, reason, heard
            )
            == "set"
        )

    def expire(self, due: Due, wait: float) -> TransitionResult:
        """Give up waiting; a late result is still looked for, every `wait` seconds, for as long as a deadline."""
        word, wake = self._scripts.call(
            "expire", due.job.id, due.job.fence, duration_micros(wait), duration_micros(self.settings.deadline)
        )
        return TransitionResult(str(word), None, admit_hint=bool(wake))

    def delivered(self, due: Due, kind: str, *, again_in: float | None = None, why: str = "") -> str:
        """A delivery was made, or is to be tried again: 'clear' (nothing is owed any more), 'owed' or 'refused'.

        `why` it failed, where it did.
        """
        return self._delivered(due, kind, "" if again_in is None else duration_micros(again_in), why)

    def undelivered(self, due: Due, kind: str, why: str) -> str:
        """A delivery is given up, until a person has it tried again (`redeliver`): the same words."""
        return self._delivered(due, kind, "never", why)

    def _delivered(self, due: Due, kind: str, wait: str | int, why: str) -> str:
        tries = due.job.delivery_tries + 1
        return str(self._scripts.call("delivered", due.job.id, due.job.fence, kind, wait, tries, why[:LONGEST_WHY]))

    def purge(self, limit: int = 200) -> tuple[int, int]:
        """Forget what ended longer ago than the retention: (jobs, batches). Bounded work a call."""
        jobs, batches = self._scripts.call("purge", duration_micros(self.settings.retention), limit, DAYS_KEPT)
        return int(jobs), int(batches)

    # --- by hand ----------------------------------------------------------------------------------------------------

    def cancel(self, job_id: str) -> TransitionResult:
        """Give up on a job. Raises `JobNotFound`, or `NotAllowed` when it has ended otherwise."""
        settled = _settled(self._scripts.call("cancel", job_id))
        if settled.outcome == "unknown":
            raise JobNotFound(job_id)
        if settled.outcome == "refused":
            raise NotAllowed(f"The job is {settled.state} already; there is nothing left to cancel.")
        return settled

    def pause_job(self, job_id: str) -> TransitionResult:
        """Keep a job that waits from being sent, until it is resumed. Raises `JobNotFound` or `NotAllowed`."""
        return self._halt(job_id, pause=True)

    def resume_job(self, job_id: str) -> TransitionResult:
        """Let a paused job go on, at its old place. Raises `JobNotFound` or `NotAllowed`."""
        return self._halt(job_id, pause=False)

    def _halt(self, job_id: str, *, pause: bool) -> TransitionResult:
        settled = _settled((*self._scripts.call("pause_job", job_id, _flag(pause)), 0))
        if settled.outcome == "unknown":
            raise JobNotFound(job_id)
        if settled.outcome == "refused":
            raise NotAllowed(
                f"The job is {settled.state}: only one that waits can be paused. What the provider has goes on; "
                "cancel it if you do not want it any more."
                if pause
                else f"The job is {settled.state}, not paused; there is nothing to resume."
            )
        return settled

    def retry(self, job_id: str) -> TransitionResult:
        """Queue a failed, expired or cancelled job again. Raises `JobNotFound` or `NotAllowed`."""
        word, state, wake = self._scripts.call("retry", job_id, duration_micros(RECHECK))
        settled = _settled((word, state, wake, 0))
        if word == "unknown":
            raise JobNotFound(job_id)
        if word == "refused":
            raise NotAllowed("The job is completed; for more pictures enqueue it under another external_task_id.")
        if word == "pictured":
            raise NotAllowed(
                "The job was cancelled, but its pictures came all the same and are paid for: they are its output. "
                "For more of them enqueue it under another external_task_id."
            )
        if word == "imageless":
            raise NotAllowed(
                "An image of the job is not kept any more. Upload the same file with POST /v1/images, then retry; "
                "or enqueue the request with the image itself, under another external_task_id."
            )
        if word == "working":
            raise NotAllowed(
                f"The job is {state}, but the provider may still be working on it: "
                "sending it again could be paid twice. Try again once the provider is done with it."
            )
        return settled


def connect(url: str, *, most_connections: int = 256, timeout: float = 3.0, text: bool = True) -> redis.Redis:
    """A client for the state: bounded waits, no retries: a script whose reply got lost may have run.

    `text`: answers are decoded; without, they are the bytes that were stored.
    """
    options: dict[str, Any] = {
        "decode_responses": text,
        # Bytes that are no UTF-8 become half surrogates, and these again the same bytes: what reads them can say where
        # they stand (jobs.fields), instead of failing on a whole answer.
        "encoding_errors": "surrogateescape",
        "socket_timeout": timeout,
        "socket_connect_timeout": 2.0,
        "health_check_interval": 15,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": most_connections,
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    return Watched.from_url(url).client(**options) if behind_sentinel(url) else redis.Redis.from_url(url, **options)


def _flag(value: bool) -> str:  # noqa: FBT001 - it is what it converts
    return "1" if value else "0"


def _settled(row: Iterable[Any]) -> TransitionResult:
    word, state, wake, owed = row
    return TransitionResult(str(word), State(state) if state else None, bool(wake), bool(owed))


def _due(fields: dict[str, str]) -> Due:
    if "damaged" in fields:
        raise RecordDamaged(f"job {shown(fields['id'])}", shown(fields["damaged"]))
    return Due(Job.from_fields(fields["id"], fields), from_micros(fields["now"]))
