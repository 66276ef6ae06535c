"""The names of the states, as our API spells them.

`jobs` owns what they mean; the two rooms do not import each other.
"""

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
