"""What is done to all jobs of a batch: pause, resume, cancel, retry. Each takes effect at once, however many."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import redis

from jobs.connections.errors import translated
from jobs.errors import BatchNotFound, NoRoom, NotAllowed
from jobs.new_job import BatchOptions, NewJob, Outcome
from jobs.policy import RECHECK
from jobs.states import State
from jobs.store.lanes import LaneState
from jobs.store.pages import Listing
from jobs.units import duration_micros, nano

#: Jobs looked at in one step of a sweep: a few milliseconds, for which Redis answers nobody else.
STEP = 500
#: How long (seconds) whoever asked for it works on a sweep, and how long a round of reconcile does.
AT_ONCE = 0.5
#: How long (seconds) an upload of all or nothing may pause before it is forgotten.
STAGED = 3600.0


@dataclass(frozen=True, slots=True)
class BatchActionResult:
    """What was done to a batch: `affected` jobs so far, `pending` at most are still to follow by themselves.

    `admit_hint`: jobs wait that can go now.
    """

    action: str
    affected: int
    pending: int = 0
    admit_hint: bool = False
    clashes: int = 0


class Batches(LaneState, Listing):
    """Changes to whole batches. All raise `BatchNotFound` and `StoreUnavailable`."""

    def pause(self, batch_id: str) -> BatchActionResult:
        """Submit no more of it; what is at the provider goes on. `affected`: jobs that wait from now on."""
        return self._pause(batch_id, "pause")

    def resume(self, batch_id: str, *, max_cost: Decimal | None = None) -> BatchActionResult:
        """Go on after a pause, each job at its old place. `affected`: jobs that waited for it.

        `max_cost`: what the batch may cost from now on (USD). One that is at its cap pauses again unless it is raised.
        """
        return self._pause(batch_id, "resume", max_cost)

    def cancel_batch(self, batch_id: str) -> BatchActionResult:
        """Give up on all its unfinished jobs: from now on none is submitted, and `sweep` cancels the rest of them.

        Raises `NotAllowed` while lines of it that were staged are being taken in.
        """
        word, _ = self._scripts.call("begin_sweep", batch_id, "cancel", "", "0")
        if word == "unknown":
            raise BatchNotFound(batch_id)
        if word == "busy":
            raise NotAllowed("Lines of this batch are still being taken in; send this again in a moment.")
        return self._swept(batch_id, "cancel")

    def retry_batch(
        self, batch_id: str, states: Sequence[State] = (), codes: Sequence[str] = (), *, dry_run: bool = False
    ) -> BatchActionResult:
        """Queue its failed jobs again, or those of other final `states` but completed; of the failed ones only `codes`.

        Jobs that the provider may still be working on are left out, though `dry_run`, which only counts, counts them.
        Raises `NotAllowed` while another retry, or a cancel, of the batch is under way.
        """
        which: dict[str, dict[str, bool]] = {"states": dict.fromkeys(states or (State.FAILED,), True)}
        if codes:
            which["codes"] = dict.fromkeys(codes, True)
        word, many = self._scripts.call("begin_sweep", batch_id, "retry", json.dumps(which), "1" if dry_run else "0")
        if word == "unknown":
            raise BatchNotFound(batch_id)
        if word == "counted":
            return BatchActionResult("retry", int(many))
        if word == "busy":
            raise NotAllowed("This batch is still being cancelled, retried or taken in; send this again in a moment.")
        return self._swept(batch_id, "retry")

    def sweep(self, seconds: float = AT_ONCE, clock: Callable[[], float] = time.monotonic) -> bool:
        """Go on with what is under way, for about so long. Whether jobs wait that can go now."""
        end, woke, more = clock() + seconds, False, 1
        while more and clock() < end:
            more, _, _, wake = self._scripts.call("sweep", "", STEP, duration_micros(RECHECK))
            woke = woke or bool(wake)
        return woke

    # --- all lines or none ------------------------------------------------------------------------------------------

    def stage(self, token: str, jobs: Sequence[NewJob], *, most: int | None = None) -> tuple[Outcome, ...]:
        """Note jobs that are to be accepted together, by `commit`, or not at all; a few hundred a call.

        Nobody sees them until then. Without another call they are forgotten after `STAGED` seconds. `most`: unfinished
        jobs there may be, these counted among them.
        """
        return tuple(map(Outcome, self._scripts.call("stage", token, int(STAGED), at_most(most), *arguments(jobs))))

    def commit(
        self, token: str, batch_id: str, staged: int, options: BatchOptions | None = None, *, most: int | None = None
    ) -> BatchActionResult:
        """Accept the `staged` jobs: decided in one step, and taken in from then on by whoever is there.

        `affected`: jobs taken in; `clashes`: lines left out since another request got their id meanwhile. Raises
        `NotAllowed` while something else is done to the batch, when what was staged has been forgotten, or when the
        batch has become another producer's meanwhile; `NoRoom` where they would make more than `most` unfinished ones.
        """
        held = (options or BatchOptions()).facts()
        word = self._scripts.call("commit", token, batch_id, held, staged, at_most(most))
        if word == "full":
            raise NoRoom("There is no room for all of these jobs.")
        if word == "busy":
            raise NotAllowed("This batch is still being cancelled, retried or taken in; send this again in a moment.")
        if word == "taken":
            raise NotAllowed("This batch's id is taken meanwhile; send the upload under another one.")
        if word == "gone":
            raise NotAllowed(
                f"What was uploaded is forgotten: it paused for more than {STAGED:.0f} s, or an image of it is not "
                "kept any more; send it again, with the image."
            )
        if word == "empty":
            return BatchActionResult("commit", 0)
        woke, more = False, 1
        while more:
            more, affected, _, wake = self._scripts.call("sweep", batch_id, STEP, duration_micros(RECHECK))
            woke = woke or bool(wake)
        try:
            clashes = self._client.hget(self._keys.member("batch", batch_id), "clash")
        except redis.RedisError as error:
            raise translated(error) from error
        return BatchActionResult("commit", int(affected), admit_hint=woke, clashes=int(clashes or 0))

    def unstage(self, token: str) -> None:
        """Forget what was staged."""
        self._scripts.call("unstage", token)

    def _pause(self, batch_id: str, action: str, max_cost: Decimal | None = None) -> BatchActionResult:
        cap = "" if max_cost is None else nano(max_cost)
        word, waiting, wake = self._scripts.call("pause", batch_id, "1" if action == "pause" else "0", cap)
        if word == "unknown":
            raise BatchNotFound(batch_id)
        return BatchActionResult(action, 0 if word == "already" else int(waiting), admit_hint=bool(wake))

    def _swept(self, batch_id: str, action: str) -> BatchActionResult:
        end, woke = time.monotonic() + AT_ONCE, False
        while True:
            more, affected, pending, wake = self._scripts.call("sweep", batch_id, STEP, duration_micros(RECHECK))
            woke = woke or bool(wake)
            if not more or time.monotonic() > end:
                return BatchActionResult(action, int(affected), int(pending), woke)


def at_most(jobs: int | None) -> str:
    """A number of unfinished jobs as the scripts take it."""
    return "" if jobs is None else str(jobs)


def arguments(jobs: Sequence[NewJob]) -> list[str]:
    """Jobs as the scripts take them: three arguments each."""
    args: list[str] = []
    for job in jobs:
        args += (job.id, job.text, job.facts())
    return args
