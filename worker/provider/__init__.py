"""The generation API, over HTTP: one client, and what each of its answers means."""

from worker.provider.client import Provider
from worker.provider.outcomes import (
    Absent,
    Created,
    Doubtful,
    Exists,
    Found,
    Held,
    Looked,
    NotCreated,
    NotSent,
    Refused,
    Submitted,
    Unavailable,
)

__all__ = [
    "Absent",
    "Created",
    "Doubtful",
    "Exists",
    "Found",
    "Held",
    "Looked",
    "NotCreated",
    "NotSent",
    "Provider",
    "Refused",
    "Submitted",
    "Unavailable",
]
