"""The states of a job and the one table of its transitions.

The Lua scripts get this table (jobs.store.lua_source) and refuse a change that is not in it.
"""

from enum import StrEnum


class State(StrEnum):
    """The state of a job. Each member says what moves the job on."""

    #: Accepted and recorded; waits for a slot, or for the next attempt's time. Moved on by admission and a claim.
    QUEUED = "queued"
    #: A worker holds the lease and sends the POST. Moved on by this worker, or by the end of the lease.
    SUBMITTING = "submitting"
    #: The POST's outcome is unknown. Moved on by reconcile, which looks it up by the external id, or by a callback.
    IN_DOUBT = "in_doubt"
    #: The provider has it. Moved on by a callback or a poll.
    IN_PROGRESS = "in_progress"
    #: The provider delivered the images. Final.
    COMPLETED = "completed"
    #: The provider refused it for good, or all attempts failed. Final, except for a retry by hand, or for a late result
    #: of a task that was completed without one.
    FAILED = "failed"
    #: The producer cancelled it. A late paid result is still stored and counted. Final, except for a retry by hand.
    CANCELLED = "cancelled"
    #: The deadline passed. A late result still completes or fails it. Otherwise final, except for a retry by hand.
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether the job has ended (deliveries may still be owed)."""
        return self in FINAL


FINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.EXPIRED})
#: States in which the provider may be working, so that the job holds its slots. For a cancelled or expired job the
#: record's `phase` names the one it was in.
HOLDS_SLOTS = frozenset({State.SUBMITTING, State.IN_DOUBT, State.IN_PROGRESS})

#: from → to: the cause.
TRANSITIONS: dict[State, dict[State, str]] = {
    State.QUEUED: {
        State.SUBMITTING: "a worker claims it: slots taken, lease and fence written, before the first byte leaves",
        State.IN_DOUBT: "a callback shows that a POST believed lost did arrive; or Redis may have forgotten one",
        State.COMPLETED: "the same, and the callback carries the result",
        State.FAILED: "the same, and it failed for good",
        State.CANCELLED: "the producer cancels: nothing was sent, nothing is owed to the provider",
        State.QUEUED: "the same, and it failed with a code worth another attempt",
        State.EXPIRED: "it was not begun within its expires_in: nothing was sent, nothing is paid",
    },
    State.SUBMITTING: {
        State.QUEUED: "surely not created (429, no connection): same attempt, same place; or the next attempt",
        State.IN_DOUBT: "time-out, reset, 5xx, a duplicate's 409, or the lease ran out",
        State.IN_PROGRESS: "the provider answered with its id",
        State.COMPLETED: "a callback was faster than the POST's own answer",
        State.FAILED: "the provider refused it for good, or an early callback reported a failure",
        State.CANCELLED: "the producer cancels: it keeps its slot until the provider's end is known",
    },
    State.IN_DOUBT: {
        State.QUEUED: "absent beyond doubt, or a person says so: the same attempt again, under the same external id; "
        "or the next attempt",
        State.IN_PROGRESS: "found at the provider, or a person says so: adopted",
        State.COMPLETED: "found finished, or a callback says so",
        State.FAILED: "found failed, or a callback says so; or a person gives it up",
        State.CANCELLED: "the producer cancels: looked for until it is found or absent beyond doubt, never sent again",
    },
    State.IN_PROGRESS: {
        State.QUEUED: "it failed with a code worth another attempt",
        State.COMPLETED: "callback or poll",
        State.FAILED: "callback or poll",
        State.CANCELLED: "the producer cancels: the provider works on, the late result is kept",
        State.EXPIRED: "not over by its deadline, after a last look-up",
    },
    State.COMPLETED: {},
    State.FAILED: {
        State.COMPLETED: "it failed because its task was completed without a result, which came later",
        State.QUEUED: "retried by hand, as a new attempt",
    },
    State.CANCELLED: {State.QUEUED: "retried by hand once the provider is done with it"},
    State.EXPIRED: {
        State.COMPLETED: "a late result",
        State.FAILED: "a late failure",
        State.QUEUED: "retried by hand once the provider is done with it",
    },
}
