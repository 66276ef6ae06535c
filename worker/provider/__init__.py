"""The client of the generation API, and the meaning of its answers."""

from worker.provider.client import Provider
from worker.provider.outcomes import (
    Absent,
    Created,
    Doubtful,
    Exists,
    Found,
    Held,
    LookupOutcome,
    NotCreated,
    NotSent,
    Refused,
    SubmitOutcome,
    Unavailable,
)

__all__ = [
    "Absent",
    "Created",
    "Doubtful",
    "Exists",
    "Found",
    "Held",
    "LookupOutcome",
    "NotCreated",
    "NotSent",
    "Provider",
    "Refused",
    "SubmitOutcome",
    "Unavailable",
]
