"""The outcomes of the verbs on a batch."""

from enum import StrEnum


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
