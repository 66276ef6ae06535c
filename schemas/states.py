"""Names of the states in the HTTP API. `jobs.states` defines them; the two packages do not import each other."""

JOB_STATES = (
    "queued",
    "submitting",
    "in_doubt",
    "in_progress",
    "completed",
    "failed",
    "cancelled",
    "expired",
)
