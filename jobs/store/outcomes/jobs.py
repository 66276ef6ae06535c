"""The outcomes of the verbs that move a job."""

from enum import StrEnum


class InProgressOutcome(StrEnum):
    """Of `mark_in_progress`."""

    STARTED = "started"
    REFUSED = "refused"  #: a stale fence, or another state


class InDoubtOutcome(StrEnum):
    """Of `mark_in_doubt`."""

    DOUBT = "doubt"
    REFUSED = "refused"  #: a stale fence, or another state


class RequeueOutcome(StrEnum):
    """Of `requeue`."""

    QUEUED = "queued"
    OVER = "over"  #: the producer had cancelled the job: its slots are free
    DOUBT = "doubt"  #: a callback has proven that the attempt exists: it is looked up
    REFUSED = "refused"  #: a stale fence, or another state


class FinishOutcome(StrEnum):
    """Of `finish`."""

    FINISHED = "finished"  #: the job has ended now, or got a late result
    AGAIN = "again"  #: the next attempt is queued
    ALREADY = "already"  #: it had ended before, in the same way
    CONTRADICTED = "contradicted"  #: it had ended before, in another way
    STALE = "stale"  #: an older attempt, or a stale fence
    OTHER_COUNT = "other count"  #: a callback has more or fewer results than were asked for: poll instead
    DOUBT = "doubt"  #: a callback has shown that the refused attempt exists: it is looked up
    UNKNOWN = "unknown"  #: no such job or attempt


class CallbackOutcome(StrEnum):
    """Of `record_callback`."""

    NOTED = "noted"
    ALREADY = "already"  #: the attempt is over
    STALE = "stale"  #: an older attempt
    UNKNOWN = "unknown"  #: no such job or attempt


class LookupOutcome(StrEnum):
    """Of `reschedule_lookup`."""

    SET = "set"
    REFUSED = "refused"  #: a stale fence, or nothing to look up


class MoveOutcome(StrEnum):
    """Of `move_to_lane`."""

    MOVED = "moved"
    REFUSED = "refused"  #: a stale fence, or another state


class ExpireOutcome(StrEnum):
    """Of `expire`."""

    EXPIRED = "expired"
    OVER = "over"  #: it had ended before
    REFUSED = "refused"  #: a stale fence, or another state


class CancelOutcome(StrEnum):
    """Of `cancel`."""

    CANCELLED = "cancelled"
    ALREADY = "already"
    REFUSED = "refused"  #: it has ended otherwise
    UNKNOWN = "unknown"


class PauseOutcome(StrEnum):
    """Of `pause_job`."""

    PAUSED = "paused"
    RESUMED = "resumed"
    ALREADY = "already"
    REFUSED = "refused"  #: the job is not queued
    UNKNOWN = "unknown"


class RetryOutcome(StrEnum):
    """Of `retry`."""

    QUEUED = "queued"
    ALREADY = "already"  #: it has not ended
    WORKING = "working"  #: the provider may still be working on it
    HAS_OUTPUT = "has output"  #: it was cancelled, but has output that is paid for
    IMAGELESS = "imageless"  #: an image is not stored any more
    REFUSED = "refused"  #: it is completed
    UNKNOWN = "unknown"


class RegenerateOutcome(StrEnum):
    """Of `regenerate`."""

    CREATED = "created"
    SAME = "same"  #: an earlier call made the job
    OTHER = "other"  #: an earlier call made the job, with another request
    CONFLICT = "conflict"  #: another job has the new id
    IMAGELESS = "imageless"  #: an image is not stored
    FULL = "full"  #: the limit of unfinished jobs is reached
    NO_OUTPUT = "no output"  #: the job has no output that is final
    UNKNOWN = "unknown"


class ReviewOutcome(StrEnum):
    """Of `review`."""

    REVIEWED = "reviewed"
    SAME = "same"  #: the output has this review already
    NO_OUTPUT = "no output"  #: the job has no such output
    UNKNOWN = "unknown"


class ReviseOutcome(StrEnum):
    """Of `revise`."""

    QUEUED = "queued"
    SAME = "same"  #: the present revision has this request already
    OTHER_KEY = "other key"  #: the Idempotency-Key made a revision with another request
    UNFINISHED = "unfinished"  #: the job has not ended
    WORKING = "working"  #: the provider may still be working on it
    FORGOTTEN = "forgotten"  #: Redis lost data, and it may have been sent
    HAS_OUTPUT = "has output"  #: it was cancelled, but has output that is paid for
    IMAGELESS = "imageless"  #: an image is not stored
    FULL = "full"  #: the limit of unfinished jobs is reached
    TOO_MANY = "too many"  #: it has the most revisions already
    REFUSED = "refused"  #: it is completed
    UNKNOWN = "unknown"
