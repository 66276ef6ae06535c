"""boomerang.reconcile: act on every job whose alarm is due, by its state."""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, wait
from enum import StrEnum
from typing import TypeVar

from jobs import logs
from jobs.claims import Due
from jobs.errors import RecordDamaged, StoreUnavailable
from jobs.images.images import Images
from jobs.jitter import Random, draw
from jobs.lane_health import Probe, Reachability
from jobs.policy import next_lookup, next_poll, next_submit, refusal_stands
from jobs.provider_result import ended
from jobs.result import Result
from jobs.saving import ANNOUNCE_EVERY, SWEEP_EVERY
from jobs.settings import Ambiguous
from jobs.states import State
from jobs.store.store import Store
from jobs.store.transitions import TransitionResult
from schemas import TaskReport
from worker.admission import admit
from worker.answers import (
    Answer,
    ends_without_result,
    exists_unreadably,
    is_end,
    is_last_poll,
    log_first,
    problem_of,
    reachability,
)
from worker.breaker import hold, probe
from worker.foreign_tasks import ForeignTasks, id_taken
from worker.image_purge import ImagePurge
from worker.lookups import Lookups
from worker.messages import Messages
from worker.provider import Absent, Found, Held, Provider, Unavailable
from worker.results import limited
from worker.settings import Settings

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Most jobs claimed at once, and seconds after which a round leaves the rest to the next one.
STEP = 200
MAX_ROUND = 20.0
#: Seconds between two look-ups of a task that can be neither found nor sent again: it only must not be forgotten.
UNRESOLVED_INTERVAL = 300.0


class Reconciler:
    """Runs rounds. Any number of processes may do so, because claims are atomic."""

    def __init__(
        self,
        store: Store,
        providers: Mapping[str, Provider],
        settings: Settings,
        executor: Executor,
        messages: Messages,
        *,
        images: Images,
        random: Random = draw,
    ) -> None:
        self._store = store
        self._providers = providers
        self._settings = settings
        self._executor = executor
        self._messages = messages
        self._foreign = ForeignTasks(store)
        self._lookups = Lookups(store, providers, settings)
        self._purge_images = ImagePurge(images)
        self._random = random
        self._epoch: int | None = None
        self._announce_at = 0.0
        self._sweep_at = 0.0

    def __call__(self) -> int:
        """Run one round: due jobs, probes, steps of sweeps and of bulk actions, admission, and removal of old data.

        Returns the number of alarms that were due.
        """
        end = time.monotonic() + MAX_ROUND
        probes = [self._executor.submit(self._probe, each) for each in self._step(self._store.lanes.claim_probes) or ()]
        total, due_count = 0, STEP
        while due_count == STEP and time.monotonic() < end:
            due_jobs = self._store.attempts.claim_due(STEP)
            dues, due_count = due_jobs.dues, due_jobs.due_count
            total += due_count
            for damaged in due_jobs.damaged:
                log.error("a due job is skipped: %s", damaged)
            self._note_epoch(due_jobs.epoch)
            if due_jobs.admit_hint:
                # Jobs were put back into the queue: admit them before the look-ups, which take time.
                admit(self._store, self._messages, self._settings.group, self._settings.lanes)
            list(self._executor.map(self._act, [due for due in dues if not due.job.owed]))
            if with_deliveries := [due.job.id for due in dues if due.job.owed]:
                self._messages.deliver(with_deliveries)
        if events := self._step(lambda: self._store.batch_events.find_due(STEP)):
            self._messages.deliver(events)
        wait(probes)
        self._step(self._store.batches.sweep)
        self._step(self._store.bulks.advance)
        admit(self._store, self._messages, self._settings.group, self._settings.lanes)
        self._step(self._ask_to_save)
        self._step(self._store.jobs.purge)
        self._step(self._store.history.roll)
        self._step(self._purge_images)
        return total

    def _ask_to_save(self) -> None:
        if time.monotonic() >= self._announce_at:
            self._store.saves.announce()
            self._announce_at = time.monotonic() + ANNOUNCE_EVERY
        due, released = self._store.saves.find_due()
        if released:
            self._messages.deliver(released)
        # Its receiver also removes what killed workers left in the store, even if nothing more is ever saved.
        is_sweep_due = time.monotonic() >= self._sweep_at
        if (due or is_sweep_due) and self._settings.result_store:
            self._messages.save()
            self._sweep_at = time.monotonic() + SWEEP_EVERY

    @staticmethod
    def _step(step: Callable[[], _T]) -> _T | None:
        """Run a step of the round. Damaged data ends the step, not the round."""
        try:
            return step()
        except RecordDamaged as error:
            log.error("a step of the round is skipped: %s", error)  # noqa: TRY400 - no traceback needed
            return None

    def _note_epoch(self, epoch: int) -> None:
        if self._epoch not in (None, epoch):
            log.warning(
                "Redis was restarted or replaced (epoch %d) and may have lost records of submissions: jobs from before "
                "are looked up at the provider before they are submitted",
                epoch,
            )
        self._epoch = epoch

    def _probe(self, due: Probe) -> None:
        with logs.about(lane=due.lane):
            try:
                probe(self._store, self._providers[due.lane], due, self._lookups.known(due.lane))
            except Exception:
                log.exception("lane %s: the probe failed with an unexpected error, it is repeated later", due.lane)

    def _act(self, due: Due) -> None:
        with logs.about(job=due.job.id, attempt=due.job.attempt, lane=due.job.lane):
            self._act_on(due)

    def _act_on(self, due: Due) -> None:
        try:
            if due.job.lane not in self._providers:
                reason = f"its lane {due.job.lane} is not configured (BOOMERANG_LANES): its task cannot be looked up"
                self._store.attempts.reschedule_lookup(due, UNRESOLVED_INTERVAL, count=False, reason=reason)
            elif due.job.at_provider is State.IN_PROGRESS:
                self._poll(due)
            elif due.job.at_provider is State.IN_DOUBT:
                self._resolve(due)
        except Exception as error:
            # One job must not stop the round. Its alarm was moved by the claim and comes due again.
            log.exception("job %s: reconcile failed with an unexpected error, it is repeated later", due.job.id)
            if not isinstance(error, StoreUnavailable):
                self._after_error(due, error)

    def _after_error(self, due: Due, error: Exception) -> None:
        """Act as after an answer that cannot be read: an error that recurs must not suspend the deadline."""
        answer = Unavailable(f"an unexpected error, {type(error).__name__} (see the log)", seen="")
        try:
            if due.job.at_provider is State.IN_PROGRESS:
                self._poll_later(due, answer)
            elif due.job.at_provider is State.IN_DOUBT:
                self._look_up_later(due, answer)
        except Exception:
            log.exception("job %s: the error cannot be recorded", due.job.id)

    # --- in progress --------------------------------------------------------------------------------------------------

    def _poll(self, due: Due) -> None:
        answer = self._lookups.poll(due)
        log_first(due, answer)
        if isinstance(answer, Found) and self._foreign.has(due, answer):
            self._fail(due, id_taken(due.job))
        elif is_end(answer) or ends_without_result(answer, due):
            self._settle(due, answer.report)
        else:
            self._poll_later(due, answer)

    def _poll_later(self, due: Due, answer: Answer) -> None:
        job, store = due.job, self._store
        problem = self._problem(answer, job.lane)
        if is_last_poll(due, answer):
            expired = store.attempts.expire(due, self._settings.poll_max, problem)
            log.warning("job %s: the provider did not finish it before its deadline: %s", job.id, expired.outcome)
            self._send_hints(expired, job.id)
        else:
            pause = next_poll(job.lookups, self._settings, self._random())
            store.attempts.reschedule_lookup(due, pause, reason=problem, reachability=reachability(answer))

    def _problem(self, answer: Answer, lane: str) -> str:
        if isinstance(answer, Held):
            hold(self._store, lane, answer)
        return problem_of(answer)

    # --- in doubt -----------------------------------------------------------------------------------------------------

    def _resolve(self, due: Due) -> None:
        job = due.job
        if not self._lookups.can_find(due):
            self._resolve_blindly(due)
            return
        answer = self._lookups.find(due)
        log_first(due, answer)
        match answer:
            case Found() if job.refusal and self._foreign.has(due, answer):
                self._fail(due, id_taken(job))
            case Found(report) if is_end(answer):
                self._settle(due, report)
            case Found(report):
                log.info("job %s: found at the provider, now in progress", job.id)
                self._store.attempts.mark_in_progress(job.id, job.fence, report.task_id or job.external_task_id)
            case Absent():
                self._absent(due)
            case _:
                self._look_up_later(due, answer)

    def _look_up_later(self, due: Due, answer: Answer) -> None:
        job, attempts = due.job, self._store.attempts
        if exists_unreadably(due, answer, self._settings):
            log.warning("job %s: its look-ups cannot be read, now in progress and past its deadline", job.id)
            attempts.mark_in_progress(job.id, job.fence, job.external_task_id, deadline=0.0)
        else:
            pause, reason = next_lookup(0, self._settings, self._random()), self._problem(answer, job.lane)
            attempts.reschedule_lookup(due, pause, count=False, reason=reason, reachability=reachability(answer))

    def _absent(self, due: Due) -> None:
        job, lookups, attempts = due.job, due.job.lookups + 1, self._store.attempts
        if not refusal_stands(lookups, due.doubtful_for, self._settings, exists=job.exists):
            pause = next_lookup(lookups, self._settings, self._random(), due.doubtful_for)
            attempts.reschedule_lookup(due, pause, reachability=Reachability.ANSWER)
        elif job.refusal:
            log.info("job %s: the refusal counts, since %d look-ups found no task", job.id, lookups)
            self._fail(due, job.refusal)
        elif job.exists:
            log.warning("job %s: its task cannot be found, now in progress and past its deadline", job.id)
            attempts.mark_in_progress(job.id, job.fence, job.external_task_id, deadline=0.0)
        else:
            reason = f"not found by {lookups} look-ups in {due.doubtful_for:.1f} s"
            log.info("job %s: not created, queued again: %s", job.id, reason)
            wait = next_submit(job.submit_tries, self._random())
            attempts.requeue(job.id, job.fence, reason, wait=wait, reachability=Reachability.ANSWER)

    def _fail(self, due: Due, error: Mapping[str, str]) -> None:
        """Fail a refused job, unless a callback has shown meanwhile that the provider has it."""
        finish, name, fence = self._store.attempts.finish, due.job.external_task_id, due.job.fence
        failed = finish(name, State.FAILED, Result(error=error), "submit", fence=fence, refused=True, may_exist=True)
        self._send_hints(failed, due.job.id)

    def _resolve_blindly(self, due: Due) -> None:
        job, attempts, reason = due.job, self._store.attempts, "its outcome cannot be looked up"
        resend, is_late = self._settings.ambiguous is Ambiguous.RESEND, due.doubtful_for >= self._settings.deadline
        if resend and job.exists and is_late:
            log.warning("job %s: the provider has it, but no callback came: past its deadline", job.id)
            attempts.mark_in_progress(job.id, job.fence, job.external_task_id, deadline=0.0)
            return
        if resend and job.refusal and is_late:
            self._fail(due, job.refusal)
            return
        if resend and not job.refusal and not job.exists and due.doubtful_for >= self._settings.lookup_grace:
            log.warning("job %s: in doubt, queued again (no look-up, BOOMERANG_AMBIGUOUS=resend)", job.id)
            wait = next_submit(job.submit_tries, self._random())
            attempts.requeue(job.id, job.fence, f"{reason}; sent again (BOOMERANG_AMBIGUOUS=resend)", wait=wait)
            return
        pause = self._settings.lookup_grace if resend else UNRESOLVED_INTERVAL
        attempts.reschedule_lookup(due, pause, reason=f"{reason} (BOOMERANG_LOOKUP_PATH=off)")

    # --- the end ------------------------------------------------------------------------------------------------------

    def _settle(self, due: Due, report: TaskReport) -> None:
        state, result = ended(limited(self._store, due.job, report))
        settled = self._store.attempts.finish(due.job.external_task_id, state, result, "poll", fence=due.job.fence)
        self._send_hints(settled, due.job.id)

    def _send_hints(self, settled: TransitionResult[StrEnum], job_id: str) -> None:
        """Send hints at once, so that free slots are not idle until the end of a long round."""
        if settled.owed:
            self._messages.deliver([job_id])
        if settled.admit_hint:
            self._messages.admit_hint()
