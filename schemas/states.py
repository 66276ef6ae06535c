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

#: `jobs.timeline` defines them.
JOB_EVENTS = (
    "accepted",
    "admitted",
    "submitting",
    "in_progress",
    "in_doubt",
    "queued",
    "next_attempt",
    "callback",
    "looked_up",
    "completed",
    "failed",
    "cancelled",
    "expired",
    "late_result",
    "over",
    "paused",
    "resumed",
    "retried",
    "corrected",
    "settled",
    "cost_settled",
    "notified",
    "notification_failed",
    "celery_finished",
    "delivery_given_up",
    "save_given_up",
    "saved",
)

#: What reviews say of an output, and what outputs are selected by. `jobs.review` defines them.
VERDICTS = ("accepted", "rejected")
REVIEW_MARKS = (*VERDICTS, "starred", "unreviewed")

#: `jobs.failures` defines them.
FAILURE_CLASSES = ("moderation", "quota", "invalid", "transient", "provider", "unsaved")
