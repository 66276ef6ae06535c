"""Limits on how often a key may call, and on how many invalid keys a client address may send.

Each process counts alone, and there are few (webhook.gunicorn_conf). The limit stops a producer that runs wild, and a
Redis call for each of its requests would add to the load. We do not use the package `limits`: its memory storage starts
a thread for nearly each call, which took longer than enqueueing a job.
"""

import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_network
from threading import Lock
from typing import NamedTuple

from webhook.http.client_address import Address
from webhook.http.problems import ProblemError

#: BOOMERANG_RATE_LIMIT without any limit.
OFF = "off"
_RATE = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")
_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
#: Most buckets of one kind in memory. The one unused for longest goes first.
_MOST = 10_000


class Rate(NamedTuple):
    """`amount` calls in each period `every`. All of them may come at once."""

    amount: int
    every: str

    @property
    def seconds(self) -> float:
        """The period in seconds."""
        return _SECONDS[self.every]


#: Invalid keys from one address, and from one /48 of IPv6, which a single customer may have. A person who mistypes and
#: a producer with an old key stay below it.
GUESSES, GUESSES_OF_SITE = Rate(30, "minute"), Rate(300, "minute")


def read_rates(text: str) -> list[Rate]:
    """Parse rates such as `6000/minute; 100/second`. Raises `ValueError`."""
    if text.strip() == OFF:
        return []
    found = [_RATE.fullmatch(part.strip()) for part in text.split(";")]
    if None in found:
        raise ValueError(text)
    return [Rate(int(each[1]), each[2]) for each in found if each]


class Buckets:
    """A leaky bucket for each name, stored as the time at which it is empty (GCRA). `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._empty_at: OrderedDict[tuple[Rate, str], float] = OrderedDict()
        self._lock = Lock()

    def wait(self, rate: Rate, name: str, *, count: bool = True, amount: int = 1) -> float:
        """Return the seconds until `name` may call again; 0 means now, and with `count` counts the call.

        `amount`: as how many calls it counts, at most those of the rate.
        """
        now = self._clock()
        with self._lock:
            full_at = max(self._empty_at.get((rate, name), now), now) + amount * rate.seconds / rate.amount
            # The factor allows for rounding in sums of fractions.
            wait = full_at - now - rate.seconds * (1 + 1e-9)
            if wait > 0:
                return wait
            if count:
                self._empty_at[rate, name] = full_at
                self._empty_at.move_to_end((rate, name))
                if len(self._empty_at) > _MOST:
                    self._empty_at.popitem(last=False)
        return 0.0


class RateLimits:
    """The limits of all keys and addresses. Every rate of `rates` holds for every key."""

    def __init__(self, rates: Sequence[Rate], clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = list(rates)
        self._calls, self._guesses = Buckets(clock), Buckets(clock)

    def count(self, key: str) -> None:
        """Count a request with this key. Raises a problem, 429, for one too many."""
        for rate in self._rates:
            if wait := self._calls.wait(rate, key):
                raise too_many(wait, f"This key may make {rate.amount:,} requests per {rate.every}.")

    def refused(self, address: Address | None) -> None:
        """Count an invalid key. Raises a problem, 429, if too many came from this address.

        Only invalid keys are counted and refused: producers may share an address with somebody who guesses.
        """
        limits = _limits_of(address)
        waits = [self._guesses.wait(rate, network, count=False) for rate, network in limits]
        if any(waits):
            raise too_many(max(waits), "Your address has sent too many invalid keys.")
        for rate, network in limits:
            self._guesses.wait(rate, network)


def too_many(wait: float, reason: str) -> ProblemError:
    """Return the problem, 429, of a caller that has to wait for so many seconds."""
    return ProblemError(429, f"{reason} Send this again later.", headers={"Retry-After": str(math.ceil(wait))})


def network_of(address: Address | None) -> str:
    """Return what one client has: an IPv4 address, or the /64 of an IPv6 address."""
    return _limits_of(address)[0][1]


def _limits_of(address: Address | None) -> list[tuple[Rate, str]]:
    """Return the limits for an address: its own; for IPv6 those of its /64, which one client has whole, and its /48."""
    if not isinstance(address, IPv6Address):
        return [(GUESSES, str(address))]
    networks = ((GUESSES, 64), (GUESSES_OF_SITE, 48))
    return [(rate, str(ip_network((address, length), strict=False))) for rate, length in networks]
