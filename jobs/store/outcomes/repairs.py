"""The outcomes of the verbs that settle a doubt or correct counters."""

from enum import StrEnum


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
