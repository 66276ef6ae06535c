"""Decisions about time and retries, as pure functions: they return what to do and never wait.

All waits are in seconds. `random` is a number in [0, 1), given by the caller.
"""

from jobs.jitter import equal_jitter
from jobs.settings import Settings

#: Codes of a failed task for which a new attempt may help: the gateway's internal, parsing, HTTP, status and creation
#: errors (seed kirin_image_omni, "Error codes") and Kling's 1302/1303 (too fast, too many) (provider-contract).
WORTH_RETRYING = frozenset({"002016095", "002016096", "002016097", "002016098", "002016099", "1302", "1303"})
#: A waiting job needs no look (its place in the queue and its record change together); this one is belt and braces.
RECHECK = 900.0
#: Wait before attempt 2, doubled for each further one.
ATTEMPT_BASE = 2.0
ATTEMPT_CAP = 300.0
#: How often a submission may be "surely not created" without saying why, before the job fails.
MOST_SUBMIT_TRIES = 8
#: Looks that must find nothing before a task counts as absent.
LOOKUPS_BEFORE_ABSENT = 2
#: Between two looks of which the first came after the grace.
AFTER_GRACE = 0.5
DELIVERY_BASE = 2.0
DELIVERY_CAP = 3600.0
#: Tries of a notification before it is given up: with the waits above, about a day.
MOST_DELIVERIES = 30


def backoff(base: float, cap: float, count: int, random: float) -> float:
    """Return `base`, doubled `count` times up to `cap`, with equal jitter."""
    return equal_jitter(min(cap, base * 2.0 ** min(count, 60)), random)


def next_attempt(attempt: int, code: str, settings: Settings, random: float) -> float | None:
    """How long to wait before the attempt after one that failed with that code; None: the job has failed."""
    if attempt >= settings.max_attempts or code not in WORTH_RETRYING:
        return None
    return backoff(ATTEMPT_BASE, ATTEMPT_CAP, attempt - 1, random)


def next_poll(polls: int, settings: Settings, random: float) -> float:
    """How long until the next poll, after that many."""
    return backoff(min(settings.poll_first, settings.poll_max), settings.poll_max, polls + 1, random)


def next_lookup(looks: int, settings: Settings, random: float, doubtful_for: float = 0.0) -> float:
    """How long until the next look for a task in doubt, after that many that found nothing.

    Two looks at least fall into the grace period, so that a task that is merely slow to appear is not sent again. Where
    the grace was over at the first one already, only an answer that was wrong is left to be guarded against.
    """
    soon = max(settings.lookup_grace / 2, 0.2)
    if looks < LOOKUPS_BEFORE_ABSENT and doubtful_for >= settings.lookup_grace:
        return min(AFTER_GRACE, soon)
    return soon if looks < LOOKUPS_BEFORE_ABSENT else backoff(soon, max(settings.poll_max, soon), looks - 1, random)


def absent_beyond_doubt(looks: int, doubtful_for: float, settings: Settings) -> bool:
    """Whether a task that was just looked for in vain, for the `looks`-th time, may be taken not to exist."""
    return looks >= LOOKUPS_BEFORE_ABSENT and doubtful_for >= settings.lookup_grace


def next_delivery(tries: int, random: float) -> float | None:
    """How long until a failed notification is tried again; None: given up."""
    return None if tries + 1 >= MOST_DELIVERIES else backoff(DELIVERY_BASE, DELIVERY_CAP, tries, random)
