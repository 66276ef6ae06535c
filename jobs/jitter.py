"""Jitter: the rule by which all waits of the service vary at random."""

from collections.abc import Callable
from secrets import SystemRandom
from typing import TypeAlias

#: Returns a number in [0, 1).
Random: TypeAlias = Callable[[], float]

#: The source of randomness outside tests. It uses the system's, so that forked processes differ.
draw: Random = SystemRandom().random


def equal_jitter(wait: float, random: float) -> float:
    """Return between half of `wait` and `wait`, for `random` in [0, 1).

    Jobs that were refused together must not return together, so half of each wait is random. The other half is fixed,
    because full jitter makes some waits almost 0, just after the provider refused or did not answer. Source:
    "equal jitter" in Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return wait / 2 + random * wait / 2
