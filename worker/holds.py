"""Holding the lane: how long, after which answer."""

import logging

from jobs.logs import about
from jobs.store.store import Store
from worker.provider import Held

log = logging.getLogger(__name__)

#: (first wait, longest wait) in seconds; doubled with each refusal in a row. A throttle is over soon; an account needs
#: a person, who should not wait long once it is mended.
THROTTLED = (1.0, 60.0)
ACCOUNT = (15.0, 300.0)


def hold(store: Store, lane: str, held: Held) -> None:
    """Let that whole lane wait; the jobs keep their places and attempts."""
    base, cap = THROTTLED if held.throttled else ACCOUNT
    until = store.lanes.hold(
        held.reason, base=base, cap=cap, least=held.retry_after, throttled=held.throttled, lane=lane
    )
    level = logging.INFO if held.throttled else logging.ERROR
    with about(lane=lane):
        log.log(level, "lane %s is on hold until %.0f: %s", lane, until, held.reason)
