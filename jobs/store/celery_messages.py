"""Celery messages of unfinished jobs: parked until the job ends, then finished once each, or revoked before."""

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.connections.errors import translate_errors
from jobs.store.celery_identity import identity_of
from jobs.store.context import StoreContext
from jobs.store.outcomes.celery import MessageOutcome, ParkOutcome, RefusalOutcome, RevokeOutcome
from jobs.units import duration_micros

#: Most Celery messages, without repeats, that may wait for one job.
MOST_PARKED = 100
#: The lease (seconds) of the worker that finishes a message; shorter than the wait before it is sent again.
FINISHING = 20.0
#: Seconds until a message that came after the end of its job is sent again, unless it was finished.
UNFINISHED = 30.0
#: Seconds for which revoked ids and refused messages are stored, and how many: Celery's numbers for revokes.
REVOKE_KEPT, MOST_REVOKED = 10_800.0, 50_000
#: Celery ids in one step.
_STEP = 500


@dataclass(frozen=True, slots=True)
class Message:
    """A parked Celery message: its id, its mark (a repeat has the same) and its continuation, as JSON."""

    task_id: str
    mark: str
    continuation: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """The result of a revoke: the ids of cancelled jobs, of jobs to deliver now, and of tasks that may still come."""

    cancelled: tuple[str, ...]
    to_deliver: tuple[str, ...]
    remembered: tuple[str, ...]
    admit_hint: bool


class CeleryMessages:
    """The verbs for Celery messages. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts

    def park(
        self, job_id: str, task_id: str, continuation: str, finishes: str = "", *, identity: str = ""
    ) -> tuple[ParkOutcome, str, int]:
        """Store a message's continuation. `finishes`: the mark of the parked one that it finishes.

        Returns its mark, too, and how often a worker began to finish it before.
        A repeat has the same identity (`identity_of`). Messages of one task with different continuations are all
        stored.
        """
        identity = identity or identity_of(continuation)
        limits = (MOST_PARKED, duration_micros(FINISHING), duration_micros(UNFINISHED))
        outcome, mark, *begun = self._scripts.call("park", job_id, task_id, continuation, identity, finishes, *limits)
        return ParkOutcome(outcome), str(mark), int(begun[0]) if begun else 0

    @translate_errors()
    def was_accepted(self, job_id: str, task_id: str, continuation: str, identity: str) -> bool:
        """Check whether a job remembers this message or a repeat of it, or has no message yet.

        A worker that dies after it has recorded the job, and before it has parked the message, leaves such a job.
        """
        # The version before knew a message by its Celery id alone.
        fields = [f"{task_id}\n{identity}", task_id]
        with self._client.pipeline(transaction=False) as pipe:
            pipe.hmget(self._keys.member("parked", job_id), fields)
            pipe.exists(self._keys.member("parked", job_id))
            pipe.exists(self._keys.member("job", job_id))
            (known, earlier), parked, recorded = pipe.execute()
        return known is not None or earlier == continuation or bool(recorded and not parked)

    def get_parked(self, job_id: str) -> list[Message]:
        """Read the messages of an ended job that are still to be finished."""
        return [Message(*map(str, row)) for row in self._scripts.call("parked", job_id)]

    def message_finished(self, job_id: str, mark: str) -> MessageOutcome:
        """Record that a message was finished."""
        return MessageOutcome(self._scripts.call("message_finished", job_id, mark))

    def begin_refusal(self, mark: str) -> tuple[RefusalOutcome, int]:
        """Claim the end of a refused message, so that its repeats do not call its errbacks again.

        Returns also how often a worker began to end it before.
        """
        outcome, begun = self._scripts.call("begin_refusal", mark, duration_micros(FINISHING), int(REVOKE_KEPT))
        return RefusalOutcome(outcome), int(begun)

    def end_refusal(self, mark: str) -> None:
        """Record that a refused message was ended."""
        self._scripts.call("end_refusal", mark, duration_micros(REVOKE_KEPT), MOST_REVOKED)

    def revoke(self, task_ids: Sequence[str]) -> Revoked:
        """Cancel the jobs of these Celery tasks. Ids that are not parked are remembered in case they still come."""
        hint_due = False
        rows: list[tuple[str, str, str, int]] = []
        for start in range(0, len(task_ids), _STEP):
            step = task_ids[start : start + _STEP]
            hint, *flat = self._scripts.call("revoke", duration_micros(REVOKE_KEPT), MOST_REVOKED, *step)
            hint_due = hint_due or bool(hint)
            rows += zip(step, flat[::3], flat[1::3], flat[2::3], strict=True)
        return Revoked(
            cancelled=tuple(job_id for _, outcome, job_id, _ in rows if outcome == RevokeOutcome.CANCELLED),
            to_deliver=tuple(job_id for _, _, job_id, owes in rows if owes),
            remembered=tuple(task_id for task_id, outcome, _, _ in rows if outcome == RevokeOutcome.REMEMBERED),
            admit_hint=hint_due,
        )

    @translate_errors()
    def was_revoked(self, task_id: str) -> bool:
        """Check whether a Celery task was revoked, up to `REVOKE_KEPT` seconds ago, before its message came."""
        return self._client.zscore(self._keys.singleton("revoked"), task_id) is not None
