"""The outcomes of the verbs on a lane."""

from enum import StrEnum


class ProbeOutcome(StrEnum):
    """Of `probed`."""

    CLOSED = "closed"
    OPEN = "open"
    REFUSED = "refused"  #: another probe has replaced this one, or the breaker is not open
