"""Ask the provider about due jobs, and tell a job's own trouble from an outage of its provider.

The circuit breaker cannot tell them apart: it counts calls of a lane, and the lane may have one job only. So if no
answer comes about a task that is late, or the account is refused, another call decides: a recent answer about another
job, or a probe.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta

from jobs.claims import Due
from jobs.policy import LOOKUPS_BEFORE_ABSENT
from jobs.store.store import Store
from worker.answers import Answer, Unanswered, is_late, is_unreadable
from worker.breaker import hold
from worker.provider import Absent, Found, Held, Provider, Unavailable
from worker.settings import Settings

#: For so long, an answer about a task shows that the provider answers, and that it does not refuse the account. The
#: first may be wrong for a while, since jobs wait longer for an answer. The second would leave the lane open.
_RECENT, _ACCOUNT_RECENT = timedelta(seconds=60), timedelta(seconds=5)
#: A probe decides for so long.
_PROBE_AGAIN = timedelta(seconds=5)


class Lookups:
    """Polls and look-ups of due jobs."""

    def __init__(self, store: Store, providers: Mapping[str, Provider], settings: Settings) -> None:
        self._store = store
        self._providers = providers
        self._settings = settings
        self._locks = defaultdict[str, threading.Lock](threading.Lock)
        self._found: dict[str, tuple[datetime, str]] = {}  # by lane: when a task was found last, and by which id
        self._probed: dict[str, tuple[datetime, bool]] = {}  # by lane: when, and whether it answered

    def known(self, lane: str) -> str:
        """Return the id by which a task was found last in a lane; '' if none was."""
        return self._found.get(lane, (None, ""))[1]

    def can_find(self, due: Due) -> bool:
        """Return whether the attempt can be looked up wherever it may be."""
        return all(self._providers[lane].can_look_up for lane in self._lanes(due))

    def poll(self, due: Due) -> Answer:
        """Get the status by the external id, because the answer to a POST may have named another job's task.

        Use the provider's id if there is no look-up, if it has repeatedly found nothing, or if it does not answer about
        a job that is late.
        """
        job, provider = due.job, self._providers[due.job.lane]
        if not provider.can_look_up:
            return self._judge(due, provider.get_status(job.task_id or job.external_task_id, job.external_task_id))
        answer = self._judge(due, provider.find_by_external_id(job.external_task_id))
        if job.task_id and (isinstance(answer, Unanswered) or self._is_absent(due, answer)):
            by_its_id = self._judge(due, provider.get_status(job.task_id, job.external_task_id))
            return by_its_id if isinstance(answer, Absent) or isinstance(by_its_id, Found) else answer
        return answer

    @staticmethod
    def _is_absent(due: Due, answer: Answer) -> bool:
        return isinstance(answer, Absent) and due.job.lookups >= LOOKUPS_BEFORE_ABSENT

    def find(self, due: Due) -> Answer:
        """Look the attempt up in each lane. Returns where it was found, else an uncertain answer, else `Absent`."""
        doubtful: Answer | None = None
        for lane in self._lanes(due):
            answer = self._judge(due, self._providers[lane].find_by_external_id(due.job.external_task_id), lane)
            if isinstance(answer, Found):
                if lane == due.job.lane or self._store.attempts.move_to_lane(due, lane):
                    return answer
                return Unavailable("another process has claimed the job")
            if isinstance(answer, Held) and lane != due.job.lane:
                hold(self._store, lane, answer)
                answer = Unavailable(answer.reason)
            if not isinstance(answer, Absent):
                doubtful = answer
        return doubtful or Absent()

    def _lanes(self, due: Due) -> list[str]:
        """Return the lanes that may have the attempt: its own, or all of its pool if Redis may have lost its record."""
        job = due.job
        others = [lane.name for lane in self._settings.lanes if lane.pool == job.pool] if job.forgotten else []
        return list(dict.fromkeys([job.lane, *others]))

    def _judge(self, due: Due, answer: Answer, lane: str = "") -> Answer:
        """Return `Unanswered` if only this task gets no answer, or a refusal of the account; else the answer."""
        lane = lane or due.job.lane
        if isinstance(answer, Found):
            by_external_id = self._providers[lane].can_look_up or not due.job.task_id
            self._found[lane] = due.now, due.job.external_task_id if by_external_id else str(due.job.task_id)
        match answer:
            case Held(reason) if self._answers(lane, due.now, _ACCOUNT_RECENT):
                return Unanswered(reason)
            case Unavailable(reason, seen=None) if is_late(due, self._settings) and self._answers(
                lane, due.now, _RECENT
            ):
                return Unanswered(reason)
        return answer

    def _answers(self, lane: str, now: datetime, recent: timedelta) -> bool:
        """Return whether the lane's provider answers other calls. `now`: of the claim."""
        if lane in self._found and now - self._found[lane][0] < recent:
            return True
        with self._locks[lane]:
            probed_at, answered = self._probed.get(lane, (None, False))
            # Rounds overlap: an older one uses the probe of a younger one.
            if probed_at is None or now - probed_at >= _PROBE_AGAIN:
                control = self._providers[lane].probe()
                answered = isinstance(control, (Found, Absent)) or is_unreadable(control)
                self._probed[lane] = now, answered
        return answered
