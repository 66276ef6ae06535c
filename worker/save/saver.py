"""boomerang.save: save the results of completed jobs, in threads of their own.

A thread that has saved one job's results claims the next ones. So one message sets a worker going, and it stops when
nothing is due or all places are taken. Leases and alarms replace what a killed worker held.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor

from jobs import logs
from jobs.blobs.full_disk import is_full
from jobs.claims import Due
from jobs.errors import BatchNotFound, RecordDamaged, ResultsUnavailable
from jobs.jitter import Random, draw
from jobs.job import Job
from jobs.saved import Saved
from jobs.saving import LEASE, LONGEST_SILENCE, MOST_WRONG_FILES, RENEW_EVERY, next_save
from jobs.store.outcomes.deliveries import RecordSaveOutcome
from jobs.store.saves import LONGEST_WHY, SaveResult
from jobs.store.store import Store
from worker.errors import SaveFailed

log = logging.getLogger(__name__)

#: Saves the outputs of a job; gets the labels of its batch, and what to call whenever something has come. Raises
#: `SaveFailed`.
SaveOutputs = Callable[[Job, Mapping[str, str], Callable[[], None]], Saved]
#: Seconds for which no save is begun after the disk was full.
REST_WHEN_FULL = 60.0


class Saver:
    """Saves results. `threads`: at once in this process; `limit`: of all workers. `stopping`: begin no more.

    `deliver` gets the ids of jobs whose deliveries waited for their results. `save_outputs` makes the function that
    saves; it is called once, when the first result is to be saved.
    """

    def __init__(
        self,
        store: Store,
        save_outputs: Callable[[], SaveOutputs],
        executor: Executor,
        deliver: Callable[[Sequence[str]], None],
        stopping: threading.Event,
        *,
        threads: int,
        limit: int,
        random: Random = draw,
    ) -> None:
        self._store = store
        self._save_outputs = save_outputs
        self._executor = executor
        self._deliver = deliver
        self._stopping = stopping
        self._threads = threads
        self._limit = limit
        self._random = random
        self._lock = threading.Lock()
        #: saves under way, and when something came last for each, in monotonic seconds
        self._held: dict[tuple[str, int], float] = {}
        self._renewing = False
        self._rests_until = 0.0

    def __call__(self) -> int:
        """Begin to save what is due, as far as threads and places allow. Returns how many jobs were begun."""
        if self._stopping.is_set() or time.monotonic() < self._rests_until:
            return 0
        with self._lock:
            free = self._threads - len(self._held)
            dues = self._store.saves.claim(LEASE, self._limit, free) if free > 0 else []
            self._held.update(dict.fromkeys(map(_name, dues), time.monotonic()))
            if dues and not self._renewing:
                self._renewing = True
                threading.Thread(target=self._renew, name="boomerang-save-leases", daemon=True).start()
        for due in dues:
            self._executor.submit(self._run, due)
        return len(dues)

    def _run(self, due: Due) -> None:
        try:
            with logs.about(job=due.job.id, attempt=due.job.attempt, lane=due.job.lane):
                self._save(due)
        except Exception:
            # There is no caller to raise to. The lease ends, and the save is claimed again.
            log.exception("job %s: how saving its results ended was not recorded", due.job.id)
        finally:
            with self._lock:
                self._held.pop(_name(due), None)
        try:
            self()
        except Exception as error:  # noqa: BLE001 - the next round begins anew
            log.warning("no further results are claimed: %s", error)

    def _save(self, due: Due) -> None:
        job, saves = due.job, self._store.saves
        final, retry_after = False, 0.0
        try:
            saved = self._save_outputs()(job, self._labels(job), lambda: self._note_life(due))
        except SaveFailed as error:
            if is_full(error):
                self._rests_until = time.monotonic() + REST_WHEN_FULL
                log.warning("the disk is full: no results are saved for %.0f s", REST_WHEN_FULL)
            why, retry_after = error.why, error.retry_after
            final = error.final or (error.wrong_file and _times_in_a_row(job, why) >= MOST_WRONG_FILES)
        except ResultsUnavailable as error:
            why = str(error)
        except Exception as error:
            # Of any kind: it must neither stop other saves nor be repeated forever.
            log.exception("job %s: saving its results failed with an unexpected error", job.id)
            why = type(error).__name__
        else:
            self._after(due, saves.saved(due, saved))
            return
        wait = None if final else next_save(_tries(job), self._left(due), self._random())
        if wait is None:
            log.error("job %s: its results are not saved, given up: %s", job.id, why)
            self._after(due, saves.give_up(due, why))
        else:
            wait = max(wait, min(retry_after, self._left(due)))
            log.warning("job %s: its results are not saved, tried again in %.0f s: %s", job.id, wait, why)
            self._after(due, saves.failed(due, why, wait))

    def _note_life(self, due: Due) -> None:
        with self._lock:
            if _name(due) in self._held:
                self._held[_name(due)] = time.monotonic()

    def _after(self, due: Due, done: SaveResult) -> None:
        if done.outcome is RecordSaveOutcome.REFUSED:
            log.info("job %s: another worker saves its results", due.job.id)
        if done.deliver:
            self._deliver([due.job.id])

    def _left(self, due: Due) -> float:
        """Return the seconds until the provider is assumed to delete the results, at the time of the claim."""
        since = due.job.save.since if due.job.save else None
        expiry = self._store.context.configured.result_expiry_of(due.job.lane)
        return expiry - (due.now - (since or due.now)).total_seconds()

    def _labels(self, job: Job) -> Mapping[str, str]:
        try:
            return self._store.batches.get(job.batch).labels if job.batch else {}
        except (BatchNotFound, RecordDamaged):
            return {}

    def _renew(self) -> None:
        """Renew the leases of saves under way, until none is left. A save that hangs loses its lease in the end."""
        while True:
            # A worker that stops renews, too: its saves under way may end.
            time.sleep(RENEW_EVERY)
            with self._lock:
                held = [each for each, alive in self._held.items() if time.monotonic() - alive < LONGEST_SILENCE]
                self._renewing = bool(self._held)
                if not self._renewing:
                    return
            try:
                self._store.saves.renew(LEASE, held)
            except Exception as error:  # noqa: BLE001 - tried again before the leases end
                log.warning("the leases of saves are not renewed yet: %s", error)


def _name(due: Due) -> tuple[str, int]:
    return due.job.id, due.job.fence


def _tries(job: Job) -> int:
    return job.save.tries if job.save else 0


def _times_in_a_row(job: Job, why: str) -> int:
    """Count the failures for this reason without another one between them, with the one that has just happened."""
    return job.save.repeats + 2 if job.save and job.save.error == why[:LONGEST_WHY] else 1
