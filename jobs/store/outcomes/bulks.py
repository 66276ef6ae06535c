"""The outcomes of the verbs for bulk actions."""

from enum import StrEnum


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
