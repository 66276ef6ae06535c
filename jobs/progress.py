"""How fast a batch ends and when it will be done, from counters alone.

The batch's hash has a ring of fields `r:0` … , each for the jobs that ended in a span of `SPAN` seconds. A field holds
the number of its span (seconds since 1970 / SPAN) times `SHIFT`, plus the count: one whole number, so that a span that
is over need not be cleared. Jobs that the producer cancelled are not counted: they say nothing about the rest.
"""

from collections.abc import Mapping

SPAN = 5
RING = 12  #: spans, together a minute
SHIFT = 10_000_000
#: Seconds that are taken to have gone by at least, so that a batch's first end is no rush.
LEAST = 1.0


def rate(fields: Mapping[str, str], now: float, created: float) -> float:
    """Jobs that ended a second, over the last minute, or since the batch began; times in seconds since 1970."""
    oldest = int(now // SPAN) - RING + 1
    spans = (divmod(int(value), SHIFT) for name, value in fields.items() if name.startswith("r:"))
    ended = sum(count for span, count in spans if span >= oldest)
    return ended / max(now - max(oldest * SPAN, created), LEAST)


def eta(*, left: int, queued: int, per_second: float, submit_rate: float, held: float, paused: bool) -> float | None:
    """Seconds until the `left` unfinished jobs, `queued` of them not sent yet, have ended; None where that is unknown.

    Jobs end as fast as slots come free, so the rate seen speaks for the slots; `submit_rate` (jobs a second, 0: no
    limit) bounds what may follow a rush, and a lane on hold for `held` seconds sends nothing before.
    """
    if left == 0:
        return 0.0
    if per_second == 0 or (paused and queued):
        return None
    sent_in = queued / submit_rate if submit_rate else 0.0
    return (held if queued else 0.0) + max(left / per_second, sent_in)
