"""boomerang.reconcile: act upon every alarm that has rung, by the state of its job."""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, wait
from typing import TypeVar

from jobs import logs
from jobs.errors import ImagesUnavailable, RecordDamaged
from jobs.images.images import Images
from jobs.job import Due
from jobs.lane_health import Probe, Reachability
from jobs.policy import LOOKUPS_BEFORE_ABSENT, absent_beyond_doubt, next_lookup, next_poll
from jobs.provider_result import ended
from jobs.settings import Ambiguous
from jobs.states import State
from jobs.store.store import Store
from jobs.store.transitions import TransitionResult
from schemas import TaskReport, TaskStatus
from worker.admission import admit
from worker.breaker import probe
from worker.holds import hold
from worker.messages import Messages
from worker.provider import Absent, Found, Held, Provider, Unavailable
from worker.settings import Settings

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

#: Alarms claimed in one step, and seconds after which a round leaves the rest to the next.
STEP = 200
ROUND = 20.0
#: A task that can be neither looked up nor sent again is looked at this rarely, only to be remembered.
HELD_LOOK = 300.0
#: Seconds for which an image store that failed is left alone: what is to be removed there can wait.
IMAGES_AWAY = 60.0


class Reconciler:
    """Any number of them may run, anywhere: claims are atomic."""

    def __init__(
        self,
        store: Store,
        providers: Mapping[str, Provider],
        settings: Settings,
        executor: Executor,
        messages: Messages,
        *,
        images: Images,
    ) -> None:
        self._store = store
        self._providers = providers
        self._settings = settings
        self._executor = executor
        self._messages = messages
        self._images = images
        self._no_images_before = time.monotonic()
        self._epoch: int | None = None

    def __call__(self) -> int:
        """One round: all that is due now, changes to whole batches, admission, and forgetting what is old.

        Returns how many alarms rang.
        """
        end = time.monotonic() + ROUND
        probes = [self._executor.submit(self._probe, each) for each in self._step(self._store.lanes.claim_probes) or ()]
        total, rang = 0, STEP
        while rang == STEP and time.monotonic() < end:
            rung = self._store.attempts.claim_due(STEP)
            dues, rang = rung.dues, rung.due_count
            total += rang
            for damaged in rung.damaged:
                log.error("left alone: %s", damaged)
            self._note_epoch(rung.epoch)
            if rung.admit_hint:
                # Put back into the queue just now: not to wait for the looks.
                admit(self._store, self._messages, self._settings.group, self._settings.lanes)
            list(self._executor.map(self._act, [due for due in dues if not due.job.owing]))
            if owing := [due.job.id for due in dues if due.job.owing]:
                self._messages.deliver(owing)
        wait(probes)
        self._step(self._store.batches.sweep)
        admit(self._store, self._messages, self._settings.group, self._settings.lanes)
        self._step(self._store.jobs.purge)
        self._step(self._forget_images)
        return total

    @staticmethod
    def _step(step: Callable[[], _Answer]) -> _Answer | None:
        """A part of a round. Something damaged ends that part, not the round."""
        try:
            return step()
        except RecordDamaged as error:
            log.error("a part of the round is left out: %s", error)  # noqa: TRY400 - said whole by the error
            return None

    def _note_epoch(self, epoch: int) -> None:
        if self._epoch not in (None, epoch):
            log.warning(
                "Redis was started again or replaced (epoch %d) and may have forgotten what was sent: jobs from before "
                "are looked up at the provider before they are sent",
                epoch,
            )
        self._epoch = epoch

    def _forget_images(self) -> None:
        if time.monotonic() < self._no_images_before:
            return
        try:
            self._images.purge()
        except ImagesUnavailable as error:
            self._no_images_before = time.monotonic() + IMAGES_AWAY
            log.warning("images that no job needs are removed later: %s", error)

    def _probe(self, due: Probe) -> None:
        with logs.about(lane=due.lane):
            try:
                probe(self._store, self._providers[due.lane], due)
            except Exception:
                log.exception("lane %s: the probe failed in a way that is not foreseen", due.lane)

    def _act(self, due: Due) -> None:
        with logs.about(job=due.job.id, attempt=due.job.attempt, lane=due.job.lane):
            self._acted(due)

    def _acted(self, due: Due) -> None:
        try:
            if due.job.lane not in self._providers:
                reason = f"its lane {due.job.lane} is not configured (BOOMERANG_LANES): nobody can ask for it"
                self._store.attempts.reschedule_lookup(due, HELD_LOOK, count=False, reason=reason)
            elif due.job.at_provider is State.IN_PROGRESS:
                self._poll(due)
            elif due.job.at_provider is State.IN_DOUBT:
                self._resolve(due)
        except Exception:
            # One job must not stop the round; its alarm is a lease by now and rings again.
            log.exception("job %s: reconcile failed", due.job.id)

    # --- in progress --------------------------------------------------------------------------------------------------

    def _poll(self, due: Due) -> None:
        job, store = due.job, self._store
        looked = self._ask(due)
        if isinstance(looked, Found) and _ends(looked.report):
            self._settle(due, looked.report)
        elif due.overdue and not isinstance(looked, (Unavailable, Held)):
            expired = store.attempts.expire(due, self._settings.poll_max)
            log.warning("job %s: past its deadline, not finished by the provider: %s", job.id, expired.outcome)
            self._tell(expired, job.id)
        else:
            pause = next_poll(job.lookups, self._settings, _random())
            store.attempts.reschedule_lookup(due, pause, reason=self._troubled(looked, job.lane), heard=_heard(looked))

    def _ask(self, due: Due) -> Found | Absent | Unavailable | Held:
        """Ask by our own external id first: an answer to a POST may have named another job's task.

        The provider's id is for where there is no look-up, or where it has repeatedly found nothing.
        """
        job, provider = due.job, self._providers[due.job.lane]
        looked = provider.find_by_external_id(job.external_task_id) if provider.can_look_up else None
        if looked is None or (isinstance(looked, Absent) and job.task_id and job.lookups >= LOOKUPS_BEFORE_ABSENT):
            return provider.get_status(job.task_id or job.external_task_id, job.external_task_id)
        return looked

    def _troubled(self, looked: Found | Absent | Unavailable | Held, lane: str) -> str:
        match looked:
            case Held():
                hold(self._store, lane, looked)
                return f"poll: {looked.reason}"
            case Unavailable(reason):
                return f"poll: {reason}"
            case Found(report) if report.status is TaskStatus.UNKNOWN:
                log.warning("the provider says %r, a word that the contract does not know", report.word)
                return f"poll: the provider says {report.word!r}"
            case Found(report) if report.status is TaskStatus.COMPLETED:
                return "poll: completed, but without output so far"
        return ""

    # --- in doubt -----------------------------------------------------------------------------------------------------

    def _resolve(self, due: Due) -> None:
        job = due.job
        if not all(self._providers[lane].can_look_up for lane in self._accounts(due)):
            self._resolve_blindly(due)
            return
        looked = self._look_up(due)
        match looked:
            case Found(report) if _ends(report):
                self._settle(due, report)
            case Found(report):
                log.info("job %s: found at the provider, adopted", job.id)
                self._store.attempts.mark_in_progress(job.id, job.fence, report.task_id or job.external_task_id)
            case Absent():
                self._absent(due)
            case _:
                pause, reason = next_lookup(0, self._settings, _random()), self._troubled(looked, job.lane)
                self._store.attempts.reschedule_lookup(due, pause, count=False, reason=reason, heard=_heard(looked))

    def _accounts(self, due: Due) -> list[str]:
        """The lanes that the attempt may have gone to: its own; any of its pool where Redis may have forgotten it."""
        job = due.job
        others = [lane.name for lane in self._settings.lanes if lane.pool == job.pool] if job.forgotten else []
        return list(dict.fromkeys([job.lane, *others]))

    def _look_up(self, due: Due) -> Found | Absent | Unavailable | Held:
        """Ask for the attempt at each account: found at one of them, or else what an account said that is not sure."""
        doubtful: Unavailable | Held | None = None
        for lane in self._accounts(due):
            looked = self._providers[lane].find_by_external_id(due.job.external_task_id)
            if isinstance(looked, Found):
                if lane == due.job.lane or self._store.attempts.move_to_lane(due, lane):
                    return looked
                return Unavailable("another process holds the job now")
            if isinstance(looked, Held) and lane != due.job.lane:
                hold(self._store, lane, looked)
                looked = Unavailable(looked.reason)
            if not isinstance(looked, Absent):
                doubtful = looked
        return doubtful or Absent()

    def _absent(self, due: Due) -> None:
        job, looks = due.job, due.job.lookups + 1
        if not job.exists and absent_beyond_doubt(looks, due.doubtful_for, self._settings):
            log.info("job %s: absent after %d looks in %.1f s, not created", job.id, looks, due.doubtful_for)
            self._store.attempts.requeue(
                job.id, job.fence, f"not at the provider after {looks} looks", heard=Reachability.ANSWER
            )
            return
        pause = next_lookup(looks, self._settings, _random(), due.doubtful_for)
        self._store.attempts.reschedule_lookup(due, pause, heard=Reachability.ANSWER)

    def _resolve_blindly(self, due: Due) -> None:
        job = due.job
        resend = self._settings.ambiguous is Ambiguous.RESEND and not job.exists
        if resend and due.doubtful_for >= self._settings.lookup_grace:
            log.warning("job %s: in doubt, no look-up, BOOMERANG_AMBIGUOUS=resend: sent again", job.id)
            self._store.attempts.requeue(job.id, job.fence, "its outcome cannot be looked up; sent again as configured")
            return
        pause = self._settings.lookup_grace if resend else HELD_LOOK
        self._store.attempts.reschedule_lookup(
            due, pause, reason="its outcome cannot be looked up (BOOMERANG_LOOKUP_PATH=off): held"
        )

    # --- the end ------------------------------------------------------------------------------------------------------

    def _settle(self, due: Due, report: TaskReport) -> None:
        state, result = ended(report)
        settled = self._store.attempts.finish(due.job.external_task_id, state, result, "poll", fence=due.job.fence)
        self._tell(settled, due.job.id)

    def _tell(self, settled: TransitionResult, job_id: str) -> None:
        """Send the hints: freed slots are taken at once, not at the end of a long round."""
        if settled.owed:
            self._messages.deliver([job_id])
        if settled.admit_hint:
            self._messages.admit_hint()


def _ends(report: TaskReport) -> bool:
    """Whether the status endpoint's word ends the attempt: it is the truth, so a missing price is taken as none."""
    return report.status is TaskStatus.FAILED or (report.status is TaskStatus.COMPLETED and bool(report.output))


def _heard(looked: Found | Absent | Unavailable | Held) -> Reachability:
    if isinstance(looked, Unavailable):
        return Reachability.SILENCE if looked.silent else Reachability.NOTHING
    return Reachability.ANSWER


def _random() -> float:
    return secrets.randbelow(1000) / 1000
