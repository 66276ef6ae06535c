"""Ids of jobs and batches: the one that a producer gives, and the one that the service works with.

Two producers may give the same id. So the service adds the producer's name: job `order-4711` of the producer `shop` is
`order-4711@shop` in Redis, in logs and commands, and at the provider. `@` is in no id that a producer may give
(schemas.requests.base) and in no producer's name (jobs.api_keys), so ids of different producers always differ. Jobs
that came through Celery keep the given id, and so do those that version 1 recorded.
"""

import re

OWNER_MARK = "@"
_ATTEMPT = re.compile("^[^~]*")


def internal_id(given: str, owner: str) -> str:
    """Return the service's id for what a producer calls `given`; without a producer, `given` itself."""
    return f"{given}{OWNER_MARK}{owner}" if owner else given


def given_id(internal: str) -> str:
    """Return the id that the producer gave. Of the id of an attempt (jobs.attempt_ids.external_id), its mark stays."""
    given, _, rest = internal.partition(OWNER_MARK)
    return given + _ATTEMPT.sub("", rest, count=1)


def owner_in(internal: str) -> str | None:
    """Return the producer's name in an id; None if there is none in it."""
    _, mark, owner = internal.partition(OWNER_MARK)
    return owner if mark else None
