"""Holding the lane: how long, after which answer."""

import logging

from jobs.store import Store
from worker.provider import Held, NotSent

log = logging.getLogger(__name__)

#: (first wait, longest wait) in seconds; doubled with each refusal in a row. A throttle is over soon; an account needs
#: a person, who should not wait long once it is mended; a provider that cannot be reached may be back any moment.
THROTTLED = (1.0, 60.0)
ACCOUNT = (15.0, 300.0)
UNREACHABLE = (1.0, 30.0)


def hold(store: Store, lane: str, outcome: Held | NotSent) -> None:
    """Let that whole lane wait; the jobs keep their places and attempts."""
    match outcome:
        case Held(reason, throttled, retry_after):
            base, cap = THROTTLED if throttled else ACCOUNT
            level, least = (logging.INFO if throttled else logging.ERROR), retry_after
        case NotSent(reason):
            (base, cap), level, least = UNREACHABLE, logging.WARNING, 0.0
            reason = f"the provider cannot be reached: {reason}"
    until = store.hold(reason, base=base, cap=cap, least=least, lane=lane)
    log.log(level, "lane %s is on hold until %.0f: %s", lane, until, reason)
