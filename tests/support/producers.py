"""The ids of jobs and batches that a producer makes over HTTP."""

from jobs.producer_ids import internal_id

#: The producer of the administrator's key in tests of the webhook.
BOSS = "boss"
#: The producer of the key of a local stack (ops.local).
LOCAL = "local"


def own(given: str, producer: str = BOSS) -> str:
    """Return the service's id of what the producer calls `given`."""
    return internal_id(given, producer)
