"""Names of states and classes in the HTTP API. `jobs` defines them; the two packages do not import each other."""

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

#: What reviews say of an output, and what outputs are selected by. `jobs.review` defines them.
VERDICTS = ("accepted", "rejected")
REVIEW_MARKS = (*VERDICTS, "starred", "unreviewed")

#: `jobs.failures` defines them.
FAILURE_CLASSES = ("moderation", "quota", "invalid", "transient", "provider", "unsaved")
