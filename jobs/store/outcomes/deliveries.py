"""The outcomes of the verbs on what follows the end of a job: deliveries, saves and removals of results."""

from enum import StrEnum


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
