"""The outcomes that the Lua verbs return: one enum a verb.

`Outcome` (jobs.new_job) is that of `enqueue` and `stage`. tests/jobs/store/test_outcomes.py compares all with the Lua
files, whose headers say what each means.
"""

from collections.abc import Mapping
from enum import StrEnum

from jobs.delivery_log import EnableOutcome, ReplayOutcome
from jobs.new_job import Outcome
from jobs.receivers import BeginOutcome


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


class BatchPauseOutcome(StrEnum):
    """Of `pause`."""

    PAUSED = "paused"
    RESUMED = "resumed"
    ALREADY = "already"
    UNAPPROVED = "unapproved"  #: it waits for an approval: nothing is resumed
    REFUSED = "refused"  #: the batch may not spend more
    UNKNOWN = "unknown"


class ApproveOutcome(StrEnum):
    """Of `approve`."""

    APPROVED = "approved"
    ALREADY = "already"  #: it waits for no approval
    UNKNOWN = "unknown"


class BeginPilotOutcome(StrEnum):
    """Of `begin_pilot`."""

    BEGUN = "begun"
    ALREADY = "already"  #: it has begun, is over, or the batch is approved or asked for none
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


class DeliveryOutcome(StrEnum):
    """Of `delivered`."""

    CLEAR = "clear"  #: no delivery is owed any more
    OWED = "owed"
    REFUSED = "refused"  #: a stale fence, or nothing is owed


class RedeliverOutcome(StrEnum):
    """Of `redeliver`, for each job."""

    OWED = "owed"
    NOTHING = "nothing"  #: no delivery was given up
    UNKNOWN = "unknown"
    NEWER = "newer"  #: a later version wrote the record
    DAMAGED = "damaged"


class RemoveOutcome(StrEnum):
    """Of `results_removed`."""

    REMOVED = "removed"
    CHANGED = "changed"


class RecordSaveOutcome(StrEnum):
    """Of `record_save`."""

    SAVED = "saved"
    OWED = "owed"  #: it is tried again
    UNSAVED = "unsaved"  #: it is on the list of unsaved results
    CHANGED = "changed"  #: the result is not as it was read: read it again
    REFUSED = "refused"  #: a stale fence, or nothing is to be saved


class ResaveOutcome(StrEnum):
    """Of `resave`, for each job."""

    OWED = "owed"
    SAVED = "saved"  #: already
    NOTHING = "nothing"  #: it has no results
    UNKNOWN = "unknown"
    NEWER = "newer"  #: a later version wrote the record
    DAMAGED = "damaged"


class SweepOutcome(StrEnum):
    """Of `begin_sweep`."""

    BEGUN = "begun"
    COUNTED = "counted"
    UNDER_WAY = "under way"  #: the same change was begun before
    BUSY = "busy"  #: another change of the batch is under way
    UNKNOWN = "unknown"


class CommitOutcome(StrEnum):
    """Of `commit`."""

    BEGUN = "begun"
    EMPTY = "empty"  #: nothing new was staged
    BUSY = "busy"  #: another change of the batch is under way
    GONE = "gone"  #: the staged jobs, or images of them, have expired
    FULL = "full"  #: there would be more unfinished jobs than the limit
    TAKEN = "taken"  #: the batch belongs to another producer


class ParkOutcome(StrEnum):
    """Of `park`: whether a Celery message is parked, or what its worker does with it now."""

    PARKED = "parked"
    REVOKED = "revoked"  #: parked, but it was revoked before it came
    FULL = "full"  #: not parked: too many messages wait for this job
    FINAL = "final"  #: the job has ended: finish the message from its record; with a mark, then call `message_finished`
    FOREIGN = "foreign"  #: the same, but the job is another producer's: finish the message with an error
    FINISHED = "finished"  #: the job has ended, and this message was finished before
    OWED = "owed"  #: the job has ended, and another process is finishing this message
    UNKNOWN = "unknown"


class RefusalOutcome(StrEnum):
    """Of `begin_refusal`."""

    FIRST = "first"  #: end the message, then call `end_refusal`
    AGAIN = "again"  #: it was ended before
    BUSY = "busy"  #: another process is ending it


class MessageOutcome(StrEnum):
    """Of `message_finished`."""

    FINISHED = "finished"
    OWED = "owed"  #: other messages of the job are still to be finished
    UNFINISHED = "unfinished"  #: the job was retried: its next end finishes the message again


class RevokeOutcome(StrEnum):
    """Of `revoke`, for each Celery task."""

    CANCELLED = "cancelled"
    OVER = "over"  #: its job has ended
    REMEMBERED = "remembered"  #: it is not parked: its id is stored in case its message still comes


class ProbeOutcome(StrEnum):
    """Of `probed`."""

    CLOSED = "closed"
    OPEN = "open"
    REFUSED = "refused"  #: another probe has replaced this one, or the breaker is not open


class KeepOutcome(StrEnum):
    """Of `image_kept`."""

    KEPT = "kept"
    KNOWN = "known"  #: another copy is stored: this object is to be removed
    SHARED = "shared"  #: the same, and the image is new to the producer
    LATE = "late"  #: the object may have been removed


class FoundOutcome(StrEnum):
    """Of `found`."""

    FOUND = "found"
    REFUSED = "refused"  #: a worker found that data are lost
    CHANGED = "changed"  #: another epoch has begun


class RefuseOutcome(StrEnum):
    """Of `refuse`."""

    REFUSED = "refused"
    ALREADY = "already"  #: it is refused already; the first reason stays
    CHANGED = "changed"  #: another epoch has begun


class TolerateOutcome(StrEnum):
    """Of `tolerate`."""

    TOLERATED = "tolerated"
    REFUSED = "refused"  #: another worker found that more is lost
    CHANGED = "changed"  #: another epoch has begun


class SettleOutcome(StrEnum):
    """Of `settle`."""

    SETTLED = "settled"
    OVER = "over"  #: the job had been cancelled: its slots are free
    OTHER = "other"  #: it is no longer in that doubt; nothing changed
    UNKNOWN = "unknown"


class SettleCostOutcome(StrEnum):
    """Of `settle_cost`."""

    SETTLED = "settled"
    OTHER = "other"  #: its cost is not unknown, or its result has changed; nothing changed
    UNKNOWN = "unknown"


class CorrectOutcome(StrEnum):
    """Of `repair_counters`."""

    DONE = "done"
    REFUSED = "refused"  #: another repair has the lock, or it has expired


class RecountOutcome(StrEnum):
    """Of `recount`."""

    READ = "read"
    BUSY = "busy"  #: too much has changed: read these records first


class BeginBulkOutcome(StrEnum):
    """Of `begin_bulk`."""

    BEGUN = "begun"
    BUSY = "busy"  #: the caller has too many under way
    CONFLICT = "conflict"  #: the id stands for something else


class AbortBulkOutcome(StrEnum):
    """Of `abort_bulk`."""

    ABORTED = "aborted"
    ALREADY = "already"  #: it is over
    UNKNOWN = "unknown"


#: Verb → its outcomes. The other verbs answer with data.
OUTCOMES: Mapping[str, type[StrEnum]] = {
    "abort_bulk": AbortBulkOutcome,
    "approve": ApproveOutcome,
    "begin_bulk": BeginBulkOutcome,
    "begin_notification": BeginOutcome,
    "begin_pilot": BeginPilotOutcome,
    "begin_refusal": RefusalOutcome,
    "begin_sweep": SweepOutcome,
    "cancel": CancelOutcome,
    "commit": CommitOutcome,
    "delivered": DeliveryOutcome,
    "enable_receiver": EnableOutcome,
    "enqueue": Outcome,
    "event_delivered": DeliveryOutcome,
    "expire": ExpireOutcome,
    "finish": FinishOutcome,
    "found": FoundOutcome,
    "image_kept": KeepOutcome,
    "mark_in_doubt": InDoubtOutcome,
    "mark_in_progress": InProgressOutcome,
    "message_finished": MessageOutcome,
    "move_to_lane": MoveOutcome,
    "park": ParkOutcome,
    "pause": BatchPauseOutcome,
    "pause_job": PauseOutcome,
    "probed": ProbeOutcome,
    "record_callback": CallbackOutcome,
    "record_save": RecordSaveOutcome,
    "results_removed": RemoveOutcome,
    "recount": RecountOutcome,
    "redeliver": RedeliverOutcome,
    "refuse": RefuseOutcome,
    "repair_counters": CorrectOutcome,
    "replay": ReplayOutcome,
    "requeue": RequeueOutcome,
    "reschedule_lookup": LookupOutcome,
    "resave": ResaveOutcome,
    "retry": RetryOutcome,
    "revise": ReviseOutcome,
    "revoke": RevokeOutcome,
    "settle": SettleOutcome,
    "settle_cost": SettleCostOutcome,
    "stage": Outcome,
    "tolerate": TolerateOutcome,
}
