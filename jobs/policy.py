"""Decisions about time and retries, as pure functions: they return what to do and never wait.

All waits are in seconds. `random` is a number in [0, 1), given by the caller.
"""

from jobs.failures import FailureClass, codes_of
from jobs.jitter import equal_jitter
from jobs.settings import Settings

#: Codes of a failed task for which a new attempt may help.
WORTH_RETRYING = codes_of(FailureClass.TRANSIENT)
#: Seconds between two checks of a waiting job: a precaution, since its queue and its record change together.
RECHECK = 900.0
#: Seconds before attempt 2, doubled for each further attempt.
ATTEMPT_BASE = 2.0
ATTEMPT_CAP = 300.0
#: Submissions of one attempt that are certainly not created without a known reason, or whose answer cannot be read,
#: before the job fails.
MOST_SUBMIT_TRIES = 8
#: Look-ups that must find nothing before a task counts as absent.
LOOKUPS_BEFORE_ABSENT = 2
#: Seconds between two look-ups, the first of which came after the grace period.
AFTER_GRACE = 0.5
DELIVERY_BASE = 2.0
DELIVERY_CAP = 3600.0
#: Tries of a notification before it is given up: about a day, with the waits above.
MOST_DELIVERIES = 30


def backoff(base: float, cap: float, count: int, random: float) -> float:
    """Return `base`, doubled `count` times up to `cap`, with equal jitter."""
    return equal_jitter(min(cap, base * 2.0 ** min(count, 60)), random)


def next_attempts(code: str, settings: Settings, random: float) -> list[float]:
    """Return the waits before attempts 2, 3… of a revision, each after one that failed with this code.

    After an attempt for which there is no wait, the job has failed.
    """
    if code not in WORTH_RETRYING:
        return []
    return [backoff(ATTEMPT_BASE, ATTEMPT_CAP, earlier, random) for earlier in range(settings.max_attempts - 1)]


def next_submit(tries: int, random: float) -> float:
    """Return the wait before the same attempt is submitted again, after `tries` that count (MOST_SUBMIT_TRIES)."""
    return backoff(ATTEMPT_BASE, ATTEMPT_CAP, tries - 1, random) if tries else 0.0


def next_poll(polls: int, settings: Settings, random: float) -> float:
    """Return the wait before the next poll, after `polls` polls."""
    return backoff(min(settings.poll_first, settings.poll_max), settings.poll_max, polls + 1, random)


def next_lookup(lookups: int, settings: Settings, random: float, doubtful_for: float = 0.0) -> float:
    """Return the wait before the next look-up of a task in doubt, after `lookups` that found nothing.

    At least two look-ups fall into the grace period, so that a task that is slow to appear is not sent again. If the
    grace period was over at the first one, the second only guards against a wrong answer.
    """
    soon = max(settings.lookup_grace / 2, 0.2)
    if lookups < LOOKUPS_BEFORE_ABSENT and doubtful_for >= settings.lookup_grace:
        return min(AFTER_GRACE, soon)
    return soon if lookups < LOOKUPS_BEFORE_ABSENT else backoff(soon, max(settings.poll_max, soon), lookups - 1, random)


def absent_beyond_doubt(lookups: int, doubtful_for: float, settings: Settings) -> bool:
    """Decide whether a task counts as absent after `lookups` look-ups that found nothing."""
    return lookups >= LOOKUPS_BEFORE_ABSENT and doubtful_for >= settings.lookup_grace


def refusal_stands(lookups: int, doubtful_for: float, settings: Settings, *, exists: bool) -> bool:
    """Decide whether an attempt, refused or not, counts as absent after `lookups` look-ups that found nothing.

    `exists`: an answer or a callback says that the provider has the task, so the deadline must pass, too.
    """
    patient = not exists or doubtful_for >= settings.deadline
    return patient and absent_beyond_doubt(lookups, doubtful_for, settings)


def next_delivery(failures: int, random: float) -> float | None:
    """Return the wait before a failed delivery is repeated, after `failures` earlier ones; None: it is given up."""
    return None if failures + 1 >= MOST_DELIVERIES else backoff(DELIVERY_BASE, DELIVERY_CAP, failures, random)
