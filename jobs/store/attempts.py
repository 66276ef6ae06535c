"""The attempts of jobs at the provider: admission, submission, the end of an attempt, and look-ups of lost ones."""

import json
import logging
from collections.abc import Mapping, Sequence

from jobs.attempt_ids import parse_external_id
from jobs.claims import Admission, Claim, Due, DueJobs
from jobs.errors import RecordDamaged
from jobs.fields import printable
from jobs.jitter import Random, draw
from jobs.job import Job
from jobs.lane_health import Reachability
from jobs.lanes import LaneSettings
from jobs.policy import RECHECK, next_attempts
from jobs.result import Result
from jobs.states import State
from jobs.store.arguments import flag
from jobs.store.context import StoreContext
from jobs.store.cost_log import CostLog
from jobs.store.outcomes.jobs import (
    CallbackOutcome,
    ExpireOutcome,
    FinishOutcome,
    InDoubtOutcome,
    InProgressOutcome,
    LookupOutcome,
    MoveOutcome,
    RequeueOutcome,
)
from jobs.store.script_limits import ScriptLimits
from jobs.store.transitions import TransitionResult, read_transition
from jobs.units import duration_micros, from_micros

log = logging.getLogger(__name__)

#: An admitted job returns to its queue when no worker claims it within this time (seconds).
PUT_BACK = 15.0
#: Most images between admission and claim: enough to keep workers busy, few enough for a cancel or hold to act at once.
MOST_DISPATCHED = 2_000
#: Seconds of unused rate that a burst may use.
RATE_BURST = 1.0
#: The reason of an expired job.
UNFINISHED = "the provider did not finish it in time"
#: The lease of a round of reconcile on the jobs that it claims (seconds).
DUE_LEASE = 30.0


class Attempts:
    """The verbs of workers and of callbacks. All raise `StoreUnavailable`.

    A `fence` is the fencing token of a claim: a verb refuses it once another process has claimed the job.
    """

    def __init__(self, context: StoreContext) -> None:
        self._scripts = context.scripts
        self._settings = context.configured
        self._context = context
        self._prepared = ScriptLimits.of(context.configured)
        self._cost_log = CostLog()

    # --- admission and submission -----------------------------------------------------------------------------------

    def admit(self, limit: int, lane: LaneSettings | None = None) -> Admission:
        """Take up to `limit` jobs out of the queue, as slots, rate and holds of the lane (None: the first) allow."""
        prepared = self._prepare()
        lanes = prepared.settings.lanes
        name = lane.name if lane else lanes[0].name
        lane = next(each for each in lanes if each.name == name)
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
            prepared.rules[lane.name],
            flag(lane.learn_limit),
        )
        return Admission(tuple(ids), bool(more))

    def _prepare(self) -> ScriptLimits:
        settings = self._context.settings
        if settings is not self._prepared.settings:
            self._prepared = ScriptLimits.of(settings)
        return self._prepared

    def claim(self, ids: Sequence[str]) -> list[Claim]:
        """Take the lease on admitted jobs. Jobs in another state are left out."""
        if not ids:
            return []
        rows = self._scripts.call(
            "claim", duration_micros(self._settings.submit_lease), flag(self._settings.recovery), *ids
        )
        return [
            Claim(job_id, int(fence), int(attempt), int(tries), text, lane, bool(maybe_sent))
            for job_id, fence, attempt, tries, text, lane, maybe_sent in rows
        ]

    def mark_in_progress(self, job_id: str, fence: int, task_id: str, deadline: float | None = None) -> bool:
        """Record that the provider accepted the job as `task_id`. False: refused, another process holds the job.

        `deadline`: in so many seconds, instead of BOOMERANG_DEADLINE.
        """
        return self.mark_many_in_progress([(job_id, fence, task_id)], deadline)[0]

    def mark_many_in_progress(
        self, accepted: Sequence[tuple[str, int, str]], seconds: float | None = None
    ) -> list[bool]:
        """Call `mark_in_progress` for several jobs in one round trip: (job id, fence, the provider's task id) each."""
        if not accepted:
            return []
        poll = duration_micros(self._settings.poll_first)
        deadline = duration_micros(self._settings.deadline if seconds is None else seconds)
        outcomes = self._scripts.call_each([("mark_in_progress", *each, poll, deadline) for each in accepted])
        for outcome in outcomes:
            if isinstance(outcome, RecordDamaged):
                log.error("%s", outcome)
        return [outcome == InProgressOutcome.STARTED for outcome in outcomes]

    def mark_in_doubt(
        self,
        job_id: str,
        fence: int,
        reason: str,
        *,
        wait: float = 0.0,
        exists: bool = False,
        refusal: Mapping[str, str] | None = None,
        reachability: Reachability = Reachability.NOTHING,
    ) -> bool:
        """Record that the outcome of the POST is unknown; it is looked up in `wait` seconds. False: refused.

        `exists`: the provider has confirmed that it has the external id. `refusal`: its error, `{"code", "message"}`,
        with which the job fails if look-ups find nothing (`finish` with `refused`).
        """
        return bool(
            self._scripts.call(
                "mark_in_doubt",
                job_id,
                fence,
                reason,
                duration_micros(wait),
                flag(exists),
                "" if refusal is None else json.dumps(dict(refusal), ensure_ascii=False),
                reachability,
            )
            == InDoubtOutcome.DOUBT
        )

    def requeue(
        self,
        job_id: str,
        fence: int,
        reason: str,
        *,
        wait: float = 0.0,
        count: bool = False,
        reachability: Reachability = Reachability.NOTHING,
    ) -> RequeueOutcome:
        """Queue a job again whose attempt does not exist at the provider."""
        return RequeueOutcome(
            self._scripts.call(
                "requeue",
                job_id,
                fence,
                duration_micros(wait),
                reason,
                flag(count),
                duration_micros(RECHECK),
                reachability,
            )
        )

    # --- the end of an attempt --------------------------------------------------------------------------------------

    def finish(
        self,
        external_task_id: str,
        state: State,
        result: Result,
        settled_by: str,
        *,
        fence: int | None = None,
        refused: bool = False,
        may_exist: bool = False,
        random: Random = draw,
    ) -> TransitionResult[FinishOutcome]:
        """Record that an attempt is `completed` or `failed`. A failure worth another attempt queues the next one.

        `fence`: the claim of the poll or submission that reports it; None for a callback. `refused`: it fails because
        its submission was refused; nothing happens if a callback has shown meanwhile that the attempt exists.
        `may_exist`: no next attempt, since the provider may have this one and complete it.
        """
        parsed = parse_external_id(external_task_id)
        if parsed is None:
            return TransitionResult(FinishOutcome.UNKNOWN, None)
        job_id, attempt = parsed
        waits: list[float] = []
        if state is State.FAILED and not may_exist:
            waits = next_attempts((result.error or {}).get("code", ""), self._settings, random())
        held = "" if fence is None else fence
        after = " ".join(str(duration_micros(wait)) for wait in waits)
        settled = read_transition(
            FinishOutcome,
            self._scripts.call(
                "finish",
                *(job_id, attempt, held, state, result.to_json(), result.nano, settled_by, after, flag(refused)),
                *(result.unreadable_cost or "", self._prepare().budgets, len(result.output), self._settings.saves),
            ),
        )
        if settled.outcome in (FinishOutcome.FINISHED, FinishOutcome.AGAIN):
            self._cost_log.note(external_task_id, result)
        return settled

    def record_callback(self, external_task_id: str, *, needs_lookup: bool) -> TransitionResult[CallbackOutcome]:
        """Record a callback that does not end the attempt. `needs_lookup`: only the provider knows its state."""
        parsed = parse_external_id(external_task_id)
        if parsed is None:
            return TransitionResult(CallbackOutcome.UNKNOWN, None)
        outcome, hint = self._scripts.call("record_callback", *parsed, flag(needs_lookup))
        return TransitionResult(CallbackOutcome(outcome), None, admit_hint=bool(hint))

    # --- reconcile --------------------------------------------------------------------------------------------------

    def claim_due(self, limit: int) -> DueJobs:
        """Claim up to `limit` jobs whose alarm is due."""
        settings = self._settings
        hint, count, epoch, *rows = self._scripts.call(
            "claim_due",
            limit,
            duration_micros(DUE_LEASE),
            duration_micros(RECHECK),
            duration_micros(settings.poll_max),
            duration_micros(settings.submit_lease),
            flag(settings.recovery),
        )
        dues, damaged = [], []
        for row in rows:
            try:
                dues.append(_due(json.loads(row)))
            except RecordDamaged as error:
                damaged.append(error)
        return DueJobs(tuple(dues), int(count), bool(hint), int(epoch), tuple(damaged))

    def move_to_lane(self, due: Due, lane: str) -> bool:
        """Move a job in doubt to the lane of its pool where it was found. False: refused, another process holds it."""
        return bool(self._scripts.call("move_to_lane", due.job.id, due.job.fence, lane) == MoveOutcome.MOVED)

    def reschedule_lookup(
        self,
        due: Due,
        wait: float,
        *,
        count: bool = True,
        reason: str = "",
        reachability: Reachability = Reachability.NOTHING,
    ) -> bool:
        """Schedule the next look-up in `wait` seconds, after one that changed nothing. False: refused."""
        lookups = due.job.lookups + 1 if count else ""
        return bool(
            self._scripts.call(
                "reschedule_lookup", due.job.id, due.job.fence, duration_micros(wait), lookups, reason, reachability
            )
            == LookupOutcome.SET
        )

    def expire(self, due: Due, wait: float, problem: str = "") -> TransitionResult[ExpireOutcome]:
        """Expire a job because of a `problem`. A late result is looked up every `wait` seconds for as long again."""
        outcome, hint = self._scripts.call(
            "expire",
            due.job.id,
            due.job.fence,
            duration_micros(wait),
            duration_micros(self._settings.deadline),
            f"{UNFINISHED} ({problem})" if problem else UNFINISHED,
        )
        return TransitionResult(ExpireOutcome(outcome), None, admit_hint=bool(hint))


def _due(fields: dict[str, str]) -> Due:
    if "damaged" in fields:
        raise RecordDamaged(f"job {printable(fields['id'])}", printable(fields["damaged"]))
    return Due(Job.from_fields(fields["id"], fields), from_micros(fields["now"]))
